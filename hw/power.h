/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest can ask of its power supply.  Any thread; both return at once. */
#pragma once

struct power_ops {
	void (*off)(void *opaque);
	void (*reset)(void *opaque);
};

struct power_port {
	const struct power_ops *ops;
	void *opaque;
};
