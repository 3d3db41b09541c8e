// SPDX-License-Identifier: BSD-2-Clause
/*
 * ELF with a PVH note: Xen's x86/HVM direct boot ABI (docs/misc/pvh) and its
 * public header arch-x86/hvm/start_info.h, from which the layouts below come.
 */
#include "vmm/x86/loader.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "hw/base/util.h"
#include "hw/guest_memory.h"
#include "vmm/x86/e820.h"
#include "vmm/x86/layout.h"

#define NOTE_PHYS32_ENTRY 18   /* XEN_ELFNOTE_PHYS32_ENTRY */
#define NOTES_MAX 65536        /* bytes; a vmlinux has some hundreds */
#define PROGRAM_HEADERS_MAX 128 /* a kernel has five; each may cost a read a note */
#define START_MAGIC 0x336ec578 /* "xEn3" with the high bit of "E" set */

struct pvh_module {
	uint64_t gpa;
	uint64_t size;
	uint64_t cmdline_gpa;
	uint64_t reserved;
};

struct pvh_range {
	uint64_t gpa;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

/* The start info proper ends at `module`; the rest is what it points at. */
struct pvh_start {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t module_count;
	uint64_t modules_gpa;
	uint64_t cmdline_gpa;
	uint64_t rsdp_gpa;
	uint64_t map_gpa;
	uint32_t map_count;
	uint32_t reserved;
	struct pvh_module module;
	struct pvh_range map[E820_ENTRIES];
};

static bool is_elf_x86_64(const Elf64_Ehdr *h)
{
	return memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 && h->e_ident[EI_CLASS] == ELFCLASS64 &&
	       h->e_ident[EI_DATA] == ELFDATA2LSB && h->e_machine == EM_X86_64 &&
	       h->e_phentsize == sizeof(Elf64_Phdr);
}

/*
 * Look for the entry point in the notes of segment @p.  Sets k->entry, which
 * stays zero when it is not there.
 */
static int find_entry(struct kernel *k, const Elf64_Phdr *p)
{
	uint64_t align = p->p_align == 8 ? 8 : 4;
	uint64_t desc, end = min(p->p_filesz, (uint64_t)NOTES_MAX);
	struct {
		Elf64_Nhdr n;
		char name[4];
	} note;
	int ret;

	for (uint64_t at = 0; !k->entry && at + sizeof(note) <= end;
	     at = align_up(desc + note.n.n_descsz, align)) {
		ret = kernel_read(k, p->p_offset + at, &note, sizeof(note));
		if (ret)
			return ret;
		desc = align_up(at + sizeof(note.n) + note.n.n_namesz, align);
		if (note.n.n_type != NOTE_PHYS32_ENTRY || note.n.n_namesz != 4 ||
		    memcmp(note.name, "Xen", 4) != 0)
			continue;
		if ((note.n.n_descsz != 4 && note.n.n_descsz != 8) || desc + note.n.n_descsz > end)
			return kernel_error(k, -ENOEXEC, "malformed: PVH note of %u bytes",
					    note.n.n_descsz);
		ret = kernel_read(k, p->p_offset + desc, &k->entry, note.n.n_descsz);
		if (ret)
			return ret;
	}
	return 0;
}

static int add_segment(struct kernel *k, const Elf64_Phdr *p)
{
	const uint64_t end = p->p_paddr + p->p_memsz;

	if (p->p_memsz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz || end < p->p_paddr)
		return kernel_error(k, -ENOEXEC, "malformed: segment sizes");
	if (p->p_filesz > k->file_size || p->p_offset > k->file_size - p->p_filesz)
		return kernel_error(k, -ENOEXEC, "truncated, or a segment outside the file");
	if (p->p_paddr < LAYOUT_EXTENDED_RAM)
		return kernel_error(k, -ENOEXEC, "a segment at 0x%" PRIx64 ", below 1 MiB",
				    p->p_paddr);
	for (unsigned i = 0; i < k->segment_count; i++) {
		const struct kernel_segment *s = &k->segment[i];

		if (p->p_paddr < s->gpa + s->memsz && s->gpa < end)
			return kernel_error(k, -ENOEXEC, "malformed: segments overlap");
	}
	if (k->segment_count == KERNEL_SEGMENTS)
		return kernel_error(k, -ENOEXEC, "more than %d segments", KERNEL_SEGMENTS);

	k->segment[k->segment_count++] = (struct kernel_segment){
		.offset = p->p_offset,
		.filesz = p->p_filesz,
		.gpa = p->p_paddr,
		.memsz = p->p_memsz,
	};
	k->start = min(k->start, p->p_paddr);
	k->end = max(k->end, end);
	return 0;
}

static int for_each_segment(struct kernel *k, const Elf64_Ehdr *h, uint32_t type,
			    int (*visit)(struct kernel *k, const Elf64_Phdr *p))
{
	Elf64_Phdr p;
	int ret = 0;

	for (unsigned i = 0; i < h->e_phnum && !ret; i++) {
		/* The first read fails unless e_phoff is small, so none wraps. */
		ret = kernel_read(k, h->e_phoff + i * sizeof(p), &p, sizeof(p));
		if (!ret && p.p_type == type)
			ret = visit(k, &p);
	}
	return ret;
}

/* Is the entry point in bytes that come from the file? */
static bool entry_is_loaded(const struct kernel *k)
{
	for (unsigned i = 0; i < k->segment_count; i++) {
		const struct kernel_segment *s = &k->segment[i];

		if (k->entry >= s->gpa && k->entry - s->gpa < s->filesz)
			return k->entry <= UINT32_MAX;
	}
	return false;
}

int pvh_parse(struct kernel *k)
{
	Elf64_Ehdr h;
	int ret;

	if (k->file_size < sizeof(h))
		return KERNEL_OTHER_FORMAT;
	ret = kernel_read(k, 0, &h, sizeof(h));
	if (ret)
		return ret;
	if (!is_elf_x86_64(&h))
		return KERNEL_OTHER_FORMAT;
	if (h.e_phnum > PROGRAM_HEADERS_MAX)
		return kernel_error(k, -ENOEXEC, "malformed: %u program headers", h.e_phnum);
	ret = for_each_segment(k, &h, PT_NOTE, find_entry);
	if (ret)
		return ret;
	if (!k->entry)
		return KERNEL_OTHER_FORMAT;
	/* Sections are not loaded, but at the end of a file they tell its length. */
	if (h.e_shoff > k->file_size ||
	    (uint64_t)h.e_shnum * h.e_shentsize > k->file_size - h.e_shoff)
		return kernel_error(k, -ENOEXEC, "truncated: the section headers are missing");

	k->format = KERNEL_PVH;
	k->cmdline_max = LAYOUT_CMDLINE_LENGTH - 1;
	k->initrd_max = UINT32_MAX;
	k->start = UINT64_MAX;
	ret = for_each_segment(k, &h, PT_LOAD, add_segment);
	if (ret)
		return ret;
	if (!entry_is_loaded(k))
		return kernel_error(k, -ENOEXEC, "malformed: the PVH entry is in no segment");
	return 0;
}

static unsigned fill_map(struct pvh_range map[static E820_ENTRIES], const struct guest_memory *mem)
{
	struct boot_e820_entry e820[E820_ENTRIES];
	unsigned count = e820_fill(e820, mem);

	for (unsigned i = 0; i < count; i++)
		map[i] = (struct pvh_range){
			.gpa = e820[i].addr,
			.size = e820[i].size,
			.type = e820[i].type,
		};
	return count;
}

int pvh_prepare(const struct kernel *k, const struct guest_memory *mem,
		const struct kernel_boot *boot, struct kernel_entry *entry)
{
	struct pvh_start start = {
		.magic = START_MAGIC,
		.version = 1,
		.cmdline_gpa = LAYOUT_CMDLINE,
		.rsdp_gpa = LAYOUT_ACPI,
		.map_gpa = LAYOUT_PVH_INFO + offsetof(struct pvh_start, map),
	};

	start.map_count = fill_map(start.map, mem);
	if (boot->initrd_size) {
		start.module_count = 1;
		start.modules_gpa = LAYOUT_PVH_INFO + offsetof(struct pvh_start, module);
		start.module.gpa = boot->initrd_gpa;
		start.module.size = boot->initrd_size;
	}
	*entry = (struct kernel_entry){
		.long_mode = false,
		.rip = k->entry,
		.boot_info = LAYOUT_PVH_INFO,
	};
	return kernel_put(k, mem, LAYOUT_PVH_INFO, &start, sizeof(start));
}
