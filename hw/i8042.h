/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Of the PC's keyboard controller, what software uses to reset the machine:
 * command 0xFE at port 0x64.  No keyboard, no mouse; the status register shows
 * an idle controller, so that a guest that polls it does not wait.
 */
#pragma once

#include "hw/bus.h"
#include "hw/power.h"

/* Ports 0x60 and 0x64, one byte each; opaque is a struct power_port. */
extern const struct bus_ops i8042_data_ops;
extern const struct bus_ops i8042_command_ops;
