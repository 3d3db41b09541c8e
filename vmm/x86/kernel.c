// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/x86/kernel.h"

#include "hw/base/util.h"
#include "hw/guest_memory.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define GIB (1ULL << 30)

int kernel_read(const struct kernel *k, uint64_t offset, void *buf, uint64_t len)
{
	char *to = buf;
	ssize_t n;

	if (len > k->file_size || offset > k->file_size - len)
		return kernel_error(k, -ENOEXEC, "truncated: %llu bytes, but refers to offset %llu",
				    (unsigned long long)k->file_size, (unsigned long long)offset);
	while (len > 0) {
		n = pread(k->fd, to, len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			n = -errno;
			return kernel_error(k, n, "cannot read: %s", strerror(-n));
		}
		if (n == 0)
			return kernel_error(k, -ENOEXEC, "became shorter while it was read");
		to += n;
		offset += n;
		len -= n;
	}
	return 0;
}

int kernel_put(const struct kernel *k, const struct guest_memory *mem, uint64_t gpa,
	       const void *data, uint64_t len)
{
	void *to = guest_memory_ptr(mem, gpa, len);

	if (!to)
		return kernel_error(k, -ENOSPC, "no RAM at 0x%llx", (unsigned long long)gpa);
	memcpy(to, data, len);
	return 0;
}

static int kernel_parse(struct kernel *k)
{
	struct stat st;
	int err;

	if (fstat(k->fd, &st) < 0) {
		err = -errno;
		return kernel_error(k, err, "cannot stat: %s", strerror(-err));
	}
	if (!S_ISREG(st.st_mode))
		return kernel_error(k, -ENOEXEC, "not a regular file");
	if (st.st_size == 0)
		return kernel_error(k, -ENOEXEC, "empty");
	k->file_size = st.st_size;

	err = pvh_parse(k);
	if (err == KERNEL_OTHER_FORMAT)
		err = bzimage_parse(k);
	if (err == KERNEL_OTHER_FORMAT)
		return kernel_error(k, -ENOEXEC, "neither a bzImage nor an ELF with a PVH note");
	return err;
}

int kernel_open(struct kernel *k, const char *path)
{
	int err;

	*k = (struct kernel){ .path = path };
	/* A FIFO would block the open. */
	k->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (k->fd < 0) {
		err = -errno;
		return kernel_error(k, err, "cannot open: %s", strerror(-err));
	}
	err = kernel_parse(k);
	if (err)
		kernel_close(k);
	return err;
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
	unsigned i;

	for (i = 0; i < mem->count; i++)
		given += mem->region[i].len;
	if (k->end <= given)
		return kernel_error(k, -ENOSPC, "no RAM at 0x%llx to 0x%llx, where it must be",
				    (unsigned long long)k->start, (unsigned long long)k->end - 1);
	return kernel_error(k, -ENOSPC, "needs more RAM than given: %llu MiB, not %llu MiB",
			    (unsigned long long)align_up(k->end, 1 << 20) >> 20,
			    (unsigned long long)given >> 20);
}

/* Move the only segment to the lowest place at or above its preferred one. */
static int place_bzimage(struct kernel *k, const struct guest_memory *mem)
{
	uint64_t gpa, size = k->end - k->start;
	unsigned i;

	for (i = 0; i < mem->count; i++) {
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
	unsigned i;

	if (k->format == KERNEL_BZIMAGE)
		return place_bzimage(k, mem);
	for (i = 0; i < k->segment_count; i++)
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

int kernel_initrd_address(const struct kernel *k, const struct guest_memory *mem, uint64_t size,
			  uint64_t *gpa)
{
	uint64_t bottom, top, limit = min(k->initrd_max + 1, 4 * GIB);
	unsigned i;

	for (i = mem->count; i-- > 0;) {
		bottom = mem->region[i].gpa;
		top = min(bottom + mem->region[i].len, limit);
		bottom = bottom < LAYOUT_EXTENDED_RAM ? LAYOUT_EXTENDED_RAM : bottom;
		if (highest_fit(bottom < k->end ? k->end : bottom, top, size, gpa) ||
		    highest_fit(bottom, min(top, k->start), size, gpa))
			return 0;
	}
	log_error("initrd: no room for its %llu bytes in RAM beside the kernel '%s'",
		  (unsigned long long)size, k->path);
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
	unsigned i;
	int err;

	err = kernel_check_cmdline(k, boot->cmdline);
	for (i = 0; i < k->segment_count && !err; i++)
		err = load_segment(k, mem, &k->segment[i]);
	if (!err)
		err = kernel_put(k, mem, LAYOUT_CMDLINE, boot->cmdline, strlen(boot->cmdline) + 1);
	if (err)
		return err;
	return k->format == KERNEL_BZIMAGE ? bzimage_prepare(k, mem, boot, entry)
					   : pvh_prepare(k, mem, boot, entry);
}
