// SPDX-License-Identifier: BSD-2-Clause
/*
 * Reads the tables by the offsets that the ACPI specification gives, not by
 * the structs that wrote them.
 */
#include "vmm/x86/acpi.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/util.h"
#include "tests/unit/unit.h"
#include "vmm/x86/layout.h"

#define RAM 0x100000
#define HEADER 36
#define DIRTY 0xa5 /* what memory held before */

static uint8_t *ram;
static struct guest_memory mem;

static uint64_t get(uint64_t gpa, unsigned len)
{
	uint64_t value = 0;

	ck_assert_uint_ge(gpa, LAYOUT_ACPI);
	ck_assert_uint_le(gpa + len, LAYOUT_ACPI + LAYOUT_ACPI_LENGTH);
	memcpy(&value, ram + gpa, len);
	return value;
}

static bool is(uint64_t gpa, const char *text)
{
	return memcmp(ram + gpa, text, strlen(text)) == 0;
}

static uint8_t sum(uint64_t gpa, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += get(gpa++, 1);
	return sum;
}

/* A table of the XSDT, or the DSDT, that is whole. */
static uint64_t table(const char *signature)
{
	uint64_t xsdt = get(LAYOUT_ACPI + 24, 8);
	uint64_t end = xsdt + get(xsdt + 4, 4);
	uint64_t entry, found = 0;

	if (strcmp(signature, "DSDT") == 0)
		found = get(table("FACP") + 140, 8);
	for (entry = xsdt + HEADER; entry < end && !found; entry += 8)
		if (is(get(entry, 8), signature))
			found = get(entry, 8);
	ck_assert_uint_ne(found, 0);
	ck_assert(is(found, signature));
	ck_assert_uint_le(found + get(found + 4, 4), LAYOUT_ACPI_REGION);
	ck_assert_uint_eq(sum(found, get(found + 4, 4)), 0);
	return found;
}

static void write_tables(unsigned cpus)
{
	const struct acpi_config config = { .cpus = cpus };

	ck_assert_int_eq(acpi_write_tables(&mem, &config), 0);
}

static void setup(void)
{
	ram = aligned_alloc(4096, RAM);
	ck_assert_ptr_nonnull(ram);
	memset(ram, DIRTY, RAM);
	memset(&mem, 0, sizeof(mem));
	ck_assert_int_eq(guest_memory_add(&mem, 0, RAM, ram), 0);
}

static void teardown(void)
{
	free(ram);
}

START_TEST(bad_configurations)
{
	struct acpi_config config = { .cpus = 0 };
	struct guest_memory small = { .count = 0 };

	ck_assert_int_eq(acpi_write_tables(&mem, &config), -EINVAL);
	config.cpus = ACPI_CPUS_MAX + 1;
	ck_assert_int_eq(acpi_write_tables(&mem, &config), -EINVAL);
	config.cpus = 1;
	config.virtio_count = 17;
	ck_assert_int_eq(acpi_write_tables(&mem, &config), -EINVAL);
	config.virtio_count = 0;
	config.pci64_base = 1ULL << 63;
	config.pci64_len = 1ULL << 63;
	ck_assert_int_eq(acpi_write_tables(&mem, &config), -EINVAL);
	config.pci64_len = 0;
	ck_assert_int_eq(guest_memory_add(&small, 0, RAM - 1, ram), 0);
	ck_assert_int_eq(acpi_write_tables(&small, &config), -EFAULT);
	ck_assert_uint_eq(ram[LAYOUT_ACPI], DIRTY);
}
END_TEST

START_TEST(nothing_outside)
{
	uint64_t gpa = 0;

	write_tables(ACPI_CPUS_MAX);
	while (gpa < RAM && ram[gpa] == DIRTY)
		gpa++;
	ck_assert_uint_eq(gpa, LAYOUT_ACPI);
}
END_TEST

START_TEST(root)
{
	uint64_t rsdp = LAYOUT_ACPI, xsdt;

	write_tables(1);
	ck_assert(is(rsdp, "RSD PTR "));
	ck_assert_uint_eq(get(rsdp + 15, 1), 2);  /* revision */
	ck_assert_uint_eq(get(rsdp + 16, 4), 0);  /* no RSDT */
	ck_assert_uint_eq(get(rsdp + 20, 4), 36); /* length */
	ck_assert_uint_eq(sum(rsdp, 20), 0);
	ck_assert_uint_eq(sum(rsdp, 36), 0);
	xsdt = get(rsdp + 24, 8);
	ck_assert(is(xsdt, "XSDT"));
	ck_assert_uint_eq(get(xsdt + 4, 4), HEADER + 3 * 8);
	ck_assert_uint_eq(sum(xsdt, HEADER + 3 * 8), 0);
	ck_assert(is(xsdt + 10, "VMM   VMM     "));
}
END_TEST

/* A generic address: system I/O, whose registers start at @port. */
static void check_gas(uint64_t gas, unsigned bits, unsigned access, uint64_t port)
{
	ck_assert_uint_eq(get(gas, 1), 1);
	ck_assert_uint_eq(get(gas + 1, 1), bits);
	ck_assert_uint_eq(get(gas + 2, 1), 0);
	ck_assert_uint_eq(get(gas + 3, 1), access);
	ck_assert_uint_eq(get(gas + 4, 8), port);
}

START_TEST(fixed_hardware)
{
	uint64_t fadt, facs;

	write_tables(1);
	fadt = table("FACP");
	ck_assert_uint_eq(get(fadt + 4, 4), 276);
	ck_assert_uint_eq(get(fadt + 8, 1), 6);
	ck_assert_uint_eq(get(fadt + 40, 4), get(fadt + 140, 8)); /* DSDT */
	ck_assert_uint_eq(get(fadt + 46, 2), 9);                  /* SCI */
	ck_assert_uint_eq(get(fadt + 48, 8), 0);                  /* SMI_CMD and values */
	ck_assert_uint_eq(get(fadt + 56, 4), 0x600);              /* PM1a event */
	ck_assert_uint_eq(get(fadt + 60, 4), 0);
	ck_assert_uint_eq(get(fadt + 64, 4), 0x604);              /* PM1a control */
	ck_assert_uint_eq(get(fadt + 76, 4), 0);                  /* no PM timer */
	ck_assert_uint_eq(get(fadt + 80, 8), 0);                  /* no GPEs */
	ck_assert_uint_eq(get(fadt + 88, 8), 0x0204);             /* block lengths */
	ck_assert_uint_gt(get(fadt + 96, 2), 100);                /* no C2 */
	ck_assert_uint_gt(get(fadt + 98, 2), 1000);               /* no C3 */
	ck_assert_uint_eq(get(fadt + 106, 3), 0x320000);          /* only the century */
	ck_assert_uint_eq(get(fadt + 109, 2), 0x0004);            /* no VGA, no 8042; an RTC */
	ck_assert_uint_eq(get(fadt + 112, 4), 0x0425);
	check_gas(fadt + 116, 8, 1, 0x606);
	ck_assert_uint_eq(get(fadt + 128, 1), 1); /* reset value */
	check_gas(fadt + 148, 32, 2, 0x600);
	check_gas(fadt + 172, 16, 2, 0x604);
	ck_assert_uint_eq(sum(fadt + 184, 276 - 184), 0); /* nothing else */

	facs = get(fadt + 36, 4);
	ck_assert_uint_eq(get(fadt + 132, 8), 0);
	ck_assert(is(facs, "FACS"));
	ck_assert_uint_eq(facs % 64, 0);
	ck_assert_uint_eq(get(facs + 4, 4), 64);
	ck_assert_uint_eq(get(facs + 32, 1), 2);
}
END_TEST

enum { IO_APIC = 1, PIT = 2, SCI = 4, NMI = 8 };

/* Check each entry; count the CPUs and tell what else there is. */
static unsigned check_madt(uint64_t madt, unsigned *cpus)
{
	uint64_t at = madt + 44, end = madt + get(madt + 4, 4);
	unsigned seen = 0;

	while (at < end) {
		unsigned type = get(at, 1), len = get(at + 1, 1);

		switch (type) {
		case 0: /* local APIC: UID and id, enabled */
			ck_assert_uint_eq(len, 8);
			ck_assert_uint_eq(get(at + 2, 2), *cpus * 0x0101);
			ck_assert_uint_eq(get(at + 4, 4), 1);
			(*cpus)++;
			break;
		case 1: /* I/O APIC */
			ck_assert_uint_eq(len, 12);
			ck_assert_uint_eq(get(at + 4, 4), 0xfec00000);
			ck_assert_uint_eq(get(at + 8, 4), 0);
			seen |= IO_APIC;
			break;
		case 2: /* ISA 0 to 2 as is, and 9 to 9 level high */
			ck_assert_uint_eq(len, 10);
			if (get(at + 3, 1) == 0)
				ck_assert_uint_eq(get(at + 2, 8), 0x0000000000020000);
			else
				ck_assert_uint_eq(get(at + 2, 8), 0x000d000000090900);
			seen |= get(at + 3, 1) == 0 ? PIT : SCI;
			break;
		case 4: /* NMI of all processors to LINT1 */
			ck_assert_uint_eq(len, 6);
			ck_assert_uint_eq(get(at + 2, 4), 0x010000ff);
			seen |= NMI;
			break;
		default:
			ck_abort_msg("entry of type %u", type);
		}
		at += len;
	}
	ck_assert_uint_eq(at, end);
	return seen;
}

static const unsigned cpu_counts[] = { 1, 2, 17, 253, 254 };

START_TEST(interrupt_controllers)
{
	unsigned cpus = 0;
	uint64_t madt;

	write_tables(cpu_counts[_i]);
	madt = table("APIC");
	ck_assert_uint_eq(get(madt + 36, 4), 0xfee00000);
	ck_assert_uint_eq(get(madt + 40, 4), 1);
	ck_assert_uint_eq(check_madt(madt, &cpus), IO_APIC | PIT | SCI | NMI);
	ck_assert_uint_eq(cpus, cpu_counts[_i]);
}
END_TEST

START_TEST(ecam)
{
	uint64_t mcfg;

	write_tables(1);
	mcfg = table("MCFG");
	ck_assert_uint_eq(get(mcfg + 4, 4), 60);
	ck_assert_uint_eq(get(mcfg + 44, 8), 0xe0000000);
	ck_assert_uint_eq(get(mcfg + 52, 8), 0); /* segment 0, bus 0 to 0 */
}
END_TEST

START_TEST(definition_block)
{
	write_tables(ACPI_CPUS_MAX);
	/* From revision 2 on its integers have 64 bits. */
	ck_assert_uint_eq(get(table("DSDT") + 8, 1), 2);
}
END_TEST

START_TEST(region)
{
	static const struct acpi_virtio virtio[] = { { 0xfeb00000, 16 }, { 0xfeb00200, 17 } };
	struct acpi_config config = {
		.cpus = 1,
		.pci64_base = 0x123400000000,
		.pci64_len = 0x5600000000,
		.virtio = virtio,
		.virtio_count = 2,
	};

	ck_assert_int_eq(acpi_write_tables(&mem, &config), 0);
	ck_assert_uint_eq(get(LAYOUT_ACPI_REGION, 8), config.pci64_base);
	ck_assert_uint_eq(get(LAYOUT_ACPI_REGION + 8, 8), config.pci64_len);
	ck_assert_uint_eq(get(LAYOUT_ACPI_REGION + 16, 8), 0x10feb00000);
	ck_assert_uint_eq(get(LAYOUT_ACPI_REGION + 24, 8), 0x11feb00200);
	ck_assert_uint_eq(sum(LAYOUT_ACPI_REGION + 32, 14 * 8), 0); /* empty slots */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acpi");
	TCase *tcase = tcase_create("tables");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, bad_configurations);
	tcase_add_test(tcase, nothing_outside);
	tcase_add_test(tcase, root);
	tcase_add_test(tcase, fixed_hardware);
	tcase_add_loop_test(tcase, interrupt_controllers, 0, array_size(cpu_counts));
	tcase_add_test(tcase, ecam);
	tcase_add_test(tcase, definition_block);
	tcase_add_test(tcase, region);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
