// SPDX-License-Identifier: BSD-2-Clause
#include "hw/i8042.h"

#include "tests/unit/unit.h"

static unsigned resets;

static void count_reset(void *opaque)
{
	ck_assert_ptr_eq(opaque, &resets);
	resets++;
}

static const struct power_ops power_ops = { .reset = count_reset };
static struct power_port power = { .ops = &power_ops, .opaque = &resets };

static void setup(void)
{
	resets = 0;
}

START_TEST(reset_command)
{
	i8042_command_ops.write(&power, 0, 0xfe, 1);
	ck_assert_uint_eq(resets, 1);
}
END_TEST

START_TEST(other_commands)
{
	unsigned command;

	for (command = 0; command < 256; command++)
		if (command != 0xfe)
			i8042_command_ops.write(&power, 0, command, 1);
	i8042_data_ops.write(&power, 0, 0xfe, 1);
	ck_assert_uint_eq(resets, 0);
}
END_TEST

START_TEST(idle)
{
	/* Neither buffer is full, whatever was written. */
	i8042_command_ops.write(&power, 0, 0xaa, 1);
	ck_assert_uint_eq(i8042_command_ops.read(&power, 0, 1) & 0x03, 0);
	ck_assert_uint_eq(i8042_data_ops.read(&power, 0, 1), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("i8042");
	TCase *tcase = tcase_create("reset");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, reset_command);
	tcase_add_test(tcase, other_commands);
	tcase_add_test(tcase, idle);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
