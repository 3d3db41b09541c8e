/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a test is, and how it fails. Each test is one function in its file's table. A
 * failing check prints where and what, and leaves the test at once from any depth; the
 * next test starts on a reset device.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct blk;

/*
 * What must hold, by the kit's options, for a test to make sense. The device itself is not
 * asked.
 */
enum test_needs {
	NEEDS_NOTHING = 0,
	NEEDS_WRITABLE = 1 << 0,
	NEEDS_READ_ONLY = 1 << 1,
	NEEDS_TWO_DISKS = 1 << 2,
	NEEDS_BOTH_VIEWS = 1 << 3, /* PCI configuration by ports and by ECAM */
	NEEDS_INTX = 1 << 4,
	NEEDS_SPLIT = 1 << 5,
	NEEDS_PACKED = 1 << 6,
	NEEDS_IN_ORDER = 1 << 7,
	NEEDS_NOTIFICATION_DATA = 1 << 8,
	NEEDS_PLAIN_NOTIFICATION = 1 << 9,
	NEEDS_TWO_QUEUES = 1 << 10,
	NEEDS_FLUSH = 1 << 11,    /* cache= is not unsafe */
	NEEDS_NO_FLUSH = 1 << 12, /* it is */
	NEEDS_RESIZE = 1 << 13,   /* somebody does what test_resize.c asks for */
	NEEDS_DURABLE = 1 << 14,  /* the runner looks: see test_cache.c */
	NEEDS_MMIO = 1 << 15,
	NEEDS_MMIO_DATA = 1 << 16, /* that disk offers NOTIFICATION_DATA */
	NEEDS_TRANSITIONAL = 1 << 17, /* the first disk has the legacy interface */
	NEEDS_ANY_ORDER = 1 << 18, /* IN_ORDER asks the driver, too, for order: in its tables */
	NEEDS_WATCH = 1 << 19, /* somebody looks at what test_hang.c does */
};

struct test {
	const char *name; /* group/what; NULL ends a table */
	void (*run)(struct blk *disk);
	/*
	 * Ids in Documentation/conformance.md that the test observes: those of SPLIT and of
	 * PACKED with that ring only.
	 */
	const char *rows;
	unsigned needs;
};

extern const struct test pci_tests[], capability_tests[], device_tests[], msix_tests[],
	intx_tests[];
extern const struct test blk_tests[], framing_tests[], ring_tests[], packed_tests[], queue_tests[];
extern const struct test range_tests[], cache_tests[], mq_tests[], resize_tests[];
extern const struct test mmio_tests[], legacy_tests[], hang_tests[];

/*
 * Options are name=value words on the kit's command line; other words are left alone. They say what
 * the machine should be like, so that a device that is wrong about itself fails:
 *   tests=PREFIX,...  run only tests whose names begin so (all)
 *   from=N            leave out those before number N: a monitor did not survive the last (1)
 *   disks=N           how many disks there are (1)
 *   disk=rw|ro        whether the first may be written (rw)
 *   sectors=N         its capacity (not checked)
 *   block=BYTES       the unit in which the host keeps it (not checked)
 *   serial=TEXT       its serial number, up to 20 characters (none)
 *   discard=on|off    whether it has DISCARD (on)
 *   unmap=on|off      whether WRITE_ZEROES may deallocate (on)
 *   cache=writeback|writethrough|unsafe  its first mode; unsafe: it offers no FLUSH (writeback)
 *   resize=on|off     on: somebody does what lines such as "# resize please: SECTORS" ask for
 *                     (off)
 *   watch=on|off      on: somebody answers lines such as "# look: hangs" by another size (off)
 *   durable=on|off    on: the runner looks at what the durable/ tests wrote (off)
 *   memory=MIB        the size of RAM (not used)
 *   transitional=on|off  whether it has the legacy interface, too (off)
 *   views=cf8,ecam    the ways to configuration space (both)
 *   ecam=ADDRESS      where the ECAM is, if no MCFG table says
 *   queues=N          how many queues each has (1)
 *   ring=split|packed what is offered, and is then used for all queues (split)
 *   in-order=on|off, notification-data=on|off  the same for these features (off)
 *   mmio=ADDRESS      registers of one more disk, on the memory-mapped transport (none)
 *   mmio-gsi=N        its interrupt (16)
 *   mmio-queues=N     how many queues it has, 4 at most (1)
 *   mmio-data=on|off  whether it offers NOTIFICATION_DATA (off)
 *   intx=on|off       off: firmware has not routed INTx, leave those tests out (on)
 *   end=off|reset|i8042|fault|spin|halt|resets  how to end: power off, reset by ACPI or by
 *                     the keyboard controller, triple fault, or not at all: spin, halt, or
 *                     start and reset the disk at mmio= (off)
 *   bench=...         a load instead of tests: see bench.h, also for its other options
 * The value of option `name`, or `otherwise`.
 */
const char *option(const char *name, const char *otherwise);

/* The same for a number, decimal or 0x and lower-case hexadecimal. */
uint64_t option_number(const char *name, uint64_t otherwise);

/* True if the comma-separated `list` has `word`. */
bool list_has(const char *list, const char *word);

/* Says what a loop is about to check. Printed only if a check fails; NULL forgets it. */
void test_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

_Noreturn void test_fail(const char *file, int line, const char *what);
void test_compare(const char *file, int line, const char *what, uint64_t got, uint64_t want);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			test_fail(__FILE__, __LINE__, #condition);                                 \
	} while (0)

#define CHECK_EQUAL(got, want) test_compare(__FILE__, __LINE__, #got, got, want)

/* Prints `why` as TAP's "Bail out!" and ends the run. */
_Noreturn void test_give_up(const char *why);

/* Copies the options from the kit's command line. */
void test_options(const char *command_line);

/* test_mmio.c: what end=resets does. */
_Noreturn void mmio_reset_forever(void);

/* Runs every selected test on `disk` and prints TAP. */
void test_run_all(struct blk *disk);
