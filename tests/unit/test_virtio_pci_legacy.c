// SPDX-License-Identifier: BSD-2-Clause
/* The legacy interface of a transitional PCI device, as its drivers see it. */
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/blk-rig.h"
#include "tests/unit/fakes.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"
#include "virtio/virtio_pci.h"

#define DEVFN (1 << 3) /* the first function after the bridge */
#define MEMORY PCI_COMMAND_MEMORY
#define MASTER PCI_COMMAND_MASTER
#define PORTS PCI_COMMAND_IO

#define FOUND (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define LIVE (FOUND | VIRTIO_CONFIG_S_DRIVER_OK)
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define NONE VIRTIO_NO_VECTOR
#define VECTORS (FAKE_QUEUES + 1)
#define DEADLINE_NS (20 * 1000000000ULL)

/* Registers; sizes beside, since each has one. */
#define OFFERED 0, 4
#define ACCEPTED 4, 4
#define PAGE 8, 4
#define SIZE 12, 2
#define SELECT 14, 2
#define NOTIFY 16, 2
#define STATUS 18, 1
#define ISR 19, 1
#define CONFIG_VECTOR 20, 2
#define QUEUE_VECTOR 22, 2

static struct fake_board board;
static struct fake_device fake;
static struct fake_msi msi;
static struct fake_doorbells doorbells;
static struct virtio_pci *vp;

/* --- Accesses --- */

static uint64_t config_read(unsigned reg, unsigned len)
{
	return fake_ecam_read(&board, DEVFN, reg, len);
}

static void config_write(unsigned reg, uint64_t value, unsigned len)
{
	fake_ecam_write(&board, DEVFN, reg, value, len);
}

static uint64_t port(void)
{
	return config_read(PCI_BASE_ADDRESS_0, 4) & ~3ULL;
}

static uint64_t get(unsigned reg, unsigned len)
{
	return bus_read(&board.io, port() + reg, len);
}

static void put(unsigned reg, unsigned len, uint64_t value)
{
	bus_write(&board.io, port() + reg, value, len);
}

/* The modern interface: common configuration is at the start of its BAR. */
static uint64_t modern_at(unsigned reg)
{
	return (config_read(PCI_BASE_ADDRESS_4, 8) & ~0xfULL) + reg;
}

static uint64_t modern_get(unsigned reg, unsigned len)
{
	return bus_read(&board.memory, modern_at(reg), len);
}

static void modern_put(unsigned reg, unsigned len, uint64_t value)
{
	bus_write(&board.memory, modern_at(reg), value, len);
}

static void command(uint16_t value)
{
	config_write(PCI_COMMAND, value, 2);
}

static unsigned msix_at(void)
{
	unsigned at = (unsigned)config_read(PCI_CAPABILITY_LIST, 1);

	while (at && config_read(at, 1) != PCI_CAP_ID_MSIX)
		at = (unsigned)config_read(at + PCI_CAP_LIST_NEXT, 1);
	ck_assert_uint_ne(at, 0);
	return at;
}

static void msix_switch(bool on)
{
	config_write(msix_at() + PCI_MSIX_FLAGS, on ? PCI_MSIX_FLAGS_ENABLE : 0, 2);
}

/* MSI-X on, all entries unmasked; entry i sends i. */
static void msix_on(void)
{
	unsigned table = (unsigned)config_read(msix_at() + PCI_MSIX_TABLE, 4) & ~7u;

	for (unsigned i = 0; i < VECTORS; i++) {
		modern_put(table + 16 * i, 8, 0xfee00000);
		modern_put(table + 16 * i + 8, 8, i);
	}
	msix_switch(true);
}

/* --- Set-up with a fake device --- */

static void attach(struct virtio_device *dev)
{
	const struct msi_port msi_port = { &fake_msi_ops, &msi };
	const struct doorbell_port port = { &fake_doorbell_ops, &doorbells };
	const struct virtio_pci_kind kind = { .class = 0x010000, .transitional_id = 0x1001 };

	ck_assert_int_eq(virtio_pci_create(&vp, dev, &kind, &msi_port, &port), 0);
	ck_assert_int_eq(pci_host_attach(&board.host, virtio_pci_function(vp)), 0);
	command(PORTS | MEMORY | MASTER);
}

static void detach(void)
{
	ck_assert_uint_eq(doorbells.attached, 0);
	pci_host_detach(&board.host, virtio_pci_function(vp));
	virtio_pci_destroy(vp);
	ck_assert_uint_eq(msi.attached, 0);
	fake_board_destroy(&board);
}

static void setup(void)
{
	fake_board_init(&board);
	fake_device_init(&fake);
	attach(&fake.virtio);
}

static void teardown(void)
{
	fake.slow_stop = false;
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		if (fake.virtio.queue[i].state == QUEUE_STOPPING)
			fake_device_let_go(&fake, i);
	virtio_device_shut_down(&fake.virtio);
	detach();
	fake_device_destroy(&fake);
}

static uint32_t page_of(unsigned index)
{
	return (uint32_t)(fake_ring_at(index, 0) >> 12);
}

static void activate(unsigned index)
{
	put(SELECT, index);
	put(PAGE, page_of(index));
	ck_assert_uint_eq(get(PAGE), page_of(index));
}

/* As drivers do: features, then queues, then DRIVER_OK. */
static void bring_up(void)
{
	put(STATUS, 0);
	put(STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	put(STATUS, FOUND);
	put(ACCEPTED, get(OFFERED) & (1U << FAKE_FEATURE | 1U << VIRTIO_RING_F_EVENT_IDX));
	activate(0);
	activate(1);
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(STATUS), LIVE);
}

static void check_alive(void)
{
	unsigned starts = fake.starts[0];

	bring_up();
	ck_assert_uint_eq(fake.starts[0], starts + 1);
	ck_assert(fake.owned[0] && fake.owned[1]);
	put(STATUS, 0);
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert(!fake.owned[0] && !fake.owned[1]);
}

/* --- Identity and layout --- */

/* Rows: LEGPCI-01, LEGPCI-02, LEGPCI-03, LEGPCI-04, PCI-02, PCI-03 */
START_TEST(identity)
{
	ck_assert_uint_eq(config_read(PCI_VENDOR_ID, 4), 0x10011af4);
	ck_assert_uint_eq(config_read(PCI_REVISION_ID, 1), 0);
	ck_assert_uint_eq(config_read(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x00021af4);
	ck_assert_uint_eq(config_read(PCI_BASE_ADDRESS_0, 1) & 3, PCI_BASE_ADDRESS_SPACE_IO);
	/* The modern interface stands beside. */
	ck_assert_uint_eq(config_read(PCI_BASE_ADDRESS_4, 1) & 1, 0);
	ck_assert_uint_eq(modern_get(VIRTIO_PCI_COMMON_NUMQ, 2), FAKE_QUEUES);
}
END_TEST

/* Rows: LEGPCI-05, LEGPCI-13 */
START_TEST(power_on)
{
	ck_assert_uint_eq(get(ACCEPTED), 0);
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert_uint_eq(get(ISR), 0);
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		put(SELECT, i);
		ck_assert_uint_eq(get(SELECT), i);
		ck_assert_uint_eq(get(SIZE), FAKE_QUEUE_SIZE);
		ck_assert_uint_eq(get(PAGE), 0);
		put(SIZE, 4);
		ck_assert_uint_eq(get(SIZE), FAKE_QUEUE_SIZE);
	}
	put(SELECT, FAKE_QUEUES); /* no such queue */
	ck_assert_uint_eq(get(SIZE), 0);
	put(PAGE, 1);
	ck_assert_uint_eq(get(PAGE), 0);
	put(ISR, 0xff);
	ck_assert_uint_eq(get(ISR), 0);
}
END_TEST

/* Accesses of another width, or across registers, change nothing. */
START_TEST(widths)
{
	static const uint8_t width[20] = {
		[0] = 4, [4] = 4, [8] = 4, [12] = 2, [14] = 2, [16] = 2, [18] = 1, [19] = 1,
	};

	put(SELECT, 1);
	for (unsigned reg = 0; reg < 20; reg++)
		for (unsigned len = 1; len <= 4; len++)
			if (reg + len <= 20 && len != width[reg])
				put(reg, len, UINT32_MAX);
	ck_assert_uint_eq(get(SELECT), 1);
	ck_assert_uint_eq(get(PAGE), 0);
	ck_assert_uint_eq(get(ACCEPTED), 0);
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert_uint_eq(get(0, 2) | get(17, 2) | get(18, 2), 0);
	check_alive();
}
END_TEST

static void check_config_at(unsigned at)
{
	for (unsigned len = 1; len <= 4; len++)
		for (unsigned i = 0; i + len <= FAKE_CONFIG; i++) {
			uint32_t expected = 0;

			memcpy(&expected, fake.config + i, len);
			ck_assert_uint_eq(get(at + i, len), expected);
		}
	ck_assert_uint_eq(get(at + FAKE_CONFIG, 4), 0);
}

/* Rows: LEGPCI-06, LEGPCI-07, LEGPCI-08, LEGPCI-09 */
START_TEST(msix_moves_configuration)
{
	check_config_at(20);
	for (unsigned i = 0; i < 3; i++) {
		msix_on();
		check_config_at(24);
		ck_assert_uint_eq(get(CONFIG_VECTOR), NONE);
		ck_assert_uint_eq(get(QUEUE_VECTOR), NONE);
		msix_switch(false);
		check_config_at(20);
	}
	put(20, 1, 0x77);
	ck_assert_uint_eq(fake.config[0], 0x77);
	msix_switch(true);
	put(27, 1, 0x66);
	ck_assert_uint_eq(fake.config[3], 0x66);
	check_config_at(24);
}
END_TEST

/* Rows: LEGPCI-06 */
START_TEST(vectors)
{
	msix_on();
	put(STATUS, FOUND);
	put(CONFIG_VECTOR, 2);
	ck_assert_uint_eq(get(CONFIG_VECTOR), 2);
	put(CONFIG_VECTOR, VECTORS); /* there is no such */
	ck_assert_uint_eq(get(CONFIG_VECTOR), NONE);
	put(CONFIG_VECTOR, 0);
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		put(SELECT, i);
		put(QUEUE_VECTOR, 1 + i);
		activate(i);
	}
	put(STATUS, LIVE);
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		put(SELECT, i);
		ck_assert_uint_eq(get(QUEUE_VECTOR), 1 + i);
		virtio_queue_notify(&fake.virtio, i);
		ck_assert_uint_eq(fake_msi_run(&msi), 1);
		ck_assert_uint_eq(msi.sent.data, 1 + i);
	}
	virtio_notify_config(&fake.virtio);
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.data, 0);
	put(STATUS, 0);
	ck_assert_uint_eq(get(CONFIG_VECTOR), NONE);
	ck_assert_uint_eq(get(QUEUE_VECTOR), NONE);
}
END_TEST

/* Rows: LEGPCI-22 */
START_TEST(isr)
{
	const bool *line = &board.lines.level[1];

	bring_up();
	virtio_queue_notify(&fake.virtio, 1);
	ck_assert(*line);
	ck_assert_uint_eq(get(ISR), 1);
	ck_assert(!*line);
	virtio_notify_config(&fake.virtio);
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert_uint_eq(get(ISR), VIRTIO_PCI_ISR_CONFIG | 1);
	ck_assert_uint_eq(get(ISR), 0);
	/* It is the same register as the modern one. */
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert_uint_eq(modern_get(0x1000, 1), 1);
	ck_assert_uint_eq(get(ISR), 0);
	virtio_queue_notify(&fake.virtio, 0);
	put(STATUS, 0);
	ck_assert(!*line);
	ck_assert_uint_eq(get(ISR), 0);
}
END_TEST

/* --- Features and status --- */

/* Rows: LEGPCI-10, LEGPCI-19 */
START_TEST(features)
{
	uint32_t offered = (uint32_t)get(OFFERED);

	ck_assert_uint_eq(offered, (uint32_t)fake.virtio.offered | 1U << VIRTIO_F_ANY_LAYOUT);
	ck_assert_uint_eq(offered & (1U << 24 | 1U << 30), 0);
	/* That bit is of this interface alone. */
	ck_assert_uint_eq(modern_get(VIRTIO_PCI_COMMON_DF, 4), (uint32_t)fake.virtio.offered);
	put(OFFERED, 0);
	ck_assert_uint_eq(get(OFFERED), offered);
	put(STATUS, FOUND);
	put(ACCEPTED, offered & ~(1U << FAKE_UNUSABLE));
	ck_assert_uint_eq(get(ACCEPTED), offered & ~(1U << FAKE_UNUSABLE));
	activate(0);
	put(STATUS, LIVE);
	ck_assert_uint_eq(fake.virtio.accepted, offered & ~(1U << FAKE_UNUSABLE));
	put(ACCEPTED, 0); /* too late */
	ck_assert_uint_eq(get(ACCEPTED), offered & ~(1U << FAKE_UNUSABLE));
	ck_assert(fake.owned[0] && !fake.owned[1]);
}
END_TEST

/* Rows: LEGPCI-21 */
START_TEST(accepts_anything)
{
	fake.virtio.offered &= ~VIRTIO_BIT(FAKE_UNUSABLE);
	put(STATUS, FOUND);
	put(ACCEPTED, UINT32_MAX);
	ck_assert_uint_eq(get(ACCEPTED), get(OFFERED));
	activate(0);
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert(fake.owned[0]);
}
END_TEST

/* What a modern driver would be refused breaks the device. */
START_TEST(features_that_cannot_be)
{
	put(STATUS, FOUND);
	put(ACCEPTED, 1U << FAKE_UNUSABLE);
	activate(0);
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(STATUS), LIVE | NEEDS_RESET);
	ck_assert(!fake.owned[0]);
	put(NOTIFY, 0);
	ck_assert(!fake.owned[0]);
	check_alive();
}
END_TEST

/* Rows: LEGPCI-17 */
START_TEST(features_ok_is_nothing)
{
	put(STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	ck_assert_uint_eq(get(STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	put(STATUS, FOUND);
	put(STATUS, FOUND | FEATURES_OK);
	ck_assert_uint_eq(get(STATUS), FOUND | FEATURES_OK);
	put(ACCEPTED, 1U << FAKE_FEATURE);
	ck_assert_uint_eq(get(ACCEPTED), 1U << FAKE_FEATURE);
	activate(0);
	put(STATUS, LIVE | FEATURES_OK);
	ck_assert(fake.owned[0]);
	ck_assert_uint_eq(fake.virtio.accepted, 1U << FAKE_FEATURE);
}
END_TEST

/* Rows: LEGPCI-16, GEN-31 */
START_TEST(before_the_features)
{
	put(21, 1, 0x42);
	ck_assert_uint_eq(fake.config_writes, 1);
	ck_assert_uint_eq(fake.config[1], 0x42);
	ck_assert_uint_eq(get(21, 1), 0x42);
	virtio_notify_config(&fake.virtio);
	ck_assert_uint_eq(get(ISR), 0); /* held till DRIVER_OK */
	put(STATUS, FOUND);
	activate(0);
	put(NOTIFY, 0); /* live, but not that */
	ck_assert(fake.owned[0]);
	ck_assert_uint_eq(get(ISR), 0);
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(ISR), VIRTIO_PCI_ISR_CONFIG);
}
END_TEST

/* --- Queues --- */

/* Rows: LEGPCI-12 */
START_TEST(page_number)
{
	bring_up();
	put(SELECT, 1);
	ck_assert_uint_eq(get(PAGE), page_of(1));
	ck_assert_uint_eq(fake.virtio.queue[1].config.desc, fake_ring_at(1, 0));
	put(PAGE, page_of(0)); /* it is in use */
	ck_assert_uint_eq(get(PAGE), page_of(1));
	put(PAGE, 0);
	ck_assert_uint_eq(get(PAGE), 0);
	ck_assert(fake.owned[0] && !fake.owned[1]);
	put(NOTIFY, 1);
	ck_assert_uint_eq(fake_device_kicks(&fake, 1), 0);
	put(PAGE, page_of(1));
	ck_assert(fake.owned[1]);
	ck_assert_uint_eq(fake.starts[1], 2);
	put(STATUS, 0);
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		put(SELECT, i);
		ck_assert_uint_eq(get(PAGE), 0);
	}
}
END_TEST

/* Any number may be written. */
START_TEST(page_outside_memory)
{
	static const uint32_t pages[] = { 1, 0xf, 0x20, 0xfffff, UINT32_MAX };

	for (unsigned i = 0; i < array_size(pages); i++) {
		put(STATUS, FOUND);
		put(PAGE, pages[i]);
		ck_assert_uint_eq(get(PAGE), pages[i]);
		put(STATUS, LIVE);
		ck_assert_uint_eq(get(STATUS), LIVE | NEEDS_RESET);
		ck_assert(!fake.owned[0]);
		check_alive();
	}
}
END_TEST

/* Rows: LEGPCI-15 */
START_TEST(use_before_driver_ok)
{
	put(STATUS, FOUND);
	put(ACCEPTED, 1U << FAKE_FEATURE);
	activate(0);
	put(NOTIFY, 1); /* that one is not there yet */
	ck_assert(!fake.owned[0]);
	put(NOTIFY, 0);
	ck_assert(fake.owned[0]);
	ck_assert_uint_eq(fake.virtio.accepted, 1U << FAKE_FEATURE);
	ck_assert_uint_eq(fake_device_kicks(&fake, 0), 1);
	ck_assert_uint_eq(get(STATUS), FOUND);
	activate(1); /* starts at once */
	ck_assert(fake.owned[1]);
	put(STATUS, LIVE);
	ck_assert_uint_eq(fake.starts[0], 1);
	ck_assert_uint_eq(fake.starts[1], 1);
}
END_TEST

/* The short-cut is at the port, and matches the queue's number. */
START_TEST(doorbell)
{
	uint64_t at = port() + 16, elsewhere = 0xd000;

	bring_up();
	ck_assert_uint_eq(doorbells.attached, 2);
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		ck_assert_uint_eq(fake.virtio.queue[i].notify, at);
		ck_assert(fake.virtio.queue[i].notify_is_port);
		ck_assert(fake_doorbells_out(&doorbells, at, (uint16_t)i));
		ck_assert_uint_eq(fake_device_kicks(&fake, i), 1);
		put(NOTIFY, i); /* where the short-cut is not */
		ck_assert_uint_eq(fake_device_kicks(&fake, i), 1);
	}
	ck_assert(!fake_doorbells_out(&doorbells, at, 2));
	put(NOTIFY, 2);
	config_write(PCI_BASE_ADDRESS_0, elsewhere, 4);
	ck_assert(!fake_doorbells_out(&doorbells, at, 0));
	ck_assert(fake_doorbells_out(&doorbells, elsewhere + 16, 0));
	ck_assert_uint_eq(fake.virtio.queue[0].notify, elsewhere + 16);
	command(MEMORY | MASTER);
	ck_assert_uint_eq(doorbells.attached, 0);
	command(PORTS);
	ck_assert_uint_eq(doorbells.attached, 0);
	command(PORTS | MASTER);
	ck_assert_uint_eq(doorbells.attached, 2);
	put(PAGE, 0); /* of queue 1 */
	ck_assert_uint_eq(doorbells.attached, 1);
	put(STATUS, 0);
	ck_assert_uint_eq(doorbells.attached, 0);
}
END_TEST

/* What was rung for without bus mastering is done once it is on. */
/* Rows: LEGPCI-25 */
START_TEST(bus_master_off)
{
	command(PORTS | MEMORY);
	bring_up();
	put(NOTIFY, 0);
	ck_assert_uint_eq(fake_device_kicks(&fake, 0), 0);
	command(PORTS | MEMORY | MASTER);
	ck_assert_uint_eq(fake_device_kicks(&fake, 0), 1);
}
END_TEST

/* --- Stopping: the write returns when it is done --- */

static void *write_in_background(void *opaque)
{
	const unsigned *reg = opaque;

	put(reg[0], reg[1], 0);
	return NULL;
}

/* Until the thread of queue 0 was ordered to let go of it, more than @before times. */
static void await_order(unsigned before)
{
	uint64_t deadline = clock_ns() + DEADLINE_NS;

	while (load_acquire(&fake.stops[0]) == before) {
		must(clock_ns() < deadline);
		poll(NULL, 0, 1);
	}
}

/* Rows: LEGPCI-18 */
START_TEST(reset_is_waited_for)
{
	unsigned status[] = { STATUS };
	pthread_t thread;

	bring_up();
	fake.slow_stop = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, write_in_background, status), 0);
	await_order(0);
	/* The lock is free: another CPU sees that it is not complete. */
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert_uint_eq(modern_get(VIRTIO_PCI_COMMON_STATUS, 1), LIVE);
	put(STATUS, LIVE);
	put(NOTIFY, 0);
	put(PAGE, page_of(0));
	fake_device_let_go(&fake, 0);
	ck_assert_uint_eq(get(STATUS), LIVE);
	fake_device_let_go(&fake, 1);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(fake.virtio.status, 0); /* without a read */
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert_uint_eq(fake.starts[0], 1);
	fake.slow_stop = false;
	check_alive();
}
END_TEST

/* Rows: LEGPCI-12 */
START_TEST(queue_stop_is_waited_for)
{
	unsigned page[] = { PAGE };
	pthread_t thread;

	bring_up();
	put(SELECT, 0);
	fake.slow_stop = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, write_in_background, page), 0);
	await_order(0);
	ck_assert_uint_eq(get(PAGE), page_of(0));
	put(NOTIFY, 0);
	ck_assert_uint_eq(fake_device_kicks(&fake, 0), 0);
	fake_device_let_go(&fake, 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(get(PAGE), 0);
	ck_assert(fake.owned[1]);
	fake.slow_stop = false;
}
END_TEST

/* The end of the VM does not wait for a driver that waits. */
START_TEST(waits_end)
{
	unsigned status[] = { STATUS };
	pthread_t thread;

	bring_up();
	fake.slow_stop = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, write_in_background, status), 0);
	await_order(0);
	virtio_device_end_waits(&fake.virtio);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(get(STATUS), LIVE);
}
END_TEST

/* --- Both interfaces --- */

static void modern_bring_up(void)
{
	modern_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	modern_put(VIRTIO_PCI_COMMON_STATUS, 1, FOUND);
	modern_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	modern_put(VIRTIO_PCI_COMMON_GF, 4, 1);
	modern_put(VIRTIO_PCI_COMMON_STATUS, 1, FOUND | FEATURES_OK);
	ck_assert_uint_eq(modern_get(VIRTIO_PCI_COMMON_STATUS, 1), FOUND | FEATURES_OK);
	modern_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	modern_put(VIRTIO_PCI_COMMON_Q_DESCLO, 8, fake_ring_at(0, 0));
	modern_put(VIRTIO_PCI_COMMON_Q_AVAILLO, 8, fake_ring_at(0, 1));
	modern_put(VIRTIO_PCI_COMMON_Q_USEDLO, 8, fake_ring_at(0, 2));
	modern_put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	modern_put(VIRTIO_PCI_COMMON_STATUS, 1, LIVE | FEATURES_OK);
	ck_assert_uint_eq(modern_get(VIRTIO_PCI_COMMON_STATUS, 1), LIVE | FEATURES_OK);
	ck_assert(fake.owned[0]);
	ck_assert_uint_eq(fake.virtio.accepted, VIRTIO_BIT(VIRTIO_F_VERSION_1));
}

/* Rows: LEGPCI-04, LEGPCI-11 */
START_TEST(one_after_the_other)
{
	for (unsigned i = 0; i < 3; i++) {
		bring_up();
		ck_assert_uint_eq(fake.virtio.accepted & VIRTIO_BIT(VIRTIO_F_VERSION_1), 0);
		ck_assert(doorbells.slot[0].is_port);
		modern_bring_up();
		ck_assert_uint_eq(doorbells.attached, 1);
		ck_assert(!doorbells.slot[0].is_port);
	}
}
END_TEST

/* Rows: LEGPCI-24 */
START_TEST(legacy_writes_to_a_modern_device)
{
	modern_bring_up();
	put(ACCEPTED, UINT32_MAX);
	put(SELECT, 0);
	put(PAGE, page_of(1));
	put(PAGE, 0);
	put(SELECT, 1);
	put(PAGE, page_of(1));
	put(STATUS, LIVE);
	put(NOTIFY, 0);
	put(NOTIFY, 1);
	ck_assert_uint_eq(fake.virtio.accepted, VIRTIO_BIT(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(fake.virtio.queue[0].config.desc, fake_ring_at(0, 0));
	ck_assert(fake.owned[0] && !fake.owned[1]);
	ck_assert_uint_eq(modern_get(VIRTIO_PCI_COMMON_STATUS, 1), LIVE | FEATURES_OK);
	put(STATUS, 0); /* resets all of it */
	ck_assert_uint_eq(modern_get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
	ck_assert(!fake.owned[0]);
	modern_bring_up();
}
END_TEST

/* Rows: LEGPCI-24 */
START_TEST(modern_writes_to_a_legacy_device)
{
	bring_up();
	modern_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	modern_put(VIRTIO_PCI_COMMON_GF, 4, 1);
	modern_put(VIRTIO_PCI_COMMON_STATUS, 1, LIVE | FEATURES_OK);
	ck_assert_uint_eq(fake.virtio.accepted & VIRTIO_BIT(VIRTIO_F_VERSION_1), 0);
	ck_assert(fake.owned[0]);
	modern_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert(!fake.owned[0] && !fake.owned[1]);
	check_alive();
}
END_TEST

/* Who writes features the modern way is a modern driver. */
/* Rows: LEGPCI-11, LEGPCI-24 */
START_TEST(a_change_of_mind)
{
	put(STATUS, FOUND);
	put(ACCEPTED, 1U << FAKE_FEATURE);
	modern_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	modern_put(VIRTIO_PCI_COMMON_GF, 4, 1);
	modern_put(VIRTIO_PCI_COMMON_STATUS, 1, FOUND | FEATURES_OK);
	ck_assert_uint_eq(get(STATUS), FOUND | FEATURES_OK);
	ck_assert_uint_eq(fake.virtio.accepted,
			  VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(FAKE_FEATURE));
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(STATUS), LIVE | FEATURES_OK);
}
END_TEST

/* The other way round: what it wrote there counts as far as it exists here. */
/* Rows: LEGPCI-10, LEGPCI-24 */
START_TEST(another_change_of_mind)
{
	put(STATUS, FOUND);
	for (unsigned word = 0; word < 2; word++) {
		modern_put(VIRTIO_PCI_COMMON_GFSELECT, 4, word);
		modern_put(VIRTIO_PCI_COMMON_GF, 4, ~(1U << FAKE_UNUSABLE));
	}
	activate(0);
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert_uint_eq(fake.virtio.accepted, get(OFFERED) & ~(1U << FAKE_UNUSABLE));
	ck_assert(fake.owned[0]);
}
END_TEST

/* Anything anywhere, by both: it is there afterwards. */
START_TEST(random_accesses)
{
	uint32_t state = (uint32_t)_i;

	for (unsigned i = 0; i < 20000; i++) {
		unsigned len = 1 + fake_random(&state) % 4, at = fake_random(&state) % 64;
		uint32_t value = fake_random(&state) >> fake_random(&state) % 32;

		if (fake_random(&state) % 64 == 0)
			msix_switch(value & 1);
		else if (fake_random(&state) % 4 == 0)
			modern_put(at, len, value);
		else if (fake_random(&state) % 2)
			put(at, len, value);
		else
			get(at, len);
	}
	msix_switch(false);
	check_alive();
}
END_TEST

/* --- A block device, and the mock driver with its rings where legacy puts them --- */

#define SECTORS 2048
#define WRITEBACK offsetof(struct virtio_blk_config, wce)

#define BIT(n) (1U << (n))
#define EVENT BIT(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define FLUSH BIT(VIRTIO_BLK_F_FLUSH)
#define WCE BIT(VIRTIO_BLK_F_CONFIG_WCE)

static char *folder;
static struct io_thread *thread;
static struct blk_rig rig;

static const struct rig_request read_one = { .type = VIRTIO_BLK_T_IN, .in = 512 };
static const struct rig_request get_id = { .type = VIRTIO_BLK_T_GET_ID, .in = 20 };
static const struct rig_request flush_out = { .type = 5 };

static uint8_t image_byte(uint64_t at)
{
	return (uint8_t)(at * 13 + at / 512);
}

static void disk_begin(uint16_t queue_size)
{
	static uint8_t bytes[SECTORS * 512];
	struct blk_config config = {
		.serial = "a serial",
		.queues = 1,
		.queue_size = queue_size,
		.discard = true,
	};
	const struct io_thread_config thread_config = {
		.name = "io-test", .queues = 1, .use_uring = true,
	};

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = image_byte(i);
	folder = files_folder();
	files_write(folder, "image", bytes, sizeof(bytes));
	config.disk.path = files_path(folder, "image");
	fake_board_init(&board);
	ck_assert_int_eq(io_thread_create(&thread, &thread_config), 0);
	rig_create(&rig, &config, thread, queue_size);
	attach(rig.dev);
}

static void disk_setup(void)
{
	disk_begin(256);
}

static void disk_teardown(void)
{
	rig_stop(&rig);
	io_thread_destroy(thread);
	detach();
	rig_free(&rig);
	files_remove(folder);
}

/* The ring of @size as section 2.7.2 has it: what follows the page number. */
static struct virtqueue_config legacy_layout(uint16_t size)
{
	uint64_t used_at = align_up(18 * (uint64_t)size + 6, 4096);
	uint64_t at = vq_ram_alloc(&rig.ram, used_at + 8 * (uint64_t)size + 6, 4096);

	return (struct virtqueue_config){
		.size = size,
		.enabled = true,
		.desc = at,
		.driver = at + 16 * (uint64_t)size,
		.device = at + used_at,
	};
}

static void make_ring(void)
{
	struct virtqueue_config config;

	rig.features = get(ACCEPTED);
	put(SELECT, 0);
	config = legacy_layout((uint16_t)get(SIZE));
	vq_driver_free(rig.driver);
	rig.driver = vq_driver_create_at(&rig.ram, &config, rig.features);
	put(PAGE, config.desc / 4096);
}

/* To just before DRIVER_OK, with those of @accept that are offered. */
static void disk_prepare(uint32_t accept)
{
	put(STATUS, 0);
	ck_assert_uint_eq(get(STATUS), 0);
	put(STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	put(STATUS, FOUND);
	put(ACCEPTED, accept);
	make_ring();
}

static void disk_start(uint32_t accept)
{
	disk_prepare(accept);
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(STATUS), LIVE);
}

static void kick(void)
{
	if (vq_driver_publish(rig.driver))
		put(NOTIFY, 0);
}

/* A polling driver: it looks at the ISR again and again. */
static void await_interrupt(void)
{
	uint64_t deadline = clock_ns() + DEADLINE_NS;

	while (!(get(ISR) & 1)) {
		must(clock_ns() < deadline);
		poll(NULL, 0, 0);
	}
}

static struct rig_result take(void)
{
	struct rig_result result;

	while (!rig_poll(&rig, &result))
		if (!vq_driver_listen(rig.driver, 1))
			await_interrupt();
	return result;
}

static uint8_t request(const struct rig_request *request)
{
	must(rig_add(&rig, request) >= 0);
	kick();
	return take().status;
}

static void check_read(uint64_t sector)
{
	struct rig_request r = read_one;
	const uint8_t *data;

	r.sector = sector;
	must(rig_add(&rig, &r) == 0);
	data = rig_data(&rig, 0);
	kick();
	ck_assert_uint_eq(take().status, VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 512; i++)
		must(data[i] == image_byte(sector * 512 + i));
}

static const uint16_t sizes[] = { 2, 128, 256, 1024 };
static const uint32_t sets[] = { 0, EVENT, INDIRECT | FLUSH, UINT32_MAX };

/* Header, data and status in a descriptor each, and in any other way. */
/* Rows: LEGPCI-10, LEGPCI-14, LEGPCI-21, LEGBLK-01, LEGBLK-07, LEGBLK-08 */
START_TEST(disk_requests)
{
	uint16_t size = sizes[_i % array_size(sizes)];
	uint32_t set = sets[_i / array_size(sizes)];
	struct rig_request r = read_one;

	disk_begin(size);
	disk_start(set);
	for (unsigned i = 0; i < 300; i++) {
		r.cut = i % 2 && size > 2 ? RIG_RANDOM : size > 2 ? RIG_PLAIN : RIG_ONE_EACH;
		r.sector = i;
		ck_assert_uint_eq(request(&r), VIRTIO_BLK_S_OK);
	}
	if (size > 2) {
		check_read(77);
		ck_assert_uint_eq(request(&get_id), VIRTIO_BLK_S_OK);
	}
	rig_check(&rig);
	disk_teardown();
}
END_TEST

/* Rows: LEGPCI-15 */
START_TEST(disk_before_driver_ok)
{
	disk_prepare(EVENT);
	check_read(3);
	ck_assert_uint_eq(get(STATUS), FOUND);
	put(STATUS, LIVE);
	check_read(4);
	rig_check(&rig);
}
END_TEST

/* Rows: LEGBLK-02, LEGBLK-03 */
START_TEST(disk_old_types)
{
	static const uint32_t unknown[] = { 2, 3, 0x80000000, 0x80000001 };
	uint32_t offered = (uint32_t)get(OFFERED);

	ck_assert_uint_eq(offered & (BIT(0) | BIT(7)), 0);
	disk_start(offered);
	ck_assert_uint_eq(request(&flush_out), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < array_size(unknown); i++) {
		struct rig_request r = { .type = unknown[i], .out = 512 };

		ck_assert_uint_eq(request(&r), VIRTIO_BLK_S_UNSUPP);
	}
	disk_start(0);
	ck_assert_uint_eq(request(&flush_out), VIRTIO_BLK_S_UNSUPP);
}
END_TEST

static uint64_t writeback(void)
{
	return get(20 + WRITEBACK, 1);
}

/* Of a driver that knows the field it is the driver's alone. */
/* Rows: LEGBLK-04, LEGBLK-05, LEGBLK-06, LEGPCI-16 */
START_TEST(disk_cache_mode_is_the_drivers)
{
	for (unsigned mode = 0; mode < 4; mode++) {
		put(20 + WRITEBACK, 1, mode % 2);
		ck_assert_uint_eq(writeback(), mode % 2);
		put(STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
		put(STATUS, FOUND);
		ck_assert_uint_eq(writeback(), mode % 2);
		put(ACCEPTED, WCE);
		put(ACCEPTED, 0);
		put(ACCEPTED, FLUSH);
		put(ACCEPTED, WCE | (mode / 2 ? FLUSH : 0));
		ck_assert_uint_eq(writeback(), mode % 2);
		put(20 + WRITEBACK, 1, !(mode % 2));
		make_ring();
		put(NOTIFY, 0);
		put(STATUS, LIVE);
		ck_assert_uint_eq(get(STATUS), LIVE);
		ck_assert_uint_eq(writeback(), !(mode % 2));
		put(20 + WRITEBACK, 1, mode % 2);
		ck_assert_uint_eq(writeback(), mode % 2);
		put(STATUS, 0);
	}
}
END_TEST

/* Without CONFIG_WCE DRIVER_OK sets it, by FLUSH, and it cannot be written. */
/* Rows: LEGBLK-04, LEGBLK-05 */
START_TEST(disk_cache_mode_by_flush)
{
	for (unsigned flush = 0; flush < 2; flush++) {
		put(20 + WRITEBACK, 1, !flush);
		disk_prepare(flush ? FLUSH : 0);
		ck_assert_uint_eq(writeback(), !flush);
		put(STATUS, LIVE);
		ck_assert_uint_eq(writeback(), flush);
		put(20 + WRITEBACK, 1, !flush);
		ck_assert_uint_eq(writeback(), flush);
		put(STATUS, 0);
	}
}
END_TEST

/* One read of the status tells that the device has let go of everything. */
/* Rows: LEGPCI-18 */
START_TEST(disk_reset_in_flight)
{
	for (unsigned round = 0; round < 200; round++) {
		struct rig_request r = read_one;

		disk_prepare(round % 2 ? EVENT : 0);
		put(STATUS, LIVE);
		for (r.sector = 0; r.sector < 60; r.sector++)
			must(rig_add(&rig, &r) >= 0);
		kick();
		put(STATUS, 0);
		ck_assert_uint_eq(get(STATUS), 0);
		for (unsigned i = 0; i < RIG_SLOTS; i++)
			rig.slot[i].busy = false;
		/* The driver's memory is its own again: whatever it writes stays. */
		vq_driver_reset(rig.driver);
		rig_check(&rig);
		ck_assert_uint_eq(get(ISR), 0);
		if (round % 16 == 0)
			rig.ram.next = RIG_GPA + (3 << 20); /* for the next ring */
	}
	disk_start(0);
	check_read(1);
}
END_TEST

static uint64_t capacity(unsigned header)
{
	return get(header, 4) | get(header + 4, 4) << 32;
}

/* Rows: LEGPCI-07, LEGPCI-08, LEGPCI-23 */
START_TEST(disk_resized)
{
	disk_start(0);
	ck_assert_uint_eq(capacity(20), SECTORS);
	ck_assert_uint_eq(get(20, 2) | get(22, 2) << 16 | get(24, 2) << 32, SECTORS);
	for (unsigned i = 1; i < 10; i++) {
		blk_set_capacity(rig.blk, SECTORS - i);
		ck_assert_uint_eq(get(ISR), VIRTIO_PCI_ISR_CONFIG);
		ck_assert_uint_eq(capacity(20), SECTORS - i);
	}
	msix_switch(true);
	ck_assert_uint_eq(capacity(24), SECTORS - 9);
	msix_switch(false);
	check_read(0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_pci_legacy");
	TCase *registers = tcase_create("registers"), *disk = tcase_create("disk");
	TCase *layouts = tcase_create("layouts");
	/* clang-format off */
	const TTest *const register_tests[] = {
		identity, power_on, widths, msix_moves_configuration, vectors, isr,
		features, accepts_anything, features_that_cannot_be, features_ok_is_nothing,
		before_the_features, page_number, page_outside_memory, use_before_driver_ok,
		doorbell, bus_master_off, reset_is_waited_for, queue_stop_is_waited_for, waits_end,
		one_after_the_other, legacy_writes_to_a_modern_device,
		modern_writes_to_a_legacy_device, a_change_of_mind, another_change_of_mind,
	}, *const disk_tests[] = {
		disk_before_driver_ok, disk_old_types, disk_cache_mode_is_the_drivers,
		disk_cache_mode_by_flush, disk_reset_in_flight, disk_resized,
	};
	/* clang-format on */

	tcase_set_timeout(registers, 60);
	tcase_add_checked_fixture(registers, setup, teardown);
	for (unsigned i = 0; i < array_size(register_tests); i++)
		tcase_add_test(registers, register_tests[i]);
	tcase_add_loop_test(registers, random_accesses, 0, 4);
	suite_add_tcase(suite, registers);

	tcase_set_timeout(disk, 60);
	tcase_add_checked_fixture(disk, disk_setup, disk_teardown);
	for (unsigned i = 0; i < array_size(disk_tests); i++)
		tcase_add_test(disk, disk_tests[i]);
	suite_add_tcase(suite, disk);

	tcase_set_timeout(layouts, 60);
	tcase_add_loop_test(layouts, disk_requests, 0, array_size(sizes) * array_size(sets));
	suite_add_tcase(suite, layouts);
	return unit_run(suite);
}
