// SPDX-License-Identifier: BSD-2-Clause
#include "hw/debug_port.h"

static uint64_t read_number(void *opaque, uint64_t offset, unsigned len)
{
	(void)opaque, (void)offset, (void)len;
	return DEBUG_PORT;
}

static void write_byte(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	const struct byte_stream *stream = opaque;
	uint8_t byte = (uint8_t)value;

	(void)offset;
	stream->ops->write(stream->opaque, &byte, len);
}

const struct bus_ops debug_port_ops = {
	.read = read_number,
	.write = write_byte,
};
