// SPDX-License-Identifier: BSD-2-Clause
/*
 * bzImage by the 64-bit boot protocol: Linux Documentation/arch/x86/boot.rst
 * and zero-page.rst.
 */
#include "vmm/x86/loader.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "hw/base/util.h"
#include "hw/guest_memory.h"
#include "vmm/x86/e820.h"
#include "vmm/x86/layout.h"

#define SECTOR 512
#define PARAGRAPH 16
#define BOOT_FLAG 0xaa55
#define HEADER_MAGIC 0x53726448 /* "HdrS" */
#define PROTOCOL_2_12 0x020c    /* the first with xloadflags */
#define LOADER_UNDEFINED 0xff
#define ENTRY_64 0x200

#define HEADER_OFFSET offsetof(struct boot_params, hdr)
#define HEADER_END(field)                                                                          \
	(offsetof(struct setup_header, field) + sizeof(((struct setup_header *)0)->field))

/* How many bytes of the header the kernel has: its first jump leaps over it. */
static size_t header_size(const struct setup_header *h)
{
	return HEADER_END(jump) + (h->jump >> 8);
}

static uint64_t setup_size(const struct setup_header *h)
{
	return ((h->setup_sects ? h->setup_sects : 4) + 1) * SECTOR;
}

static const char *header_fault(const struct setup_header *h)
{
	if (h->version < PROTOCOL_2_12)
		return "boot protocol older than 2.12";
	if (header_size(h) < HEADER_END(init_size))
		return "malformed: the setup header is too short";
	if (!(h->loadflags & LOADED_HIGH))
		return "a zImage, which loads low";
	if (!(h->xloadflags & XLF_KERNEL_64))
		return "not a 64-bit kernel";
	if (h->relocatable_kernel && __builtin_popcount(h->kernel_alignment) != 1)
		return "malformed: kernel_alignment is no power of two";
	if (h->syssize <= ENTRY_64 / PARAGRAPH)
		return "malformed: no kernel behind the setup part";
	if ((uint64_t)h->payload_offset + h->payload_length > (uint64_t)h->syssize * PARAGRAPH)
		return "malformed: the payload ends outside the kernel";
	return NULL;
}

/*
 * Where the file must reach to be whole: a signature for Secure Boot lies
 * behind the kernel, and the PE header names its place (PE format, attribute
 * certificate table).  0 if unsigned.  Only to tell a truncated file.
 */
static int read_signature_end(const struct kernel *k, uint64_t *end)
{
	struct {
		char magic[4];
		uint8_t coff[20];
		uint16_t format;
		uint8_t optional[106];
		uint32_t directories;
		uint64_t directory[4];
		uint32_t offset;
		uint32_t size;
	} __attribute__((packed)) pe;
	uint32_t at;
	int ret;

	*end = 0;
	ret = kernel_read(k, 0x3c, &at, sizeof(at));
	if (ret || at > k->file_size - sizeof(pe))
		return ret;
	ret = kernel_read(k, at, &pe, sizeof(pe));
	if (ret || memcmp(pe.magic, "PE\0", 4) != 0 || pe.format != 0x20b || pe.directories < 5)
		return ret;
	*end = (uint64_t)pe.offset + pe.size;
	return 0;
}

/* The kernel behind the setup part: all of the file's rest but a signature. */
static int parse_body(struct kernel *k)
{
	const struct setup_header *h = &k->setup;
	uint64_t signature_end, setup = setup_size(h);
	uint64_t len = (uint64_t)h->syssize * PARAGRAPH;
	/* Linux fills its last paragraph.  memtest86+, with no payload, does not. */
	uint64_t unfilled = h->payload_length ? 0 : PARAGRAPH - 1;
	int ret;

	ret = read_signature_end(k, &signature_end);
	if (ret)
		return ret;
	if (k->file_size + unfilled < setup + len || k->file_size < signature_end)
		return kernel_error(k, -ENOEXEC, "truncated: %" PRIu64 " bytes of %" PRIu64,
				    k->file_size, max(setup + len, signature_end));
	k->segment[0].offset = setup;
	k->segment[0].filesz = min(len, k->file_size - setup);
	k->segment_count = 1;
	return 0;
}

/*
 * The release at the start of the version string, as uname -r gives it.  It
 * will be part of a path, so one with a slash, or a dot at its start, is none.
 */
static int parse_version(struct kernel *k)
{
	uint64_t offset = k->setup.kernel_version + 0x200;
	uint64_t room = setup_size(&k->setup);
	unsigned len = 0;
	int ret;

	if (k->setup.kernel_version == 0 || offset >= room)
		return 0;
	room = min(room - offset, sizeof(k->version));
	ret = kernel_read(k, offset, k->version, room);
	if (ret)
		return ret;
	while (len < room && isgraph((unsigned char)k->version[len]) && k->version[len] != '/')
		len++;
	if (len == room || k->version[len] == '/' || k->version[0] == '.')
		len = 0;
	memset(k->version + len, 0, sizeof(k->version) - len);
	return 0;
}

/* Where the kernel wants to be, and how much it needs there. */
static int choose_range(struct kernel *k)
{
	const struct setup_header *h = &k->setup;
	uint64_t start = max(h->pref_address, (uint64_t)LAYOUT_EXTENDED_RAM);
	uint64_t size = max(k->segment[0].filesz, (uint64_t)h->init_size);

	if (start > UINT32_MAX)
		return kernel_error(k, -ENOEXEC, "wants to be loaded above 4 GiB");
	if (h->relocatable_kernel)
		start = align_up(start, h->kernel_alignment);
	k->segment[0].memsz = size;
	k->segment[0].gpa = k->start = start;
	k->end = start + size;
	return 0;
}

int bzimage_parse(struct kernel *k)
{
	struct setup_header *h = &k->setup;
	const char *fault;
	int ret;

	if (k->file_size < HEADER_OFFSET + sizeof(*h))
		return KERNEL_OTHER_FORMAT;
	ret = kernel_read(k, HEADER_OFFSET, h, sizeof(*h));
	if (ret)
		return ret;
	if (h->boot_flag != BOOT_FLAG || h->header != HEADER_MAGIC)
		return KERNEL_OTHER_FORMAT;
	fault = header_fault(h);
	if (fault)
		return kernel_error(k, -ENOEXEC, "%s", fault);
	if (header_size(h) < sizeof(*h))
		memset((char *)h + header_size(h), 0, sizeof(*h) - header_size(h));

	k->format = KERNEL_BZIMAGE;
	k->cmdline_max = min(h->cmdline_size, LAYOUT_CMDLINE_LENGTH - 1U);
	k->initrd_max = h->initrd_addr_max;
	ret = parse_body(k);
	if (!ret)
		ret = parse_version(k);
	if (!ret)
		ret = choose_range(k);
	return ret;
}

/*
 * The low 4 GiB mapped to themselves by 2 MiB pages: the kernel, its
 * parameters and its command line must be, and no CPU lacks these pages.
 */
static int put_page_tables(const struct kernel *k, const struct guest_memory *mem)
{
	enum { PRESENT = 1, WRITABLE = 2, LARGE = 0x80, ENTRIES = 512 };
	uint64_t table[6][ENTRIES] = { 0 }; /* PML4, PDPT, four page directories */
	const uint64_t base = LAYOUT_PAGE_TABLES;

	table[0][0] = (base + sizeof(table[0])) | PRESENT | WRITABLE;
	for (unsigned i = 0; i < 4; i++) {
		table[1][i] = (base + (2 + i) * sizeof(table[0])) | PRESENT | WRITABLE;
		for (unsigned j = 0; j < ENTRIES; j++)
			table[2 + i][j] = ((uint64_t)i << 30 | (uint64_t)j << 21) | PRESENT |
					  WRITABLE | LARGE;
	}
	return kernel_put(k, mem, base, table, sizeof(table));
}

/* Flat segments at the selectors that the protocol fixes. */
static int put_gdt(const struct kernel *k, const struct guest_memory *mem)
{
	static const uint64_t gdt[KERNEL_GDT_SIZE / 8] = {
		[KERNEL_CS / 8] = 0x00af9b000000ffff, /* 64-bit, execute/read */
		[KERNEL_DS / 8] = 0x00cf93000000ffff, /* read/write */
	};

	return kernel_put(k, mem, LAYOUT_GDT, gdt, sizeof(gdt));
}

/*
 * Only the header is taken from the file; all else is zero.  That includes
 * `sentinel`, which tells the kernel that it may believe the rest, and the
 * screen, which tells it that there is no VGA.
 */
static int put_boot_params(const struct kernel *k, const struct guest_memory *mem,
			   const struct kernel_boot *boot)
{
	struct boot_params params = {
		.hdr = k->setup,
		.acpi_rsdp_addr = LAYOUT_ACPI,
	};

	params.hdr.type_of_loader = LOADER_UNDEFINED;
	params.hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	params.hdr.ramdisk_image = boot->initrd_size ? boot->initrd_gpa : 0;
	params.hdr.ramdisk_size = boot->initrd_size;
	params.e820_entries = e820_fill(params.e820_table, mem);
	return kernel_put(k, mem, LAYOUT_BOOT_PARAMS, &params, sizeof(params));
}

int bzimage_prepare(const struct kernel *k, const struct guest_memory *mem,
		    const struct kernel_boot *boot, struct kernel_entry *entry)
{
	int ret;

	ret = put_page_tables(k, mem);
	if (!ret)
		ret = put_gdt(k, mem);
	if (!ret)
		ret = put_boot_params(k, mem, boot);
	*entry = (struct kernel_entry){
		.long_mode = true,
		.rip = k->start + ENTRY_64,
		.boot_info = LAYOUT_BOOT_PARAMS,
	};
	return ret;
}
