/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does a block device's I/O hang, and where?  One thread looks at all queues from
 * time to time, without a lock and while they are served: it reads atomics, and
 * guest memory.  It tells of three kinds of hang, a line when one has lasted for
 * long and a line when it is over:
 *
 *  - a request was taken, and is not done: the disk has it, or a call of the I/O
 *    thread, or another request that goes first;
 *  - the guest made requests available, and nothing took them, since it has not rung;
 *  - the guest waits for an interrupt that something holds back.
 *
 * Its time is a number, the epoch, that the looker adds one to before each look:
 * I/O threads note it with what they do, which costs them no look at a clock.
 * What was noted N epochs ago is N - 1 to N of them old.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct blk;
struct blk_watch;

/* What has lasted for so many epochs, and surely for one less, is told of. */
#define BLK_WATCH_EPOCHS 3

/*
 * @epoch_s: how long an epoch is, in seconds.  @held_still: does someone hold threads
 * of this process still, such as a debugger?  Asked before anything is told of, and if
 * so, all ages begin anew.  NULL: there is no memory.  One thread makes it, looks and
 * frees it, before blk_destroy().
 */
struct blk_watch *blk_watch_create(struct blk *blk, double epoch_s, bool (*held_still)(void));
void blk_watch_free(struct blk_watch *watch);

/*
 * Look at all queues, in epoch @now: 1 or more, and one more than in the last look.
 * Returns whether any queue is in use.
 */
bool blk_watch_look(struct blk_watch *watch, uint32_t now);
