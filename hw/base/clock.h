/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL
#define NS_PER_US 1000LL

/* Nanoseconds of CLOCK_MONOTONIC.  Any thread; never fails. */
uint64_t clock_ns(void);
