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

#define AVAIL (1U << VRING_PACKED_DESC_F_AVAIL)
#define USED (1U << VRING_PACKED_DESC_F_USED)

/* What is known of a chain in flight. */
struct in_flight {
	bool busy;
	unsigned slots;            /* descriptors of the ring */
	unsigned count;
	struct vq_part *writable;  /* count of them */
};

struct vq_driver {
	struct vq_ram *ram;
	struct virtqueue_config config;
	uint16_t size;
	bool packed, event_idx, in_order;
	uint64_t random;

	/* Split: descriptors that no chain has.  Packed: chains that are free. */
	uint16_t *free;
	unsigned free_count;
	unsigned free_slots;        /* of a packed ring */
	struct in_flight *chain;    /* by id */
	unsigned in_flight;
	uint16_t *line;             /* ids in order of add, a ring */
	unsigned line_at;           /* of the oldest in flight, with IN_ORDER */

	/*
	 * Split: free-running positions.  Packed: places, from 0 to twice the
	 * size, since a place comes again after two laps.
	 */
	uint32_t added, published; /* made available */
	uint32_t seen, judged;     /* used */
	uint16_t held_flags;       /* of the first added since publish; packed */

	/* Event suppression, as last written. */
	bool muted;
	uint32_t used_event;
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

static uint64_t driver_len(const struct vq_driver *vq)
{
	return vq->packed ? 4 : 6 + 2 * (uint64_t)vq->size;
}

static uint64_t device_len(const struct vq_driver *vq)
{
	return vq->packed ? 4 : 6 + 8 * (uint64_t)vq->size;
}

/* A word that the device may be reading. */
static void put_word(struct vq_driver *vq, uint64_t gpa, uint16_t value)
{
	store_release((uint16_t *)vq_ram_ptr(vq->ram, gpa), value);
	memcpy(shadow_ptr(vq->ram, gpa), &value, sizeof(value));
}

/*
 * Orders what this side stored before what it loads next: avail index before
 * the device's event suppression, its own before the used index.
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
	must(!vq->packed || (count == chain->entries && !chain->order));
	for (unsigned i = 0; i < chain->entries; i++) {
		desc = junk(vq);
		vq_ram_put(vq->ram, chain->table + 16 * i, &desc, sizeof(desc));
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned at = chain->order ? chain->order[i] : i;

		desc = desc_of(&part[i]);
		desc.next = junk(vq).next;
		if (vq->packed) {
			/* The id stands before the flags; of those only WRITE counts (2.8.7). */
			desc.next = desc.flags | (junk(vq).next & ~VRING_DESC_F_WRITE);
			desc.flags = junk(vq).flags;
		} else if (i + 1 < count) {
			desc.flags |= VRING_DESC_F_NEXT;
			desc.next = chain->order ? chain->order[i + 1] : (uint16_t)(i + 1);
		}
		vq_ram_put(vq->ram, chain->table + 16 * at, &desc, sizeof(desc));
	}
}

static struct vring_desc pointer_to(const struct vq_chain *chain)
{
	return (struct vring_desc){
		.addr = chain->table,
		.len = 16 * chain->entries,
		.flags = VRING_DESC_F_INDIRECT |
			(chain->pointer_writable ? VRING_DESC_F_WRITE : 0),
	};
}

/* Descriptor @i of those that a chain has in the ring, but for NEXT. */
static struct vring_desc ring_desc(const struct vq_chain *chain, unsigned i)
{
	bool is_pointer = chain->entries && i == chain->direct;

	return is_pointer ? pointer_to(chain) : desc_of(&chain->part[i]);
}

static uint16_t split_add(struct vq_driver *vq, const struct vq_chain *chain, unsigned needed)
{
	uint16_t head = vq->free[vq->free_count - 1];

	for (unsigned i = 0; i < needed; i++) {
		uint16_t index = vq->free[--vq->free_count];
		struct vring_desc desc = ring_desc(chain, i);

		desc.next = junk(vq).next;
		if (i + 1 < needed) {
			desc.flags |= VRING_DESC_F_NEXT;
			desc.next = vq->free[vq->free_count - 1];
		}
		vq_split_desc(vq, index, &desc);
	}
	vq_split_head(vq, vq->added & (vq->size - 1), head);
	vq->added = (uint16_t)(vq->added + 1);
	return head;
}

/* Buffer ids are any 16 bits: half of them are large. */
static uint16_t buffer_id(unsigned chain)
{
	return (uint16_t)(chain % 2 ? 0x10000 - chain : chain);
}

static uint16_t chain_of(uint16_t id)
{
	return (uint16_t)(id % 2 ? 0x10000 - id : id);
}

static uint32_t place_after(const struct vq_driver *vq, uint32_t place, unsigned slots)
{
	return (place + slots) % (2U * vq->size);
}

/* The wrap counter: 1 in the first of two laps. */
static bool wrap_at(const struct vq_driver *vq, uint32_t place)
{
	return place < vq->size;
}

static uint64_t desc_gpa(const struct vq_driver *vq, uint32_t place)
{
	return vq->config.desc + 16 * (uint64_t)(place % vq->size);
}

/* All but the flags. */
static void put_packed(struct vq_driver *vq, uint32_t place, const struct vring_packed_desc *desc)
{
	vq_ram_put(vq->ram, desc_gpa(vq, place), desc,
		   offsetof(struct vring_packed_desc, flags));
}

static void put_packed_flags(struct vq_driver *vq, uint32_t place, uint16_t flags)
{
	put_word(vq, desc_gpa(vq, place) + offsetof(struct vring_packed_desc, flags), flags);
}

static uint16_t packed_add(struct vq_driver *vq, const struct vq_chain *chain, unsigned needed)
{
	uint16_t index = vq->free[--vq->free_count];

	for (unsigned i = 0; i < needed; i++) {
		struct vring_desc from = ring_desc(chain, i);
		bool last = i + 1 == needed;
		uint16_t flags = from.flags | (wrap_at(vq, vq->added) ? AVAIL : USED) |
			(last ? 0 : VRING_DESC_F_NEXT);
		struct vring_packed_desc desc = {
			.addr = from.addr,
			.len = from.len,
			/* That of the last counts. */
			.id = last ? buffer_id(index) : junk(vq).next,
		};

		put_packed(vq, vq->added, &desc);
		/* The first of a batch hides the others. */
		if (vq->added == vq->published)
			vq->held_flags = flags;
		else
			put_packed_flags(vq, vq->added, flags);
		vq->added = place_after(vq, vq->added, 1);
	}
	vq->free_slots -= needed;
	return index;
}

static void remember(struct vq_driver *vq, uint16_t id, const struct vq_chain *chain,
		     unsigned slots)
{
	struct in_flight *known = &vq->chain[id];

	must(!known->busy);
	*known = (struct in_flight){ .busy = true, .slots = slots };
	known->writable = malloc(chain->count * sizeof(*known->writable));
	must(known->writable);
	for (unsigned i = 0; i < chain->count; i++)
		if (chain->part[i].writable)
			known->writable[known->count++] = chain->part[i];
	vq->line[(vq->line_at + vq->in_flight++) % vq->size] = id;
}

int vq_driver_add(struct vq_driver *vq, const struct vq_chain *chain)
{
	unsigned direct = chain->entries ? chain->direct : chain->count;
	unsigned needed = direct + (chain->entries != 0);
	uint16_t id;

	must(needed > 0);
	/* A list in a packed ring has no table (section 2.8.7). */
	must(!vq->packed || !chain->entries || direct == 0);
	if (needed > (vq->packed ? vq->free_slots : vq->free_count))
		return -1;
	if (chain->entries)
		put_table(vq, chain);
	id = vq->packed ? packed_add(vq, chain, needed) : split_add(vq, chain, needed);
	remember(vq, id, chain, needed);
	return id;
}

int vq_driver_add_parts(struct vq_driver *vq, const struct vq_part *part, unsigned count)
{
	return vq_driver_add(vq, &(struct vq_chain){ .part = part, .count = count });
}

static uint16_t avail_event(const struct vq_driver *vq)
{
	return load_relaxed((uint16_t *)&used_ring(vq)->ring[vq->size]);
}

/* What the device asked for, whole (section 2.8.10). */
static uint32_t device_event(const struct vq_driver *vq)
{
	return load_relaxed((uint32_t *)vq_ram_ptr(vq->ram, vq->config.device));
}

static uint32_t event_flags(uint32_t event)
{
	return event >> 16;
}

static uint32_t event_place(const struct vq_driver *vq, uint32_t event)
{
	uint32_t slot = event & 0x7fff;

	must(slot < vq->size);
	return event & 0x8000 ? slot : slot + vq->size;
}

bool vq_driver_all_popped(const struct vq_driver *vq)
{
	uint32_t event;

	must(vq->event_idx);
	if (!vq->packed)
		return avail_event(vq) == vq->published;
	event = device_event(vq);
	return event_flags(event) == VRING_PACKED_EVENT_FLAG_DESC &&
		event_place(vq, event) == vq->published;
}

/* Is @event among the positions from @from to before @to? */
static bool crossed(const struct vq_driver *vq, uint32_t from, uint32_t to, uint32_t event)
{
	bool hit = false;

	while (from != to) {
		hit |= from == event;
		from = vq->packed ? place_after(vq, from, 1) : (uint16_t)(from + 1);
	}
	return hit;
}

static bool packed_publish(struct vq_driver *vq, uint32_t from)
{
	uint32_t event;

	if (from == vq->added)
		return false;
	put_packed_flags(vq, from, vq->held_flags);
	vq->published = vq->added;
	fence();
	event = device_event(vq);
	must(event_flags(event) < (vq->event_idx ? 3 : 2));
	if (event_flags(event) == VRING_PACKED_EVENT_FLAG_DESC)
		return crossed(vq, from, vq->added, event_place(vq, event));
	return event_flags(event) == VRING_PACKED_EVENT_FLAG_ENABLE;
}

bool vq_driver_publish(struct vq_driver *vq)
{
	uint32_t from = vq->published;

	if (vq->packed)
		return packed_publish(vq, from);
	put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, idx)), (uint16_t)vq->added);
	vq->published = vq->added;
	fence();
	if (!vq->event_idx)
		return from != vq->added &&
			!(load_relaxed(&used_ring(vq)->flags) & VRING_USED_F_NO_NOTIFY);
	/* Was the entry at avail_event among those (section 2.7.10)? */
	return crossed(vq, from, vq->added, avail_event(vq));
}

/* --- Get --- */

/* Takes over what the device may have written; the bytes of writable parts. */
static uint64_t take_over(struct vq_driver *vq, struct in_flight *known)
{
	uint64_t writable = 0;

	for (unsigned i = 0; i < known->count; i++) {
		const struct vq_part *part = &known->writable[i];

		if (in_ram(vq->ram, part->gpa, part->len))
			vq_ram_allow(vq->ram, part->gpa, part->len);
		writable += part->len;
	}
	free(known->writable);
	*known = (struct in_flight){ .busy = false };
	return writable;
}

/* Walks what the driver wrote, not what stands in the ring now. */
static void free_split(struct vq_driver *vq, uint16_t head)
{
	const struct vring_desc *ring = shadow_ptr(vq->ram, vq->config.desc);
	struct vring_desc desc = { .flags = VRING_DESC_F_NEXT, .next = head };

	while (desc.flags & VRING_DESC_F_NEXT) {
		vq->free[vq->free_count++] = desc.next;
		desc = ring[desc.next];
	}
}

/* The chain is the driver's again, with all that it takes. */
static uint64_t settle(struct vq_driver *vq, uint16_t id)
{
	if (vq->packed) {
		vq->free[vq->free_count++] = id;
		vq->free_slots += vq->chain[id].slots;
	} else {
		free_split(vq, id);
	}
	return take_over(vq, &vq->chain[id]);
}

static bool split_get(struct vq_driver *vq, struct vq_used *used)
{
	const struct vring_used *ring = used_ring(vq);
	const struct vring_used_elem *elem = &ring->ring[vq->seen & (vq->size - 1)];
	/* Pairs with the device's release, after data and elements. */
	uint16_t more = (uint16_t)(load_acquire(&ring->idx) - vq->seen);

	must(more <= vq->in_flight);
	if (!more)
		return false;
	must(elem->id < vq->size && vq->chain[elem->id].busy);
	used->id = (uint16_t)elem->id;
	used->len = elem->len;
	vq->seen = (uint16_t)(vq->seen + 1);
	return true;
}

/* The descriptor at @place if it is used, or NULL. */
static const struct vring_packed_desc *packed_used(const struct vq_driver *vq, uint32_t place)
{
	const struct vring_packed_desc *desc = vq_ram_ptr(vq->ram, desc_gpa(vq, place));
	/* Pairs with the device's release, after data, id and length. */
	uint16_t flags = load_acquire(&desc->flags);
	bool wrap = wrap_at(vq, place);

	return !!(flags & AVAIL) == wrap && !!(flags & USED) == wrap ? desc : NULL;
}

static bool packed_get(struct vq_driver *vq, struct vq_used *used)
{
	const struct vring_packed_desc *desc = packed_used(vq, vq->seen);
	uint16_t flags;

	if (!vq->in_flight || !desc)
		return false;
	/* Reserved flags are 0; WRITE says that the length counts (section 2.8.4). */
	flags = load_relaxed(&desc->flags) & ~(AVAIL | USED);
	must(flags == (desc->len ? VRING_DESC_F_WRITE : 0));
	used->id = chain_of(desc->id);
	used->len = desc->len;
	must(used->id < vq->size && vq->chain[used->id].busy);
	vq_ram_allow(vq->ram, desc_gpa(vq, vq->seen), sizeof(*desc));
	vq->seen = place_after(vq, vq->seen, vq->chain[used->id].slots);
	return true;
}

bool vq_driver_get(struct vq_driver *vq, struct vq_used *used)
{
	if (!(vq->packed ? packed_get(vq, used) : split_get(vq, used)))
		return false;
	if (vq->in_order)
		must(used->id == vq->line[vq->line_at]);
	vq->line_at = (vq->line_at + 1) % vq->size;
	vq->in_flight--;
	used->writable = settle(vq, used->id);
	must(used->len <= used->writable);
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
		take_over(vq, &vq->chain[i]);
	if (vq->packed)
		vq_ram_fill(vq->ram, vq->config.desc, 0, 16 * (uint64_t)vq->size);
	vq_ram_fill(vq->ram, vq->config.driver, 0, driver_len(vq));
	vq_ram_fill(vq->ram, vq->config.device, 0, device_len(vq));
	vq->free_count = vq->free_slots = vq->size;
	for (i = 0; i < vq->size; i++)
		vq->free[i] = (uint16_t)i;
	for (i = vq->size; i > 1; i--) {
		unsigned j = vq_random(&vq->random, i);
		uint16_t swap = vq->free[j];

		vq->free[j] = vq->free[i - 1];
		vq->free[i - 1] = swap;
	}
	vq->in_flight = 0;
	vq->line_at = 0;
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
	vq->packed = features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	vq->in_order = features & VIRTIO_BIT(VIRTIO_F_IN_ORDER);
	vq->random = 1;
	vq->free = calloc(vq->size, sizeof(*vq->free));
	vq->chain = calloc(vq->size, sizeof(*vq->chain));
	vq->line = calloc(vq->size, sizeof(*vq->line));
	must(vq->free && vq->chain && vq->line);
	vq_driver_reset(vq);
	return vq;
}

struct vq_driver *vq_driver_create(struct vq_ram *ram, uint16_t size, uint64_t features)
{
	bool packed = features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	const struct virtqueue_config config = {
		.size = size,
		.enabled = true,
		.desc = vq_ram_alloc(ram, 16 * (uint64_t)size, VRING_DESC_ALIGN_SIZE),
		.driver = vq_ram_alloc(ram, 6 + 2 * (uint64_t)size,
				       packed ? 4 : VRING_AVAIL_ALIGN_SIZE),
		.device = vq_ram_alloc(ram, 6 + 8 * (uint64_t)size, VRING_USED_ALIGN_SIZE),
	};

	return vq_driver_create_at(ram, &config, features);
}

void vq_driver_free(struct vq_driver *vq)
{
	free(vq->free);
	for (unsigned i = 0; i < vq->size; i++)
		free(vq->chain[i].writable);
	free(vq->chain);
	free(vq->line);
	free(vq);
}

const struct virtqueue_config *vq_driver_config(const struct vq_driver *vq)
{
	return &vq->config;
}

/* --- Wishes --- */

/* Offset and wrap counter stand before flags that let them count. */
static void put_event(struct vq_driver *vq, uint32_t place, uint16_t flags)
{
	uint16_t wrap = (uint16_t)(wrap_at(vq, place) << VRING_PACKED_EVENT_F_WRAP_CTR);

	put_word(vq, vq->config.driver, (uint16_t)(place % vq->size) | wrap);
	fence();
	put_word(vq, vq->config.driver + 2, flags);
}

void vq_driver_mute(struct vq_driver *vq)
{
	bool far = vq->event_idx && (!vq->packed || vq_random(&vq->random, 2));

	vq->muted = true;
	/* Half the positions away, as far as it can be. */
	vq->used_event = vq->packed ? place_after(vq, vq->seen, vq->size) :
		(uint16_t)(vq->seen + 0x8000);
	if (vq->packed)
		put_event(vq, vq->used_event,
			  far ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_DISABLE);
	else if (vq->event_idx)
		put_word(vq, used_event_gpa(vq), (uint16_t)vq->used_event);
	else
		put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, flags)),
			 VRING_AVAIL_F_NO_INTERRUPT);
}

/* Where the used descriptors end that are there. */
static uint32_t packed_used_end(const struct vq_driver *vq)
{
	const struct vring_packed_desc *desc;
	uint32_t place = vq->seen;

	for (unsigned n = vq->in_flight; n && (desc = packed_used(vq, place)); n--) {
		must(chain_of(desc->id) < vq->size);
		place = place_after(vq, place, vq->chain[chain_of(desc->id)].slots);
	}
	return place;
}

static bool packed_listen(struct vq_driver *vq, uint16_t count)
{
	uint32_t laps = 2U * vq->size;

	vq->used_event = (vq->seen + laps + count - 1) % laps;
	put_event(vq, vq->used_event, vq->event_idx ? VRING_PACKED_EVENT_FLAG_DESC :
		  VRING_PACKED_EVENT_FLAG_ENABLE);
	fence();
	return (packed_used_end(vq) + laps - vq->seen) % laps >= count;
}

bool vq_driver_listen(struct vq_driver *vq, uint16_t count)
{
	vq->muted = false;
	if (vq->packed)
		return packed_listen(vq, count);
	vq->used_event = (uint16_t)(vq->seen + count - 1);
	if (vq->event_idx)
		put_word(vq, used_event_gpa(vq), (uint16_t)vq->used_event);
	else
		put_word(vq, avail_gpa(vq, offsetof(struct vring_avail, flags)), 0);
	fence();
	return (uint16_t)(load_relaxed(&used_ring(vq)->idx) - vq->seen) >= count;
}

bool vq_driver_was_interrupt_due(struct vq_driver *vq)
{
	uint32_t from = vq->judged;
	uint32_t event;

	vq->judged = vq->packed ? packed_used_end(vq) : load_acquire(&used_ring(vq)->idx);
	if (vq->packed) {
		event = load_relaxed((uint32_t *)vq_ram_ptr(vq->ram, vq->config.driver));
		if (event_flags(event) != VRING_PACKED_EVENT_FLAG_DESC)
			return from != vq->judged &&
				event_flags(event) == VRING_PACKED_EVENT_FLAG_ENABLE;
		return crossed(vq, from, vq->judged, event_place(vq, event));
	}
	if (!vq->event_idx)
		return from != vq->judged && !vq->muted;
	return crossed(vq, from, vq->judged, vq->used_event);
}

void vq_driver_check(struct vq_driver *vq)
{
	const struct vring_used *ring = used_ring(vq);
	const struct vq_ram *memory = vq->ram;

	must(vq->in_flight == 0 && vq->free_count == vq->size);
	if (vq->packed) {
		must(vq->free_slots == vq->size);
		/* Section 2.8.10: what is reserved is 0, and so is 3. */
		must(event_flags(device_event(vq)) < (vq->event_idx ? 3 : 2));
	} else {
		must(load_acquire(&ring->idx) == vq->seen);
		/* Sections 2.7.10.1 and 2.7.10.2. */
		must(load_relaxed(&ring->flags) <= (vq->event_idx ? 0 : VRING_USED_F_NO_NOTIFY));
	}
	/* The device may still be asking to be rung. */
	check_range(memory, memory->gpa, vq->config.device);
	check_range(memory, vq->config.device + device_len(vq), memory->gpa + memory->len);
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

void vq_packed_desc(struct vq_driver *vq, unsigned slot, const struct vring_packed_desc *desc)
{
	put_packed(vq, slot, desc);
	put_packed_flags(vq, slot, desc->flags);
}

void vq_packed_event(struct vq_driver *vq, uint16_t offset, bool wrap, uint16_t flags)
{
	put_word(vq, vq->config.driver,
		 (uint16_t)(offset | wrap << VRING_PACKED_EVENT_F_WRAP_CTR));
	put_word(vq, vq->config.driver + 2, flags);
}
