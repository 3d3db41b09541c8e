// SPDX-License-Identifier: BSD-2-Clause
#include "hw/i8042.h"

#define STATUS_SELF_TEST_PASSED 0x04
#define STATUS_UNLOCKED 0x10
#define COMMAND_PULSE_RESET 0xfe

static uint64_t read_data(void *opaque, uint64_t offset, unsigned len)
{
	(void)opaque, (void)offset, (void)len;
	return 0;
}

static void write_data(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	(void)opaque, (void)offset, (void)value, (void)len;
}

/* Both buffers empty: nothing to fetch, ready for a command. */
static uint64_t read_status(void *opaque, uint64_t offset, unsigned len)
{
	(void)opaque, (void)offset, (void)len;
	return STATUS_SELF_TEST_PASSED | STATUS_UNLOCKED;
}

static void write_command(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	const struct power_port *power = opaque;

	(void)offset, (void)len;
	if (value == COMMAND_PULSE_RESET)
		power->ops->reset(power->opaque);
}

const struct bus_ops i8042_data_ops = {
	.read = read_data,
	.write = write_data,
};

const struct bus_ops i8042_command_ops = {
	.read = read_status,
	.write = write_command,
};
