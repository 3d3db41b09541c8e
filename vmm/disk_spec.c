// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/disk_spec.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/number.h"

#define PATH_KEY "path="

struct disk_key {
	const char *name;
	const char *alias;  /* or NULL */
	const char *syntax; /* as shown to the user */
	const char *help;
	const char *bare; /* the value of a key without one; NULL: there must be one */
	/* Writes @value to its field; false: malformed. */
	bool (*set)(void *field, const char *value);
	size_t field; /* its offset in struct blk_config */
};

static bool set_switch(void *field, const char *value)
{
	bool *to = field;

	*to = !strcmp(value, "on") || !strcmp(value, "true");
	return *to || !strcmp(value, "off") || !strcmp(value, "false");
}

static bool set_queues(void *field, const char *value)
{
	const char *end;
	uint64_t queues;

	if (!number_parse(value, &queues, &end) || *end || !queues || queues > BLK_QUEUES_MAX)
		return false;
	*(uint16_t *)field = (uint16_t)queues;
	return true;
}

static bool set_aio(void *field, const char *value)
{
	bool sync = !strcmp(value, "sync");

	*(enum disk_aio *)field = sync ? DISK_AIO_SYNC : DISK_AIO_IO_URING;
	return sync || !strcmp(value, "io_uring");
}

static bool set_cache(void *field, const char *value)
{
	static const char *const names[] = {
		[BLK_CACHE_WRITEBACK] = "writeback",
		[BLK_CACHE_WRITETHROUGH] = "writethrough",
		[BLK_CACHE_UNSAFE] = "unsafe",
	};

	for (unsigned i = 0; i < array_size(names); i++) {
		if (strcmp(value, names[i]))
			continue;
		*(enum blk_cache *)field = (enum blk_cache)i;
		return true;
	}
	return false;
}

static bool set_transport(void *field, const char *value)
{
	static const char *const names[] = {
		[BLK_TRANSPORT_PCI] = "pci",
		[BLK_TRANSPORT_PCI_TRANSITIONAL] = "pci-transitional",
		[BLK_TRANSPORT_MMIO] = "mmio",
	};

	for (unsigned i = 0; i < array_size(names); i++) {
		if (strcmp(value, names[i]))
			continue;
		*(enum blk_transport *)field = (enum blk_transport)i;
		return true;
	}
	return false;
}

static bool set_serial(void *field, const char *value)
{
	size_t len = strlen(value);

	if (len == 0 || len > BLK_SERIAL_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (value[i] < ' ' || value[i] > '~')
			return false;
	memcpy(field, value, len + 1);
	return true;
}

static bool set_block_size(void *field, const char *value)
{
	bool large = !strcmp(value, "4096");

	*(uint32_t *)field = large ? DISK_BLOCK_MAX : DISK_SECTOR;
	return large || !strcmp(value, "512");
}

static bool set_queue_size(void *field, const char *value)
{
	const char *end;
	uint64_t size;

	if (!number_parse(value, &size, &end) || *end)
		return false;
	if (size < BLK_QUEUE_SIZE_MIN || size > BLK_QUEUE_SIZE_MAX || !is_power_of_two(size))
		return false;
	*(uint16_t *)field = (uint16_t)size;
	return true;
}

static bool set_poll(void *field, const char *value)
{
	const char *end;
	uint64_t us;

	if (!number_parse(value, &us, &end) || *end || us > BLK_POLL_US_MAX)
		return false;
	*(uint32_t *)field = (uint32_t)us;
	return true;
}

#define FIELD(name) offsetof(struct blk_config, name)

/* The path is the first item always, so as a key it is only ever repeated. */
/* clang-format off */
static const struct disk_key keys[] = {
	{ "path", NULL, "path=PATH", "raw file or block device, first in SPEC",
	  NULL, NULL, 0 },
	{ "readonly", "ro", "readonly[=on|off]", "open it for reading only; short: ro",
	  "on", set_switch, FIELD(disk.read_only) },
	{ "aio", NULL, "aio=io_uring|sync", "how I/O is done, default io_uring",
	  NULL, set_aio, FIELD(disk.aio) },
	{ "direct", NULL, "direct[=on|off]", "go past the page cache, default off",
	  "on", set_switch, FIELD(disk.direct) },
	{ "dontcache", NULL, "dontcache[=on|off]", "leave nothing in page cache, default off",
	  "on", set_switch, FIELD(disk.dontcache) },
	{ "fixed-buffers", NULL, "fixed-buffers=on|off", "pin guest memory for I/O, default off",
	  NULL, set_switch, FIELD(disk.fixed_buffers) },
	{ "block-size", NULL, "block-size=512|4096", "size of the guest's blocks, default 512",
	  NULL, set_block_size, FIELD(disk.block_size) },
	{ "serial", NULL, "serial=TEXT", "1 to 20 printable ASCII characters",
	  NULL, set_serial, FIELD(serial) },
	{ "queue-size", NULL, "queue-size=N", "a power of two, 2 to 1024, default 256",
	  NULL, set_queue_size, FIELD(queue_size) },
	{ "queues", "num-queues", "queues=N", "1 to 255, default one a CPU (num_queues)",
	  NULL, set_queues, FIELD(queues) },
	{ "poll-max-us", NULL, "poll-max-us=N", "spin before sleep, 0 to 1000, default 32",
	  NULL, set_poll, FIELD(poll_max_us) },
	{ "discard", NULL, "discard=on|off", "let the guest deallocate, default on",
	  NULL, set_switch, FIELD(discard) },
	{ "cache", NULL, "cache=writeback|writethrough|unsafe",
	  "safe on flush (default), at once, never",
	  NULL, set_cache, FIELD(cache) },
	{ "transport", NULL, "transport=pci|pci-transitional|mmio",
	  "how the guest reaches it, default pci",
	  NULL, set_transport, FIELD(transport) },
	{ "packed", NULL, "packed=on|off", "offer RING_PACKED, default off",
	  NULL, set_switch, FIELD(packed) },
	{ "in-order", NULL, "in-order=on|off", "offer IN_ORDER, default off",
	  NULL, set_switch, FIELD(in_order) },
	{ "notification-data", NULL, "notification-data=on|off",
	  "offer NOTIFICATION_DATA, default off",
	  NULL, set_switch, FIELD(notification_data) },
};
/* clang-format on */

void disk_spec_help(void)
{
	for (unsigned i = 0; i < array_size(keys); i++)
		printf("  %-35s  %s\n", keys[i].syntax, keys[i].help);
}

static bool key_matches(const char *given, const char *name)
{
	for (; *given && *name; given++, name++)
		if ((*given == '_' ? '-' : *given) != *name)
			return false;
	return *given == *name;
}

static const struct disk_key *key_find(const char *given)
{
	for (unsigned i = 0; i < array_size(keys); i++)
		if (key_matches(given, keys[i].name) ||
		    (keys[i].alias && key_matches(given, keys[i].alias)))
			return &keys[i];
	return NULL;
}

static int complain(const char *spec, const char *problem, const char *given,
		    const struct disk_key *key)
{
	char list[1024];
	size_t len = 0;

	for (unsigned i = 0; i < array_size(keys); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
					keys[i].syntax);
	log_error("disk '%s': %s '%s'%s%s%s; valid keys: %s", spec, problem, given, key ? " (" : "",
		  key ? key->help : "", key ? ")" : "", list);
	return -EINVAL;
}

/* Obey one item after the path.  @seen: a bit for each key given so far. */
static int apply_item(struct blk_config *config, const char *spec, char *item, unsigned *seen)
{
	char *value = strchr(item, '=');
	const struct disk_key *key;
	unsigned bit;

	if (value)
		*value++ = '\0';
	key = key_find(item);
	if (!key)
		return complain(spec, "unknown key", item, NULL);
	bit = 1U << (key - keys);
	if (*seen & bit)
		return complain(spec, "repeated key", item, NULL);
	*seen |= bit;
	if (!value && !key->bare)
		return complain(spec, "no value for key", item, key);
	if (!key->set((char *)config + key->field, value ? value : key->bare))
		return complain(spec, "bad value for key", item, key);
	return 0;
}

/* A copy of the next item, or NULL without memory.  *@rest is NULL after the last. */
static char *take_item(const char **rest)
{
	const char *from = *rest;
	char *item, *to;

	item = to = malloc(strlen(from) + 1);
	if (!item)
		return NULL;
	while (*from && (*from != ',' || from[1] == ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*to = '\0';
	*rest = *from ? from + 1 : NULL;
	return item;
}

static int take_path(struct blk_config *config, const char *spec, const char **rest)
{
	char *path = take_item(rest);

	if (!path)
		return -ENOMEM;
	if (!strncmp(path, PATH_KEY, strlen(PATH_KEY)))
		memmove(path, path + strlen(PATH_KEY), strlen(path + strlen(PATH_KEY)) + 1);
	config->disk.path = path;
	if (*path)
		return 0;
	log_error("disk '%s': no path", spec);
	return -EINVAL;
}

int disk_spec_parse(const char *spec, struct blk_config *config)
{
	const char *rest = spec;
	unsigned seen = 1; /* the path */
	char *item;
	int ret;

	*config = (struct blk_config){
		.disk.aio = DISK_AIO_IO_URING,
		.disk.block_size = DISK_SECTOR,
		.queue_size = BLK_QUEUE_SIZE_DEFAULT,
		.poll_max_us = BLK_POLL_US_DEFAULT,
		.discard = true,
	};
	ret = take_path(config, spec, &rest);
	while (!ret && rest) {
		item = take_item(&rest);
		ret = item ? apply_item(config, spec, item, &seen) : -ENOMEM;
		free(item);
	}
	if (!ret && config->disk.direct && config->disk.dontcache) {
		log_error("disk '%s': direct and dontcache exclude each other: direct I/O leaves "
			  "nothing in the page cache anyway", spec);
		ret = -EINVAL;
	}
	if (!ret && config->disk.fixed_buffers && config->disk.aio == DISK_AIO_SYNC) {
		log_error("disk '%s': fixed-buffers=on and aio=sync exclude each other: only "
			  "io_uring has such buffers", spec);
		ret = -EINVAL;
	}
	if (ret == -ENOMEM)
		log_error("out of memory");
	if (ret)
		disk_spec_free(config);
	return ret;
}

void disk_spec_free(struct blk_config *config)
{
	free((char *)config->disk.path);
	config->disk.path = NULL;
}
