// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/modules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/files.h"
#include "tests/unit/unit.h"

/* No host has modules of this version. */
#define VERSION "1.2.3-vmm-unit-test"
#define TREE "lib/modules/" VERSION

static char *folder;

static void setup(void)
{
	folder = files_folder();
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

static struct modules *tree_open(void)
{
	struct modules *modules = NULL;

	ck_assert_int_eq(modules_open(files_path(folder, TREE), VERSION, &modules), 0);
	ck_assert_ptr_nonnull(modules);
	return modules;
}

/* What has to be loaded for the modules @names, as one string. */
static const char *needs(const struct modules *modules, const char *names)
{
	static char text[4096];
	struct modules_list list = { 0 };
	char *copy = strdup(names), *name, *left = copy;

	while ((name = strsep(&left, " ")))
		ck_assert_int_eq(modules_add(modules, name, &list), 0);
	*text = '\0';
	for (size_t i = 0; i < list.count; i++) {
		strcat(text, i ? " " : "");
		strcat(text, list.file[i]);
	}
	modules_list_free(&list);
	free(copy);
	return text;
}

static void check_needs(const char *names, const char *expected)
{
	struct modules *modules = tree_open();

	ck_assert_str_eq(needs(modules, names), expected);
	modules_close(modules);
}

START_TEST(dependencies_come_first)
{
	tree_file("modules.dep", "kernel/a.ko: kernel/d/b.ko kernel/d/c.ko\n"
				 "kernel/d/b.ko: kernel/d/c.ko\n"
				 "kernel/d/c.ko:\n"
				 "kernel/z.ko.xz: kernel/a.ko kernel/d/b.ko kernel/d/c.ko\n");
	check_needs("c", "kernel/d/c.ko");
	check_needs("b", "kernel/d/c.ko kernel/d/b.ko");
	check_needs("a", "kernel/d/c.ko kernel/d/b.ko kernel/a.ko");
	check_needs("z", "kernel/d/c.ko kernel/d/b.ko kernel/a.ko kernel/z.ko.xz");
	/* Each once, however often it is asked for. */
	check_needs("b a b c a", "kernel/d/c.ko kernel/d/b.ko kernel/a.ko");
}
END_TEST

START_TEST(dash_equals_underscore)
{
	tree_file("modules.dep", "k/crc32c-intel.ko: k/crc_16.ko\nk/crc_16.ko:\n"
				 "k/ext4.ko: k/crc-16.ko\n");
	tree_file("modules.builtin", "k/virtio-pci.ko\n");
	check_needs("crc32c_intel", "k/crc_16.ko k/crc32c-intel.ko");
	check_needs("crc32c-intel", "k/crc_16.ko k/crc32c-intel.ko");
	check_needs("ext4", "k/crc_16.ko k/ext4.ko");

	struct modules *modules = tree_open();
	ck_assert(modules_is_builtin(modules, "virtio_pci"));
	ck_assert(modules_is_builtin(modules, "virtio-pci"));
	ck_assert(!modules_is_builtin(modules, "virtio"));
	ck_assert(!modules_is_builtin(modules, "virtio_pci_modern"));
	modules_close(modules);
}
END_TEST

START_TEST(softdeps_of_all_depths)
{
	tree_file("modules.dep", "ext4.ko: jbd2.ko\njbd2.ko:\nintel.ko:\ngeneric.ko:\n"
				 "late.ko:\nnone.ko:\nbase.ko:\nsha.ko:\n");
	tree_file("modules.softdep", "# comment\n"
				     "softdep ext4 none pre: crypto-crc32c unheard-of post: late\n"
				     "softdep ext4 pre: sha\n"
				     "softdep intel pre: base\n"
				     "softdep jbd2 post: none pre: generic\n");
	tree_file("modules.alias", "alias crypto-crc32c intel\n"
				   "alias crypto-crc32c generic\n");
	check_needs("ext4", "base.ko intel.ko generic.ko sha.ko jbd2.ko ext4.ko");
}
END_TEST

START_TEST(aliases_with_wildcards)
{
	tree_file("modules.dep", "a.ko:\nb_b.ko:\nc.ko:\nd.ko:\n");
	tree_file("modules.alias", "# Aliases extracted from modules themselves.\n"
				   "alias crypto-* a\n"
				   "alias crypto-crc32? b-b\n"
				   "alias crypto_crc[0-9]2[!x-z] c\n"
				   "alias pci:v00001AF4d*sv*sd*bc*sc*i* d\n"
				   "alias crypto-md5 gone\n");
	check_needs("crypto-crc32c", "a.ko b_b.ko c.ko");
	check_needs("crypto_crc32c", "a.ko b_b.ko c.ko");
	check_needs("crypto-crc32z", "a.ko b_b.ko");
	check_needs("crypto-md5", "a.ko");
	check_needs("crypto", "");
	check_needs("pci:v00001AF4d00001042sv1sd2bc3sc4i5", "d.ko");
	/* A module's own name goes before any alias. */
	tree_file("modules.alias", "alias a c\nalias * d\n");
	check_needs("a", "a.ko");
}
END_TEST

START_TEST(builtins_are_left_out)
{
	tree_file("modules.dep", "ext4.ko: crc16.ko jbd2.ko\ncrc16.ko:\njbd2.ko:\n"
				 "intel.ko:\ngeneric.ko:\n");
	tree_file("modules.builtin", "kernel/fs/jbd2.ko\nkernel/generic.ko");
	tree_file("modules.softdep", "softdep ext4 pre: crc32c\n");
	tree_file("modules.alias", "alias crc32c intel\nalias crc32c generic\n");
	check_needs("ext4", "intel.ko crc16.ko ext4.ko");
	check_needs("jbd2", "");
}
END_TEST

START_TEST(absent_adds_nothing)
{
	tree_file("modules.dep", "a.ko: gone.ko\n");
	check_needs("xfs", "");
	check_needs("", "");
	check_needs("a.ko", "a.ko");
	check_needs("a", "a.ko");
}
END_TEST

START_TEST(cycles_end)
{
	tree_file("modules.dep", "a.ko: b.ko\nb.ko: c.ko\nc.ko: a.ko c.ko\n");
	check_needs("a", "c.ko b.ko a.ko");
	tree_file("modules.softdep", "softdep c pre: b al-ias\n");
	tree_file("modules.alias", "alias al-ias a\nalias al-ias b\n");
	check_needs("b", "a.ko c.ko b.ko");
}
END_TEST

START_TEST(chain_too_deep)
{
	struct modules_list list = { 0 };
	struct modules *modules;
	char *text = malloc(1 << 20), *at = text, *said;
	int i;

	for (i = 0; i < 10000; i++)
		at += sprintf(at, "m%d.ko: m%d.ko\n", i, i + 1);
	tree_file("modules.dep", text);
	modules = tree_open();
	files_capture();
	ck_assert_int_eq(modules_add(modules, "m0", &list), -ELOOP);
	said = files_captured();
	ck_assert_ptr_nonnull(strstr(said, "nest deeper than"));
	modules_list_free(&list);
	/* The end of the same chain is an ordinary one. */
	ck_assert_int_eq(modules_add(modules, "m9950", &list), 0);
	ck_assert_uint_eq(list.count, 50);
	modules_list_free(&list);
	modules_close(modules);
	free(said);
	free(text);
}
END_TEST

START_TEST(list_too_long)
{
	struct modules_list list = { 0 };
	struct modules *modules;
	char *text = malloc(1 << 20), *at = text, *said;
	int i;

	at += sprintf(at, "all.ko:");
	for (i = 0; i < 2000; i++)
		at += sprintf(at, " m%d.ko", i);
	for (i = 0; i < 2000; i++)
		at += sprintf(at, "\nm%d.ko:", i);
	tree_file("modules.dep", text);
	modules = tree_open();
	files_capture();
	ck_assert_int_eq(modules_add(modules, "all", &list), -E2BIG);
	said = files_captured();
	ck_assert_ptr_nonnull(strstr(said, "more than"));
	modules_list_free(&list);
	modules_close(modules);
	free(said);
	free(text);
}
END_TEST

START_TEST(malformed_lines_are_skipped)
{
	tree_file("modules.dep", "\n:\n::\nno colon\n/: x\n   \na.ko:b.ko\tc.ko: d.ko \n"
				 "b.ko: \nc.ko:\nlast.ko:b.ko");
	tree_file("modules.softdep", "\nsoftdep\nsoftdep a\nsoftdep a pre:\n"
				     "softdepa pre: c\n \t softdep a\tpre: pre: b");
	tree_file("modules.alias", "alias\nalias x\n\nalias * \naliasx y z\nalias [ b\n"
				   "alias x[ b\nalias \\ b\nalias q* b");
	tree_file("modules.builtin", "\n\n/\nx\n");
	check_needs("a", "b.ko c.ko a.ko");
	check_needs("last", "b.ko last.ko");
	check_needs("x", "");
	check_needs("qqq", "b.ko");
}
END_TEST

/* Any bytes at all: nothing to expect but that it ends and stays in bounds. */
START_TEST(random_files)
{
	static const char *const words[] = {
		"alias ",
		"softdep ",
		"pre: ",
		"post: ",
		"a.ko",
		"k/b.ko",
		"c",
		":",
		" ",
		"\n",
		"*",
		"[",
		"?",
		"-",
		"_",
		"\\",
		"/",
		"\t",
		"crypto-crc32c",
		"]",
	};
	static const char *const names[] = {
		"modules.dep",
		"modules.softdep",
		"modules.alias",
		"modules.builtin",
	};
	char data[512], path[256];
	struct modules *modules;
	size_t file, size;
	unsigned round;

	srand(1);
	for (round = 0; round < 500; round++) {
		for (file = 0; file < 4; file++) {
			for (size = 0; size < 400;) {
				const char *word = words[rand() % 20];

				if (rand() % 16) {
					memcpy(data + size, word, strlen(word));
					size += strlen(word);
				} else {
					data[size++] = rand();
				}
				if (rand() % 100 == 0)
					break;
			}
			snprintf(path, sizeof(path), TREE "/%s", names[file]);
			files_write(folder, path, data, size);
		}
		modules = tree_open();
		needs(modules, "a");
		needs(modules, "b c");
		needs(modules, "crypto-crc32c");
		modules_is_builtin(modules, "b");
		modules_close(modules);
	}
}
END_TEST

START_TEST(alias_longer_than_any)
{
	char *text = malloc(8192), *name = malloc(4096);

	memset(name, 'x', 4095);
	name[4095] = '\0';
	sprintf(text, "alias %s a\nalias x* a\n", name);
	tree_file("modules.dep", "a.ko:\n");
	tree_file("modules.alias", text);
	check_needs("xyz", "a.ko");
	check_needs(name, "");
	free(text);
	free(name);
}
END_TEST

/* modules_open() fails with @error and a message that has @text in it. */
static void check_open_fails(int error, const char *text)
{
	struct modules *modules;
	char *said;

	files_capture();
	ck_assert_int_eq(modules_open(files_path(folder, TREE), VERSION, &modules), error);
	said = files_captured();
	ck_assert_msg(strstr(said, text), "'%s' is not in: %s", text, said);
	free(said);
}

START_TEST(depmod_not_run)
{
	char text[512];

	tree_file("modules.builtin", "x.ko\n");
	snprintf(text, sizeof(text),
		 "vmm: modules '%s/" TREE "': modules.dep is missing: "
		 "run depmod -b %s " VERSION "\n",
		 folder, folder);
	check_open_fails(-ENOENT, text);
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
	struct modules *modules;

	tree_file("modules.dep/in-the-way", "");
	check_open_fails(-EISDIR, "cannot read modules.dep: Is a directory");

	unlink(files_path(folder, TREE "/modules.dep/in-the-way"));
	rmdir(files_path(folder, TREE "/modules.dep"));
	/* Must not wait for a writer. */
	ck_assert_int_eq(mkfifo(files_path(folder, TREE "/modules.dep"), 0600), 0);
	check_open_fails(-EINVAL, "cannot read modules.dep: Invalid argument");

	unlink(files_path(folder, TREE "/modules.dep"));
	tree_file("modules.dep", "");
	ck_assert_int_eq(truncate(files_path(folder, TREE "/modules.dep"), 1 << 30), 0);
	check_open_fails(-EFBIG, "cannot read modules.dep: File too large");

	/* The optional ones may be absent, but not unreadable. */
	tree_file("modules.dep", "");
	modules = tree_open();
	modules_close(modules);
	ck_assert_int_eq(symlink("modules.alias", files_path(folder, TREE "/modules.alias")), 0);
	check_open_fails(-ELOOP, "cannot read modules.alias: ");
}
END_TEST

/* A '.' in a name ends nothing, neither there nor in an alias. */
START_TEST(names_with_dots)
{
	tree_file("modules.dep", "a.ko:\n");
	tree_file("modules.alias", "alias p.q a\nalias a");
	check_needs("p.q", "a.ko");
	check_needs("p.....", "");
	check_needs("a.....", "a.ko");
}
END_TEST

/* The tree may be a stranger's, and its files end up in the guest. */
START_TEST(files_stay_in_the_tree)
{
	struct modules *modules;
	uint64_t size;
	int fd;

	files_text(folder, "secret", "x");
	tree_file("modules.dep", "");
	tree_file("kernel/a.ko", "module");
	ck_assert_int_eq(symlink("../../../secret", files_path(folder, TREE "/out.ko")), 0);
	ck_assert_int_eq(symlink("kernel/a.ko", files_path(folder, TREE "/in.ko")), 0);
	modules = tree_open();
	ck_assert_int_eq(modules_open_file(modules, files_path(folder, "secret"), &size), -EXDEV);
	ck_assert_int_eq(modules_open_file(modules, "../../../secret", &size), -EXDEV);
	ck_assert_int_eq(modules_open_file(modules, "out.ko", &size), -EXDEV);
	fd = modules_open_file(modules, "in.ko", &size);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(size, 6);
	close(fd);
	modules_close(modules);
}
END_TEST

/* modules_find() finds @expected, below the folder; NULL: nothing. */
static void check_find(const char *given, const char *kernel, const char *expected)
{
	char *path, *looked;

	ck_assert_int_eq(modules_find(given ? files_path(folder, given) : NULL,
				      files_path(folder, kernel), VERSION, &path, &looked),
			 0);
	if (expected)
		ck_assert_str_eq(path, files_path(folder, expected));
	else
		ck_assert_ptr_null(path);
	free(path);
	free(looked);
}

START_TEST(found_around_the_kernel)
{
	files_text(folder, "a/boot/vmlinuz", "");
	files_text(folder, "lib/modules/other/modules.dep", "");
	check_find(NULL, "a/boot/vmlinuz", NULL);

	/* From the farthest place to the nearest, which wins. */
	files_text(folder, "usr/" TREE "/modules.dep", "");
	check_find(NULL, "a/boot/vmlinuz", "usr/" TREE);
	files_text(folder, TREE "/kernel/x.ko", "");
	check_find(NULL, "a/boot/vmlinuz", TREE);
	files_text(folder, "a/" TREE "/modules.dep", "");
	check_find(NULL, "a/boot/vmlinuz", "a/" TREE);
	files_text(folder, "a/boot/" TREE "/modules.dep", "");
	check_find(NULL, "a/boot/vmlinuz", "a/boot/" TREE);

	/* A folder with neither is not a tree: headers leave such ones. */
	files_text(folder, "b/boot/vmlinuz", "");
	files_text(folder, "b/" TREE "/build", "");
	check_find(NULL, "b/boot/vmlinuz", TREE);

	/* The kernel's folder is that of the file, not of a link to it. */
	ck_assert_int_eq(symlink("a/boot/vmlinuz", files_path(folder, "bzImage")), 0);
	check_find(NULL, "bzImage", "a/boot/" TREE);
}
END_TEST

/* Anybody may make folders in /tmp, above a kernel.  Only root can test this. */
START_TEST(another_users_tree_is_not_taken)
{
	bool is_root = geteuid() == 0;

	files_text(folder, "a/vmlinuz", "");
	files_text(folder, TREE "/modules.dep", "");
	check_find(NULL, "a/vmlinuz", TREE);
	ck_assert_int_eq(chown(files_path(folder, TREE), 12345, -1), is_root ? 0 : -1);
	check_find(NULL, "a/vmlinuz", is_root ? NULL : TREE);
	/* He who names it wants it; and who brought the kernel may bring its modules. */
	check_find(TREE, "a/vmlinuz", TREE);
	ck_assert_int_eq(chown(files_path(folder, "a/vmlinuz"), 12345, -1), is_root ? 0 : -1);
	check_find(NULL, "a/vmlinuz", TREE);
}
END_TEST

START_TEST(found_by_option)
{
	files_text(folder, "k/vmlinuz", "");
	files_text(folder, "k/" TREE "/modules.dep", "");
	files_text(folder, "m/" TREE "/modules.dep", "");
	files_text(folder, "u/usr/" TREE "/modules.dep", "");
	files_text(folder, "flat/modules.dep", "");
	files_text(folder, "empty/x", "");
	check_find("m", "k/vmlinuz", "m/" TREE);
	check_find("m/lib/modules", "k/vmlinuz", "m/" TREE);
	check_find("m/" TREE, "k/vmlinuz", "m/" TREE);
	check_find("m/" TREE "/", "k/vmlinuz", "m/" TREE);
	check_find("u", "k/vmlinuz", "u/usr/" TREE);
	check_find("flat", "k/vmlinuz", "flat");
	/* Nothing there: the search goes on. */
	check_find("empty", "k/vmlinuz", "k/" TREE);
}
END_TEST

START_TEST(not_found_lists_every_place)
{
	char expected[4096], *path, *looked, *said;
	char top[] = "/tmp";

	files_text(folder, "k/boot/vmlinuz", "");
	files_text(folder, "m/x", "");
	ck_assert_int_eq(modules_find(files_path(folder, "m"), files_path(folder, "k/boot/vmlinuz"),
				      VERSION, &path, &looked),
			 0);
	ck_assert_ptr_null(path);
	snprintf(expected, sizeof(expected),
		 "%s/m/" TREE "\n%s/m/usr/" TREE "\n%s/m/" VERSION "\n%s/m\n"
		 "%s/k/boot/" TREE "\n%s/k/boot/usr/" TREE "\n"
		 "%s/k/" TREE "\n%s/k/usr/" TREE "\n"
		 "%s/" TREE "\n%s/usr/" TREE "\n"
		 "%s/" TREE "\n%s/usr/" TREE "\n"
		 "/" TREE "\n/usr/" TREE "\n",
		 folder, folder, folder, folder, folder, folder, folder, folder, folder, folder,
		 top, top);
	ck_assert_str_eq(looked, expected);
	free(looked);

	files_capture();
	ck_assert_int_eq(modules_find(files_path(folder, "nowhere"),
				      files_path(folder, "k/boot/vmlinuz"), VERSION, &path,
				      &looked),
			 -ENOENT);
	said = files_captured();
	ck_assert_ptr_nonnull(strstr(said, "nowhere': No such file or directory\n"));
	free(looked);
	free(said);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("modules");
	const TTest *const tests[] = {
		dependencies_come_first,
		dash_equals_underscore,
		softdeps_of_all_depths,
		aliases_with_wildcards,
		builtins_are_left_out,
		absent_adds_nothing,
		cycles_end,
		chain_too_deep,
		list_too_long,
		malformed_lines_are_skipped,
		random_files,
		alias_longer_than_any,
		depmod_not_run,
		files_that_cannot_be_read,
		names_with_dots,
		files_stay_in_the_tree,
		found_around_the_kernel,
		another_users_tree_is_not_taken,
		found_by_option,
		not_found_lists_every_place,
	};
	TCase *tcase = tcase_create("modules");

	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
