/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The debug port of Bochs ("port E9 hack") and QEMU (isa-debugcon): each byte
 * that a guest writes goes to a stream.  Reading gives the port's own number, by
 * which a guest tells that somebody listens; where nobody does, it is 0xFF.
 *
 * No PC has anything at 0xE9, and no guest writes there by accident.  Linux does
 * so only if it finds itself under Xen; what it writes to pass the time goes to
 * 0x80 or 0xED.  Firmware prints to 0x402, and 0x510 is QEMU's fw_cfg.
 */
#pragma once

#include "hw/bus.h"
#include "hw/byte_stream.h"

#define DEBUG_PORT 0xE9

/* One byte; opaque is a struct byte_stream, which is only written to, by any vCPU. */
extern const struct bus_ops debug_port_ops;
