// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/vq-driver.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "virtio/feature.h"

uint32_t vq_random(uint64_t *state, uint32_t limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((*state >> 32) % limit);
}

/* --- Guest RAM --- */

void vq_ram_init(struct vq_ram *ram, uint64_t gpa, uint64_t len)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint8_t *map = mmap(NULL, len + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(map != MAP_FAILED && len % page == 0);
	*ram = (struct vq_ram){ .gpa = gpa, .len = len, .host = map + page, .next = gpa };
	must(mprotect(ram->host, len, PROT_READ | PROT_WRITE) == 0);
	must(guest_memory_add(&ram->mem, gpa, len, ram->host) == 0);
	ram->shadow = malloc(len);
	must(ram->shadow != NULL);
	for (uint64_t i = 0; i < len; i++)
		ram->host[i] = ram->shadow[i] = (uint8_t)(i * 7 + i / 256);
}

void vq_ram_free(struct vq_ram *ram)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	munmap(ram->host - page, ram->len + 2 * page);
	free(ram->shadow);
}

uint64_t vq_ram_alloc(struct vq_ram *ram, uint64_t len, uint64_t align)
{
	/* An odd multiple of @align, behind at least a byte of nobody's. */
	uint64_t gpa = align_up(ram->next + 1, align);

	if (gpa % (2 * align) == 0)
		gpa += align;
	ram->next = gpa + len;
	must(ram->next <= ram->gpa + ram->len);
	return gpa;
}

static bool in_ram(const struct vq_ram *ram, uint64_t gpa, uint64_t len)
{
	return gpa >= ram->gpa && gpa - ram->gpa <= ram->len && len <= ram->len - (gpa - ram->gpa);
}

void *vq_ram_ptr(const struct vq_ram *ram, uint64_t gpa)
{
	must(in_ram(ram, gpa, 0));
	return ram->host + (gpa - ram->gpa);
}

static void *shadow_ptr(const struct vq_ram *ram, uint64_t gpa)
{
	return ram->shadow + (gpa - ram->gpa);
}

void vq_ram_put(struct vq_ram *ram, uint64_t gpa, const void *data, uint64_t len)
{
	must(in_ram(ram, gpa, len));
	memcpy(vq_ram_ptr(ram, gpa), data, len);
	memcpy(shadow_ptr(ram, gpa), data, len);
}

void vq_ram_fill(struct vq_ram *ram, uint64_t gpa, uint8_t byte, uint64_t len)
{
	must(in_ram(ram, gpa, len));
	memset(vq_ram_ptr(ram, gpa), byte, len);
	memset(shadow_ptr(ram, gpa), byte, len);
}

void vq_ram_allow(struct vq_ram *ram, uint64_t gpa, uint64_t len)
{
	must(in_ram(ram, gpa, len));
	memcpy(shadow_ptr(ram, gpa), vq_ram_ptr(ram, gpa), len);
}

static void check_range(const struct vq_ram *ram, uint64_t from, uint64_t to)
{
	uint64_t at = from - ram->gpa;

	if (memcmp(ram->host + at, ram->shadow + at, to - from) == 0)
		return;
	while (ram->host[at] == ram->shadow[at])
		at++;
	ck_abort_msg("the device changed the byte at %#llx from %#x to %#x",
		     (unsigned long long)(ram->gpa + at), ram->shadow[at], ram->host[at]);
}

void vq_ram_check(const struct vq_ram *ram)
{
	check_range(ram, ram->gpa, ram->gpa + ram->len);
}

/* --- The queue --- */

struct vq_driver {
	struct vq_ram *ram;
	struct virtqueue_config config;
	uint16_t size;
	bool event_idx;
	uint64_t random;

	uint16_t *free; /* descriptors that no chain has, a stack */
	unsigned free_count;
	bool *busy;     /* by id */
	unsigned in_flight;

	/* Free-running positions. */
	uint16_t added, published; /* of the available ring */
	uint16_t seen, judged;     /* of the used ring */

	/* The wish, as last written. */
	bool muted;
	uint16_t used_event;
};

static uint64_t avail_gpa(const struct vq_driver *vq, size_t offset)
{
	return vq->config.driver + offset;
}

static uint64_t used_event_gpa(const struct vq_driver *vq)
{
	return avail_gpa(vq, offsetof(struct vring_avail, ring[vq->size]));
}

static struct vring_used *used_ring(const struct vq_driver *vq)
{
	return vq_ram_ptr(vq->ram, vq->config.device);
}

static uint64_t used_len(const struct vq_driver *vq)
{
	return 6 + 8 * (uint64_t)vq->size;
}

/* A word that the device may be reading. */
static void put_word(struct vq_driver *vq, uint64_t gpa, uint16_t value)
{
	store_release((uint16_t *)vq_ram_ptr(vq->ram, gpa), value);
	memcpy(shadow_ptr(vq->ram, gpa), &value, sizeof(value));
}

/*
 * Orders what this side stored before what it loads next: avail index before
 * the device's wish, its own wish before the used index.
 */
static void fence(void)
{
	fence_full();
}

/* --- Add --- */

static struct vring_desc desc_of(const struct vq_part *part)
{
	return (struct vring_desc){
		.addr = part->gpa,
		.len = part->len,
		.flags = part->writable ? VRING_DESC_F_WRITE : 0,
	};
}

static struct vring_desc junk(struct vq_driver *vq)
{
	return (struct vring_desc){
		.addr = (uint64_t)vq_random(&vq->random, UINT32_MAX) << 32,
		.len = vq_random(&vq->random, UINT32_MAX),
		.flags = (uint16_t)vq_random(&vq->random, UINT16_MAX),
		.next = (uint16_t)vq_random(&vq->random, UINT16_MAX),
	};
}

static void put_table(struct vq_driver *vq, const struct vq_chain *chain)
{
	const struct vq_part *part = chain->part + chain->direct;
	unsigned count = chain->count - chain->direct;
	struct vring_desc desc;

	must(count > 0 && count <= chain->entries);
	for (unsigned i = 0; i < chain->entries; i++) {
		desc = junk(vq);
		vq_ram_put(vq->ram, chain->table + 16 * i, &desc, sizeof(desc));
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned at = chain->order ? chain->order[i] : i;

		desc = desc_of(&part[i]);
		desc.next = junk(vq).next;
		if (i + 1 < count) {
			desc.flags |= VRING_DESC_F_NEXT;
			desc.next = chain->order ? chain->order[i + 1] : (uint16_t)(i + 1);
		}
		vq_ram_put(vq->ram, chain->table + 16 * at, &desc, sizeof(desc));
	}
}

int vq_driver_add(struct vq_driver *vq, const struct vq_chain *chain)
{
	unsigned direct = chain->entries ? chain->direct : chain->count;
	unsigned needed = direct + (chain->entries != 0);
	uint16_t head, index;

	must(needed > 0);
	if (needed > vq->free_count)
		return -1;
	if (chain->entries)
		put_table(vq, chain);
	head = vq->free[vq->free_count - 1];
	for (unsigned i = 0; i < needed; i++) {
		struct vring_desc desc;

		index = vq->free[--vq->free_count];
		if (i < direct)
			desc = desc_of(&chain->part[i]);
		else
			desc = (struct vring_desc){
				.addr = chain->table,
				.len = 16 * chain->entries,
				.flags = VRING_DESC_F_INDIRECT |
					(chain->pointer_writable ? VRING_DESC_F_WRITE : 0),
			};
		desc.next = junk(vq).next;
		if (i + 1 < needed) {
			desc.flags |= VRING_DESC_F_NEXT;
			desc.next = vq->free[vq->free_count - 1];
		}
		vq_split_desc(vq, index, &desc);
	}
	vq->busy[head] = true;
	vq->in_flight++;
	vq_split_head(vq, vq->added++ & (vq->size - 1), head);
	return head;
}

int vq_driver_add_parts(struct vq_driver *vq, const struct vq_part *part, unsigned count)
{
	return vq_driver_add(vq, &(struct vq_chain){ .part = part, .count = count });
}

static uint16_t avail_event(const struct vq_driver *vq)
{
	return load_relaxed((uint16_t *)&used_ring(vq)->ring[vq->size]);
}

bool vq_driver_all_popped(const struct vq_driver *vq)
{
	must(vq->event_idx);
	return avail_event(vq) == vq->published;
}

bool vq_driver_publish(struct vq_driver *vq)
{
	uint16_t from = vq->published, event;
	bool asked = false;

	put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, idx)), vq->added);
	vq->published = vq->added;
	fence();
	if (!vq->event_idx)
		return from != vq->added &&
			!(load_relaxed(&used_ring(vq)->flags) & VRING_USED_F_NO_NOTIFY);
	/* Was the entry at avail_event among those (section 2.7.10)? */
	event = avail_event(vq);
	for (; from != vq->added; from++)
		asked |= from == event;
	return asked;
}

/* --- Get --- */

/* Takes over what the device may have written; the bytes of writable parts. */
static uint64_t take_over(struct vq_driver *vq, const struct vring_desc *desc)
{
	if (!(desc->flags & VRING_DESC_F_WRITE))
		return 0;
	if (in_ram(vq->ram, desc->addr, desc->len))
		vq_ram_allow(vq->ram, desc->addr, desc->len);
	return desc->len;
}

/* Walks what the driver wrote, not what stands in the ring now. */
static uint64_t settle(struct vq_driver *vq, uint16_t head)
{
	const struct vring_desc *ring = shadow_ptr(vq->ram, vq->config.desc);
	const struct vring_desc *table;
	struct vring_desc desc = { .flags = VRING_DESC_F_NEXT, .next = head };
	uint64_t writable = 0;

	while (desc.flags & VRING_DESC_F_NEXT) {
		uint16_t index = desc.next;

		desc = ring[index];
		vq->free[vq->free_count++] = index;
		if (desc.flags & VRING_DESC_F_INDIRECT)
			break;
		writable += take_over(vq, &desc);
	}
	if (!(desc.flags & VRING_DESC_F_INDIRECT))
		return writable;
	table = shadow_ptr(vq->ram, desc.addr);
	desc = (struct vring_desc){ .flags = VRING_DESC_F_NEXT };
	while (desc.flags & VRING_DESC_F_NEXT) {
		memcpy(&desc, (const uint8_t *)table + 16 * desc.next, sizeof(desc));
		writable += take_over(vq, &desc);
	}
	return writable;
}

bool vq_driver_get(struct vq_driver *vq, struct vq_used *used)
{
	const struct vring_used *ring = used_ring(vq);
	const struct vring_used_elem *elem = &ring->ring[vq->seen & (vq->size - 1)];
	/* Pairs with the device's release, after data and elements. */
	uint16_t more = load_acquire(&ring->idx) - vq->seen;

	must(more <= vq->in_flight);
	if (!more)
		return false;
	must(elem->id < vq->size && vq->busy[elem->id]);
	used->id = (uint16_t)elem->id;
	used->len = elem->len;
	used->writable = settle(vq, used->id);
	must(used->len <= used->writable);
	vq->busy[used->id] = false;
	vq->in_flight--;
	vq->seen++;
	return true;
}

unsigned vq_driver_in_flight(const struct vq_driver *vq)
{
	return vq->in_flight;
}

/* --- Life --- */

void vq_driver_reset(struct vq_driver *vq)
{
	unsigned i;

	for (i = 0; i < vq->size; i++)
		if (vq->busy[i])
			settle(vq, (uint16_t)i);
	vq_ram_fill(vq->ram, vq->config.driver, 0, 6 + 2 * (uint64_t)vq->size);
	vq_ram_fill(vq->ram, vq->config.device, 0, used_len(vq));
	vq->free_count = vq->size;
	for (i = 0; i < vq->size; i++)
		vq->free[i] = (uint16_t)i;
	for (i = vq->size; i > 1; i--) {
		unsigned j = vq_random(&vq->random, i);
		uint16_t swap = vq->free[j];

		vq->free[j] = vq->free[i - 1];
		vq->free[i - 1] = swap;
	}
	memset(vq->busy, 0, vq->size * sizeof(*vq->busy));
	vq->in_flight = 0;
	vq->added = vq->published = vq->seen = vq->judged = 0;
	vq->muted = false;
	vq->used_event = 0;
}

struct vq_driver *vq_driver_create_at(struct vq_ram *ram, const struct virtqueue_config *config,
				      uint64_t features)
{
	struct vq_driver *vq = calloc(1, sizeof(*vq));

	must(vq != NULL);
	vq->ram = ram;
	vq->config = *config;
	vq->size = config->size;
	vq->event_idx = features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);
	vq->random = 1;
	vq->free = calloc(vq->size, sizeof(*vq->free));
	vq->busy = calloc(vq->size, sizeof(*vq->busy));
	must(vq->free && vq->busy);
	vq_driver_reset(vq);
	return vq;
}

struct vq_driver *vq_driver_create(struct vq_ram *ram, uint16_t size, uint64_t features)
{
	const struct virtqueue_config config = {
		.size = size,
		.enabled = true,
		.desc = vq_ram_alloc(ram, 16 * (uint64_t)size, VRING_DESC_ALIGN_SIZE),
		.driver = vq_ram_alloc(ram, 6 + 2 * (uint64_t)size, VRING_AVAIL_ALIGN_SIZE),
		.device = vq_ram_alloc(ram, 6 + 8 * (uint64_t)size, VRING_USED_ALIGN_SIZE),
	};

	return vq_driver_create_at(ram, &config, features);
}

void vq_driver_free(struct vq_driver *vq)
{
	free(vq->free);
	free(vq->busy);
	free(vq);
}

const struct virtqueue_config *vq_driver_config(const struct vq_driver *vq)
{
	return &vq->config;
}

/* --- Wishes --- */

void vq_driver_mute(struct vq_driver *vq)
{
	vq->muted = true;
	/* Half the positions away, as far as it can be. */
	vq->used_event = vq->seen + 0x8000;
	if (vq->event_idx)
		put_word(vq, used_event_gpa(vq), vq->used_event);
	else
		put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, flags)),
			 VRING_AVAIL_F_NO_INTERRUPT);
}

bool vq_driver_listen(struct vq_driver *vq, uint16_t count)
{
	vq->muted = false;
	vq->used_event = vq->seen + count - 1;
	if (vq->event_idx)
		put_word(vq, used_event_gpa(vq), vq->used_event);
	else
		put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, flags)), 0);
	fence();
	return (uint16_t)(load_relaxed(&used_ring(vq)->idx) - vq->seen) >= count;
}

bool vq_driver_was_interrupt_due(struct vq_driver *vq)
{
	uint16_t from = vq->judged;
	bool due = false;

	vq->judged = load_acquire(&used_ring(vq)->idx);
	if (!vq->event_idx)
		return from != vq->judged && !vq->muted;
	for (; from != vq->judged; from++)
		due |= from == vq->used_event;
	return due;
}

void vq_driver_check(struct vq_driver *vq)
{
	const struct vring_used *ring = used_ring(vq);
	const struct vq_ram *memory = vq->ram;

	must(vq->in_flight == 0 && vq->free_count == vq->size);
	must(load_acquire(&ring->idx) == vq->seen);
	/* Sections 2.7.10.1 and 2.7.10.2. */
	must(load_relaxed(&ring->flags) <= (vq->event_idx ? 0 : VRING_USED_F_NO_NOTIFY));
	/* The device may still be asking to be rung. */
	check_range(memory, memory->gpa, vq->config.device);
	check_range(memory, vq->config.device + used_len(vq), memory->gpa + memory->len);
}

/* --- For hostile drivers --- */

void vq_split_desc(struct vq_driver *vq, unsigned index, const struct vring_desc *desc)
{
	vq_ram_put(vq->ram, vq->config.desc + 16 * (uint64_t)index, desc, sizeof(*desc));
}

void vq_split_avail(struct vq_driver *vq, uint16_t flags, uint16_t idx, uint16_t used_event)
{
	put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, flags)), flags);
	put_word(vq, used_event_gpa(vq), used_event);
	put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, idx)), idx);
}

void vq_split_head(struct vq_driver *vq, unsigned slot, uint16_t head)
{
	put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, ring[slot])), head);
}
