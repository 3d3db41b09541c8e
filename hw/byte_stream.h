/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other end of a serial line.  Neither function blocks; both return the
 * number of bytes moved, which may be 0.  Each is called by one thread at a
 * time.  Whoever implements them tells the device when to try again
 * (uart_input_ready(), uart_output_ready()).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct byte_stream_ops {
	size_t (*read)(void *opaque, uint8_t *buf, size_t len);
	size_t (*write)(void *opaque, const uint8_t *buf, size_t len);
};

struct byte_stream {
	const struct byte_stream_ops *ops;
	void *opaque;
};
