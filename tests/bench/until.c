// SPDX-License-Identifier: BSD-2-Clause
/*
 * usage: until SECONDS run COMMAND [ARGUMENT]...
 *        until SECONDS output TEXT COMMAND [ARGUMENT]...
 *
 * Prints how many milliseconds pass from COMMAND's exec to its first KVM_RUN,
 * or until TEXT has come on its stdout (any byte, if TEXT is empty), and kills
 * it. It is an error if that takes longer than SECONDS or if COMMAND ends
 * before; what has come on its stdout is then printed on stderr.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_MAX (4 << 20) /* bytes */
#define NS_PER_MS 1000000

static char output[OUTPUT_MAX];
static size_t output_len;

static void check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "until: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/*
 * A descriptor that gets ready when a child calls KVM_RUN, which then waits.
 * Linux knows of each system call but ioctl that it passes, and so runs the
 * filter for ioctls only, where it costs some nanoseconds.
 */
static int watch_kvm_run(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };
	const unsigned flags =
		SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	int fd;

	check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
	check(fd >= 0, "seccomp");
	return fd;
}

/* Run @command with its stdout in *@output_fd; *@began is when it is executed. */
static pid_t start(char **command, int *output_fd, int64_t *began)
{
	int fd[2];
	pid_t pid;

	check(!pipe(fd), "pipe");
	pid = fork();
	check(pid >= 0, "fork");
	if (pid == 0) {
		dup2(fd[1], STDOUT_FILENO);
		close(fd[0]);
		close(fd[1]);
		*began = now_ns();
		execvp(*command, command);
		check(false, *command);
	}
	close(fd[1]);
	*output_fd = fd[0];
	return pid;
}

/* Add what has come on @fd.  False at its end. */
static bool read_output(int fd)
{
	ssize_t len = read(fd, output + output_len, OUTPUT_MAX - output_len);

	if (len <= 0)
		return false;
	output_len += (size_t)len;
	return true;
}

/* Returns when @run_fd got ready, or had @text come on @output_fd; 0: neither. */
static int64_t wait_for(int run_fd, int output_fd, const char *text, int64_t deadline)
{
	struct pollfd fd[] = {
		{ .fd = run_fd, .events = POLLIN },
		{ .fd = output_fd, .events = POLLIN },
	};
	int64_t now;

	while ((now = now_ns()) < deadline) {
		poll(fd, 2, (int)((deadline - now) / NS_PER_MS) + 1);
		now = now_ns();
		if (fd[0].revents & POLLIN)
			return now;
		if (fd[1].revents && !read_output(output_fd))
			return 0;
		if (text && output_len && memmem(output, output_len, text, strlen(text)))
			return now;
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool is_run = argc > 3 && !strcmp(argv[2], "run");
	bool is_output = argc > 4 && !strcmp(argv[2], "output");
	int64_t *began, deadline, at;
	int run_fd, output_fd;
	char **command;
	pid_t pid;

	if (!is_run && !is_output) {
		fputs("usage: until SECONDS run|output TEXT COMMAND [ARGUMENT]...\n", stderr);
		return 2;
	}
	command = argv + (is_run ? 3 : 4);
	began = mmap(NULL, sizeof(*began), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	check(began != MAP_FAILED, "mmap");
	run_fd = is_run ? watch_kvm_run() : -1;
	deadline = now_ns() + atoll(argv[1]) * 1000 * NS_PER_MS;
	pid = start(command, &output_fd, began);
	at = wait_for(run_fd, output_fd, is_output ? argv[3] : NULL, deadline);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!at) {
		fwrite(output, 1, output_len, stderr);
		fprintf(stderr, "until: %s: not within %s s\n", *command, argv[1]);
		return 1;
	}
	printf("%.3f\n", (double)(at - *began) / NS_PER_MS);
	return 0;
}
