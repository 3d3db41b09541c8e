/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC.  Any thread; never fails. */
uint64_t clock_ns(void);
