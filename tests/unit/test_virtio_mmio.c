// SPDX-License-Identifier: BSD-2-Clause
/* The memory-mapped transport as a driver sees it, through the bus. */
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <time.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/fakes.h"
#include "tests/unit/probe-log.h"
#include "tests/unit/unit.h"

#define BASE 0xd0000000ULL
#define LINE (lines.level[0])

#define INIT (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define LIVE (INIT | FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET

/* Registers. */
enum {
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	SELECT = 0x030,
	SIZE_LIMIT = 0x034,
	SIZE = 0x038,
	READY = 0x044,
	NOTIFY = 0x050,
	INTERRUPT = 0x060,
	ACK = 0x064,
	STATUS = 0x070,
	DESC = 0x080,
	AVAIL = 0x090,
	USED = 0x0a0,
	SHM_SELECT = 0x0ac,
	RESET = 0x0c0,
	GENERATION = 0x0fc,
	CONFIG = 0x100,
};
enum { INT_QUEUE = 1, INT_CONFIG = 2 };

#define RING_RESET (1u << (VIRTIO_F_RING_RESET - 32))
#define NOTIFICATION_DATA (1u << (VIRTIO_F_NOTIFICATION_DATA - 32))

static struct bus bus;
static struct fake_lines lines;
static struct fake_device fake;
static struct fake_doorbells doorbells;
static struct virtio_device *const dev = &fake.virtio;
static struct virtio_mmio *mmio;

/* --- Accesses --- */

static uint32_t get(unsigned reg)
{
	return (uint32_t)bus_read(&bus, BASE + reg, 4);
}

static void put(unsigned reg, uint32_t value)
{
	bus_write(&bus, BASE + reg, value, 4);
}

static unsigned kicks(unsigned index)
{
	return fake_device_kicks(&fake, index);
}

/* --- Set-up --- */

static struct virtio_mmio_config place(const struct doorbell_ops *ops)
{
	return (struct virtio_mmio_config){
		.bus = &bus,
		.base = BASE,
		.line = &lines.line[0],
		.doorbell = { ops, &doorbells },
	};
}

static void setup_with(const struct doorbell_ops *ops)
{
	const struct virtio_mmio_config config = place(ops);

	bus_init(&bus);
	fake_lines_init(&lines);
	fake_device_init(&fake);
	ck_assert_int_eq(virtio_mmio_create(&mmio, dev, &config), 0);
}

static void setup(void)
{
	setup_with(&fake_doorbell_ops);
}

static void setup_exits(void)
{
	setup_with(NULL);
}

static void teardown(void)
{
	fake.slow_stop = false;
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		if (dev->queue[i].state == QUEUE_STOPPING)
			fake_device_let_go(&fake, i);
	virtio_device_shut_down(dev);
	ck_assert_uint_eq(doorbells.attached, 0);
	ck_assert(!LINE);
	virtio_mmio_destroy(mmio);
	ck_assert_uint_eq(get(0), UINT32_MAX);
	fake_device_destroy(&fake);
	fake_lines_destroy(&lines);
	bus_destroy(&bus);
}

static void put_address(unsigned reg, uint64_t value)
{
	put(reg, (uint32_t)value);
	put(reg + 4, value >> 32);
}

static void queue_set_up(unsigned index)
{
	put(SELECT, index);
	put_address(DESC, fake_ring_at(index, 0));
	put_address(AVAIL, fake_ring_at(index, 1));
	put_address(USED, fake_ring_at(index, 2));
	put(READY, 1);
	ck_assert_uint_eq(get(READY), 1);
	ck_assert_uint_eq(get(RESET), 0);
}

/* @high: features from bit 32. */
static void negotiate(uint32_t high)
{
	put(STATUS, INIT);
	put(DRIVER_FEATURES_SEL, 1);
	put(DRIVER_FEATURES, high);
	put(STATUS, INIT | FEATURES_OK);
	ck_assert_uint_eq(get(STATUS), INIT | FEATURES_OK);
}

static void bring_up(uint32_t high)
{
	negotiate(high);
	queue_set_up(0);
	queue_set_up(1);
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert(fake.owned[0] && fake.owned[1]);
}

/* --- Registers --- */

/* Rows: MMIO-01, MMIO-02, MMIO-03 */
START_TEST(identity)
{
	ck_assert_uint_eq(get(0), 0x74726976);
	ck_assert_uint_eq(get(4), 2);
	ck_assert_uint_eq(get(8), dev->id);
	ck_assert_uint_ne(get(12), 0);
}
END_TEST

START_TEST(place_taken)
{
	const struct virtio_mmio_config config = place(NULL);
	struct virtio_mmio *other;
	struct fake_device second;

	fake_device_init(&second);
	ck_assert_int_eq(virtio_mmio_create(&other, &second.virtio, &config), -EEXIST);
	fake_device_destroy(&second);
	ck_assert_uint_eq(get(0), 0x74726976);
}
END_TEST

/* Rows: MMIO-04, GEN-18 */
START_TEST(features)
{
	static const uint32_t words[] = { 1, 0, 2, 3, 0xffff, 0x08000000, UINT32_MAX };
	unsigned i;

	for (i = 0; i < array_size(words); i++) {
		uint32_t offered = words[i] < 2 ? (uint32_t)(dev->offered >> (32 * words[i])) : 0;

		put(DEVICE_FEATURES_SEL, words[i]);
		ck_assert_uint_eq(get(DEVICE_FEATURES), offered);
		put(DEVICE_FEATURES, UINT32_MAX);
		ck_assert_uint_eq(get(DEVICE_FEATURES), offered);
		put(DRIVER_FEATURES_SEL, words[i]);
		put(DRIVER_FEATURES, words[i] < 2 ? 0x11111111u << words[i] : UINT32_MAX);
		ck_assert_uint_eq(get(DRIVER_FEATURES), 0);
	}
	ck_assert_uint_eq(dev->driver_features, 0x2222222211111111);
	put(STATUS, INIT | FEATURES_OK);
	ck_assert_uint_eq(get(STATUS), INIT);
	put(STATUS, 0);
	negotiate(1);
	ck_assert_uint_eq(dev->accepted, VIRTIO_BIT(VIRTIO_F_VERSION_1));
}
END_TEST

static bool readable(unsigned reg)
{
	static const unsigned regs[] = { 0, 4, 8, 12, DEVICE_FEATURES, SIZE_LIMIT, READY, INTERRUPT,
					 STATUS, RESET, GENERATION };

	for (unsigned i = 0; i < array_size(regs); i++)
		if (reg == regs[i])
			return true;
	return reg > SHM_SELECT && reg < RESET;
}

/* Rows: MMIO-17, MMIO-21 */
START_TEST(sweep)
{
	unsigned reg;

	for (reg = 0; reg < CONFIG; reg += 4)
		if (!readable(reg))
			ck_assert_uint_eq(get(reg), 0);
	put(SHM_SELECT, 0xff);
	for (reg = SHM_SELECT + 4; reg < RESET; reg += 4)
		ck_assert_uint_eq(get(reg), UINT32_MAX);
	bring_up(1);
	for (reg = 0; reg < CONFIG; reg += 4) {
		uint32_t before = get(reg);

		/* Those whose writes are orders have tests of their own. */
		if (reg == STATUS || reg == READY || reg == NOTIFY)
			continue;
		put(reg, 1);
		if (reg == SELECT)
			put(reg, 0);
		ck_assert_uint_eq(get(reg), before);
	}
	ck_assert_uint_eq(bus_read(&bus, BASE + VIRTIO_MMIO_LENGTH - 4, 4), 0);
	ck_assert_uint_eq(bus_read(&bus, BASE + VIRTIO_MMIO_LENGTH - 4, 8), UINT64_MAX);
	ck_assert(fake.owned[0] && fake.owned[1]);
}
END_TEST

/* Rows: MMIO-20, HOST-50 */
START_TEST(widths)
{
	unsigned reg, len;

	bring_up(1 | RING_RESET);
	virtio_queue_notify(dev, 0);
	put(SELECT, 1);
	for (reg = 0; reg < CONFIG; reg++) {
		for (len = 1; len <= 8; len++) {
			if (len == 4 && reg % 4 == 0)
				continue;
			if (reg + len <= CONFIG)
				ck_assert_uint_eq(bus_read(&bus, BASE + reg, len), 0);
			bus_write(&bus, BASE + reg, 1, len);
			bus_write(&bus, BASE + reg, 0, len);
		}
	}
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert_uint_eq(get(READY), 1);
	ck_assert_uint_eq(get(INTERRUPT), INT_QUEUE);
	ck_assert_uint_eq(kicks(0) + kicks(1), 0);
	ck_assert_uint_eq(fake.config_writes, 0);
}
END_TEST

/* Rows: MMIO-15, MMIO-16 */
START_TEST(device_config)
{
	unsigned at, len, i;
	uint32_t before;

	for (at = 0; at < 0x100; at++) {
		for (len = 1; len <= 4; len *= 2) {
			uint64_t expected = 0;

			for (i = 0; i < len; i++)
				if (at + i < FAKE_CONFIG)
					expected |= (uint64_t)(0x10 + at + i) << (8 * i);
			if (at + len <= 0x100)
				ck_assert_uint_eq(bus_read(&bus, BASE + CONFIG + at, len),
						  expected);
		}
	}
	bus_write(&bus, BASE + CONFIG + 3, 0x77, 1);
	ck_assert_uint_eq(get(CONFIG), 0x77121110);
	bus_write(&bus, BASE + CONFIG + FAKE_CONFIG - 2, 0, 4);
	ck_assert_uint_eq(fake.config_writes, 1);
	before = get(GENERATION);
	ck_assert_uint_eq(get(GENERATION), before);
	virtio_notify_config(dev);
	get(CONFIG);
	ck_assert_uint_ne(get(GENERATION), before);
}
END_TEST

/* Rows: MMIO-05, MMIO-06, MMIO-08, HOST-33 */
START_TEST(queue_registers)
{
	static const uint32_t bad[] = { 0, 3, FAKE_QUEUE_SIZE + 1, 2 * FAKE_QUEUE_SIZE, 0xffff,
					0x10002, UINT32_MAX };
	const struct virtqueue_config *config = &dev->queue[1].config;
	unsigned i;

	put(SELECT, 1);
	ck_assert_uint_eq(get(SIZE_LIMIT), FAKE_QUEUE_SIZE);
	ck_assert_uint_eq(get(READY), 0);
	put(SIZE, 4);
	for (i = 0; i < array_size(bad); i++) {
		put(SIZE, bad[i]);
		ck_assert_uint_eq(config->size, 4);
	}
	put(DESC + 4, 0x11111111);
	put(DESC, 0x22222220);
	put_address(AVAIL, 0x3333333344444440);
	put(USED, 0x55555550);
	put(USED + 4, 0x66666666);
	ck_assert_uint_eq(config->desc, 0x1111111122222220);
	ck_assert_uint_eq(config->driver, 0x3333333344444440);
	ck_assert_uint_eq(config->device, 0x6666666655555550);
	ck_assert_uint_eq(dev->queue[0].config.desc | dev->queue[0].config.device, 0);
	put(READY, 2);
	put(READY, UINT32_MAX);
	ck_assert_uint_eq(get(READY), 0);
	put(READY, 1);
	ck_assert_uint_eq(get(READY), 1);
}
END_TEST

/* Rows: MMIO-05, HOST-52 */
START_TEST(missing_queues)
{
	unsigned reg;
	uint64_t i;

	for (i = FAKE_QUEUES; i <= UINT32_MAX; i = 2 * i + 1) {
		put(SELECT, (uint32_t)i);
		ck_assert_uint_eq(get(SIZE_LIMIT), 0);
		put(READY, 1);
		put(RESET, 1);
		for (reg = DESC; reg <= USED + 4; reg += 4)
			put(reg, UINT32_MAX);
		put(SIZE, 2);
		put(NOTIFY, (uint32_t)i);
		ck_assert_uint_eq(get(READY), 0);
		ck_assert_uint_eq(get(RESET), 0);
	}
	for (i = 0; i < FAKE_QUEUES; i++) {
		ck_assert(!dev->queue[i].config.enabled);
		ck_assert_uint_eq(dev->queue[i].config.size, FAKE_QUEUE_SIZE);
		ck_assert_uint_eq(dev->queue[i].config.desc | dev->queue[i].config.device, 0);
	}
}
END_TEST

/* Rows: MMIO-22, HOST-35 */
START_TEST(ready_queue_is_fixed)
{
	unsigned i;

	negotiate(1);
	queue_set_up(0);
	for (i = 0; i < 2; i++) {
		put(SIZE, 2);
		put_address(DESC, 0);
		put_address(AVAIL, 0);
		put_address(USED, 0);
		put(READY, 1);
		ck_assert_uint_eq(dev->queue[0].config.size, FAKE_QUEUE_SIZE);
		ck_assert_uint_eq(dev->queue[0].config.desc, fake_ring_at(0, 0));
		ck_assert_uint_eq(dev->queue[0].config.driver, fake_ring_at(0, 1));
		ck_assert_uint_eq(dev->queue[0].config.device, fake_ring_at(0, 2));
		put(STATUS, LIVE);
	}
	ck_assert_uint_eq(fake.starts[0], 1);
}
END_TEST

/* --- Kicks --- */

static void check_kicks_by_exit(void)
{
	unsigned i;

	for (i = 0; i < FAKE_QUEUES; i++) {
		put(NOTIFY, i);
		ck_assert_uint_eq(kicks(i), 1);
		ck_assert_uint_eq(kicks(!i), 0);
	}
	put(NOTIFY, FAKE_QUEUES);
	put(NOTIFY, 0x10000);
	put(NOTIFY, UINT32_MAX);
	ck_assert_uint_eq(kicks(0) + kicks(1), 0);
}

/* Rows: MMIO-09 */
START_TEST(kicks_by_exit)
{
	put(NOTIFY, 0);
	negotiate(1);
	queue_set_up(1);
	put(NOTIFY, 1);
	ck_assert_uint_eq(kicks(0) + kicks(1), 0);
	put(STATUS, LIVE);
	put(NOTIFY, 0);
	ck_assert_uint_eq(kicks(0), 0);
	queue_set_up(0);
	check_kicks_by_exit();
}
END_TEST

/* Rows: MMIO-09 */
START_TEST(kicks_by_short_cut)
{
	unsigned i;

	bring_up(1);
	ck_assert_uint_eq(doorbells.attached, FAKE_QUEUES);
	for (i = 0; i < FAKE_QUEUES; i++) {
		ck_assert(fake_doorbells_write(&doorbells, BASE + NOTIFY, i, 4));
		ck_assert_uint_eq(kicks(i), 1);
		ck_assert_uint_eq(kicks(!i), 0);
	}
	ck_assert(!fake_doorbells_write(&doorbells, BASE + NOTIFY, FAKE_QUEUES, 4));
	ck_assert(!fake_doorbells_write(&doorbells, BASE + NOTIFY, 0, 2));
	check_kicks_by_exit();
	put(STATUS, 0);
	ck_assert_uint_eq(doorbells.attached, 0);
}
END_TEST

START_TEST(short_cut_refused)
{
	doorbells.refuse = true;
	bring_up(1);
	check_kicks_by_exit();
	put(STATUS, 0);
	doorbells.refuse = false;
	bring_up(1);
	ck_assert_uint_eq(doorbells.attached, FAKE_QUEUES);
}
END_TEST

/* The queue's index and a position in one word: no short-cut could match it. */
/* Rows: MMIO-09, GEN-37 */
START_TEST(notification_data)
{
	dev->offered |= VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA);
	bring_up(1 | NOTIFICATION_DATA);
	ck_assert_uint_eq(doorbells.attaches, 0);
	put(NOTIFY, 0x12340001);
	ck_assert_uint_eq(kicks(1), 1);
	put(NOTIFY, 0xffff0000);
	ck_assert_uint_eq(kicks(0), 1);
	put(NOTIFY, 0x0000ffff);
	ck_assert_uint_eq(kicks(0) + kicks(1), 0);
}
END_TEST

/* --- Interrupts --- */

/* Rows: MMIO-10, MMIO-11, MMIO-12 */
START_TEST(interrupts)
{
	bring_up(1);
	ck_assert(!LINE);
	virtio_queue_notify(dev, 1);
	ck_assert(LINE);
	ck_assert_uint_eq(get(INTERRUPT), INT_QUEUE);
	ck_assert_uint_eq(get(INTERRUPT), INT_QUEUE);
	virtio_notify_config(dev);
	ck_assert_uint_eq(get(INTERRUPT), INT_QUEUE | INT_CONFIG);
	put(ACK, 0);
	put(ACK, ~3u);
	put(INTERRUPT, 3);
	ck_assert_uint_eq(get(INTERRUPT), INT_QUEUE | INT_CONFIG);
	put(ACK, INT_QUEUE);
	ck_assert_uint_eq(get(INTERRUPT), INT_CONFIG);
	ck_assert(LINE);
	put(ACK, INT_CONFIG);
	ck_assert_uint_eq(get(INTERRUPT), 0);
	ck_assert(!LINE);
	ck_assert_uint_eq(lines.changes, 2);
	ck_assert_uint_eq(get(ACK), 0);
}
END_TEST

START_TEST(probes)
{
	const struct probe_event *e;

	probe_log_begin();
	bring_up(1);
	virtio_queue_notify(dev, 1);
	virtio_notify_config(dev);
	probe_log_end();
	e = probe_log_at(probe_log_count() - 3);
	ck_assert_int_eq(e->id, PROBE_LOG_interrupt);
	ck_assert_int_eq(e->interrupt.queue, 1);
	ck_assert_int_eq(e->interrupt.how, VIRTIO_INTERRUPT_LINE);
	ck_assert_int_eq(e->interrupt.address, FAKE_GSI);
	e = probe_log_at(probe_log_count() - 1);
	ck_assert_int_eq(e->id, PROBE_LOG_interrupt);
	ck_assert_int_eq(e->interrupt.queue, VIRTIO_CONFIG_QUEUE);
	ck_assert_int_eq(e->interrupt.how, VIRTIO_INTERRUPT_LINE);
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		ck_assert_uint_eq(dev->queue[i].notify, BASE + NOTIFY);
		ck_assert(!dev->queue[i].notify_is_port);
	}
	put(ACK, 3);
}
END_TEST

/* Rows: GEN-11 */
START_TEST(broken_device_tells)
{
	bring_up(1);
	virtio_device_broken(dev, "of a test");
	ck_assert_uint_eq(get(INTERRUPT), INT_CONFIG);
	ck_assert_uint_eq(get(STATUS), LIVE | NEEDS_RESET);
	put(STATUS, 0);
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert(!LINE);
}
END_TEST

/* Rows: MMIO-14, MMIO-18 */
START_TEST(reset_forgets)
{
	unsigned i;

	bring_up(1);
	put(DEVICE_FEATURES_SEL, 1);
	virtio_queue_notify(dev, 0);
	virtio_notify_config(dev);
	put(STATUS, 0);
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert_uint_eq(get(INTERRUPT), 0);
	ck_assert(!LINE);
	ck_assert_uint_eq(get(DEVICE_FEATURES), (uint32_t)dev->offered);
	for (i = 0; i < FAKE_QUEUES; i++) {
		put(SELECT, i);
		ck_assert_uint_eq(get(READY), 0);
		ck_assert_uint_eq(get(RESET), 0);
		ck_assert_uint_eq(dev->queue[i].config.desc, 0);
	}
	bring_up(1);
	virtio_queue_notify(dev, 0);
	ck_assert(LINE);
}
END_TEST

/* --- Writes that wait for the queues' threads --- */

static unsigned stops(unsigned index)
{
	return load_acquire(&fake.stops[index]);
}

static void pause_a_little(void)
{
	const struct timespec tick = { .tv_nsec = 5 * 1000 * 1000 };

	nanosleep(&tick, NULL);
}

struct slow_write {
	unsigned reg;
	unsigned count; /* of the queues that are to stop */
};

/* Another vCPU looks, then the queues' threads obey. */
static void *look_and_let_go(void *opaque)
{
	const struct slow_write *write = opaque;

	while (!stops(write->count - 1))
		pause_a_little();
	pause_a_little(); /* so that the other side probably waits */
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert_uint_eq(get(READY), 1);
	ck_assert_uint_eq(get(RESET), write->reg == RESET);
	for (unsigned i = 0; i < write->count; i++)
		fake_device_let_go(&fake, i);
	return NULL;
}

/* Write @value to @reg; @count queues are to stop, and have when it returns. */
static void put_and_wait(unsigned reg, uint32_t value, unsigned count)
{
	struct slow_write write = { reg, count };
	pthread_t thread;

	fake.slow_stop = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, look_and_let_go, &write), 0);
	put(reg, value);
	for (unsigned i = 0; i < count; i++) {
		ck_assert(!fake.owned[i]);
		ck_assert_uint_eq(stops(i), 1);
	}
	pthread_join(thread, NULL);
	fake.slow_stop = false;
}

/* Rows: MMIO-13 */
START_TEST(reset_waits)
{
	bring_up(1);
	put(SELECT, 0);
	put_and_wait(STATUS, 0, FAKE_QUEUES);
	/* Complete without a look at the status. */
	ck_assert_uint_eq(dev->status, 0);
	ck_assert(!dev->queue[0].config.enabled);
	bring_up(1);
}
END_TEST

/* Rows: MMIO-07 */
START_TEST(ready_0_waits)
{
	bring_up(1);
	put(SELECT, 0);
	put_and_wait(READY, 0, 1);
	ck_assert(!dev->queue[0].config.enabled);
	ck_assert_uint_eq(get(READY), 0);
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert(fake.owned[1]);
	ck_assert_uint_eq(doorbells.attached, 1);
	put(NOTIFY, 0);
	ck_assert_uint_eq(kicks(0), 0);
	/* The rest of it is still there. */
	ck_assert_uint_eq(dev->queue[0].config.desc, fake_ring_at(0, 0));
	put(SIZE, 4);
	put(READY, 1);
	ck_assert_uint_eq(fake.starts[0], 2);
	ck_assert_uint_eq(dev->queue[0].ring.size, 4);
	put(NOTIFY, 0);
	ck_assert_uint_eq(kicks(0), 1);
	virtio_queue_notify(dev, 0);
	ck_assert(LINE);
	put(ACK, INT_QUEUE);
}
END_TEST

/* Rows: MMIO-18, MMIO-19 */
START_TEST(queue_reset_waits)
{
	bring_up(1 | RING_RESET);
	put(SELECT, 0);
	put_and_wait(RESET, 1, 1);
	ck_assert(!dev->queue[0].config.enabled);
	ck_assert_uint_eq(get(RESET), 0);
	ck_assert_uint_eq(get(READY), 0);
	ck_assert_uint_eq(dev->queue[0].config.desc, 0);
	ck_assert(fake.owned[1]);
	queue_set_up(0);
	virtio_queue_notify(dev, 0);
	ck_assert(LINE);
	put(ACK, INT_QUEUE);
}
END_TEST

/* Rows: GEN-36 */
START_TEST(queue_reset_without_the_feature)
{
	bring_up(1);
	put(SELECT, 0);
	put(RESET, 1);
	ck_assert_uint_eq(get(RESET), 0);
	ck_assert_uint_eq(get(READY), 1);
	ck_assert(fake.owned[0]);
}
END_TEST

/* Rows: HOST-38 */
START_TEST(ready_toggles)
{
	unsigned i;

	bring_up(1);
	put(SELECT, 1);
	for (i = 0; i < 10000; i++) {
		put(READY, i % 2);
		put(READY, i % 2);
		ck_assert_uint_eq(get(READY), i % 2);
		ck_assert_uint_eq(doorbells.attached, 1 + i % 2);
	}
	ck_assert_uint_eq(fake.starts[1], 1 + i / 2);
}
END_TEST

static void *write_register(void *reg)
{
	put(*(unsigned *)reg, *(unsigned *)reg == RESET);
	return NULL;
}

/* The VM ends while a vCPU waits, or before: nobody has to let go for it. */
/* Rows: HOST-42 */
START_TEST(end_of_the_vm)
{
	static unsigned regs[] = { STATUS, READY, RESET };
	pthread_t thread;

	bring_up(1 | RING_RESET);
	put(SELECT, 0);
	fake.slow_stop = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, write_register, &regs[_i]), 0);
	while (!stops(0))
		pause_a_little();
	pause_a_little();
	virtio_device_end_waits(dev);
	pthread_join(thread, NULL);
	ck_assert(fake.owned[0]);
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert_uint_eq(get(READY), 1);
	put(STATUS, 0);
	ck_assert_uint_eq(get(STATUS), LIVE);
}
END_TEST

/* A status of 8 bits in a register of 32: a value that is not 0 does not reset. */
/* Rows: GEN-13 */
START_TEST(status_above_its_bits)
{
	static const uint32_t values[] = { 0x100, 0x80000000, 0xffffff00, 0x100 | LIVE };

	bring_up(1);
	for (unsigned i = 0; i < array_size(values); i++) {
		put(STATUS, values[i]);
		ck_assert_uint_eq(get(STATUS), LIVE);
		ck_assert(fake.owned[0] && fake.owned[1]);
	}
	put(STATUS, 0);
	ck_assert_uint_eq(get(STATUS), 0);
}
END_TEST

/* --- Anything, and by several threads --- */

START_TEST(anything)
{
	static const uint32_t values[] = { 0, 1, 1, 2, 3, 4, INIT, LIVE, LIVE, INIT | FEATURES_OK,
					   FAKE_RAM_AT, FAKE_RAM_AT + 0x1000, 0x100, UINT32_MAX };
	uint32_t seed = (uint32_t)_i;
	unsigned step, i;

	for (step = 0; step < 100000; step++) {
		uint32_t value = values[fake_random(&seed) % array_size(values)];
		unsigned reg = fake_random(&seed) % (CONFIG + 16);
		unsigned len = fake_random(&seed) % 8 ? 4 : 1 + fake_random(&seed) % 8;
		unsigned running = 0;

		if (fake_random(&seed) % 8)
			reg &= ~3u;
		if (reg == STATUS && value == 0 && fake_random(&seed) % 8)
			continue;
		bus_write(&bus, BASE + reg, value, len);
		bus_read(&bus, BASE + reg, len);
		if (fake_random(&seed) % 16 == 0)
			virtio_notify_config(dev);
		if (fake_random(&seed) % 64 == 0) {
			put(STATUS, 0);
			bring_up(1 | RING_RESET);
		}
		for (i = 0; i < FAKE_QUEUES; i++) {
			running += virtio_queue_running(&dev->queue[i]);
			ck_assert(fake.owned[i] == virtio_queue_running(&dev->queue[i]));
		}
		ck_assert_uint_eq(doorbells.attached, running);
		ck_assert(LINE == (get(INTERRUPT) != 0));
	}
	ck_assert_uint_gt(fake.starts[0] + fake.starts[1], 50);
	put(STATUS, 0);
	bring_up(1);
}
END_TEST

static bool busy;

static void *events(void *opaque)
{
	(void)opaque;
	while (load_relaxed(&busy)) {
		virtio_queue_notify(dev, 0);
		virtio_notify_config(dev);
	}
	return NULL;
}

START_TEST(interrupts_during_everything)
{
	unsigned i, heard = 0;
	pthread_t thread;

	bring_up(1 | RING_RESET);
	busy = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, events, NULL), 0);
	for (i = 0; i < 2000 || heard < 50; i++) {
		uint32_t interrupt = get(INTERRUPT);

		heard += interrupt != 0;
		put(ACK, interrupt);
		put(SELECT, 1);
		put(i & 1 ? READY : RESET, i & 1 ? 0 : 1);
		queue_set_up(1);
		if (i % 64 == 63) {
			put(STATUS, 0);
			bring_up(1 | RING_RESET);
		}
	}
	store_relaxed(&busy, false);
	pthread_join(thread, NULL);
	put(ACK, 3);
	ck_assert(!LINE);
	virtio_queue_notify(dev, 0);
	ck_assert(LINE);
	put(ACK, 3);
}
END_TEST

START_TEST(without_doorbell_port)
{
	bring_up(1);
	check_kicks_by_exit();
	ck_assert_uint_eq(doorbells.attaches, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio mmio");
	TCase *tcase = tcase_create("mmio");
	TCase *exits = tcase_create("no doorbells");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, identity);
	tcase_add_test(tcase, place_taken);
	tcase_add_test(tcase, features);
	tcase_add_test(tcase, sweep);
	tcase_add_test(tcase, widths);
	tcase_add_test(tcase, device_config);
	tcase_add_test(tcase, queue_registers);
	tcase_add_test(tcase, status_above_its_bits);
	tcase_add_test(tcase, missing_queues);
	tcase_add_test(tcase, ready_queue_is_fixed);
	tcase_add_test(tcase, kicks_by_exit);
	tcase_add_test(tcase, kicks_by_short_cut);
	tcase_add_test(tcase, short_cut_refused);
	tcase_add_test(tcase, notification_data);
	tcase_add_test(tcase, interrupts);
	tcase_add_test(tcase, probes);
	tcase_add_test(tcase, broken_device_tells);
	tcase_add_test(tcase, reset_forgets);
	tcase_add_test(tcase, reset_waits);
	tcase_add_test(tcase, ready_0_waits);
	tcase_add_test(tcase, queue_reset_waits);
	tcase_add_test(tcase, queue_reset_without_the_feature);
	tcase_add_test(tcase, ready_toggles);
	tcase_add_loop_test(tcase, end_of_the_vm, 0, 3);
	tcase_add_loop_test(tcase, anything, 0, 4);
	tcase_add_test(tcase, interrupts_during_everything);
	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(exits, setup_exits, teardown);
	tcase_add_test(exits, without_doorbell_port);
	suite_add_tcase(suite, exits);
	return unit_run(suite);
}
