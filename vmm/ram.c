// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/vm.h"
#include "vmm/x86/layout.h"

#define HUGE_PAGE (2ULL << 20)

int ram_create(struct ram *ram, uint64_t len)
{
	uint64_t low = min(len, (uint64_t)LAYOUT_LOW_RAM_END);
	uint8_t *host;
	int ret;

	*ram = (struct ram){ .map_len = len + HUGE_PAGE };
	ram->map = mmap(NULL, ram->map_len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram->map == MAP_FAILED) {
		ret = -errno;
		log_error("cannot map %" PRIu64 " MiB of guest memory: %s", len >> 20,
			  strerror(-ret));
		return ret;
	}
	/* A huge page of the host can back one of the guest only if both are aligned. */
	host = (uint8_t *)align_up((uintptr_t)ram->map, HUGE_PAGE);
	madvise(host, len, MADV_HUGEPAGE); /* a host without them is fine too */

	guest_memory_add(&ram->memory, 0, low, host);
	ram->end = low;
	if (len > low) {
		guest_memory_add(&ram->memory, LAYOUT_HIGH_RAM, len - low, host + low);
		ram->end = LAYOUT_HIGH_RAM + len - low;
	}
	return 0;
}

struct iovec ram_host(const struct ram *ram)
{
	const struct guest_memory *memory = &ram->memory;
	const struct guest_region *last = &memory->region[memory->count - 1];
	uint8_t *host = memory->region[0].host;

	return (struct iovec){ host, (size_t)(last->host + last->len - host) };
}

void ram_destroy(struct ram *ram)
{
	munmap(ram->map, ram->map_len);
}

int ram_attach(const struct ram *ram, struct vm *vm)
{
	for (unsigned i = 0; i < ram->memory.count; i++) {
		const struct guest_region *r = &ram->memory.region[i];
		int ret = vm_add_memory(vm, i, r->gpa, r->len, r->host);

		if (ret)
			return ret;
	}
	return 0;
}
