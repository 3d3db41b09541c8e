/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A doorbell: "a write to this register signals this eventfd".
 *
 * The device that owns the register signals the eventfd itself when the write
 * reaches its handler, so a doorbell always works.  The hypervisor may offer a
 * short-cut that spares the exit: the device attaches it while the register
 * decodes and the queue behind it runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct doorbell {
	uint64_t addr;
	bool is_port;   /* @addr is an I/O port; otherwise it is in memory */
	int eventfd;    /* borrowed */
	unsigned len;   /* bytes: writes of this width count; 0: any write does */
	uint32_t value; /* with a width: only writes of this value count */
};

/* Filled in by the hypervisor's side; any thread. */
struct doorbell_ops {
	/* 0, or -errno: then writes keep coming to the handler. */
	int (*attach)(void *opaque, const struct doorbell *doorbell);
	/* @doorbell is equal to the one attached. */
	void (*detach)(void *opaque, const struct doorbell *doorbell);
};

struct doorbell_port {
	const struct doorbell_ops *ops; /* NULL: no short-cut */
	void *opaque;
};
