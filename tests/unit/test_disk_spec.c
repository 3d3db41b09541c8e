// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/disk_spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"

#define VALID_KEYS \
	"path=PATH, readonly[=on|off], aio=io_uring|sync, direct[=on|off], " \
	"dontcache[=on|off], fixed-buffers=on|off, block-size=512|4096, serial=TEXT, " \
	"queue-size=N, queues=N, poll-max-us=N, discard=on|off, cache=writeback|writethrough|unsafe, " \
	"transport=pci|pci-transitional|mmio, " \
	"packed=on|off, in-order=on|off, notification-data=on|off"

static struct blk_config parse(const char *spec)
{
	struct blk_config config;

	ck_assert_msg(disk_spec_parse(spec, &config) == 0, "'%s' refused", spec);
	return config;
}

START_TEST(defaults)
{
	struct blk_config config = parse("img.raw");

	ck_assert_str_eq(config.disk.path, "img.raw");
	ck_assert(!config.disk.read_only);
	ck_assert_int_eq(config.disk.aio, DISK_AIO_IO_URING);
	ck_assert_str_eq(config.serial, "");
	ck_assert_uint_eq(config.queue_size, 256);
	ck_assert(!config.disk.direct && !config.disk.dontcache && !config.disk.fixed_buffers);
	ck_assert_uint_eq(config.disk.block_size, 512);
	ck_assert(!config.packed && !config.in_order && !config.notification_data);
	ck_assert_uint_eq(config.queues, 0);
	ck_assert_uint_eq(config.poll_max_us, BLK_POLL_US_DEFAULT);
	ck_assert(config.discard);
	ck_assert_int_eq(config.cache, BLK_CACHE_WRITEBACK);
	ck_assert_int_eq(config.transport, BLK_TRANSPORT_PCI);
	disk_spec_free(&config);
	ck_assert_ptr_null(config.disk.path);
}
END_TEST

/* Each switch alone, by any of its names and values. */
START_TEST(ring_switches)
{
	static const char *const on[] = { "on", "true" }, *const off[] = { "off", "false" };
	char spec[64];

	for (unsigned i = 0; i < 3 * 4; i++) {
		static const char *const keys[] = { "packed", "in_order", "notification-data" };
		bool wanted = i % 4 < 2;
		struct blk_config config;

		snprintf(spec, sizeof(spec), "x,%s=%s", keys[i / 4], (wanted ? on : off)[i % 2]);
		config = parse(spec);
		ck_assert_int_eq(config.packed, wanted && i / 4 == 0);
		ck_assert_int_eq(config.in_order, wanted && i / 4 == 1);
		ck_assert_int_eq(config.notification_data, wanted && i / 4 == 2);
		disk_spec_free(&config);
	}
}
END_TEST

START_TEST(no_polling)
{
	struct blk_config config = parse("x,poll-max-us=0");

	ck_assert_uint_eq(config.poll_max_us, 0);
	disk_spec_free(&config);
}
END_TEST

START_TEST(all_keys)
{
	struct blk_config config =
		parse("path=a/b,readonly=true,aio=sync,serial=0123456789abcdef ~!9,queue-size=1024,"
		      "discard=off,cache=unsafe,queues=255,poll_max_us=1000,direct,block-size=4096,"
		      "dontcache=off");

	ck_assert_str_eq(config.disk.path, "a/b");
	ck_assert(config.disk.read_only);
	ck_assert_int_eq(config.disk.aio, DISK_AIO_SYNC);
	ck_assert_str_eq(config.serial, "0123456789abcdef ~!9");
	ck_assert_uint_eq(config.queue_size, 1024);
	ck_assert_uint_eq(config.queues, 255);
	ck_assert_uint_eq(config.poll_max_us, 1000);
	ck_assert(!config.discard);
	ck_assert(config.disk.direct && !config.disk.dontcache);
	ck_assert_uint_eq(config.disk.block_size, 4096);
	ck_assert_int_eq(config.cache, BLK_CACHE_UNSAFE);
	disk_spec_free(&config);
}
END_TEST

static const struct {
	const char *spec, *path;
} paths[] = {
	{ "x", "x" },
	{ "path=x", "x" },
	{ "path=path=x", "path=x" },
	{ "./path=x", "./path=x" },
	{ "a=b", "a=b" }, /* no key: the first item is the path */
	{ "readonly", "readonly" },
	{ "a,,b", "a,b" },
	{ ",,", "," },
	{ "a,,,,b", "a,,b" },
	{ "a,,,ro", "a," },
	{ "path=,,a,ro", ",a" },
	{ " \xc3\xa4 ", " \xc3\xa4 " },
};

START_TEST(path_forms)
{
	struct blk_config config = parse(paths[_i].spec);

	ck_assert_str_eq(config.disk.path, paths[_i].path);
	disk_spec_free(&config);
}
END_TEST

static const struct {
	const char *spec;
	bool read_only;
} switches[] = {
	{ "x,ro", true },           { "x,readonly", true },
	{ "x,ro=on", true },        { "x,ro=true", true },
	{ "x,readonly=off", false }, { "x,readonly=false", false },
};

START_TEST(switch_forms)
{
	struct blk_config config = parse(switches[_i].spec);

	ck_assert_int_eq(config.disk.read_only, switches[_i].read_only);
	disk_spec_free(&config);
}
END_TEST

START_TEST(cache_modes)
{
	static const char *const specs[] = { "x,cache=writeback", "x,cache=writethrough",
					     "x,cache=unsafe" };

	for (unsigned i = 0; i < array_size(specs); i++) {
		struct blk_config config = parse(specs[i]);

		ck_assert_int_eq(config.cache, i);
		disk_spec_free(&config);
	}
}
END_TEST

START_TEST(transports)
{
	static const char *const specs[] = {
		"x,transport=pci", "x,transport=pci-transitional", "x,transport=mmio",
	};

	for (unsigned i = 0; i < array_size(specs); i++) {
		struct blk_config config = parse(specs[i]);

		ck_assert_int_eq(config.transport, i);
		disk_spec_free(&config);
	}
}
END_TEST

START_TEST(underscore_and_doubled_commas_in_values)
{
	struct blk_config config = parse("x,queue_size=2,serial=a,,b=c,num_queues=3");

	ck_assert_uint_eq(config.queue_size, 2);
	ck_assert_uint_eq(config.queues, 3);
	ck_assert_str_eq(config.serial, "a,b=c");
	disk_spec_free(&config);
}
END_TEST

#define READONLY_HELP "(open it for reading only; short: ro)"
#define AIO_HELP "(how I/O is done, default io_uring)"
#define SERIAL_HELP "(1 to 20 printable ASCII characters)"
#define PACKED_HELP "(offer RING_PACKED, default off)"
#define POLL_HELP "(spin before sleep, 0 to 1000, default 32)"
#define QUEUES_HELP "(1 to 255, default one a CPU (num_queues))"
#define CACHE_HELP "(safe on flush (default), at once, never)"
#define TRANSPORT_HELP "(how the guest reaches it, default pci)"
#define DISCARD_HELP "(let the guest deallocate, default on)"
#define DIRECT_HELP "(go past the page cache, default off)"
#define DONTCACHE_HELP "(leave nothing in page cache, default off)"
#define FIXED_BUFFERS_HELP "(pin guest memory for I/O, default off)"
#define BLOCK_SIZE_HELP "(size of the guest's blocks, default 512)"
#define QUEUE_SIZE_HELP "(a power of two, 2 to 1024, default 256)"

static const struct {
	const char *spec, *problem;
} bad[] = {
	{ "x,foo", "unknown key 'foo'" },
	{ "x,foo=1", "unknown key 'foo'" },
	{ "x,", "unknown key ''" },
	{ "x,=on", "unknown key ''" },
	{ "x,Readonly", "unknown key 'Readonly'" },
	{ "x,readonl", "unknown key 'readonl'" },
	{ "x,readonlyy", "unknown key 'readonlyy'" },
	{ "x, ro", "unknown key ' ro'" },
	{ "x,queue-size-=2", "unknown key 'queue-size-'" },
	{ "x,path=y", "repeated key 'path'" },
	{ "path=x,path=y", "repeated key 'path'" },
	{ "x,ro,ro", "repeated key 'ro'" },
	{ "x,ro,readonly=off", "repeated key 'readonly'" },
	{ "x,queue-size=2,queue_size=2", "repeated key 'queue_size'" },
	{ "x,ro=", "bad value for key 'ro' " READONLY_HELP },
	{ "x,ro=yes", "bad value for key 'ro' " READONLY_HELP },
	{ "x,ro=on=off", "bad value for key 'ro' " READONLY_HELP },
	{ "x,aio", "no value for key 'aio' " AIO_HELP },
	{ "x,aio=", "bad value for key 'aio' " AIO_HELP },
	{ "x,aio=native", "bad value for key 'aio' " AIO_HELP },
	{ "x,direct=", "bad value for key 'direct' " DIRECT_HELP },
	{ "x,direct,direct=off", "repeated key 'direct'" },
	{ "x,dontcache=", "bad value for key 'dontcache' " DONTCACHE_HELP },
	{ "x,dontcache=1", "bad value for key 'dontcache' " DONTCACHE_HELP },
	{ "x,fixed-buffers", "no value for key 'fixed-buffers' " FIXED_BUFFERS_HELP },
	{ "x,fixed-buffers=1", "bad value for key 'fixed-buffers' " FIXED_BUFFERS_HELP },
	{ "x,block-size", "no value for key 'block-size' " BLOCK_SIZE_HELP },
	{ "x,block-size=1024", "bad value for key 'block-size' " BLOCK_SIZE_HELP },
	{ "x,block-size=4k", "bad value for key 'block-size' " BLOCK_SIZE_HELP },
	{ "x,serial", "no value for key 'serial' " SERIAL_HELP },
	{ "x,serial=", "bad value for key 'serial' " SERIAL_HELP },
	{ "x,serial=0123456789abcdefghijk", "bad value for key 'serial' " SERIAL_HELP },
	{ "x,serial=a\tb", "bad value for key 'serial' " SERIAL_HELP },
	{ "x,serial=a\x7f", "bad value for key 'serial' " SERIAL_HELP },
	{ "x,serial=\xc3\xa4", "bad value for key 'serial' " SERIAL_HELP },
	{ "x,packed", "no value for key 'packed' " PACKED_HELP },
	{ "x,packed=1", "bad value for key 'packed' " PACKED_HELP },
	{ "x,packed=on,packed=off", "repeated key 'packed'" },
	{ "x,queue-size", "no value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=0", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=1", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=3", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=2048", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=65538", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=-2", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=+2", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=0x10", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queue-size=2k", "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
	{ "x,queues", "no value for key 'queues' " QUEUES_HELP },
	{ "x,queues=0", "bad value for key 'queues' " QUEUES_HELP },
	{ "x,queues=256", "bad value for key 'queues' " QUEUES_HELP },
	{ "x,queues=65537", "bad value for key 'queues' " QUEUES_HELP },
	{ "x,queues=1,num-queues=2", "repeated key 'num-queues'" },
	{ "x,poll-max-us", "no value for key 'poll-max-us' " POLL_HELP },
	{ "x,poll-max-us=", "bad value for key 'poll-max-us' " POLL_HELP },
	{ "x,poll-max-us=1001", "bad value for key 'poll-max-us' " POLL_HELP },
	{ "x,poll-max-us=4294967296", "bad value for key 'poll-max-us' " POLL_HELP },
	{ "x,poll-max-us=off", "bad value for key 'poll-max-us' " POLL_HELP },
	{ "x,poll-max-us=0,poll_max_us=0", "repeated key 'poll_max_us'" },
	{ "x,cache", "no value for key 'cache' " CACHE_HELP },
	{ "x,cache=none", "bad value for key 'cache' " CACHE_HELP },
	{ "x,cache=writeback ", "bad value for key 'cache' " CACHE_HELP },
	{ "x,transport", "no value for key 'transport' " TRANSPORT_HELP },
	{ "x,transport=", "bad value for key 'transport' " TRANSPORT_HELP },
	{ "x,transport=MMIO", "bad value for key 'transport' " TRANSPORT_HELP },
	{ "x,transport=pc", "bad value for key 'transport' " TRANSPORT_HELP },
	{ "x,discard", "no value for key 'discard' " DISCARD_HELP },
	{ "x,discard=unmap", "bad value for key 'discard' " DISCARD_HELP },
	{ "x,queue-size=18446744073709551618",
	  "bad value for key 'queue-size' " QUEUE_SIZE_HELP },
};

START_TEST(errors_name_the_key)
{
	struct blk_config config;
	char expected[1024], *said;
	int ret;

	files_capture();
	ret = disk_spec_parse(bad[_i].spec, &config);
	said = files_captured();
	snprintf(expected, sizeof(expected), "vmm: disk '%s': %s; valid keys: %s\n",
		 bad[_i].spec, bad[_i].problem, VALID_KEYS);
	/* As log_error() prints control characters. */
	for (char *c = expected; c[1]; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	ck_assert_str_eq(said, expected);
	ck_assert_int_eq(ret, -EINVAL);
	ck_assert_ptr_null(config.disk.path);
	free(said);
}
END_TEST

/* Keys that each may be given, but not both. */
static void exclude_each_other(const char *spec, const char *text)
{
	struct blk_config config;
	char *said;

	files_capture();
	ck_assert_int_eq(disk_spec_parse(spec, &config), -EINVAL);
	said = files_captured();
	ck_assert_ptr_nonnull(strstr(said, text));
	ck_assert_ptr_null(config.disk.path);
	free(said);
}

START_TEST(direct_or_dontcache)
{
	static const char text[] = "direct and dontcache exclude each other";
	struct blk_config config;

	exclude_each_other("x,direct,dontcache=on", text);
	exclude_each_other("x,dontcache=on,direct=on", text);
	config = parse("x,direct=off,dontcache");
	ck_assert(!config.disk.direct && config.disk.dontcache);
	disk_spec_free(&config);
}
END_TEST

START_TEST(fixed_buffers_or_sync)
{
	static const char text[] = "fixed-buffers=on and aio=sync exclude";
	struct blk_config config;

	exclude_each_other("x,aio=sync,fixed-buffers=on", text);
	exclude_each_other("x,fixed_buffers=on,direct,aio=sync", text);
	config = parse("x,direct,fixed-buffers=on");
	ck_assert(config.disk.direct && config.disk.fixed_buffers);
	disk_spec_free(&config);
}
END_TEST

static const char *const pathless[] = { "", "path=", ",ro", "path=,ro" };

START_TEST(no_path)
{
	struct blk_config config;
	char expected[64], *said;

	files_capture();
	ck_assert_int_eq(disk_spec_parse(pathless[_i], &config), -EINVAL);
	said = files_captured();
	snprintf(expected, sizeof(expected), "vmm: disk '%s': no path\n", pathless[_i]);
	ck_assert_str_eq(said, expected);
	free(said);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_spec");
	TCase *tables = tcase_create("tables");

	unit_tcase(suite, "grammar", defaults, ring_switches, no_polling, all_keys,
		   cache_modes, transports, direct_or_dontcache, fixed_buffers_or_sync,
		   underscore_and_doubled_commas_in_values);
	tcase_add_loop_test(tables, path_forms, 0, array_size(paths));
	tcase_add_loop_test(tables, switch_forms, 0, array_size(switches));
	tcase_add_loop_test(tables, errors_name_the_key, 0, array_size(bad));
	tcase_add_loop_test(tables, no_path, 0, array_size(pathless));
	suite_add_tcase(suite, tables);
	return unit_run(suite);
}
