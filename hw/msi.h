/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Message-signalled interrupts: "a signal on this eventfd sends this message".
 */
#pragma once

#include <stdint.h>

struct msi_message {
	uint64_t addr;
	uint32_t data;
};

/* Filled in by the hypervisor's side; any thread. */
struct msi_ops {
	/*
	 * From now on each signal on @eventfd sends @message; signals that the
	 * eventfd already holds send one.  Returns a handle of 0 or more for
	 * detach, or -errno.
	 */
	int (*attach)(void *opaque, int eventfd, const struct msi_message *message);
	/* Returns when nothing more can be sent; later signals stay in @eventfd. */
	void (*detach)(void *opaque, int eventfd, int handle);
};

struct msi_port {
	const struct msi_ops *ops;
	void *opaque;
};
