/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk image: a raw file or a block device.  What stands in it is never
 * looked at: the guest writes it, so it must not change how it is opened.
 *
 * I/O is done in requests.  A request is queued on an I/O thread and comes
 * back there exactly once, when nothing touches its buffers any more.  Nothing
 * here knows of virtio.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devices/disk_step.h"
#include "devices/io_thread.h"

/* The unit of sizes, and the guest's block unless it is told otherwise. */
#define DISK_SECTOR 512

/*
 * A request is done in steps of at most so many bytes, so that a guest's
 * largest ones keep neither other queues nor an order to stop waiting for long.
 */
#define DISK_STEP_MAX (4u << 20)
/* The same where the kernel only changes what belongs to the file. */
#define DISK_RANGE_STEP_MAX (256u << 20)

/* The largest block of the guest's, and the only other one. */
#define DISK_BLOCK_MAX 4096

/* A lock that another process holds is retried for so long. */
#define DISK_LOCK_WAIT_MS 2000

enum disk_aio { DISK_AIO_IO_URING, DISK_AIO_SYNC };

struct disk_config {
	const char *path;
	bool read_only;
	enum disk_aio aio; /* on a thread without io_uring it is SYNC anyway */
	bool direct;       /* past the host's page cache, whatever it demands for that */
	bool dontcache;    /* the host's page cache keeps nothing; not with direct */
	bool fixed_buffers; /* use the thread's registered memory */
	uint32_t block_size; /* DISK_SECTOR, which 0 stands for, or DISK_BLOCK_MAX */
};

/* In bytes; what the guest is told. */
struct disk_geometry {
	uint32_t logical;   /* DISK_SECTOR or DISK_BLOCK_MAX; divides the size */
	uint32_t physical;  /* a power of two; what the host writes without reading first */
	uint32_t alignment; /* where the first whole physical block begins */
	uint32_t io_min, io_opt; /* the sizes that it likes; 0: none */
};

struct disk {
	const char *path; /* for messages; borrowed from the configuration */
	int fd;
	bool read_only;
	enum disk_aio aio;
	bool fixed_buffers;
	uint64_t sectors; /* of 512 bytes; atomic: the image may be resized */
	struct disk_geometry geometry;
	int stable_error; /* atomic: of a flush or stable write that failed, for good */
	bool is_device;
	unsigned refused; /* atomic: the ways that the host does not know, a bit each */
	void *zeros;      /* DISK_STEP_MAX of them, unless read-only */
	int rw_flags;     /* of each read and write: RWF_* */
	struct disk_direct *direct; /* NULL: not by direct I/O */
	struct disk_sync sync;
};

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_WRITE_STABLE, /* on stable storage when it completes */
	DISK_FLUSH,        /* what completed before is on stable storage */
	DISK_DISCARD,      /* what is there is not needed: advice, never an error */
	DISK_ZERO,         /* reads as zeros; stays allocated */
	DISK_ZERO_UNMAP,   /* reads as zeros; may be deallocated */
};

struct disk_request {
	/*
	 * The caller's: not changed by it until done().  iov[] has no empty
	 * parts; the disk may change it.
	 */
	enum disk_op op;
	uint64_t offset; /* in bytes */
	uint64_t len;    /* the sum of iov[], if there is one; 0 for a flush */
	struct iovec *iov; /* only reads and writes have one */
	unsigned iov_count;
	const bool *cancel; /* once true, no further step is begun: -ECANCELED */
	bool follows; /* it goes on with one that is done, so a spent round is not for it */
	/*
	 * The thread's epoch (devices/io_thread.h) when it was popped, or when last some
	 * of it was done; 0: it is not in use.  This, op, offset and len are stored as
	 * atomics, for who looks whether it hangs.
	 */
	uint32_t since;
	/* NULL, or what is set when the first step goes to the kernel; then NULL again. */
	struct io_stamp *submitted;
	/* @result is 0, or -errno when not all of it was done. */
	void (*done)(struct disk_request *request, int result);
	/* NULL, or for probes: a step is prepared, or done by a system call at once. */
	void (*step_begins)(struct disk_request *request, bool at_once);

	/* The disk's, while the request runs, under its lock while it waits: disk_step.h. */
	struct disk *disk;
	struct io_thread *thread;
	struct io_completion step;
	struct iovec part; /* of an iov[0] longer than a step */
	enum disk_way way;
	uint32_t step_len; /* of a step whose result does not tell */
	int fd;            /* of the step */
	bool must_sync;    /* all is written, and an fdatasync() is to follow */
	bool has_turn;     /* to make stable */
	bool synced;       /* by another's turn */
	bool waits;        /* atomic: for its turn, or for what another has */
	struct disk_waiter waiter;
	struct io_order go_on;

	/* Likewise, with direct I/O. */
	uint32_t align, memory_align; /* of offsets and addresses, when the step was prepared */
	struct disk_bounce bounce;
	struct disk_range range; /* has it, or waits for it */
	bool has_range;
	bool needs_none; /* is among disk_direct.without_range */
};

/*
 * Open and lock an image: a regular file or a block device, not empty, that no
 * other process has locked (shared locks for read-only use; a lock that is
 * held is retried for DISK_LOCK_WAIT_MS, since the kernel may let go of a
 * killed process's lock late).  A tail of less than a block is hidden, with a
 * warning.  Returns 0, or -errno having printed why.
 */
int disk_open(struct disk *disk, const struct disk_config *config);

/*
 * How large the image is by now, in @sectors, of which disk->sectors is left to
 * the caller.  Returns 0, or -errno having printed why.  One thread at a time.
 */
int disk_look_again(const struct disk *disk, uint64_t *sectors);

/* Can DISK_ZERO_UNMAP deallocate?  Yes, until the host has refused it.  Any thread. */
bool disk_may_unmap(const struct disk *disk);

/* No request is in flight. */
void disk_close(struct disk *disk);

/*
 * Start @request on @thread, which is the calling thread.  Range and
 * permission were checked by the caller.
 */
void disk_queue(struct disk *disk, struct io_thread *thread, struct disk_request *request);

/*
 * *request->cancel has become true: if @request, which is on the calling thread or not
 * in use, waits for others, it is done soon.
 */
void disk_cancel(struct disk_request *request);
