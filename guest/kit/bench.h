/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A load for a disk, and how long each request takes: what a driver that wastes no time sees of
 * the device and of the monitor around it. With the option bench= the kit does this instead of
 * its tests, and writes to the whole disk if a case does. Its options, beside those in test.h:
 *   bench=OP/SIZE/DEPTH/QUEUES,...  the cases, in this order. OP: randread, read, randwrite,
 *                    write, randrw (7 reads to 3 writes) or flush. SIZE: 512 to 1m bytes a
 *                    request. DEPTH: 1 to 128 requests in flight on each of 1 to 16 QUEUES.
 *   wait=poll|interrupt|halt  how the driver learns of completions: it looks, with interrupts
 *                    suppressed; or it waits for an interrupt, spinning or in HLT (poll)
 *   indirect=on|off  whether a request is one descriptor that points to a table (on)
 *   bench-ms=N       for how long each case is measured (1000)
 *   bench-requests=N or until so many requests were made, if that is earlier (0: however many)
 *   warm-ms=N        and the same load not measured, before that; 0: not at all (200)
 *   log=on|off       on: what these requests were is printed, too; with bench-requests=N (off)
 *   verify=on|off    on: the image holds the runner's pattern (blk.h), writes keep it, and what
 *                    reads find at either end of their data is compared (off)
 * One CPU drives all queues. For each case the console gets, in one line each,
 *   # bench-begin
 *   bench: op=... size=... depth=... queues=... wait=... ring=... requests=N ms=N.N iops=N
 *          mean_ns=N p50_ns=N p90_ns=N p99_ns=N p999_ns=N max_ns=N doorbells=N interrupts=N
 *          errors=N
 * and between them nothing. All that is counted was submitted, and ended, between these two
 * lines. A request's time begins when the driver starts to write it and ends when the driver sees
 * it used: IOPS times their mean is DEPTH times QUEUES. `errors` counts requests whose status is
 * not OK, or whose data is wrong. With log=on these lines follow, in the order of submission:
 *   request: queue=N op=N sector=N len=N
 * where op is the type in the request's header.
 */
#pragma once

struct blk;

/* Runs the cases on `disk`. */
void bench_run(struct blk *disk);
