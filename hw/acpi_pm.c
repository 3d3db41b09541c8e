// SPDX-License-Identifier: BSD-2-Clause
#include "hw/acpi_pm.h"

#include <stdlib.h>

/* Bytes of the region. */
#define STATUS (ACPI_PM1_EVENT + 0) /* two: a 1 written clears the bit */
#define ENABLE (ACPI_PM1_EVENT + 2) /* two */
#define CONTROL_LOW ACPI_PM1_CONTROL
#define CONTROL_HIGH (ACPI_PM1_CONTROL + 1)

/* In the low byte of enable: never raised, but the OS checks that it sticks. */
#define GLOBAL_LOCK 0x20
/* In the high byte of status and enable. */
#define POWER_BUTTON 0x01
#define RTC_ALARM 0x04

#define CONTROL_LOW_SCI_EN 0x01
#define CONTROL_HIGH_SLP_TYP 0x1c
#define CONTROL_HIGH_SLP_TYP_SHIFT 2
#define CONTROL_HIGH_SLP_EN 0x20

struct acpi_pm {
	struct irq_source sci;
	struct power_port power;
	pthread_mutex_t lock; /* guards byte */
	uint8_t byte[ACPI_PM_LENGTH];
};

typedef void (*power_fn)(void *opaque);

static bool sci_asserted(void *opaque)
{
	struct acpi_pm *pm = opaque;
	const uint8_t *status = pm->byte + STATUS, *enable = pm->byte + ENABLE;
	bool asserted;

	pthread_mutex_lock(&pm->lock);
	asserted = status[0] & enable[0] || status[1] & enable[1];
	pthread_mutex_unlock(&pm->lock);
	return asserted;
}

/* Returns what the power supply is asked for; NULL for nothing. */
static power_fn write_byte(struct acpi_pm *pm, unsigned offset, uint8_t value)
{
	switch (offset) {
	case STATUS:
	case STATUS + 1:
		pm->byte[offset] &= ~value;
		break;
	case ENABLE:
		pm->byte[offset] = value & GLOBAL_LOCK;
		break;
	case ENABLE + 1:
		pm->byte[offset] = value & (POWER_BUTTON | RTC_ALARM);
		break;
	case CONTROL_HIGH:
		value &= CONTROL_HIGH_SLP_TYP | CONTROL_HIGH_SLP_EN;
		pm->byte[offset] = value & CONTROL_HIGH_SLP_TYP;
		if (value == (CONTROL_HIGH_SLP_EN |
			      ACPI_SLEEP_TYPE_S5 << CONTROL_HIGH_SLP_TYP_SHIFT))
			return pm->power.ops->off;
		break;
	case ACPI_PM_RESET:
		if (value == ACPI_PM_RESET_VALUE)
			return pm->power.ops->reset;
		break;
	}
	return NULL;
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned len)
{
	struct acpi_pm *pm = opaque;
	uint64_t value = 0;
	unsigned i;

	pthread_mutex_lock(&pm->lock);
	for (i = 0; i < len; i++)
		value |= (uint64_t)pm->byte[offset + i] << (8 * i);
	pthread_mutex_unlock(&pm->lock);
	return value;
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct acpi_pm *pm = opaque;
	power_fn asked = NULL;
	unsigned i;

	pthread_mutex_lock(&pm->lock);
	for (i = 0; i < len && !asked; i++)
		asked = write_byte(pm, offset + i, value >> (8 * i));
	pthread_mutex_unlock(&pm->lock);
	irq_source_update(&pm->sci);
	if (asked)
		asked(pm->power.opaque);
}

const struct bus_ops acpi_pm_bus_ops = {
	.read = pm_read,
	.write = pm_write,
};

static void raise_event(struct acpi_pm *pm, uint8_t event)
{
	pthread_mutex_lock(&pm->lock);
	pm->byte[STATUS + 1] |= event;
	pthread_mutex_unlock(&pm->lock);
	irq_source_update(&pm->sci);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	raise_event(pm, POWER_BUTTON);
}

void acpi_pm_rtc_event(struct acpi_pm *pm)
{
	raise_event(pm, RTC_ALARM);
}

struct acpi_pm *acpi_pm_create(struct irq_line *sci, const struct power_port *power)
{
	struct acpi_pm *pm = calloc(1, sizeof(*pm));

	if (!pm)
		return NULL;
	pm->power = *power;
	/* There is no other mode to switch from: SMI_CMD in the FADT is 0. */
	pm->byte[CONTROL_LOW] = CONTROL_LOW_SCI_EN;
	pthread_mutex_init(&pm->lock, NULL);
	irq_source_init(&pm->sci, sci, sci_asserted, pm);
	return pm;
}

void acpi_pm_destroy(struct acpi_pm *pm)
{
	pthread_mutex_destroy(&pm->lock);
	free(pm);
}
