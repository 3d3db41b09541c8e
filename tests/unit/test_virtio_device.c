// SPDX-License-Identifier: BSD-2-Clause
/* Status, features, configuration and queue life, without a real transport. */
#include "virtio/virtio_device.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/fakes.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"

#define ACKNOWLEDGE VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER VIRTIO_CONFIG_S_DRIVER
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define DRIVER_OK VIRTIO_CONFIG_S_DRIVER_OK
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define FAILED VIRTIO_CONFIG_S_FAILED
#define LIVE (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
#define VERSION_1 VIRTIO_BIT(VIRTIO_F_VERSION_1)

static struct fake_device fake;
static struct virtio_device *const dev = &fake.virtio;

/* --- A transport that counts --- */

static struct {
	struct virtio_transport transport;
	unsigned notified, resets; /* atomic */
	unsigned changed[FAKE_QUEUES];
	bool was_running[FAKE_QUEUES]; /* when it last changed */
	void (*in_notify)(void);
} bus;

static void notify_config(struct virtio_device *d)
{
	ck_assert_ptr_eq(d, dev);
	if (bus.in_notify)
		bus.in_notify();
	__atomic_fetch_add(&bus.notified, 1, __ATOMIC_SEQ_CST);
}

static void queue_changed(struct virtio_device *d, unsigned index)
{
	bus.changed[index]++;
	bus.was_running[index] = virtio_queue_running(&d->queue[index]);
}

static void transport_reset(struct virtio_device *d)
{
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		ck_assert_msg(!fake.owned[i], "reset while a thread has a queue");
		ck_assert_ptr_null(d->queue[i].notifier);
	}
	bus.resets++;
	__atomic_store_n(&bus.notified, 0, __ATOMIC_SEQ_CST);
}

static const struct virtio_transport_ops transport_ops = {
	.notify_config = notify_config,
	.queue_changed = queue_changed,
	.reset = transport_reset,
};

static void setup(void)
{
	memset(&bus, 0, sizeof(bus));
	bus.transport.ops = &transport_ops;
	fake_device_init(&fake);
	dev->transport = &bus.transport;
}

static void teardown(void)
{
	fake.slow_stop = false;
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		if (dev->queue[i].state == QUEUE_STOPPING)
			fake_device_let_go(&fake, i);
	virtio_device_shut_down(dev);
	fake_device_destroy(&fake);
}

/* --- What a driver does --- */

static void offer(uint64_t features)
{
	virtio_set_driver_features(dev, 0, (uint32_t)features);
	virtio_set_driver_features(dev, 1, features >> 32);
}

/* Status @status by steps, with @features. */
static uint8_t negotiate(uint64_t features)
{
	virtio_set_status(dev, ACKNOWLEDGE);
	virtio_set_status(dev, ACKNOWLEDGE | DRIVER);
	offer(features);
	virtio_set_status(dev, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return virtio_get_status(dev);
}

static void queue_set_up(unsigned index)
{
	struct virtqueue_config *config = &dev->queue[index].config;

	config->desc = fake_ring_at(index, 0);
	config->driver = fake_ring_at(index, 1);
	config->device = fake_ring_at(index, 2);
	virtio_queue_enable(dev, &dev->queue[index]);
}

static void driver_ok(void)
{
	virtio_set_status(dev, LIVE);
}

static void bring_up(void)
{
	ck_assert_uint_eq(negotiate(VERSION_1), LIVE & ~DRIVER_OK);
	queue_set_up(0);
	queue_set_up(1);
	driver_ok();
	ck_assert_uint_eq(virtio_get_status(dev), LIVE);
	ck_assert(fake.owned[0] && fake.owned[1]);
}

static unsigned ring(unsigned index)
{
	virtio_queue_kick(&dev->queue[index]);
	return fake_device_kicks(&fake, index);
}

/* As after power-on. */
static void check_defaults(void)
{
	ck_assert_uint_eq(virtio_get_status(dev), 0);
	ck_assert_uint_eq(dev->driver_features, 0);
	ck_assert_uint_eq(dev->accepted, 0);
	ck_assert(!dev->live);
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		const struct virtqueue_config *config = &dev->queue[i].config;

		ck_assert_uint_eq(config->size, FAKE_QUEUE_SIZE);
		ck_assert_uint_eq(config->vector, VIRTIO_NO_VECTOR);
		ck_assert_uint_eq(config->desc | config->driver | config->device, 0);
		ck_assert(!config->enabled);
		ck_assert(!virtio_queue_running(&dev->queue[i]));
		ck_assert(!fake.owned[i]);
		ck_assert_uint_eq(ring(i), 0);
	}
}

/* --- Status --- */

/* Rows: GEN-01, GEN-39 */
START_TEST(power_on)
{
	check_defaults();
	ck_assert(!virtio_device_is_broken(dev));
	ck_assert_ptr_eq(virtio_queue_at(dev, 1), &dev->queue[1]);
	ck_assert_ptr_null(virtio_queue_at(dev, FAKE_QUEUES));
	ck_assert_ptr_null(virtio_queue_at(dev, 0xffff));
	ck_assert_ptr_null(virtio_queue_at(dev, UINT32_MAX));
}
END_TEST

/* Rows: GEN-09, GEN-12, GEN-13 */
START_TEST(status_accumulates)
{
	virtio_set_status(dev, ACKNOWLEDGE);
	ck_assert_uint_eq(virtio_get_status(dev), ACKNOWLEDGE);
	virtio_set_status(dev, DRIVER); /* without the bit before */
	ck_assert_uint_eq(virtio_get_status(dev), ACKNOWLEDGE | DRIVER);
	virtio_set_status(dev, 0x30); /* undefined */
	ck_assert_uint_eq(virtio_get_status(dev), ACKNOWLEDGE | DRIVER);
	virtio_set_status(dev, NEEDS_RESET); /* the device's */
	ck_assert_uint_eq(virtio_get_status(dev), ACKNOWLEDGE | DRIVER);
	ck_assert(!virtio_device_is_broken(dev));
	virtio_set_status(dev, FAILED);
	ck_assert_uint_eq(virtio_get_status(dev), ACKNOWLEDGE | DRIVER | FAILED);
	virtio_set_status(dev, 0);
	check_defaults();
	bring_up();
	virtio_set_status(dev, LIVE & ~DRIVER_OK);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE);
	ck_assert_uint_eq(ring(0), 1);
	virtio_set_status(dev, LIVE | FAILED);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE | FAILED);
	ck_assert_uint_eq(fake.starts[0], 1);
}
END_TEST

/* Each value as the first write, then LIVE, with features or without. */
/* Rows: GEN-07, GEN-13 */
START_TEST(any_first_status)
{
	unsigned value, with;

	for (value = 1; value < 256; value++) {
		for (with = 0; with < 2; with++) {
			unsigned starts = fake.starts[0];
			uint8_t expected = value & (LIVE | FAILED) & (with ? 0xff : ~FEATURES_OK);

			queue_set_up(0);
			offer(with ? VERSION_1 : 0);
			virtio_set_status(dev, (uint8_t)value);
			ck_assert_uint_eq(virtio_get_status(dev), expected);
			ck_assert_uint_eq(fake.starts[0] - starts,
					  (expected & (FEATURES_OK | DRIVER_OK)) ==
						  (FEATURES_OK | DRIVER_OK));
			virtio_set_status(dev, LIVE);
			ck_assert_uint_eq(fake.starts[0] - starts, with);
			virtio_set_status(dev, 0);
			check_defaults();
		}
	}
}
END_TEST

/* Rows: GEN-07 */
START_TEST(driver_ok_without_features)
{
	queue_set_up(0);
	virtio_set_status(dev, ACKNOWLEDGE | DRIVER | DRIVER_OK);
	ck_assert_uint_eq(virtio_get_status(dev), ACKNOWLEDGE | DRIVER | DRIVER_OK);
	ck_assert_uint_eq(fake.starts[0], 0);
	ck_assert_uint_eq(ring(0), 0);
	queue_set_up(1);
	ck_assert_uint_eq(fake.starts[1], 0);
}
END_TEST

START_TEST(driver_ok_without_queues)
{
	negotiate(VERSION_1);
	driver_ok();
	ck_assert_uint_eq(virtio_get_status(dev), LIVE);
	ck_assert_uint_eq(fake.starts[0] + fake.starts[1], 0);
	ck_assert_uint_eq(ring(0) + ring(1), 0);
}
END_TEST

/* --- Features --- */

/* Rows: GEN-15, GEN-18, GEN-19, GEN-20, GEN-21 */
START_TEST(features)
{
	/* The spec's name of each case: GEN-15, 18, 19. */
	static const struct {
		uint64_t features;
		bool ok;
	} set[] = {
		{ 0, false },
		{ VIRTIO_BIT(FAKE_FEATURE), false },
		{ VERSION_1, true },
		{ VERSION_1 | VIRTIO_BIT(FAKE_FEATURE), true },
		{ VERSION_1 | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX), true },
		{ VERSION_1 | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(FAKE_FEATURE),
		  true },
		{ VERSION_1 | VIRTIO_BIT(FAKE_UNUSABLE), false },
		{ VERSION_1 | 1, false },
		{ VERSION_1 | VIRTIO_BIT(63), false },
		{ UINT64_MAX, false },
	};
	unsigned i, j;

	for (i = 0; i < array_size(set); i++) {
		for (j = 0; j < 100; j++) {
			ck_assert_uint_eq(negotiate(set[i].features) & FEATURES_OK,
					  set[i].ok ? FEATURES_OK : 0);
			ck_assert_uint_eq(dev->accepted, set[i].ok ? set[i].features : 0);
			virtio_set_status(dev, 0);
		}
		/* Refused once, then a good set. */
		negotiate(set[i].features);
		ck_assert_uint_eq(negotiate(VERSION_1) & FEATURES_OK, FEATURES_OK);
		virtio_set_status(dev, 0);
	}
}
END_TEST

/* Rows: GEN-21 */
START_TEST(features_latch)
{
	negotiate(VERSION_1 | VIRTIO_BIT(FAKE_FEATURE));
	offer(VERSION_1);
	ck_assert_uint_eq(dev->accepted, VERSION_1 | VIRTIO_BIT(FAKE_FEATURE));
	ck_assert_uint_eq(dev->driver_features, VERSION_1 | VIRTIO_BIT(FAKE_FEATURE));
	virtio_set_status(dev, LIVE & ~DRIVER_OK);
	ck_assert_uint_eq(dev->accepted, VERSION_1 | VIRTIO_BIT(FAKE_FEATURE));
}
END_TEST

START_TEST(feature_words)
{
	static const uint32_t beyond[] = { 2, 3, 0xffff, 0x08000000, 0x08000001, UINT32_MAX };
	unsigned i;

	virtio_set_driver_features(dev, 1, 0x11111111);
	virtio_set_driver_features(dev, 0, 0x22222222);
	for (i = 0; i < array_size(beyond); i++)
		virtio_set_driver_features(dev, beyond[i], UINT32_MAX);
	ck_assert_uint_eq(dev->driver_features, 0x1111111122222222);
	virtio_set_driver_features(dev, 0, 0); /* it replaces, it does not add */
	ck_assert_uint_eq(dev->driver_features, 0x1111111100000000);
}
END_TEST

/* --- Queues --- */

/* Rows: GEN-07 */
START_TEST(queues_start_with_driver_ok)
{
	negotiate(VERSION_1);
	queue_set_up(1);
	ck_assert_uint_eq(fake.starts[1], 0);
	ck_assert_uint_eq(ring(1), 0);
	driver_ok();
	ck_assert_uint_eq(fake.starts[0], 0);
	ck_assert_uint_eq(fake.starts[1], 1);
	ck_assert_uint_eq(bus.changed[1], 1);
	ck_assert(bus.was_running[1]);
	ck_assert_uint_eq(ring(0), 0);
	ck_assert_uint_eq(ring(1), 1);
	ck_assert_uint_eq(dev->queue[1].ring.size, FAKE_QUEUE_SIZE);
	/* One more, late. */
	queue_set_up(0);
	ck_assert_uint_eq(fake.starts[0], 1);
	ck_assert_uint_eq(ring(0), 1);
	/* Nothing starts twice. */
	virtio_queue_enable(dev, &dev->queue[0]);
	driver_ok();
	ck_assert_uint_eq(fake.starts[0], 1);
	ck_assert_uint_eq(fake.starts[1], 1);
}
END_TEST

START_TEST(ring_gets_accepted_features)
{
	queue_set_up(0);
	offer(VERSION_1); /* the layout follows the final features */
	negotiate(VERSION_1 | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX));
	driver_ok();
	ck_assert(dev->queue[0].ring.event_idx);
	ck_assert(!dev->queue[0].ring.indirect);
}
END_TEST

/* Rows: SPLIT-02, PCI-26 */
START_TEST(queue_sizes)
{
	struct virtio_queue *queue = &dev->queue[0];
	static const uint16_t bad[] = { 0, 3, 5, FAKE_QUEUE_SIZE + 1, 2 * FAKE_QUEUE_SIZE,
					0x8000, 0xffff };
	unsigned i;

	virtio_queue_set_size(dev, queue, 4);
	for (i = 0; i < array_size(bad); i++) {
		virtio_queue_set_size(dev, queue, bad[i]);
		ck_assert_uint_eq(queue->config.size, 4);
	}
	for (i = 1; i <= FAKE_QUEUE_SIZE; i *= 2) {
		virtio_queue_set_size(dev, queue, (uint16_t)i);
		ck_assert_uint_eq(queue->config.size, i);
	}
	virtio_queue_set_size(dev, queue, 8);
	ck_assert_uint_eq(dev->queue[1].config.size, FAKE_QUEUE_SIZE);
	queue_set_up(0);
	virtio_queue_set_size(dev, queue, 2); /* enabled: too late */
	negotiate(VERSION_1);
	driver_ok();
	virtio_queue_set_size(dev, queue, 2);
	ck_assert_uint_eq(queue->config.size, 8);
	ck_assert_uint_eq(queue->ring.size, 8);
	virtio_set_status(dev, 0);
	ck_assert_uint_eq(queue->config.size, FAKE_QUEUE_SIZE);
}
END_TEST

/* A packed ring has any size, once it is clear that there will be one. */
/* Rows: PACKED-01, PCI-26 */
START_TEST(packed_queue_sizes)
{
	const uint64_t packed = VERSION_1 | VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	struct virtio_queue *queue = &dev->queue[0];

	dev->offered |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	virtio_queue_set_size(dev, queue, 5);
	ck_assert_uint_eq(queue->config.size, FAKE_QUEUE_SIZE);
	negotiate(packed);
	for (uint16_t size = 1; size <= FAKE_QUEUE_SIZE; size++) {
		virtio_queue_set_size(dev, queue, size);
		ck_assert_uint_eq(queue->config.size, size);
	}
	virtio_queue_set_size(dev, queue, 5);
	virtio_queue_set_size(dev, queue, 0);
	virtio_queue_set_size(dev, queue, FAKE_QUEUE_SIZE + 1);
	queue_set_up(0);
	driver_ok();
	ck_assert_uint_eq(queue->ring.size, 5);
	ck_assert(queue->ring.is_packed);
	virtio_set_status(dev, 0);
	negotiate(VERSION_1);
	virtio_queue_set_size(dev, queue, 5);
	ck_assert_uint_eq(queue->config.size, FAKE_QUEUE_SIZE);
}
END_TEST

/* Each ring part in turn: unaligned, outside RAM, over its end, wrapping. */
/* Rows: GEN-10, GEN-11, SPLIT-01 */
START_TEST(ring_in_a_bad_place)
{
	static const uint64_t size[] = { 16 * FAKE_QUEUE_SIZE, 6 + 2 * FAKE_QUEUE_SIZE,
					 6 + 8 * FAKE_QUEUE_SIZE };
	static const uint64_t align[] = { 16, 2, 4 };
	const uint64_t end = FAKE_RAM_AT + FAKE_RAM;
	unsigned part, i;

	for (part = 0; part < 3; part++) {
		const uint64_t last = (end - size[part]) & -align[part];
		const uint64_t bad[] = {
			fake_ring_at(0, part) + 1, fake_ring_at(0, part) + align[part] / 2, 0, end,
			last + align[part], FAKE_RAM_AT - align[part], -align[part], UINT64_MAX,
		};

		for (i = 0; i <= array_size(bad); i++) {
			struct virtqueue_config *config = &dev->queue[0].config;
			unsigned starts = fake.starts[0];
			bool good = i == array_size(bad);

			negotiate(VERSION_1);
			queue_set_up(0);
			*(part == 0 ? &config->desc : part == 1 ? &config->driver :
			  &config->device) = good ? last : bad[i];
			driver_ok();
			ck_assert_uint_eq(virtio_get_status(dev), LIVE | (good ? 0 : NEEDS_RESET));
			ck_assert_uint_eq(fake.starts[0] - starts, good);
			ck_assert_uint_eq(bus.notified, !good);
			ck_assert_uint_eq(ring(0), good);
			virtio_set_status(dev, 0);
			check_defaults();
		}
	}
}
END_TEST

/* --- A broken device --- */

/* Rows: GEN-10, GEN-11, GEN-12 */
START_TEST(broken)
{
	char *text;

	bring_up();
	files_capture();
	virtio_device_broken(dev, "the test says so");
	virtio_device_broken(dev, "and again");
	text = files_captured();
	ck_assert_str_eq(text, "vmm: warning: fake: needs a reset: the test says so\n");
	free(text);
	ck_assert(virtio_device_is_broken(dev));
	ck_assert_uint_eq(bus.notified, 1);
	/* Only a reset ends it. */
	virtio_set_status(dev, LIVE);
	virtio_set_status(dev, LIVE | NEEDS_RESET);
	virtio_set_status(dev, ACKNOWLEDGE);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE | NEEDS_RESET);
	virtio_set_status(dev, 0);
	check_defaults();
	ck_assert(!virtio_device_is_broken(dev));
	bring_up();
}
END_TEST

/* Rows: GEN-12 */
START_TEST(broken_before_driver_ok)
{
	negotiate(VERSION_1);
	queue_set_up(0);
	virtio_device_broken(dev, "early");
	ck_assert_uint_eq(bus.notified, 0);
	driver_ok();
	ck_assert_uint_eq(fake.starts[0], 0);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE | NEEDS_RESET);
}
END_TEST

START_TEST(messages_have_a_budget)
{
	unsigned i, lines = 0;
	char *text;

	files_capture();
	for (i = 0; i < 200; i++) {
		bring_up();
		virtio_device_broken(dev, "again");
		virtio_set_status(dev, 0);
	}
	text = files_captured();
	for (i = 0; text[i]; i++)
		lines += text[i] == '\n';
	ck_assert_uint_ge(lines, 1);
	ck_assert_uint_le(lines, 2 * LOG_LIMIT_BURST); /* a new period may have begun */
	free(text);
}
END_TEST

/* --- Reset --- */

/* Rows: GEN-06 */
START_TEST(reset_from_any_state)
{
	unsigned state;

	for (state = 0; state < 8; state++) {
		unsigned resets = bus.resets;

		if (state >= 1)
			virtio_set_status(dev, ACKNOWLEDGE);
		if (state >= 2)
			negotiate(state == 2 ? 0 : VERSION_1);
		if (state >= 4)
			queue_set_up(0);
		if (state >= 5)
			driver_ok();
		if (state == 6)
			virtio_device_broken(dev, "state 6");
		if (state == 7)
			virtio_set_status(dev, FAILED);
		virtio_set_status(dev, 0);
		check_defaults();
		ck_assert_uint_gt(bus.resets, resets);
		virtio_set_status(dev, 0);
		bring_up();
		virtio_set_status(dev, 0);
	}
	ck_assert_uint_eq(fake.stops[0], fake.starts[0]);
	ck_assert_uint_eq(fake.stops[1], fake.starts[1]);
}
END_TEST

/* Rows: GEN-01, GEN-02 */
START_TEST(slow_reset)
{
	bring_up();
	fake.slow_stop = true;
	virtio_set_status(dev, 0);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE);
	ck_assert_uint_eq(fake.stops[0], 1);
	ck_assert_uint_eq(fake.stops[1], 1);
	ck_assert_uint_eq(bus.changed[0], 2);
	ck_assert(!bus.was_running[0]);
	ck_assert_uint_eq(bus.resets, 0);
	ck_assert_uint_eq(ring(0) + ring(1), 0);

	/* What a hurried driver does now changes nothing. */
	virtio_set_status(dev, 0);
	virtio_set_status(dev, LIVE);
	offer(VERSION_1);
	virtio_queue_enable(dev, &dev->queue[0]);
	virtio_queue_set_size(dev, &dev->queue[0], 2);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE);
	ck_assert_uint_eq(fake.stops[0] + fake.stops[1], 2);
	ck_assert_uint_eq(fake.starts[0] + fake.starts[1], 2);

	fake_device_let_go(&fake, 1);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE);
	fake_device_let_go(&fake, 0);
	check_defaults();
	ck_assert_uint_eq(bus.resets, 1);
	fake.slow_stop = false;
	bring_up();
	ck_assert_uint_eq(fake.starts[0], 2);
}
END_TEST

/* Rows: GEN-02, GEN-06 */
START_TEST(slow_reset_of_a_broken_device)
{
	bring_up();
	fake.slow_stop = true;
	virtio_device_broken(dev, "slow");
	virtio_set_status(dev, 0);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE | NEEDS_RESET);
	fake_device_let_go(&fake, 0);
	virtio_device_broken(dev, "slower"); /* the other thread, on its way out */
	fake_device_let_go(&fake, 1);
	check_defaults();
}
END_TEST

/* The write of 0 itself may complete it, without a read in between. */
/* Rows: GEN-02 */
START_TEST(reset_completed_by_a_write)
{
	bring_up();
	fake.slow_stop = true;
	virtio_set_status(dev, 0);
	fake_device_let_go(&fake, 0);
	fake_device_let_go(&fake, 1);
	virtio_set_status(dev, 0);
	check_defaults();
	fake.slow_stop = false;
	bring_up();
}
END_TEST

START_TEST(cycles)
{
	int fd = dup(0);
	unsigned i;

	for (i = 0; i < 10000; i++) {
		bring_up();
		ck_assert_uint_eq(ring(i % 2), 1);
		virtio_set_status(dev, 0);
	}
	check_defaults();
	ck_assert_uint_eq(fake.starts[0], 10000);
	ck_assert_uint_eq(fake.stops[1], 10000);
	close(fd);
	ck_assert_int_eq(dup(0), fd);
	close(fd);
}
END_TEST

/* When both orders are there, and the other side probably waits. */
static void *let_go_later(void *opaque)
{
	const struct timespec tick = { .tv_nsec = 5 * 1000 * 1000 };

	(void)opaque;
	do
		nanosleep(&tick, NULL);
	while (!load_acquire(&fake.stops[0]) || !load_acquire(&fake.stops[1]));
	fake_device_let_go(&fake, 1);
	fake_device_let_go(&fake, 0);
	return NULL;
}

/* With a reset under way already, or not. */
START_TEST(shut_down_waits)
{
	pthread_t thread;

	bring_up();
	fake.slow_stop = true;
	if (_i)
		virtio_set_status(dev, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, let_go_later, NULL), 0);
	virtio_device_shut_down(dev);
	ck_assert(!fake.owned[0] && !fake.owned[1]);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(fake.stops[0], 1);
	check_defaults();
}
END_TEST

static struct virtio_notifier *raised;

static void raise_notifier(struct virtio_notifier *notifier)
{
	raised = notifier;
}

/* --- Queue reset (GEN-33 to GEN-36) --- */

static void bring_up_resettable(void)
{
	negotiate(VERSION_1 | VIRTIO_BIT(VIRTIO_F_RING_RESET));
	queue_set_up(0);
	queue_set_up(1);
	driver_ok();
}

static void check_queue_defaults(unsigned index)
{
	const struct virtio_queue *queue = &dev->queue[index];

	ck_assert_uint_eq(queue->config.size, FAKE_QUEUE_SIZE);
	ck_assert_uint_eq(queue->config.vector, VIRTIO_NO_VECTOR);
	ck_assert_uint_eq(queue->config.desc | queue->config.driver | queue->config.device, 0);
	ck_assert(!queue->config.enabled);
	ck_assert(!virtio_queue_running(queue));
	ck_assert(!fake.owned[index]);
	ck_assert_ptr_null(queue->notifier);
}

static struct virtio_notifier of_queue_1 = { .raise = raise_notifier };

/* Order the reset of queue 1, which the device does not complete yet. */
static struct virtio_queue *reset_slowly(void)
{
	struct virtio_queue *queue = &dev->queue[1];

	bring_up_resettable();
	store_release(&queue->notifier, &of_queue_1);
	queue->config.vector = 1;
	fake.slow_stop = true;
	virtio_queue_reset(dev, queue);
	return queue;
}

/* Rows: GEN-33 */
START_TEST(queue_reset)
{
	struct virtio_queue *queue = reset_slowly();

	ck_assert(virtio_queue_settle(dev, queue));
	ck_assert(!bus.was_running[1]);
	ck_assert_uint_eq(bus.changed[1], 2);
	ck_assert_uint_eq(ring(1), 0);
	/* What a hurried driver does now changes nothing. */
	virtio_queue_reset(dev, queue);
	virtio_queue_set_size(dev, queue, 2);
	virtio_queue_enable(dev, queue);
	ck_assert(virtio_queue_settle(dev, queue));
	ck_assert_uint_eq(fake.stops[1], 1);
	ck_assert_uint_eq(fake.starts[1], 1);
	ck_assert_uint_eq(ring(0), 1);
}
END_TEST

/* Rows: GEN-33, GEN-34 */
START_TEST(queue_reset_completed)
{
	struct virtio_queue *queue = reset_slowly();

	raised = NULL;
	virtio_queue_notify(dev, 1); /* its last completions */
	ck_assert_ptr_eq(raised, &of_queue_1);
	fake_device_let_go(&fake, 1);
	ck_assert(!virtio_queue_settle(dev, queue));
	check_queue_defaults(1);
	ck_assert_uint_eq(bus.changed[1], 3);
	raised = NULL;
	virtio_queue_notify(dev, 1);
	ck_assert_ptr_null(raised);
	ck_assert_uint_eq(virtio_get_status(dev), LIVE);
	ck_assert_uint_eq(fake.stops[0], 0);
	ck_assert_uint_eq(bus.resets, 0);
}
END_TEST

/* Half as long, somewhere else, and from its start. */
/* Rows: GEN-34, GEN-35 */
START_TEST(queue_enabled_after_reset)
{
	struct virtio_queue *queue = reset_slowly();
	uint64_t place;

	fake_device_let_go(&fake, 1);
	ck_assert(!virtio_queue_settle(dev, queue));
	virtio_queue_set_size(dev, queue, FAKE_QUEUE_SIZE / 2);
	queue_set_up(1);
	place = queue->config.desc;
	ck_assert_uint_eq(fake.starts[1], 2);
	ck_assert_uint_eq(queue->ring.size, FAKE_QUEUE_SIZE / 2);
	ck_assert_uint_eq(queue->ring.popped, 0);
	ck_assert_ptr_eq(queue->ring.split.desc, fake.ram + (place - FAKE_RAM_AT));
	ck_assert(!virtio_queue_settle(dev, queue));
	ck_assert_uint_eq(ring(1), 1);
}
END_TEST

/* Rows: GEN-36 */
START_TEST(queue_reset_without_the_feature)
{
	bring_up();
	virtio_queue_reset(dev, &dev->queue[0]);
	ck_assert(!virtio_queue_settle(dev, &dev->queue[0]));
	ck_assert(dev->queue[0].config.enabled);
	ck_assert_uint_eq(fake.stops[0], 0);
	ck_assert_uint_eq(ring(0), 1);
}
END_TEST

/* Before DRIVER_OK, of a queue that was never enabled, and again and again. */
/* Rows: GEN-34 */
START_TEST(queue_reset_of_an_idle_queue)
{
	unsigned i;

	negotiate(VERSION_1 | VIRTIO_BIT(VIRTIO_F_RING_RESET));
	for (i = 0; i < 1000; i++) {
		if (i % 2)
			queue_set_up(0);
		if (i == 500)
			driver_ok();
		virtio_queue_reset(dev, &dev->queue[0]);
		ck_assert(!virtio_queue_settle(dev, &dev->queue[0]));
		check_queue_defaults(0);
	}
	ck_assert_uint_eq(fake.starts[0], 250);
	ck_assert_uint_eq(fake.stops[0], 250);
}
END_TEST

/* The device is reset while a queue is: one order, one acknowledgement. */
/* Rows: GEN-06 */
START_TEST(device_reset_during_queue_reset)
{
	bring_up_resettable();
	fake.slow_stop = true;
	virtio_queue_reset(dev, &dev->queue[0]);
	virtio_set_status(dev, 0);
	virtio_queue_reset(dev, &dev->queue[1]); /* too late to matter */
	fake_device_let_go(&fake, 0);
	ck_assert(virtio_queue_settle(dev, &dev->queue[0]));
	ck_assert_uint_eq(virtio_get_status(dev), LIVE);
	fake_device_let_go(&fake, 1);
	check_defaults();
	ck_assert(!virtio_queue_settle(dev, &dev->queue[0]));
	ck_assert_uint_eq(fake.stops[0], 1);
	ck_assert_uint_eq(fake.stops[1], 1);
}
END_TEST

/* --- Configuration --- */

/* Rows: GEN-27, GEN-28 */
START_TEST(config_widths)
{
	unsigned at, len, i;

	for (at = 0; at < FAKE_CONFIG + 16; at++) {
		for (len = 1; len <= 8; len++) {
			uint64_t expected = 0;

			for (i = 0; i < len; i++)
				if (at + i < FAKE_CONFIG)
					expected |= (uint64_t)(0x10 + at + i) << (8 * i);
			ck_assert_uint_eq(virtio_config_read(dev, at, len), expected);
		}
	}
	ck_assert_uint_eq(virtio_config_read(dev, UINT64_MAX, 8), 0);
	ck_assert_uint_eq(virtio_config_read(dev, -8ULL, 8), 0);
}
END_TEST

/* Rows: GEN-28 */
START_TEST(config_writes)
{
	unsigned at, len, inside = 0;

	virtio_config_write(dev, 4, 0xabcd, 2);
	ck_assert_uint_eq(virtio_config_read(dev, 0, 8), 0x1716abcd13121110);
	for (at = 0; at < FAKE_CONFIG + 16; at++) {
		for (len = 1; len <= 8; len++) {
			inside += at + len <= FAKE_CONFIG;
			virtio_config_write(dev, at, 0, len); /* the fake checks the range */
		}
	}
	virtio_config_write(dev, UINT64_MAX, 0, 8);
	virtio_config_write(dev, -4ULL, 0, 8);
	ck_assert_uint_eq(fake.config_writes, 1 + inside);
}
END_TEST

/* Rows: GEN-29, PCI-16 */
START_TEST(generation)
{
	uint8_t before;
	unsigned i;

	virtio_config_read(dev, 0, 8);
	before = dev->generation;
	virtio_config_read(dev, 0, 8);
	ck_assert_uint_eq(dev->generation, before);
	for (i = 0; i < 256; i++) {
		fake.config[0]++;
		virtio_notify_config(dev);
	}
	ck_assert_uint_eq(dev->generation, before);
	virtio_config_read(dev, FAKE_CONFIG, 4); /* nothing was read */
	ck_assert_uint_eq(dev->generation, before);
	virtio_config_read(dev, 0, 4);
	ck_assert_uint_ne(dev->generation, before);
	before = dev->generation;
	virtio_config_read(dev, 4, 4);
	ck_assert_uint_eq(dev->generation, before);
}
END_TEST

/*
 * A driver that reads a field in two parts, with a change in between whose
 * notification comes only later: it must see a new generation, or two parts of
 * one version.
 */
/* Rows: GEN-29, PCI-16 */
START_TEST(generation_and_a_change_on_its_way)
{
	uint8_t before;
	uint64_t low, high;

	bring_up();
	memset(fake.config, 1, 8);
	virtio_notify_config(dev);
	virtio_config_read(dev, 0, 8);
	before = dev->generation;
	low = virtio_config_read(dev, 0, 4);
	memset(fake.config, 2, 8);
	high = virtio_config_read(dev, 4, 4);
	ck_assert(low == high || dev->generation != before);
	virtio_notify_config(dev);
	ck_assert_uint_eq(virtio_config_read(dev, 0, 4), 0x02020202);
	ck_assert_uint_ne(dev->generation, before);
}
END_TEST

/* --- Notifications --- */

/* Rows: GEN-30, GEN-31 */
START_TEST(config_notification)
{
	virtio_notify_config(dev); /* status 0 */
	negotiate(VERSION_1);
	virtio_notify_config(dev);
	virtio_notify_config(dev);
	ck_assert_uint_eq(bus.notified, 0);
	driver_ok();
	ck_assert_uint_eq(bus.notified, 1); /* one for all of them */
	virtio_notify_config(dev);
	virtio_notify_config(dev);
	ck_assert_uint_eq(bus.notified, 3);
	virtio_set_status(dev, LIVE);
	ck_assert_uint_eq(bus.notified, 3);
	virtio_set_status(dev, 0);
	virtio_notify_config(dev);
	ck_assert_uint_eq(bus.notified, 0);
	/* A reset drops what was held. */
	virtio_set_status(dev, 0);
	bring_up();
	ck_assert_uint_eq(bus.notified, 0);
}
END_TEST

/* Rows: GEN-03 */
START_TEST(queue_notification)
{
	struct virtio_notifier notifier = { .raise = raise_notifier };

	bring_up();
	virtio_queue_notify(dev, 0); /* to nowhere */
	ck_assert_ptr_null(raised);
	store_release(&dev->queue[0].notifier, &notifier);
	virtio_queue_notify(dev, 1);
	ck_assert_ptr_null(raised);
	virtio_queue_notify(dev, 0);
	ck_assert_ptr_eq(raised, &notifier);
	raised = NULL;
	virtio_set_status(dev, 0);
	virtio_queue_notify(dev, 0);
	ck_assert_ptr_null(raised);
}
END_TEST

/*
 * A notification that is under way while the driver resets the device: once
 * the status reads 0 it has been dropped, and none comes after (GEN-03).
 */
static sem_t in_notify;
static bool is_reset;

static void wait_in_notify(void)
{
	const struct timespec tick = { .tv_nsec = 1000 * 1000 };
	unsigned i;

	sem_post(&in_notify);
	for (i = 0; i < 200 && !load_acquire(&is_reset); i++)
		nanosleep(&tick, NULL);
}

static void *notify_once(void *opaque)
{
	(void)opaque;
	virtio_notify_config(dev);
	return NULL;
}

/* Rows: GEN-03 */
START_TEST(no_notification_after_reset)
{
	pthread_t thread;

	bring_up();
	sem_init(&in_notify, 0, 0);
	bus.in_notify = wait_in_notify;
	ck_assert_int_eq(pthread_create(&thread, NULL, notify_once, NULL), 0);
	sem_wait(&in_notify);
	virtio_set_status(dev, 0);
	while (virtio_get_status(dev) != 0)
		;
	store_release(&is_reset, true);
	pthread_join(thread, NULL);
	bus.in_notify = NULL;
	ck_assert_uint_eq(bus.notified, 0);
}
END_TEST

/* --- Threads that tell the driver things while it starts and resets --- */

static bool busy;

static void *events(void *opaque)
{
	(void)opaque;
	while (load_relaxed(&busy)) {
		virtio_notify_config(dev);
		virtio_queue_notify(dev, 0);
		virtio_queue_notify(dev, 1);
	}
	return NULL;
}

START_TEST(events_during_life)
{
	static struct virtio_notifier notifier = { .raise = raise_notifier };
	unsigned i, heard = 0;
	pthread_t thread;

	raised = &notifier;
	busy = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, events, NULL), 0);
	for (i = 0; i < 3000 || heard < 10; i++) {
		bring_up();
		virtio_config_read(dev, 0, 8);
		heard += __atomic_load_n(&bus.notified, __ATOMIC_SEQ_CST) > 0;
		virtio_set_status(dev, 0);
	}
	store_relaxed(&busy, false);
	pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio device");
	TCase *tcase = tcase_create("device");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, power_on);
	tcase_add_test(tcase, status_accumulates);
	tcase_add_test(tcase, any_first_status);
	tcase_add_test(tcase, driver_ok_without_features);
	tcase_add_test(tcase, driver_ok_without_queues);
	tcase_add_test(tcase, features);
	tcase_add_test(tcase, features_latch);
	tcase_add_test(tcase, feature_words);
	tcase_add_test(tcase, queues_start_with_driver_ok);
	tcase_add_test(tcase, ring_gets_accepted_features);
	tcase_add_test(tcase, queue_sizes);
	tcase_add_test(tcase, packed_queue_sizes);
	tcase_add_test(tcase, ring_in_a_bad_place);
	tcase_add_test(tcase, broken);
	tcase_add_test(tcase, broken_before_driver_ok);
	tcase_add_test(tcase, messages_have_a_budget);
	tcase_add_test(tcase, reset_from_any_state);
	tcase_add_test(tcase, slow_reset);
	tcase_add_test(tcase, slow_reset_of_a_broken_device);
	tcase_add_test(tcase, reset_completed_by_a_write);
	tcase_add_test(tcase, cycles);
	tcase_add_loop_test(tcase, shut_down_waits, 0, 2);
	tcase_add_test(tcase, queue_reset);
	tcase_add_test(tcase, queue_reset_completed);
	tcase_add_test(tcase, queue_enabled_after_reset);
	tcase_add_test(tcase, queue_reset_without_the_feature);
	tcase_add_test(tcase, queue_reset_of_an_idle_queue);
	tcase_add_test(tcase, device_reset_during_queue_reset);
	tcase_add_test(tcase, config_widths);
	tcase_add_test(tcase, config_writes);
	tcase_add_test(tcase, generation);
	tcase_add_test(tcase, generation_and_a_change_on_its_way);
	tcase_add_test(tcase, config_notification);
	tcase_add_test(tcase, queue_notification);
	tcase_add_test(tcase, no_notification_after_reset);
	tcase_add_test(tcase, events_during_life);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
