// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/fakes.h"

#include <check.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "hw/base/util.h"

uint32_t fake_random(uint32_t *state)
{
	uint32_t x = *state += 0x9e3779b9;

	/* All bits must be good: tests take remainders. */
	x = (x ^ x >> 16) * 0x21f0aaad;
	x = (x ^ x >> 15) * 0x735a2d97;
	return x ^ x >> 15;
}

/* --- Interrupt lines --- */

static void line_set(void *opaque, unsigned gsi, bool level)
{
	struct fake_lines *lines = opaque;

	ck_assert_uint_ge(gsi, FAKE_GSI);
	ck_assert_uint_lt(gsi, FAKE_GSI + FAKE_LINES);
	ck_assert_msg(lines->level[gsi - FAKE_GSI] != level, "set without a change");
	lines->level[gsi - FAKE_GSI] = level;
	__atomic_fetch_add(&lines->changes, 1, __ATOMIC_RELAXED);
}

static const struct irq_line_ops line_ops = { .set = line_set };

void fake_lines_init(struct fake_lines *lines)
{
	memset(lines, 0, sizeof(*lines));
	for (unsigned i = 0; i < FAKE_LINES; i++)
		irq_line_init(&lines->line[i], FAKE_GSI + i, &line_ops, lines);
}

void fake_lines_destroy(struct fake_lines *lines)
{
	for (unsigned i = 0; i < FAKE_LINES; i++)
		irq_line_destroy(&lines->line[i]);
}

/* --- MSI --- */

static int msi_attach(void *opaque, int eventfd, const struct msi_message *message)
{
	struct fake_msi *msi = opaque;
	int handle = -1;

	if (msi->refuse)
		return -ENOSPC;
	for (int i = FAKE_SLOTS - 1; i >= 0; i--) {
		ck_assert_msg(!msi->slot[i].used || msi->slot[i].eventfd != eventfd,
			      "attached twice");
		if (!msi->slot[i].used)
			handle = i;
	}
	ck_assert_int_ge(handle, 0);
	msi->slot[handle].used = true;
	msi->slot[handle].eventfd = eventfd;
	msi->slot[handle].message = *message;
	msi->attached++;
	msi->attaches++;
	return handle;
}

static void msi_detach(void *opaque, int eventfd, int handle)
{
	struct fake_msi *msi = opaque;

	ck_assert_int_ge(handle, 0);
	ck_assert(msi->slot[handle].used);
	ck_assert_int_eq(msi->slot[handle].eventfd, eventfd);
	msi->slot[handle].used = false;
	msi->attached--;
}

const struct msi_ops fake_msi_ops = { msi_attach, msi_detach };

unsigned fake_msi_run(struct fake_msi *msi)
{
	unsigned sent = 0;
	eventfd_t count;

	for (unsigned i = 0; i < FAKE_SLOTS; i++) {
		if (!msi->slot[i].used || eventfd_read(msi->slot[i].eventfd, &count))
			continue;
		msi->sent = msi->slot[i].message;
		sent++;
	}
	return sent;
}

/* --- Doorbells --- */

static int doorbell_attach(void *opaque, const struct doorbell *doorbell)
{
	struct fake_doorbells *d = opaque;

	if (d->refuse)
		return -ENOSPC;
	ck_assert_int_ge(doorbell->eventfd, 0);
	for (unsigned i = 0; i < d->attached; i++)
		ck_assert_msg(d->slot[i].addr != doorbell->addr ||
			      d->slot[i].is_port != doorbell->is_port ||
			      (doorbell->len && d->slot[i].len &&
			       d->slot[i].value != doorbell->value),
			      "address attached twice");
	ck_assert_uint_lt(d->attached, FAKE_SLOTS);
	d->slot[d->attached++] = *doorbell;
	d->attaches++;
	return 0;
}

static void doorbell_detach(void *opaque, const struct doorbell *doorbell)
{
	struct fake_doorbells *d = opaque;
	unsigned i;

	for (i = 0; i < d->attached; i++)
		if (d->slot[i].addr == doorbell->addr &&
		    d->slot[i].is_port == doorbell->is_port &&
		    d->slot[i].eventfd == doorbell->eventfd &&
		    d->slot[i].len == doorbell->len && d->slot[i].value == doorbell->value)
			break;
	ck_assert_msg(i < d->attached, "detached what was not attached");
	d->slot[i] = d->slot[--d->attached];
}

const struct doorbell_ops fake_doorbell_ops = { doorbell_attach, doorbell_detach };

static bool take_write(struct fake_doorbells *doorbells, bool is_port, uint64_t addr,
		       uint32_t value, unsigned len)
{
	for (unsigned i = 0; i < doorbells->attached; i++) {
		const struct doorbell *d = &doorbells->slot[i];

		if (d->is_port == is_port && d->addr == addr &&
		    (!d->len || (d->len == len && d->value == value)))
			return eventfd_write(d->eventfd, 1) == 0;
	}
	return false;
}

bool fake_doorbells_write(struct fake_doorbells *doorbells, uint64_t addr, uint32_t value,
			  unsigned len)
{
	return take_write(doorbells, false, addr, value, len);
}

bool fake_doorbells_out(struct fake_doorbells *doorbells, uint64_t port, uint16_t value)
{
	return take_write(doorbells, true, port, value, 2);
}

bool fake_doorbells_ring(struct fake_doorbells *doorbells, uint64_t addr)
{
	return fake_doorbells_write(doorbells, addr, 0, 2);
}

/* --- A board with a PCI host --- */

void fake_board_init(struct fake_board *board)
{
	const struct pci_host_config config = {
		.memory_bus = &board->memory,
		.io_bus = &board->io,
		.line = board->lines.line,
		.ecam = FAKE_ECAM,
		.memory32 = { .base = FAKE_WINDOW32, .len = FAKE_WINDOW },
		.memory64 = { .base = FAKE_WINDOW64, .len = FAKE_WINDOW },
		.io = { .base = FAKE_WINDOW_IO, .len = FAKE_PORTS },
	};

	bus_init(&board->memory);
	bus_init(&board->io);
	fake_lines_init(&board->lines);
	ck_assert_int_eq(pci_host_init(&board->host, &config), 0);
}

void fake_board_destroy(struct fake_board *board)
{
	pci_host_destroy(&board->host);
	fake_lines_destroy(&board->lines);
	bus_destroy(&board->io);
	bus_destroy(&board->memory);
}

static uint64_t ecam_at(unsigned devfn, unsigned reg)
{
	return FAKE_ECAM + ((uint64_t)devfn << 12) + reg;
}

uint64_t fake_ecam_read(struct fake_board *board, unsigned devfn, unsigned reg, unsigned len)
{
	return bus_read(&board->memory, ecam_at(devfn, reg), len);
}

void fake_ecam_write(struct fake_board *board, unsigned devfn, unsigned reg, uint64_t value,
		     unsigned len)
{
	bus_write(&board->memory, ecam_at(devfn, reg), value, len);
}

static void port_select(struct fake_board *board, unsigned devfn, unsigned reg)
{
	bus_write(&board->io, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc), 4);
}

uint32_t fake_port_read(struct fake_board *board, unsigned devfn, unsigned reg, unsigned len)
{
	port_select(board, devfn, reg);
	return (uint32_t)bus_read(&board->io, 0xcfc + (reg & 3), len);
}

void fake_port_write(struct fake_board *board, unsigned devfn, unsigned reg, uint32_t value,
		     unsigned len)
{
	port_select(board, devfn, reg);
	bus_write(&board->io, 0xcfc + (reg & 3), value, len);
}

/* --- A virtio device type --- */

static struct fake_device *from_virtio(struct virtio_device *dev)
{
	return container_of(dev, struct fake_device, virtio);
}

static void config_read(struct virtio_device *dev, void *config)
{
	memcpy(config, from_virtio(dev)->config, FAKE_CONFIG);
}

static void config_write(struct virtio_device *dev, unsigned offset, uint64_t value, unsigned len)
{
	struct fake_device *fake = from_virtio(dev);

	ck_assert_uint_le(offset + len, FAKE_CONFIG);
	fake->config_writes++;
	memcpy(fake->config + offset, &value, len);
}

static bool features_ok(struct virtio_device *dev, uint64_t features)
{
	ck_assert_uint_eq(features & ~dev->offered, 0);
	return !(features & VIRTIO_BIT(FAKE_UNUSABLE));
}

static void queue_start(struct virtio_device *dev, unsigned index)
{
	struct fake_device *fake = from_virtio(dev);

	ck_assert_uint_lt(index, FAKE_QUEUES);
	ck_assert_msg(!fake->owned[index], "started while its thread has it");
	ck_assert(virtio_queue_running(&dev->queue[index]));
	fake->owned[index] = true;
	fake->starts[index]++;
}

static void queue_stop(struct virtio_device *dev, unsigned index)
{
	struct fake_device *fake = from_virtio(dev);

	ck_assert_uint_lt(index, FAKE_QUEUES);
	ck_assert_msg(fake->owned[index], "stopped a queue that nobody has");
	__atomic_fetch_add(&fake->stops[index], 1, __ATOMIC_RELEASE);
	if (!fake->slow_stop)
		fake_device_let_go(fake, index);
}

static const struct virtio_device_ops device_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.features_ok = features_ok,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
};

static const struct virtio_feature feature_names[] = {
	{ FAKE_FEATURE, "FAKE", "always", "0" },
	{ 0, NULL, NULL, NULL },
};

void fake_device_init(struct fake_device *fake)
{
	*fake = (struct fake_device){
		.virtio = {
			.name = "fake",
			.id = 2,
			.offered = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(FAKE_FEATURE) |
				   VIRTIO_BIT(FAKE_UNUSABLE) |
				   VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |
				   VIRTIO_BIT(VIRTIO_F_RING_RESET),
			.config_len = FAKE_CONFIG,
			.queue_count = FAKE_QUEUES,
			.queue_size_max = FAKE_QUEUE_SIZE,
			.ops = &device_ops,
			.mem = &fake->mem,
			.feature_names = feature_names,
		},
	};
	for (unsigned i = 0; i < FAKE_CONFIG; i++)
		fake->config[i] = (uint8_t)(0x10 + i);
	fake->ram = aligned_alloc(0x1000, FAKE_RAM);
	ck_assert_ptr_nonnull(fake->ram);
	memset(fake->ram, 0, FAKE_RAM);
	ck_assert_int_eq(guest_memory_add(&fake->mem, FAKE_RAM_AT, FAKE_RAM, fake->ram), 0);
	ck_assert_int_eq(virtio_device_init(&fake->virtio), 0);
}

void fake_device_destroy(struct fake_device *fake)
{
	virtio_device_destroy(&fake->virtio);
	free(fake->ram);
}

void fake_device_let_go(struct fake_device *fake, unsigned index)
{
	fake->owned[index] = false;
	virtio_queue_stopped(&fake->virtio, index);
}

unsigned fake_device_kicks(struct fake_device *fake, unsigned index)
{
	eventfd_t count;

	return eventfd_read(fake->virtio.queue[index].doorbell, &count) ? 0 : (unsigned)count;
}

uint64_t fake_ring_at(unsigned index, unsigned part)
{
	return FAKE_RAM_AT + 0x4000 * index + 0x1000 * part;
}
