// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/acpi.h"

#include <stddef.h>

#include "guest/kit/irq.h"
#include "guest/kit/print.h"
#include "guest/kit/x86.h"

enum {
	RSDP_REVISION = 15,
	RSDP_RSDT = 16,
	RSDP_XSDT = 24,

	TABLE_LENGTH = 4,
	TABLE_HEADER_SIZE = 36,

	FADT_DSDT = 40,
	FADT_PM1A_CONTROL = 64,
	FADT_FLAGS = 112,
	FADT_RESET_REGISTER = 116,
	FADT_RESET_VALUE = 128,
	FADT_X_DSDT = 140,
	FADT_SLEEP_CONTROL = 244,
	FADT_HW_REDUCED = 1 << 20,
	FADT_SIZE_WITH_SLEEP_CONTROL = 268,

	GAS_ADDRESS = 4,
	GAS_SPACE_IO = 1,

	MCFG_FIRST_BASE = 44,

	MADT_FIRST_ENTRY = 44,
	MADT_TYPE_IOAPIC = 1,
	MADT_IOAPIC_ADDRESS = 4,
	MADT_IOAPIC_GSI = 8,

	PM1_SLP_TYP_SHIFT = 10,
	PM1_SLP_EN = 1 << 13,
	SLEEP_CONTROL_TYP_SHIFT = 2,
	SLEEP_CONTROL_EN = 1 << 5,

	AML_PACKAGE = 0x12,
	AML_BYTE_PREFIX = 0x0a,

	COMMON_S5_TYPE = 5,
	POWER_OFF_PATIENCE_MS = 3000,
};

#define USUAL_IOAPIC 0xfec00000u

/*
 * Tables are byte-aligned little-endian records; offsets are those of the ACPI
 * specification.
 */
static const uint8_t *fadt, *madt, *mcfg;

static uint32_t read32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t read64(const uint8_t *at)
{
	return read32(at) | (uint64_t)read32(at + 4) << 32;
}

static const uint8_t *pointer(uint64_t address)
{
	return (const uint8_t *)(uintptr_t)address;
}

static void table_note(const uint8_t *table)
{
	if (!memcmp(table, "FACP", 4))
		fadt = table;
	else if (!memcmp(table, "APIC", 4))
		madt = table;
	else if (!memcmp(table, "MCFG", 4))
		mcfg = table;
}

void acpi_init(uint64_t rsdp)
{
	const uint8_t *root = pointer(rsdp), *list;
	unsigned width;

	if (!root)
		return;
	width = root[RSDP_REVISION] >= 2 && read64(root + RSDP_XSDT) ? 8 : 4;
	list = pointer(width == 8 ? read64(root + RSDP_XSDT) : read32(root + RSDP_RSDT));
	for (uint32_t at = TABLE_HEADER_SIZE; at < read32(list + TABLE_LENGTH); at += width)
		table_note(pointer(width == 8 ? read64(list + at) : read32(list + at)));
}

/*
 * \_S5 is Name(_S5, Package{SLP_TYPa, ...}): finds the name by its bytes and takes the
 * first element. The package head is one op, a one-byte length and a count; the element is
 * a byte constant, zero or one.
 */
static uint8_t s5_type(void)
{
	const uint8_t *dsdt = pointer(read32(fadt + FADT_DSDT));
	uint32_t length;

	if (!dsdt)
		dsdt = pointer(read64(fadt + FADT_X_DSDT));
	if (!dsdt)
		return COMMON_S5_TYPE;
	length = read32(dsdt + TABLE_LENGTH);
	for (uint32_t at = TABLE_HEADER_SIZE; at + 9 <= length; at++) {
		if (memcmp(dsdt + at, "_S5_", 4) || dsdt[at + 4] != AML_PACKAGE)
			continue;
		return dsdt[at + 7] == AML_BYTE_PREFIX ? dsdt[at + 8] : dsdt[at + 7];
	}
	return COMMON_S5_TYPE;
}

static void sleep_control_write(uint8_t value)
{
	const uint8_t *gas = fadt + FADT_SLEEP_CONTROL;
	uint64_t address = read64(gas + GAS_ADDRESS);

	if (gas[0] == GAS_SPACE_IO)
		outb((uint16_t)address, value);
	else
		mmio_write8(address, value);
}

/* The machine should be off by now. */
static _Noreturn void no_effect(const char *what)
{
	irq_sleep(POWER_OFF_PATIENCE_MS);
	print("# %s had no effect\n", what);
	print_flush();
	cpu_triple_fault();
}

void acpi_power_off(void)
{
	print_flush();
	if (fadt && read32(fadt + TABLE_LENGTH) >= FADT_SIZE_WITH_SLEEP_CONTROL &&
	    read32(fadt + FADT_FLAGS) & FADT_HW_REDUCED)
		sleep_control_write((uint8_t)(s5_type() << SLEEP_CONTROL_TYP_SHIFT) |
				    SLEEP_CONTROL_EN);
	else if (fadt)
		outw((uint16_t)read32(fadt + FADT_PM1A_CONTROL),
		     (uint16_t)(s5_type() << PM1_SLP_TYP_SHIFT | PM1_SLP_EN));
	no_effect("power-off");
}

void acpi_reset(void)
{
	print_flush();
	if (fadt)
		outb((uint16_t)read64(fadt + FADT_RESET_REGISTER + GAS_ADDRESS),
		     fadt[FADT_RESET_VALUE]);
	no_effect("reset");
}

uint64_t acpi_ecam(void)
{
	return mcfg ? read64(mcfg + MCFG_FIRST_BASE) : 0;
}

uintptr_t acpi_ioapic(unsigned gsi, uint32_t *first_gsi)
{
	uintptr_t address = USUAL_IOAPIC;

	*first_gsi = 0;
	if (!madt)
		return address;
	for (const uint8_t *entry = madt + MADT_FIRST_ENTRY;
	     entry < madt + read32(madt + TABLE_LENGTH) && entry[1]; entry += entry[1]) {
		if (entry[0] != MADT_TYPE_IOAPIC || read32(entry + MADT_IOAPIC_GSI) > gsi ||
		    read32(entry + MADT_IOAPIC_GSI) < *first_gsi)
			continue;
		address = read32(entry + MADT_IOAPIC_ADDRESS);
		*first_gsi = read32(entry + MADT_IOAPIC_GSI);
	}
	return address;
}
