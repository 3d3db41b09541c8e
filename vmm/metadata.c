// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/metadata.h"

#include <stdint.h>
#include <string.h>

#include "hw/base/clock.h"
#include "hw/base/probe.h"

#define TRIES 16
#define NAME_WORDS 8

/* After all that was begun before. */
static uint64_t read_tsc(void)
{
	__builtin_ia32_lfence();
	return __builtin_ia32_rdtsc();
}

void metadata_clock(void)
{
	uint64_t tsc = 0, ns = 0, error = UINT64_MAX;

	if (!probe_wanted(clock))
		return;
	/* The thread may lose the CPU in between: the shortest of some counts. */
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t before = read_tsc(), now = clock_ns(), took = read_tsc() - before;

		if (took < error) {
			tsc = before + took / 2;
			ns = now;
			error = took;
		}
	}
	probe(clock, tsc, ns, error);
}

void metadata_disk(unsigned number, unsigned queues, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	int64_t word[NAME_WORDS] = { 0 };

	if (!probe_wanted(disk))
		return;
	memcpy(word, name, strnlen(name, sizeof(word)));
	probe(disk, number, queues, word[0], word[1], word[2], word[3], word[4], word[5], word[6],
	      word[7]);
}
