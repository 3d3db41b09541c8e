/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fixed power-management hardware of ACPI (ACPI 6.5, section 4.8): the PM1
 * event block (status and enable), the PM1 control block with the sleep type,
 * and the reset register.  Fixed events: power button and RTC alarm.  The SCI
 * is a level line, held while an event is both set and enabled.
 *
 * S5 is the only sleep state: SLP_EN with any other type does nothing, and the
 * wake status is never set.  ACPI mode is always on (SCI_EN reads 1).
 *
 * Any thread; the registers have a lock of their own.
 */
#pragma once

#include "hw/bus.h"
#include "hw/irq_line.h"
#include "hw/power.h"

/* Offsets of the register blocks in the region, and its length. */
#define ACPI_PM1_EVENT 0x0   /* PM1a_EVT_BLK: status, then enable; 2 bytes each */
#define ACPI_PM1_CONTROL 0x4 /* PM1a_CNT_BLK: 2 bytes */
#define ACPI_PM_RESET 0x6    /* RESET_REG: 1 byte */
#define ACPI_PM_LENGTH 0x8

#define ACPI_PM_RESET_VALUE 0x01
#define ACPI_SLEEP_TYPE_S5 5 /* what the DSDT's \_S5 package says */

struct acpi_pm;

/*
 * @power is copied; it is called with no lock held, on the thread that wrote
 * the register.  @sci outlives the block.  NULL without memory.
 */
struct acpi_pm *acpi_pm_create(struct irq_line *sci, const struct power_port *power);
void acpi_pm_destroy(struct acpi_pm *pm);

/*
 * The registers as a bus sees them, by accesses of any width; opaque is the
 * struct acpi_pm.
 */
extern const struct bus_ops acpi_pm_bus_ops;

/* Raise a fixed event.  It stays set until the guest clears it. */
void acpi_pm_power_button(struct acpi_pm *pm);
void acpi_pm_rtc_event(struct acpi_pm *pm);
