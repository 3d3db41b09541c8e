// SPDX-License-Identifier: BSD-2-Clause
#include "virtio/virtqueue.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/unit.h"
#include "tests/unit/vq-driver.h"
#include "virtio/feature.h"

#define GPA 0x100000
#define RAM (1 << 20)
#define EVENT VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)

#define PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define IN_ORDER VIRTIO_BIT(VIRTIO_F_IN_ORDER)

/* Each kind of ring with each kind of suppression; then also in order. */
#define KINDS 4
static const uint64_t kinds[] = {
	0, EVENT, PACKED, PACKED | EVENT, IN_ORDER, PACKED | EVENT | IN_ORDER,
};

static const uint16_t sizes[] = { 1, 2, 3, 5, 256, 32768 };

static bool size_fits(uint16_t size, uint64_t features)
{
	return (features & PACKED) || !(size & (size - 1));
}

/* Driver and device on one queue; the device's side is the code under test. */
static struct vq_ram ram;
static struct vq_driver *driver;
static struct virtqueue vq;
static struct virtqueue_used early[VIRTQUEUE_SIZE_MAX];
static struct iovec iov[VIRTQUEUE_CHAIN_MAX];
static struct virtqueue_chain chain;
static uint64_t state; /* of random numbers */

static void begin(uint16_t size, uint64_t features)
{
	vq_ram_init(&ram, GPA, RAM);
	driver = vq_driver_create(&ram, size, features);
	ck_assert_int_eq(virtqueue_start(&vq, vq_driver_config(driver), &ram.mem, features, early),
			 0);
	chain.iov = iov;
	state = size;
}

static void end(void)
{
	vq_driver_free(driver);
	vq_ram_free(&ram);
}

/* Is chain what the driver added, empty parts left out? */
static bool chain_is(const struct vq_part *part, unsigned count)
{
	uint64_t len[2] = { 0, 0 };
	unsigned parts[2] = { 0, 0 }, n = 0;

	for (unsigned i = 0; i < count; i++) {
		bool inside = part[i].gpa >= GPA && part[i].gpa < GPA + RAM &&
			part[i].len <= GPA + RAM - part[i].gpa;

		if (!part[i].len)
			continue;
		parts[part[i].writable]++;
		len[part[i].writable] += part[i].len;
		if (iov[n].iov_len != part[i].len ||
		    iov[n].iov_base != (inside ? vq_ram_ptr(&ram, part[i].gpa) : NULL))
			return false;
		n++;
	}
	return chain.readable == parts[0] && chain.writable == parts[1] &&
		chain.readable_len == len[0] && chain.writable_len == len[1];
}

/* --- Start --- */

struct areas {
	uint16_t size;
	uint64_t desc, driver, device;
	bool good;
};

static const struct areas split_areas[] = {
	{ 0, GPA, GPA + 0x1000, GPA + 0x2000, false },
	{ 1, GPA, GPA + 0x1000, GPA + 0x2000, true },
	{ 2, GPA, GPA + 0x1000, GPA + 0x2000, true },
	{ 3, GPA, GPA + 0x1000, GPA + 0x2000, false },
	{ 6, GPA, GPA + 0x1000, GPA + 0x2000, false },
	{ 32768, GPA, GPA + 0x80000, GPA + 0xa0000, true },
	{ 32769, GPA, GPA + 0x80000, GPA + 0xa0000, false },
	{ 65535, GPA, GPA + 0x80000, GPA + 0xa0000, false },
	/* Least alignment, and one step below it. */
	{ 8, GPA + 16, GPA + 0x1002, GPA + 0x2004, true },
	{ 8, GPA + 8, GPA + 0x1000, GPA + 0x2000, false },
	{ 8, GPA, GPA + 0x1001, GPA + 0x2000, false },
	{ 8, GPA, GPA + 0x1000, GPA + 0x2002, false },
	/* Outside RAM: at 0, below, above, at the end of all addresses. */
	{ 8, 0, GPA + 0x1000, GPA + 0x2000, false },
	{ 8, GPA - 16, GPA + 0x1000, GPA + 0x2000, false },
	{ 8, GPA, GPA - 2, GPA + 0x2000, false },
	{ 8, GPA, GPA + 0x1000, GPA - 4, false },
	{ 8, GPA + RAM, GPA + 0x1000, GPA + 0x2000, false },
	{ 8, GPA, GPA + RAM, GPA + 0x2000, false },
	{ 8, GPA, GPA + 0x1000, GPA + RAM, false },
	{ 8, -16ULL, GPA + 0x1000, GPA + 0x2000, false },
	{ 8, GPA, -2ULL, GPA + 0x2000, false },
	{ 8, GPA, GPA + 0x1000, -4ULL, false },
	{ 32768, GPA + RAM - 0x7fff0, GPA, GPA + 0x20000, false },
	/* The very end of RAM, and an aligned step beyond it. */
	{ 8, GPA + RAM - 128, GPA, GPA + 0x1000, true },
	{ 8, GPA + RAM - 112, GPA, GPA + 0x1000, false },
	{ 8, GPA, GPA + RAM - 22, GPA + 0x1000, true },
	{ 8, GPA, GPA + RAM - 20, GPA + 0x1000, false },
	{ 8, GPA, GPA + 0x1000, GPA + RAM - 72, true },
	{ 8, GPA, GPA + 0x1000, GPA + RAM - 68, false },
};

/* Any size; the events are small, and need not be where a split ring has more. */
static const struct areas packed_areas[] = {
	{ 0, GPA, GPA + 0x1000, GPA + 0x2000, false },
	{ 1, GPA, GPA + 0x1000, GPA + 0x2000, true },
	{ 3, GPA, GPA + 0x1000, GPA + 0x2000, true },
	{ 32767, GPA, GPA + 0x80000, GPA + 0xa0000, true },
	{ 32768, GPA, GPA + 0x80000, GPA + 0xa0000, true },
	{ 32769, GPA, GPA + 0x80000, GPA + 0xa0000, false },
	{ 65535, GPA, GPA + 0x80000, GPA + 0xa0000, false },
	{ 5, GPA + 16, GPA + 0x1004, GPA + 0x2004, true },
	{ 5, GPA + 8, GPA + 0x1000, GPA + 0x2000, false },
	{ 5, GPA, GPA + 0x1002, GPA + 0x2000, false },
	{ 5, GPA, GPA + 0x1000, GPA + 0x2002, false },
	{ 5, GPA - 16, GPA + 0x1000, GPA + 0x2000, false },
	{ 5, GPA, GPA - 4, GPA + 0x2000, false },
	{ 5, GPA, GPA + 0x1000, GPA - 4, false },
	{ 5, -16ULL, GPA + 0x1000, GPA + 0x2000, false },
	{ 5, GPA, -4ULL, GPA + 0x2000, false },
	{ 5, GPA, GPA + 0x1000, -4ULL, false },
	{ 5, GPA + RAM - 80, GPA, GPA + 0x1000, true },
	{ 5, GPA + RAM - 64, GPA, GPA + 0x1000, false },
	{ 5, GPA, GPA + RAM - 4, GPA + 0x1000, true },
	{ 5, GPA, GPA + RAM, GPA + 0x1000, false },
	{ 5, GPA, GPA + 0x1000, GPA + RAM - 4, true },
	{ 5, GPA, GPA + 0x1000, GPA + RAM, false },
};

static void check_areas(const struct areas *table, unsigned count, uint64_t features)
{
	vq_ram_init(&ram, GPA, RAM);
	for (unsigned i = 0; i < count; i++) {
		const struct virtqueue_config config = {
			.size = table[i].size,
			.desc = table[i].desc,
			.driver = table[i].driver,
			.device = table[i].device,
		};
		int ret = virtqueue_start(&vq, &config, &ram.mem, features, early);

		ck_assert_msg(ret == (table[i].good ? 0 : -EINVAL), "row %u: %d", i, ret);
		ck_assert_msg(table[i].good || vq.why, "row %u gives no reason", i);
	}
	vq_ram_check(&ram);
	vq_ram_free(&ram);
}

/* Rows: SPLIT-01, SPLIT-02 */
START_TEST(start_checks_the_areas)
{
	/* The event words count even where they are not used. */
	check_areas(split_areas, array_size(split_areas), 0);
	check_areas(split_areas, array_size(split_areas), EVENT);
}
END_TEST

/* Rows: PACKED-01 */
START_TEST(start_checks_packed_areas)
{
	check_areas(packed_areas, array_size(packed_areas), PACKED | EVENT);
}
END_TEST

/* --- Whole chains --- */

/* Up to @count chains go through as one batch. */
static void echo_batch(unsigned count, uint64_t buffers)
{
	struct vq_part part[2][2];
	struct vq_used used;
	unsigned n;

	/* Two shapes by turns: writable alone, and readable before it. */
	for (n = 0; n < count; n++) {
		bool both = vq.size > 1 && n % 2;

		part[n % 2][0] = (struct vq_part){ buffers + n % 64, 1 + n % 32, !both };
		part[n % 2][1] = (struct vq_part){ buffers + 128 + n % 64, 1 + n % 16, true };
		if (vq_driver_add_parts(driver, part[n % 2], 1 + both) < 0)
			break;
	}
	must(n > 0);
	vq_driver_publish(driver);
	for (unsigned i = 0; i < n; i++) {
		must(virtqueue_has_work(&vq));
		must(virtqueue_pop(&vq, &chain) == 1);
		must(!chain.bad && chain.writable == 1 && chain.readable == (i % 2 && vq.size > 1));
		must(iov[chain.readable].iov_len == chain.writable_len);
		memset(iov[chain.readable].iov_base, 0xee, chain.writable_len);
		virtqueue_push(&vq, &chain, (uint32_t)chain.writable_len);
	}
	must(!virtqueue_has_work(&vq));
	must(virtqueue_pop(&vq, &chain) == 0);
	must(!virtqueue_rearm(&vq));
	must(!vq_driver_get(driver, &used));
	must(virtqueue_publish(&vq) == vq_driver_was_interrupt_due(driver));
	for (unsigned i = 0; i < n; i++)
		must(vq_driver_get(driver, &used) && used.len == used.writable);
}

/*
 * Rows: SPLIT-02, SPLIT-07, SPLIT-09, SPLIT-19, SPLIT-21, SPLIT-22, SPLIT-25,
 * SPLIT-35, PACKED-01, PACKED-03, PACKED-05, PACKED-06, PACKED-10, PACKED-14,
 * PACKED-17, PACKED-19, PACKED-24, PACKED-27
 */
START_TEST(positions_wrap)
{
	for (unsigned s = 0; s < array_size(sizes); s++)
		for (unsigned k = 0; k < array_size(kinds); k++) {
			uint64_t buffers;
			uint16_t before;
			unsigned wraps = 0;

			if (!size_fits(sizes[s], kinds[k]))
				continue;
			begin(sizes[s], kinds[k]);
			buffers = vq_ram_alloc(&ram, 256, 1);
			while (wraps < 2) {
				before = vq.popped;
				echo_batch(1 + vq_random(&state, sizes[s]), buffers);
				wraps += vq.popped < before;
				if (vq_random(&state, 4) == 0)
					vq_driver_mute(driver);
				else
					vq_driver_listen(driver, (uint16_t)vq_random(&state, 5));
			}
			vq_driver_check(driver);
			end();
		}
}
END_TEST

/* Rows: SPLIT-01, SPLIT-39, PACKED-01 */
START_TEST(areas_may_end_where_ram_does)
{
	static const uint16_t small[] = { 1, 2, 256 };

	for (unsigned s = 0; s < array_size(small); s++)
		for (unsigned i = 0; i < 6; i++) {
			unsigned area = i % 3;
			bool packed = i >= 3;
			uint64_t features = EVENT | (packed ? PACKED : 0);
			const uint64_t len[3] = {
				16 * small[s],
				packed ? 4 : 6 + 2 * small[s],
				packed ? 4 : align_up(6 + 8 * small[s], 4),
			};
			uint64_t gpa[3] = { GPA, GPA + (packed ? 0x4004 : 0x4002), GPA + 0x8004 };
			struct virtqueue_config config;

			gpa[area] = GPA + RAM - len[area];
			config = (struct virtqueue_config){
				.size = small[s],
				.desc = gpa[0],
				.driver = gpa[1],
				.device = gpa[2],
			};
			vq_ram_init(&ram, GPA, RAM);
			driver = vq_driver_create_at(&ram, &config, features);
			ck_assert_int_eq(virtqueue_start(&vq, &config, &ram.mem, features, early),
					 0);
			chain.iov = iov;
			for (unsigned n = 0; n < 3000; n++)
				echo_batch(small[s], GPA + 0x10000);
			vq_driver_check(driver);
			end();
		}
}
END_TEST

/* A permutation of [0, @entries) that starts with 0. */
static void shuffle(uint16_t *order, unsigned entries)
{
	for (unsigned i = 0; i < entries; i++)
		order[i] = (uint16_t)i;
	for (unsigned i = 1; i < entries; i++) {
		unsigned j = i + vq_random(&state, entries - i);
		uint16_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

/* Any mix of direct and indirect, tables unaligned, in odd order, with junk. */
static void any_shape(uint64_t features)
{
	static struct vq_part part[VIRTQUEUE_CHAIN_MAX];
	static uint16_t order[512];
	uint64_t tables, buffers;

	begin(64, features);
	buffers = vq_ram_alloc(&ram, 0x10000, 1);
	tables = vq_ram_alloc(&ram, 0x4000, 1);
	for (unsigned round = 0; round < 10000; round++) {
		unsigned count = 1 + vq_random(&state, round % 4 ? 8 : VIRTQUEUE_CHAIN_MAX);
		unsigned writable = vq_random(&state, count + 1);
		struct vq_chain shape = { .part = part, .count = count };
		struct vq_used used;

		for (unsigned i = 0; i < count; i++)
			part[i] = (struct vq_part){
				.gpa = buffers + vq_random(&state, 0x8000),
				.len = vq_random(&state, 8) ? vq_random(&state, 0x400) : 0,
				.writable = i >= writable,
			};
		if (vq_random(&state, 4) || count > 64) {
			shape.entries = count;
			shape.table = tables + vq_random(&state, 64);
			shape.pointer_writable = vq_random(&state, 2);
		}
		/* On a packed ring a table stands alone, whole, and in order. */
		if (shape.entries && !vq.is_packed) {
			shape.direct = vq_random(&state, min(count, 64U));
			shape.entries = count - shape.direct + vq_random(&state, 256);
			shape.order = order;
			shuffle(order, shape.entries);
		}
		must(vq_driver_add(driver, &shape) >= 0);
		vq_driver_publish(driver);
		must(virtqueue_pop(&vq, &chain) == 1 && chain_is(part, count));
		must(!chain.bad);
		virtqueue_push(&vq, &chain, 0);
		virtqueue_publish(&vq);
		must(vq_driver_get(driver, &used));
	}
	vq_driver_check(driver);
	end();
}

/*
 * Rows: SPLIT-04, SPLIT-10, SPLIT-11, SPLIT-12, SPLIT-13, SPLIT-17, SPLIT-41,
 * PACKED-15, PACKED-16, PACKED-20, PACKED-21, PACKED-22
 */
START_TEST(chains_of_any_shape)
{
	any_shape(INDIRECT | EVENT);
	any_shape(INDIRECT | EVENT | PACKED);
}
END_TEST

/* Up to three chains of up to three parts, each with a buffer of its own for a mark. */
static void add_marked(uint64_t buffers, uint64_t *buffer_of, unsigned *added)
{
	for (unsigned n = vq_random(&state, 4); n; n--) {
		uint64_t buffer = buffers + 8 * (*added % 1024);
		const struct vq_part part[] = {
			{ buffers, 4, false }, { buffers, 2, false }, { buffer, 8, true },
		};
		unsigned skip = 3 - min(1 + vq_random(&state, 3), (unsigned)vq.size);
		int id = vq_driver_add_parts(driver, part + skip, 3 - skip);

		if (id < 0)
			break;
		buffer_of[id] = buffer;
		++*added;
	}
	vq_driver_publish(driver);
}

/*
 * Lists of one to three descriptors, some in flight at all times, given back in
 * any order; each has a buffer of its own, which the device marks.
 */
static void any_order(uint16_t size, uint64_t features)
{
	static struct {
		struct virtqueue_chain chain;
		uint64_t *mark;
	} popped[256];
	static uint64_t buffer_of[256];
	unsigned added = 0, count = 0, done = 0;
	uint64_t buffers;

	begin(size, features);
	buffers = vq_ram_alloc(&ram, 8 * 1024, 8);
	while (done < 10000) {
		struct vq_used used;

		add_marked(buffers, buffer_of, &added);
		while (vq_random(&state, 4) && virtqueue_pop(&vq, &chain) > 0) {
			must(chain.writable_len == 8);
			popped[count].chain = chain;
			popped[count++].mark = iov[chain.readable].iov_base;
		}
		while (count && vq_random(&state, 3)) {
			unsigned i = vq_random(&state, count);

			*popped[i].mark = (uint64_t)(uintptr_t)popped[i].mark;
			virtqueue_push(&vq, &popped[i].chain, 8);
			popped[i] = popped[--count];
		}
		if (vq_random(&state, 3) == 0)
			vq_driver_mute(driver);
		else
			vq_driver_listen(driver, (uint16_t)vq_random(&state, 4));
		must(virtqueue_publish(&vq) == vq_driver_was_interrupt_due(driver));
		while (vq_random(&state, 4) && vq_driver_get(driver, &used)) {
			const uint64_t *mark = vq_ram_ptr(&ram, buffer_of[used.id]);

			must(used.len == 8 && *mark == (uint64_t)(uintptr_t)mark);
			done++;
		}
	}
	end();
}

/* Rows: GEN-23, GEN-40, SPLIT-21, PACKED-06, PACKED-15, PACKED-17, PACKED-19 */
START_TEST(completions_in_any_order)
{
	static const uint16_t some[] = { 1, 2, 3, 5, 8, 256 };

	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned s = 0; s < array_size(some); s++)
			if (size_fits(some[s], kinds[k]))
				any_order(some[s], kinds[k]);
}
END_TEST

/* As long as the device serves, in the ring or out of it, and one part more. */
static void longest(uint64_t packed)
{
	static struct vq_part part[VIRTQUEUE_CHAIN_MAX + 1];
	struct vq_chain shape = { .part = part };

	for (unsigned over = 0; over < 2; over++)
		for (unsigned direct = 0; direct <= (packed ? 0 : VIRTQUEUE_CHAIN_MAX);
		     direct += 64) {
			begin(512, INDIRECT | packed);
			for (unsigned i = 0; i < array_size(part); i++)
				part[i] = (struct vq_part){ GPA + RAM - 1, 1, i > 100 };
			shape.count = VIRTQUEUE_CHAIN_MAX + over;
			shape.direct = direct;
			shape.entries = shape.count - direct;
			shape.table = vq_ram_alloc(&ram, 16 * array_size(part), 1);
			ck_assert_int_ge(vq_driver_add(driver, &shape), 0);
			vq_driver_publish(driver);
			ck_assert_int_eq(virtqueue_pop(&vq, &chain), over ? -EBADMSG : 1);
			ck_assert(over || chain_is(part, shape.count));
			end();
			/* All of it in the ring. */
			begin(512, packed);
			ck_assert_int_ge(vq_driver_add_parts(driver, part, shape.count), 0);
			vq_driver_publish(driver);
			ck_assert_int_eq(virtqueue_pop(&vq, &chain), over ? -EBADMSG : 1);
			end();
		}
}

/* Rows: SPLIT-05, PACKED-18 */
START_TEST(longest_chains)
{
	longest(0);
	longest(PACKED);
}
END_TEST

static void bad_chain_comes_back(const struct vq_part *part, unsigned count)
{
	struct vq_used used;

	vq_driver_add_parts(driver, part, count);
	vq_driver_publish(driver);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	ck_assert(chain.bad);
	ck_assert(chain_is(part, count));
	virtqueue_push(&vq, &chain, 0);
	virtqueue_publish(&vq);
	ck_assert(vq_driver_get(driver, &used));
}

/* HOST-22 to 24: such parts are told from others, and none of them is touched. */
static void outside_ram(uint64_t features)
{
	static const struct vq_part bad[] = {
		{ 0, 1, false },
		{ GPA - 1, 1, true },
		{ GPA - 1, 2, false },
		{ GPA + RAM, 1, true },
		{ GPA + RAM - 1, 2, true },
		{ GPA + RAM - 4096, 4097, false },
		{ GPA, UINT32_MAX, true },
		{ UINT64_MAX, 1, true },
		{ UINT64_MAX, 2, true },
		{ UINT64_MAX - 4095, 4096, true },
		{ UINT64_MAX - 4095, UINT32_MAX, true },
	};
	struct vq_part part[6];

	begin(8, features);
	for (unsigned i = 0; i < array_size(bad); i++) {
		part[0] = (struct vq_part){ GPA + RAM - 32, 16, false };
		part[1] = bad[i];
		part[2] = bad[i];
		part[3] = (struct vq_part){ GPA + RAM - 1, 1, true };
		bad_chain_comes_back(part, 4);
	}
	/* Five times almost 4 GiB: sums do not wrap at 32 bits. */
	for (unsigned i = 0; i < 5; i++)
		part[i] = (struct vq_part){ 0, UINT32_MAX, true };
	bad_chain_comes_back(part, 5);
	ck_assert_uint_eq(chain.writable_len, 5ULL * UINT32_MAX);
	vq_driver_check(driver);
	end();
}

/* Rows: SPLIT-18 */
START_TEST(parts_outside_ram)
{
	outside_ram(0);
	outside_ram(PACKED);
}
END_TEST

/* HOST-23: regions that touch on both sides are one; across a hole is outside. */
static void across_regions(uint64_t features)
{
	struct guest_memory mem = { .count = 0 };
	struct vq_part part = { GPA + RAM / 2 - 8, 16, true };
	uint8_t *high;

	begin(8, features);
	high = ram.host + RAM / 2;
	ck_assert_int_eq(guest_memory_add(&mem, GPA, RAM / 2, ram.host), 0);
	ck_assert_int_eq(guest_memory_add(&mem, GPA + RAM / 2, RAM / 2, high), 0);
	ck_assert_int_eq(virtqueue_start(&vq, vq_driver_config(driver), &mem, features, early), 0);
	vq_driver_add_parts(driver, &part, 1);
	vq_driver_publish(driver);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	ck_assert(!chain.bad && chain_is(&part, 1));

	mem = (struct guest_memory){ .count = 0 };
	ck_assert_int_eq(guest_memory_add(&mem, GPA, RAM / 2, ram.host), 0);
	ck_assert_int_eq(guest_memory_add(&mem, GPA + RAM, RAM / 2, high), 0);
	ck_assert_int_eq(virtqueue_start(&vq, vq_driver_config(driver), &mem, features, early), 0);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	ck_assert(chain.bad);
	end();
}

START_TEST(parts_across_regions)
{
	across_regions(0);
	across_regions(PACKED);
}
END_TEST

/* --- Malformed rings (HOST-10 to 21) --- */

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define TABLE VRING_DESC_F_INDIRECT
#define T (GPA + RAM - 0x1001) /* where tables stand: at an odd address */
#define B (GPA + RAM - 0x800)  /* and a buffer */

struct malformed {
	const char *what;
	uint64_t features;
	int result;
	uint16_t idx, head;
	struct vring_desc desc[4];  /* of the ring */
	struct vring_desc table[4]; /* at T */
};

static const struct malformed malformed[] = {
	{ "a good one", 0, 1, 1, 0, { { B, 1, 0, 0 } }, { { 0 } } },
	{ "idx too far", 0, -EBADMSG, 5, 0, { { B, 1, 0, 0 } }, { { 0 } } },
	{ "idx backwards", 0, -EBADMSG, 65535, 0, { { B, 1, 0, 0 } }, { { 0 } } },
	{ "idx half way round", 0, -EBADMSG, 32768, 0, { { B, 1, 0, 0 } }, { { 0 } } },
	{ "head beyond", 0, -EBADMSG, 1, 4, { { B, 1, 0, 0 } }, { { 0 } } },
	{ "head far beyond", 0, -EBADMSG, 1, 65535, { { B, 1, 0, 0 } }, { { 0 } } },
	{ "next beyond", 0, -EBADMSG, 1, 0, { { B, 1, NEXT, 4 } }, { { 0 } } },
	{ "next far beyond", 0, -EBADMSG, 1, 0, { { B, 1, NEXT, 65535 } }, { { 0 } } },
	{ "next ignored without NEXT", 0, 1, 1, 0, { { B, 1, 0, 65535 } }, { { 0 } } },
	{ "unknown flags ignored", 0, 1, 1, 0, { { B, 1, 0xfff8, 0 } }, { { 0 } } },
	{ "next to itself", 0, -EBADMSG, 1, 3, { [3] = { B, 1, NEXT, 3 } }, { { 0 } } },
	{ "two by turns", 0, -EBADMSG, 1, 0, { { B, 1, NEXT, 1 }, { B, 1, NEXT, 0 } }, { { 0 } } },
	{ "two empty ones by turns", 0, -EBADMSG, 1, 0,
	  { { B, 0, NEXT, 1 }, { B, 0, NEXT, 0 } }, { { 0 } } },
	{ "empty", 0, 1, 1, 0, { { B, 0, 0, 0 } }, { { 0 } } },
	{ "empty outside RAM", 0, 1, 1, 0, { { UINT64_MAX, 0, 0, 0 } }, { { 0 } } },
	{ "readable after writable", 0, -EBADMSG, 1, 0,
	  { { B, 1, NEXT | WRITE, 1 }, { B, 1, 0, 0 } }, { { 0 } } },
	{ "readable after writable, through a table", INDIRECT, -EBADMSG, 1, 0,
	  { { B, 1, NEXT | WRITE, 1 }, { T, 16, TABLE, 0 } }, { { B, 1, 0, 0 } } },
	{ "readable after writable in a table", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 32, TABLE, 0 } }, { { B, 1, NEXT | WRITE, 1 }, { B, 1, 0, 0 } } },
	{ "table not negotiated", 0, -EBADMSG, 1, 0, { { T, 16, TABLE, 0 } }, { { B, 1, 0, 0 } } },
	{ "a good table", INDIRECT, 1, 1, 0, { { T, 16, TABLE, 0 } }, { { B, 1, 0, 0 } } },
	{ "WRITE on its pointer ignored", INDIRECT, 1, 1, 0,
	  { { T, 16, TABLE | WRITE, 0 } }, { { B, 1, 0, 0 } } },
	{ "direct writable, then a table", INDIRECT, 1, 1, 0,
	  { { B, 1, NEXT | WRITE, 1 }, { T, 16, TABLE, 0 } }, { { B, 1, WRITE, 0 } } },
	{ "table in a table", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 16, TABLE, 0 } }, { { T, 16, TABLE, 0 } } },
	{ "table in a table, good but for that", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 16, TABLE, 0 } }, { { T + 16, 16, TABLE, 0 }, { B, 1, 0, 0 } } },
	{ "table in a table, later", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 32, TABLE, 0 } }, { { B, 1, NEXT, 1 }, { T, 16, TABLE, 0 } } },
	{ "table and NEXT", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 16, TABLE | NEXT, 1 }, { B, 1, WRITE, 0 } }, { { B, 1, 0, 0 } } },
	{ "table of no bytes", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 0, TABLE, 0 } }, { { B, 1, 0, 0 } } },
	{ "table of 15 bytes", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 15, TABLE, 0 } }, { { B, 1, 0, 0 } } },
	{ "table of 17 bytes", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 17, TABLE, 0 } }, { { B, 1, 0, 0 } } },
	{ "table of 4 GiB - 16", INDIRECT, -EBADMSG, 1, 0,
	  { { T, -16U, TABLE, 0 } }, { { B, 1, 0, 0 } } },
	{ "table beyond RAM", INDIRECT, -EBADMSG, 1, 0,
	  { { GPA + RAM - 15, 16, TABLE, 0 } }, { { 0 } } },
	{ "table below RAM", INDIRECT, -EBADMSG, 1, 0, { { GPA - 16, 16, TABLE, 0 } }, { { 0 } } },
	{ "table across the end of addresses", INDIRECT, -EBADMSG, 1, 0,
	  { { -15ULL, 16, TABLE, 0 } }, { { 0 } } },
	{ "next beyond a table", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 32, TABLE, 0 } }, { { B, 1, NEXT, 2 }, { B, 1, 0, 0 }, { B, 1, 0, 0 } } },
	{ "next far beyond a table", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 32, TABLE, 0 } }, { { B, 1, NEXT, 65535 } } },
	{ "loop in a table", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 16, TABLE, 0 } }, { { B, 1, NEXT, 0 } } },
	{ "loop of empty ones in a table", INDIRECT, -EBADMSG, 1, 0,
	  { { T, 32, TABLE, 0 } }, { { B, 0, NEXT, 1 }, { B, 0, NEXT, 0 } } },
	{ "the ring's own table as a table", INDIRECT, -EBADMSG, 1, 0,
	  { { GPA + 16, 64, TABLE, 0 } }, { { 0 } } },
};

/* Rows: SPLIT-06, SPLIT-10, SPLIT-11, SPLIT-14, SPLIT-15, SPLIT-16, SPLIT-18 */
START_TEST(malformed_rings)
{
	for (unsigned i = 0; i < array_size(malformed); i++) {
		const struct malformed *m = &malformed[i];
		int ret;

		begin(4, m->features);
		for (unsigned d = 0; d < 4; d++)
			vq_split_desc(driver, d, &m->desc[d]);
		vq_ram_put(&ram, T, m->table, sizeof(m->table));
		vq_split_head(driver, 0, m->head);
		vq_split_avail(driver, 0, m->idx, 0);
		vq.why = NULL;
		ret = virtqueue_pop(&vq, &chain);
		ck_assert_msg(ret == m->result, "%s: %d (%s)", m->what, ret, vq.why);
		ck_assert_msg(ret == 1 || vq.why, "%s: no reason", m->what);
		/* But for used.flags. */
		vq_ram_allow(&ram, vq_driver_config(driver)->device, 2);
		vq_ram_check(&ram);
		end();
	}
}
END_TEST

/* HOST-13: two requests, each to be given back. */
/* Rows: SPLIT-21 */
START_TEST(one_head_twice)
{
	struct vq_part part = { B, 8, true };
	struct vring_used *used;
	int head;

	begin(4, 0);
	head = vq_driver_add_parts(driver, &part, 1);
	vq_split_head(driver, 1, (uint16_t)head);
	vq_split_avail(driver, 0, 2, 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
		ck_assert_int_eq(chain.id, head);
		virtqueue_push(&vq, &chain, 8 + i);
	}
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 0);
	ck_assert(virtqueue_publish(&vq));
	used = vq_ram_ptr(&ram, vq_driver_config(driver)->device);
	ck_assert_uint_eq(used->idx, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(used->ring[i].id, head);
		ck_assert_uint_eq(used->ring[i].len, 8 + i);
	}
	end();
}
END_TEST

/* --- The same of packed rings (HOST-17 to 21, HOST-28 to 32) --- */

#define AVAIL (1 << VRING_PACKED_DESC_F_AVAIL)
#define USED (1 << VRING_PACKED_DESC_F_USED)

/* Fields stand in order of the structure: address, length, id, flags. */
struct malformed_packed {
	const char *what;
	uint64_t features;
	int result;
	struct vring_packed_desc desc[5];  /* of the ring */
	struct vring_packed_desc table[4]; /* at T */
};

static const struct malformed_packed malformed_packed[] = {
	{ "nothing", 0, 0, { { 0 } }, { { 0 } } },
	{ "a good one", 0, 1, { { B, 1, 0, AVAIL } }, { { 0 } } },
	{ "any id", 0, 1, { { B, 1, 65535, AVAIL } }, { { 0 } } },
	{ "of the lap before", 0, 0, { { B, 1, 0, USED } }, { { 0 } } },
	{ "used in this lap", 0, 0, { { B, 1, 0, AVAIL | USED } }, { { 0 } } },
	{ "unknown flags ignored", 0, 1, { { B, 1, 0, AVAIL | 0x7f78 } }, { { 0 } } },
	{ "NEXT to one not available", 0, 1, { { B, 1, 0, AVAIL | NEXT }, { B, 1, 7, 0 } },
	  { { 0 } } },
	{ "NEXT to one of another lap", 0, 1,
	  { { B, 1, 0, AVAIL | NEXT }, { B, 1, 7, USED } }, { { 0 } } },
	{ "as long as the ring", 0, 1,
	  { { B, 1, 0, AVAIL | NEXT }, { B, 1, 0, AVAIL | NEXT }, { B, 1, 0, AVAIL | NEXT },
	    { B, 1, 0, AVAIL | NEXT }, { B, 1, 7, AVAIL } }, { { 0 } } },
	{ "NEXT in every slot", 0, -EBADMSG,
	  { { B, 1, 0, AVAIL | NEXT }, { B, 1, 0, AVAIL | NEXT }, { B, 1, 0, AVAIL | NEXT },
	    { B, 1, 0, AVAIL | NEXT }, { B, 1, 0, AVAIL | NEXT } }, { { 0 } } },
	{ "NEXT in every slot, all empty", 0, -EBADMSG,
	  { { B, 0, 0, AVAIL | NEXT }, { B, 0, 0, NEXT }, { B, 0, 0, NEXT }, { B, 0, 0, NEXT },
	    { B, 0, 0, NEXT } }, { { 0 } } },
	{ "empty", 0, 1, { { B, 0, 0, AVAIL } }, { { 0 } } },
	{ "empty outside RAM", 0, 1, { { UINT64_MAX, 0, 0, AVAIL } }, { { 0 } } },
	{ "readable after writable", 0, -EBADMSG,
	  { { B, 1, 0, AVAIL | NEXT | WRITE }, { B, 1, 0, AVAIL } }, { { 0 } } },
	{ "readable after writable in a table", INDIRECT, -EBADMSG,
	  { { T, 32, 0, AVAIL | TABLE } }, { { B, 1, 0, WRITE }, { B, 1, 0, 0 } } },
	{ "table not negotiated", 0, -EBADMSG, { { T, 16, 0, AVAIL | TABLE } },
	  { { B, 1, 0, 0 } } },
	{ "a good table", INDIRECT, 1, { { T, 16, 0, AVAIL | TABLE } }, { { B, 1, 0, 0 } } },
	{ "WRITE on its pointer ignored", INDIRECT, 1, { { T, 16, 0, AVAIL | TABLE | WRITE } },
	  { { B, 1, 0, 0 } } },
	{ "flags in a table ignored", INDIRECT, 1, { { T, 32, 0, AVAIL | TABLE } },
	  { { B, 1, 9, TABLE | AVAIL | USED }, { B, 1, 9, NEXT | WRITE } } },
	{ "table and NEXT", INDIRECT, -EBADMSG,
	  { { T, 16, 0, AVAIL | TABLE | NEXT }, { B, 1, 0, AVAIL | WRITE } }, { { B, 1, 0, 0 } } },
	{ "table later in a list", INDIRECT, -EBADMSG,
	  { { B, 1, 0, AVAIL | NEXT }, { T, 16, 0, AVAIL | TABLE } }, { { B, 1, 0, 0 } } },
	{ "table of no bytes", INDIRECT, -EBADMSG, { { T, 0, 0, AVAIL | TABLE } }, { { 0 } } },
	{ "table of 15 bytes", INDIRECT, -EBADMSG, { { T, 15, 0, AVAIL | TABLE } }, { { 0 } } },
	{ "table of 17 bytes", INDIRECT, -EBADMSG, { { T, 17, 0, AVAIL | TABLE } }, { { 0 } } },
	{ "table of 4 GiB - 16", INDIRECT, -EBADMSG, { { T, -16U, 0, AVAIL | TABLE } }, { { 0 } } },
	{ "table of as many entries as there may be", INDIRECT, 1,
	  { { GPA + RAM / 2, 16 * VIRTQUEUE_CHAIN_MAX, 0, AVAIL | TABLE } }, { { 0 } } },
	{ "table of one entry more", INDIRECT, -EBADMSG,
	  { { GPA + RAM / 2, 16 * VIRTQUEUE_CHAIN_MAX + 16, 0, AVAIL | TABLE } }, { { 0 } } },
	{ "table beyond RAM", INDIRECT, -EBADMSG,
	  { { GPA + RAM - 15, 16, 0, AVAIL | TABLE } }, { { 0 } } },
	{ "table across the end of addresses", INDIRECT, -EBADMSG,
	  { { -15ULL, 16, 0, AVAIL | TABLE } }, { { 0 } } },
	{ "the ring as a table", INDIRECT, 1, { { GPA + 16, 64, 0, AVAIL | TABLE } }, { { 0 } } },
};

/* Rows: PACKED-04, PACKED-07, PACKED-18, PACKED-20, PACKED-21, PACKED-22 */
START_TEST(malformed_packed_rings)
{
	for (unsigned i = 0; i < array_size(malformed_packed); i++) {
		const struct malformed_packed *m = &malformed_packed[i];
		int ret;

		begin(5, PACKED | m->features);
		vq_ram_fill(&ram, GPA + RAM / 2, 0, 16 * (VIRTQUEUE_CHAIN_MAX + 1));
		for (unsigned d = 0; d < 5; d++)
			vq_packed_desc(driver, d, &m->desc[d]);
		vq_ram_put(&ram, T, m->table, sizeof(m->table));
		vq.why = NULL;
		ret = virtqueue_pop(&vq, &chain);
		ck_assert_msg(ret == m->result, "%s: %d (%s)", m->what, ret, vq.why);
		ck_assert_msg(ret >= 0 || vq.why, "%s: no reason", m->what);
		vq_ram_allow(&ram, vq_driver_config(driver)->device, 4);
		vq_ram_check(&ram);
		end();
	}
}
END_TEST

/* Shown again before it was used: the ring has no place for two. */
START_TEST(packed_slots_twice)
{
	struct vring_packed_desc desc = { B, 8, 7, AVAIL | WRITE };

	begin(3, PACKED);
	for (unsigned i = 0; i < 3; i++) {
		vq_packed_desc(driver, i, &desc);
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	}
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 0);
	desc.flags = USED | WRITE;
	vq_packed_desc(driver, 0, &desc);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), -EBADMSG);
	end();
}
END_TEST

/* HOST-31: one id many times, each echoed. */
/* Rows: PACKED-03, PACKED-05, PACKED-19, PACKED-23 */
START_TEST(one_buffer_id_twice)
{
	static const uint16_t ids[] = { 0, 4, 5, 32768, 65535 };
	const struct vring_packed_desc *used;

	for (unsigned i = 0; i < array_size(ids); i++) {
		const struct vring_packed_desc desc = { B, 8, ids[i], AVAIL | WRITE };

		begin(5, PACKED);
		vq_packed_desc(driver, 0, &desc);
		vq_packed_desc(driver, 1, &desc);
		used = vq_ram_ptr(&ram, vq_driver_config(driver)->desc);
		for (uint32_t n = 0; n < 2; n++) {
			ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
			ck_assert_uint_eq(chain.id, ids[i]);
			virtqueue_push(&vq, &chain, 8 * n);
		}
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 0);
		ck_assert(virtqueue_publish(&vq));
		for (unsigned n = 0; n < 2; n++) {
			ck_assert_uint_eq(used[n].id, ids[i]);
			ck_assert_uint_eq(used[n].len, 8 * n);
			ck_assert_uint_eq(used[n].flags, AVAIL | USED | (n ? WRITE : 0));
		}
		end();
	}
}
END_TEST

/* In order, a completion is held for each chain in flight: no more than descriptors. */
START_TEST(more_in_flight_than_the_queue_is_long)
{
	struct vq_part part = { B, 8, true };
	struct virtqueue_chain first;

	begin(4, IN_ORDER);
	vq_driver_add_parts(driver, &part, 1);
	for (unsigned i = 0; i < 4; i++) {
		vq_split_head(driver, i, 0);
		vq_split_avail(driver, 0, (uint16_t)(i + 1), 0);
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
		if (i == 0)
			first = chain;
		else
			virtqueue_push(&vq, &chain, 8);
	}
	ck_assert(!virtqueue_publish(&vq));
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 0);
	vq_split_avail(driver, 0, 5, 0);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), -EBADMSG);
	/* What was taken may still come back. */
	virtqueue_push(&vq, &first, 8);
	ck_assert(virtqueue_publish(&vq));
	ck_assert_uint_eq(vq.pushed, 4);
	end();
}
END_TEST

/* HOST-27: the device's positions are not read back from its own ring. */
/* Rows: SPLIT-25 */
START_TEST(used_ring_is_never_read)
{
	const struct vring_desc desc = { B, 8, WRITE, 0 };
	struct vring_used *used;

	for (uint64_t features = 0; features <= EVENT; features += EVENT) {
		begin(4, features);
		used = vq_ram_ptr(&ram, vq_driver_config(driver)->device);
		for (unsigned i = 1; i <= 70000; i++) {
			memset(used, (int)vq_random(&state, 256), 6 + 8 * 4);
			vq_split_head(driver, (i - 1) % 4, 0);
			vq_split_desc(driver, 0, &desc);
			vq_split_avail(driver, 0, (uint16_t)i, 0);
			must(virtqueue_pop(&vq, &chain) == 1);
			virtqueue_push(&vq, &chain, i);
			virtqueue_publish(&vq);
			must(used->idx == (uint16_t)i && used->ring[(i - 1) % 4].len == i);
		}
		end();
	}
}
END_TEST

/* --- To the byte --- */

/* Three chains at B, popped in their order and given back in the reverse of it. */
static void three_and_back(void)
{
	struct virtqueue_chain popped[3];

	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
		ck_assert_ptr_eq(iov[0].iov_base, vq_ram_ptr(&ram, B + 8 * i));
		popped[i] = chain;
	}
	for (uint32_t i = 0; i < 3; i++)
		virtqueue_push(&vq, &popped[2 - i], 0x010203 + i);
	ck_assert(virtqueue_publish(&vq));
}

/* Rows: SPLIT-03, SPLIT-21, SPLIT-34 */
START_TEST(used_ring_to_the_byte)
{
	static const uint16_t heads[] = { 3, 0, 2 };
	static const uint8_t expected[] = {
		1, 0, 3, 0, /* kicks are not wanted now; the index */
		2, 0, 0, 0, 3, 2, 1, 0,
		0, 0, 0, 0, 4, 2, 1, 0,
		3, 0, 0, 0, 5, 2, 1, 0,
	};

	begin(4, 0);
	for (unsigned i = 0; i < 3; i++) {
		vq_split_desc(driver, heads[i], &(struct vring_desc){ B + 8 * i, 8, WRITE, 0 });
		vq_split_head(driver, i, heads[i]);
	}
	vq_split_avail(driver, 0, 3, 0);
	three_and_back();
	ck_assert_mem_eq(vq_ram_ptr(&ram, vq_driver_config(driver)->device), expected,
			 sizeof(expected));
	end();
}
END_TEST

/* Rows: PACKED-02, PACKED-05, PACKED-12, PACKED-13 */
START_TEST(packed_ring_to_the_byte)
{
	static const uint16_t ids[] = { 0xabcd, 0x0102, 0xff00 };
	/* Behind the address, which means nothing now: length, id, flags. */
	static const uint8_t expected[][8] = {
		{ 3, 2, 1, 0, 0x00, 0xff, 0x82, 0x80 },
		{ 4, 2, 1, 0, 0x02, 0x01, 0x82, 0x80 },
		{ 5, 2, 1, 0, 0xcd, 0xab, 0x82, 0x80 },
	};
	const uint8_t *ring;

	begin(4, PACKED);
	for (unsigned i = 0; i < 3; i++)
		vq_packed_desc(driver, i, &(struct vring_packed_desc){
			B + 8 * i, 8, ids[i], AVAIL | WRITE });
	three_and_back();
	ring = vq_ram_ptr(&ram, vq_driver_config(driver)->desc);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_mem_eq(ring + 16 * i + 8, expected[i], sizeof(expected[i]));
	end();
}
END_TEST

/* --- Who tells whom, when --- */

/* Each batch against all that a driver may ask for, also where the positions wrap. */
/* Rows: SPLIT-27, SPLIT-28, SPLIT-30, SPLIT-31, SPLIT-32, PACKED-25 */
START_TEST(interrupts_exactly_when_wanted)
{
	static const uint16_t from[] = { 0, 1, 100, 32766, 65528, 65535 };

	for (unsigned k = 0; k < KINDS; k++)
		for (unsigned f = 0; f < array_size(from); f++) {
			uint64_t buffers;

			begin(kinds[k] & PACKED ? 7 : 8, kinds[k]);
			buffers = vq_ram_alloc(&ram, 256, 1);
			while (vq.popped != from[f])
				echo_batch(1, buffers);
			/* echo_batch() compares with what the driver wants. */
			for (unsigned round = 0; round < 5000; round++) {
				if (vq_random(&state, 16) == 0)
					vq_driver_mute(driver);
				else
					vq_driver_listen(driver, (uint16_t)vq_random(&state, 12));
				echo_batch(1 + vq_random(&state, 5), buffers);
			}
			vq_driver_check(driver);
			end();
		}
}
END_TEST

/* On to @place, counted over two laps, with nobody listening. */
static void go_to(unsigned place)
{
	const struct packed_position *at = &vq.packed.next_used;
	struct vq_part part = { B, 8, true };
	struct vq_used used;

	vq_packed_event(driver, 0, true, VRING_PACKED_EVENT_FLAG_DISABLE);
	while (at->index + (at->wrap_counter ? 0U : vq.size) != place) {
		vq_driver_add_parts(driver, &part, 1);
		vq_driver_publish(driver);
		must(virtqueue_pop(&vq, &chain) == 1);
		virtqueue_push(&vq, &chain, 8);
		must(!virtqueue_publish(&vq));
		must(vq_driver_get(driver, &used));
	}
	must(!vq_driver_was_interrupt_due(driver));
}

/* Lists of one slot or two until @batch slots are added; how many lists. */
static unsigned add_lists(unsigned batch)
{
	static const struct vq_part part[2] = { { B, 8, true }, { B, 8, true } };
	unsigned slots = 0, lists = 0;

	while (slots < batch) {
		unsigned step = 1 + (batch - slots > 1 && vq_random(&state, 2));

		must(vq_driver_add_parts(driver, part, step) >= 0);
		slots += step;
		lists++;
	}
	vq_driver_publish(driver);
	return lists;
}

/*
 * Each event suppression against each batch from each position, for both wrap
 * counters; where it has no sense there must be an interrupt (HOST-32).
 */
static void all_events(uint16_t size, uint64_t features)
{
	unsigned interrupts = 0, rounds = 0;

	begin(size, features);
	for (unsigned first = 0; first < 2U * size; first++)
		for (unsigned batch = 1; batch <= size; batch++)
			for (unsigned event = 0; event < 8U * (size + 2U); event++) {
				uint16_t flags = event % 4, offset = (uint16_t)(event / 8);
				bool sense = flags < 2 ||
					(flags == 2 && (features & EVENT) && offset < size);
				struct vq_used used;
				unsigned lists;
				bool told;

				go_to(first);
				lists = add_lists(batch);
				vq_packed_event(driver, offset, event / 4 % 2, flags);
				for (unsigned n = 0; n < lists; n++) {
					must(virtqueue_pop(&vq, &chain) == 1);
					virtqueue_push(&vq, &chain, n % 3);
				}
				told = virtqueue_publish(&vq);
				if (sense)
					must(told == vq_driver_was_interrupt_due(driver));
				else
					must(told);
				must(!virtqueue_publish(&vq));
				while (vq_driver_get(driver, &used))
					;
				interrupts += told;
				rounds++;
			}
	vq_driver_check(driver);
	ck_assert_uint_gt(interrupts, rounds / 8);
	ck_assert_uint_lt(interrupts, rounds - rounds / 8);
	end();
}

/* Rows: PACKED-24, PACKED-25 */
START_TEST(packed_event_suppression)
{
	static const uint16_t some[] = { 1, 2, 3, 5, 8 };

	for (unsigned i = 0; i < array_size(some); i++) {
		all_events(some[i], PACKED);
		all_events(some[i], PACKED | EVENT);
	}
}
END_TEST

/* Each side's other way to ask is not heard (SPLIT-26, SPLIT-29). */
/* Rows: SPLIT-26, SPLIT-29 */
START_TEST(suppression_in_the_wrong_field)
{
	struct vq_part part = { B, 8, true };
	struct vq_used used;

	for (uint64_t features = 0; features <= EVENT; features += EVENT) {
		begin(4, features);
		for (uint16_t n = 0; n < 1000; n++) {
			/* Wanted by the field that counts, unwanted by the other; then not. */
			bool wanted = n % 3 == 0;
			bool flag = features ? wanted : !wanted;
			uint16_t event = n + (features ? !wanted : wanted);

			vq_driver_add_parts(driver, &part, 1);
			vq_split_avail(driver, flag, n + 1, event);
			must(virtqueue_pop(&vq, &chain) == 1);
			virtqueue_push(&vq, &chain, 0);
			must(virtqueue_publish(&vq) == wanted);
			must(!virtqueue_publish(&vq));
			must(vq_driver_get(driver, &used));
		}
		vq_driver_check(driver);
		end();
	}
}
END_TEST

/*
 * Both sides sleep until they are told, in a random order of turns; neither may
 * sleep while there is something for it, and no kick comes unasked.
 */
struct sleepers {
	bool device_sleeps, kicked, armed;
	bool driver_sleeps, interrupted;
	bool found_empty;
	uint16_t published;
	unsigned kicks, interrupts, done;
};

static void driver_turn(struct sleepers *s, uint64_t buffers)
{
	struct vq_part part = { buffers, 8, true };
	struct vq_used used;

	if (s->driver_sleeps) {
		must(s->interrupted || !vq_driver_get(driver, &used));
		if (s->interrupted)
			s->driver_sleeps = s->interrupted = false;
	} else if (vq_driver_get(driver, &used)) {
		s->done++;
	} else if (vq_random(&state, 2)) {
		s->driver_sleeps = !vq_driver_listen(driver, 1);
	} else {
		vq_driver_mute(driver);
	}
	if (vq_random(&state, 2) == 0 || vq_driver_in_flight(driver) == 16)
		return;
	for (unsigned n = vq_random(&state, 4); n && vq_driver_in_flight(driver) < 16; n--) {
		vq_driver_add_parts(driver, &part, 1);
		s->published++;
	}
	if (vq_driver_publish(driver)) {
		must(s->armed);
		s->kicks++;
		s->kicked = true;
	}
}

static void device_turn(struct sleepers *s)
{
	if (s->device_sleeps) {
		must(s->kicked || s->published == vq.popped);
		if (!s->kicked)
			return;
		s->device_sleeps = s->kicked = false;
	}
	if (vq_random(&state, 4) == 0 && virtqueue_publish(&vq)) {
		s->interrupts++;
		s->interrupted = true;
	}
	if (s->found_empty) {
		s->found_empty = false;
		s->armed = true;
		if (virtqueue_rearm(&vq))
			return;
		s->device_sleeps = true;
		if (virtqueue_publish(&vq)) {
			s->interrupts++;
			s->interrupted = true;
		}
	} else if (virtqueue_pop(&vq, &chain)) {
		/* What was asked for is withdrawn, or with EVENT_IDX on a split ring passed. */
		s->armed = false;
		virtqueue_push(&vq, &chain, 8);
	} else {
		s->found_empty = true;
	}
}

/* Rows: SPLIT-36, SPLIT-37, PACKED-24, PACKED-28 */
START_TEST(nobody_sleeps_through)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		struct sleepers s = { .armed = true };
		uint64_t buffers;

		begin(16, kinds[k]);
		buffers = vq_ram_alloc(&ram, 8, 1);
		for (unsigned quiet = 0; s.done < 200000;) {
			unsigned before = s.done;

			if (vq_random(&state, 2))
				driver_turn(&s, buffers);
			else
				device_turn(&s);
			quiet = s.done == before ? quiet + 1 : 0;
			must(quiet < 10000);
		}
		/* Suppression is of use. */
		ck_assert_uint_lt(s.kicks, s.done / 2);
		ck_assert_uint_lt(s.interrupts, s.done / 2);
		end();
	}
}
END_TEST

/* The same with a thread each, where the fences count. */
struct race {
	int kick, interrupt; /* eventfds */
	bool stop;           /* atomic */
};

static void wait_for(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	eventfd_t count;

	if (poll(&pfd, 1, 20 * 1000) != 1)
		ck_abort_msg("it was never told");
	eventfd_read(fd, &count);
}

static void *device_thread(void *opaque)
{
	struct race *race = opaque;

	while (!load_acquire(&race->stop)) {
		wait_for(race->kick);
		do {
			while (virtqueue_pop(&vq, &chain) > 0) {
				memset(iov[0].iov_base, 0xee, iov[0].iov_len);
				virtqueue_push(&vq, &chain, (uint32_t)iov[0].iov_len);
			}
			if (virtqueue_publish(&vq))
				eventfd_write(race->interrupt, 1);
		} while (virtqueue_rearm(&vq));
	}
	return NULL;
}

/* At least that long, and however long some requests take on a busy machine. */
static void race_for(uint64_t ns, unsigned depth, uint64_t features)
{
	struct race race = { .kick = eventfd(0, 0), .interrupt = eventfd(0, 0) };
	uint64_t until = clock_ns() + ns, buffers, done = 0;
	pthread_t device;

	begin(16, features);
	buffers = vq_ram_alloc(&ram, 16 * 64, 1);
	ck_assert_int_eq(pthread_create(&device, NULL, device_thread, &race), 0);
	while (clock_ns() < until || done <= 100 || vq_driver_in_flight(driver)) {
		struct vq_used used;

		while ((clock_ns() < until || done <= 100) && vq_driver_in_flight(driver) < depth) {
			struct vq_part part = { buffers + vq_random(&state, 64), 8, true };

			vq_driver_add_parts(driver, &part, 1);
		}
		if (vq_driver_publish(driver))
			eventfd_write(race.kick, 1);
		while (vq_driver_get(driver, &used)) {
			must(used.len == 8);
			done++;
		}
		if (vq_random(&state, 8) == 0)
			vq_driver_mute(driver);
		else if (vq_driver_in_flight(driver) && !vq_driver_listen(driver, 1))
			wait_for(race.interrupt);
	}
	store_release(&race.stop, true);
	eventfd_write(race.kick, 1);
	pthread_join(device, NULL);
	vq_driver_check(driver);
	end();
	close(race.kick);
	close(race.interrupt);
}

/* Rows: SPLIT-20, PACKED-08, PACKED-09 */
START_TEST(two_threads)
{
	for (unsigned depth = 1; depth <= 16; depth += 15)
		for (unsigned k = 0; k < KINDS; k++)
			race_for(700 * 1000 * 1000, depth, kinds[k]);
}
END_TEST

/*
 * Two stores and two loads that cross: at least one side sees the other's.
 * Both step on the same spot at the same time, over and over.  Just before, both
 * write to the same cache lines: what is stored next waits for these, so that
 * where a fence is missing most rounds find it late.
 */
struct crossing {
	unsigned go, done; /* atomic: half rounds begun and ended */
	bool stop;         /* atomic */
	bool rearm;        /* the spot: rearm and add, or else publish and listen */
	bool device_knows;
	unsigned line[32][16];
};

#define CROSSINGS 5000
#define CROSSINGS_NS 3000000000 /* at most, on a busy machine */

static void wait_round(const struct crossing *c, const unsigned *counter, unsigned round)
{
	for (unsigned spins = 0; load_acquire(counter) != round; spins++) {
		if (load_acquire(&c->stop))
			return;
		if (spins > 2000)
			sched_yield();
	}
}

static void write_lines(struct crossing *c)
{
	for (unsigned i = 0; i < array_size(c->line); i++)
		store_relaxed(&c->line[i][0], i);
}

static void *crossing_device(void *opaque)
{
	struct crossing *c = opaque;

	for (unsigned round = 1;; round++) {
		/* First, out of the race, an entry is taken and perhaps given back. */
		wait_round(c, &c->go, 2 * round - 1);
		if (load_acquire(&c->stop))
			return NULL;
		must(virtqueue_pop(&vq, &chain) == 1);
		virtqueue_push(&vq, &chain, 0);
		if (c->rearm)
			virtqueue_publish(&vq);
		store_release(&c->done, 2 * round - 1);
		wait_round(c, &c->go, 2 * round);
		write_lines(c);
		c->device_knows = c->rearm ? virtqueue_rearm(&vq) : virtqueue_publish(&vq);
		store_release(&c->done, 2 * round);
	}
}

/* Put @thread on the @nth of @cpus, round and round: two on one never cross. */
static void pin(pthread_t thread, const cpu_set_t *cpus, int nth)
{
	cpu_set_t one;
	int cpu = 0;

	for (nth %= CPU_COUNT(cpus); nth || !CPU_ISSET(cpu, cpus); cpu++)
		nth -= CPU_ISSET(cpu, cpus) != 0;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	must(pthread_setaffinity_np(thread, sizeof(one), &one) == 0);
}

static void cross(bool rearm, uint64_t features)
{
	struct crossing c = { .rearm = rearm };
	struct vq_part part = { B, 8, true };
	struct vq_used used;
	pthread_t device;
	cpu_set_t cpus;
	uint64_t until = clock_ns() + CROSSINGS_NS;

	must(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
	begin(4, features);
	vq_driver_mute(driver);
	vq_driver_add_parts(driver, &part, 1);
	ck_assert_int_eq(pthread_create(&device, NULL, crossing_device, &c), 0);
	pin(device, &cpus, 0);
	pin(pthread_self(), &cpus, 1);
	for (unsigned round = 1; round <= CROSSINGS && clock_ns() < until; round++) {
		bool driver_knows;

		vq_driver_publish(driver);
		store_release(&c.go, 2 * round - 1);
		wait_round(&c, &c.done, 2 * round - 1);
		if (rearm) {
			must(vq_driver_get(driver, &used));
			vq_driver_add_parts(driver, &part, 1);
		}
		store_release(&c.go, 2 * round);
		write_lines(&c);
		driver_knows = rearm ? vq_driver_publish(driver) : vq_driver_listen(driver, 1);
		wait_round(&c, &c.done, 2 * round);
		must(driver_knows || c.device_knows);
		if (!rearm) {
			must(vq_driver_get(driver, &used));
			vq_driver_mute(driver);
			vq_driver_add_parts(driver, &part, 1);
		}
	}
	store_release(&c.stop, true);
	pthread_join(device, NULL);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	end();
}

/* Rows: SPLIT-33, SPLIT-37, PACKED-26, PACKED-28 */
START_TEST(fences)
{
	for (unsigned k = 0; k < KINDS; k++) {
		cross(false, kinds[k]);
		cross(true, kinds[k]);
	}
}
END_TEST

/* --- Garbage --- */

/* A descriptor that goes far before it is refused, or not so. */
static struct vring_desc plausible(void)
{
	static const uint64_t odd[] = { 0, GPA - 1, GPA + RAM - 1, GPA + RAM, UINT64_MAX };
	struct vring_desc desc = {
		.addr = GPA + vq_random(&state, RAM),
		.len = vq_random(&state, 4) ? 16 * vq_random(&state, 64) : vq_random(&state, 4096),
		.flags = (uint16_t)(NEXT | (vq_random(&state, 2) ? WRITE : 0)),
		.next = (uint16_t)vq_random(&state, 64),
	};

	switch (vq_random(&state, 16)) {
	case 0: desc.flags = TABLE; break;
	case 1: desc.flags = 0; break;
	case 2: desc.flags = WRITE; break;
	case 3: desc.flags = (uint16_t)vq_random(&state, UINT16_MAX); break;
	case 4: desc.addr = odd[vq_random(&state, array_size(odd))]; break;
	case 5: desc.len = vq_random(&state, UINT32_MAX); break;
	case 6: desc.next = (uint16_t)vq_random(&state, UINT16_MAX); break;
	default: break;
	}
	return desc;
}

/* All that a device may rely on in a chain. */
static bool chain_is_sound(void)
{
	uint64_t len[2] = { 0, 0 };
	bool bad = false;

	if ((!vq.is_packed && chain.id >= vq.size) ||
	    chain.readable + chain.writable > VIRTQUEUE_CHAIN_MAX)
		return false;
	for (unsigned i = 0; i < chain.readable + chain.writable; i++) {
		uint8_t *base = iov[i].iov_base;

		if (!iov[i].iov_len)
			return false;
		bad |= !base;
		if (base && (base < ram.host || iov[i].iov_len > RAM ||
			     base + iov[i].iov_len > ram.host + RAM))
			return false;
		len[i >= chain.readable] += iov[i].iov_len;
	}
	return bad == chain.bad && len[0] == chain.readable_len && len[1] == chain.writable_len;
}

START_TEST(garbage)
{
	unsigned good = 0, ended = 0;

	begin(64, INDIRECT | EVENT);
	for (uint64_t at = GPA; at < GPA + RAM; at += 16) {
		struct vring_desc desc = plausible();

		vq_ram_put(&ram, at, &desc, sizeof(desc));
	}
	for (unsigned i = 0; i < 1000000; i++) {
		uint64_t features = vq_random(&state, 2) * EVENT +
			(vq_random(&state, 8) ? INDIRECT : 0);
		uint16_t ahead = (uint16_t)vq_random(&state, vq_random(&state, 16) ? 64 : 65536);
		struct vring_desc desc = plausible();
		bool has_work;
		int ret;

		vq_split_desc(driver, vq_random(&state, 64), &desc);
		vq_split_head(driver, vq.popped % 64,
			      (uint16_t)vq_random(&state, vq_random(&state, 16) ? 64 : UINT16_MAX));
		vq_split_avail(driver, 0, vq.popped + ahead, 0);
		has_work = virtqueue_has_work(&vq);
		ret = virtqueue_pop(&vq, &chain);
		must(has_work == (ret != 0));
		if (ret > 0) {
			must(chain_is_sound());
			virtqueue_push(&vq, &chain, 0);
			virtqueue_publish(&vq);
			virtqueue_rearm(&vq);
			good++;
		} else if (ret < 0) {
			must(ret == -EBADMSG && vq.why);
			must(virtqueue_start(&vq, vq_driver_config(driver), &ram.mem,
					     features, early) == 0);
			ended++;
		}
	}
	/* It was not all refused, nor all accepted. */
	ck_assert_uint_gt(good, 10000);
	ck_assert_uint_gt(ended, 10000);
	vq_ram_allow(&ram, vq_driver_config(driver)->device, 6 + 8 * 64);
	vq_ram_check(&ram);
	end();
}
END_TEST

/* One descriptor, mostly where the device looks, and any event suppression. */
static void show_packed_garbage(void)
{
	struct vring_desc from = plausible();
	struct vring_packed_desc desc = { from.addr, from.len, from.next, from.flags };
	unsigned wild = vq_random(&state, 4);

	desc.flags &= vq_random(&state, 3) ? ~NEXT : ~0;
	desc.flags &= ~(AVAIL | USED);
	desc.flags |= vq.packed.next_avail.wrap_counter ? AVAIL : USED;
	vq_packed_desc(driver, wild ? vq.packed.next_avail.index : vq_random(&state, 61), &desc);
	vq_packed_event(driver, (uint16_t)vq_random(&state, 128), vq_random(&state, 2),
			(uint16_t)vq_random(&state, UINT16_MAX));
}

static void push_some(struct virtqueue_chain *popped, unsigned *held)
{
	while (*held && vq_random(&state, 2)) {
		unsigned n = vq_random(&state, *held);

		virtqueue_push(&vq, &popped[n], vq_random(&state, UINT32_MAX));
		popped[n] = popped[--*held];
		if (vq_random(&state, 2)) {
			virtqueue_publish(&vq);
			virtqueue_rearm(&vq);
		}
	}
}

/* The same of a packed ring, in which any slot may be shown at any time. */
START_TEST(packed_garbage)
{
	unsigned good = 0, ended = 0, held = 0;
	static struct virtqueue_chain popped[64];
	uint64_t features = PACKED | INDIRECT | EVENT;

	begin(61, features);
	for (uint64_t at = GPA; at < GPA + RAM; at += 16) {
		struct vring_desc desc = plausible();

		vq_ram_put(&ram, at, &desc, sizeof(desc));
	}
	for (unsigned i = 0; i < 1000000; i++) {
		bool has_work;
		int ret;

		show_packed_garbage();
		has_work = virtqueue_has_work(&vq);
		ret = virtqueue_pop(&vq, &chain);
		must(has_work == (ret != 0));
		if (ret > 0) {
			must(chain_is_sound());
			must(chain.descs && chain.descs <= 61 && vq.packed.in_flight <= 61);
			popped[held++] = chain;
			good++;
		}
		push_some(popped, &held);
		must(vq.packed.next_avail.index < 61 && vq.packed.next_used.index < 61);
		if (ret < 0) {
			must(ret == -EBADMSG && vq.why);
			features = PACKED | vq_random(&state, 2) * EVENT |
				(vq_random(&state, 8) ? INDIRECT : 0) |
				vq_random(&state, 2) * IN_ORDER;
			must(virtqueue_start(&vq, vq_driver_config(driver), &ram.mem, features,
					     early) == 0);
			held = 0;
			ended++;
		}
	}
	ck_assert_uint_gt(good, 10000);
	ck_assert_uint_gt(ended, 10000);
	vq_ram_allow(&ram, vq_driver_config(driver)->desc, 16 * 61);
	vq_ram_allow(&ram, vq_driver_config(driver)->device, 4);
	vq_ram_check(&ram);
	end();
}
END_TEST

/* Configurations without sense: refused, or areas in RAM. */
START_TEST(garbage_configurations)
{
	unsigned good = 0;

	vq_ram_init(&ram, GPA, RAM);
	chain.iov = iov;
	for (unsigned i = 0; i < 300000; i++) {
		struct virtqueue_config config = {
			.size = (uint16_t)(1 << vq_random(&state, 16)),
			.desc = GPA + vq_random(&state, RAM),
			.driver = GPA + vq_random(&state, RAM),
			.device = GPA + vq_random(&state, RAM),
		};

		if (vq_random(&state, 16)) {
			config.desc &= -16ULL;
			config.driver &= -2ULL;
			config.device &= -4ULL;
		}
		uint64_t features = INDIRECT | EVENT | (i % 2 ? PACKED : 0);

		if (features & PACKED)
			config.size = (uint16_t)vq_random(&state, 1000);
		if (virtqueue_start(&vq, &config, &ram.mem, features, early))
			continue;
		good++;
		/* Areas may overlap: whatever is there, it ends. */
		for (unsigned n = 0; n < 8 && virtqueue_pop(&vq, &chain) > 0; n++) {
			must(chain_is_sound());
			virtqueue_push(&vq, &chain, vq_random(&state, UINT32_MAX));
			virtqueue_publish(&vq);
			virtqueue_rearm(&vq);
		}
	}
	ck_assert_uint_gt(good, 1000);
	vq_ram_free(&ram);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtqueue");

	unit_tcase(suite, "start", start_checks_the_areas, start_checks_packed_areas);
	unit_tcase(suite, "chains", positions_wrap, areas_may_end_where_ram_does,
		   chains_of_any_shape, completions_in_any_order, longest_chains,
		   parts_outside_ram, parts_across_regions);
	unit_tcase(suite, "malformed", malformed_rings, one_head_twice, malformed_packed_rings,
		   packed_slots_twice, one_buffer_id_twice, more_in_flight_than_the_queue_is_long,
		   used_ring_is_never_read);
	unit_tcase(suite, "bytes", used_ring_to_the_byte, packed_ring_to_the_byte);
	unit_tcase(suite, "suppression", interrupts_exactly_when_wanted,
		   packed_event_suppression,
		   suppression_in_the_wrong_field, nobody_sleeps_through, two_threads, fences);
	unit_tcase(suite, "garbage", garbage, packed_garbage, garbage_configurations);
	return unit_run(suite);
}
