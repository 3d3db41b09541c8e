/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtio-blk disk, driver side: bring-up, requests, and the pattern on the disk image. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/kit/virtio.h"
#include "guest/kit/virtq.h"

enum {
	SECTOR_SIZE = 512,
	SECTOR_WORDS = SECTOR_SIZE / 8,
	BLK_HEADER_SIZE = 16,
	BLK_ID_SIZE = 20,
	BLK_DISKS_MAX = 8,
	BLK_AREA_SECTORS = 128,
};

enum blk_type {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_GET_ID = 8,
	BLK_GET_LIFETIME = 10,
	BLK_DISCARD = 11,
	BLK_WRITE_ZEROES = 13,
	BLK_SECURE_ERASE = 14,
};

enum blk_status {
	BLK_OK = 0,
	BLK_IOERR = 1,
	BLK_UNSUPP = 2,
	BLK_UNWRITTEN = 0xee, /* what a status byte holds before the device writes it */
};

enum blk_feature {
	F_BLK_SIZE_MAX = 1,
	F_BLK_SEG_MAX = 2,
	F_BLK_GEOMETRY = 4,
	F_BLK_RO = 5,
	F_BLK_BLK_SIZE = 6,
	F_BLK_FLUSH = 9,
	F_BLK_TOPOLOGY = 10,
	F_BLK_CONFIG_WCE = 11,
	F_BLK_MQ = 12,
	F_BLK_DISCARD = 13,
	F_BLK_WRITE_ZEROES = 14,
	F_BLK_LIFETIME = 15,
	F_BLK_SECURE_ERASE = 16,
	F_BLK_ZONED = 17,
};

/* Device configuration. */
enum blk_config {
	BLK_CAPACITY = 0,
	BLK_SIZE_MAX = 8,
	BLK_SEG_MAX = 12,
	BLK_GEOMETRY = 16,
	BLK_BLK_SIZE = 20,
	BLK_TOPOLOGY = 24,
	BLK_WRITEBACK = 32,
	BLK_NUM_QUEUES = 34,
	BLK_DISCARD_LIMITS = 36,
	BLK_WRITE_ZEROES_LIMITS = 48,
	BLK_SECURE_ERASE_LIMITS = 60,
	BLK_ZONED = 72,
};

/* MSI-X entries and vectors as blk_start() connects them. */
enum {
	ENTRY_CONFIG = 0,
	ENTRY_QUEUE = 1,
};

struct blk {
	struct virtio_device device;
	struct virtq queue;
	unsigned number;   /* this disk's place on the bus, and the seed of its pattern */
	uint64_t capacity; /* sectors */

	/* What firmware, or nobody, left behind. */
	uint8_t status_at_boot;
	uint16_t msix_control_at_boot;
	bool msix_masked_at_boot; /* all entries */
};

/*
 * One request as two runs of bytes: what the device reads (header, then data for OUT) and
 * what it writes (data for IN, then the status byte). How they are cut into descriptors is
 * up to whoever queues it.
 */
struct blk_request {
	uint8_t *readable, *writable;
	uint32_t readable_length, writable_length;
	uint16_t head;
	uint32_t used_length;
};

/* The disks, in bus order. */
struct blk *blk_disks(unsigned *count);

/* Finds them. A device whose capabilities are not usable is left out. */
void blk_find(void);

/* Puts the disk out of use: reset, MSI-X off and all its entries masked, INTx off. */
void blk_quiesce(struct blk *disk);

/*
 * From reset to just before DRIVER_OK with MSI-X: `features` that are offered, queue 0 of
 * `size`.
 */
void blk_prepare(struct blk *disk, uint64_t features, uint16_t size);

/* The same and DRIVER_OK. */
void blk_start_size(struct blk *disk, uint64_t features, uint16_t size);

/* The same with the queue's own size up to 256. */
void blk_start(struct blk *disk, uint64_t features);

/* As blk_start() without MSI-X: ISR and INTx. */
void blk_start_intx(struct blk *disk, uint64_t features);

/* The size that blk_start() gives queue 0. */
uint16_t blk_queue_size(const struct blk *disk);

/* The CPU vector that MSI-X entry `entry` of this disk is routed to. */
unsigned blk_vector(const struct blk *disk, unsigned entry);

/* Device configuration, `width` (1, 2, 4 or 8) bytes; 8 is read as two halves. */
uint64_t blk_config(const struct blk *disk, unsigned offset, unsigned width);

/* Allocates a request with `length` bytes of data on the side that its type asks for. */
void blk_request_init(struct blk_request *request, uint32_t type, uint64_t sector, uint32_t length);

/* The data part, and the status byte. */
uint64_t *blk_data(const struct blk_request *request);
uint8_t blk_status(const struct blk_request *request);

/* Adds and publishes as header, data, status; does not kick. */
void blk_queue(struct blk *disk, struct blk_request *request);

/*
 * Kicks and waits (by interrupt) until the device has used one request: this one. Fills
 * used_length.
 */
void blk_finish(struct blk *disk, struct blk_request *request);

/* Takes the used element of this request, which must be the next. */
void blk_take(struct blk *disk, struct blk_request *request);

/* init, queue and finish in one; the status. */
uint8_t blk_run(struct blk *disk, struct blk_request *request, uint32_t type, uint64_t sector,
		uint32_t length);

/*
 * Reads `sectors` from `sector`; fails the test if it does not succeed with the right used
 * length.
 */
uint64_t *blk_read(struct blk *disk, uint64_t sector, unsigned sectors);

/* Publishes reads of the first `count` sectors, one each; does not kick. */
void blk_publish_reads(struct blk *disk, struct blk_request *requests, unsigned count);

/*
 * Waits for them by looking, takes them in whatever order they come, and checks each. No
 * other is in flight.
 */
void blk_collect_reads(struct blk *disk, struct blk_request *requests, unsigned count);

/* Writes `sectors` of the complement of the pattern, or the pattern itself; must succeed. */
void blk_write(struct blk *disk, uint64_t sector, unsigned sectors, bool complement);

/*
 * The pattern that the runner puts on an image: 8-byte word n of disk d holds d << 56 | n.
 * The kit writes only the upper half of a disk; blk_check() compares, and `complement`
 * asks for ~pattern.
 */
void blk_fill(const struct blk *disk, uint64_t *data, uint64_t sector, unsigned sectors,
	      bool complement);
void blk_check(const struct blk *disk, const uint64_t *data, uint64_t sector, unsigned sectors,
	       bool complement);

/*
 * The vector of MSI-X entry `entry` has come, or comes soon, `count` times; no more than
 * that. Check after each request: messages that meet in the local APIC become one.
 */
void blk_check_interrupts(const struct blk *disk, unsigned entry, unsigned count);

/*
 * The queue's vector has come `interrupts` times in all; for QUIET_MS the configuration's
 * comes not again, nothing is used that the driver did not take, and no MSI-X entry is
 * pending. The disk uses MSI-X.
 */
void blk_check_quiet(struct blk *disk, unsigned interrupts);

/* The disk can be started and reads right. */
void blk_check_alive(struct blk *disk);

/*
 * memory_paint() of the queue and of what the device may write of `count` requests; fails the
 * test if any of it changed.
 */
void blk_paint(struct blk *disk, const struct blk_request *requests, unsigned count);
void blk_check_painted(struct blk *disk, const struct blk_request *requests, unsigned count);

/* First sector of the half that may be written. */
uint64_t blk_scratch(const struct blk *disk);

/*
 * First sector of area `index` (from 0): BLK_AREA_SECTORS in that half, on any block boundary
 * of a host, with as many behind it. The runner looks at areas when the kit has ended.
 */
uint64_t blk_area(const struct blk *disk, unsigned index);
