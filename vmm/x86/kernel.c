// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/x86/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/util.h"
#include "hw/guest_memory.h"
#include "vmm/file.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/loader.h"

#define PAGE 4096
#define GIB (1ULL << 30)

int kernel_read(const struct kernel *k, uint64_t offset, void *buf, uint64_t len)
{
	int ret;

	if (len > k->file_size || offset > k->file_size - len)
		return kernel_error(k, -ENOEXEC,
				    "truncated: %" PRIu64 " bytes, but refers to offset %" PRIu64,
				    k->file_size, offset);
	ret = file_read_at(k->fd, buf, len, offset);
	if (ret == -ENODATA)
		return kernel_error(k, -ENOEXEC, "became shorter while it was read");
	if (ret)
		return kernel_error(k, ret, "cannot read: %s", strerror(-ret));
	return 0;
}

int kernel_put(const struct kernel *k, const struct guest_memory *mem, uint64_t gpa,
	       const void *data, uint64_t len)
{
	void *to = guest_memory_ptr(mem, gpa, len);

	if (!to)
		return kernel_error(k, -ENOSPC, "no RAM at 0x%" PRIx64, gpa);
	memcpy(to, data, len);
	return 0;
}

static int kernel_parse(struct kernel *k)
{
	int ret;

	if (k->file_size == 0)
		return kernel_error(k, -ENOEXEC, "empty");
	ret = pvh_parse(k);
	if (ret == KERNEL_OTHER_FORMAT)
		ret = bzimage_parse(k);
	if (ret == KERNEL_OTHER_FORMAT)
		return kernel_error(k, -ENOEXEC, "neither a bzImage nor an ELF with a PVH note");
	return ret;
}

int kernel_open(struct kernel *k, const char *path)
{
	int ret;

	*k = (struct kernel){ .path = path };
	k->fd = file_open_regular(AT_FDCWD, path, &k->file_size);
	if (k->fd == -EISDIR || k->fd == -EINVAL)
		return kernel_error(k, -ENOEXEC, "not a regular file");
	if (k->fd < 0)
		return kernel_error(k, k->fd, "cannot open: %s", strerror(-k->fd));
	ret = kernel_parse(k);
	if (ret)
		kernel_close(k);
	return ret;
}

void kernel_close(struct kernel *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}

int kernel_check_cmdline(const struct kernel *k, const char *cmdline)
{
	size_t len = strlen(cmdline);

	if (len <= k->cmdline_max)
		return 0;
	return kernel_error(k, -E2BIG, "takes a command line of %u bytes, this one has %zu",
			    k->cmdline_max, len);
}

static int error_no_room(const struct kernel *k, const struct guest_memory *mem)
{
	uint64_t given = 0;

	for (unsigned i = 0; i < mem->count; i++)
		given += mem->region[i].len;
	if (k->end <= given)
		return kernel_error(k, -ENOSPC,
				    "no RAM at 0x%" PRIx64 " to 0x%" PRIx64 ", where it must be",
				    k->start, k->end - 1);
	return kernel_error(k, -ENOSPC,
			    "needs more RAM than given: %" PRIu64 " MiB, not %" PRIu64 " MiB",
			    align_up(k->end, 1 << 20) >> 20, given >> 20);
}

/* Move the only segment to the lowest place at or above its preferred one. */
static int place_bzimage(struct kernel *k, const struct guest_memory *mem)
{
	uint64_t gpa, size = k->end - k->start;

	for (unsigned i = 0; i < mem->count; i++) {
		gpa = k->start;
		if (gpa < mem->region[i].gpa && k->setup.relocatable_kernel)
			gpa = align_up(mem->region[i].gpa, k->setup.kernel_alignment);
		/* Our page tables end at 4 GiB. */
		if (gpa + size > 4 * GIB || !guest_memory_ptr(mem, gpa, size))
			continue;
		k->segment[0].gpa = k->start = gpa;
		k->end = gpa + size;
		return 0;
	}
	return error_no_room(k, mem);
}

int kernel_place(struct kernel *k, const struct guest_memory *mem)
{
	if (k->format == KERNEL_BZIMAGE)
		return place_bzimage(k, mem);
	for (unsigned i = 0; i < k->segment_count; i++)
		if (!guest_memory_ptr(mem, k->segment[i].gpa, k->segment[i].memsz))
			return error_no_room(k, mem);
	return 0;
}

/* The highest page in [bottom, top) that @size bytes can start at. */
static bool highest_fit(uint64_t bottom, uint64_t top, uint64_t size, uint64_t *gpa)
{
	if (top < bottom || top - bottom < size)
		return false;
	*gpa = align_down(top - size, PAGE);
	return *gpa >= bottom;
}

int kernel_initrd_address(const struct kernel *k, const struct guest_memory *mem, const char *path,
			  uint64_t size, uint64_t *gpa)
{
	uint64_t limit = min(k->initrd_max + 1, 4 * GIB);

	for (unsigned i = mem->count; i-- > 0;) {
		const struct guest_region *r = &mem->region[i];
		uint64_t bottom = max(r->gpa, (uint64_t)LAYOUT_EXTENDED_RAM);
		uint64_t top = min(r->gpa + r->len, limit);

		if (highest_fit(max(bottom, k->end), top, size, gpa) ||
		    highest_fit(bottom, min(top, k->start), size, gpa))
			return 0;
	}
	log_error("initrd%s%s%s: no room for its %" PRIu64 " bytes in RAM beside the kernel '%s'",
		  path ? " '" : "", path ? path : "", path ? "'" : "", size, k->path);
	return -ENOSPC;
}

static int load_segment(const struct kernel *k, const struct guest_memory *mem,
			const struct kernel_segment *s)
{
	void *to = guest_memory_ptr(mem, s->gpa, s->memsz);

	if (!to)
		return error_no_room(k, mem);
	return kernel_read(k, s->offset, to, s->filesz);
}

int kernel_load(const struct kernel *k, const struct guest_memory *mem,
		const struct kernel_boot *boot, struct kernel_entry *entry)
{
	int ret;

	ret = kernel_check_cmdline(k, boot->cmdline);
	for (unsigned i = 0; i < k->segment_count && !ret; i++)
		ret = load_segment(k, mem, &k->segment[i]);
	if (!ret)
		ret = kernel_put(k, mem, LAYOUT_CMDLINE, boot->cmdline, strlen(boot->cmdline) + 1);
	if (ret)
		return ret;
	return k->format == KERNEL_BZIMAGE ? bzimage_prepare(k, mem, boot, entry)
					   : pvh_prepare(k, mem, boot, entry);
}
