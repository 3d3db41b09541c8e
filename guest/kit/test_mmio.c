// SPDX-License-Identifier: BSD-2-Clause
/*
 * The memory-mapped transport, version 2 (section Virtio Over MMIO). ACPI describes its
 * devices in AML, which the kit does not run: options mmio=ADDRESS and mmio-gsi=N say where
 * one is, a disk of its own beside the one on PCI that every test is given.
 *
 * The driver is small and polls, but for the tests of interrupts. A write to a register
 * that stops something takes effect before it returns: nothing here waits for that.
 */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	MAGIC_VALUE = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_SIZE_MAX = 0x034,
	SIZE_OF_QUEUE = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	DESC_LOW = 0x080,
	DRIVER_LOW = 0x090,
	DEVICE_LOW = 0x0a0,
	SHM_SEL = 0x0ac,
	SHM_LEN_LOW = 0x0b0,
	RESET_OF_QUEUE = 0x0c0,
	GENERATION = 0x0fc,
	CONFIG = 0x100,

	INTERRUPT_QUEUE = 1,
	INTERRUPT_CONFIG = 2,

	DISK_NUMBER = 1, /* the second image */
	QUEUES_MAX = 4,
	QUEUE_SIZE_LIMIT = 256,
	IN_FLIGHT = 32,
	REQUESTS = 16,
	FINAL_SECTORS = 64,
	RESET_PERIOD_MS = 100,
};

#define MAGIC 0x74726976u
#define SHM_NONE 0xffffffffu

/* Not for this transport (GEN-17). */
#define ALIEN_FEATURES (FEATURE(F_SR_IOV) | FEATURE(F_NOTIF_CONFIG_DATA) | FEATURE(F_ADMIN_VQ))

/* Only its number, capacity and queue are in use: device is what PCI needs. */
static struct blk mmio;

static uintptr_t at(unsigned offset)
{
	return option_number("mmio", 0) + offset;
}

static uint32_t get(unsigned offset)
{
	return mmio_read32(at(offset));
}

static void put(unsigned offset, uint32_t value)
{
	mmio_write32(at(offset), value);
}

static void put64(unsigned offset, uint64_t value)
{
	put(offset, (uint32_t)value);
	put(offset + 4, (uint32_t)(value >> 32));
}

/* --- A driver --- */

static unsigned gsi(void)
{
	return (unsigned)option_number("mmio-gsi", 16);
}

static void reset(void)
{
	put(STATUS, 0);
	CHECK_EQUAL(get(STATUS), 0);
}

static uint32_t offered_word(uint32_t word)
{
	put(DEVICE_FEATURES_SEL, word);
	return get(DEVICE_FEATURES);
}

/* The high word first, as Linux does. */
static uint64_t offered(void)
{
	uint64_t high = offered_word(1);

	return high << 32 | offered_word(0);
}

/* From reset to FEATURES_OK; true if the device took them. */
static bool try_features(uint64_t features)
{
	reset();
	put(STATUS, STATUS_ACKNOWLEDGE);
	put(STATUS, STATUS_FOUND);
	for (unsigned word = VIRTIO_FEATURE_WORDS; word-- > 0;) {
		put(DRIVER_FEATURES_SEL, word);
		put(DRIVER_FEATURES, (uint32_t)(features >> 32 * word));
	}
	put(STATUS, STATUS_NEGOTIATED);
	return get(STATUS) == STATUS_NEGOTIATED;
}

/* With exactly `features` and VERSION_1, not live yet. */
static void negotiate(uint64_t features)
{
	CHECK(try_features(features | FEATURE(F_VERSION_1)));
	mmio.number = DISK_NUMBER;
	mmio.capacity = get(CONFIG + BLK_CAPACITY) | (uint64_t)get(CONFIG + BLK_CAPACITY + 4) << 32;
}

static uint16_t queue_size(uint16_t index)
{
	uint32_t size;

	put(QUEUE_SEL, index);
	size = get(QUEUE_SIZE_MAX);
	return (uint16_t)(size < QUEUE_SIZE_LIMIT ? size : QUEUE_SIZE_LIMIT);
}

/* Makes a fresh ring and writes its registers; it is not ready yet. */
static void queue_describe(struct virtq *queue, uint16_t index, uint16_t size)
{
	virtq_create(queue, &mmio.device, index, size);
	put(QUEUE_SEL, index);
	put(SIZE_OF_QUEUE, size);
	put64(DESC_LOW, (uintptr_t)queue->desc);
	put64(DRIVER_LOW, (uintptr_t)queue->avail);
	put64(DEVICE_LOW, (uintptr_t)queue->used);
}

static void queue_ready(void)
{
	put(QUEUE_READY, 1);
	CHECK_EQUAL(get(QUEUE_READY), 1);
}

static void queue_start(uint16_t size)
{
	queue_describe(&mmio.queue, 0, size);
	queue_ready();
}

static void live(void)
{
	put(STATUS, STATUS_LIVE);
	CHECK_EQUAL(get(STATUS), STATUS_LIVE);
}

static void start(uint64_t features)
{
	negotiate(features);
	queue_start(queue_size(0));
	live();
}

static void kick(void)
{
	put(QUEUE_NOTIFY, mmio.queue.index);
}

/* Takes the one request that is on its way; `kick_value` tells of it. */
static void finish(struct blk_request *request, uint32_t kick_value)
{
	put(QUEUE_NOTIFY, kick_value);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(&mmio.queue)));
	blk_take(&mmio, request);
	CHECK_EQUAL(blk_status(request), BLK_OK);
}

/* Reads a sector of the half that keeps its pattern. */
static void check_read_kicking(uint64_t sector, uint32_t kick_value)
{
	struct blk_request request;

	blk_request_init(&request, BLK_IN, sector, SECTOR_SIZE);
	blk_queue(&mmio, &request);
	finish(&request, kick_value);
	blk_check(&mmio, blk_data(&request), sector, 1, false);
}

static void check_read(uint64_t sector)
{
	check_read_kicking(sector, mmio.queue.index);
}

static void check_alive(void)
{
	start(0);
	check_read(1);
}

static void check_line_high(void)
{
	CHECK(irq_line_asserted(gsi(), PATIENCE_MS));
}

static void check_line_low(void)
{
	CHECK(!irq_line_asserted(gsi(), QUIET_MS));
}

/* --- Registers --- */

static void identity(struct blk *disk)
{
	(void)disk;
	CHECK_EQUAL(get(MAGIC_VALUE), MAGIC);
	CHECK_EQUAL(get(VERSION), 2);
	CHECK_EQUAL(get(DEVICE_ID), VIRTIO_ID_BLK);
	CHECK(get(VENDOR_ID) != 0);
}

static void features_offered(struct blk *disk)
{
	(void)disk;
	CHECK(offered() & FEATURE(F_VERSION_1));
	CHECK_EQUAL(offered() & ALIEN_FEATURES, 0);
}

static void features_words(struct blk *disk)
{
	static const uint32_t beyond[] = { 2, 3, 0x7fffffff, 0xffffffff };

	(void)disk;
	for (unsigned i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		test_context("word 0x%x", beyond[i]);
		CHECK_EQUAL(offered_word(beyond[i]), 0);
		put(DRIVER_FEATURES_SEL, beyond[i]);
		put(DRIVER_FEATURES, 0xffffffff);
	}
	test_context(NULL);
	check_alive();
}

/* Each bit is accepted, if it was offered, or refused. */
static void features_bits(struct blk *disk)
{
	uint64_t all = offered();

	(void)disk;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t one = FEATURE(bit) | FEATURE(F_VERSION_1);

		test_context("bit %u", bit);
		CHECK_EQUAL(try_features(one), (all & one) == one);
	}
}

static void queue_missing(struct blk *disk)
{
	static const uint32_t missing[] = { QUEUES_MAX, 0x7fff, 0x10000, 0xffffffff };

	(void)disk;
	start(0);
	for (unsigned i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		test_context("queue 0x%x", missing[i]);
		put(QUEUE_SEL, missing[i]);
		CHECK_EQUAL(get(QUEUE_SIZE_MAX), 0);
		put(SIZE_OF_QUEUE, 16);
		put64(DESC_LOW, 0x1000);
		put(QUEUE_READY, 1);
		put(QUEUE_NOTIFY, missing[i]);
	}
	test_context(NULL);
	CHECK_EQUAL(get(STATUS), STATUS_LIVE);
	check_read(1);
}

/* More requests than the ring is long: it is as long for the device as for the driver. */
static void queue_half_size(struct blk *disk)
{
	uint16_t size;

	(void)disk;
	negotiate(0);
	size = queue_size(0) / 2;
	queue_start(size);
	live();
	for (unsigned i = 0; i <= size; i++)
		check_read(i);
}

static void ready_reads_back(struct blk *disk)
{
	(void)disk;
	negotiate(0);
	put(QUEUE_SEL, 0);
	CHECK_EQUAL(get(QUEUE_READY), 0);
	queue_start(queue_size(0));
	put(QUEUE_READY, 0);
	CHECK_EQUAL(get(QUEUE_READY), 0);
	queue_start(queue_size(0));
	live();
	check_read(1);
}

/* Each half is written over, once after and once before the other. */
static void address_halves(struct blk *disk)
{
	static const unsigned fields[] = { DESC_LOW, DRIVER_LOW, DEVICE_LOW };

	(void)disk;
	for (unsigned high_first = 0; high_first < 2; high_first++) {
		const struct virtq *queue = &mmio.queue;

		test_context("%s half first", high_first ? "high" : "low");
		negotiate(0);
		queue_describe(&mmio.queue, 0, queue_size(0));
		for (unsigned i = 0; i < 3; i++) {
			const uintptr_t areas[] = { (uintptr_t)queue->desc, (uintptr_t)queue->avail,
						    (uintptr_t)queue->used };

			put64(fields[i], 0x123456789abcdef0);
			if (high_first)
				put(fields[i] + 4, (uint32_t)(areas[i] >> 32));
			put(fields[i], (uint32_t)areas[i]);
			if (!high_first)
				put(fields[i] + 4, (uint32_t)(areas[i] >> 32));
		}
		queue_ready();
		live();
		check_read(2);
	}
}

static void ready_queue_is_fixed(struct blk *disk)
{
	(void)disk;
	start(0);
	put(QUEUE_SEL, 0);
	put(SIZE_OF_QUEUE, mmio.queue.size / 2);
	put64(DESC_LOW, (uintptr_t)heap_alloc(PAGE_SIZE, PAGE_SIZE));
	put64(DRIVER_LOW, (uintptr_t)heap_alloc(PAGE_SIZE, PAGE_SIZE));
	put64(DEVICE_LOW, (uintptr_t)heap_alloc(PAGE_SIZE, PAGE_SIZE));
	put(QUEUE_READY, 1);
	for (unsigned i = 0; i < mmio.queue.size / 2u + 1; i++)
		check_read(i);
}

static void shared_memory(struct blk *disk)
{
	(void)disk;
	put(SHM_SEL, 0xff);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQUAL(get(SHM_LEN_LOW + 4 * i), SHM_NONE);
}

static bool is_readable(unsigned offset)
{
	static const uint16_t registers[] = {
		MAGIC_VALUE,    VERSION,     DEVICE_ID,        VENDOR_ID, DEVICE_FEATURES,
		QUEUE_SIZE_MAX, QUEUE_READY, INTERRUPT_STATUS, STATUS,    GENERATION,
	};

	for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
		if (offset == registers[i])
			return true;
	return offset >= SHM_LEN_LOW && offset < RESET_OF_QUEUE;
}

/* What is written to read-only registers and to gaps makes no difference. */
static void sweep(struct blk *disk)
{
	(void)disk;
	start(0);
	for (unsigned offset = 0; offset < CONFIG; offset += 4) {
		uint32_t before = get(offset);

		test_context("register 0x%x", offset);
		if (!is_readable(offset))
			CHECK_EQUAL(before, 0);
		if (offset == STATUS || offset == QUEUE_READY || offset == QUEUE_NOTIFY)
			continue;
		put(offset, 0x5a5a5a5a);
		put(QUEUE_SEL, 0);
		put(DEVICE_FEATURES_SEL, 0);
		CHECK_EQUAL(get(offset), before);
	}
	test_context(NULL);
	CHECK_EQUAL(get(MAGIC_VALUE), MAGIC);
	check_read(1);
}

static void widths(struct blk *disk)
{
	(void)disk;
	start(0);
	put(QUEUE_SEL, 0);
	for (unsigned offset = 0; offset < CONFIG; offset++) {
		test_context("offset 0x%x", offset);
		CHECK_EQUAL(mmio_read8(at(offset)), 0);
		mmio_write8(at(offset), 0);
		if (offset % 2)
			continue;
		CHECK_EQUAL(mmio_read16(at(offset)), 0);
		mmio_write16(at(offset), 0);
	}
	test_context(NULL);
	CHECK_EQUAL(get(STATUS), STATUS_LIVE);
	CHECK_EQUAL(get(QUEUE_READY), 1);
	check_read(1);
}

static void config_widths(struct blk *disk)
{
	(void)disk;
	negotiate(0);
	CHECK_EQUAL(mmio.capacity, option_number("sectors", 0));
	for (unsigned offset = 0; offset < BLK_DISCARD_LIMITS; offset += 4) {
		uint32_t bytes = 0, words = 0;

		test_context("offset %u", offset);
		for (unsigned i = 0; i < 4; i++)
			bytes |= (uint32_t)mmio_read8(at(CONFIG + offset + i)) << 8 * i;
		for (unsigned i = 0; i < 4; i += 2)
			words |= (uint32_t)mmio_read16(at(CONFIG + offset + i)) << 8 * i;
		CHECK_EQUAL(bytes, get(CONFIG + offset));
		CHECK_EQUAL(words, get(CONFIG + offset));
	}
}

/* --- Kicks --- */

/* A request in each queue; each completes by its own queue's kick. */
static void kicks(struct blk *disk)
{
	struct blk_request requests[QUEUES_MAX];
	struct virtq queues[QUEUES_MAX];
	uint16_t count = 0;

	(void)disk;
	negotiate(0);
	for (; count < QUEUES_MAX && queue_size(count); count++) {
		queue_describe(&queues[count], count, queue_size(count));
		queue_ready();
	}
	CHECK_EQUAL(count, option_number("mmio-queues", 1));
	live();
	for (unsigned i = 0; i < count; i++) {
		test_context("queue %u", i);
		mmio.queue = queues[i];
		blk_request_init(&requests[i], BLK_IN, i, SECTOR_SIZE);
		blk_queue(&mmio, &requests[i]);
		finish(&requests[i], i);
		blk_check(&mmio, blk_data(&requests[i]), i, 1, false);
	}
}

/*
 * With NOTIFICATION_DATA a kick tells the available index, too: right, stale or absurd, it
 * is the ring that counts.
 */
static void kicks_with_data(struct blk *disk)
{
	(void)disk;
	start(FEATURE(F_NOTIFICATION_DATA));
	for (uint32_t i = 0; i < REQUESTS; i++) {
		check_read_kicking(3 * i, (virtq_avail_idx(&mmio.queue) + 1u) << 16);
		check_read_kicking(3 * i + 1, 0);
		check_read_kicking(3 * i + 2, 0xffff0000);
	}
}

/* --- Interrupts --- */

static void interrupt_status(struct blk *disk)
{
	(void)disk;
	start(0);
	CHECK_EQUAL(get(INTERRUPT_STATUS), 0);
	check_line_low();
	check_read(1);
	CHECK(POLL_UNTIL(PATIENCE_MS, get(INTERRUPT_STATUS) != 0));
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQUAL(get(INTERRUPT_STATUS), INTERRUPT_QUEUE);
	put(INTERRUPT_STATUS, 0);
	CHECK_EQUAL(get(INTERRUPT_STATUS), INTERRUPT_QUEUE);
	check_line_high();
	check_line_high();
}

/* The configuration's event is NEEDS_RESET. */
static void interrupt_ack(struct blk *disk)
{
	(void)disk;
	start(0);
	check_read(1);
	CHECK(POLL_UNTIL(PATIENCE_MS, get(INTERRUPT_STATUS) == INTERRUPT_QUEUE));
	virtq_set_avail_idx(&mmio.queue, mmio.queue.size + 2);
	kick();
	CHECK(POLL_UNTIL(PATIENCE_MS, get(INTERRUPT_STATUS) != INTERRUPT_QUEUE));
	CHECK_EQUAL(get(INTERRUPT_STATUS), INTERRUPT_QUEUE | INTERRUPT_CONFIG);
	CHECK_EQUAL(get(STATUS), STATUS_LIVE | STATUS_NEEDS_RESET);
	put(INTERRUPT_ACK, 0);
	CHECK_EQUAL(get(INTERRUPT_STATUS), INTERRUPT_QUEUE | INTERRUPT_CONFIG);
	put(INTERRUPT_ACK, INTERRUPT_QUEUE);
	CHECK_EQUAL(get(INTERRUPT_STATUS), INTERRUPT_CONFIG);
	check_line_high();
	put(INTERRUPT_ACK, INTERRUPT_CONFIG);
	CHECK_EQUAL(get(INTERRUPT_STATUS), 0);
	check_line_low();
	check_alive();
}

struct handler {
	unsigned ours, spurious;
};

static void handle(void *argument)
{
	struct handler *handler = argument;
	uint32_t status = get(INTERRUPT_STATUS);

	put(INTERRUPT_ACK, status);
	if (status & INTERRUPT_QUEUE)
		handler->ours++;
	else
		handler->spurious++;
}

/* As intx/requests. */
static void requests_by_interrupt(struct blk *disk)
{
	struct handler handler = { .ours = 0 };
	struct blk_request request;

	(void)disk;
	start(0);
	irq_expect(VECTOR_INTX, handle, &handler);
	irq_line_arm(gsi());
	for (unsigned i = 0; i < REQUESTS; i++) {
		blk_request_init(&request, BLK_IN, i, SECTOR_SIZE);
		blk_queue(&mmio, &request);
		kick();
		CHECK(WAIT_UNTIL(PATIENCE_MS, *(volatile unsigned *)&handler.ours > i));
		blk_take(&mmio, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		blk_check(&mmio, blk_data(&request), i, 1, false);
	}
	irq_sleep(QUIET_MS);
	irq_line_mask(gsi());
	CHECK_EQUAL(handler.ours, REQUESTS);
	CHECK(handler.spurious <= REQUESTS);
}

/* --- Stopping --- */

static void start_many(struct blk_request *requests, uint64_t features_wanted)
{
	start(features_wanted);
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		blk_request_init(&requests[i], BLK_IN, 8 * i, 8 * SECTOR_SIZE);
		blk_queue(&mmio, &requests[i]);
	}
	kick();
}

/* The queue has stopped: no byte of its ring or buffers changes, and no interrupt comes. */
static void check_quiet(const struct blk_request *requests)
{
	blk_paint(&mmio, requests, IN_FLIGHT);
	put(INTERRUPT_ACK, INTERRUPT_QUEUE);
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(get(INTERRUPT_STATUS), 0);
	blk_check_painted(&mmio, requests, IN_FLIGHT);
}

static void reset_in_flight(struct blk *disk)
{
	struct blk_request requests[IN_FLIGHT];

	(void)disk;
	start_many(requests, 0);
	reset();
	check_quiet(requests);
	check_line_low();
	check_alive();
}

static void reset_forgets(struct blk *disk)
{
	(void)disk;
	start(0);
	check_read(1);
	CHECK(POLL_UNTIL(PATIENCE_MS, get(INTERRUPT_STATUS) != 0));
	check_line_high();
	put(QUEUE_SEL, 0);
	reset();
	CHECK_EQUAL(get(INTERRUPT_STATUS), 0);
	check_line_low();
	for (unsigned i = 0; i < QUEUES_MAX; i++) {
		put(QUEUE_SEL, i);
		CHECK_EQUAL(get(QUEUE_READY), 0);
	}
}

static void ready_0_in_flight(struct blk *disk)
{
	struct blk_request requests[IN_FLIGHT];

	(void)disk;
	start_many(requests, 0);
	put(QUEUE_READY, 0);
	CHECK_EQUAL(get(QUEUE_READY), 0);
	check_quiet(requests);
	CHECK_EQUAL(get(STATUS), STATUS_LIVE);
	check_alive();
}

static void queue_reset_reads_0(struct blk *disk)
{
	(void)disk;
	reset();
	put(QUEUE_SEL, 0);
	CHECK_EQUAL(get(RESET_OF_QUEUE), 0);
	start(FEATURE(F_RING_RESET));
	CHECK_EQUAL(get(RESET_OF_QUEUE), 0);
	put(RESET_OF_QUEUE, 1);
	CHECK(POLL_UNTIL(PATIENCE_MS, get(RESET_OF_QUEUE) == 0));
	queue_start(queue_size(0));
	CHECK_EQUAL(get(RESET_OF_QUEUE), 0);
}

static void queue_reset_in_flight(struct blk *disk)
{
	struct blk_request requests[IN_FLIGHT];

	(void)disk;
	start_many(requests, FEATURE(F_RING_RESET));
	put(RESET_OF_QUEUE, 1);
	CHECK(POLL_UNTIL(PATIENCE_MS, get(RESET_OF_QUEUE) == 0));
	CHECK_EQUAL(get(QUEUE_READY), 0);
	check_quiet(requests);
	CHECK_EQUAL(get(STATUS), STATUS_LIVE);
	queue_start(queue_size(0));
	check_read(3);
}

/* --- Data --- */

/* The runner looks for this at the end of the image. */
static void final_pattern(struct blk *disk)
{
	struct blk_request request;
	uint64_t sector;

	(void)disk;
	start(0);
	sector = mmio.capacity - FINAL_SECTORS;
	blk_request_init(&request, BLK_OUT, sector, FINAL_SECTORS * SECTOR_SIZE);
	blk_fill(&mmio, blk_data(&request), sector, FINAL_SECTORS, true);
	blk_queue(&mmio, &request);
	finish(&request, 0);
	blk_request_init(&request, BLK_IN, sector, FINAL_SECTORS * SECTOR_SIZE);
	blk_queue(&mmio, &request);
	finish(&request, 0);
	blk_check(&mmio, blk_data(&request), sector, FINAL_SECTORS, true);
}

/* In between the device's threads have nothing to do, and nothing locked. */
void mmio_reset_forever(void)
{
	for (;;) {
		heap_reset();
		start(0);
		irq_sleep(RESET_PERIOD_MS);
		reset();
	}
}

const struct test mmio_tests[] = {
	{ "mmio/identity", identity, "MMIO-01 MMIO-02 MMIO-03", NEEDS_MMIO },
	{ "mmio/features-offered", features_offered, "MMIO-21 MMIO-23 GEN-17", NEEDS_MMIO },
	{ "mmio/features-words", features_words, "MMIO-04", NEEDS_MMIO },
	{ "mmio/features-bits", features_bits, "MMIO-04 GEN-18", NEEDS_MMIO },
	{ "mmio/queue-missing", queue_missing, "MMIO-05", NEEDS_MMIO },
	{ "mmio/queue-half-size", queue_half_size, "MMIO-05", NEEDS_MMIO },
	{ "mmio/ready-reads-back", ready_reads_back, "MMIO-06", NEEDS_MMIO },
	{ "mmio/address-halves", address_halves, "MMIO-08", NEEDS_MMIO },
	{ "mmio/ready-queue-is-fixed", ready_queue_is_fixed, "MMIO-22", NEEDS_MMIO },
	{ "mmio/shared-memory", shared_memory, "MMIO-17", NEEDS_MMIO },
	{ "mmio/sweep", sweep, "MMIO-21", NEEDS_MMIO },
	{ "mmio/widths", widths, "MMIO-20", NEEDS_MMIO },
	{ "mmio/config-widths", config_widths, "MMIO-16", NEEDS_MMIO },
	{ "mmio/kicks", kicks, "MMIO-09", NEEDS_MMIO },
	{ "mmio/kicks-with-data", kicks_with_data, "MMIO-09 GEN-37", NEEDS_MMIO | NEEDS_MMIO_DATA },
	{ "mmio/interrupt-status", interrupt_status, "MMIO-10 MMIO-12", NEEDS_MMIO },
	{ "mmio/interrupt-ack", interrupt_ack, "MMIO-11 GEN-11", NEEDS_MMIO },
	{ "mmio/requests-by-interrupt", requests_by_interrupt, "MMIO-11", NEEDS_MMIO },
	{ "mmio/reset-in-flight", reset_in_flight, "MMIO-13 GEN-02 GEN-03", NEEDS_MMIO },
	{ "mmio/reset-forgets", reset_forgets, "MMIO-14", NEEDS_MMIO },
	{ "mmio/ready-0-in-flight", ready_0_in_flight, "MMIO-07", NEEDS_MMIO },
	{ "mmio/queue-reset-reads-0", queue_reset_reads_0, "MMIO-18", NEEDS_MMIO },
	{ "mmio/queue-reset-in-flight", queue_reset_in_flight, "MMIO-19 GEN-33 GEN-34",
	  NEEDS_MMIO },
	{ "mmio/final-pattern", final_pattern, "MMIO-09", NEEDS_MMIO | NEEDS_WRITABLE },
	{ NULL, NULL, NULL, 0 },
};
