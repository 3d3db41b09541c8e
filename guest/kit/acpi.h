/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kit reads from ACPI: power-off and reset, the ECAM's place, the I/O APICs. */
#pragma once

#include <stdint.h>

/* Reads the tables. `rsdp` is physical, 0 if the monitor gave none. */
void acpi_init(uint64_t rsdp);

/*
 * Enters S5, by PM1a control or, on hardware-reduced platforms, by the sleep control
 * register. SLP_TYP comes from the DSDT's \_S5 package, or is 5 where that is not found.
 * If the power stays on, says so and causes a triple fault: the monitor then ends with an
 * error.
 */
_Noreturn void acpi_power_off(void);

/* Writes the FADT's reset register; ends as power-off does where that has no effect. */
_Noreturn void acpi_reset(void);

/* Physical address of bus 0's ECAM by MCFG, or 0. */
uint64_t acpi_ecam(void);

/* The I/O APIC that serves `gsi`, and the first GSI of that I/O APIC. */
uintptr_t acpi_ioapic(unsigned gsi, uint32_t *first_gsi);
