// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/initramfs.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/newc.h"
#include "tests/unit/unit.h"

/* No host has modules of this version. */
#define VERSION "1.2.3-vmm-unit-test"
#define TREE "lib/modules/" VERSION

extern const uint8_t guest_init_start[], guest_init_end[];

static char *folder, kernel[256];

static const char *const pci[] = { "virtio_pci", NULL };
static const char *const *transports;

static void setup(void)
{
	folder = files_folder();
	files_text(folder, "boot/vmlinuz", "");
	snprintf(kernel, sizeof(kernel), "%s/boot/vmlinuz", folder);
	transports = pci;
}

static void teardown(void)
{
	files_remove(folder);
}

static void tree_file(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), TREE "/%s", name);
	files_text(folder, path, text);
}

/* A stock kernel's tree in small: two modules for the disk, ext4 and btrfs. */
static void make_tree(void)
{
	tree_file("modules.dep", "kernel/virtio.ko:\n"
				 "kernel/virtio_pci.ko: kernel/virtio.ko\n"
				 "kernel/virtio_mmio.ko: kernel/virtio.ko\n"
				 "kernel/virtio-blk.ko: kernel/virtio.ko\n"
				 "kernel/fs/ext4.ko.xz: kernel/fs/jbd2.ko.xz\n"
				 "kernel/fs/jbd2.ko.xz:\n"
				 "kernel/crc32c_generic.ko:\n"
				 "kernel/btrfs.ko:\n");
	tree_file("modules.softdep", "softdep ext4 pre: crypto-crc32c\n"
				     "softdep btrfs pre: crypto-crc32c\n");
	tree_file("modules.alias", "alias crypto-crc32c crc32c_generic\n");
	tree_file("kernel/virtio.ko", "the virtio module");
	tree_file("kernel/virtio_pci.ko", "transport");
	tree_file("kernel/virtio_mmio.ko", "other transport");
	tree_file("kernel/virtio-blk.ko", "blk");
	tree_file("kernel/fs/ext4.ko.xz", "packed ext4");
	tree_file("kernel/fs/jbd2.ko.xz", "");
	tree_file("kernel/crc32c_generic.ko", "crc");
	tree_file("kernel/btrfs.ko", "btrfs");
}

static int plan_with(struct initramfs **plan, const char *cmdline)
{
	struct initramfs_request request = {
		.kernel = kernel,
		.version = VERSION,
		.cmdline = cmdline,
		.transports = transports,
	};

	return initramfs_plan(&request, plan);
}

/* The plan for the tree: never a failure, and silent. */
static struct initramfs *plan_tree(const char *cmdline)
{
	struct initramfs *plan;
	char *said;
	int ret;

	files_capture();
	ret = plan_with(&plan, cmdline);
	said = files_captured();
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(ret, 0);
	free(said);
	return plan;
}

/* Write the archive into fresh memory of exactly its size. */
static uint8_t *write_archive(const struct initramfs *plan, int expected)
{
	size_t size = initramfs_size(plan);
	uint8_t *archive = malloc(size);

	ck_assert_ptr_nonnull(archive);
	memset(archive, 0xaa, size);
	ck_assert_int_eq(initramfs_write(plan, archive, size), expected);
	return archive;
}

static void check_file(const uint8_t *archive, size_t size, const char *name, const char *text)
{
	struct newc_entry entry = newc_find(archive, size, name);

	ck_assert_uint_eq(entry.mode, S_IFREG | 0644);
	ck_assert_uint_eq(entry.size, strlen(text));
	if (*text)
		ck_assert_mem_eq(entry.data, text, entry.size);
}

#define DISK "disk virtio.ko\ndisk virtio_pci.ko\ndisk virtio-blk.ko\n"
#define EXT4 "ext4 crc32c_generic.ko\next4 jbd2.ko.xz\next4 ext4.ko.xz\n"
#define BTRFS "btrfs crc32c_generic.ko\nbtrfs btrfs.ko\n"

START_TEST(stock_kernel)
{
	static const char *const folders[] = { "dev", "proc", "sys", "root", "vmm" };
	struct initramfs *plan;
	struct newc_entry entry;
	uint8_t *archive;
	size_t size, offset = 0, i;
	unsigned entries = 0;

	make_tree();
	plan = plan_tree("console=ttyS0 rw");
	ck_assert_ptr_nonnull(plan);
	size = initramfs_size(plan);
	archive = write_archive(plan, 0);

	check_file(archive, size, "vmm/modules", DISK EXT4 BTRFS);
	check_file(archive, size, "vmm/virtio.ko", "the virtio module");
	check_file(archive, size, "vmm/virtio_pci.ko", "transport");
	check_file(archive, size, "vmm/virtio-blk.ko", "blk");
	check_file(archive, size, "vmm/ext4.ko.xz", "packed ext4");
	check_file(archive, size, "vmm/jbd2.ko.xz", "");
	check_file(archive, size, "vmm/crc32c_generic.ko", "crc");
	check_file(archive, size, "vmm/btrfs.ko", "btrfs");

	entry = newc_find(archive, size, "init");
	ck_assert_uint_eq(entry.mode, S_IFREG | 0755);
	ck_assert_uint_eq(entry.size, guest_init_end - guest_init_start);
	ck_assert_mem_eq(entry.data, "\177ELF", 4);
	ck_assert_mem_eq(entry.data, guest_init_start, entry.size);
	entry = newc_find(archive, size, "dev/console");
	ck_assert_uint_eq(entry.mode, S_IFCHR | 0600);
	ck_assert_uint_eq(entry.major, 5);
	ck_assert_uint_eq(entry.minor, 1);
	for (i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		ck_assert_uint_eq(newc_find(archive, size, folders[i]).mode, S_IFDIR | 0755);

	while (newc_next(archive, size, &offset, &entry))
		entries++;
	ck_assert_uint_eq(entries, 5 + 1 + 1 + 1 + 7);
	free(archive);
	initramfs_free(plan);
}
END_TEST

static void check_modules(const char *cmdline, const char *index)
{
	struct initramfs *plan = plan_tree(cmdline);
	uint8_t *archive = write_archive(plan, 0);

	check_file(archive, initramfs_size(plan), "vmm/modules", index);
	free(archive);
	initramfs_free(plan);
}

START_TEST(named_file_system_only)
{
	make_tree();
	check_modules("rw", DISK EXT4 BTRFS);
	check_modules("rootfstype=btrfs rw", DISK BTRFS);
	check_modules("rw rootfstype=ext4", DISK EXT4);
	check_modules("rootfstype=ext3", DISK EXT4);
	check_modules("rootfstype=btrfs rootfstype=ext2 rw", DISK EXT4);
	check_modules("rootfstype=ext", DISK);
	check_modules("rootfstype=xfs", DISK);
}
END_TEST

static void check_needed(const char *builtin, const char *cmdline, bool needed)
{
	struct initramfs *plan;

	tree_file("modules.builtin", builtin);
	plan = plan_tree(cmdline);
	ck_assert_msg(!plan == !needed, "'%s', built in: %s", cmdline, builtin);
	initramfs_free(plan);
}

#define VIRTIO "k/virtio.ko\nk/virtio_pci.ko\nk/virtio_blk.ko\n"

START_TEST(needed_only_for_modules)
{
	make_tree();
	check_needed("", "", true);
	/* One part of virtio is enough; 6.12 has virtio_pci built in. */
	check_needed("k/virtio.ko\nk/virtio-pci.ko\nk/ext4.ko\n", "", true);
	check_needed(VIRTIO, "", true);
	check_needed(VIRTIO "k/ext4.ko\n", "", false);
	check_needed(VIRTIO "k/ext4.ko\n", "rw rootfstype=ext4", false);
	check_needed(VIRTIO "k/ext4.ko\n", "rw rootfstype=ext3", false);
	check_needed(VIRTIO "k/ext4.ko\n", "rw rootfstype=btrfs quiet", true);
	check_needed(VIRTIO "k/ext4.ko\n", "rootfstype=btrfs", true);
	check_needed(VIRTIO "k/ext4.ko\n", "xrootfstype=btrfs", false);
	check_needed(VIRTIO "k/ext4.ko\n", "rootfstype=btrfsx", false);
	check_needed(VIRTIO "k/ext4.ko\n", "rootfstype=vfat", false);
	check_needed(VIRTIO "k/ext4.ko\n", "rootfstype=ext4 rootfstype=btrfs", true);
	check_needed(VIRTIO, "rootfstype=ext2", true);
	check_needed(VIRTIO, "rootfstype=vfat", false);
	check_needed(VIRTIO "k/btrfs.ko\n", "rootfstype=btrfs", false);
}
END_TEST

#define W "vmm: warning: "

START_TEST(no_modules_lists_every_place)
{
	struct initramfs *plan;
	char expected[2048], *said;
	int ret;

	files_capture();
	ret = plan_with(&plan, "");
	said = files_captured();
	ck_assert_int_eq(ret, 0);
	ck_assert_ptr_null(plan);
	snprintf(expected, sizeof(expected),
		 W "no initrd, and no modules of kernel '%s' (Linux " VERSION
		   "); looked for them in\n" W "  %s/boot/" TREE "\n" W "  %s/boot/usr/" TREE "\n" W
		   "  %s/" TREE "\n" W "  %s/usr/" TREE "\n" W "  /tmp/" TREE "\n" W
		   "  /tmp/usr/" TREE "\n" W "  /" TREE "\n" W "  /usr/" TREE "\n" W
		   "booting without; the guest has a disk only if virtio_blk is built in\n",
		 kernel, folder, folder, folder, folder);
	ck_assert_str_eq(said, expected);
	free(said);
}
END_TEST

/* Planning fails with @error, or gives no plan, and a message with @text in it. */
static void check_plan_says(int error, const char *text)
{
	struct initramfs *plan;
	char *said;
	int ret;

	files_capture();
	ret = plan_with(&plan, "");
	said = files_captured();
	ck_assert_int_eq(ret, error);
	ck_assert_ptr_null(plan);
	ck_assert_msg(strstr(said, text), "'%s' is not in: %s", text, said);
	free(said);
}

START_TEST(depmod_not_run)
{
	char text[512];

	tree_file("kernel/virtio.ko", "");
	snprintf(text, sizeof(text), "run depmod -b %s " VERSION "\n", folder);
	check_plan_says(-ENOENT, text);
}
END_TEST

/* The modules of the disks' transports, in the order asked for, and no others. */
START_TEST(transports_of_the_disks)
{
	static const char *const mmio[] = { "virtio_mmio", NULL };
	static const char *const both[] = { "virtio_mmio", "virtio_pci", NULL };
	static const struct {
		const char *const *transports;
		const char *disk;
	} wanted[] = {
		{ pci, "disk virtio.ko\ndisk virtio_pci.ko\ndisk virtio-blk.ko\next4 " },
		{ mmio, "disk virtio.ko\ndisk virtio_mmio.ko\ndisk virtio-blk.ko\next4 " },
		{ both, "disk virtio.ko\ndisk virtio_mmio.ko\ndisk virtio_pci.ko\n"
			"disk virtio-blk.ko\next4 " },
	};
	struct newc_entry index;
	struct initramfs *plan;
	uint8_t *archive;

	make_tree();
	for (unsigned i = 0; i < array_size(wanted); i++) {
		transports = wanted[i].transports;
		plan = plan_tree("");
		archive = write_archive(plan, 0);
		index = newc_find(archive, initramfs_size(plan), "vmm/modules");
		ck_assert_uint_gt(index.size, strlen(wanted[i].disk));
		ck_assert_mem_eq(index.data, wanted[i].disk, strlen(wanted[i].disk));
		free(archive);
		initramfs_free(plan);
	}
}
END_TEST

START_TEST(module_cannot_be_read)
{
	const char *path;

	make_tree();
	path = files_path(folder, TREE "/kernel/fs/ext4.ko.xz");
	unlink(path);
	check_plan_says(-ENOENT, "/kernel/fs/ext4.ko.xz': cannot open: No such");
	ck_assert_int_eq(mkfifo(files_path(folder, TREE "/kernel/fs/ext4.ko.xz"), 0600), 0);
	check_plan_says(-EINVAL, "/kernel/fs/ext4.ko.xz': cannot open: ");
}
END_TEST

START_TEST(kernel_without_virtio)
{
	struct initramfs *plan;
	char *said;

	tree_file("modules.dep", "kernel/ext4.ko:\n");
	tree_file("modules.builtin", "kernel/virtio_pci.ko\n");
	tree_file("kernel/ext4.ko", "");
	files_capture();
	ck_assert_int_eq(plan_with(&plan, ""), 0);
	said = files_captured();
	ck_assert_ptr_nonnull(strstr(said, "has no virtio_blk, neither built in nor in"));
	ck_assert_ptr_null(strstr(said, "virtio_pci"));
	initramfs_free(plan);
	free(said);
}
END_TEST

START_TEST(room_is_too_small)
{
	struct initramfs *plan;
	uint8_t *archive;
	size_t size;
	char *said;

	make_tree();
	plan = plan_tree("");
	for (size = 0; size < initramfs_size(plan); size = size * 2 + 1) {
		archive = malloc(size + 1);
		files_capture();
		ck_assert_int_eq(initramfs_write(plan, archive, size), -ENOSPC);
		said = files_captured();
		ck_assert_ptr_nonnull(strstr(said, "vmm: initramfs: "));
		free(said);
		free(archive);
	}
	initramfs_free(plan);
}
END_TEST

START_TEST(module_gets_shorter)
{
	struct newc_entry entry;
	struct initramfs *plan;
	uint8_t *archive;
	size_t size;
	char *said;

	make_tree();
	plan = plan_tree("");
	size = initramfs_size(plan);
	ck_assert_int_eq(truncate(files_path(folder, TREE "/kernel/virtio.ko"), 5), 0);
	/* Replaced, as a package manager does, is another matter. */
	unlink(files_path(folder, TREE "/kernel/virtio_pci.ko"));
	tree_file("kernel/virtio_pci.ko", "");

	files_capture();
	archive = write_archive(plan, -ENODATA);
	said = files_captured();
	ck_assert_ptr_nonnull(strstr(said, "/kernel/virtio.ko': has become shorter\n"));
	entry = newc_find(archive, size, "vmm/virtio.ko");
	ck_assert_uint_eq(entry.size, strlen("the virtio module"));
	ck_assert_mem_eq(entry.data, "the v\0\0\0\0\0\0\0\0\0\0\0\0", entry.size);
	check_file(archive, size, "vmm/virtio_pci.ko", "transport");
	check_file(archive, size, "vmm/btrfs.ko", "btrfs");
	initramfs_free(plan);
	free(archive);
	free(said);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("initramfs");
	const TTest *const tests[] = {
		stock_kernel, named_file_system_only, needed_only_for_modules,
		no_modules_lists_every_place, depmod_not_run, transports_of_the_disks,
		module_cannot_be_read, kernel_without_virtio,
		room_is_too_small, module_gets_shorter,
	};
	TCase *tcase = tcase_create("initramfs");

	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
