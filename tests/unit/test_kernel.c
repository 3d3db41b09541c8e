// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/x86/kernel.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/base/util.h"
#include "hw/guest_memory.h"
#include "tests/unit/fault.h"
#include "tests/unit/unit.h"
#include "vmm/x86/e820.h"
#include "vmm/x86/layout.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define PREFERRED (16 * MIB)
#define INIT_SIZE (8 * MIB)
#define SETUP_SIZE 1024
#define BODY_SIZE 2048
#define RELEASE "6.1.0-53-cloud-amd64"

/* A file that exists only while the test runs. */
struct file {
	int fd;
	char path[32];
	_Alignas(Elf64_Ehdr) uint8_t bytes[8192];
	size_t size;
};

static struct file file;

static void file_write(void)
{
	if (file.fd <= 0) {
		file.fd = memfd_create("kernel", 0);
		ck_assert_int_gt(file.fd, 0);
		snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	}
	ck_assert_int_eq(ftruncate(file.fd, 0), 0);
	ck_assert_int_eq(pwrite(file.fd, file.bytes, file.size, 0), file.size);
}

/* stderr since the last call; it goes to a file from the first call on. */
static const char *messages(void)
{
	static char text[4096];
	static int fd;
	ssize_t n;

	if (fd == 0) {
		fd = memfd_create("stderr", 0);
		ck_assert_int_gt(fd, 0);
		ck_assert_int_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
		dup2(fd, STDERR_FILENO);
	}
	n = pread(fd, text, sizeof(text) - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = 0;
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	return text;
}

static void assert_one_message(const char *part)
{
	const char *text = messages();

	ck_assert_msg(strncmp(text, "vmm: ", 5) == 0, "'%s'", text);
	ck_assert_msg(strstr(text, part) != NULL, "'%s' in '%s'", part, text);
	ck_assert_msg(strchr(text, '\n') == text + strlen(text) - 1, "one line: '%s'", text);
}

static void assert_open_fails(const char *part)
{
	struct kernel k;

	messages();
	file_write();
	ck_assert_int_eq(kernel_open(&k, file.path), -ENOEXEC);
	assert_one_message(part);
	kernel_close(&k);
}

static void open_ok(struct kernel *k)
{
	messages();
	file_write();
	ck_assert_int_eq(kernel_open(k, file.path), 0);
	ck_assert_str_eq(messages(), "");
}

/* Guest RAM that costs nothing until it is touched. */
static void add_ram(struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	void *ram = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(ram, MAP_FAILED);
	ck_assert_int_eq(guest_memory_add(mem, gpa, len, ram), 0);
}

static void get(const struct guest_memory *mem, uint64_t gpa, void *to, size_t len)
{
	const void *from = guest_memory_ptr(mem, gpa, len);

	ck_assert_ptr_nonnull(from);
	memcpy(to, from, len);
}

/* bzImage */

static void header_get(struct setup_header *h)
{
	memcpy(h, file.bytes + 0x1f1, sizeof(*h));
}

static void header_put(const struct setup_header *h)
{
	memcpy(file.bytes + 0x1f1, h, sizeof(*h));
}

static void make_bzimage(void)
{
	const struct setup_header h = {
		.setup_sects = SETUP_SIZE / 512 - 1,
		.syssize = BODY_SIZE / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb,
		.header = 0x53726448,
		.version = 0x020f,
		.kernel_version = 0x100,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 2 * MIB,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.payload_offset = 0x300,
		.payload_length = 0x400,
		.pref_address = PREFERRED,
		.init_size = INIT_SIZE,
	};

	file.size = SETUP_SIZE + BODY_SIZE;
	memset(file.bytes, 0xcc, sizeof(file.bytes));
	header_put(&h);
	memset(file.bytes + 0x3c, 0, 4);
	strcpy((char *)file.bytes + 0x300, RELEASE " (debian-kernel) #1 SMP");
}

/* With a PE header that names a signature behind the kernel. */
static void make_signed_bzimage(void)
{
	const uint32_t at = 0x80, directories = 16, place[2] = { file.size, 24 };
	const uint16_t format = 0x20b;
	uint8_t *pe = file.bytes + at;

	memcpy(file.bytes + 0x3c, &at, 4);
	memcpy(pe, "PE\0", 4);
	memcpy(pe + 24, &format, 2);
	memcpy(pe + 24 + 108, &directories, 4);
	memcpy(pe + 24 + 112 + 4 * 8, place, 8);
	file.size += 24;
}

START_TEST(bzimage_fields)
{
	struct kernel k;

	make_bzimage();
	open_ok(&k);
	ck_assert_int_eq(k.format, KERNEL_BZIMAGE);
	ck_assert_str_eq(k.version, RELEASE);
	ck_assert_uint_eq(k.cmdline_max, 2047);
	ck_assert_uint_eq(k.initrd_max, 0x7fffffff);
	ck_assert_uint_eq(k.start, PREFERRED);
	ck_assert_uint_eq(k.end, PREFERRED + INIT_SIZE);
	ck_assert_uint_eq(k.segment[0].offset, SETUP_SIZE);
	ck_assert_uint_eq(k.segment[0].filesz, BODY_SIZE);
	kernel_close(&k);
	kernel_close(&k);
}
END_TEST

/* setup_sects 0 means 4, and the kernel may ask for less than its own size. */
START_TEST(bzimage_old_defaults)
{
	struct setup_header h;
	struct kernel k;

	make_bzimage();
	header_get(&h);
	h.setup_sects = 0;
	h.init_size = 0;
	h.pref_address = 0;
	header_put(&h);
	file.size = 5 * 512 + BODY_SIZE;
	open_ok(&k);
	ck_assert_uint_eq(k.segment[0].offset, 5 * 512);
	ck_assert_uint_eq(k.start, 2 * MIB); /* 1 MiB, aligned */
	ck_assert_uint_eq(k.end, 2 * MIB + BODY_SIZE);
	kernel_close(&k);

	h.relocatable_kernel = 0;
	h.kernel_alignment = 0;
	header_put(&h);
	open_ok(&k);
	ck_assert_uint_eq(k.start, MIB);
	kernel_close(&k);
}
END_TEST

static void truncate_everywhere(void)
{
	size_t size;

	for (size = file.size; size-- > 1;) {
		file.size = size;
		assert_open_fails("kernel '");
	}
}

START_TEST(bzimage_truncated)
{
	make_bzimage();
	truncate_everywhere();
}
END_TEST

START_TEST(signed_bzimage_truncated)
{
	struct kernel k;

	make_bzimage();
	make_signed_bzimage();
	open_ok(&k);
	ck_assert_uint_eq(k.segment[0].filesz, BODY_SIZE);
	kernel_close(&k);
	truncate_everywhere();
}
END_TEST

/* memtest86+ leaves its last paragraph unfilled, and has no payload. */
START_TEST(bzimage_unfilled_paragraph)
{
	struct setup_header h;
	struct kernel k;

	make_bzimage();
	header_get(&h);
	h.payload_offset = h.payload_length = 0;
	header_put(&h);
	file.size -= 15;
	open_ok(&k);
	ck_assert_uint_eq(k.segment[0].filesz, BODY_SIZE - 15);
	kernel_close(&k);
	file.size--;
	assert_open_fails("truncated");
}
END_TEST

#define FAULT(change, part)                                                                        \
	do {                                                                                       \
		make_bzimage();                                                                    \
		header_get(&h);                                                                    \
		change;                                                                            \
		header_put(&h);                                                                    \
		assert_open_fails(part);                                                           \
	} while (0)

START_TEST(bzimage_faults)
{
	struct setup_header h;

	FAULT(h.boot_flag = 0, "neither a bzImage nor an ELF with a PVH note");
	FAULT(h.header = 0, "neither a bzImage nor an ELF with a PVH note");
	FAULT(h.version = 0x20b, "older than 2.12");
	FAULT(h.loadflags = 0, "zImage");
	FAULT(h.xloadflags = XLF_CAN_BE_LOADED_ABOVE_4G, "not a 64-bit kernel");
	FAULT(h.kernel_alignment = 0, "kernel_alignment");
	FAULT(h.kernel_alignment = 3 * MIB, "kernel_alignment");
	FAULT(h.jump = 0x61eb, "setup header is too short");
	FAULT(h.syssize = 0x20, "no kernel behind the setup part");
	FAULT(h.syssize = UINT32_MAX, "truncated: 3072 bytes of 68719477744");
	FAULT(h.setup_sects = 255, "truncated");
	FAULT(h.payload_length = BODY_SIZE, "payload ends outside");
	FAULT(h.payload_offset = UINT32_MAX, "payload ends outside");
	FAULT(h.pref_address = 4 * GIB, "above 4 GiB");
	FAULT(h.pref_address = UINT64_MAX, "above 4 GiB");
}
END_TEST

static void assert_version(uint16_t offset, const char *string, size_t len, const char *expected)
{
	struct setup_header h;
	struct kernel k;

	make_bzimage();
	header_get(&h);
	h.kernel_version = offset;
	header_put(&h);
	memcpy(file.bytes + offset + 0x200, string, len);
	open_ok(&k);
	ck_assert_str_eq(k.version, expected);
	kernel_close(&k);
}

START_TEST(bzimage_version)
{
	char text[200];

	memset(text, 'v', sizeof(text));
	assert_version(0, "", 0, "");
	assert_version(0x100, "6.12", 5, "6.12");
	assert_version(0x100, "6.12\n", 5, "6.12");
	assert_version(0x100, " 6.12", 6, "");
	assert_version(0x100, "../../x y", 9, "");
	assert_version(0x100, "a/b", 4, "");
	assert_version(0x100, "..", 3, "");
	assert_version(0x100, ".6.12", 6, "");
	assert_version(0x100, "\377\1", 2, "");
	/* Longer than we keep, and unterminated at the end of the setup part. */
	assert_version(0x100, text, 200, "");
	assert_version(SETUP_SIZE - 4 - 0x200, "6.12 ", 5, "");
	assert_version(SETUP_SIZE - 4 - 0x200, "6.1 ", 4, "6.1");
	assert_version(SETUP_SIZE - 0x200, "6.1 ", 4, "");
	assert_version(0x7000, "", 0, "");
}
END_TEST

START_TEST(bzimage_place)
{
	struct guest_memory small = { .count = 0 }, exact = small, hole = small, high = small;
	struct setup_header h;
	struct kernel k;

	make_bzimage();
	open_ok(&k);
	add_ram(&small, 0, 23 * MIB);
	ck_assert_int_eq(kernel_place(&k, &small), -ENOSPC);
	assert_one_message("needs more RAM than given: 24 MiB, not 23 MiB");
	add_ram(&exact, 0, PREFERRED + INIT_SIZE);
	ck_assert_int_eq(kernel_place(&k, &exact), 0);
	ck_assert_uint_eq(k.start, PREFERRED);

	/* Only behind a hole, and not where our page tables end. */
	add_ram(&hole, 0, 20 * MIB);
	add_ram(&hole, 49 * MIB, 16 * MIB);
	ck_assert_int_eq(kernel_place(&k, &hole), 0);
	ck_assert_uint_eq(k.start, 50 * MIB);
	ck_assert_uint_eq(k.end, 58 * MIB);
	ck_assert_uint_eq(k.segment[0].gpa, 50 * MIB);
	kernel_close(&k);
	open_ok(&k);
	add_ram(&high, 0, 20 * MIB);
	add_ram(&high, 4 * GIB, 64 * MIB);
	ck_assert_int_eq(kernel_place(&k, &high), -ENOSPC);
	assert_one_message("no RAM at 0x1000000 to 0x17fffff");
	kernel_close(&k);

	header_get(&h);
	h.relocatable_kernel = 0;
	header_put(&h);
	open_ok(&k);
	ck_assert_int_eq(kernel_place(&k, &hole), -ENOSPC);
	assert_one_message("no RAM at");
	kernel_close(&k);
}
END_TEST

START_TEST(initrd_address)
{
	struct guest_memory mem = { .count = 0 };
	uint64_t gpa;
	struct kernel k;

	make_bzimage();
	open_ok(&k);
	add_ram(&mem, 0, 64 * MIB);
	ck_assert_int_eq(kernel_place(&k, &mem), 0);
	/* Above the kernel at 16 to 24 MiB while it fits there, below it else. */
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, 1, &gpa), 0);
	ck_assert_uint_eq(gpa, 64 * MIB - 4096);
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, 40 * MIB, &gpa), 0);
	ck_assert_uint_eq(gpa, 24 * MIB);
	k.end += 1;
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, 40 * MIB - 2, &gpa), -ENOSPC);
	k.initrd_max = 24 * MIB + 1;
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, 1, &gpa), 0);
	ck_assert_uint_eq(gpa, 15 * MIB + 0xff000);
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, 15 * MIB, &gpa), 0);
	ck_assert_uint_eq(gpa, MIB);
	messages();
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, 15 * MIB + 1, &gpa), -ENOSPC);
	assert_one_message("initrd: no room for its 15728641 bytes");
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, "file", UINT64_MAX, &gpa), -ENOSPC);
	assert_one_message("initrd 'file': no room");
	kernel_close(&k);
}
END_TEST

/* The header's limit and 4 GiB hold where RAM goes on above them. */
START_TEST(initrd_limits)
{
	struct guest_memory mem = { .count = 0 };
	uint64_t gpa;
	struct kernel k;

	make_bzimage();
	open_ok(&k);
	add_ram(&mem, 0, LAYOUT_LOW_RAM_END);
	add_ram(&mem, LAYOUT_HIGH_RAM, GIB);
	ck_assert_int_eq(kernel_place(&k, &mem), 0);
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, 5000, &gpa), 0);
	ck_assert_uint_eq(gpa, 0x7fffe000);
	k.initrd_max = UINT64_MAX >> 1;
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, 5000, &gpa), 0);
	ck_assert_uint_eq(gpa, LAYOUT_LOW_RAM_END - 8192);
	kernel_close(&k);
}
END_TEST

static void assert_page_tables(const struct guest_memory *mem)
{
	uint64_t pml4, pdpt, pd, address;

	for (address = 0; address < 4 * GIB; address += 2 * MIB) {
		get(mem, LAYOUT_PAGE_TABLES, &pml4, 8);
		ck_assert_uint_eq(pml4 & 0xfff, 3);
		get(mem, (pml4 & ~0xfffULL) + (address >> 30) * 8, &pdpt, 8);
		ck_assert_uint_eq(pdpt & 0xfff, 3);
		get(mem, (pdpt & ~0xfffULL) + (address >> 21 & 511) * 8, &pd, 8);
		ck_assert_uint_eq(pd, address | 0x83);
	}
}

static void assert_e820(const struct boot_e820_entry *map, unsigned count)
{
	const struct boot_e820_entry expected[] = {
		{ 0, 0x9fc00, E820_RAM },
		{ 0xe0000, 0x20000, E820_RESERVED },
		{ MIB, LAYOUT_LOW_RAM_END - MIB, E820_RAM },
		{ LAYOUT_ECAM, LAYOUT_ECAM_LENGTH, E820_RESERVED },
		{ 0xfeb00000, 0x2000, E820_RESERVED }, /* virtio-mmio */
		{ LAYOUT_HIGH_RAM, GIB, E820_RAM },
	};

	ck_assert_uint_eq(count, array_size(expected));
	ck_assert_mem_eq(map, expected, sizeof(expected));
}

START_TEST(bzimage_load)
{
	const struct kernel_boot boot = { "console=ttyS0", 0x7fff0000, 12345 };
	struct guest_memory mem = { .count = 0 };
	struct kernel_entry entry;
	struct boot_params params;
	uint64_t gdt[4];
	struct kernel k;

	make_bzimage();
	open_ok(&k);
	add_ram(&mem, 0, LAYOUT_LOW_RAM_END);
	add_ram(&mem, LAYOUT_HIGH_RAM, GIB);
	ck_assert_int_eq(kernel_place(&k, &mem), 0);
	ck_assert_int_eq(kernel_load(&k, &mem, &boot, &entry), 0);
	kernel_close(&k);

	ck_assert(entry.long_mode);
	ck_assert_uint_eq(entry.rip, PREFERRED + 0x200);
	ck_assert_uint_eq(entry.boot_info, LAYOUT_BOOT_PARAMS);
	ck_assert_mem_eq(guest_memory_ptr(&mem, PREFERRED, BODY_SIZE), file.bytes + SETUP_SIZE,
			 BODY_SIZE);
	ck_assert_str_eq(guest_memory_ptr(&mem, LAYOUT_CMDLINE, 100), "console=ttyS0");

	get(&mem, LAYOUT_BOOT_PARAMS, &params, sizeof(params));
	ck_assert_uint_eq(params.sentinel, 0);
	ck_assert_uint_eq(params.hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(params.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	ck_assert_uint_eq(params.hdr.ramdisk_image, 0x7fff0000);
	ck_assert_uint_eq(params.hdr.ramdisk_size, 12345);
	ck_assert_uint_eq(params.hdr.init_size, INIT_SIZE);
	ck_assert_uint_eq(params.acpi_rsdp_addr, LAYOUT_ACPI);
	assert_e820(params.e820_table, params.e820_entries);

	assert_page_tables(&mem);
	get(&mem, LAYOUT_GDT, gdt, sizeof(gdt));
	ck_assert_uint_eq(gdt[KERNEL_CS / 8], 0x00af9b000000ffff);
	ck_assert_uint_eq(gdt[KERNEL_DS / 8], 0x00cf93000000ffff);
}
END_TEST

/* The time to start is that of reading the kernel. */
START_TEST(read_once)
{
	const struct kernel_boot boot = { .cmdline = "" };
	struct guest_memory mem = { .count = 0 };
	struct kernel_entry entry;
	struct kernel k;
	uint64_t begin = fault_pread_bytes(), headers;

	make_bzimage();
	add_ram(&mem, 0, 32 * MIB);
	open_ok(&k);
	headers = fault_pread_bytes() - begin;
	ck_assert_uint_gt(headers, 0);
	ck_assert_uint_lt(headers, 1024);
	ck_assert_int_eq(kernel_place(&k, &mem), 0);
	ck_assert_int_eq(kernel_load(&k, &mem, &boot, &entry), 0);
	ck_assert_uint_eq(fault_pread_bytes() - begin - headers, BODY_SIZE);
	kernel_close(&k);
}
END_TEST

/* A header that ends early: what lies behind it in the file is not header. */
START_TEST(bzimage_short_header)
{
	const struct kernel_boot boot = { .cmdline = "" };
	struct guest_memory mem = { .count = 0 };
	struct kernel_entry entry;
	struct boot_params params;
	struct setup_header h;
	struct kernel k;

	make_bzimage();
	header_get(&h);
	h.jump = 0x62eb;
	h.handover_offset = h.kernel_info_offset = 0x12345678;
	header_put(&h);
	open_ok(&k);
	add_ram(&mem, 0, 32 * MIB);
	ck_assert_int_eq(kernel_place(&k, &mem), 0);
	ck_assert_int_eq(kernel_load(&k, &mem, &boot, &entry), 0);
	kernel_close(&k);
	get(&mem, LAYOUT_BOOT_PARAMS, &params, sizeof(params));
	ck_assert_uint_eq(params.hdr.init_size, INIT_SIZE);
	ck_assert_uint_eq(params.hdr.handover_offset, 0);
	ck_assert_uint_eq(params.hdr.kernel_info_offset, 0);
	ck_assert_uint_eq(params.hdr.ramdisk_image, 0);
}
END_TEST

START_TEST(file_shrinks)
{
	const struct kernel_boot boot = { .cmdline = "" };
	struct guest_memory mem = { .count = 0 };
	struct kernel_entry entry;
	struct kernel k;

	make_bzimage();
	open_ok(&k);
	add_ram(&mem, 0, 32 * MIB);
	ck_assert_int_eq(kernel_place(&k, &mem), 0);
	ck_assert_int_eq(ftruncate(file.fd, file.size - 1), 0);
	ck_assert_int_eq(kernel_load(&k, &mem, &boot, &entry), -ENOEXEC);
	assert_one_message("became shorter");
	kernel_close(&k);
}
END_TEST

START_TEST(cmdline_length)
{
	char cmdline[2049] = "";
	struct setup_header h;
	struct kernel k;

	make_bzimage();
	open_ok(&k);
	memset(cmdline, 'x', 2047);
	ck_assert_int_eq(kernel_check_cmdline(&k, cmdline), 0);
	cmdline[2047] = 'x';
	ck_assert_int_eq(kernel_check_cmdline(&k, cmdline), -E2BIG);
	assert_one_message("takes a command line of 2047 bytes, this one has 2048");
	kernel_close(&k);

	header_get(&h);
	h.cmdline_size = UINT32_MAX;
	header_put(&h);
	open_ok(&k);
	ck_assert_uint_eq(k.cmdline_max, LAYOUT_CMDLINE_LENGTH - 1);
	kernel_close(&k);
}
END_TEST

/* --- ELF with a PVH note --- */

#define TEXT_OFFSET 0x400
#define TEXT_SIZE 0x200
#define NOTES_OFFSET 0x300
#define ENTRY 0x100010

struct elf {
	Elf64_Ehdr h;
	Elf64_Phdr notes, text, bss;
};

static void add_note(size_t *at, const char *name, uint32_t type, const void *desc, uint32_t size,
		     unsigned align)
{
	const Elf64_Nhdr n = { strlen(name) + 1, size, type };

	ck_assert_uint_lt(*at + 64, TEXT_OFFSET);
	memcpy(file.bytes + *at, &n, sizeof(n));
	memcpy(file.bytes + *at + sizeof(n), name, n.n_namesz);
	*at = align_up(*at + sizeof(n) + n.n_namesz, align);
	memcpy(file.bytes + *at, desc, size);
	*at = align_up(*at + size, align);
}

static struct elf *make_elf(unsigned note_size, unsigned align)
{
	struct elf *elf = (struct elf *)file.bytes;
	const uint64_t entry = ENTRY;
	size_t at = NOTES_OFFSET;

	memset(file.bytes, 0, sizeof(file.bytes));
	memset(file.bytes + TEXT_OFFSET, 0xcc, TEXT_SIZE);
	file.size = TEXT_OFFSET + TEXT_SIZE;
	memcpy(elf->h.e_ident, ELFMAG, SELFMAG);
	elf->h.e_ident[EI_CLASS] = ELFCLASS64;
	elf->h.e_ident[EI_DATA] = ELFDATA2LSB;
	elf->h.e_machine = EM_X86_64;
	elf->h.e_phoff = offsetof(struct elf, notes);
	elf->h.e_phentsize = sizeof(Elf64_Phdr);
	elf->h.e_phnum = 3;
	elf->text = (Elf64_Phdr){ .p_type = PT_LOAD,
				  .p_offset = TEXT_OFFSET,
				  .p_paddr = MIB,
				  .p_filesz = TEXT_SIZE,
				  .p_memsz = 0x1000 };
	elf->bss = (Elf64_Phdr){ .p_type = PT_LOAD, .p_paddr = 4 * MIB, .p_memsz = 2 * MIB };
	add_note(&at, "GNU", NT_GNU_BUILD_ID, "12345", 5, align);
	add_note(&at, "Xen", 1, "x", 1, align);
	add_note(&at, "Xen", 18, &entry, note_size, align);
	elf->notes = (Elf64_Phdr){ .p_type = PT_NOTE,
				   .p_offset = NOTES_OFFSET,
				   .p_filesz = at - NOTES_OFFSET,
				   .p_align = align };
	return elf;
}

START_TEST(pvh_fields)
{
	const unsigned shape[][2] = { { 4, 4 }, { 8, 4 }, { 4, 8 }, { 8, 8 } };
	struct kernel k;

	for (unsigned i = 0; i < array_size(shape); i++) {
		make_elf(shape[i][0], shape[i][1]);
		open_ok(&k);
		ck_assert_int_eq(k.format, KERNEL_PVH);
		ck_assert_str_eq(k.version, "");
		ck_assert_uint_eq(k.entry, ENTRY);
		ck_assert_uint_eq(k.segment_count, 2);
		ck_assert_uint_eq(k.start, MIB);
		ck_assert_uint_eq(k.end, 6 * MIB);
		ck_assert_uint_eq(k.cmdline_max, LAYOUT_CMDLINE_LENGTH - 1);
		kernel_close(&k);
	}
}
END_TEST

START_TEST(pvh_truncated)
{
	make_elf(4, 4);
	truncate_everywhere();
}
END_TEST

/* Nothing is loaded from behind the segments, but it tells a whole file. */
START_TEST(pvh_sections_truncated)
{
	struct elf *elf = make_elf(4, 4);
	struct kernel k;

	elf->h.e_shoff = file.size;
	elf->h.e_shentsize = 64;
	elf->h.e_shnum = 2;
	file.size += 128;
	open_ok(&k);
	kernel_close(&k);
	file.size--;
	assert_open_fails("truncated");
	elf->h.e_shoff = UINT64_MAX;
	assert_open_fails("truncated");
}
END_TEST

#define ELF_FAULT(change, part)                                                                    \
	do {                                                                                       \
		elf = make_elf(4, 4);                                                              \
		change;                                                                            \
		assert_open_fails(part);                                                           \
	} while (0)

START_TEST(pvh_faults)
{
	const char *neither = "neither a bzImage nor an ELF with a PVH note";
	struct elf *elf;

	ELF_FAULT(elf->h.e_ident[EI_CLASS] = ELFCLASS32, neither);
	ELF_FAULT(elf->h.e_ident[EI_DATA] = ELFDATA2MSB, neither);
	ELF_FAULT(elf->h.e_machine = EM_AARCH64, neither);
	ELF_FAULT(elf->h.e_phentsize = 32, neither);
	ELF_FAULT(elf->notes.p_type = PT_NULL, neither);
	ELF_FAULT(elf->notes.p_filesz -= 24, neither);
	ELF_FAULT(elf->notes.p_filesz -= 4, "PVH note of 4 bytes");
	ELF_FAULT(elf->notes.p_offset = UINT64_MAX - 3, "truncated");
	ELF_FAULT(elf->h.e_phoff = UINT64_MAX - 1, "truncated");
	ELF_FAULT(elf->h.e_phoff = UINT64_MAX - sizeof(Elf64_Phdr) + 1, "truncated");
	ELF_FAULT(elf->h.e_phnum = UINT16_MAX, "malformed: 65535 program headers");
	ELF_FAULT(elf->h.e_phnum = 128, "truncated");
	ELF_FAULT(elf->text.p_paddr = MIB - 1, "below 1 MiB");
	ELF_FAULT(elf->text.p_paddr = UINT64_MAX - 1, "segment sizes");
	ELF_FAULT(elf->text.p_memsz = TEXT_SIZE - 1, "segment sizes");
	ELF_FAULT(elf->text.p_offset = UINT64_MAX, "outside the file");
	ELF_FAULT(elf->text.p_filesz = elf->text.p_memsz = UINT64_MAX >> 1, "outside the file");
	ELF_FAULT(elf->bss.p_paddr = MIB + 0xfff, "overlap");
	ELF_FAULT(elf->bss.p_paddr = elf->text.p_paddr, "overlap");
	ELF_FAULT(elf->text.p_paddr = 2 * MIB, "PVH entry is in no segment");
	ELF_FAULT(elf->text.p_filesz = ENTRY - MIB, "PVH entry is in no segment");
	ELF_FAULT(elf->text.p_paddr = MIB + 17, "PVH entry is in no segment");
}
END_TEST

START_TEST(pvh_bad_note_size)
{
	make_elf(5, 4);
	assert_open_fails("PVH note of 5 bytes");
}
END_TEST

/* A 64-bit entry point is not one for 32-bit protected mode. */
START_TEST(pvh_entry_above_4g)
{
	struct elf *elf = make_elf(8, 8);
	const uint64_t entry = 4 * GIB + ENTRY;

	memcpy(file.bytes + NOTES_OFFSET + elf->notes.p_filesz - 8, &entry, 8);
	elf->text.p_paddr += 4 * GIB;
	assert_open_fails("PVH entry is in no segment");
}
END_TEST

START_TEST(pvh_many_segments)
{
	struct elf *elf = make_elf(4, 4);
	Elf64_Phdr p = elf->bss;

	elf->h.e_phoff = file.size;
	elf->h.e_phnum = 2 + KERNEL_SEGMENTS;
	memcpy(file.bytes + file.size, &elf->notes, 2 * sizeof(p));
	file.size += 2 * sizeof(p);
	for (unsigned i = 0; i < KERNEL_SEGMENTS; i++) {
		p.p_paddr += 2 * MIB;
		memcpy(file.bytes + file.size, &p, sizeof(p));
		file.size += sizeof(p);
	}
	assert_open_fails("more than 16 segments");
}
END_TEST

/* What a guest sees at EBX, in the words of the ABI. */
struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

START_TEST(pvh_load)
{
	const struct kernel_boot boot = { "kit test=1", 0x2000000, 777 };
	struct {
		uint64_t address, size;
		uint32_t type, reserved;
	} range;
	struct boot_e820_entry map[E820_ENTRIES];
	struct guest_memory mem = { .count = 0 };
	struct kernel_entry entry;
	struct start_info start;
	uint64_t module[4];
	struct kernel k;

	make_elf(4, 4);
	open_ok(&k);
	add_ram(&mem, 0, LAYOUT_LOW_RAM_END);
	add_ram(&mem, LAYOUT_HIGH_RAM, GIB);
	ck_assert_int_eq(kernel_place(&k, &mem), 0);
	ck_assert_int_eq(kernel_load(&k, &mem, &boot, &entry), 0);
	kernel_close(&k);

	ck_assert(!entry.long_mode);
	ck_assert_uint_eq(entry.rip, ENTRY);
	ck_assert_mem_eq(guest_memory_ptr(&mem, MIB, TEXT_SIZE), file.bytes + TEXT_OFFSET,
			 TEXT_SIZE);
	get(&mem, entry.boot_info, &start, sizeof(start));
	ck_assert_uint_eq(start.magic, 0x336ec578);
	ck_assert_uint_eq(start.version, 1);
	ck_assert_uint_eq(start.flags, 0);
	ck_assert_uint_eq(start.rsdp, LAYOUT_ACPI);
	ck_assert_str_eq(guest_memory_ptr(&mem, start.cmdline, 16), "kit test=1");
	ck_assert_uint_eq(start.nr_modules, 1);
	get(&mem, start.modlist, module, sizeof(module));
	ck_assert_uint_eq(module[0], 0x2000000);
	ck_assert_uint_eq(module[1], 777);
	ck_assert_uint_eq(module[2], 0);
	for (unsigned i = 0; i < start.memmap_entries; i++) {
		get(&mem, start.memmap + i * sizeof(range), &range, sizeof(range));
		map[i] = (struct boot_e820_entry){ range.address, range.size, range.type };
	}
	assert_e820(map, start.memmap_entries);
}
END_TEST

START_TEST(pvh_place)
{
	struct guest_memory mem = { .count = 0 };
	uint64_t gpa;
	struct kernel k;

	make_elf(4, 4);
	open_ok(&k);
	add_ram(&mem, 0, 5 * MIB);
	ck_assert_int_eq(kernel_place(&k, &mem), -ENOSPC);
	assert_one_message("needs more RAM than given: 6 MiB, not 5 MiB");
	add_ram(&mem, 5 * MIB + 4096, 3 * MIB);
	ck_assert_int_eq(kernel_place(&k, &mem), -ENOSPC);
	assert_one_message("no RAM at");
	memset(&mem, 0, sizeof(mem));
	add_ram(&mem, 0, 8 * MIB);
	ck_assert_int_eq(kernel_place(&k, &mem), 0);
	ck_assert_int_eq(kernel_initrd_address(&k, &mem, NULL, MIB, &gpa), 0);
	ck_assert_uint_eq(gpa, 7 * MIB);
	kernel_close(&k);
}
END_TEST

/* --- Files that are no kernel --- */

START_TEST(not_a_file)
{
	char fifo[] = "/tmp/test-kernel-XXXXXX";
	struct kernel k;

	messages();
	ck_assert_int_eq(kernel_open(&k, "/nonexistent/bzImage"), -ENOENT);
	assert_one_message("kernel '/nonexistent/bzImage': cannot open: No such file");
	kernel_close(&k);
	ck_assert_int_eq(kernel_open(&k, "/"), -ENOEXEC);
	assert_one_message("not a regular file");

	ck_assert_ptr_nonnull(mkdtemp(fifo));
	ck_assert_int_eq(rmdir(fifo), 0);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	ck_assert_int_eq(kernel_open(&k, fifo), -ENOEXEC);
	unlink(fifo);
	assert_one_message("not a regular file");
}
END_TEST

START_TEST(not_a_kernel)
{
	memset(&file, 0, sizeof(file));
	assert_open_fails("empty");
	file.size = sizeof(file.bytes);
	assert_open_fails("neither a bzImage nor an ELF with a PVH note");
	memcpy(file.bytes, "\x1f\x8b\x08", 3); /* gzip */
	assert_open_fails("neither a bzImage nor an ELF with a PVH note");
	memcpy(file.bytes, "MZ\0\0zimg", 8); /* EFI zboot */
	assert_open_fails("neither a bzImage nor an ELF with a PVH note");
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Whatever the headers hold: an error, or segments that lie in the file. */
static void try_mutant(const struct guest_memory *mem, unsigned *loaded)
{
	const struct kernel_boot boot = { .cmdline = "x" };
	struct kernel_entry entry;
	struct kernel k;

	file_write();
	if (kernel_open(&k, file.path) == 0) {
		for (unsigned i = 0; i < k.segment_count; i++) {
			ck_assert_uint_le(k.segment[i].filesz, file.size);
			ck_assert_uint_le(k.segment[i].offset, file.size - k.segment[i].filesz);
		}
		ck_assert_uint_lt(strlen(k.version), sizeof(k.version));
		if (kernel_place(&k, mem) == 0 && kernel_load(&k, mem, &boot, &entry) == 0)
			++*loaded;
	}
	kernel_close(&k);
	messages();
}

START_TEST(mutants)
{
	struct guest_memory mem = { .count = 0 };
	unsigned round, changes, loaded = 0;
	uint32_t seed = 2463534242;

	messages();
	add_ram(&mem, 0, 64 * MIB);
	for (round = 0; round < 4000; round++) {
		if (round % 3 == 0) {
			make_elf(4, 4);
		} else {
			make_bzimage();
			if (round % 3 == 1)
				make_signed_bzimage();
		}
		for (changes = next_random(&seed) % 8; changes > 0; changes--)
			file.bytes[next_random(&seed) % (round % 3 ? SETUP_SIZE : 0x3c0)] =
				next_random(&seed);
		try_mutant(&mem, &loaded);
	}
	/* It must not have stopped at the door each time. */
	ck_assert_uint_gt(loaded, 500);
	ck_assert_uint_lt(loaded, 4000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kernel");

	unit_tcase(s, "bzimage", bzimage_fields, bzimage_old_defaults, bzimage_truncated,
		   signed_bzimage_truncated, bzimage_unfilled_paragraph, bzimage_faults,
		   bzimage_version, bzimage_place, bzimage_load, read_once,
		   bzimage_short_header);
	unit_tcase(s, "pvh", pvh_fields, pvh_truncated, pvh_sections_truncated, pvh_faults,
		   pvh_bad_note_size, pvh_entry_above_4g, pvh_many_segments, pvh_load, pvh_place);
	unit_tcase(s, "kernel", initrd_address, initrd_limits, file_shrinks, cmdline_length,
		   not_a_file, not_a_kernel, mutants);
	return unit_run(s);
}
