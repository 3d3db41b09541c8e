// SPDX-License-Identifier: BSD-2-Clause
/* The PCI transport as a driver sees it: through configuration space and BAR. */
#include "virtio/virtio_pci.h"

#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/fakes.h"
#include "tests/unit/probe-log.h"
#include "tests/unit/unit.h"

#define DEVFN (1 << 3) /* the first function after the bridge */
#define VECTORS (FAKE_QUEUES + 1)
#define NONE VIRTIO_NO_VECTOR
#define LINE (board.lines.level[1])
#define BAR_SIZE 0x8000
#define DEADLINE_NS (10 * 1000000000ULL) /* of what should happen at once */

#define MEMORY PCI_COMMAND_MEMORY
#define MASTER PCI_COMMAND_MASTER

#define INIT (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define LIVE (INIT | FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* Common configuration; sizes beside, since each register has one. */
#define DF_SELECT VIRTIO_PCI_COMMON_DFSELECT, 4
#define DF VIRTIO_PCI_COMMON_DF, 4
#define GF_SELECT VIRTIO_PCI_COMMON_GFSELECT, 4
#define GF VIRTIO_PCI_COMMON_GF, 4
#define CONFIG_VECTOR VIRTIO_PCI_COMMON_MSIX, 2
#define NUM_QUEUES VIRTIO_PCI_COMMON_NUMQ, 2
#define STATUS VIRTIO_PCI_COMMON_STATUS, 1
#define GENERATION VIRTIO_PCI_COMMON_CFGGENERATION, 1
#define SELECT VIRTIO_PCI_COMMON_Q_SELECT, 2
#define SIZE VIRTIO_PCI_COMMON_Q_SIZE, 2
#define VECTOR VIRTIO_PCI_COMMON_Q_MSIX, 2
#define ENABLE VIRTIO_PCI_COMMON_Q_ENABLE, 2
#define NOTIFY_OFF VIRTIO_PCI_COMMON_Q_NOFF, 2
#define DESC VIRTIO_PCI_COMMON_Q_DESCLO, 8
#define AVAIL VIRTIO_PCI_COMMON_Q_AVAILLO, 8
#define USED VIRTIO_PCI_COMMON_Q_USEDLO, 8
#define RESET VIRTIO_PCI_COMMON_Q_RESET, 2

#define COMMON 60 /* its length in bytes */

static struct fake_board board;
static struct fake_device fake;
static struct fake_msi msi;
static struct fake_doorbells doorbells;
static struct virtio_pci *vp;

/* What the capabilities say, by type; index 0 is not used. */
static struct virtio_pci_cap structure[6];
static unsigned where[6];     /* the capabilities themselves */
static unsigned msix;         /* the MSI-X capability */
static uint32_t multiplier;   /* of notification offsets */
static uint32_t table, pba;   /* in the BAR */

/* --- Accesses --- */

static uint64_t config_read(unsigned reg, unsigned len)
{
	return fake_ecam_read(&board, DEVFN, reg, len);
}

static void config_write(unsigned reg, uint64_t value, unsigned len)
{
	fake_ecam_write(&board, DEVFN, reg, value, len);
}

static uint64_t bar_at(void)
{
	return config_read(PCI_BASE_ADDRESS_4, 8) & ~0xfULL;
}

static uint64_t bar_read(uint64_t offset, unsigned len)
{
	return bus_read(&board.memory, bar_at() + offset, len);
}

static void bar_write(uint64_t offset, uint64_t value, unsigned len)
{
	bus_write(&board.memory, bar_at() + offset, value, len);
}

static uint64_t get(unsigned reg, unsigned len)
{
	return bar_read(structure[VIRTIO_PCI_CAP_COMMON_CFG].offset + reg, len);
}

static void put(unsigned reg, unsigned len, uint64_t value)
{
	bar_write(structure[VIRTIO_PCI_CAP_COMMON_CFG].offset + reg, value, len);
}

static uint8_t isr(void)
{
	return (uint8_t)bar_read(structure[VIRTIO_PCI_CAP_ISR_CFG].offset, 1);
}

/* The kick address of queue @index, in the BAR. */
static uint64_t kick_at(unsigned index)
{
	put(SELECT, index);
	return structure[VIRTIO_PCI_CAP_NOTIFY_CFG].offset + get(NOTIFY_OFF) * multiplier;
}

static void kick(unsigned index)
{
	bar_write(kick_at(index), index, 2);
}

static unsigned kicks(unsigned index)
{
	return fake_device_kicks(&fake, index);
}

static void command(uint16_t value)
{
	config_write(PCI_COMMAND, value, 2);
}

static void msix_control(uint16_t value)
{
	config_write(msix + PCI_MSIX_FLAGS, value, 2);
}

/* MSI-X on, all entries unmasked; entry i sends i. */
static void msix_on(void)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		bar_write(table + 16 * i, 0xfee00000, 8);
		bar_write(table + 16 * i + 8, i, 8);
	}
	msix_control(PCI_MSIX_FLAGS_ENABLE);
}

/* One message was sent, by vector @vector. */
static void check_sent(unsigned vector)
{
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.data, vector);
}

/* --- Set-up --- */

static void find_capabilities(void)
{
	unsigned at = (unsigned)config_read(PCI_CAPABILITY_LIST, 1);
	unsigned bound = 20;

	for (; at; at = (unsigned)config_read(at + PCI_CAP_LIST_NEXT, 1)) {
		struct virtio_pci_cap cap;

		ck_assert_uint_gt(--bound, 0);
		for (unsigned i = 0; i < sizeof(cap); i++)
			((uint8_t *)&cap)[i] = (uint8_t)config_read(at + i, 1);
		if (cap.cap_vndr == PCI_CAP_ID_MSIX) {
			msix = at;
			table = (uint32_t)config_read(at + PCI_MSIX_TABLE, 4) & ~7u;
			pba = (uint32_t)config_read(at + PCI_MSIX_PBA, 4) & ~7u;
			continue;
		}
		ck_assert_uint_eq(cap.cap_vndr, PCI_CAP_ID_VNDR);
		ck_assert_uint_ge(cap.cfg_type, 1);
		ck_assert_uint_le(cap.cfg_type, VIRTIO_PCI_CAP_PCI_CFG);
		ck_assert_uint_eq(where[cap.cfg_type], 0);
		structure[cap.cfg_type] = cap;
		where[cap.cfg_type] = at;
	}
	multiplier = (uint32_t)config_read(where[VIRTIO_PCI_CAP_NOTIFY_CFG] +
					   sizeof(struct virtio_pci_cap), 4);
}

static void setup_with(const struct doorbell_ops *ops)
{
	const struct msi_port msi_port = { &fake_msi_ops, &msi };
	const struct doorbell_port port = { ops, &doorbells };
	const struct virtio_pci_kind kind = { .class = 0x018000 };

	fake_board_init(&board);
	fake_device_init(&fake);
	ck_assert_int_eq(virtio_pci_create(&vp, &fake.virtio, &kind, &msi_port, &port), 0);
	ck_assert_int_eq(pci_host_attach(&board.host, virtio_pci_function(vp)), 0);
	find_capabilities();
	command(MEMORY | MASTER);
}

static void setup(void)
{
	setup_with(&fake_doorbell_ops);
}

static void teardown(void)
{
	fake.slow_stop = false;
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		if (fake.virtio.queue[i].state == QUEUE_STOPPING)
			fake_device_let_go(&fake, i);
	virtio_device_shut_down(&fake.virtio);
	ck_assert_uint_eq(doorbells.attached, 0);
	pci_host_detach(&board.host, virtio_pci_function(vp));
	virtio_pci_destroy(vp);
	ck_assert_uint_eq(msi.attached, 0);
	fake_device_destroy(&fake);
	fake_board_destroy(&board);
}

static void queue_set_up(unsigned index)
{
	put(SELECT, index);
	put(DESC, fake_ring_at(index, 0));
	put(AVAIL, fake_ring_at(index, 1));
	put(USED, fake_ring_at(index, 2));
	put(ENABLE, 1);
}

/* @high: features from bit 32. */
static void negotiate_with(uint32_t high)
{
	put(STATUS, INIT);
	put(GF_SELECT, 1);
	put(GF, high);
	put(STATUS, INIT | FEATURES_OK);
	ck_assert_uint_eq(get(STATUS), INIT | FEATURES_OK);
}

static void negotiate(void)
{
	negotiate_with(1);
}

static void bring_up_with(uint32_t high)
{
	negotiate_with(high);
	queue_set_up(0);
	queue_set_up(1);
	put(STATUS, LIVE);
	ck_assert_uint_eq(get(STATUS), LIVE);
}

static void bring_up(void)
{
	bring_up_with(1);
}

/* --- Identity and capabilities --- */

/* Rows: PCI-02, PCI-03, PCI-04, PCI-05, ISR-08 */
START_TEST(identity)
{
	ck_assert_uint_eq(config_read(PCI_VENDOR_ID, 4), 0x10421af4);
	ck_assert_uint_eq(config_read(PCI_CLASS_REVISION, 4), 0x01800001);
	ck_assert_uint_eq(config_read(PCI_SUBSYSTEM_VENDOR_ID, 2), 0x1af4);
	ck_assert_uint_ge(config_read(PCI_SUBSYSTEM_ID, 2), 0x40);
	ck_assert_uint_eq(config_read(PCI_INTERRUPT_PIN, 1), 1);
	ck_assert_uint_eq(config_read(PCI_INTERRUPT_LINE, 1), FAKE_GSI + 1);
}
END_TEST

/*
 * Rows: PCI-08, PCI-09, PCI-12, PCI-13, PCI-32, PCIN-01, PCIN-02, PCIN-03,
 * ISR-01, MSIX-01, MSIX-02, PCFG-01
 */
START_TEST(capabilities)
{
	const struct virtio_pci_cap *s = structure;
	bool page_taken[BAR_SIZE >> 12] = { false };
	bool byte_taken[PCI_CONFIG_LENGTH] = { false };
	unsigned type, i;

	for (type = 1; type < 6; type++) {
		ck_assert_uint_ne(where[type], 0);
		ck_assert_uint_eq(where[type] % 4, 0);
		ck_assert_uint_eq(s[type].cap_len,
				  type == VIRTIO_PCI_CAP_NOTIFY_CFG ||
				  type == VIRTIO_PCI_CAP_PCI_CFG ? 20 : 16);
		for (i = where[type]; i < where[type] + s[type].cap_len; i++) {
			ck_assert(!byte_taken[i]);
			byte_taken[i] = true;
		}
		if (type == VIRTIO_PCI_CAP_PCI_CFG)
			continue;
		ck_assert_uint_eq(s[type].bar, 4);
		ck_assert_uint_eq(s[type].offset % 4, 0);
		ck_assert_uint_ge(s[type].length, 1);
		ck_assert_uint_le((uint64_t)s[type].offset + s[type].length, BAR_SIZE);
		page_taken[s[type].offset >> 12] = true;
	}
	for (i = msix; i < msix + 12; i++)
		ck_assert(!byte_taken[i]);
	ck_assert_uint_eq(s[VIRTIO_PCI_CAP_COMMON_CFG].length, COMMON);
	ck_assert_uint_eq(s[VIRTIO_PCI_CAP_DEVICE_CFG].length, FAKE_CONFIG);
	ck_assert_uint_ge(multiplier, 2);
	ck_assert_uint_eq(multiplier & (multiplier - 1), 0);
	ck_assert_uint_ge(s[VIRTIO_PCI_CAP_NOTIFY_CFG].length,
			  (FAKE_QUEUES - 1) * multiplier + 2);
	/* MSI-X: a vector a queue and one more, on pages of their own. */
	ck_assert_uint_eq(config_read(msix + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	ck_assert_uint_eq(config_read(msix + PCI_MSIX_TABLE, 1) & 7, 4);
	ck_assert_uint_eq(config_read(msix + PCI_MSIX_PBA, 1) & 7, 4);
	ck_assert_uint_lt(table, BAR_SIZE);
	ck_assert_uint_lt(pba, BAR_SIZE);
	ck_assert(!page_taken[table >> 12] && !page_taken[pba >> 12]);
	ck_assert_uint_ne(table >> 12, pba >> 12);
}
END_TEST

/* Rows: PCI-11, PCFG-02 */
START_TEST(capabilities_are_read_only)
{
	unsigned window = where[VIRTIO_PCI_CAP_PCI_CFG], i;

	for (i = 0x40; i < PCI_CONFIG_LENGTH; i++) {
		uint8_t before = (uint8_t)config_read(i, 1), mask = 0;

		if (i == window + 4 || (i >= window + 8 && i < window + 20))
			mask = 0xff; /* bar, offset, length, data */
		else if (i == msix + PCI_MSIX_FLAGS + 1)
			mask = 0xc0;
		config_write(i, 0xff, 1);
		if (i < window + 16 || i >= window + 20) /* the data is what it points to */
			ck_assert_uint_eq(config_read(i, 1), before | mask);
		config_write(i, 0, 1);
		if (i < window + 16 || i >= window + 20)
			ck_assert_uint_eq(config_read(i, 1), before & ~mask);
	}
}
END_TEST

/* --- Common configuration --- */

/* Rows: GEN-01, PCI-18, PCI-21, PCI-23 */
START_TEST(power_on)
{
	unsigned i;

	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert_uint_eq(get(CONFIG_VECTOR), NONE);
	ck_assert_uint_eq(get(NUM_QUEUES), FAKE_QUEUES);
	ck_assert_uint_eq(get(GF), 0);
	for (i = 0; i < FAKE_QUEUES; i++) {
		put(SELECT, i);
		ck_assert_uint_eq(get(SIZE), FAKE_QUEUE_SIZE);
		ck_assert_uint_eq(get(VECTOR), NONE);
		ck_assert_uint_eq(get(ENABLE), 0);
		ck_assert_uint_eq(get(NOTIFY_OFF), i);
		ck_assert_uint_eq(get(DESC) | get(AVAIL) | get(USED), 0);
	}
	ck_assert_uint_eq(isr(), 0);
	ck_assert(!LINE);
}
END_TEST

/* Rows: GEN-18, GEN-21, PCI-14, PCI-15, PCI-27 */
START_TEST(features)
{
	static const uint32_t words[] = { 0, 1, 2, 3, 0xffff, 0x08000000, UINT32_MAX };
	unsigned i;

	for (i = 0; i < array_size(words); i++) {
		uint32_t offered = i < 2 ? (uint32_t)(fake.virtio.offered >> (32 * i)) : 0;

		put(DF_SELECT, words[i]);
		ck_assert_uint_eq(get(DF_SELECT), words[i]);
		ck_assert_uint_eq(get(DF), offered);
		put(DF, 0x5a5a5a5a);
		ck_assert_uint_eq(get(DF), offered);
		put(GF_SELECT, words[i]);
		ck_assert_uint_eq(get(GF_SELECT), words[i]);
		put(GF, offered);
		ck_assert_uint_eq(get(GF), offered);
	}
	ck_assert_uint_eq(fake.virtio.driver_features, fake.virtio.offered);
	put(STATUS, INIT | FEATURES_OK); /* one of them is never usable */
	ck_assert_uint_eq(get(STATUS), INIT);
	put(GF_SELECT, 0);
	put(GF, 1 << FAKE_FEATURE);
	put(STATUS, INIT | FEATURES_OK);
	ck_assert_uint_eq(get(STATUS), INIT | FEATURES_OK);
	put(GF, 0); /* latched */
	ck_assert_uint_eq(get(GF), 1 << FAKE_FEATURE);
}
END_TEST

static void common_image(uint8_t image[COMMON])
{
	for (unsigned i = 0; i < COMMON; i++)
		image[i] = (uint8_t)get(i, 1);
}

static unsigned natural_width(unsigned reg)
{
	switch (reg) {
	case VIRTIO_PCI_COMMON_STATUS:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
	case VIRTIO_PCI_COMMON_Q_RESET:
		return 2;
	case VIRTIO_PCI_COMMON_DFSELECT:
	case VIRTIO_PCI_COMMON_GFSELECT:
	case VIRTIO_PCI_COMMON_GF:
		return 4;
	default:
		return reg >= VIRTIO_PCI_COMMON_Q_DESCLO && reg < 56 && reg % 4 == 0 ? 4 : 0;
	}
}

/* Only writes of a register's own width count; reads of any width are bytes. */
/* Rows: PCI-07 */
START_TEST(widths)
{
	uint8_t before[COMMON], after[COMMON];
	unsigned reg, len, i;

	put(SELECT, 1);
	put(SIZE, 8);
	put(DESC, 0x1122334455667788);
	put(USED, 0x99aabbccddeeff00);
	common_image(before);
	for (reg = 0; reg < 72; reg++) {
		for (len = 1; len <= 8; len++) {
			uint64_t expected = 0;

			for (i = 0; i < len && reg + len <= COMMON; i++)
				expected |= (uint64_t)before[reg + i] << (8 * i);
			ck_assert_uint_eq(get(reg, len), expected);
			if (len == natural_width(reg) ||
			    (len == 8 && reg >= VIRTIO_PCI_COMMON_Q_DESCLO && reg < 56 &&
			     reg % 8 == 0))
				continue;
			put(reg, len, 0x0101010101010101ULL * (reg | 1));
			common_image(after);
			ck_assert_mem_eq(before, after, COMMON);
		}
	}
}
END_TEST

/* Rows: PCI-06, PCI-20, PCI-22, PCI-26, PCI-27 */
START_TEST(queue_registers)
{
	static const uint16_t bad[] = { 0, 3, FAKE_QUEUE_SIZE + 1, 2 * FAKE_QUEUE_SIZE, 0xffff };
	unsigned i;

	/* Halves in either order; the other queue keeps its own. */
	put(SELECT, 0);
	put(VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x11111111);
	put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x22222220);
	put(SIZE, 4);
	put(SELECT, 1);
	put(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x33333330);
	put(VIRTIO_PCI_COMMON_Q_AVAILHI, 4, 0x44444444);
	put(USED, 0x5555555566666660);
	ck_assert_uint_eq(get(DESC), 0);
	ck_assert_uint_eq(get(AVAIL), 0x4444444433333330);
	ck_assert_uint_eq(get(USED), 0x5555555566666660);
	ck_assert_uint_eq(get(SIZE), FAKE_QUEUE_SIZE);
	put(SELECT, 0);
	ck_assert_uint_eq(get(DESC), 0x1111111122222220);
	ck_assert_uint_eq(get(AVAIL) | get(USED), 0);
	for (i = 0; i < array_size(bad); i++) {
		put(SIZE, bad[i]);
		ck_assert_uint_eq(get(SIZE), 4);
	}
	/* Read-only ones. */
	put(NUM_QUEUES, 7);
	put(GENERATION, 7);
	put(NOTIFY_OFF, 7);
	ck_assert_uint_eq(get(NUM_QUEUES), FAKE_QUEUES);
	ck_assert_uint_ne(get(GENERATION), 7);
	ck_assert_uint_eq(get(NOTIFY_OFF), 0);
}
END_TEST

/* Rows: GEN-39, PCI-19 */
START_TEST(missing_queues)
{
	static const uint16_t missing[] = { FAKE_QUEUES, 255, 256, 0x8000, 0xffff };
	uint8_t before[COMMON], after[COMMON];
	unsigned i, reg;

	put(SELECT, 0);
	common_image(before);
	for (i = 0; i < array_size(missing); i++) {
		put(SELECT, missing[i]);
		ck_assert_uint_eq(get(SELECT), missing[i]);
		for (reg = VIRTIO_PCI_COMMON_Q_SIZE; reg < COMMON; reg++) {
			ck_assert_uint_eq(get(reg, 1), 0);
			put(reg, 1, 0xff);
			put(reg, 2, 1);
			put(reg, 4, 0xffffffff);
			put(reg, 8, UINT64_MAX);
			ck_assert_uint_eq(get(reg, 1), 0);
		}
	}
	put(SELECT, 0);
	common_image(after);
	ck_assert_mem_eq(before, after, COMMON);
}
END_TEST

/* Rows: PCI-24, PCI-25 */
START_TEST(enabled_queue_is_fixed)
{
	unsigned i;

	negotiate();
	queue_set_up(0);
	for (i = 0; i < 2; i++) {
		ck_assert_uint_eq(get(ENABLE), 1);
		put(SIZE, 2);
		put(DESC, 0);
		put(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0);
		put(VIRTIO_PCI_COMMON_Q_USEDHI, 4, 1);
		put(ENABLE, 0);
		put(ENABLE, 1);
		put(ENABLE, 2);
		put(ENABLE, 0xffff);
		ck_assert_uint_eq(get(SIZE), FAKE_QUEUE_SIZE);
		ck_assert_uint_eq(get(DESC), fake_ring_at(0, 0));
		ck_assert_uint_eq(get(AVAIL), fake_ring_at(0, 1));
		ck_assert_uint_eq(get(USED), fake_ring_at(0, 2));
		ck_assert_uint_eq(get(ENABLE), 1);
		put(STATUS, LIVE);
		put(SELECT, 0);
	}
	ck_assert_uint_eq(fake.starts[0], 1);
	put(SELECT, 1);
	put(ENABLE, 2);
	put(ENABLE, 0xffff);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 1);
	ck_assert_uint_eq(get(ENABLE), 0);
}
END_TEST

/* Rows: GEN-04, PCI-17, PCI-18, PCI-21, MSIX-08 */
START_TEST(reset_forgets)
{
	uint8_t before[COMMON], after[COMMON];

	common_image(before);
	msix_on();
	put(DF_SELECT, 1);
	put(CONFIG_VECTOR, 0);
	put(SELECT, 1);
	put(VECTOR, 2);
	put(SIZE, 4);
	bring_up();
	put(STATUS, 0);
	common_image(after);
	ck_assert_mem_eq(before, after, COMMON);
	put(SELECT, 1);
	ck_assert_uint_eq(get(VECTOR), NONE);
	ck_assert_uint_eq(get(SIZE), FAKE_QUEUE_SIZE);
	ck_assert_uint_eq(get(ENABLE), 0);
	ck_assert_uint_eq(get(DESC) | get(AVAIL) | get(USED), 0);
	ck_assert_uint_eq(doorbells.attached, 0);
}
END_TEST

/* Rows: GEN-02, GEN-03, PCI-17 */
START_TEST(slow_reset)
{
	bring_up();
	fake.slow_stop = true;
	put(STATUS, 0);
	ck_assert_uint_eq(doorbells.attached, 0); /* at once */
	ck_assert_uint_eq(get(STATUS), LIVE);
	put(SELECT, 0);
	ck_assert_uint_eq(get(ENABLE), 1);
	kick(0);
	ck_assert_uint_eq(kicks(0), 0);
	virtio_queue_notify(&fake.virtio, 0); /* its last completions */
	fake_device_let_go(&fake, 0);
	ck_assert_uint_eq(get(STATUS), LIVE);
	fake_device_let_go(&fake, 1);
	ck_assert_uint_eq(get(STATUS), 0);
	ck_assert_uint_eq(isr(), 0);
	ck_assert(!LINE);
	put(SELECT, 0);
	ck_assert_uint_eq(get(ENABLE), 0);
	fake.slow_stop = false;
	bring_up();
	ck_assert_uint_eq(doorbells.attached, 2);
}
END_TEST

/* --- Queue reset (PCI-28, PCI-29, PCI-30) --- */

#define RING_RESET (1u << (VIRTIO_F_RING_RESET - 32))

/* Rows: GEN-33, GEN-34, GEN-35, PCI-28, PCI-29 */
START_TEST(queue_reset)
{
	bring_up_with(1 | RING_RESET);
	put(SELECT, 1);
	ck_assert_uint_eq(get(RESET), 0);
	fake.slow_stop = true;
	put(RESET, 1);
	ck_assert_uint_eq(doorbells.attached, 1); /* at once */
	ck_assert_uint_eq(get(RESET), 1);
	ck_assert_uint_eq(get(ENABLE), 1);
	put(RESET, 0);
	put(RESET, 1);
	put(ENABLE, 1);
	ck_assert_uint_eq(get(RESET), 1);
	kick(1);
	ck_assert_uint_eq(kicks(1), 0);
	fake_device_let_go(&fake, 1);
	put(SELECT, 1);
	ck_assert_uint_eq(get(RESET), 0);
	ck_assert_uint_eq(get(ENABLE), 0);
	ck_assert_uint_eq(get(SIZE), FAKE_QUEUE_SIZE);
	ck_assert_uint_eq(get(VECTOR), NONE);
	ck_assert_uint_eq(get(DESC) | get(AVAIL) | get(USED), 0);
	ck_assert_uint_eq(get(STATUS), LIVE);
	/* The other one never noticed. */
	kick(0);
	ck_assert_uint_eq(kicks(0), 1);
	/* A smaller one in its place. */
	put(SELECT, 1);
	put(SIZE, 4);
	queue_set_up(1);
	ck_assert_uint_eq(get(RESET), 0);
	ck_assert_uint_eq(get(ENABLE), 1);
	ck_assert_uint_eq(get(SIZE), 4);
	ck_assert_uint_eq(doorbells.attached, 2);
	kick(1);
	ck_assert_uint_eq(kicks(1), 1);
	/* Interrupts by line, as before. */
	ck_assert(!LINE);
	virtio_queue_notify(&fake.virtio, 1);
	ck_assert(LINE);
	ck_assert_uint_eq(isr(), ISR_QUEUE);
}
END_TEST

/* A queue forgets its vector, and takes a new one. */
/* Rows: GEN-34 */
START_TEST(queue_reset_and_vectors)
{
	msix_on();
	bring_up_with(1 | RING_RESET);
	put(SELECT, 0);
	put(VECTOR, 1);
	virtio_queue_notify(&fake.virtio, 0);
	check_sent(1);
	put(RESET, 1);
	ck_assert_uint_eq(get(RESET), 0);
	ck_assert_uint_eq(get(VECTOR), NONE);
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
	put(VECTOR, 2);
	queue_set_up(0);
	virtio_queue_notify(&fake.virtio, 0);
	check_sent(2);
}
END_TEST

/* Events that wait behind a mask go with their queue, unless they may be another's. */
/* Rows: GEN-33 */
START_TEST(queue_reset_and_pending_messages)
{
	static const struct {
		uint16_t config, other; /* vectors, beside 1 */
		bool stays;
	} cases[] = { { 0, 2, false }, { NONE, NONE, false }, { 1, 2, true }, { 0, 1, true } };

	for (unsigned i = 0; i < array_size(cases); i++) {
		msix_on();
		bring_up_with(1 | RING_RESET);
		put(CONFIG_VECTOR, cases[i].config);
		put(SELECT, 1);
		put(VECTOR, cases[i].other);
		put(SELECT, 0);
		put(VECTOR, 1);
		msix_control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
		virtio_queue_notify(&fake.virtio, 0);
		virtio_queue_notify(&fake.virtio, 1);
		put(RESET, 1);
		ck_assert_uint_eq(get(RESET), 0);
		ck_assert_uint_eq(bar_read(pba, 8) >> 1 & 1, cases[i].stays);
		/* The other queue's are as they were. */
		ck_assert_uint_eq(bar_read(pba, 8) >> 2 & 1, cases[i].other == 2);
		put(STATUS, 0);
	}
}
END_TEST

/* Without the feature, on disabled and missing queues, and with odd values. */
/* Rows: GEN-36, PCI-28, PCI-30 */
START_TEST(queue_reset_that_is_none)
{
	static const uint16_t odd[] = { 0, 2, 3, 0x100, 0xffff };
	unsigned i;

	bring_up();
	put(SELECT, 0);
	put(RESET, 1);
	ck_assert_uint_eq(get(RESET), 0);
	ck_assert_uint_eq(get(ENABLE), 1);
	ck_assert(fake.owned[0]);
	put(STATUS, 0);
	negotiate_with(1 | RING_RESET);
	queue_set_up(0);
	put(STATUS, LIVE);
	put(SELECT, 0);
	for (i = 0; i < array_size(odd); i++) {
		put(RESET, odd[i]);
		ck_assert_uint_eq(get(RESET), 0);
		ck_assert_uint_eq(get(ENABLE), 1);
	}
	put(VIRTIO_PCI_COMMON_Q_RESET, 1, 1);
	put(VIRTIO_PCI_COMMON_Q_RESET, 4, 1);
	put(VIRTIO_PCI_COMMON_Q_NDATA, 4, 0x10001);
	ck_assert_uint_eq(get(ENABLE), 1);
	for (i = 1; i < 0x10000; i = 2 * i + 1) {
		put(SELECT, i);
		put(RESET, 1);
		ck_assert_uint_eq(get(RESET), 0);
		ck_assert_uint_eq(get(ENABLE), 0);
	}
	ck_assert_uint_eq(fake.stops[0], fake.starts[0] - 1);
	ck_assert_uint_eq(fake.stops[1], fake.starts[1]);
}
END_TEST

/* --- Device configuration --- */

/* Rows: GEN-27, GEN-28, PCI-16 */
START_TEST(device_config)
{
	unsigned base = structure[VIRTIO_PCI_CAP_DEVICE_CFG].offset, generation;

	ck_assert_uint_eq(bar_read(base, 8), 0x1716151413121110);
	ck_assert_uint_eq(bar_read(base + 8, 8), 0x1b1a1918);
	ck_assert_uint_eq(bar_read(base + FAKE_CONFIG, 4), 0);
	ck_assert_uint_eq(bar_read(base + 0xffc, 8), 0);
	bar_write(base + FAKE_CONFIG - 2, 0, 4);
	bar_write(base + FAKE_CONFIG, 0, 4);
	bar_write(base + 0xffc, 0, 8);
	ck_assert_uint_eq(fake.config_writes, 0);
	bar_write(base + 3, 0x77, 1);
	ck_assert_uint_eq(bar_read(base, 4), 0x77121110);
	generation = (unsigned)get(GENERATION);
	virtio_notify_config(&fake.virtio);
	bar_read(base, 4);
	ck_assert_uint_ne(get(GENERATION), generation);
}
END_TEST

START_TEST(rest_of_the_bar)
{
	unsigned at, len;

	bring_up();
	for (at = 0; at < BAR_SIZE; at += 4) {
		for (len = 4; len <= 8; len += 4) {
			bool crosses = (at & 0xfff) + len > 0x1000;

			if (at + len > BAR_SIZE)
				ck_assert_uint_eq(bar_read(at, len), UINT64_MAX);
			else if (at >> 12 >= 6 || crosses || (at & 0xfff) >= 0x100)
				ck_assert_uint_eq(bar_read(at, len), 0);
		}
	}
	/* Two pages at once: neither structure takes such a write. */
	for (at = 0x1000; at < BAR_SIZE; at += 0x1000)
		bar_write(at - 4, 0, 8);
	ck_assert_uint_eq(get(STATUS), LIVE);
	ck_assert_uint_eq(kicks(0) + kicks(1), 0);
}
END_TEST

/* --- Kicks --- */

/* Rows: PCI-24, PCIN-06, PCIN-07, PCIN-10, PCIN-11 */
START_TEST(kicks_by_exit)
{
	unsigned len;

	kick(0);
	negotiate();
	queue_set_up(1);
	kick(0);
	kick(1);
	ck_assert_uint_eq(kicks(0) + kicks(1), 0); /* not live */
	put(STATUS, LIVE);
	kick(0);
	ck_assert_uint_eq(kicks(0), 0); /* not enabled */
	kick(1);
	ck_assert_uint_eq(kicks(1), 1);
	queue_set_up(0);
	bar_write(kick_at(0), 1, 2); /* the place counts, not the value */
	ck_assert_uint_eq(kicks(0), 1);
	ck_assert_uint_eq(kicks(1), 0);
	for (len = 1; len <= 8; len++) {
		bar_write(kick_at(1), 1, len);
		ck_assert_uint_le(kicks(1), 1);
		ck_assert_uint_eq(kicks(0), 0);
	}
	ck_assert_uint_eq(bar_read(kick_at(0), 2), 0);
	/* Where other queues would be. */
	bar_write(kick_at(1) + multiplier, 2, 2);
	bar_write(kick_at(0) + 0xffe, 2, 2);
	ck_assert_uint_eq(kicks(0) + kicks(1), 0);
	virtio_device_broken(&fake.virtio, "of a test");
	ck_assert_uint_eq(get(STATUS), LIVE | NEEDS_RESET);
	put(STATUS, 0);
	kick(1);
	ck_assert_uint_eq(kicks(1), 0);
}
END_TEST

/* Rows: PCI-37 */
START_TEST(kicks_need_bus_master)
{
	bring_up();
	command(MEMORY);
	kick(0);
	ck_assert_uint_eq(kicks(0), 0);
	/* What was asked for meanwhile is looked at then. */
	command(MEMORY | MASTER);
	ck_assert_uint_eq(kicks(0), 1);
	command(MEMORY | MASTER);
	ck_assert_uint_eq(kicks(0), 0);
}
END_TEST

/* NOTIFICATION_DATA: the place names the queue, and the ring its content. */
/* Rows: GEN-37, PACKED-31, PCIN-08 */
START_TEST(kicks_with_data)
{
	static const uint32_t data[] = { 0, 1, 0x00010001, 0x80020000, 0xffffffff };

	bring_up();
	for (unsigned i = 0; i < array_size(data); i++)
		for (unsigned queue = 0; queue < FAKE_QUEUES; queue++) {
			bar_write(kick_at(queue), data[i], 4);
			ck_assert_uint_eq(kicks(queue), 1);
			ck_assert_uint_eq(kicks(1 - queue), 0);
		}
}
END_TEST

/* Doorbells are attached at the kick addresses, or not at all. */
static void check_doorbells(bool wanted)
{
	unsigned i;

	ck_assert_uint_eq(doorbells.attached, wanted ? FAKE_QUEUES : 0);
	if (!wanted)
		return;
	for (i = 0; i < FAKE_QUEUES; i++)
		kicks(i); /* bus mastering may have rung */
	for (i = 0; i < FAKE_QUEUES; i++) {
		ck_assert(fake_doorbells_ring(&doorbells, bar_at() + kick_at(i)));
		ck_assert_uint_eq(kicks(i), 1);
		ck_assert_uint_eq(kicks(1 - i), 0);
	}
}

/* Rows: PCI-37, PCIN-06 */
START_TEST(doorbells_follow)
{
	uint64_t at = bar_at();

	check_doorbells(false);
	bring_up();
	check_doorbells(true);
	command(MASTER);
	check_doorbells(false);
	command(MEMORY | MASTER);
	check_doorbells(true);
	command(MEMORY);
	check_doorbells(false);
	command(MEMORY | MASTER);
	config_write(PCI_BASE_ADDRESS_4, at + 0x100000, 4);
	check_doorbells(true);
	config_write(PCI_BASE_ADDRESS_5, 3, 4);
	check_doorbells(true);
	ck_assert(!fake_doorbells_ring(&doorbells, at + 0x3000));
	/* Onto the ECAM: unmapped until it moves on. */
	config_write(PCI_BASE_ADDRESS_4, FAKE_ECAM, 8);
	check_doorbells(false);
	config_write(PCI_BASE_ADDRESS_4, at, 8);
	check_doorbells(true);
	put(STATUS, 0);
	check_doorbells(false);
	/* Moved while no queue ran. */
	config_write(PCI_BASE_ADDRESS_4, at + 0x200000, 8);
	bring_up();
	check_doorbells(true);
}
END_TEST

/* Rows: PCI-01 */
START_TEST(doorbells_stay_during_sizing)
{
	uint64_t at = bar_at();
	unsigned i;

	bring_up();
	for (i = 0; i < 3; i++) {
		config_write(PCI_BASE_ADDRESS_4, UINT32_MAX, 4);
		ck_assert_uint_eq(config_read(PCI_BASE_ADDRESS_4, 4),
				  (uint32_t)-BAR_SIZE | 0xc);
		config_write(PCI_BASE_ADDRESS_4, at, 4);
		config_write(PCI_BASE_ADDRESS_5, UINT32_MAX, 4);
		ck_assert_uint_eq(config_read(PCI_BASE_ADDRESS_5, 4), UINT32_MAX);
		config_write(PCI_BASE_ADDRESS_5, at >> 32, 4);
		config_write(PCI_CACHE_LINE_SIZE, i, 1);
	}
	ck_assert_uint_eq(doorbells.attaches, FAKE_QUEUES);
	check_doorbells(true);
}
END_TEST

START_TEST(doorbells_refused)
{
	doorbells.refuse = true;
	bring_up();
	kick(0);
	ck_assert_uint_eq(kicks(0), 1);
	doorbells.refuse = false;
	command(MEMORY);
	command(MEMORY | MASTER);
	kicks(0);
	kicks(1);
	check_doorbells(true);
	doorbells.refuse = true;
	config_write(PCI_BASE_ADDRESS_4, bar_at() + 0x100000, 8);
	ck_assert_uint_eq(doorbells.attached, 0);
	kick(1);
	ck_assert_uint_eq(kicks(1), 1);
}
END_TEST

/* --- Interrupts by line --- */

static bool status_bit(void)
{
	return config_read(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

/* Rows: ISR-02, ISR-03, ISR-04, ISR-05, ISR-06, ISR-08, ISR-09, ISR-10 */
START_TEST(intx)
{
	bring_up();
	virtio_queue_notify(&fake.virtio, 1);
	ck_assert(LINE && status_bit());
	ck_assert_uint_eq(isr(), ISR_QUEUE);
	ck_assert(!LINE && !status_bit());
	ck_assert_uint_eq(isr(), 0);
	virtio_notify_config(&fake.virtio);
	ck_assert(LINE && status_bit());
	virtio_queue_notify(&fake.virtio, 0);
	virtio_queue_notify(&fake.virtio, 1);
	bar_write(structure[VIRTIO_PCI_CAP_ISR_CFG].offset, 0xff, 1);
	bar_write(structure[VIRTIO_PCI_CAP_ISR_CFG].offset, 0, 4);
	ck_assert(LINE);
	ck_assert_uint_eq(isr(), ISR_QUEUE | ISR_CONFIG);
	ck_assert(!LINE);
	ck_assert_uint_eq(board.lines.changes, 4);
	/* Vectors do not count while MSI-X is off. */
	put(SELECT, 0);
	put(VECTOR, 0);
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert_uint_eq(isr(), ISR_QUEUE);
	ck_assert_uint_eq(bar_read(pba, 8), 0);
}
END_TEST

/* Rows: ISR-06, ISR-07 */
START_TEST(intx_disabled)
{
	bring_up();
	command(MEMORY | MASTER | PCI_COMMAND_INTX_DISABLE);
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert(!LINE && status_bit());
	command(MEMORY | MASTER);
	ck_assert(LINE);
	command(MEMORY | MASTER | PCI_COMMAND_INTX_DISABLE);
	ck_assert(!LINE);
	ck_assert_uint_eq(isr(), ISR_QUEUE);
	command(MEMORY | MASTER);
	ck_assert(!LINE && !status_bit());
}
END_TEST

/* Rows: ISR-09 */
START_TEST(intx_reset)
{
	bring_up();
	virtio_queue_notify(&fake.virtio, 0);
	virtio_notify_config(&fake.virtio);
	put(STATUS, 0);
	ck_assert(!LINE && !status_bit());
	ck_assert_uint_eq(isr(), 0);
	bring_up();
	virtio_queue_notify(&fake.virtio, 0); /* the line still is the way */
	ck_assert(LINE);
}
END_TEST

/* --- Interrupts by message --- */

/* Rows: MSIX-04, MSIX-05, MSIX-06, MSIX-17 */
START_TEST(vector_registers)
{
	static const uint16_t bad[] = { VECTORS, 0x7ff, 0x800, 0xfffe, NONE };
	unsigned round, i;

	/* At status 0 with MSI-X off, then on, then live. */
	for (round = 0; round < 3; round++) {
		if (round == 1)
			msix_on();
		if (round == 2)
			bring_up();
		put(SELECT, 1);
		for (i = 0; i < VECTORS; i++) {
			put(CONFIG_VECTOR, i);
			ck_assert_uint_eq(get(CONFIG_VECTOR), i);
			put(VECTOR, i);
			ck_assert_uint_eq(get(VECTOR), i);
		}
		for (i = 0; i < array_size(bad); i++) {
			put(VECTOR, 0);
			put(VECTOR, bad[i]);
			ck_assert_uint_eq(get(VECTOR), NONE);
			put(CONFIG_VECTOR, 0);
			put(CONFIG_VECTOR, bad[i]);
			ck_assert_uint_eq(get(CONFIG_VECTOR), NONE);
		}
	}
}
END_TEST

/* Rows: ISR-02, MSIX-03, MSIX-09, MSIX-10, MSIX-11 */
START_TEST(messages)
{
	unsigned config, queue;

	msix_on();
	bring_up();
	/* Every event on every vector; unmapped ones say nothing at all. */
	for (config = 0; config <= VECTORS; config++) {
		for (queue = 0; queue <= VECTORS; queue++) {
			put(CONFIG_VECTOR, config);
			put(SELECT, 0);
			put(VECTOR, queue);
			virtio_notify_config(&fake.virtio);
			if (config < VECTORS)
				check_sent(config);
			ck_assert_uint_eq(isr(), ISR_CONFIG);
			virtio_queue_notify(&fake.virtio, 0);
			if (queue < VECTORS)
				check_sent(queue);
			virtio_queue_notify(&fake.virtio, 1);
			ck_assert_uint_eq(fake_msi_run(&msi), 0);
			ck_assert_uint_eq(isr(), 0);
			ck_assert(!LINE);
		}
	}
	ck_assert_uint_eq(board.lines.changes, 0);
	ck_assert_uint_eq(bar_read(pba, 8), 0);
}
END_TEST

static void *notify_config(void *opaque)
{
	virtio_notify_config(opaque);
	return NULL;
}

/* --- What probes tell of them --- */

/* An interrupt of queue @index, or of the configuration, is told so. */
static void check_told(unsigned index, enum virtio_interrupt_way how, uint64_t address,
		       uint32_t data)
{
	const struct probe_event *e;

	probe_log_begin();
	if (index == VIRTIO_CONFIG_QUEUE)
		virtio_notify_config(&fake.virtio);
	else
		virtio_queue_notify(&fake.virtio, index);
	probe_log_end();
	ck_assert_uint_eq(probe_log_count_of(PROBE_LOG_interrupt), 1);
	e = probe_log_at(probe_log_count() - 1);
	ck_assert_int_eq(e->id, PROBE_LOG_interrupt);
	ck_assert_int_eq(e->interrupt.queue, index);
	ck_assert_int_eq(e->interrupt.how, how);
	ck_assert_uint_eq((uint64_t)e->interrupt.address, address);
	ck_assert_uint_eq((uint64_t)e->interrupt.data, data);
}

START_TEST(line_is_told)
{
	bring_up();
	check_told(1, VIRTIO_INTERRUPT_LINE, FAKE_GSI + 1, 0);
	check_told(VIRTIO_CONFIG_QUEUE, VIRTIO_INTERRUPT_LINE, FAKE_GSI + 1, 0);
	command(MEMORY | MASTER | PCI_COMMAND_INTX_DISABLE);
	check_told(1, VIRTIO_INTERRUPT_LINE_OFF, FAKE_GSI + 1, 0);
	check_told(VIRTIO_CONFIG_QUEUE, VIRTIO_INTERRUPT_LINE_OFF, FAKE_GSI + 1, 0);
}
END_TEST

START_TEST(message_is_told)
{
	const uint64_t at = 0xfee00000, other = 0xfee01000, high = 0x1fee01000;

	msix_on();
	put(CONFIG_VECTOR, 2);
	bring_up();
	put(SELECT, 0);
	put(VECTOR, 1);
	check_told(0, VIRTIO_INTERRUPT_MESSAGE, at, 1);
	check_told(1, VIRTIO_INTERRUPT_NO_VECTOR, 0, 0);
	check_told(VIRTIO_CONFIG_QUEUE, VIRTIO_INTERRUPT_MESSAGE, at, 2);
	bar_write(table + 16, other, 8);
	check_told(0, VIRTIO_INTERRUPT_MESSAGE, other, 1);
	bar_write(table + 16 + 12, PCI_MSIX_ENTRY_CTRL_MASKBIT, 4);
	check_told(0, VIRTIO_INTERRUPT_MASKED, other, 1);
	check_told(VIRTIO_CONFIG_QUEUE, VIRTIO_INTERRUPT_MESSAGE, at, 2);
	bar_write(table + 16 + 12, 0, 4);
	msix_control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	check_told(0, VIRTIO_INTERRUPT_MASKED, other, 1);
	command(MEMORY);
	check_told(0, VIRTIO_INTERRUPT_OFF, other, 1);
	msix_control(PCI_MSIX_FLAGS_ENABLE);
	check_told(0, VIRTIO_INTERRUPT_OFF, other, 1);
	command(MEMORY | MASTER);
	check_told(0, VIRTIO_INTERRUPT_MESSAGE, other, 1);
	msi.refuse = true;
	bar_write(table + 16, high, 8);
	check_told(0, VIRTIO_INTERRUPT_OFF, high, 1);
	msi.refuse = false;
	put(CONFIG_VECTOR, NONE);
	check_told(VIRTIO_CONFIG_QUEUE, VIRTIO_INTERRUPT_NO_VECTOR, 0, 0);
}
END_TEST

/* Where each queue's driver rings is known before its thread has it, and follows the BAR. */
START_TEST(place_of_doorbells_is_told)
{
	const struct virtio_queue *queue = fake.virtio.queue;
	const struct probe_event *e;
	size_t starts = 0;

	probe_log_begin();
	bring_up();
	probe_log_end();
	for (size_t i = 0; i < probe_log_count(); i++) {
		e = probe_log_at(i);
		if (e->id != PROBE_LOG_queue_start)
			continue;
		ck_assert_int_eq(e->queue_start.queue, (int64_t)starts);
		ck_assert_uint_eq((uint64_t)e->queue_start.notify,
				  bar_at() + kick_at((unsigned)starts));
		ck_assert_int_eq(e->queue_start.bus, 0);
		ck_assert_int_eq(e->queue_start.size, FAKE_QUEUE_SIZE);
		starts++;
	}
	ck_assert_uint_eq(starts, FAKE_QUEUES);
	config_write(PCI_BASE_ADDRESS_4, bar_at() + 0x100000, 8);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		ck_assert_uint_eq(queue[i].notify, bar_at() + kick_at(i));
}
END_TEST

/* The message is held up; the ISR tells of it already. */
/* Rows: ISR-02 */
START_TEST(isr_before_message)
{
	uint64_t deadline = clock_ns() + DEADLINE_NS;
	eventfd_t count;
	pthread_t thread;
	unsigned i = 0;
	int fd, flags;

	msix_on();
	put(CONFIG_VECTOR, 0);
	bring_up();
	while (!msi.slot[i].used || msi.slot[i].message.data != 0)
		i++;
	fd = msi.slot[i].eventfd;
	flags = fcntl(fd, F_GETFL);
	ck_assert_int_eq(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	ck_assert_int_eq(eventfd_write(fd, UINT64_MAX - 1), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, notify_config, &fake.virtio), 0);
	while (isr() != ISR_CONFIG) {
		ck_assert_uint_lt(clock_ns(), deadline);
		poll(NULL, 0, 1);
	}
	ck_assert_int_eq(eventfd_read(fd, &count), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(fcntl(fd, F_SETFL, flags), 0);
	check_sent(0);
}
END_TEST

/* Rows: GEN-11 */
START_TEST(broken_device_tells)
{
	msix_on();
	put(CONFIG_VECTOR, 2);
	bring_up();
	virtio_device_broken(&fake.virtio, "of a test");
	check_sent(2);
	ck_assert_uint_eq(get(STATUS), LIVE | NEEDS_RESET);
	ck_assert_uint_eq(isr(), ISR_CONFIG);
	msix_control(0);
	put(STATUS, 0);
	bring_up();
	virtio_device_broken(&fake.virtio, "of a test");
	ck_assert(LINE);
}
END_TEST

/* Rows: GEN-31 */
START_TEST(message_before_driver_ok)
{
	msix_on();
	put(CONFIG_VECTOR, 1);
	negotiate();
	virtio_notify_config(&fake.virtio);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
	ck_assert_uint_eq(isr(), 0);
	put(STATUS, LIVE);
	check_sent(1);
}
END_TEST

/* Rows: PCI-37, MSIX-12, MSIX-13, MSIX-14, MSIX-15 */
START_TEST(pending_messages)
{
	unsigned i;

	msix_on();
	bring_up();
	put(SELECT, 1);
	put(VECTOR, 2);
	bar_write(table + 2 * 16 + 12, 1, 4);
	for (i = 0; i < 5; i++)
		virtio_queue_notify(&fake.virtio, 1);
	ck_assert_uint_eq(bar_read(pba, 8), 4);
	bar_write(pba, 0, 8);
	ck_assert_uint_eq(bar_read(pba, 8), 4);
	bar_write(table + 2 * 16 + 8, 99, 4);
	bar_write(table + 2 * 16 + 12, 0, 4);
	check_sent(99);
	ck_assert_uint_eq(bar_read(pba, 8), 0);
	/* Bus master off holds it back too. */
	command(MEMORY);
	virtio_queue_notify(&fake.virtio, 1);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
	command(MEMORY | MASTER);
	check_sent(99);
	/* A virtio reset drops it and leaves the table alone. */
	msix_control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	virtio_queue_notify(&fake.virtio, 1);
	put(STATUS, 0);
	ck_assert_uint_eq(bar_read(pba, 8), 0);
	msix_control(PCI_MSIX_FLAGS_ENABLE);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
	ck_assert_uint_eq(bar_read(table + 2 * 16 + 8, 8), 99);
}
END_TEST

static const char *held(bool lost)
{
	bool is_lost = !lost;
	const char *why = virtio_queue_interrupt_held(&fake.virtio, 1, &is_lost);

	ck_assert(is_lost == lost);
	return why;
}

/* For who looks why a guest waits: nothing is held that is not pending. */
START_TEST(what_holds_interrupts)
{
	bring_up();
	command(MEMORY | MASTER | PCI_COMMAND_INTX_DISABLE);
	ck_assert_ptr_null(held(false));
	virtio_notify_config(&fake.virtio);
	ck_assert_ptr_null(held(false));
	virtio_queue_notify(&fake.virtio, 1);
	ck_assert_str_eq(held(false), "INTx is disabled");
	command(MEMORY | MASTER);
	ck_assert_ptr_null(held(false));
	isr();
	msix_on();
	ck_assert_str_eq(held(true), "the queue has no MSI-X vector");
	put(SELECT, 1);
	put(VECTOR, 2);
	ck_assert_ptr_null(held(false));
	bar_write(table + 2 * 16 + 12, 1, 4);
	ck_assert_ptr_null(held(false));
	virtio_queue_notify(&fake.virtio, 1);
	ck_assert_str_eq(held(false), "the MSI-X vector is masked");
	msix_control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	ck_assert_str_eq(held(false), "all MSI-X vectors are masked");
	ck_assert_ptr_null(virtio_queue_doorbell_held(&fake.virtio));
	command(MEMORY);
	ck_assert_str_eq(held(false), "PCI bus mastering is off");
	ck_assert_str_eq(virtio_queue_doorbell_held(&fake.virtio), "PCI bus mastering is off");
	command(MEMORY | MASTER);
	msix_control(PCI_MSIX_FLAGS_ENABLE);
	bar_write(table + 2 * 16 + 12, 0, 4);
	ck_assert_ptr_null(held(false));
}
END_TEST

/* Rows: MSIX-11, MSIX-18 */
START_TEST(msix_switched)
{
	bring_up();
	put(CONFIG_VECTOR, 0);
	put(SELECT, 0);
	put(VECTOR, 1);
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert(LINE);
	msix_on();
	ck_assert(!LINE && !status_bit());
	virtio_queue_notify(&fake.virtio, 0);
	check_sent(1);
	msix_control(0);
	ck_assert(LINE); /* the ISR still has it */
	ck_assert_uint_eq(isr(), ISR_QUEUE);
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert(LINE);
	ck_assert_uint_eq(isr(), ISR_QUEUE);
	msix_control(PCI_MSIX_FLAGS_ENABLE);
	put(SELECT, 0);
	ck_assert_uint_eq(get(VECTOR), 1);
	ck_assert_uint_eq(get(CONFIG_VECTOR), 0);
	virtio_queue_notify(&fake.virtio, 0);
	check_sent(1);
	virtio_notify_config(&fake.virtio);
	check_sent(0);
	ck_assert(!LINE);
}
END_TEST

/* --- The window in configuration space --- */

#define WINDOW(field) (where[VIRTIO_PCI_CAP_PCI_CFG] + offsetof(struct virtio_pci_cfg_cap, field))

static void window_point(uint8_t bar, uint32_t offset, uint32_t len)
{
	config_write(WINDOW(cap.bar), bar, 1);
	config_write(WINDOW(cap.offset), offset, 4);
	config_write(WINDOW(cap.length), len, 4);
}

static uint32_t window_get(uint32_t offset, uint32_t len)
{
	window_point(4, offset, len);
	return (uint32_t)config_read(WINDOW(pci_cfg_data), 4);
}

static void window_put(uint32_t offset, uint32_t len, uint32_t value)
{
	window_point(4, offset, len);
	config_write(WINDOW(pci_cfg_data), value, 4);
}

static void window_address(uint32_t reg, uint64_t value)
{
	window_put(reg, 4, (uint32_t)value);
	window_put(reg + 4, 4, value >> 32);
}

/* A whole bring-up and a kick, with the BAR decoding nowhere. */
/* Rows: PCIN-11, PCFG-03, PCFG-04, PCFG-05 */
START_TEST(window_is_enough)
{
	command(MASTER);
	ck_assert_uint_eq(get(STATUS), 0xff);
	window_put(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	ck_assert_uint_eq(window_get(VIRTIO_PCI_COMMON_DF, 4), fake.virtio.offered >> 32);
	window_put(VIRTIO_PCI_COMMON_STATUS, 1, INIT);
	window_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	window_put(VIRTIO_PCI_COMMON_GF, 4, 1);
	window_put(VIRTIO_PCI_COMMON_STATUS, 1, INIT | FEATURES_OK);
	window_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	ck_assert_uint_eq(window_get(VIRTIO_PCI_COMMON_Q_SIZE, 2), FAKE_QUEUE_SIZE);
	window_address(VIRTIO_PCI_COMMON_Q_DESCLO, fake_ring_at(1, 0));
	window_address(VIRTIO_PCI_COMMON_Q_AVAILLO, fake_ring_at(1, 1));
	window_address(VIRTIO_PCI_COMMON_Q_USEDLO, fake_ring_at(1, 2));
	window_put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	window_put(VIRTIO_PCI_COMMON_STATUS, 1, LIVE);
	ck_assert_uint_eq(window_get(VIRTIO_PCI_COMMON_STATUS, 1), LIVE);
	ck_assert(fake.owned[1]);
	ck_assert_uint_eq(doorbells.attached, 0);
	window_put(structure[VIRTIO_PCI_CAP_NOTIFY_CFG].offset + multiplier, 2, 1);
	ck_assert_uint_eq(kicks(1), 1);
	virtio_queue_notify(&fake.virtio, 1);
	ck_assert(LINE);
	ck_assert_uint_eq(window_get(structure[VIRTIO_PCI_CAP_ISR_CFG].offset, 1), ISR_QUEUE);
	ck_assert(!LINE);
	ck_assert_uint_eq(window_get(structure[VIRTIO_PCI_CAP_DEVICE_CFG].offset + 4, 4),
			  0x17161514);
	window_put(structure[VIRTIO_PCI_CAP_DEVICE_CFG].offset + 1, 1, 0xee);
	ck_assert_uint_eq(fake.config[1], 0xee);
	window_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	ck_assert(!fake.owned[1]);
}
END_TEST

/* Rows: PCFG-02, PCFG-03, PCFG-04, PCFG-05 */
START_TEST(window_reads_and_writes_its_width)
{
	put(SELECT, 1);
	window_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 0xffff0004); /* the first two bytes */
	ck_assert_uint_eq(get(SIZE), 4);
	ck_assert_uint_eq(get(VECTOR), NONE);
	ck_assert_uint_eq(window_get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 4);
	ck_assert_uint_eq(window_get(VIRTIO_PCI_COMMON_Q_SIZE, 1), 4);
	/* Any part of the data does the access; none of the rest does. */
	virtio_queue_notify(&fake.virtio, 0);
	window_point(4, structure[VIRTIO_PCI_CAP_ISR_CFG].offset, 1);
	config_read(WINDOW(cap.length), 4);
	config_read(WINDOW(pci_cfg_data) + 4, 4);
	ck_assert(LINE);
	config_read(WINDOW(pci_cfg_data) + 3, 1);
	ck_assert(!LINE);
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert_uint_eq(config_read(WINDOW(cap.length), 8) >> 32, ISR_QUEUE);
	/* The four fields read back. */
	window_point(0x5a, 0x11223344, 0x55667788);
	ck_assert_uint_eq(config_read(WINDOW(cap.bar), 1), 0x5a);
	ck_assert_uint_eq(config_read(WINDOW(cap.offset), 4), 0x11223344);
	ck_assert_uint_eq(config_read(WINDOW(cap.length), 4), 0x55667788);
}
END_TEST

/* Rows: PCFG-06 */
START_TEST(window_to_nowhere)
{
	static const struct {
		uint8_t bar;
		uint32_t offset, len;
	} target[] = {
		{ 0, 0x14, 1 }, { 1, 0x14, 1 }, { 5, 0x14, 1 }, { 6, 0x14, 1 }, { 255, 0x14, 1 },
		{ 4, 0x14, 0 }, { 4, 0x14, 3 }, { 4, 0x10, 8 }, { 4, 0x14, UINT32_MAX },
		{ 4, 0x15, 2 }, { 4, 0x12, 4 }, { 4, 0x13, 2 }, { 4, 0x80000014, 1 },
		{ 4, 0x8014, 1 }, { 4, 0xfffffffc, 4 }, { 4, UINT32_MAX, 1 }, { 4, 0xfffffffe, 2 },
	};
	uint8_t before[COMMON], after[COMMON];
	unsigned i, at;

	msix_on();
	bring_up();
	common_image(before);
	for (i = 0; i < array_size(target); i++) {
		window_point(target[i].bar, target[i].offset, target[i].len);
		config_write(WINDOW(pci_cfg_data), 0, 4);
		ck_assert_uint_eq(config_read(WINDOW(pci_cfg_data), 4), 0);
		config_write(WINDOW(pci_cfg_data), UINT32_MAX, 4);
		ck_assert_uint_eq(config_read(WINDOW(pci_cfg_data), 4), 0);
	}
	/* Neither table nor pending bits, nor what is behind them. */
	for (at = 0x4000; at < 0x9000; at += 4) {
		window_put(at, 4, 0x5a5a5a5a);
		ck_assert_uint_eq(window_get(at, 4), 0);
	}
	ck_assert_uint_eq(bar_read(table, 8), 0xfee00000);
	common_image(after);
	ck_assert_mem_eq(before, after, COMMON);
	ck_assert(fake.owned[0] && fake.owned[1]);
	ck_assert_uint_eq(kicks(0) + kicks(1), 0);
}
END_TEST

/* --- The most queues --- */

/* Rows: PCIN-03, MSIX-02 */
START_TEST(most_queues)
{
	struct virtio_device big = fake.virtio;
	const struct msi_port msi_port = { &fake_msi_ops, &msi };
	const struct doorbell_port port = { NULL, NULL };
	const struct virtio_pci_kind kind = { .class = 0 };
	struct pci_device *pci;
	struct virtio_pci *p;
	uint64_t base;

	big.queue_count = VIRTIO_PCI_QUEUES_MAX;
	ck_assert_int_eq(virtio_device_init(&big), 0);
	ck_assert_int_eq(virtio_pci_create(&p, &big, &kind, &msi_port, &port), 0);
	pci = virtio_pci_function(p);
	ck_assert_int_eq(pci_host_attach(&board.host, pci), 0);
	fake_ecam_write(&board, pci->devfn, PCI_COMMAND, MEMORY, 2);
	base = fake_ecam_read(&board, pci->devfn, PCI_BASE_ADDRESS_4, 8) & ~0xfULL;
	ck_assert_uint_eq(fake_ecam_read(&board, pci->devfn, msix + PCI_MSIX_FLAGS, 2), 255);
	bus_write(&board.memory, base + table + 255 * 16 + 8, 0x1234, 4);
	ck_assert_uint_eq(bus_read(&board.memory, base + table + 255 * 16 + 8, 4), 0x1234);
	bus_write(&board.memory, base + VIRTIO_PCI_COMMON_Q_SELECT, 254, 2);
	ck_assert_uint_eq(bus_read(&board.memory, base + VIRTIO_PCI_COMMON_Q_SIZE, 2),
			  FAKE_QUEUE_SIZE);
	bus_write(&board.memory, base + VIRTIO_PCI_COMMON_Q_MSIX, 255, 2);
	ck_assert_uint_eq(bus_read(&board.memory, base + VIRTIO_PCI_COMMON_Q_MSIX, 2), 255);
	ck_assert_uint_eq(bus_read(&board.memory, base + VIRTIO_PCI_COMMON_Q_NOFF, 2), 254);
	ck_assert_uint_le(255 * multiplier, 0x1000);
	bus_write(&board.memory, base + VIRTIO_PCI_COMMON_Q_SELECT, 255, 2);
	ck_assert_uint_eq(bus_read(&board.memory, base + VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	pci_host_detach(&board.host, pci);
	virtio_pci_destroy(p);
	virtio_device_destroy(&big);
}
END_TEST

/* --- A guest that does anything --- */

/* What must hold whatever a guest wrote. */
static void check_invariants(void)
{
	const struct pci_device *pci = virtio_pci_function(vp);
	uint16_t cmd = (uint16_t)config_read(PCI_COMMAND, 2);
	uint16_t control = (uint16_t)config_read(msix + PCI_MSIX_FLAGS, 2);
	bool sends = (control & PCI_MSIX_FLAGS_ENABLE) && !(control & PCI_MSIX_FLAGS_MASKALL) &&
		(cmd & MASTER);
	unsigned rings = 0, unmasked = 0, i;

	ck_assert(LINE == (status_bit() && !(cmd & PCI_COMMAND_INTX_DISABLE)));
	if (control & PCI_MSIX_FLAGS_ENABLE)
		ck_assert(!LINE);
	ck_assert(!pci->bar[4].mapped || (cmd & MEMORY));
	for (i = 0; i < FAKE_QUEUES; i++) {
		const struct virtio_queue *queue = &fake.virtio.queue[i];
		bool rung = virtio_queue_running(queue) && pci->bar[4].mapped && (cmd & MASTER);

		rings += rung;
		ck_assert(fake.owned[i] == (queue->state != QUEUE_STOPPED));
		if (rung)
			ck_assert(fake_doorbells_ring(&doorbells, pci->bar[4].addr + 0x3000 +
						      i * multiplier));
		kicks(i);
		ck_assert_uint_le(queue->config.size, FAKE_QUEUE_SIZE);
		ck_assert_uint_ge(queue->config.size, 1);
		ck_assert(queue->config.vector < VECTORS || queue->config.vector == NONE);
	}
	ck_assert_uint_eq(doorbells.attached, rings);
	if (!pci->bar[4].mapped)
		return;
	for (i = 0; i < VECTORS; i++) {
		uint64_t mask_at = pci->bar[4].addr + table + 16 * i + 12;

		unmasked += !(bus_read(&board.memory, mask_at, 4) & 1);
	}
	ck_assert_uint_eq(msi.attached, sends ? unmasked : 0);
}

static uint64_t random_value(uint32_t *seed)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 4, 7, INIT, INIT | FEATURES_OK, LIVE, LIVE, 0x7f, 0x8000, 0xc000,
		0xffff, UINT32_MAX, UINT64_MAX, FAKE_WINDOW32, FAKE_WINDOW64, FAKE_ECAM,
		FAKE_RAM_AT, FAKE_RAM_AT + 0x1000, MEMORY | MASTER, MEMORY | MASTER, 0x406,
	};

	if (fake_random(seed) % 8 == 0)
		return (uint64_t)fake_random(seed) << 32 | fake_random(seed);
	return values[fake_random(seed) % array_size(values)];
}

static void random_access(uint32_t *seed)
{
	static const unsigned regs[] = { PCI_COMMAND, PCI_BASE_ADDRESS_4, PCI_BASE_ADDRESS_5 };
	const struct pci_device *pci = virtio_pci_function(vp);
	unsigned len = 1u << fake_random(seed) % 4;
	unsigned reg = fake_random(seed) % 0xb0;
	uint64_t at = (fake_random(seed) % 7) << 12 | (fake_random(seed) % 0x44);
	uint64_t value = random_value(seed);

	switch (fake_random(seed) % 8) {
	case 0:
		reg = fake_random(seed) % 2 ? regs[fake_random(seed) % 3] :
			where[VIRTIO_PCI_CAP_PCI_CFG] + 4 * (fake_random(seed) % 6);
		config_write(reg, value, len);
		break;
	case 1:
		config_write(reg, value, len);
		break;
	case 2:
		config_read(reg, len);
		break;
	case 3:
		bus_read(&board.memory, pci->bar[4].addr + at, len);
		break;
	default:
		bus_write(&board.memory, pci->bar[4].addr + at, value, len);
	}
}

/* What threads and a driver that means it do. */
static void random_event(uint32_t *seed)
{
	unsigned i = fake_random(seed) % FAKE_QUEUES;

	switch (fake_random(seed) % 8) {
	case 0:
		if (fake.virtio.queue[i].state == QUEUE_STOPPING)
			fake_device_let_go(&fake, i);
		break;
	case 1:
		fake.slow_stop = !fake.slow_stop;
		break;
	case 2:
		if (fake.owned[i])
			virtio_queue_notify(&fake.virtio, i);
		break;
	case 3:
		virtio_notify_config(&fake.virtio);
		break;
	case 4:
		if (fake.owned[i] && fake_random(seed) % 8 == 0)
			virtio_device_broken(&fake.virtio, "as it pleases");
		break;
	case 5:
		doorbells.refuse = false;
		config_write(PCI_BASE_ADDRESS_4, FAKE_WINDOW32, 8);
		command(MEMORY | MASTER);
		break;
	default:
		if (get(STATUS) == 0 && virtio_pci_function(vp)->bar[4].mapped) {
			put(STATUS, INIT);
			put(GF_SELECT, 0);
			put(GF, 0);
			put(GF_SELECT, 1);
			put(GF, 1);
			put(STATUS, INIT | FEATURES_OK);
			queue_set_up(i);
			put(STATUS, LIVE);
		} else if (fake_random(seed) % 4 == 0) {
			put(STATUS, 0);
		}
	}
}

START_TEST(anything)
{
	uint32_t seed = (uint32_t)_i;
	unsigned step;

	for (step = 0; step < 50000; step++) {
		if (fake_random(&seed) % 8)
			random_access(&seed);
		else
			random_event(&seed);
		check_invariants();
		fake_msi_run(&msi);
	}
	/* It did get somewhere, and a driver that means well still gets there. */
	ck_assert_uint_gt(fake.starts[0], 50);
	fake.slow_stop = false;
	for (step = 0; step < FAKE_QUEUES; step++)
		if (fake.virtio.queue[step].state == QUEUE_STOPPING)
			fake_device_let_go(&fake, step);
	config_write(PCI_BASE_ADDRESS_4, FAKE_WINDOW32, 8);
	command(MEMORY | MASTER);
	put(STATUS, 0);
	put(GF, 0);
	bring_up();
	check_doorbells(true);
}
END_TEST

/* --- Interrupts from threads while the driver switches everything --- */

static bool busy;

static void *interrupts(void *opaque)
{
	(void)opaque;
	while (load_relaxed(&busy)) {
		virtio_queue_notify(&fake.virtio, 0);
		virtio_notify_config(&fake.virtio);
	}
	return NULL;
}

START_TEST(interrupts_during_everything)
{
	unsigned i, heard = 0;
	pthread_t thread;

	msix_on();
	bring_up();
	busy = true;
	probe_log_begin();
	ck_assert_int_eq(pthread_create(&thread, NULL, interrupts, NULL), 0);
	for (i = 0; i < 2000 || heard < 50; i++) {
		put(SELECT, 0);
		put(VECTOR, i % 4 ? i % 4 - 1 : NONE);
		put(CONFIG_VECTOR, i % 3);
		msix_control(i & 16 ? 0 : PCI_MSIX_FLAGS_ENABLE);
		command(MEMORY | MASTER | (i & 8 ? PCI_COMMAND_INTX_DISABLE : 0));
		heard += fake_msi_run(&msi) > 0;
		heard += isr() != 0;
		if (i % 64 == 63) {
			put(STATUS, 0);
			bring_up();
		}
	}
	store_relaxed(&busy, false);
	pthread_join(thread, NULL);
	probe_log_end();
	ck_assert_uint_gt(probe_log_count_of(PROBE_LOG_interrupt), heard);
	command(MEMORY | MASTER);
	msix_control(0);
	isr();
	ck_assert(!LINE);
	virtio_queue_notify(&fake.virtio, 0);
	ck_assert(LINE);
	ck_assert_uint_eq(isr(), ISR_QUEUE);
	ck_assert(!LINE);
}
END_TEST

/* Without a short-cut, all the same. */
START_TEST(without_doorbell_port)
{
	bring_up();
	kick(0);
	ck_assert_uint_eq(kicks(0), 1);
	config_write(PCI_BASE_ADDRESS_4, bar_at() + 0x100000, 8);
	kick(1);
	ck_assert_uint_eq(kicks(1), 1);
	ck_assert_uint_eq(doorbells.attaches, 0);
}
END_TEST

static void setup_exits(void)
{
	setup_with(NULL);
}

int main(void)
{
	Suite *suite = suite_create("virtio pci");
	TCase *tcase = tcase_create("pci");
	TCase *exits = tcase_create("no doorbells");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, identity);
	tcase_add_test(tcase, capabilities);
	tcase_add_test(tcase, capabilities_are_read_only);
	tcase_add_test(tcase, power_on);
	tcase_add_test(tcase, features);
	tcase_add_test(tcase, widths);
	tcase_add_test(tcase, queue_registers);
	tcase_add_test(tcase, missing_queues);
	tcase_add_test(tcase, enabled_queue_is_fixed);
	tcase_add_test(tcase, reset_forgets);
	tcase_add_test(tcase, slow_reset);
	tcase_add_test(tcase, queue_reset);
	tcase_add_test(tcase, queue_reset_and_vectors);
	tcase_add_test(tcase, queue_reset_and_pending_messages);
	tcase_add_test(tcase, queue_reset_that_is_none);
	tcase_add_test(tcase, device_config);
	tcase_add_test(tcase, rest_of_the_bar);
	tcase_add_test(tcase, kicks_by_exit);
	tcase_add_test(tcase, kicks_need_bus_master);
	tcase_add_test(tcase, kicks_with_data);
	tcase_add_test(tcase, doorbells_follow);
	tcase_add_test(tcase, doorbells_stay_during_sizing);
	tcase_add_test(tcase, doorbells_refused);
	tcase_add_test(tcase, intx);
	tcase_add_test(tcase, intx_disabled);
	tcase_add_test(tcase, intx_reset);
	tcase_add_test(tcase, vector_registers);
	tcase_add_test(tcase, messages);
	tcase_add_test(tcase, line_is_told);
	tcase_add_test(tcase, message_is_told);
	tcase_add_test(tcase, place_of_doorbells_is_told);
	tcase_add_test(tcase, isr_before_message);
	tcase_add_test(tcase, broken_device_tells);
	tcase_add_test(tcase, message_before_driver_ok);
	tcase_add_test(tcase, pending_messages);
	tcase_add_test(tcase, what_holds_interrupts);
	tcase_add_test(tcase, msix_switched);
	tcase_add_test(tcase, window_is_enough);
	tcase_add_test(tcase, window_reads_and_writes_its_width);
	tcase_add_test(tcase, window_to_nowhere);
	tcase_add_test(tcase, most_queues);
	tcase_add_loop_test(tcase, anything, 0, 2);
	tcase_add_test(tcase, interrupts_during_everything);
	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(exits, setup_exits, teardown);
	tcase_add_test(exits, without_doorbell_port);
	tcase_add_test(exits, place_of_doorbells_is_told);
	suite_add_tcase(suite, exits);
	return unit_run(suite);
}
