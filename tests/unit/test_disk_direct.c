// SPDX-License-Identifier: BSD-2-Clause
/*
 * Disks past the page cache: what the host demands, and what the guest asks for;
 * and whatever has requests wait for each other.
 */
#include "devices/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "devices/disk_private.h"
#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/fault.h"
#include "tests/unit/files.h"
#include "tests/unit/leaks.h"
#include "tests/unit/on-thread.h"
#include "tests/unit/unit.h"
#include "tests/unit/vq-driver.h"

#define DEADLINE_MS 20000
#define BLOCK 4096
#define TAIL 1536 /* what the image is longer than whole blocks */
#define SIZE (64 * BLOCK + TAIL)

static const struct fault_direct
	large = { BLOCK, BLOCK, true, BLOCK, BLOCK },
	small = { 512, 512, true, 512, 512 },
	silent = { BLOCK, BLOCK, false, 0, 0 },
	silent_small = { 512, 512, false, 0, 0 },
	wrong = { BLOCK, BLOCK, true, 512, 4 },
	wrong_memory = { 512, 512, true, 512, 4 },
	wrong_memory_only = { BLOCK, BLOCK, true, BLOCK, 512 },
	wrong_memory_of_large = { 4 * BLOCK, BLOCK, true, 4 * BLOCK, 512 },
	real = { BLOCK, BLOCK, true, BLOCK, BLOCK };

static char *folder;
static struct disk disk;
static struct io_thread *threads[2];

static void setup(void)
{
	folder = files_folder();
}

static void teardown(void)
{
	fault_direct(NULL, false);
	files_remove(folder);
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 13 + at / 512);
}

static const char *image(size_t size)
{
	uint8_t *bytes = malloc(size + 1);

	must(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = pattern(i);
	files_write(folder, "image", bytes, size);
	free(bytes);
	return files_path(folder, "image");
}

/* --- Open --- */

/* What disk_open() returned; *@text is what it said, to be freed. */
static int open_quietly(const struct disk_config *config, char **text)
{
	int ret;

	files_capture();
	ret = disk_open(&disk, config);
	*text = files_captured();
	return ret;
}

static void refused(const struct disk_config *config, int error, const char *why)
{
	char *text, expected[512];

	ck_assert_int_eq(open_quietly(config, &text), error);
	snprintf(expected, sizeof(expected), "vmm: disk '%s': %s\n", config->path, why);
	ck_assert_str_eq(text, expected);
	free(text);
}

static void opens(const struct disk_config *config)
{
	char *text;

	ck_assert_int_eq(open_quietly(config, &text), 0);
	ck_assert_str_eq(text, "");
	free(text);
}

/* By statx(), else by a device's block, else by trial. */
START_TEST(alignments)
{
	static const struct fault_device device = { .logical = 4096, .physical = 4096 };
	static const struct {
		struct fault_direct host;
		bool is_device;
		uint32_t offset, memory, physical;
	} table[] = {
		{ { 512, 4, true, 512, 4 }, false, 512, 4, 4096 },
		{ { 4096, 512, true, 4096, 512 }, false, 4096, 512, 4096 },
		{ { 16384, 4096, true, 16384, 4096 }, false, 16384, 4096, 16384 },
		{ { 1, 1, true, 1, 1 }, false, 512, 1, 4096 },
		{ { 4096, 4096, false, 0, 0 }, true, 4096, 4096, 4096 },
		{ { 512, 512, false, 0, 0 }, false, 512, 512, 4096 },
		{ { 4096, 4096, false, 0, 0 }, false, 4096, 4096, 4096 },
		{ { 4096, 512, false, 0, 0 }, false, 4096, 4096, 4096 },
	};
	const struct disk_config config = { .path = image(SIZE), .direct = true };
	unsigned fds = leaks_fds();

	for (unsigned i = 0; i < array_size(table); i++) {
		fault_direct(&table[i].host, false);
		fault_device(table[i].is_device ? &device : NULL);
		opens(&config);
		ck_assert_uint_eq(disk.direct->offset_align, table[i].offset);
		ck_assert_uint_eq(disk.direct->memory_align, table[i].memory);
		ck_assert_uint_eq(disk.geometry.logical, 512);
		ck_assert_uint_eq(disk.geometry.physical, table[i].physical);
		ck_assert_uint_eq(disk.geometry.io_min, table[i].offset);
		disk_close(&disk);
		fault_device(NULL);
		ck_assert_uint_eq(leaks_fds(), fds);
	}
}
END_TEST

/* It is never done another way in silence. */
START_TEST(hosts_without_direct_io)
{
	static const struct fault_device device = { .logical = 512 };
	static const struct fault_direct none = { 0 }, never = { 512, 512, true, 0, 0 },
		huge = { 512, 512, true, 128 << 10, 512 }, odd = { 512, 512, true, 520, 8 },
		page = { 512, 512, true, 512, 8192 }, unreadable = { 8192, 8192, false, 0, 0 };
	const struct disk_config config = { .path = image(SIZE), .direct = true };
	unsigned fds = leaks_fds();
	struct statfs fs;
	char why[128];

	ck_assert_int_eq(statfs(folder, &fs), 0);
	snprintf(why, sizeof(why), "its file system (%s) refuses direct I/O: Invalid argument",
		 fs.f_type == 0x01021994 ? "tmpfs" : "ext4");
	fault_direct(&none, false);
	refused(&config, -EINVAL, why);
	fault_direct(&unreadable, false);
	refused(&config, -EINVAL, why);
	fault_device(&device);
	fault_direct(&none, false);
	refused(&config, -EINVAL, "the block device refuses direct I/O: Invalid argument");
	fault_device(NULL);
	strcpy(strstr(why, "Invalid"), "Operation not supported");
	fault_direct(&never, false);
	refused(&config, -EOPNOTSUPP, why);
	fault_direct(&huge, false);
	refused(&config, -EOPNOTSUPP, "direct I/O is in units of 131072 bytes there, from addresses "
		"in units of 512; at most 65536 and 4096 can be done");
	fault_direct(&odd, false);
	refused(&config, -EOPNOTSUPP, "direct I/O is in units of 520 bytes there, from addresses "
		"in units of 8; at most 65536 and 4096 can be done");
	fault_direct(&page, false);
	refused(&config, -EOPNOTSUPP, "direct I/O is in units of 512 bytes there, from addresses "
		"in units of 8192; at most 65536 and 4096 can be done");
	ck_assert_uint_eq(leaks_fds(), fds);
}
END_TEST

START_TEST(block_sizes)
{
	struct disk_config config = { .block_size = 4096 };
	char why[128];
	uint64_t sectors;
	char *text;

	config.path = image(4095);
	refused(&config, -EINVAL, "it is smaller than a block (4095 bytes)");
	config.path = image(511);
	refused(&config, -EINVAL, "it is empty (511 bytes)");
	config.path = image(4096);
	opens(&config);
	ck_assert_uint_eq(disk.sectors, 8);
	ck_assert_uint_eq(disk.geometry.logical, 4096);
	ck_assert_uint_eq(disk.geometry.physical, 4096);
	disk_close(&disk);

	config.path = image(SIZE);
	ck_assert_int_eq(open_quietly(&config, &text), 0);
	snprintf(why, sizeof(why), "size is not a multiple of 4096 bytes; the last %d are hidden\n",
		 TAIL);
	ck_assert_ptr_nonnull(strstr(text, why));
	free(text);
	ck_assert_uint_eq(disk.sectors, 64 * 8);
	ck_assert_int_eq(ftruncate(disk.fd, 66 * BLOCK), 0);
	ck_assert_int_eq(disk_look_again(&disk, &sectors), 0);
	ck_assert_uint_eq(sectors, 66 * 8);
	disk_close(&disk);
}
END_TEST

/* --- Requests --- */

static const struct kind {
	bool uring_thread;
	enum disk_aio aio;
} kinds[] = {
	{ true, DISK_AIO_IO_URING },
	{ true, DISK_AIO_SYNC },
	{ false, DISK_AIO_IO_URING },
};

static void begin(const struct kind *kind, const struct fault_direct *host, size_t size)
{
	const struct disk_config config = {
		.path = image(size), .aio = kind->aio, .direct = true,
	};
	struct io_thread_config thread = { .queues = 1, .use_uring = kind->uring_thread };

	fault_direct(host, host == &real);
	opens(&config);
	thread.name = "io-a";
	ck_assert_int_eq(io_thread_create(&threads[0], &thread), 0);
	thread.name = "io-b";
	ck_assert_int_eq(io_thread_create(&threads[1], &thread), 0);
}

static bool is_empty(const struct disk_waiter *all)
{
	return all->next == all;
}

/* Nothing is left in use. */
static void end(void)
{
	io_thread_destroy(threads[0]);
	io_thread_destroy(threads[1]);
	ck_assert_uint_eq(disk.direct->free, ~0u);
	ck_assert_uint_eq(disk.direct->range_count, 0);
	ck_assert_uint_eq(disk.direct->without_range, 0);
	ck_assert(is_empty(&disk.direct->for_memory) && is_empty(&disk.direct->for_range));
	disk_close(&disk);
}

struct job {
	struct io_thread *thread;
	struct io_order start;
	struct disk_request request;
	struct iovec iov[8];
	bool cancel;
	int result;
	int told; /* a semaphore */
};

static void job_done(struct disk_request *request, int result)
{
	struct job *job = container_of(request, struct job, request);
	int told = job->told; /* it may be gone once it is told */

	job->result = result;
	eventfd_write(told, 1);
}

static void job_init(struct job *job, enum disk_op op, uint64_t offset, void *data, size_t len)
{
	bool has_data = op != DISK_FLUSH && op < DISK_DISCARD;

	*job = (struct job){
		.thread = threads[0],
		.request = {
			.op = op,
			.offset = offset,
			.len = len,
			.iov = job->iov,
			.iov_count = has_data,
			.cancel = &job->cancel,
			.done = job_done,
		},
		.iov[0] = { data, len },
		.told = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC),
	};
}

static void job_start(void *opaque)
{
	struct job *job = opaque;

	disk_queue(&disk, job->thread, &job->request);
}

static void job_start_in_turn(struct io_order *order)
{
	job_start(container_of(order, struct job, start));
}

/* Without waiting until it has begun. */
static void job_order(struct job *job)
{
	job->start.run = job_start_in_turn;
	io_thread_order(job->thread, &job->start);
}

static void wait_for_calls(enum fault_call call, unsigned count)
{
	uint64_t deadline = clock_ns() + DEADLINE_MS * NS_PER_MS;

	while (fault_count(call) < count)
		must(clock_ns() < deadline);
}

static void jobs_wait(int told, unsigned count)
{
	struct pollfd pfd = { .fd = told, .events = POLLIN };
	eventfd_t one;

	while (count--) {
		ck_assert_msg(poll(&pfd, 1, DEADLINE_MS) == 1, "a request does not come back");
		eventfd_read(told, &one);
	}
	close(told);
}

static int run(struct job *job)
{
	on_thread(job->thread, job_start, job);
	jobs_wait(job->told, 1);
	return job->result;
}

static int transfer(enum disk_op op, uint64_t offset, void *data, size_t len)
{
	struct job job;

	job_init(&job, op, offset, data, len);
	return run(&job);
}

/* What the file holds, by another descriptor. */
static void read_image(uint8_t *to, size_t len)
{
	int fd = open(files_path(folder, "image"), O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(read(fd, to, len), (ssize_t)len);
	close(fd);
}

static off_t image_length(void)
{
	return lseek(disk.fd, 0, SEEK_END);
}

/* The hosts that are pretended, and the machine's own. */
static const struct fault_direct *const hosts[] = {
	&large, &small, &silent, &silent_small, &real, NULL,
};

/* Any offset, length and address, one at a time, against a copy in memory. */
START_TEST(any_alignment)
{
	static uint8_t model[SIZE], buffer[SIZE + 64], now[SIZE];
	static const enum disk_op ops[] = {
		DISK_READ, DISK_READ, DISK_WRITE, DISK_WRITE, DISK_WRITE_STABLE, DISK_ZERO,
		DISK_ZERO_UNMAP,
	};
	uint64_t state = 5;

	for (unsigned k = 0; k < array_size(kinds) * array_size(hosts); k++) {
		const struct fault_direct *host = hosts[k % array_size(hosts)];

		begin(&kinds[k / array_size(hosts)], host, SIZE);
		ck_assert_int_eq(transfer(DISK_READ, 0, model, SIZE), 0);
		for (unsigned i = 0; i < SIZE; i++)
			must(model[i] == pattern(i));
		for (unsigned round = 0; round < 300; round++) {
			uint64_t len = 512 * (1 + vq_random(&state, round % 10 ? 24 : SIZE / 512));
			uint64_t offset = 512 * vq_random(&state, (uint32_t)(SIZE - len) / 512 + 1);
			enum disk_op op = ops[vq_random(&state, array_size(ops))];
			uint8_t *data = buffer + vq_random(&state, 64);
			struct job job;
			uint64_t at = 0;

			for (unsigned i = 0; i < len; i++)
				data[i] = (uint8_t)vq_random(&state, 256);
			job_init(&job, op, offset, data, len);
			for (unsigned *n = &job.request.iov_count; *n && at < len; ++*n) {
				size_t part = 1 + vq_random(&state, (uint32_t)len);

				*n -= at == 0;
				if (*n == 7 || part > len - at)
					part = len - at;
				job.iov[*n] = (struct iovec){ data + at, part };
				at += part;
			}
			ck_assert_int_eq(run(&job), 0);
			if (op == DISK_READ)
				must(!memcmp(data, model + offset, len));
			else if (op == DISK_ZERO || op == DISK_ZERO_UNMAP)
				memset(model + offset, 0, len);
			else
				memcpy(model + offset, data, len);
		}
		ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		read_image(now, SIZE);
		ck_assert(!memcmp(now, model, SIZE));
		ck_assert_int_eq(image_length(), SIZE);
		ck_assert(!host || fault_count_misfits() == !host->told * (host->offset / 4096));
		end();
	}
}
END_TEST

/*
 * Many at once from two threads, each to sectors of its own: what one writes to
 * a part of a block, nobody else undoes.
 */
#define JOBS 48

struct batch {
	struct job *job;
	unsigned thread;
};

static void start_batch(void *opaque)
{
	struct batch *batch = opaque;

	for (unsigned i = 0; i < JOBS; i++)
		if (batch->job[i].thread == threads[batch->thread])
			job_start(&batch->job[i]);
}

/* Cut the image into JOBS pieces; some are whole blocks. */
static void cut(uint64_t *state, uint64_t *from)
{
	unsigned sectors = SIZE / 512;

	for (unsigned i = 0; i < JOBS; i++) {
		from[i] = vq_random(state, sectors);
		if (vq_random(state, 3) == 0)
			from[i] &= ~7ULL;
		for (unsigned n = i; n && from[n] < from[n - 1]; n--) {
			uint64_t other = from[n];

			from[n] = from[n - 1];
			from[n - 1] = other;
		}
	}
	from[0] = 0;
	from[JOBS] = sectors;
}

/* Prepare a change of piece @i, and what it leaves. */
static void prepare(struct job *job, uint64_t *state, uint8_t *data, uint8_t *model,
		    uint64_t start, uint64_t len)
{
	static const enum disk_op ops[] = { DISK_WRITE, DISK_WRITE, DISK_WRITE_STABLE, DISK_ZERO,
					    DISK_ZERO_UNMAP, DISK_READ };
	enum disk_op op = len ? ops[vq_random(state, array_size(ops))] : DISK_FLUSH;
	uint8_t byte = (uint8_t)vq_random(state, 256);

	memset(data, byte, len);
	job_init(job, op, start, data, len);
	job->thread = threads[vq_random(state, 2)];
	if (op == DISK_ZERO || op == DISK_ZERO_UNMAP)
		memset(model, 0, len);
	else if (op != DISK_READ && op != DISK_FLUSH)
		memset(model, byte, len);
}

static void run_neighbours(uint64_t *state)
{
	static uint8_t model[SIZE], buffer[SIZE], now[SIZE];
	static struct job jobs[JOBS];
	uint64_t from[JOBS + 1];

	read_image(model, SIZE);
	for (unsigned round = 0; round < 60; round++) {
		int told = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

		cut(state, from);
		for (unsigned i = 0; i < JOBS; i++) {
			uint64_t start = from[i] * 512, len = (from[i + 1] - from[i]) * 512;

			prepare(&jobs[i], state, buffer + start, model + start, start, len);
			close(jobs[i].told);
			jobs[i].told = told;
		}
		on_thread(threads[0], start_batch, &(struct batch){ jobs, 0 });
		on_thread(threads[1], start_batch, &(struct batch){ jobs, 1 });
		jobs_wait(told, JOBS);
		for (unsigned i = 0; i < JOBS; i++) {
			uint64_t start = from[i] * 512, len = (from[i + 1] - from[i]) * 512;

			must(jobs[i].result == 0);
			must(jobs[i].request.op != DISK_READ ||
			     !memcmp(buffer + start, model + start, len));
		}
		read_image(now, SIZE);
		must(!memcmp(now, model, SIZE));
	}
	ck_assert_int_eq(image_length(), SIZE);
}

START_TEST(neighbours)
{
	static const struct fault_direct *const three[] = { &large, &small, &real };
	uint64_t state = 11;

	for (unsigned k = 0; k < array_size(kinds) * 3; k++) {
		begin(&kinds[k / 3], three[k % 3], SIZE);
		run_neighbours(&state);
		ck_assert_uint_eq(fault_count_misfits(), 0);
		end();
	}
}
END_TEST

/* More bounced requests than there is memory for, and more changes than there are ranges. */
#define MANY 600

static struct job many[MANY];

static void start_many(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < MANY; i++)
		job_start(&many[i]);
}

START_TEST(more_than_there_is_memory_for)
{
	static uint8_t buffer[MANY][512 + 1], now[MANY * 512];

	for (unsigned k = 0; k < array_size(kinds); k++) {
		int told = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

		begin(&kinds[k], &large, MANY * 512);
		for (unsigned i = 0; i < MANY; i++) {
			memset(buffer[i], (int)i, 512);
			job_init(&many[i], i % 3 ? DISK_WRITE : DISK_READ, i * 512, buffer[i], 512);
			close(many[i].told);
			many[i].told = told;
		}
		on_thread(threads[0], start_many, NULL);
		jobs_wait(told, MANY);
		read_image(now, sizeof(now));
		for (unsigned i = 0; i < MANY; i++) {
			must(many[i].result == 0);
			must(!memcmp(now + i * 512, buffer[i], 512));
			must(buffer[i][0] == (i % 3 ? (uint8_t)i : pattern(i * 512)));
		}
		end();
	}
}
END_TEST

/* Somebody else has what requests wait for: a range, or all of the memory. */
struct holder {
	struct disk_request request[DISK_BOUNCES];
	uint64_t start, end; /* 0: memory */
};

static void hold(void *opaque)
{
	struct holder *holder = opaque;

	for (unsigned i = 0; i < DISK_BOUNCES; i++) {
		struct disk_request *request = &holder->request[i];

		*request = (struct disk_request){ .disk = &disk, .thread = threads[0] };
		if (!holder->end)
			must(disk_turn_take_memory(request));
		else if (i == 0)
			must(disk_turn_take_range(request, holder->start, holder->end));
	}
}

static void let_go(void *opaque)
{
	struct holder *holder = opaque;

	for (unsigned i = 0; i < DISK_BOUNCES; i++) {
		disk_turn_give_memory(&holder->request[i]);
		disk_turn_give_range(&holder->request[i]);
	}
}

static void cancel_job(void *opaque)
{
	struct job *job = opaque;

	job->cancel = true;
	disk_cancel(&job->request);
}

static bool is_done(const struct job *job)
{
	return poll(&(struct pollfd){ .fd = job->told, .events = POLLIN }, 1, 0) == 1;
}

/* A wait for another's range, or for memory, ends in order, or with a stop. */
START_TEST(waiting)
{
	static uint8_t block[4][BLOCK] __attribute__((aligned(BLOCK))), now[SIZE];

	for (unsigned k = 0; k < 2 * array_size(kinds); k++) {
		struct holder holder = { .end = 0 };
		struct job stopped, same, other, reader;

		begin(&kinds[k / 2], &large, SIZE);
		if (k % 2) {
			holder.start = BLOCK;
			holder.end = 2 * BLOCK;
		}
		on_thread(threads[0], hold, &holder);
		memset(block, 2, sizeof(block));
		job_init(&stopped, DISK_WRITE_STABLE, BLOCK + 512, block[0], 512);
		job_init(&same, DISK_WRITE, BLOCK + 1024, block[1], 512);
		job_init(&other, DISK_WRITE, 5 * BLOCK + 512, block[2], 512);
		job_init(&reader, DISK_READ, 7 * BLOCK, block[3], BLOCK);
		stopped.thread = same.thread = reader.thread = threads[1];
		on_thread(threads[1], job_start, &stopped);
		on_thread(threads[1], job_start, &same);
		on_thread(threads[0], job_start, &other);
		on_thread(threads[1], cancel_job, &stopped);
		jobs_wait(stopped.told, 1);
		ck_assert_int_eq(stopped.result, -ECANCELED);
		/* What fits and changes nothing waits for nobody. */
		ck_assert_int_eq(run(&reader), 0);
		ck_assert(!is_done(&same) && !is_done(&other));
		on_thread(threads[0], let_go, &holder);
		jobs_wait(same.told, 1);
		jobs_wait(other.told, 1);
		ck_assert_int_eq(same.result, 0);
		ck_assert_int_eq(other.result, 0);
		/* What was given up has lost nothing. */
		ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		read_image(now, SIZE);
		must(now[BLOCK + 512] == pattern(BLOCK + 512));
		must(now[BLOCK + 1024] == 2 && now[5 * BLOCK + 512] == 2);
		end();
	}
}
END_TEST

/* Who only stood behind one that was stopped goes on. */
START_TEST(waiting_behind_the_stopped)
{
	static uint8_t block[BLOCK];
	struct holder holder = { .start = BLOCK, .end = 2 * BLOCK };
	struct job stopped, other;

	begin(&kinds[0], &large, SIZE);
	on_thread(threads[0], hold, &holder);
	job_init(&stopped, DISK_ZERO, 0, NULL, 3 * BLOCK);
	job_init(&other, DISK_DISCARD, 8 * BLOCK, NULL, BLOCK);
	other.thread = threads[1];
	job_init(&stopped, DISK_WRITE, BLOCK, block, BLOCK);
	on_thread(threads[0], job_start, &stopped);
	on_thread(threads[1], job_start, &other);
	ck_assert(!is_done(&other));
	on_thread(threads[0], cancel_job, &stopped);
	jobs_wait(stopped.told, 1);
	jobs_wait(other.told, 1);
	ck_assert_int_eq(other.result, 0);
	on_thread(threads[0], let_go, &holder);
	end();
}
END_TEST

/* All of one thread, in this order; the first overlaps with the second alone. */
static struct job in_turn[3];

static void start_in_turn(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < array_size(in_turn); i++)
		job_start(&in_turn[i]);
}

static unsigned done_in_turn;
static unsigned place[array_size(in_turn)];

static void note_place(struct disk_request *request, int result)
{
	place[container_of(request, struct job, request) - in_turn] = done_in_turn++;
	job_done(request, result);
}

/* Who has to wait for a step of a long change does not wait for all of it, nor does another. */
START_TEST(waiting_for_a_long_one)
{
	static uint8_t block[BLOCK] __attribute__((aligned(BLOCK)));
	const uint64_t size = 40 * (uint64_t)DISK_RANGE_STEP_MAX;

	for (unsigned k = 1; k < array_size(kinds); k++) {
		begin(&kinds[k], &large, SIZE);
		ck_assert_int_eq(truncate(disk.path, (off_t)size), 0);
		store_relaxed(&disk.sectors, size / 512);
		job_init(&in_turn[0], DISK_ZERO_UNMAP, 512, NULL, size - BLOCK);
		job_init(&in_turn[1], DISK_WRITE, 0, block, 512);
		job_init(&in_turn[2], DISK_WRITE, 8 * BLOCK, block, BLOCK);
		done_in_turn = 0;
		for (unsigned i = 0; i < array_size(in_turn); i++)
			in_turn[i].request.done = note_place;
		on_thread(threads[0], start_in_turn, NULL);
		for (unsigned i = 0; i < array_size(in_turn); i++) {
			jobs_wait(in_turn[i].told, 1);
			ck_assert_int_eq(in_turn[i].result, 0);
		}
		ck_assert_uint_eq(place[0], 2);
		end();
	}
}
END_TEST

/* The host's answer was wrong: one message, and the data. */
START_TEST(host_was_wrong)
{
	static uint8_t buffer[SIZE], now[SIZE];
	char *text;

	for (unsigned k = 1; k < array_size(kinds); k++) {
		begin(&kinds[k], &wrong, SIZE);
		ck_assert_uint_eq(disk.direct->offset_align, 512);
		memset(buffer, 7, sizeof(buffer));
		files_capture();
		ck_assert_int_eq(transfer(DISK_WRITE, 512, buffer, 1024), 0);
		ck_assert_int_eq(transfer(DISK_WRITE, SIZE - 512, buffer, 512), 0);
		text = files_captured();
		ck_assert_ptr_nonnull(strstr(text, "refused direct I/O in the unit that it named"));
		ck_assert_ptr_eq(strchr(text, '\n'), strrchr(text, '\n'));
		free(text);
		ck_assert_uint_eq(fault_count_misfits(), 1);
		read_image(now, SIZE);
		for (unsigned i = 0; i < SIZE; i++)
			must(now[i] == ((i >= 512 && i < 1536) || i >= SIZE - 512 ? 7 : pattern(i)));
		ck_assert_int_eq(image_length(), SIZE);
		/* It refuses whatever it gets. */
		fault_inject(FAULT_READ, 1, EINVAL, 0);
		ck_assert_int_eq(transfer(DISK_READ, 0, buffer, 512), -EINVAL);
		ck_assert_int_eq(transfer(DISK_READ, 0, buffer, 512), 0);
		end();
	}
}
END_TEST

/* Its answer was wrong for addresses alone: what a block is stays as it is. */
START_TEST(host_was_wrong_in_memory)
{
	static const struct fault_direct *const two[] = {
		&wrong_memory_only, &wrong_memory_of_large,
	};
	static uint8_t buffer[5 * BLOCK] __attribute__((aligned(BLOCK))), now[SIZE];
	char *text;

	for (unsigned k = 2; k < 2 * array_size(kinds); k++) {
		unsigned unit = two[k % 2]->offset;

		begin(&kinds[k / 2], two[k % 2], SIZE);
		memset(buffer, 7, sizeof(buffer));
		files_capture();
		ck_assert_int_eq(transfer(DISK_WRITE_STABLE, 0, buffer + 512, unit), 0);
		ck_assert_int_eq(transfer(DISK_WRITE_STABLE, unit, buffer + 512, unit), 0);
		text = files_captured();
		ck_assert_ptr_nonnull(strstr(text, "refused direct I/O in the unit that it named"));
		ck_assert_ptr_eq(strchr(text, '\n'), strrchr(text, '\n'));
		free(text);
		ck_assert_uint_eq(fault_count_misfits(), 1);
		ck_assert_uint_eq(disk.direct->offset_align, unit);
		read_image(now, SIZE);
		for (unsigned i = 0; i < SIZE; i++)
			must(now[i] == (i < 2 * unit ? 7 : pattern(i)));
		/* It refuses whatever it gets. */
		fault_inject(FAULT_WRITE, 1, EINVAL, 0);
		ck_assert_int_eq(transfer(DISK_WRITE, 0, buffer, unit), -EINVAL);
		end();
	}
}
END_TEST

/* Until a change waits for its range, or else begins the @count-th write. */
static void waits_for_range(unsigned count)
{
	uint64_t deadline = clock_ns() + DEADLINE_MS * NS_PER_MS;
	bool waits = false;

	while (!waits && fault_count(FAULT_WRITE) < count) {
		must(clock_ns() < deadline);
		pthread_mutex_lock(&disk.direct->lock);
		waits = !is_empty(&disk.direct->for_range);
		pthread_mutex_unlock(&disk.direct->lock);
	}
}

/*
 * The host refuses its own unit while another change of the block is under way,
 * which was begun when nobody had to wait: it is not undone.
 */
START_TEST(host_was_wrong_meanwhile)
{
	static uint8_t block[2][BLOCK] __attribute__((aligned(BLOCK))), now[SIZE];

	for (unsigned k = 1; k < array_size(kinds); k++) {
		int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
		int other = eventfd(2, EFD_SEMAPHORE | EFD_CLOEXEC);
		struct job under_way, refused;
		unsigned writes = fault_count(FAULT_WRITE);

		begin(&kinds[k], &wrong_memory, SIZE);
		files_capture(); /* the warning */
		memset(block, 7, sizeof(block));
		job_init(&under_way, DISK_WRITE, 512, block[0], 512);
		job_init(&refused, DISK_WRITE, 0, block[1] + 4, 512);
		refused.thread = threads[1];
		fault_gate(gate);
		job_order(&under_way);
		wait_for_calls(FAULT_WRITE, writes + 1);
		/* Room for the write that is refused, and to read the block. */
		fault_gate(other);
		job_order(&refused);
		waits_for_range(writes + 3);
		eventfd_write(gate, 1);
		jobs_wait(under_way.told, 1);
		eventfd_write(other, 1);
		jobs_wait(refused.told, 1);
		fault_gate(-1);
		free(files_captured());
		ck_assert(!under_way.result && !refused.result);
		read_image(now, SIZE);
		for (unsigned i = 0; i < SIZE; i++)
			must(now[i] == (i < 1024 ? 7 : pattern(i)));
		end();
		close(gate);
		close(other);
	}
}
END_TEST

/* Short transfers, and errors in any part of a bounced write. */
START_TEST(bounced_in_pieces)
{
	static uint8_t buffer[3 * BLOCK], now[SIZE];
	static const size_t limits[] = { BLOCK, 2 * BLOCK };

	for (unsigned k = 1; k < array_size(kinds); k++) {
		begin(&kinds[k], &large, SIZE);
		for (unsigned l = 0; l < array_size(limits); l++) {
			memset(buffer, (int)l + 1, sizeof(buffer));
			fault_inject(FAULT_WRITE, 2, 0, limits[l]);
			fault_inject(FAULT_READ, 2, 0, limits[l]);
			ck_assert_int_eq(transfer(DISK_WRITE, 512, buffer, sizeof(buffer)), 0);
			fault_inject(FAULT_WRITE, 0, 0, 0);
			fault_inject(FAULT_READ, 1, EINTR, 0);
			memset(buffer, 0, sizeof(buffer));
			ck_assert_int_eq(transfer(DISK_READ, 512, buffer, sizeof(buffer)), 0);
			for (unsigned i = 0; i < sizeof(buffer); i++)
				must(buffer[i] == l + 1);
		}
		/* What could not be read first was not lost; what could not be written was. */
		fault_inject(FAULT_READ, 1, EIO, 0);
		ck_assert_int_eq(transfer(DISK_WRITE_STABLE, 512, buffer, 512), -EIO);
		ck_assert_int_eq(transfer(DISK_WRITE_STABLE, 512, buffer, 512), 0);
		fault_inject(FAULT_WRITE, 1, EIO, 0);
		ck_assert_int_eq(transfer(DISK_WRITE_STABLE, 512, buffer, 512), -EIO);
		ck_assert_int_eq(transfer(DISK_WRITE_STABLE, 512, buffer, 512), -EIO);
		read_image(now, SIZE);
		must(now[0] == pattern(0) && now[4 * BLOCK] == pattern(4 * BLOCK));
		end();
	}
}
END_TEST

/* A host that moves less than a block at a time, and then no more. */
START_TEST(less_than_a_block)
{
	static uint8_t buffer[BLOCK], now[SIZE];
	const uint64_t at = 2 * BLOCK + 2048;

	for (unsigned k = 1; k < array_size(kinds); k++) {
		begin(&kinds[k], &large, SIZE);
		for (unsigned limit = 512; limit <= 2048; limit += 512) {
			memset(buffer, (int)limit / 512, sizeof(buffer));
			fault_inject(FAULT_READ, 1, 0, limit);
			fault_inject(FAULT_WRITE, 1, 0, limit);
			ck_assert_int_eq(transfer(DISK_WRITE, at, buffer, 512), 0);
			fault_inject(FAULT_READ, 1, 0, limit);
			memset(buffer, 0, sizeof(buffer));
			ck_assert_int_eq(transfer(DISK_READ, at, buffer, 512), 0);
			must(buffer[0] == limit / 512 && buffer[511] == limit / 512);
			/* It comes no further. */
			fault_inject(FAULT_READ, 2, 0, limit);
			ck_assert_int_eq(transfer(DISK_READ, at, buffer, 512), -EIO);
			fault_inject(FAULT_READ, 2, 0, limit);
			ck_assert_int_eq(transfer(DISK_WRITE, at + 512, buffer, 512), -EIO);
			fault_inject(FAULT_WRITE, 2, 0, limit);
			ck_assert_int_eq(transfer(DISK_WRITE, at, buffer, 512), -EIO);
		}
		read_image(now, SIZE);
		for (unsigned i = 0; i < SIZE; i++)
			must(now[i] == (i >= at && i < at + 512 ? 4 : pattern(i)));
		/* At a true end there are zeros, since the image was cut. */
		ck_assert_int_eq(truncate(disk.path, 2 * BLOCK + 512), 0);
		ck_assert_int_eq(transfer(DISK_WRITE, at, buffer, 512), 0);
		read_image(now, 3 * BLOCK);
		for (unsigned i = 2 * BLOCK; i < 3 * BLOCK; i++)
			must(now[i] == (i >= at && i < at + 512 ? 4 :
					i < 2 * BLOCK + 512 ? pattern(i) : 0));
		end();
	}
}
END_TEST

/* The end of the image moves, and with it the part of a block that is left there. */
START_TEST(resized)
{
	static uint8_t buffer[4 * BLOCK], now[80 * BLOCK];
	static const uint64_t sizes[] = { 70 * BLOCK + 512, 70 * BLOCK, 65 * BLOCK + 3584, SIZE };

	for (unsigned k = 0; k < 2 * array_size(kinds); k++) {
		begin(&kinds[k / 2], k % 2 ? &real : &large, SIZE);
		for (unsigned i = 0; i < array_size(sizes); i++) {
			uint64_t end = sizes[i], sectors;

			memset(buffer, (int)i + 1, sizeof(buffer));
			ck_assert_int_eq(truncate(disk.path, (off_t)end), 0);
			ck_assert_int_eq(disk_look_again(&disk, &sectors), 0);
			store_relaxed(&disk.sectors, sectors);
			ck_assert_int_eq(transfer(DISK_WRITE, end - 5120, buffer, 5120), 0);
			ck_assert_int_eq(transfer(DISK_WRITE_STABLE, end - 512, buffer + 1, 512), 0);
			ck_assert_int_eq(image_length(), (off_t)end);
			read_image(now, end);
			must(!memcmp(now + end - 5120, buffer, 5120));
			memset(buffer, 0xff, sizeof(buffer));
			ck_assert_int_eq(transfer(DISK_READ, end - 5120, buffer + 3, 5120), 0);
			must(!memcmp(now + end - 5120, buffer + 3, 5120));
			ck_assert_int_eq(transfer(DISK_ZERO, end - 1024, NULL, 1024), 0);
			read_image(now, end);
			must(now[end - 1] == 0 && now[end - 1024] == 0 && now[end - 1025] == i + 1);
			ck_assert_int_eq(image_length(), (off_t)end);
		}
		ck_assert_uint_eq(fault_count_misfits(), 0);
		end();
	}
}
END_TEST

/* The image shrinks, and is known to, while a block that reaches beyond its new end is read. */
START_TEST(shrinks_meanwhile)
{
	static uint8_t buffer[BLOCK], now[SIZE];
	const off_t size = 3 * BLOCK + 1024;

	for (unsigned k = 1; k < array_size(kinds); k++) {
		int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
		unsigned reads = fault_count(FAULT_READ);
		struct job job;

		begin(&kinds[k], &large, 4 * BLOCK);
		memset(buffer, 7, sizeof(buffer));
		job_init(&job, DISK_WRITE, 3 * BLOCK, buffer, 512);
		fault_gate(gate);
		job_order(&job);
		wait_for_calls(FAULT_READ, reads + 1);
		ck_assert_int_eq(truncate(disk.path, size), 0);
		store_relaxed(&disk.sectors, (uint64_t)size / 512);
		fault_gate(-1);
		eventfd_write(gate, 1);
		jobs_wait(job.told, 1);
		ck_assert_int_eq(job.result, 0);
		ck_assert_int_eq(image_length(), size);
		read_image(now, (size_t)size);
		for (unsigned i = 0; i < size; i++)
			must(now[i] == (i >= 3 * BLOCK && i < 3 * BLOCK + 512 ? 7 : pattern(i)));
		end();
		close(gate);
	}
}
END_TEST

/* --- Stable writes and flushes --- */

static void begin_plain(const struct kind *kind)
{
	const struct disk_config config = { .path = image(SIZE), .aio = kind->aio };
	struct io_thread_config thread = { .queues = 1, .use_uring = kind->uring_thread };

	opens(&config);
	for (unsigned i = 0; i < 2; i++) {
		thread.name = i ? "io-b" : "io-a";
		ck_assert_int_eq(io_thread_create(&threads[i], &thread), 0);
	}
}

static void end_plain(void)
{
	io_thread_destroy(threads[0]);
	io_thread_destroy(threads[1]);
	ck_assert(!disk.sync.busy && is_empty(&disk.sync.waiting) &&
		  is_empty(&disk.sync.covered));
	disk_close(&disk);
}

/* Somebody else makes stable. */
static void hold_turn(void *opaque)
{
	struct disk_request *request = opaque;

	*request = (struct disk_request){ .disk = &disk, .thread = threads[0] };
	must(disk_sync_take(request));
}

static void let_turn_go(void *opaque)
{
	disk_sync_give(opaque, true);
}

static void wait_for_turns(unsigned count)
{
	uint64_t deadline = clock_ns() + DEADLINE_MS * NS_PER_MS;
	unsigned n;

	do {
		must(clock_ns() < deadline);
		n = 0;
		pthread_mutex_lock(&disk.sync.lock);
		for (struct disk_waiter *w = disk.sync.waiting.next; w != &disk.sync.waiting;
		     w = w->next)
			n++;
		pthread_mutex_unlock(&disk.sync.lock);
	} while (n < count);
}

/* On both threads: three stable writes and two flushes.  They wait in this order. */
#define STABLES 5

static void stables_start(struct job *jobs, uint8_t *data)
{
	for (unsigned i = 0; i < STABLES; i++) {
		job_init(&jobs[i], i < 3 ? DISK_WRITE_STABLE : DISK_FLUSH, i * BLOCK, data,
			 i < 3 ? BLOCK : 0);
		jobs[i].request.iov_count = i < 3;
		jobs[i].thread = threads[i % 2];
		on_thread(jobs[i].thread, job_start, &jobs[i]);
		wait_for_turns(i + 1);
	}
}

/*
 * One fdatasync() covers all that was written when its turn came, and its error
 * is theirs.  Nobody is told of success before.
 */
START_TEST(one_sync_for_all)
{
	static uint8_t data[BLOCK];
	struct disk_request holder;
	struct job jobs[STABLES];

	for (unsigned k = 0; k < 2 * array_size(kinds); k++) {
		int error = k % 2 ? EIO : 0;
		unsigned syncs, dsyncs = fault_count_dsync();

		begin_plain(&kinds[k / 2]);
		on_thread(threads[0], hold_turn, &holder);
		memset(data, (int)k, sizeof(data));
		syncs = fault_count(FAULT_FLUSH);
		stables_start(jobs, data);
		for (unsigned i = 0; i < STABLES; i++)
			ck_assert(!is_done(&jobs[i]));
		if (error && kinds[k / 2].aio == DISK_AIO_SYNC)
			fault_inject(FAULT_FLUSH, 1, error, 0);
		else
			error = 0;
		on_thread(threads[0], let_turn_go, &holder);
		for (unsigned i = 0; i < STABLES; i++) {
			jobs_wait(jobs[i].told, 1);
			ck_assert_int_eq(jobs[i].result, -error);
		}
		if (kinds[k / 2].aio == DISK_AIO_SYNC)
			ck_assert_uint_eq(fault_count(FAULT_FLUSH) - syncs, 1);
		ck_assert_uint_eq(fault_count_dsync(), dsyncs);
		/* For good. */
		ck_assert_int_eq(transfer(DISK_WRITE_STABLE, 0, data, BLOCK), -error);
		end_plain();
	}
}
END_TEST

/* Many stable writes and flushes of two threads: all are done, and done once. */
START_TEST(turns_of_two_threads)
{
	uint64_t state = 13;

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin_plain(&kinds[k]);
		run_neighbours(&state);
		end_plain();
	}
}
END_TEST

/* Who comes while an fdatasync() runs is not covered by it, but hears of its error. */
START_TEST(late_for_a_sync)
{
	static uint8_t data[BLOCK];
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
	unsigned syncs = fault_count(FAULT_FLUSH);
	struct disk_request holder;
	struct job first, late;

	begin_plain(&kinds[1]);
	on_thread(threads[0], hold_turn, &holder);
	job_init(&first, DISK_WRITE_STABLE, 0, data, BLOCK);
	on_thread(threads[0], job_start, &first);
	fault_gate(gate);
	fault_inject(FAULT_FLUSH, 1, EIO, 0);
	on_thread(threads[0], let_turn_go, &holder);
	job_init(&late, DISK_FLUSH, 0, NULL, 0);
	late.thread = threads[1];
	on_thread(threads[1], job_start, &late);
	ck_assert(!is_done(&first) && !is_done(&late));
	eventfd_write(gate, 2);
	jobs_wait(first.told, 1);
	jobs_wait(late.told, 1);
	fault_gate(-1);
	ck_assert_int_eq(first.result, -EIO);
	ck_assert_int_eq(late.result, -EIO);
	ck_assert_uint_eq(fault_count(FAULT_FLUSH) - syncs, 2);
	end_plain();
	close(gate);
}
END_TEST

/* A job and the one after it, in one go. */
static void start_two(struct io_order *order)
{
	struct job *job = container_of(order, struct job, start);

	job_start(job);
	job_start(job + 1);
}

static bool waits_for_turn(void)
{
	bool waits;

	pthread_mutex_lock(&disk.sync.lock);
	waits = !is_empty(&disk.sync.waiting);
	pthread_mutex_unlock(&disk.sync.lock);
	return waits;
}

/*
 * The host tells an open file of lost data once.  A thread heard of it and has
 * not come to say so yet: nobody says meanwhile that all is stable.
 */
START_TEST(told_once)
{
	static uint8_t data[BLOCK] __attribute__((aligned(BLOCK)));
	static const struct {
		bool direct;
		enum disk_op op;
		uint64_t offset, len;
	} firsts[] = {
		{ false, DISK_FLUSH, 0, 0 },
		{ false, DISK_WRITE_STABLE, 0, BLOCK },
		{ true, DISK_FLUSH, 0, 0 },
		{ true, DISK_WRITE_STABLE, 0, BLOCK },
		{ true, DISK_WRITE_STABLE, SIZE - 512, 512 },
	};

	for (unsigned i = 0; i < array_size(firsts); i++) {
		int gate = eventfd(1, EFD_SEMAPHORE | EFD_CLOEXEC);
		uint64_t deadline = clock_ns() + DEADLINE_MS * NS_PER_MS;
		unsigned writes = fault_count(FAULT_WRITE);
		struct job first[2], second;

		if (firsts[i].direct)
			begin(&kinds[2], &large, SIZE);
		else
			begin_plain(&kinds[2]);
		job_init(&first[0], firsts[i].op, firsts[i].offset, data, firsts[i].len);
		job_init(&first[1], DISK_WRITE, 8 * BLOCK, data, BLOCK);
		job_init(&second, DISK_FLUSH, 0, NULL, 0);
		second.thread = threads[1];
		fault_lose(true);
		fault_gate(gate);
		first->start.run = start_two;
		io_thread_order(threads[0], &first->start);
		wait_for_calls(FAULT_WRITE, writes + 1 + (firsts[i].op == DISK_WRITE_STABLE));
		fault_gate(-1);
		on_thread(threads[1], job_start, &second);
		while (!is_done(&second) && !waits_for_turn())
			must(clock_ns() < deadline);
		eventfd_write(gate, 1);
		jobs_wait(second.told, 1);
		for (unsigned n = 0; n < 2; n++)
			jobs_wait(first[n].told, 1);
		ck_assert_int_eq(second.result, -EIO);
		ck_assert_int_eq(first[0].result, -EIO);
		fault_lose(false);
		if (firsts[i].direct)
			end();
		else
			end_plain();
		close(gate);
	}
}
END_TEST

/* A stop ends the wait of those that wait, of those that are covered, and of the next. */
START_TEST(stopped_before_a_sync)
{
	static uint8_t data[BLOCK];
	struct disk_request holder;
	struct job jobs[STABLES];

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin_plain(&kinds[k]);
		on_thread(threads[0], hold_turn, &holder);
		stables_start(jobs, data);
		on_thread(jobs[1].thread, cancel_job, &jobs[1]);
		jobs_wait(jobs[1].told, 1);
		ck_assert_int_eq(jobs[1].result, -ECANCELED);
		/* The one that has the turn next stops before it begins: on its own thread. */
		jobs[0].cancel = true;
		on_thread(threads[0], let_turn_go, &holder);
		for (unsigned i = 0; i < STABLES; i++) {
			if (i == 1)
				continue;
			jobs_wait(jobs[i].told, 1);
			ck_assert_int_eq(jobs[i].result, i ? 0 : -ECANCELED);
		}
		end_plain();
	}
}
END_TEST

/* So many wait for their turn; the last ones are stopped. */
#define CROWD 50000
#define STOPPED 500

static struct {
	struct disk_request request[CROWD];
	bool cancel[2]; /* of the others, of the stopped */
	uint64_t began, waits, stopped;
	unsigned done; /* atomic */
} crowd;

static void crowd_done(struct disk_request *request, int result)
{
	must(result == (*request->cancel ? -ECANCELED : 0));
	__atomic_fetch_add(&crowd.done, 1, __ATOMIC_RELEASE);
}

/* Of the thread: others may take the CPU at any time. */
static uint64_t cpu_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static void crowd_starts(void *opaque)
{
	(void)opaque;
	crowd.began = cpu_ns();
	for (unsigned i = 0; i < CROWD; i++) {
		crowd.request[i] = (struct disk_request){
			.op = DISK_FLUSH, .done = crowd_done,
			.cancel = &crowd.cancel[i >= CROWD - STOPPED],
		};
		disk_queue(&disk, threads[0], &crowd.request[i]);
	}
	crowd.waits = cpu_ns();
	crowd.cancel[1] = true;
	for (unsigned i = CROWD - STOPPED; i < CROWD; i++)
		disk_cancel(&crowd.request[i]);
	crowd.stopped = cpu_ns();
}

static void wait_for_crowd(unsigned done)
{
	uint64_t deadline = clock_ns() + DEADLINE_MS * NS_PER_MS;

	while (load_acquire(&crowd.done) < done)
		must(clock_ns() < deadline);
}

/* Who stops is not kept by those of other queues, of which there may be many. */
START_TEST(stopped_in_a_crowd)
{
	struct disk_request holder;

	begin_plain(&kinds[0]);
	on_thread(threads[0], hold_turn, &holder);
	on_thread(threads[0], crowd_starts, NULL);
	wait_for_crowd(STOPPED);
	ck_assert_uint_lt(crowd.stopped - crowd.waits, crowd.waits - crowd.began);
	on_thread(threads[0], let_turn_go, &holder);
	wait_for_crowd(CROWD);
	end_plain();
}
END_TEST

/* --- The page cache --- */

#define PAGES 64

/* A file without blocks, not in /tmp, which may be all page cache. */
static char *empty_image(void)
{
	char template[] = "/var/tmp/vmm-unit-XXXXXX";
	int fd = mkostemp(template, O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, PAGES * BLOCK), 0);
	close(fd);
	return strdup(template);
}

/* How many pages of the image it holds. */
static unsigned cached(void)
{
	unsigned char page[PAGES];
	void *map = mmap(NULL, PAGES * BLOCK, PROT_READ, MAP_SHARED, disk.fd, 0);
	unsigned count = 0;

	ck_assert_ptr_ne(map, MAP_FAILED);
	ck_assert_int_eq(mincore(map, PAGES * BLOCK, page), 0);
	for (unsigned i = 0; i < PAGES; i++)
		count += page[i] & 1;
	munmap(map, PAGES * BLOCK);
	return count;
}

/*
 * What is written and read is in the cache, or passes it by.  With dontcache it
 * comes there and goes, when it was written or else when it is read: what ext4
 * wrote in place waits for that.
 */
START_TEST(page_cache)
{
	static uint8_t buffer[PAGES * BLOCK] __attribute__((aligned(BLOCK)));
	struct io_thread_config thread = { .name = "io-a", .queues = 1 };

	for (unsigned k = 0; k < 3 * array_size(kinds); k++) {
		struct disk_config config = {
			.path = empty_image(), .aio = kinds[k / 3].aio,
			.direct = k % 3 == 1, .dontcache = k % 3 == 2,
		};

		thread.use_uring = kinds[k / 3].uring_thread;
		opens(&config);
		ck_assert_int_eq(io_thread_create(&threads[0], &thread), 0);
		ck_assert_int_eq(transfer(DISK_WRITE, 0, buffer, 16 * BLOCK), 0);
		ck_assert_int_eq(transfer(DISK_WRITE_STABLE, 32 * BLOCK, buffer, BLOCK), 0);
		ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		if (config.direct)
			ck_assert_uint_eq(cached(), 0);
		else if (!config.dontcache)
			ck_assert_uint_ge(cached(), 17);
		ck_assert_int_eq(transfer(DISK_WRITE, 512, buffer + 1, 1024), 0);
		ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		ck_assert_int_eq(transfer(DISK_READ, 0, buffer, sizeof(buffer)), 0);
		if (k % 3)
			ck_assert_uint_eq(cached(), 0);
		else
			ck_assert_uint_eq(cached(), PAGES);
		io_thread_destroy(threads[0]);
		disk_close(&disk);
		ck_assert_int_eq(unlink(config.path), 0);
		free((char *)config.path);
	}
}
END_TEST

/* The host has no such thing: it is not done another way in silence. */
START_TEST(dontcache_refused)
{
	const struct disk_config config = { .path = image(SIZE), .dontcache = true };
	struct statfs fs;
	char why[128];

	ck_assert_int_eq(statfs(folder, &fs), 0);
	snprintf(why, sizeof(why), "its file system (%s) refuses dontcache (RWF_DONTCACHE): "
		 "Operation not supported", fs.f_type == 0x01021994 ? "tmpfs" : "ext4");
	fault_inject(FAULT_READ, 1, EOPNOTSUPP, 0);
	refused(&config, -EOPNOTSUPP, why);
	fault_inject(FAULT_READ, 0, 0, 0);
}
END_TEST

/* A test case in which each test has a folder of its own. */
static void add_case(Suite *suite, const char *name, const TTest *const *tests, size_t count)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	const TTest *const opening[] = { alignments, hosts_without_direct_io, block_sizes };
	const TTest *const requests[] = {
		any_alignment, neighbours, more_than_there_is_memory_for, waiting,
		waiting_behind_the_stopped, waiting_for_a_long_one, host_was_wrong, host_was_wrong_in_memory,
		host_was_wrong_meanwhile, bounced_in_pieces, less_than_a_block, resized, shrinks_meanwhile,
		one_sync_for_all, turns_of_two_threads, late_for_a_sync, told_once, stopped_before_a_sync,
		stopped_in_a_crowd,
		page_cache, dontcache_refused,
	};
	Suite *suite = suite_create("disk_direct");

	add_case(suite, "open", opening, array_size(opening));
	add_case(suite, "requests", requests, array_size(requests));
	return unit_run(suite);
}
