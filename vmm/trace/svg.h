/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdio.h>

#include "vmm/trace/trace.h"

/*
 * Write two pictures as one SVG 1.1 document, which needs nothing else to be seen:
 * over the time at which requests began, the mean of each layer, stacked, and how
 * many requests took how long.  0, or -errno with nothing said, also where @file
 * cannot be written.
 */
int trace_svg_write(const struct trace *trace, FILE *file);
