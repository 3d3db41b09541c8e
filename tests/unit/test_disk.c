// SPDX-License-Identifier: BSD-2-Clause
#include "devices/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

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
#define SIZE (1 << 20)

static char *folder;

static void setup(void)
{
	folder = files_folder();
}

static void teardown(void)
{
	files_remove(folder);
}

static const char *image(const char *name, size_t size)
{
	uint8_t *bytes = malloc(size + 1);

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * 13 + i / 512);
	files_write(folder, name, bytes, size);
	free(bytes);
	return files_path(folder, name);
}

/* --- Open --- */

/* What disk_open() returned; *@text is what it said, to be freed. */
static int open_quietly(struct disk *disk, const char *path, bool read_only, char **text)
{
	const struct disk_config config = { .path = path, .read_only = read_only };
	int ret;

	files_capture();
	ret = disk_open(disk, &config);
	*text = files_captured();
	return ret;
}

static void refused(const char *path, bool read_only, int error, const char *why)
{
	struct disk disk;
	char *text, expected[512];

	ck_assert_int_eq(open_quietly(&disk, path, read_only, &text), error);
	snprintf(expected, sizeof(expected), "vmm: disk '%s': %s\n", path, why);
	ck_assert_str_eq(text, expected);
	free(text);
}

START_TEST(what_cannot_be_a_disk)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path;
	unsigned fds = leaks_fds();
	int fd;

	for (unsigned ro = 0; ro < 2; ro++) {
		refused(files_path(folder, "none"), ro, -ENOENT,
			"cannot open: No such file or directory");
		refused("", ro, -ENOENT, "cannot open: No such file or directory");
		refused(image("empty", 0), ro, -EINVAL, "it is empty (0 bytes)");
		refused(image("short", 511), ro, -EINVAL, "it is empty (511 bytes)");
		refused("/dev/null", ro, -ENOTSUP, "neither a file nor a block device");
	}
	refused(folder, false, -EISDIR, "cannot open: Is a directory");
	refused(folder, true, -EISDIR, "cannot use it: Is a directory");
	/* Nobody is at its other end, and nobody is waited for. */
	path = files_path(folder, "fifo");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	refused(path, false, -ENOTSUP, "neither a file nor a block device");
	refused(path, true, -ENOTSUP, "neither a file nor a block device");
	path = files_path(folder, "socket");
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	refused(path, false, -ENXIO, "cannot open: No such device or address");
	close(fd);
	ck_assert_uint_eq(leaks_fds(), fds);
}
END_TEST

START_TEST(file_that_may_not_be_written)
{
	const char *path = image("protected", 4096);
	struct disk disk;
	char *text;

	ck_assert_int_eq(chmod(path, 0444), 0);
	ck_assert_int_eq(chmod(folder, 0755), 0);
	/* Root may write anything. */
	if (geteuid() == 0)
		ck_assert_int_eq(seteuid(65534), 0);
	refused(path, false, -EACCES, "cannot open: Permission denied");
	ck_assert_int_eq(open_quietly(&disk, path, true, &text), 0);
	ck_assert_str_eq(text, "");
	ck_assert_uint_eq(disk.sectors, 8);
	ck_assert_int_eq(fcntl(disk.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	disk_close(&disk);
	free(text);
	ck_assert_int_eq(seteuid(getuid()), 0);
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		size_t size;
		uint64_t sectors, hidden;
	} table[] = {
		{ 512, 1, 0 }, { 513, 1, 1 }, { 1023, 1, 511 }, { 1024, 2, 0 }, { 4096, 8, 0 },
		{ 1000001, 1953, 65 },
	};

	for (unsigned i = 0; i < array_size(table); i++) {
		const char *path = image("image", table[i].size);
		char *text, expected[512] = "";
		struct disk disk;

		if (table[i].hidden)
			snprintf(expected, sizeof(expected),
				 "vmm: warning: disk '%s': size is not a multiple of 512 bytes; "
				 "the last %u are hidden\n", path, (unsigned)table[i].hidden);
		ck_assert_int_eq(open_quietly(&disk, path, false, &text), 0);
		ck_assert_str_eq(text, expected);
		ck_assert_uint_eq(disk.sectors, table[i].sectors);
		ck_assert_int_eq(fcntl(disk.fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
		ck_assert_int_eq(fcntl(disk.fd, F_GETFD), FD_CLOEXEC);
		disk_close(&disk);
		free(text);
	}
}
END_TEST

/* --- Locks --- */

/*
 * Another process opens @path, holds its lock until something is read from the
 * pipe's other end, which is returned, or @ms pass.
 */
static int other_process(const char *path, bool read_only, int ms, pid_t *pid)
{
	const struct disk_config config = { .path = path, .read_only = read_only };
	int ready[2], stop[2];
	char byte;

	ck_assert_int_eq(pipe2(ready, O_CLOEXEC) | pipe2(stop, O_CLOEXEC), 0);
	*pid = fork();
	ck_assert_int_ge(*pid, 0);
	if (*pid == 0) {
		struct pollfd pfd = { .fd = stop[0], .events = POLLIN };
		struct disk disk;

		close(stop[1]);
		if (disk_open(&disk, &config) || write(ready[1], "", 1) != 1)
			_exit(1);
		poll(&pfd, 1, ms);
		_exit(0);
	}
	close(ready[1]);
	close(stop[0]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return stop[1];
}

START_TEST(looked_at_again)
{
	const struct disk_config config = { .path = image("image", 8192) };
	static const off_t sizes_now[] = { 8192, 1 << 20, 512, 1000, 8192 };
	struct disk disk;
	uint64_t sectors;

	ck_assert_int_eq(disk_open(&disk, &config), 0);
	for (unsigned i = 0; i < array_size(sizes_now); i++) {
		ck_assert_int_eq(ftruncate(disk.fd, sizes_now[i]), 0);
		files_capture();
		ck_assert_int_eq(disk_look_again(&disk, &sectors), 0);
		free(files_captured());
		ck_assert_uint_eq(sectors, (uint64_t)sizes_now[i] / 512);
		ck_assert_uint_eq(disk.sectors, 16);
	}
	/* One that is gone is no size: the disk stays as it is. */
	ck_assert_int_eq(ftruncate(disk.fd, 511), 0);
	files_capture();
	ck_assert_int_eq(disk_look_again(&disk, &sectors), -EINVAL);
	free(files_captured());
	disk_close(&disk);
}
END_TEST

/* Of a file: the unit of its file system. */
START_TEST(geometry)
{
	const struct disk_config config = { .path = image("image", 8192 + 512) };
	struct disk disk;
	struct stat st;

	ck_assert_int_eq(disk_open(&disk, &config), 0);
	ck_assert_int_eq(fstat(disk.fd, &st), 0);
	ck_assert(!disk.is_device);
	ck_assert_uint_eq(disk.geometry.logical, 512);
	ck_assert_uint_eq(disk.geometry.physical, st.st_blksize);
	ck_assert_uint_eq(disk.geometry.alignment, 0);
	ck_assert_uint_eq(disk.geometry.io_min, 0);
	ck_assert_uint_eq(disk.geometry.io_opt, 0);
	disk_close(&disk);
}
END_TEST

/* Of a device: what it tells, as far as that can be. */
START_TEST(device_geometry)
{
	static const struct {
		struct fault_device device;
		size_t size;
		struct disk_geometry geometry;
	} table[] = {
		{ { .logical = 0 }, 8192, { 512, 512, 0, 0, 0 } },
		{ { 512, 0, 4096, 4096, 65536 }, 8192, { 512, 4096, 0, 4096, 65536 } },
		/* The guest's own block is what it always was. */
		{ { 4096, 0, 4096, 4096, 1 << 20 }, 8192, { 512, 4096, 0, 4096, 1 << 20 } },
		{ { 4096, 0, 512, 512, 6144 }, 8192, { 512, 512, 0, 512, 6144 } },
		{ { 4096, 0, 4096, 4096, 0 }, 8192 + 512, { 512, 4096, 0, 4096, 0 } },
		{ { 512, 3584, 4096, 0, 0 }, 8192, { 512, 4096, 3584, 0, 0 } },
		{ { 512, 4096 + 512, 4096, 0, 0 }, 8192, { 512, 4096, 512, 0, 0 } },
		/* Misaligned altogether. */
		{ { 512, -1, 4096, 0, 0 }, 8192, { 512, 4096, 0, 0, 0 } },
		{ { 520, 0, 520, 0, 0 }, 8192, { 512, 512, 0, 0, 0 } },
		{ { 8192, 0, 128 << 10, 0, 0 }, 8192, { 512, 512, 0, 0, 0 } },
	};

	for (unsigned i = 0; i < array_size(table); i++) {
		const struct disk_config config = { .path = image("image", table[i].size) };
		const struct disk_geometry *expected = &table[i].geometry;
		struct disk disk;

		fault_device(&table[i].device);
		ck_assert_int_eq(disk_open(&disk, &config), 0);
		ck_assert(disk.is_device);
		ck_assert_uint_eq(disk.sectors, table[i].size / 512);
		ck_assert_msg(disk.geometry.logical == expected->logical &&
			      disk.geometry.physical == expected->physical &&
			      disk.geometry.alignment == expected->alignment &&
			      disk.geometry.io_min == expected->io_min &&
			      disk.geometry.io_opt == expected->io_opt, "row %u", i);
		disk_close(&disk);
		fault_device(NULL);
	}
}
END_TEST

START_TEST(device_sizes)
{
	static const struct fault_device device;
	const char *path = image("image", 8192);
	const struct disk_config config = { .path = path };
	struct disk disk;
	uint64_t sectors;

	fault_device(&device);
	fault_inject(FAULT_SIZE, 1, EIO, 0);
	refused(path, false, -EIO, "cannot use it: Input/output error");
	ck_assert_int_eq(disk_open(&disk, &config), 0);
	ck_assert_uint_eq(disk.sectors, 16);
	ck_assert_int_eq(ftruncate(disk.fd, 1 << 20), 0);
	ck_assert_int_eq(disk_look_again(&disk, &sectors), 0);
	ck_assert_uint_eq(sectors, 2048);
	disk_close(&disk);
	fault_device(NULL);
}
END_TEST

static void end_other(int stop, pid_t pid)
{
	int status;

	close(stop);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

START_TEST(locked_by_another_process)
{
	const char *path = image("image", 4096);
	struct disk disk;
	char *text;
	uint64_t before;
	pid_t pid;
	int stop;

	/* A writer keeps out writers; readers keep out writers only. */
	stop = other_process(path, false, DEADLINE_MS, &pid);
	before = clock_ns();
	refused(path, false, -EBUSY, "locked by another process");
	ck_assert_uint_ge(clock_ns() - before, DISK_LOCK_WAIT_MS * 1000000ULL);
	end_other(stop, pid);

	stop = other_process(path, true, DEADLINE_MS, &pid);
	ck_assert_int_eq(open_quietly(&disk, path, true, &text), 0);
	ck_assert_str_eq(text, "");
	free(text);
	refused(path, false, -EBUSY, "locked by another process");
	disk_close(&disk);
	end_other(stop, pid);
}
END_TEST

START_TEST(lock_is_waited_for)
{
	const char *path = image("image", 4096);
	struct disk disk;
	char *text;
	pid_t pid;
	int stop = other_process(path, false, 300, &pid);

	ck_assert_int_eq(open_quietly(&disk, path, false, &text), 0);
	ck_assert_str_eq(text, "");
	free(text);
	disk_close(&disk);
	end_other(stop, pid);
}
END_TEST

START_TEST(lock_ends_with_close_and_only_then)
{
	const char *path = image("image", 4096);
	const struct disk_config config = { .path = path };
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct disk disk;
	int other = open(path, O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(disk_open(&disk, &config), 0);
	ck_assert_int_eq(fcntl(other, F_OFD_SETLK, &whole), -1);
	/* Another descriptor of this process closed: a POSIX lock would be gone. */
	close(open(path, O_RDWR | O_CLOEXEC));
	ck_assert_int_eq(fcntl(other, F_OFD_SETLK, &whole), -1);
	/* The whole of it, also what a grown image has later. */
	whole.l_start = 1 << 30;
	whole.l_len = 1;
	ck_assert_int_eq(fcntl(other, F_OFD_SETLK, &whole), -1);
	whole.l_start = whole.l_len = 0;
	disk_close(&disk);
	ck_assert_int_eq(fcntl(other, F_OFD_SETLK, &whole), 0);
	close(other);
	/* A refused open leaves none behind. */
	refused(image("empty", 0), false, -EINVAL, "it is empty (0 bytes)");
}
END_TEST

/* --- Requests --- */

/* Who does the I/O: every kind of thread and disk. */
static const struct kind {
	bool uring_thread;
	enum disk_aio aio;
	bool uses_uring;
} kinds[] = {
	{ true, DISK_AIO_IO_URING, true },
	{ true, DISK_AIO_SYNC, false },
	{ false, DISK_AIO_IO_URING, false },
	{ false, DISK_AIO_SYNC, false },
};

static struct io_thread *thread;
static struct disk disk_under_test;

static void begin(const struct kind *kind, size_t size, bool read_only)
{
	const struct disk_config config = {
		.path = image("image", size), .aio = kind->aio, .read_only = read_only,
	};
	const struct io_thread_config thread_config = {
		.name = "io-test", .queues = 1, .use_uring = kind->uring_thread,
	};

	ck_assert_int_eq(disk_open(&disk_under_test, &config), 0);
	ck_assert_int_eq(io_thread_create(&thread, &thread_config), 0);
}

static void end(void)
{
	io_thread_destroy(thread);
	disk_close(&disk_under_test);
}

struct job {
	struct io_order order;
	struct disk_request request;
	struct iovec iov[8];
	bool cancel;
	int result;
	int times; /* atomic */
	int told;  /* a semaphore */
};

static void job_done(struct disk_request *request, int result)
{
	struct job *job = container_of(request, struct job, request);
	int told = job->told;

	job->result = result;
	__atomic_fetch_add(&job->times, 1, __ATOMIC_RELEASE);
	eventfd_write(told, 1);
}

static void job_start(struct io_order *order)
{
	struct job *job = container_of(order, struct job, order);

	disk_queue(&disk_under_test, thread, &job->request);
}

static void job_init(struct job *job, enum disk_op op, uint64_t offset, void *data, size_t len)
{
	*job = (struct job){
		.order.run = job_start,
		.request = {
			.op = op,
			.offset = offset,
			.len = len,
			.iov = job->iov,
			.iov_count = len != 0,
			.cancel = &job->cancel,
			.done = job_done,
		},
		.iov[0] = { data, len },
		.told = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC),
	};
}

static int job_wait(struct job *job)
{
	struct pollfd pfd = { .fd = job->told, .events = POLLIN };
	eventfd_t count;

	ck_assert_msg(poll(&pfd, 1, DEADLINE_MS) == 1, "the request does not come back");
	eventfd_read(job->told, &count);
	must(load_acquire(&job->times) == 1);
	close(job->told);
	return job->result;
}

static int run(struct job *job)
{
	io_thread_order(thread, &job->order);
	return job_wait(job);
}

static int transfer(enum disk_op op, uint64_t offset, void *data, size_t len)
{
	struct job job;

	job_init(&job, op, offset, data, len);
	return run(&job);
}

/* Random transfers in random parts against a copy in memory. */
/* Rows: BLK-25 */
START_TEST(reads_and_writes)
{
	static uint8_t model[SIZE], buffer[SIZE], now[SIZE];
	uint64_t state = 7;

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(&kinds[k], SIZE, false);
		ck_assert_int_eq(transfer(DISK_READ, 0, model, SIZE), 0);
		for (unsigned i = 0; i < SIZE; i++)
			must(model[i] == (uint8_t)(i * 13 + i / 512));
		for (unsigned round = 0; round < 300; round++) {
			uint64_t len = 512 * (1 + vq_random(&state, 64));
			uint64_t offset = 512 * vq_random(&state, (SIZE - len) / 512 + 1);
			enum disk_op op = vq_random(&state, 3);
			struct job job;
			uint64_t at = 0;

			for (unsigned i = 0; i < len; i++)
				buffer[i] = (uint8_t)vq_random(&state, 256);
			job_init(&job, op, offset, buffer, len);
			for (job.request.iov_count = 0; at < len; job.request.iov_count++) {
				size_t part = 1 + vq_random(&state, (uint32_t)len);

				if (job.request.iov_count == 7 || part > len - at)
					part = len - at;
				job.iov[job.request.iov_count] = (struct iovec){ buffer + at, part };
				at += part;
			}
			ck_assert_int_eq(run(&job), 0);
			if (op == DISK_READ)
				ck_assert(!memcmp(buffer, model + offset, len));
			else
				memcpy(model + offset, buffer, len);
		}
		ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		ck_assert_int_eq(pread(disk_under_test.fd, now, SIZE, 0), SIZE);
		ck_assert(!memcmp(now, model, SIZE));
		end();
	}
}
END_TEST

/* More at once than the thread's rings hold. */
#define MANY 1500

static struct job many[MANY];

static void start_many(struct io_order *order)
{
	(void)order;
	for (unsigned i = 0; i < MANY; i++)
		disk_queue(&disk_under_test, thread, &many[i].request);
}

START_TEST(many_at_once)
{
	static uint8_t buffer[MANY][512], expected[512];

	for (unsigned k = 0; k < array_size(kinds); k++) {
		struct io_order order = { .run = start_many };
		int told = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

		begin(&kinds[k], MANY * 512, false);
		for (unsigned i = 0; i < MANY; i++) {
			job_init(&many[i], i % 2 ? DISK_READ : DISK_WRITE, i * 512, buffer[i], 512);
			close(many[i].told);
			many[i].told = told;
			memset(buffer[i], (int)i, 512);
		}
		io_thread_order(thread, &order);
		for (unsigned i = 0; i < MANY; i++) {
			struct pollfd pfd = { .fd = told, .events = POLLIN };
			eventfd_t one;

			must(poll(&pfd, 1, DEADLINE_MS) == 1);
			eventfd_read(told, &one);
		}
		for (unsigned i = 0; i < MANY; i++) {
			must(load_acquire(&many[i].times) == 1 && many[i].result == 0);
			for (unsigned n = 0; n < 512; n++)
				expected[n] = (uint8_t)((i * 512 + n) * 13 + i);
			must(i % 2 == 0 || !memcmp(buffer[i], expected, 512));
		}
		end();
		close(told);
	}
}
END_TEST

/* EINTR, EAGAIN and short transfers, as the kernel's calls give them. */
START_TEST(short_and_interrupted_calls)
{
	static uint8_t buffer[4096], back[4096];
	static const size_t limits[] = { 1, 3, 511, 512, 513, 4095 };

	for (unsigned k = 0; k < array_size(kinds); k++) {
		if (kinds[k].uses_uring)
			continue;
		begin(&kinds[k], SIZE, false);
		for (unsigned l = 0; l < array_size(limits); l++) {
			struct job job;

			memset(buffer, (int)l, sizeof(buffer));
			job_init(&job, DISK_WRITE_STABLE, 8192, buffer, 1000);
			job.iov[1] = (struct iovec){ buffer + 1000, 1 };
			job.iov[2] = (struct iovec){ buffer + 1001, 3095 };
			job.request.iov_count = 3;
			job.request.len = 4096;
			fault_inject(FAULT_WRITE, UINT32_MAX, 0, limits[l]);
			ck_assert_int_eq(run(&job), 0);
			fault_inject(FAULT_WRITE, 0, 0, 0);
			memset(back, 0xff, sizeof(back));
			fault_inject(FAULT_READ, UINT32_MAX, 0, limits[l]);
			ck_assert_int_eq(transfer(DISK_READ, 8192, back, 4096), 0);
			fault_inject(FAULT_READ, 0, 0, 0);
			ck_assert_mem_eq(back, buffer, 4096);
		}
		/* Not one of these calls did anything, and not one is the last word. */
		for (unsigned e = 0; e < 2; e++) {
			int error = e ? EAGAIN : EINTR;

			fault_inject(FAULT_READ, 5, error, 0);
			ck_assert_int_eq(transfer(DISK_READ, 8192, back, 512), 0);
			fault_inject(FAULT_WRITE, 5, error, 0);
			ck_assert_int_eq(transfer(DISK_WRITE, 8192, back, 512), 0);
			fault_inject(FAULT_FLUSH, 5, error, 0);
			ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		}
		end();
	}
}
END_TEST

/* The same as completions of io_uring: what the kernel says is said here. */
struct said {
	struct io_order order;
	struct job *job;
	int result;
};

static void say(struct io_order *order)
{
	struct said *said = container_of(order, struct said, order);
	struct io_completion *step = &said->job->request.step;

	step->done(step, said->result);
}

START_TEST(short_and_interrupted_completions)
{
	static const int results[] = { -EINTR, -EAGAIN, 1, 511, 1000, 1001, 4095 };
	static uint8_t buffer[4096], expected[4096];

	for (unsigned i = 0; i < 4096; i++)
		expected[i] = (uint8_t)(i * 13 + i / 512);
	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(&kinds[k], SIZE, false);
		for (unsigned r = 0; r < array_size(results); r++) {
			unsigned moved = results[r] > 0 ? (unsigned)results[r] : 0;
			struct io_completion step;
			struct said said;
			struct job job;

			/* A first run, so that the disk sets its part of the request. */
			job_init(&job, DISK_READ, 0, buffer, 512);
			ck_assert_int_eq(run(&job), 0);
			step = job.request.step;
			job_init(&job, DISK_READ, 0, buffer, 1000);
			job.iov[1] = (struct iovec){ buffer + 1000, 1 };
			job.iov[2] = (struct iovec){ buffer + 1001, 3095 };
			job.request.iov_count = 3;
			job.request.len = 4096;
			job.request.disk = &disk_under_test;
			job.request.thread = thread;
			job.request.step = step;
			memset(buffer, 0xee, sizeof(buffer));
			said = (struct said){ { .run = say }, &job, results[r] };
			io_thread_order(thread, &said.order);
			ck_assert_int_eq(job_wait(&job), 0);
			/* What was said to be moved is not read again, the rest is. */
			for (unsigned i = 0; i < 4096; i++)
				must(buffer[i] == (i < moved ? 0xee : expected[i]));
		}
		end();
	}
}
END_TEST

/* The image became shorter under the device (HOST-68). */
START_TEST(truncated_image)
{
	static uint8_t buffer[4096];

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(&kinds[k], 8192, false);
		ck_assert_int_eq(ftruncate(disk_under_test.fd, 5000), 0);
		ck_assert_int_eq(transfer(DISK_READ, 0, buffer, 4096), 0);
		ck_assert_int_eq(transfer(DISK_READ, 4096, buffer, 4096), -EIO);
		ck_assert_int_eq(transfer(DISK_READ, 4096 + 2048, buffer, 512), -EIO);
		/* Writing makes it longer again. */
		ck_assert_int_eq(transfer(DISK_WRITE, 4096 + 2048, buffer, 512), 0);
		ck_assert_int_eq(transfer(DISK_READ, 4096, buffer, 2560), 0);
		end();
	}
}
END_TEST

/* A disk's file is replaced: its requests meet what such a file does. */
static void become(int fd)
{
	on_thread_replace_file(thread, disk_under_test.fd, fd);
}

START_TEST(no_space)
{
	static uint8_t buffer[512];

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(&kinds[k], 8192, false);
		become(open("/dev/full", O_RDWR | O_CLOEXEC));
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_int_eq(transfer(DISK_WRITE, 0, buffer, 512), -ENOSPC);
			ck_assert_int_eq(transfer(DISK_READ, 0, buffer, 512), 0);
		}
		end();
	}
}
END_TEST

/* A write that finds room for its first part only. */
START_TEST(file_size_limit)
{
	static uint8_t buffer[4096];
	const struct rlimit limit = { 6000, RLIM_INFINITY };
	struct rlimit before;
	struct stat st;

	signal(SIGXFSZ, SIG_IGN); /* as loop_init() does */
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(&kinds[k], 8192, false);
		ck_assert_int_eq(ftruncate(disk_under_test.fd, 4096), 0);
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
		ck_assert_int_eq(transfer(DISK_WRITE, 4096, buffer, 4096), -EFBIG);
		ck_assert_int_eq(transfer(DISK_WRITE, 0, buffer, 4096), 0);
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
		ck_assert_int_eq(fstat(disk_under_test.fd, &st), 0);
		ck_assert_int_eq(st.st_size, 6000);
		ck_assert_int_eq(transfer(DISK_WRITE, 4096, buffer, 4096), 0);
		end();
	}
}
END_TEST

#define LARGE (3 * DISK_STEP_MAX + 4096)

/* Requests of several steps, whose parts are shorter, longer and much longer. */
START_TEST(steps)
{
	static uint8_t buffer[LARGE], back[LARGE];
	static const size_t parts[][3] = {
		{ LARGE, 0, 0 },
		{ 1, LARGE - 1, 0 },
		{ DISK_STEP_MAX, DISK_STEP_MAX + 1, LARGE - 2 * DISK_STEP_MAX - 1 },
		{ LARGE - 512, 511, 1 },
	};

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(&kinds[k], LARGE, false);
		for (unsigned i = 0; i < array_size(parts); i++) {
			struct job job;
			size_t at = 0;

			for (size_t n = 0; n < LARGE; n++)
				buffer[n] = (uint8_t)(n * 7 + n / 4096 + i);
			job_init(&job, DISK_WRITE, 0, buffer, LARGE);
			job.request.iov_count = 0;
			for (unsigned p = 0; p < 3 && parts[i][p]; at += parts[i][p++])
				job.iov[job.request.iov_count++] =
					(struct iovec){ buffer + at, parts[i][p] };
			ck_assert_int_eq(run(&job), 0);
			ck_assert_int_eq(transfer(DISK_READ, 0, back, LARGE), 0);
			ck_assert(!memcmp(buffer, back, LARGE));
		}
		end();
	}
}
END_TEST

/* Who stops waits for one step, not for all. */
/* Rows: GEN-05 */
START_TEST(cancelled_between_steps)
{
	static uint8_t ones[LARGE], back[LARGE];
	struct job job;

	memset(ones, 1, LARGE);
	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(&kinds[k], LARGE, false);
		job_init(&job, DISK_WRITE, 0, ones, LARGE);
		job.cancel = true;
		ck_assert_int_eq(run(&job), -ECANCELED);
		ck_assert_int_eq(transfer(DISK_READ, 0, back, LARGE), 0);
		ck_assert(!memcmp(back, ones, DISK_STEP_MAX));
		ck_assert(memcmp(back + DISK_STEP_MAX, ones, LARGE - DISK_STEP_MAX));
		/* What one step does is done. */
		job_init(&job, DISK_WRITE, 0, ones, 4096);
		job.cancel = true;
		ck_assert_int_eq(run(&job), 0);
		end();
	}
}
END_TEST

/* --- Discard and zeroes --- */

/* What is asked for, so that ranges are no different from transfers here. */
static int range(enum disk_op op, uint64_t offset, uint64_t len)
{
	struct job job;

	job_init(&job, op, offset, NULL, 0);
	job.request.len = len;
	return run(&job);
}

static uint64_t allocated(void)
{
	struct stat st;

	fsync(disk_under_test.fd); /* some file systems allocate late */
	ck_assert_int_eq(fstat(disk_under_test.fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static const enum disk_op range_ops[] = { DISK_DISCARD, DISK_ZERO, DISK_ZERO_UNMAP };

/* Where ranges are tried: a file system, and one that has no ZERO_RANGE. */
static void begin_range(const struct kind *kind, bool in_memory)
{
	static uint8_t bytes[SIZE];
	int fd;

	begin(kind, SIZE, false);
	if (!in_memory)
		return;
	ck_assert_int_eq(pread(disk_under_test.fd, bytes, SIZE, 0), SIZE);
	fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(write(fd, bytes, SIZE), SIZE);
	become(fd);
}

/* Random ranges and writes against a copy (BLK-42, BLK-43, BLK-45). */
/* Rows: BLK-42, BLK-43, BLK-45 */
START_TEST(ranges)
{
	static uint8_t model[SIZE], buffer[65536], now[SIZE];
	uint64_t state = 9;

	for (unsigned k = 0; k < 2 * array_size(kinds); k++) {
		begin_range(&kinds[k / 2], k % 2);
		ck_assert_int_eq(transfer(DISK_READ, 0, model, SIZE), 0);
		for (unsigned round = 0; round < 300; round++) {
			uint64_t len = 512 * (1 + vq_random(&state, 128));
			uint64_t offset = 512 * vq_random(&state, (SIZE - len) / 512 + 1);

			memset(buffer, (int)round, len);
			if (vq_random(&state, 2)) {
				ck_assert_int_eq(transfer(DISK_WRITE, offset, buffer, len), 0);
				memcpy(model + offset, buffer, len);
			} else {
				ck_assert_int_eq(range(range_ops[vq_random(&state, 3)], offset,
						       len), 0);
				memset(model + offset, 0, len);
			}
		}
		ck_assert_int_eq(transfer(DISK_READ, 0, now, SIZE), 0);
		ck_assert(!memcmp(now, model, SIZE));
		ck_assert_int_eq(lseek(disk_under_test.fd, 0, SEEK_END), SIZE);
		ck_assert(disk_may_unmap(&disk_under_test));
		end();
	}
}
END_TEST

/* BLK-44: what is deallocated, and what is not. */
/* Rows: BLK-44 */
START_TEST(allocation)
{
	for (unsigned k = 0; k < 2 * array_size(kinds); k++)
		for (unsigned op = 0; op < array_size(range_ops); op++) {
			uint64_t before;

			begin_range(&kinds[k / 2], k % 2);
			before = allocated();
			ck_assert_uint_ge(before, SIZE);
			ck_assert_int_eq(range(range_ops[op], SIZE / 4, SIZE / 2), 0);
			if (range_ops[op] == DISK_ZERO)
				ck_assert_uint_ge(allocated(), SIZE);
			else
				ck_assert_uint_le(allocated(), before - SIZE / 2);
			/* And a hole that is filled. */
			ck_assert_int_eq(range(DISK_ZERO, 0, SIZE), 0);
			ck_assert_uint_ge(allocated(), SIZE);
			end();
		}
}
END_TEST

/* The host knows neither, or one: zeros come all the same, by writing them. */
/* Rows: BLK-42, BLK-43 */
START_TEST(ranges_refused)
{
	static const int refusals[] = { EOPNOTSUPP, EINVAL };
	static uint8_t now[SIZE], zeros[SIZE];

	for (unsigned k = 0; k < array_size(kinds); k++) {
		if (kinds[k].uses_uring)
			continue;
		for (unsigned i = 0; i < 2 * array_size(refusals); i++) {
			enum disk_op op = i % 2 ? DISK_ZERO : DISK_ZERO_UNMAP;
			unsigned before;

			begin(&kinds[k], SIZE, false);
			fault_inject(FAULT_RANGE, UINT32_MAX, refusals[i / 2], 0);
			ck_assert_int_eq(range(DISK_DISCARD, 0, SIZE), 0);
			ck_assert_int_eq(transfer(DISK_READ, 0, now, SIZE), 0);
			for (unsigned n = 0; n < SIZE; n++)
				must(now[n] == (uint8_t)(n * 13 + n / 512));
			ck_assert_int_eq(range(op, 512, SIZE - 512), 0);
			ck_assert_int_eq(transfer(DISK_READ, 0, now, SIZE), 0);
			ck_assert(!memcmp(now + 512, zeros, SIZE - 512) && now[1] == 13);
			/* Refused for good, or for this range only. */
			before = fault_count(FAULT_RANGE);
			ck_assert_int_eq(range(op, 0, 4096), 0);
			ck_assert_int_eq(fault_count(FAULT_RANGE) == before,
					 refusals[i / 2] == EOPNOTSUPP);
			ck_assert_int_eq(disk_may_unmap(&disk_under_test),
					 refusals[i / 2] == EINVAL);
			fault_inject(FAULT_RANGE, 0, 0, 0);
			end();
		}
	}
}
END_TEST

/* A real failure: of advice it is none, of zeros it is the last word. */
START_TEST(ranges_fail)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		int fd;

		begin_range(&kinds[k], true);
		fd = disk_under_test.fd;
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
		ck_assert_int_eq(range(DISK_DISCARD, 0, 4096), 0);
		ck_assert_int_eq(range(DISK_ZERO, 0, 4096), -EPERM);
		ck_assert_int_eq(range(DISK_ZERO_UNMAP, 0, 4096), -EPERM);
		end();
		if (kinds[k].uses_uring)
			continue;
		begin(&kinds[k], SIZE, false);
		fault_inject(FAULT_RANGE, 3, EINTR, 0);
		ck_assert_int_eq(range(DISK_ZERO, 0, 4096), 0);
		fault_inject(FAULT_RANGE, 1, EIO, 0);
		ck_assert_int_eq(range(DISK_ZERO, 0, 4096), -EIO);
		fault_inject(FAULT_RANGE, 1, ENOSPC, 0);
		ck_assert_int_eq(range(DISK_ZERO_UNMAP, 0, 4096), -ENOSPC);
		ck_assert_int_eq(range(DISK_ZERO_UNMAP, 0, 4096), 0);
		end();
	}
}
END_TEST

#define MIB (1ULL << 20)

/* HOST-66: long ones come in steps, too, and end with the first one after a stop. */
START_TEST(range_steps)
{
	struct job job;

	for (unsigned k = 0; k < array_size(kinds); k++) {
		unsigned before;

		begin(&kinds[k], SIZE, false);
		ck_assert_int_eq(ftruncate(disk_under_test.fd, 4096 * MIB), 0);
		store_relaxed(&disk_under_test.sectors, 4096 * MIB / DISK_SECTOR);
		before = fault_count(FAULT_RANGE);
		for (unsigned op = 0; op < array_size(range_ops); op++)
			ck_assert_int_eq(range(range_ops[op], 255 * MIB, 600 * MIB), 0);
		if (!kinds[k].uses_uring)
			ck_assert_uint_eq(fault_count(FAULT_RANGE) - before, 3 * 4);
		ck_assert_int_eq(ftruncate(disk_under_test.fd, 0), 0);
		ck_assert_int_eq(ftruncate(disk_under_test.fd, 4096 * MIB), 0);
		job_init(&job, DISK_ZERO, 0, NULL, 0);
		job.request.len = 4096 * MIB;
		job.cancel = true;
		ck_assert_int_eq(run(&job), -ECANCELED);
		ck_assert_uint_le(allocated(), 257 * MIB);
		end();
	}
}
END_TEST

/* io_uring's own short transfers and waits: the file is a stream. */
START_TEST(stream_in_pieces)
{
	static uint8_t buffer[4096], sent[4096];
	struct job job;
	int pair[2];

	begin(&kinds[0], 8192, false);
	ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
	become(pair[0]);
	for (unsigned i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7);
	job_init(&job, DISK_READ, 0, buffer, 1000);
	job.iov[1] = (struct iovec){ buffer + 1000, 3096 };
	job.request.iov_count = 2;
	job.request.len = 4096;
	io_thread_order(thread, &job.order);
	for (unsigned at = 0; at < sizeof(sent); at += 128)
		ck_assert_int_eq(write(pair[1], sent + at, 128), 128);
	ck_assert_int_eq(job_wait(&job), 0);
	ck_assert_mem_eq(buffer, sent, sizeof(sent));
	/* The other end closes in the middle. */
	job_init(&job, DISK_READ, 0, buffer, 4096);
	io_thread_order(thread, &job.order);
	ck_assert_int_eq(write(pair[1], sent, 100), 100);
	close(pair[1]);
	ck_assert_int_eq(job_wait(&job), -EIO);
	end();
}
END_TEST

/* Rows: BLK-33 */
START_TEST(failing_flush)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		int ends[2];

		begin(&kinds[k], 8192, false);
		if (kinds[k].uses_uring) {
			/* A pipe cannot be flushed. */
			ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
			close(ends[0]);
			become(ends[1]);
			ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), -EINVAL);
		} else {
			fault_inject(FAULT_FLUSH, 1, EIO, 0);
			ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), -EIO);
		}
		end();
	}
}
END_TEST

/*
 * BLK-33: the kernel reports a failed write-back once and forgets the data.  A
 * later flush that succeeds would tell the guest that it is on stable storage.
 */
/* Rows: BLK-33 */
START_TEST(failed_flush_is_not_forgotten)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		int ends[2], file;

		begin(&kinds[k], 8192, false);
		if (kinds[k].uses_uring) {
			file = dup(disk_under_test.fd);
			ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
			close(ends[0]);
			become(ends[1]);
			ck_assert_int_ne(transfer(DISK_FLUSH, 0, NULL, 0), 0);
			become(file);
		} else {
			fault_inject(FAULT_FLUSH, 1, EIO, 0);
			ck_assert_int_ne(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		}
		ck_assert_int_ne(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		ck_assert_int_ne(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		end();
	}
}
END_TEST

/* --- Stable writes --- */

struct look {
	struct io_order order;
	struct job *job;
	struct io_uring_sqe sqe; /* what the request became */
	struct io_completion nop;
	int told;
};

static void nop_done(struct io_completion *completion, int result)
{
	(void)result;
	eventfd_write(container_of(completion, struct look, nop)->told, 1);
}

/* The entry before the next one is the request's: they stand in an array. */
static void look_at_entry(struct io_order *order)
{
	struct look *look = container_of(order, struct look, order);
	struct io_uring_sqe *next;

	disk_queue(&disk_under_test, thread, &look->job->request);
	next = io_thread_sqe(thread);
	if (!next) {
		eventfd_write(look->told, 1);
		return;
	}
	look->sqe = next[-1];
	io_uring_prep_nop(next);
	io_uring_sqe_set_data(next, &look->nop);
}

static const struct fault_device plain_device = { .logical = 512 };

static void begin_device(const struct kind *kind)
{
	fault_device(&plain_device);
	begin(kind, SIZE, false);
	ck_assert(disk_under_test.is_device);
}

static void end_device(void)
{
	end();
	fault_device(NULL);
}

/* By the command, where io_uring has one for this file, and else by the ioctl. */
START_TEST(device_discards)
{
	static uint8_t model[SIZE], now[SIZE];

	for (unsigned k = 0; k < array_size(kinds); k++) {
		unsigned before = fault_count(FAULT_DISCARD);

		begin_device(&kinds[k]);
		ck_assert_int_eq(transfer(DISK_READ, 0, model, SIZE), 0);
		ck_assert_int_eq(range(DISK_DISCARD, 64 << 10, 256 << 10), 0);
		memset(model + (64 << 10), 0, 256 << 10);
		ck_assert_uint_eq(fault_count(FAULT_DISCARD) - before, 1);
		/* Advice that is refused; what is asked again is tried again. */
		fault_inject(FAULT_DISCARD, UINT32_MAX, EOPNOTSUPP, 0);
		ck_assert_int_eq(range(DISK_DISCARD, 512 << 10, 4096), 0);
		fault_inject(FAULT_DISCARD, 0, 0, 0);
		ck_assert_int_eq(range(DISK_DISCARD, 768 << 10, 4096), 0);
		memset(model + (768 << 10), 0, 4096);
		/* Zeros are more than advice. */
		before = fault_count(FAULT_DISCARD);
		ck_assert_int_eq(range(DISK_ZERO, 0, 4096), 0);
		ck_assert_int_eq(range(DISK_ZERO_UNMAP, SIZE - 4096, 4096), 0);
		memset(model, 0, 4096);
		memset(model + SIZE - 4096, 0, 4096);
		ck_assert_uint_eq(fault_count(FAULT_DISCARD), before);
		ck_assert_int_eq(transfer(DISK_READ, 0, now, SIZE), 0);
		ck_assert(!memcmp(now, model, SIZE));
		end_device();
	}
}
END_TEST

START_TEST(device_discard_steps)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		unsigned before = fault_count(FAULT_DISCARD);
		struct job job;

		begin_device(&kinds[k]);
		ck_assert_int_eq(ftruncate(disk_under_test.fd, 4096 * MIB), 0);
		store_relaxed(&disk_under_test.sectors, 4096 * MIB / DISK_SECTOR);
		ck_assert_int_eq(range(DISK_DISCARD, 255 * MIB, 600 * MIB), 0);
		ck_assert_uint_eq(fault_count(FAULT_DISCARD) - before, 4);
		job_init(&job, DISK_DISCARD, 0, NULL, 0);
		job.request.len = 4096 * MIB;
		job.cancel = true;
		ck_assert_int_eq(run(&job), -ECANCELED);
		ck_assert_uint_eq(fault_count(FAULT_DISCARD) - before, 5);
		end_device();
	}
}
END_TEST

/* The command is tried once: this kernel has none for files. */
START_TEST(device_discard_command)
{
	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned times = 0; times < 2; times++) {
			struct job job;
			struct look look = {
				.order.run = look_at_entry, .job = &job, .nop.done = nop_done,
				.told = eventfd(0, EFD_CLOEXEC),
			};
			eventfd_t count;

			if (!times)
				begin_device(&kinds[k]);
			job_init(&job, DISK_DISCARD, 8192, NULL, 0);
			job.request.len = 4096;
			io_thread_order(thread, &look.order);
			ck_assert_int_eq(job_wait(&job), 0);
			eventfd_read(look.told, &count);
			if (kinds[k].uses_uring && !times) {
				ck_assert_int_eq(look.sqe.opcode, IORING_OP_URING_CMD);
				ck_assert_uint_eq(look.sqe.cmd_op, _IO(0x12, 0));
				ck_assert_uint_eq(look.sqe.addr, 8192);
				ck_assert_uint_eq(look.sqe.addr3, 4096);
			} else {
				ck_assert_int_ne(look.sqe.opcode, IORING_OP_URING_CMD);
			}
			if (times)
				end_device();
			close(look.told);
		}
}
END_TEST

/* Rows: BLK-30, BLK-31 */
START_TEST(stable_writes)
{
	static uint8_t buffer[512];
	static const enum disk_op ops[] = { DISK_WRITE, DISK_WRITE_STABLE };

	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned i = 0; i < array_size(ops); i++) {
			struct job job;
			struct look look = {
				.order.run = look_at_entry, .job = &job, .nop.done = nop_done,
				.told = eventfd(0, EFD_CLOEXEC),
			};
			unsigned dsync = fault_count_dsync();
			eventfd_t count;

			begin(&kinds[k], 8192, false);
			job_init(&job, ops[i], 1024, buffer, 512);
			io_thread_order(thread, &look.order);
			ck_assert_int_eq(job_wait(&job), 0);
			eventfd_read(look.told, &count);
			if (kinds[k].uses_uring) {
				ck_assert_int_eq(look.sqe.opcode, IORING_OP_WRITE);
				ck_assert_uint_eq(look.sqe.off, 1024);
				ck_assert_int_eq(look.sqe.rw_flags, i ? RWF_DSYNC : 0);
			} else {
				ck_assert_uint_eq(fault_count_dsync() - dsync, i);
			}
			end();
			close(look.told);
		}
}
END_TEST

/* Only what lies in the thread's memory as one part goes by it; all of it is right. */
START_TEST(registered_memory)
{
	enum { KIB = 1024, FROM = 16 * KIB, TO = 48 * KIB };
	static uint8_t memory[64 * KIB], model[64 * KIB];
	static const struct {
		unsigned at, len, cut; /* where the second part begins; 0: there is none */
		bool fixed;
	} table[] = {
		{ FROM, TO - FROM, 0, true }, { FROM + 100, 512, 0, true },
		{ TO - 512, 512, 0, true }, { TO - 512, 1024, 0, false },
		{ FROM - 512, 1024, 0, false }, { TO, 4096, 0, false }, { 0, 512, 0, false },
		{ 0, 64 * KIB, 0, false }, { FROM, 4096, 1024, false },
	};
	static const enum disk_op ops[] = { DISK_WRITE, DISK_WRITE_STABLE, DISK_READ };
	const struct io_thread_config config = {
		.name = "io-test", .queues = 1, .use_uring = true,
		.memory = { memory + FROM, TO - FROM },
	};
	uint64_t state = 7;

	begin(&kinds[0], sizeof(model), false);
	io_thread_destroy(thread);
	ck_assert_int_eq(io_thread_create(&thread, &config), 0);
	ck_assert_int_eq(io_thread_wait_for_memory(thread), 0);
	ck_assert_int_eq(pread(disk_under_test.fd, model, sizeof(model), 0), sizeof(model));
	for (unsigned i = 0; i < array_size(table) * array_size(ops) * 2; i++) {
		unsigned row = i / array_size(ops) % array_size(table);
		uint8_t *at = memory + table[row].at;
		unsigned len = table[row].len, cut = table[row].cut;
		enum disk_op op = ops[i % array_size(ops)];
		uint64_t offset = 512 * vq_random(&state, (sizeof(model) - len) / 512 + 1);
		bool fixed, is_read = op == DISK_READ;
		struct job job;
		struct look look = {
			.order.run = look_at_entry, .job = &job, .nop.done = nop_done,
			.told = eventfd(0, EFD_CLOEXEC),
		};
		eventfd_t count;

		disk_under_test.fixed_buffers = i >= array_size(table) * array_size(ops);
		fixed = table[row].fixed && disk_under_test.fixed_buffers;
		for (unsigned n = 0; n < sizeof(memory); n++)
			memory[n] = (uint8_t)vq_random(&state, 256);
		job_init(&job, op, offset, at, len);
		if (cut) {
			job.iov[0].iov_len = cut;
			job.iov[1] = (struct iovec){ at + cut, len - cut };
			job.request.iov_count = 2;
		}
		io_thread_order(thread, &look.order);
		ck_assert_int_eq(job_wait(&job), 0);
		eventfd_read(look.told, &count);
		close(look.told);
		ck_assert_int_eq(look.sqe.opcode == (is_read ? IORING_OP_READ_FIXED :
							       IORING_OP_WRITE_FIXED), fixed);
		ck_assert_int_eq(look.sqe.rw_flags, op == DISK_WRITE_STABLE ? RWF_DSYNC : 0);
		if (!is_read)
			memcpy(model + offset, at, len);
		ck_assert(!memcmp(at, model + offset, len));
	}
	ck_assert_int_eq(pread(disk_under_test.fd, memory, sizeof(memory), 0), sizeof(memory));
	ck_assert(!memcmp(memory, model, sizeof(model)));
	end();
}
END_TEST

/* A test case in which each test has a folder of its own. */
static void add_case(Suite *suite, const char *name, const TTest *const *tests, size_t count)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
}

enum { LONGS = 16 };

struct flood {
	struct io_order order;
	struct job longs[LONGS], brief;
	unsigned writes; /* when the brief one was done */
};

static void brief_done(struct disk_request *request, int result)
{
	struct flood *flood = container_of(request, struct flood, brief.request);

	flood->writes = fault_count(FAULT_WRITE);
	job_done(request, result);
}

static void flood_start(struct io_order *order)
{
	struct flood *flood = container_of(order, struct flood, order);

	for (unsigned i = 0; i < LONGS; i++)
		disk_queue(&disk_under_test, thread, &flood->longs[i].request);
	disk_queue(&disk_under_test, thread, &flood->brief.request);
}

/* Requests of two steps fill a round: a brief one does not wait for their second ones. */
START_TEST(brief_in_a_flood)
{
	static uint8_t buffer[2 * DISK_STEP_MAX];
	struct flood flood = { .order.run = flood_start };
	unsigned before = fault_count(FAULT_WRITE);

	begin(&kinds[array_size(kinds) - 1], sizeof(buffer), false);
	ck_assert_int_eq(disk_under_test.aio, DISK_AIO_SYNC);
	for (unsigned i = 0; i < LONGS; i++)
		job_init(&flood.longs[i], DISK_WRITE, 0, buffer, sizeof(buffer));
	job_init(&flood.brief, DISK_READ, 0, buffer, 512);
	flood.brief.request.done = brief_done;
	io_thread_order(thread, &flood.order);
	ck_assert_int_eq(job_wait(&flood.brief), 0);
	ck_assert_uint_eq(flood.writes - before, LONGS);
	for (unsigned i = 0; i < LONGS; i++)
		ck_assert_int_eq(job_wait(&flood.longs[i]), 0);
	ck_assert_uint_eq(fault_count(FAULT_WRITE) - before, 2 * LONGS);
	end();
}
END_TEST

static void wait_for_write(unsigned count)
{
	uint64_t deadline = clock_ns() + DEADLINE_MS * NS_PER_MS;

	while (fault_count(FAULT_WRITE) < count)
		must(clock_ns() < deadline);
}

/* The image shrank after the request was checked, and before it was begun: it stays so. */
START_TEST(shrunk_before_the_first_step)
{
	static uint8_t buffer[8192];
	static const enum disk_op ops[] = {
		DISK_READ, DISK_WRITE, DISK_WRITE_STABLE, DISK_ZERO, DISK_ZERO_UNMAP,
	};

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(&kinds[k], sizeof(buffer), false);
		ck_assert_int_eq(ftruncate(disk_under_test.fd, 7 * 512), 0);
		store_relaxed(&disk_under_test.sectors, 7);
		for (unsigned i = 0; i < array_size(ops); i++) {
			bool moves = ops[i] < DISK_DISCARD;

			for (uint64_t at = 0; at <= 4096; at += 4096)
				ck_assert_int_eq(moves ? transfer(ops[i], at, buffer, 4096) :
						 range(ops[i], at, 4096), -EIO);
			ck_assert_int_eq(moves ? transfer(ops[i], 512, buffer, 3072) :
					 range(ops[i], 512, 3072), 0);
		}
		ck_assert_int_eq(range(DISK_DISCARD, 4096, 4096), 0);
		ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), 0);
		ck_assert_int_eq(lseek(disk_under_test.fd, 0, SEEK_END), 7 * 512);
		end();
	}
}
END_TEST

/* What is not written since the image shrank is no data that the kernel lost. */
START_TEST(shrinking_is_no_lost_data)
{
	static uint8_t buffer[8192];
	unsigned before = fault_count(FAULT_WRITE);
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
	struct job job;

	begin(&kinds[array_size(kinds) - 1], sizeof(buffer), false);
	ck_assert_int_eq(disk_under_test.aio, DISK_AIO_SYNC);
	fault_gate(gate);
	fault_inject(FAULT_WRITE, 1, 0, 4096);
	job_init(&job, DISK_WRITE_STABLE, 0, buffer, sizeof(buffer));
	io_thread_order(thread, &job.order);
	wait_for_write(before + 1);
	store_relaxed(&disk_under_test.sectors, 8);
	fault_gate(-1);
	eventfd_write(gate, 1);
	ck_assert_int_eq(job_wait(&job), -EIO);
	ck_assert_uint_eq(fault_count(FAULT_WRITE), before + 1);
	ck_assert_int_eq(transfer(DISK_WRITE_STABLE, 0, buffer, 4096), 0);
	ck_assert_int_eq(transfer(DISK_FLUSH, 0, NULL, 0), 0);
	end();
	close(gate);
}
END_TEST

int main(void)
{
	const TTest *const opening[] = {
		what_cannot_be_a_disk, file_that_may_not_be_written, sizes,
		looked_at_again, geometry, device_geometry, device_sizes,
		locked_by_another_process, lock_is_waited_for, lock_ends_with_close_and_only_then,
	};
	const TTest *const requests[] = {
		reads_and_writes, many_at_once, short_and_interrupted_calls,
		short_and_interrupted_completions, stream_in_pieces, truncated_image, no_space,
		file_size_limit, steps, cancelled_between_steps, failing_flush,
		failed_flush_is_not_forgotten, stable_writes,
		shrunk_before_the_first_step, shrinking_is_no_lost_data,
		brief_in_a_flood, registered_memory,
	};
	const TTest *const discarding[] = {
		ranges, allocation, ranges_refused, ranges_fail, range_steps,
		device_discards, device_discard_steps, device_discard_command,
	};
	Suite *suite = suite_create("disk");

	add_case(suite, "open", opening, array_size(opening));
	add_case(suite, "requests", requests, array_size(requests));
	add_case(suite, "ranges", discarding, array_size(discarding));
	return unit_run(suite);
}
