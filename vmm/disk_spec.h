/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The argument of --disk: PATH[,key[=value]]... or path=PATH[,key[=value]]...
 *
 * Two commas stand for one that is part of a path or a value.  In keys, '_'
 * equals '-'.  The keys are one table, from which errors and --help print;
 * vmm(1) explains them.
 */
#pragma once

#include "devices/blk.h"

/*
 * Fill @config, defaults included; queues is 0 if it was not given.  Returns 0;
 * or -EINVAL or -ENOMEM, having said why on stderr and leaving nothing to free.
 */
int disk_spec_parse(const char *spec, struct blk_config *config);

/* Free what disk_spec_parse() allocated: the path. */
void disk_spec_free(struct blk_config *config);

/* Print the keys on stdout, a line each. */
void disk_spec_help(void);
