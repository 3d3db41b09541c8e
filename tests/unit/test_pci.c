// SPDX-License-Identifier: BSD-2-Clause
/* PCI functions (hw/pci.c) behind a host bridge (hw/pci_host.c). */
#include "hw/pci_host.h"

#include <errno.h>
#include <string.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/fakes.h"
#include "tests/unit/unit.h"

#define BAR0_SIZE 0x4000 /* takes registers 0 and 1 */
#define BAR2_SIZE 0x1000
#define BAR0 PCI_BASE_ADDRESS_0
#define BAR2 PCI_BASE_ADDRESS_2
#define BAR_FLAGS 0xcULL /* memory, 64 bits, prefetchable */
#define MEMORY PCI_COMMAND_MEMORY
#define MASTER PCI_COMMAND_MASTER

/* A function whose BARs say whose they are. */
struct probe {
	struct pci_device pci;
	unsigned tag;
	bool pending; /* atomic: wants its line high */
	unsigned writes, config_writes;
	uint64_t offset, value;
};

static struct fake_board board;
static struct probe a, b;

static uint64_t answer(const struct probe *probe, unsigned bar, uint64_t offset)
{
	return (uint64_t)probe->tag << 24 | bar << 20 | offset;
}

static uint64_t bar_read(struct pci_device *pci, unsigned bar, uint64_t offset, unsigned len)
{
	(void)len;
	return answer(container_of(pci, struct probe, pci), bar, offset);
}

static void bar_write(struct pci_device *pci, unsigned bar, uint64_t offset, uint64_t value,
		      unsigned len)
{
	struct probe *probe = container_of(pci, struct probe, pci);

	ck_assert_uint_le(offset + len, pci->bar[bar].size);
	probe->writes++;
	probe->offset = offset;
	probe->value = value;
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned len)
{
	ck_assert_uint_le(offset + len, PCI_CONFIG_LENGTH);
	container_of(pci, struct probe, pci)->config_writes++;
}

static bool intx_pending(struct pci_device *pci)
{
	return load_relaxed(&container_of(pci, struct probe, pci)->pending);
}

static const struct pci_device_ops probe_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.config_written = config_written,
	.intx_pending = intx_pending,
};

static const struct pci_device_ops quiet_ops = { .bar_read = bar_read, .bar_write = bar_write };

static void probe_init(struct probe *probe, unsigned tag)
{
	static const struct pci_ids ids = {
		.vendor = 0x1234, .device = 0x5678, .subsystem_vendor = 0x9abc,
		.subsystem = 0xdef0, .revision = 0x42, .class = 0x018000,
	};

	memset(probe, 0, sizeof(*probe));
	probe->tag = tag;
	pci_device_init(&probe->pci, &probe_ops, &ids);
}

/* With two BARs and a capability, on the bus. */
static void probe_attach(struct probe *probe, unsigned tag)
{
	const uint8_t body[7] = { 0, 0, 7, 0x11, 0x22, 0x33, 0x44 };
	const uint8_t writable[7] = { 0, 0, 0, 0xff, 0x0f, 0, 0x80 };

	probe_init(probe, tag);
	pci_device_add_memory_bar(&probe->pci, 0, BAR0_SIZE);
	pci_device_add_memory_bar(&probe->pci, 2, BAR2_SIZE);
	pci_device_add_capability(&probe->pci, PCI_CAP_ID_VNDR, body, writable, sizeof(body));
	ck_assert_int_eq(pci_host_attach(&board.host, &probe->pci), 0);
}

static void setup(void)
{
	fake_board_init(&board);
	probe_attach(&a, 0xa);
	probe_attach(&b, 0xb);
}

static void probe_remove(struct probe *probe)
{
	pci_host_detach(&board.host, &probe->pci);
	pci_device_destroy(&probe->pci);
}

static void teardown(void)
{
	probe_remove(&b);
	probe_remove(&a);
	fake_board_destroy(&board);
}

static uint64_t in(const struct probe *probe, unsigned reg, unsigned len)
{
	return fake_ecam_read(&board, probe->pci.devfn, reg, len);
}

static void out(const struct probe *probe, unsigned reg, uint64_t value, unsigned len)
{
	fake_ecam_write(&board, probe->pci.devfn, reg, value, len);
}

static uint64_t bar_at(const struct probe *probe, unsigned reg)
{
	return in(probe, reg, 8) & ~0xfULL;
}

/* Does BAR @bar of @probe, all @size bytes of it, answer at @addr? */
static bool answers(const struct probe *probe, unsigned bar, uint64_t addr, uint64_t size)
{
	return bus_read(&board.memory, addr, 4) == answer(probe, bar, 0) &&
		bus_read(&board.memory, addr + size - 4, 4) == answer(probe, bar, size - 4);
}

static bool nobody_at(uint64_t addr)
{
	return bus_read(&board.memory, addr, 4) == UINT32_MAX;
}

/* --- One function's registers --- */

/* Rows: PCI-01 */
START_TEST(header)
{
	ck_assert_uint_eq(in(&a, PCI_VENDOR_ID, 4), 0x56781234);
	ck_assert_uint_eq(in(&a, PCI_COMMAND, 4), PCI_STATUS_CAP_LIST << 16);
	ck_assert_uint_eq(in(&a, PCI_CLASS_REVISION, 4), 0x01800042);
	ck_assert_uint_eq(in(&a, PCI_CACHE_LINE_SIZE, 4), 0);
	ck_assert_uint_eq(in(&a, PCI_SUBSYSTEM_VENDOR_ID, 4), 0xdef09abc);
	ck_assert_uint_eq(in(&a, PCI_ROM_ADDRESS, 4), 0);
	ck_assert_uint_eq(in(&a, PCI_BASE_ADDRESS_4, 8), 0);
	ck_assert_uint_eq(in(&a, PCI_CAPABILITY_LIST, 1), 0x40);
	ck_assert_uint_eq(in(&a, PCI_INTERRUPT_PIN, 1), 1);
	ck_assert_uint_eq(in(&a, 0x40, 8) & bytes_mask(7), 0x44332211070009);
}
END_TEST

/* Of the registers of a and b, the bits that software may change. */
static uint8_t writable_bits(unsigned offset)
{
	static const uint8_t bits[PCI_CONFIG_LENGTH] = {
		[PCI_COMMAND] = MEMORY | MASTER, [PCI_COMMAND + 1] = 0x04,
		[PCI_CACHE_LINE_SIZE] = 0xff, [PCI_INTERRUPT_LINE] = 0xff,
		[BAR0 + 1] = 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		[BAR2 + 1] = 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		[0x43] = 0xff, 0x0f, 0, 0x80,
	};

	return bits[offset];
}

/* Rows: PCI-01 */
START_TEST(write_mask)
{
	static const unsigned widths[] = { 1, 2, 4, 8, 3, 7 };
	unsigned len = widths[_i], at, i;

	for (at = 0; at + len <= PCI_CONFIG_LENGTH; at++) {
		uint64_t before = in(&a, at, len), mask = 0;

		for (i = 0; i < len; i++)
			mask |= (uint64_t)writable_bits(at + i) << (8 * i);
		out(&a, at, UINT64_MAX, len);
		ck_assert_uint_eq(in(&a, at, len), before | mask);
		out(&a, at, 0, len);
		ck_assert_uint_eq(in(&a, at, len), before & ~mask);
		out(&a, at, before, len);
		ck_assert_uint_eq(in(&a, at, len), before);
	}
	ck_assert_uint_gt(a.config_writes, 3 * 200);
	ck_assert_uint_eq(b.config_writes, 0);
}
END_TEST

/* Rows: PCI-01 */
START_TEST(capability_chain)
{
	static const struct pci_ids ids = { .vendor = 1 };
	const uint8_t body[5] = { 0x77, 0x77, 1, 2, 3 };
	const uint8_t ones[5] = { 0, 0, 0xff, 0, 0 };
	struct pci_device dev;

	pci_device_init(&dev, &quiet_ops, &ids);
	ck_assert_uint_eq(dev.config[PCI_STATUS] & PCI_STATUS_CAP_LIST, 0);
	ck_assert_uint_eq(pci_device_add_capability(&dev, 0x11, body, NULL, 5), 0x40);
	ck_assert_uint_eq(pci_device_add_capability(&dev, 0x09, body, ones, 4), 0x48);
	ck_assert_uint_eq(pci_device_add_capability(&dev, 0x05, body, NULL, 5), 0x4c);
	ck_assert_uint_eq(dev.config[PCI_STATUS] & PCI_STATUS_CAP_LIST, PCI_STATUS_CAP_LIST);
	ck_assert_uint_eq(dev.config[PCI_CAPABILITY_LIST], 0x40);
	ck_assert_mem_eq(&dev.config[0x40], ((uint8_t[]){ 0x11, 0x48, 1, 2, 3, 0, 0, 0 }), 8);
	ck_assert_mem_eq(&dev.config[0x48], ((uint8_t[]){ 0x09, 0x4c, 1, 2 }), 4);
	ck_assert_mem_eq(&dev.config[0x4c], ((uint8_t[]){ 0x05, 0, 1, 2, 3 }), 5);
	ck_assert_uint_eq(dev.writable[0x42], 0);
	ck_assert_uint_eq(dev.writable[0x4a], 0xff);
	/* Nothing asks for an interrupt here. */
	ck_assert_uint_eq(dev.config[PCI_INTERRUPT_PIN], 0);
	ck_assert_uint_eq(dev.writable[PCI_INTERRUPT_LINE], 0);
	pci_device_destroy(&dev);
}
END_TEST

/* --- BARs --- */

/* Rows: PCI-37 */
START_TEST(firmware_leaves_decoding_off)
{
	ck_assert_uint_eq(in(&a, BAR0, 8) & 0xf, BAR_FLAGS);
	ck_assert(nobody_at(bar_at(&a, BAR0)));
	ck_assert(nobody_at(bar_at(&b, BAR2)));
	out(&a, PCI_COMMAND, PCI_COMMAND_IO, 2); /* there is none */
	ck_assert_uint_eq(in(&a, PCI_COMMAND, 2), 0);
	ck_assert(nobody_at(bar_at(&a, BAR0)));
	out(&a, PCI_COMMAND, MEMORY, 2);
	ck_assert(answers(&a, 0, bar_at(&a, BAR0), BAR0_SIZE));
	ck_assert(answers(&a, 2, bar_at(&a, BAR2), BAR2_SIZE));
	ck_assert(nobody_at(bar_at(&b, BAR0)));
	out(&a, PCI_COMMAND, MASTER, 1);
	ck_assert(nobody_at(bar_at(&a, BAR0)));
	ck_assert(nobody_at(bar_at(&a, BAR2)));
	out(&a, PCI_COMMAND, MEMORY, 1);
	ck_assert(answers(&a, 2, bar_at(&a, BAR2), BAR2_SIZE));
}
END_TEST

START_TEST(access_through_bar)
{
	uint64_t at = bar_at(&a, BAR0);

	out(&a, PCI_COMMAND, MEMORY, 2);
	bus_write(&board.memory, at + 0x123, 0x1122334455667788, 4);
	ck_assert_uint_eq(a.offset, 0x123);
	ck_assert_uint_eq(a.value, 0x55667788);
	bus_write(&board.memory, at + BAR0_SIZE - 4, 0, 8); /* over the end */
	bus_write(&board.memory, at - 4, 0, 8);
	ck_assert_uint_eq(a.writes, 1);
}
END_TEST

/* The size as software finds it, in steps of one register. */
static uint64_t sized(const struct probe *probe, unsigned reg)
{
	uint64_t low = in(probe, reg, 4), high = in(probe, reg + 4, 4), size;

	out(probe, reg, UINT32_MAX, 4);
	size = in(probe, reg, 4);
	out(probe, reg, low, 4);
	out(probe, reg + 4, UINT32_MAX, 4);
	size |= in(probe, reg + 4, 4) << 32;
	out(probe, reg + 4, high, 4);
	return ~(size & ~0xfULL) + 1;
}

/* With decoding off and on, below and above 4 GiB. */
/* Rows: PCI-01 */
START_TEST(sizing)
{
	uint64_t base = _i & 2 ? FAKE_WINDOW64 : FAKE_WINDOW32;

	out(&a, BAR0, base + 0x100000, 8);
	out(&a, BAR2, base + 0x200000, 8);
	out(&a, PCI_COMMAND, _i & 1 ? MEMORY : 0, 2);
	ck_assert_uint_eq(sized(&a, BAR0), BAR0_SIZE);
	ck_assert_uint_eq(sized(&a, BAR2), BAR2_SIZE);
	out(&a, BAR0, UINT64_MAX, 8);
	ck_assert_uint_eq(in(&a, BAR0, 8), (uint64_t)-BAR0_SIZE | BAR_FLAGS);
	out(&a, BAR0, base + 0x100000, 8);
	/* Registers that are no BARs. */
	out(&a, PCI_BASE_ADDRESS_4, UINT64_MAX, 8);
	ck_assert_uint_eq(in(&a, PCI_BASE_ADDRESS_4, 8), 0);
	out(&a, PCI_ROM_ADDRESS, UINT64_MAX, 4);
	ck_assert_uint_eq(in(&a, PCI_ROM_ADDRESS, 4), 0);

	out(&a, PCI_COMMAND, MEMORY, 2);
	ck_assert(answers(&a, 0, base + 0x100000, BAR0_SIZE));
	ck_assert(answers(&a, 2, base + 0x200000, BAR2_SIZE));
}
END_TEST

/* Each step of a sizing scan leaves a decoding BAR where it is. */
/* Rows: PCI-01 */
START_TEST(sizing_while_decoding)
{
	uint64_t at = FAKE_WINDOW64 + 0x400000;

	out(&a, BAR0, at, 8);
	out(&a, PCI_COMMAND, MEMORY, 2);
	out(&a, BAR0, UINT32_MAX, 4);
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
	out(&a, BAR0, (uint32_t)at, 4);
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
	out(&a, BAR0 + 4, UINT32_MAX, 4);
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
	out(&a, BAR0, UINT32_MAX, 4);
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
	/* Decoding goes off in the middle of it. */
	out(&a, PCI_COMMAND, 0, 2);
	ck_assert(nobody_at(at));
	out(&a, BAR0, at, 8);
	ck_assert(nobody_at(at));
	out(&a, PCI_COMMAND, MEMORY, 2);
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
}
END_TEST

START_TEST(moves)
{
	uint64_t old = bar_at(&a, BAR0), other = bar_at(&a, BAR2);
	uint64_t low = FAKE_WINDOW32 + 0x800000, high = (5ULL << 32) + 0x800000;

	out(&a, PCI_COMMAND, MEMORY, 2);
	out(&a, BAR0, low, 4);
	ck_assert(nobody_at(old));
	ck_assert(answers(&a, 0, low, BAR0_SIZE));
	out(&a, BAR0 + 4, 5, 4);
	ck_assert(nobody_at(low));
	ck_assert(answers(&a, 0, low + (5ULL << 32), BAR0_SIZE));
	out(&a, BAR0, high | 0x3fff, 8); /* the low bits are not there */
	ck_assert_uint_eq(in(&a, BAR0, 8), high | BAR_FLAGS);
	ck_assert(answers(&a, 0, high, BAR0_SIZE));
	ck_assert(nobody_at(high + BAR0_SIZE));
	out(&a, BAR0 + 4, 0, 1);
	ck_assert(answers(&a, 0, 0x800000, BAR0_SIZE));
	ck_assert(answers(&a, 2, other, BAR2_SIZE));
	/* A move with decoding off counts when it goes on. */
	out(&a, PCI_COMMAND, 0, 2);
	out(&a, BAR0, old, 8);
	ck_assert(nobody_at(old));
	out(&a, PCI_COMMAND, MEMORY, 2);
	ck_assert(answers(&a, 0, old, BAR0_SIZE));
	ck_assert(nobody_at(0x800000));
}
END_TEST

/* The last places below a multiple of 4 GiB look like a BAR being sized. */
START_TEST(place_with_all_ones)
{
	uint64_t at[] = { (2ULL << 32) - BAR0_SIZE, UINT64_MAX << 32, (uint64_t)-BAR0_SIZE };
	unsigned i;

	for (i = 0; i < array_size(at); i++) {
		out(&a, PCI_COMMAND, 0, 2);
		out(&a, BAR0, at[i], 8);
		out(&a, PCI_COMMAND, MEMORY, 2);
		ck_assert(answers(&a, 0, at[i], BAR0_SIZE));
	}
}
END_TEST

START_TEST(address_zero)
{
	out(&a, PCI_COMMAND, MEMORY, 2);
	out(&a, BAR0, 0, 8);
	ck_assert(answers(&a, 0, 0, BAR0_SIZE));
	out(&a, BAR0, FAKE_WINDOW32, 8);
	ck_assert(nobody_at(0));
}
END_TEST

START_TEST(overlap_with_other_function)
{
	uint64_t at = bar_at(&a, BAR0), old = bar_at(&b, BAR2);

	out(&a, PCI_COMMAND, MEMORY, 2);
	out(&b, PCI_COMMAND, MEMORY, 2);
	out(&b, BAR2, at + 0x1000, 8);
	ck_assert(nobody_at(old));
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
	ck_assert_uint_eq(bar_at(&b, BAR2), at + 0x1000);
	/* Still so after other writes, and after decoding went off and on. */
	out(&b, PCI_CACHE_LINE_SIZE, 0x10, 1);
	out(&b, PCI_COMMAND, 0, 2);
	out(&b, PCI_COMMAND, MEMORY, 2);
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
	ck_assert(nobody_at(old));
	/* Neither may it take the place away when it goes. */
	out(&b, BAR2, old, 8);
	ck_assert(answers(&b, 2, old, BAR2_SIZE));
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
}
END_TEST

START_TEST(overlap_with_itself)
{
	uint64_t at = bar_at(&a, BAR0), at2 = bar_at(&a, BAR2);

	out(&a, PCI_COMMAND, MEMORY, 2);
	out(&a, BAR2, at + 0x2000, 8);
	ck_assert(answers(&a, 0, at, BAR0_SIZE));
	ck_assert(nobody_at(at2));
	out(&a, BAR0, FAKE_WINDOW64, 8);
	out(&a, BAR2, at + 0x2000, 8);
	ck_assert(answers(&a, 0, FAKE_WINDOW64, BAR0_SIZE));
	ck_assert(answers(&a, 2, at + 0x2000, BAR2_SIZE));
}
END_TEST

START_TEST(overlap_with_board)
{
	const struct bus_region apic = { .base = 0xfec00000, .len = 0x1000 };

	ck_assert_int_eq(bus_add(&board.memory, &apic), 0);
	out(&a, PCI_COMMAND, MEMORY, 2);
	out(&a, BAR0, FAKE_ECAM, 8);
	ck_assert_uint_eq(in(&a, PCI_VENDOR_ID, 2), 0x1234);
	out(&a, BAR0, apic.base, 8);
	ck_assert(nobody_at(apic.base));
	ck_assert(nobody_at(apic.base + 0x2000)); /* not even its free part */
	out(&a, BAR0, FAKE_WINDOW64, 8);
	ck_assert(answers(&a, 0, FAKE_WINDOW64, BAR0_SIZE));
	ck_assert_uint_eq(in(&b, PCI_VENDOR_ID, 2), 0x1234);
}
END_TEST

/* --- BARs of I/O ports: a third function, with a memory BAR beside --- */

#define PORTS 0x80

static struct probe c;

static void io_setup(void)
{
	fake_board_init(&board);
	probe_init(&c, 0xc);
	pci_device_add_io_bar(&c.pci, 0, PORTS);
	pci_device_add_memory_bar(&c.pci, 2, BAR2_SIZE);
	ck_assert_int_eq(pci_host_attach(&board.host, &c.pci), 0);
}

static void io_teardown(void)
{
	probe_remove(&c);
	fake_board_destroy(&board);
}

static uint32_t ports_at(void)
{
	return (uint32_t)in(&c, BAR0, 4) & ~3u;
}

/* Do the ports, all of them, answer at @port? */
static bool ports_answer(uint64_t port)
{
	return bus_read(&board.io, port, 4) == answer(&c, 0, 0) &&
		bus_read(&board.io, port + PORTS - 4, 4) == answer(&c, 0, PORTS - 4);
}

static bool no_ports_at(uint64_t port)
{
	return bus_read(&board.io, port, 4) == UINT32_MAX;
}

/* Rows: PCI-01, PCI-37 */
START_TEST(io_decode)
{
	uint32_t port = ports_at();

	ck_assert_uint_eq(in(&c, BAR0, 4), FAKE_WINDOW_IO | PCI_BASE_ADDRESS_SPACE_IO);
	ck_assert_uint_eq(in(&c, BAR0 + 4, 4), 0); /* it takes one register */
	ck_assert(no_ports_at(port));
	out(&c, PCI_COMMAND, MEMORY, 2);
	ck_assert(no_ports_at(port));
	ck_assert(answers(&c, 2, bar_at(&c, BAR2), BAR2_SIZE));
	out(&c, PCI_COMMAND, PCI_COMMAND_IO, 2);
	ck_assert_uint_eq(in(&c, PCI_COMMAND, 2), PCI_COMMAND_IO);
	ck_assert(ports_answer(port));
	ck_assert(no_ports_at(port + PORTS));
	ck_assert(nobody_at(port)); /* of memory */
	ck_assert(nobody_at(bar_at(&c, BAR2)));
	bus_write(&board.io, port + 18, 0x5a, 1);
	ck_assert_uint_eq(c.offset, 18);
	ck_assert_uint_eq(c.value, 0x5a);
	out(&c, PCI_COMMAND, 0, 2);
	ck_assert(no_ports_at(port));
}
END_TEST

/* Rows: PCI-01 */
START_TEST(io_sizing)
{
	uint32_t port = ports_at();

	out(&c, PCI_COMMAND, _i ? PCI_COMMAND_IO : 0, 2);
	out(&c, BAR0, UINT32_MAX, 4);
	ck_assert_uint_eq(in(&c, BAR0, 4), (uint32_t)-PORTS | PCI_BASE_ADDRESS_SPACE_IO);
	ck_assert(_i ? ports_answer(port) : no_ports_at(port));
	out(&c, BAR0, 0, 4);
	ck_assert_uint_eq(in(&c, BAR0, 4), PCI_BASE_ADDRESS_SPACE_IO);
	out(&c, BAR0, port, 4);
	out(&c, PCI_COMMAND, PCI_COMMAND_IO, 2);
	ck_assert(ports_answer(port));
}
END_TEST

/* Rows: PCI-01 */
START_TEST(io_moves)
{
	uint32_t port = ports_at();

	out(&c, PCI_COMMAND, PCI_COMMAND_IO | MEMORY, 2);
	out(&c, BAR0, 0x1000, 4);
	ck_assert(ports_answer(0x1000));
	ck_assert(no_ports_at(port));
	ck_assert(answers(&c, 2, bar_at(&c, BAR2), BAR2_SIZE));
	/* Onto ports that are taken: they stay whose they are. */
	out(&c, BAR0, 0xc80, 4);
	ck_assert(no_ports_at(0x1000));
	ck_assert(no_ports_at(0xc80));
	ck_assert_uint_eq(fake_port_read(&board, c.pci.devfn, PCI_VENDOR_ID, 2), 0x1234);
	fake_port_write(&board, c.pci.devfn, BAR0, 0xff80, 4);
	ck_assert(ports_answer(0xff80));
}
END_TEST

START_TEST(io_window_full)
{
	const unsigned room = FAKE_PORTS / PORTS; /* the first is taken */
	struct probe more[FAKE_PORTS / PORTS];

	for (unsigned i = 0; i < room; i++) {
		probe_init(&more[i], i);
		pci_device_add_io_bar(&more[i].pci, 0, PORTS);
		ck_assert_int_eq(pci_host_attach(&board.host, &more[i].pci),
				 i + 1 < room ? 0 : -ENOSPC);
	}
	ck_assert_uint_eq(in(&more[room - 2], BAR0, 4) & ~3u, FAKE_WINDOW_IO + FAKE_PORTS - PORTS);
	for (unsigned i = 0; i + 1 < room; i++)
		probe_remove(&more[i]);
	pci_device_destroy(&more[room - 1].pci);
}
END_TEST

/* --- Interrupt pins and lines --- */

static void pend(struct probe *probe, bool pending)
{
	store_relaxed(&probe->pending, pending);
	irq_source_update(&probe->pci.intx);
}

/* Rows: ISR-06, ISR-07, ISR-08 */
START_TEST(intx)
{
	/* Slot 1, pin A; see pci_host_config. */
	ck_assert_uint_eq(in(&a, PCI_INTERRUPT_LINE, 1), FAKE_GSI + 1);
	ck_assert_uint_eq(in(&b, PCI_INTERRUPT_LINE, 1), FAKE_GSI + 2);
	pend(&a, true);
	ck_assert(board.lines.level[1]);
	ck_assert(!board.lines.level[2]);
	ck_assert_uint_eq(in(&a, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	ck_assert_uint_eq(in(&b, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 0);
	out(&a, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2);
	ck_assert(!board.lines.level[1]);
	ck_assert_uint_eq(in(&a, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	out(&a, PCI_COMMAND, 0, 2);
	ck_assert(board.lines.level[1]);
	out(&a, PCI_INTERRUPT_LINE, 99, 1); /* software's note: it routes nothing */
	ck_assert_uint_eq(in(&a, PCI_INTERRUPT_LINE, 1), 99);
	pend(&a, false);
	ck_assert(!board.lines.level[1]);
	ck_assert_uint_eq(in(&a, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 0);
	/* Disabled first, then pending. */
	out(&a, PCI_COMMAND + 1, PCI_COMMAND_INTX_DISABLE >> 8, 1);
	pend(&a, true);
	ck_assert(!board.lines.level[1]);
	out(&a, PCI_COMMAND + 1, 0, 1);
	ck_assert(board.lines.level[1]);
}
END_TEST

/* --- The host bridge --- */

START_TEST(bridge)
{
	unsigned function;

	ck_assert_uint_eq(fake_ecam_read(&board, 0, PCI_CLASS_DEVICE, 2), 0x0600);
	ck_assert_uint_eq(fake_ecam_read(&board, 0, PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(fake_ecam_read(&board, 0, PCI_INTERRUPT_PIN, 1), 0);
	fake_ecam_write(&board, 0, PCI_BASE_ADDRESS_0, UINT64_MAX, 8);
	fake_ecam_write(&board, 0, PCI_COMMAND, 0xffff, 2);
	ck_assert_uint_eq(fake_ecam_read(&board, 0, PCI_BASE_ADDRESS_0, 8), 0);
	ck_assert(nobody_at(0));
	for (function = 1; function < 8; function++)
		ck_assert_uint_eq(fake_ecam_read(&board, function, 0, 4), UINT32_MAX);
}
END_TEST

START_TEST(address_port)
{
	unsigned len, at;

	bus_write(&board.io, 0xcf8, UINT32_MAX, 4);
	ck_assert_uint_eq(bus_read(&board.io, 0xcf8, 4), 0x80fffffc);
	bus_write(&board.io, 0xcf8, 0x80000000, 4);
	ck_assert_uint_eq(bus_read(&board.io, 0xcf8, 4), 0x80000000);
	/* Other widths and places are not this register. */
	for (len = 1; len <= 8; len++) {
		for (at = 0xcf8; at < 0xcfc; at++) {
			if (len == 4 && at == 0xcf8)
				continue;
			bus_write(&board.io, at, 0x80000844, len);
			ck_assert_uint_eq(bus_read(&board.io, at, len), bytes_mask(len));
		}
	}
	ck_assert_uint_eq(bus_read(&board.io, 0xcf8, 4), 0x80000000);
}
END_TEST

START_TEST(data_port)
{
	/* The enable bit, and a bus that is not there. */
	bus_write(&board.io, 0xcf8, 0x00000800, 4);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfc, 4), UINT32_MAX);
	bus_write(&board.io, 0xcfc, 0xff, 1);
	bus_write(&board.io, 0xcf8, 0x80010800, 4);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfc, 4), UINT32_MAX);
	bus_write(&board.io, 0xcfc, 0xff, 1);
	bus_write(&board.io, 0xcf8, 0x80ff0800, 4);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfc, 4), UINT32_MAX);
	ck_assert_uint_eq(a.config_writes, 0);
	/* Bytes and words inside the double word; not over its end. */
	bus_write(&board.io, 0xcf8, 0x80000800, 4);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfc, 4), 0x56781234);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfd, 1), 0x12);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfe, 2), 0x5678);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfd, 2), 0x7812);
	ck_assert_uint_eq(bus_read(&board.io, 0xcff, 2), 0xffff);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfe, 4), UINT32_MAX);
	ck_assert_uint_eq(bus_read(&board.io, 0xcfc, 8), UINT64_MAX);
	fake_port_write(&board, a.pci.devfn, PCI_CACHE_LINE_SIZE, 0x40, 1);
	ck_assert_uint_eq(in(&a, PCI_CACHE_LINE_SIZE, 4), 0x40);
	fake_port_write(&board, a.pci.devfn, PCI_COMMAND, MEMORY, 2);
	ck_assert(answers(&a, 0, bar_at(&a, BAR0), BAR0_SIZE));
}
END_TEST

START_TEST(ports_equal_ecam)
{
	unsigned devfn, reg, len;

	for (devfn = 0; devfn < 256; devfn++) {
		for (reg = 0; reg < PCI_CONFIG_LENGTH; reg++) {
			for (len = 1; len <= 4 - reg % 4; len++)
				ck_assert_uint_eq(fake_port_read(&board, devfn, reg, len),
						  fake_ecam_read(&board, devfn, reg, len));
		}
	}
}
END_TEST

START_TEST(ecam_ends)
{
	unsigned reg;

	/* 256 bytes are there; not the extended space of PCI Express. */
	ck_assert_uint_eq(in(&a, 0xfc, 4), 0);
	ck_assert_uint_eq(in(&a, 0xf8, 8), 0);
	ck_assert_uint_eq(in(&a, 0xfd, 4), UINT32_MAX);
	ck_assert_uint_eq(in(&a, 0xfc, 8), UINT64_MAX);
	for (reg = 0x100; reg < 0x1000; reg += 4)
		ck_assert_uint_eq(in(&a, reg, 4), UINT32_MAX);
	ck_assert_uint_eq(in(&a, 0xffc, 8), UINT64_MAX); /* into the next function */
	ck_assert_uint_eq(bus_read(&board.memory, FAKE_ECAM + PCI_HOST_ECAM_LENGTH - 4, 8),
			  UINT64_MAX);
	ck_assert_uint_eq(bus_read(&board.memory, FAKE_ECAM - 4, 8), UINT64_MAX);
	out(&a, 0xfd, 0, 4);
	out(&a, 0x104, 0, 4);
	ck_assert_uint_eq(a.config_writes, 0);
}
END_TEST

/* --- Places and windows --- */

#define PLACES (31 * 8)

static struct probe many[PLACES + 1];

/* Attach functions until @count are there, a and b among them. */
static void crowd(unsigned count)
{
	unsigned i;

	for (i = 2; i < count; i++)
		probe_attach(&many[i], i);
}

static void crowd_leaves(unsigned count)
{
	while (count > 2)
		probe_remove(&many[--count]);
}

START_TEST(forty_functions)
{
	uint64_t end = FAKE_WINDOW32;
	unsigned i;

	crowd(40);
	for (i = 2; i < 40; i++) {
		const struct probe *p = &many[i];
		unsigned slot = 1 + i % 31, function = i / 31;

		ck_assert_uint_eq(p->pci.devfn, slot << 3 | function);
		ck_assert_uint_eq(in(p, PCI_VENDOR_ID, 4), 0x56781234);
		ck_assert_uint_eq(in(p, PCI_INTERRUPT_LINE, 1), FAKE_GSI + slot % 8);
		ck_assert_uint_eq(in(p, PCI_INTERRUPT_PIN, 1), 1);
		/* Only functions 0 with others in their slot say so: 31 to 39 are such. */
		ck_assert_uint_eq(in(p, PCI_HEADER_TYPE, 1), i < 40 - 31 ? 0x80 : 0);
		ck_assert_uint_eq(fake_port_read(&board, p->pci.devfn, 0, 4), 0x56781234);

		ck_assert_uint_eq(bar_at(p, BAR0) % BAR0_SIZE, 0);
		ck_assert_uint_eq(bar_at(p, BAR2) % BAR2_SIZE, 0);
		ck_assert_uint_ge(bar_at(p, BAR0), end);
		ck_assert_uint_ge(bar_at(p, BAR2), bar_at(p, BAR0) + BAR0_SIZE);
		end = bar_at(p, BAR2) + BAR2_SIZE;
		ck_assert_uint_le(end, FAKE_WINDOW32 + FAKE_WINDOW);
		out(p, PCI_COMMAND, MEMORY, 2);
	}
	for (i = 2; i < 40; i++) {
		ck_assert(answers(&many[i], 0, bar_at(&many[i], BAR0), BAR0_SIZE));
		ck_assert(answers(&many[i], 2, bar_at(&many[i], BAR2), BAR2_SIZE));
	}
	/* Slots 3 and 11 share a line. */
	pend(&many[2], true);
	pend(&many[10], true);
	pend(&many[2], false);
	ck_assert(board.lines.level[3]);
	pend(&many[10], false);
	ck_assert(!board.lines.level[3]);
	crowd_leaves(40);
}
END_TEST

START_TEST(bus_is_full)
{
	struct probe *last = &many[PLACES];

	crowd(PLACES);
	ck_assert_uint_eq(many[PLACES - 1].pci.devfn, 0xff);
	probe_init(last, PLACES);
	ck_assert_int_eq(pci_host_attach(&board.host, &last->pci), -ENOSPC);
	ck_assert_uint_eq(fake_ecam_read(&board, 0, PCI_CLASS_DEVICE, 2), 0x0600);
	/* A place that becomes free is taken again. */
	probe_remove(&many[100]);
	ck_assert_uint_eq(in(&many[100], 0, 4), UINT32_MAX);
	ck_assert_int_eq(pci_host_attach(&board.host, &last->pci), 0);
	ck_assert_uint_eq(last->pci.devfn, many[100].pci.devfn);
	ck_assert_uint_eq(in(last, 0, 4), 0x56781234);
	probe_remove(last);
	probe_attach(&many[100], 100);
	crowd_leaves(PLACES);
}
END_TEST

START_TEST(removed_while_decoding)
{
	uint64_t at = bar_at(&b, BAR0);

	out(&b, PCI_COMMAND, MEMORY, 2);
	ck_assert(answers(&b, 0, at, BAR0_SIZE));
	probe_remove(&b);
	ck_assert(nobody_at(at));
	ck_assert_uint_eq(in(&b, 0, 4), UINT32_MAX);
	probe_attach(&b, 0xb);
	ck_assert_uint_eq(b.pci.devfn, 2 << 3);
}
END_TEST

START_TEST(windows)
{
	static const uint64_t size[] = { FAKE_WINDOW, FAKE_WINDOW / 2, FAKE_WINDOW / 2 };
	struct probe big[4];
	unsigned i;

	/* The first fits only above 4 GiB, since a and b are below. */
	for (i = 0; i < 3; i++) {
		probe_init(&big[i], i);
		pci_device_add_memory_bar(&big[i].pci, 4, size[i]);
		if (i < 2)
			ck_assert_int_eq(pci_host_attach(&board.host, &big[i].pci), 0);
	}
	ck_assert_uint_eq(bar_at(&big[0], PCI_BASE_ADDRESS_4), FAKE_WINDOW64);
	ck_assert_uint_eq(bar_at(&big[1], PCI_BASE_ADDRESS_4), FAKE_WINDOW32 + FAKE_WINDOW / 2);
	ck_assert_int_eq(pci_host_attach(&board.host, &big[2].pci), -ENOSPC);
	/* Nobody came; the next one does not need a BAR. */
	ck_assert_uint_eq(fake_ecam_read(&board, 5 << 3, 0, 4), UINT32_MAX);
	probe_init(&big[3], 3);
	ck_assert_int_eq(pci_host_attach(&board.host, &big[3].pci), 0);
	ck_assert_uint_eq(big[3].pci.devfn, 5 << 3);
	for (i = 0; i < 4; i++)
		if (i != 2)
			probe_remove(&big[i]);
	pci_device_destroy(&big[2].pci);
}
END_TEST

START_TEST(host_without_room)
{
	/* Ports, then ECAM, that somebody has already; and no window at all. */
	const struct bus_region taken = { .base = _i ? FAKE_ECAM + 0x1000 : 0xcfc, .len = 1 };
	struct bus memory, io;
	const struct pci_host_config config = {
		.memory_bus = &memory, .io_bus = &io, .line = board.lines.line, .ecam = FAKE_ECAM,
	};
	struct pci_host host;
	struct probe probe;

	bus_init(&memory);
	bus_init(&io);
	ck_assert_int_eq(bus_add(_i ? &memory : &io, &taken), 0);
	ck_assert_int_eq(pci_host_init(&host, &config), -EEXIST);
	bus_destroy(&memory);
	bus_destroy(&io);

	bus_init(&memory);
	bus_init(&io);
	ck_assert_int_eq(pci_host_init(&host, &config), 0);
	probe_init(&probe, 1);
	pci_device_add_memory_bar(&probe.pci, 0, BAR0_SIZE);
	ck_assert_int_eq(pci_host_attach(&host, &probe.pci), -ENOSPC);
	pci_device_destroy(&probe.pci);
	pci_host_destroy(&host);
	bus_destroy(&memory);
	bus_destroy(&io);
}
END_TEST

/* --- A guest that writes anything anywhere --- */

static uint64_t random_value(uint32_t *seed)
{
	uint64_t place = FAKE_WINDOW32 + 0x1000ULL * (fake_random(seed) % 16);

	switch (fake_random(seed) % 4) {
	case 0:
		return place | (uint64_t)(fake_random(seed) % 2) << 32;
	case 1:
		return UINT64_MAX << 8 * (fake_random(seed) % 8);
	case 2:
		return fake_random(seed) % 8;
	default:
		return (uint64_t)fake_random(seed) << 32 | fake_random(seed);
	}
}

/*
 * A mapped BAR answers, and is where its registers say or being sized.  One
 * that was just written and decodes is unmapped only if its place is taken.
 */
static void check_bar(const struct probe *p, unsigned bar, unsigned reg, bool written)
{
	const struct pci_bar *state = &p->pci.bar[bar];
	uint64_t reads = in(p, reg, 8) & ~(state->size - 1);
	bool decode = in(p, PCI_COMMAND, 2) & MEMORY;
	struct bus_region region = { .base = reads, .len = state->size };

	if (state->mapped) {
		ck_assert(decode);
		ck_assert(answers(p, bar, state->addr, state->size));
		if (reads != state->addr)
			ck_assert((uint32_t)reads == (uint32_t)-state->size ||
				  reads >> 32 == UINT32_MAX);
	} else if (decode && written) {
		ck_assert_int_eq(bus_add(&board.memory, &region), -EEXIST);
	}
}

START_TEST(random_writes)
{
	static const unsigned favourite[] = { PCI_COMMAND, BAR0, BAR0 + 4, BAR2, BAR2 + 4 };
	uint8_t before[PCI_CONFIG_LENGTH];
	uint32_t seed = (uint32_t)_i;
	unsigned step, i;

	memcpy(before, a.pci.config, sizeof(before));
	for (step = 0; step < 25000; step++) {
		struct probe *p = fake_random(&seed) % 2 ? &a : &b;
		unsigned len = 1u << fake_random(&seed) % 4;
		unsigned reg = fake_random(&seed) % 0x1000;

		if (fake_random(&seed) % 4)
			reg = favourite[fake_random(&seed) % array_size(favourite)];
		if (fake_random(&seed) % 2) {
			fake_port_write(&board, p->pci.devfn, reg, (uint32_t)random_value(&seed),
					len);
			continue;
		}
		out(p, reg, random_value(&seed), len);
		check_bar(p, 0, BAR0, reg + len > BAR0 && reg + len <= BAR2);
		check_bar(p, 2, BAR2, reg >= BAR2 && reg < BAR2 + 8);
	}
	for (i = 0; i < PCI_CONFIG_LENGTH; i++) {
		ck_assert_uint_eq((a.pci.config[i] ^ before[i]) & ~writable_bits(i), 0);
		ck_assert_uint_eq((b.pci.config[i] ^ before[i]) & ~writable_bits(i), 0);
	}
}
END_TEST

/* --- Accesses while BARs move --- */

static bool moving;
static unsigned wrong, answered;

static void *access_bars(void *opaque)
{
	uint64_t offset = (uintptr_t)opaque * 8;

	while (load_relaxed(&moving)) {
		uint64_t got = bus_read(&board.memory, FAKE_WINDOW64 + offset, 4);

		if (got == answer(&a, 0, offset) || got == answer(&b, 0, offset))
			__atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
		else if (got != UINT32_MAX)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
		if (in(&a, PCI_VENDOR_ID, 4) != 0x56781234)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
		pend(&a, got == UINT32_MAX);
	}
	return NULL;
}

START_TEST(accesses_during_moves)
{
	pthread_t thread[2];
	unsigned i;

	moving = true;
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, access_bars, (void *)(i + 1UL)),
				 0);
	out(&b, PCI_COMMAND, MEMORY, 2);
	for (i = 0; i < 5000 || load_relaxed(&answered) < 100; i++) {
		out(&a, PCI_COMMAND, i % 2 ? MEMORY : PCI_COMMAND_INTX_DISABLE, 2);
		out(&a, BAR0, FAKE_WINDOW64 + 0x10000 * (i % 3), 8);
		out(&b, BAR0, FAKE_WINDOW64 + 0x10000 * (i % 5), 8);
	}
	store_relaxed(&moving, false);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(wrong, 0);
	out(&a, PCI_COMMAND, 0, 2);
	pend(&a, false);
	ck_assert(!board.lines.level[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pci");
	TCase *tcase = tcase_create("pci");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, header);
	tcase_add_loop_test(tcase, write_mask, 0, 6);
	tcase_add_test(tcase, capability_chain);
	tcase_add_test(tcase, firmware_leaves_decoding_off);
	tcase_add_test(tcase, access_through_bar);
	tcase_add_loop_test(tcase, sizing, 0, 4);
	tcase_add_test(tcase, sizing_while_decoding);
	tcase_add_test(tcase, moves);
	tcase_add_test(tcase, place_with_all_ones);
	tcase_add_test(tcase, address_zero);
	tcase_add_test(tcase, overlap_with_other_function);
	tcase_add_test(tcase, overlap_with_itself);
	tcase_add_test(tcase, overlap_with_board);
	tcase_add_test(tcase, intx);
	tcase_add_test(tcase, bridge);
	tcase_add_test(tcase, address_port);
	tcase_add_test(tcase, data_port);
	tcase_add_test(tcase, ports_equal_ecam);
	tcase_add_test(tcase, ecam_ends);
	tcase_add_test(tcase, forty_functions);
	tcase_add_test(tcase, bus_is_full);
	tcase_add_test(tcase, removed_while_decoding);
	tcase_add_test(tcase, windows);
	tcase_add_loop_test(tcase, host_without_room, 0, 2);
	tcase_add_loop_test(tcase, random_writes, 0, 4);
	tcase_add_test(tcase, accesses_during_moves);
	suite_add_tcase(suite, tcase);

	tcase = tcase_create("I/O BARs");
	tcase_add_checked_fixture(tcase, io_setup, io_teardown);
	tcase_add_test(tcase, io_decode);
	tcase_add_loop_test(tcase, io_sizing, 0, 2);
	tcase_add_test(tcase, io_moves);
	tcase_add_test(tcase, io_window_full);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
