/* SPDX-License-Identifier: BSD-2-Clause */
/* What a test has done on an I/O thread. */
#pragma once

#include "devices/io_thread.h"

/* Call @function on @thread, and wait until it has returned. */
void on_thread(struct io_thread *thread, void (*function)(void *opaque), void *opaque);

/*
 * @fd, which the thread may use, becomes the file of @other, which is closed; or it has
 * become another one, which the thread's ring is to know, too.
 */
void on_thread_replace_file(struct io_thread *thread, int fd, int other);
void on_thread_renew_file(struct io_thread *thread, int fd);
