// SPDX-License-Identifier: BSD-2-Clause
#include "hw/acpi_pm.h"

#include "tests/unit/unit.h"

enum { STATUS = 0, ENABLE = 2, CONTROL = 4, RESET = 6 };

#define POWER_BUTTON 0x0100
#define RTC_ALARM 0x0400
#define SCI_EN 0x0001
#define SLP_EN 0x2000
#define S5 (ACPI_SLEEP_TYPE_S5 << 10)

static bool sci_level;
static unsigned offs, resets;
static struct irq_line sci;
static struct acpi_pm *pm;

static uint64_t in(unsigned reg, unsigned len)
{
	return acpi_pm_bus_ops.read(pm, reg, len);
}

static void out(unsigned reg, uint64_t value, unsigned len)
{
	acpi_pm_bus_ops.write(pm, reg, value, len);
}

static void set_sci(void *opaque, unsigned gsi, bool level)
{
	(void)opaque;
	ck_assert_uint_eq(gsi, 9);
	sci_level = level;
}

/* Reading a register shows that no lock is held. */
static void power_off(void *opaque)
{
	(void)opaque;
	in(CONTROL, 2);
	offs++;
}

static void power_reset(void *opaque)
{
	(void)opaque;
	in(RESET, 1);
	resets++;
}

static const struct irq_line_ops line_ops = { .set = set_sci };
static const struct power_ops power_ops = { .off = power_off, .reset = power_reset };

static void setup(void)
{
	const struct power_port power = { .ops = &power_ops };

	sci_level = false;
	offs = resets = 0;
	irq_line_init(&sci, 9, &line_ops, NULL);
	pm = acpi_pm_create(&sci, &power);
	ck_assert_ptr_nonnull(pm);
}

static void teardown(void)
{
	acpi_pm_destroy(pm);
	irq_line_destroy(&sci);
}

START_TEST(power_on)
{
	ck_assert_uint_eq(in(0, 8), (uint64_t)SCI_EN << 32);
	ck_assert(!sci_level);
}
END_TEST

START_TEST(events)
{
	acpi_pm_power_button(pm);
	ck_assert_uint_eq(in(STATUS, 2), POWER_BUTTON);
	ck_assert(!sci_level);
	out(ENABLE, POWER_BUTTON, 2);
	ck_assert(sci_level);
	acpi_pm_rtc_event(pm);
	ck_assert_uint_eq(in(STATUS, 2), POWER_BUTTON | RTC_ALARM);
	/* Only ones clear. */
	out(STATUS, RTC_ALARM, 2);
	ck_assert_uint_eq(in(STATUS, 2), POWER_BUTTON);
	ck_assert(sci_level);
	out(STATUS, 0, 2);
	ck_assert(sci_level);
	out(STATUS, 0xffff, 2);
	ck_assert_uint_eq(in(STATUS, 2), 0);
	ck_assert(!sci_level);
	/* The line follows the enable bit too. */
	acpi_pm_power_button(pm);
	ck_assert(sci_level);
	out(ENABLE, RTC_ALARM, 2);
	ck_assert(!sci_level);
	acpi_pm_rtc_event(pm);
	ck_assert(sci_level);
}
END_TEST

START_TEST(enable_bits)
{
	/* Global lock, power button, RTC: there is no timer, no sleep button. */
	out(ENABLE, 0xffff, 2);
	ck_assert_uint_eq(in(ENABLE, 2), 0x0520);
	ck_assert_uint_eq(in(STATUS, 2), 0);
	ck_assert(!sci_level);
}
END_TEST

START_TEST(widths)
{
	acpi_pm_power_button(pm);
	acpi_pm_rtc_event(pm);
	/* A byte of the status; then status and enable in one. */
	out(STATUS, 0xff, 1);
	ck_assert_uint_eq(in(STATUS, 2), 0x0500);
	out(STATUS + 1, 0x01, 1);
	ck_assert_uint_eq(in(STATUS + 1, 1), 0x04);
	out(STATUS, 0x05200000, 4);
	ck_assert_uint_eq(in(STATUS, 4), 0x05200400);
	ck_assert(sci_level);
	out(STATUS, 0x05200400, 4);
	ck_assert_uint_eq(in(STATUS, 4), 0x05200000);
	ck_assert(!sci_level);
	ck_assert_uint_eq(in(ENABLE + 1, 1), 0x05);
}
END_TEST

START_TEST(control)
{
	out(CONTROL, S5, 2);
	ck_assert_uint_eq(in(CONTROL, 2), S5 | SCI_EN);
	/* SCI_EN cannot be cleared, SLP_EN reads 0. */
	out(CONTROL, SLP_EN | 0xc3fe, 2);
	ck_assert_uint_eq(in(CONTROL, 2), SCI_EN);
	ck_assert_uint_eq(offs, 0);
}
END_TEST

START_TEST(sleep_type)
{
	out(CONTROL, SLP_EN | _i << 10, 2);
	ck_assert_uint_eq(offs, _i == ACPI_SLEEP_TYPE_S5);
	ck_assert_uint_eq(resets, 0);
	ck_assert_uint_eq(in(STATUS, 2), 0);
}
END_TEST

START_TEST(power_off_by_byte_and_dword)
{
	out(CONTROL + 1, (SLP_EN | S5) >> 8, 1);
	ck_assert_uint_eq(offs, 1);
	out(CONTROL, SLP_EN | S5 | SCI_EN, 4);
	ck_assert_uint_eq(offs, 2);
	ck_assert_uint_eq(resets, 0);
}
END_TEST

START_TEST(reset_register)
{
	unsigned value;

	for (value = 0; value < 256; value++)
		if (value != ACPI_PM_RESET_VALUE)
			out(RESET, value, 1);
	out(RESET + 1, ACPI_PM_RESET_VALUE, 1);
	ck_assert_uint_eq(resets, 0);
	out(RESET, ACPI_PM_RESET_VALUE, 1);
	ck_assert_uint_eq(resets, 1);
	ck_assert_uint_eq(in(RESET, 1), 0);
	ck_assert_uint_eq(offs, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acpi_pm");
	TCase *tcase = tcase_create("registers");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, power_on);
	tcase_add_test(tcase, events);
	tcase_add_test(tcase, enable_bits);
	tcase_add_test(tcase, widths);
	tcase_add_test(tcase, control);
	tcase_add_loop_test(tcase, sleep_type, 0, 8);
	tcase_add_test(tcase, power_off_by_byte_and_dword);
	tcase_add_test(tcase, reset_register);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
