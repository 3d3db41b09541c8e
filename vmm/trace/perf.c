// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/perf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hw/base/log.h"

#define EXIT_NO_PERF 127 /* as shells have it */
#define RUN_TIMEOUT_MS 60000
#define LAST_LINES 3

void perf_add(struct perf_command *command, const char *fmt, ...)
{
	char **argv = reallocarray(command->argv, command->count + 2, sizeof(*argv));
	va_list args;

	if (!argv) {
		command->error = -ENOMEM;
		return;
	}
	command->argv = argv;
	va_start(args, fmt);
	if (vasprintf(&argv[command->count], fmt, args) < 0)
		command->error = -ENOMEM;
	else
		command->count++;
	va_end(args);
	argv[command->count] = NULL;
}

void perf_free(struct perf_command *command)
{
	while (command->count)
		free(command->argv[--command->count]);
	free(command->argv);
	*command = (struct perf_command){ 0 };
}

static void print_word(FILE *to, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-+=:,./@%";

	if (*word && !word[strspn(word, plain)]) {
		fputs(word, to);
		return;
	}
	putc('\'', to);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", to);
		else
			putc(*word, to);
	putc('\'', to);
}

char *perf_text(const struct perf_command *command)
{
	char *text = NULL;
	size_t size, shown = command->shown ? command->shown : command->count;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	for (size_t i = 0; i < shown; i++) {
		if (i)
			putc(' ', to);
		print_word(to, command->argv[i]);
	}
	fclose(to);
	return text;
}

/* Lines of any length, which log_info() would cut. */
static void say_command(const struct perf_command *command)
{
	char *text = log_is_verbose() ? perf_text(command) : NULL;

	if (text) {
		/* The target's program may be anybody's. */
		log_disarm(text);
		fprintf(stderr, "vmm: %s\n", text);
	}
	free(text);
}

static _Noreturn void become(const struct perf_command *command, const int *keep, int messages,
			     pid_t parent)
{
	sigset_t none;

	/* It must not outlive us, and we may be gone already. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_NO_PERF);
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	dup2(command->output ? command->output : messages, STDOUT_FILENO);
	dup2(messages, STDERR_FILENO);
	for (; keep && *keep >= 0; keep++)
		fcntl(*keep, F_SETFD, 0);
	execvp(command->argv[0], command->argv);
	_exit(EXIT_NO_PERF);
}

int perf_start(struct perf *perf, const struct perf_command *command, const int *keep)
{
	pid_t parent = getpid();
	int ret = command->error;

	*perf = (struct perf){ .pid = -1, .pid_fd = -1, .output = -1 };
	if (ret)
		goto fail;
	say_command(command);
	/* Both ends append: perf does not write over what it has said. */
	perf->output = memfd_create("perf", MFD_CLOEXEC);
	if (perf->output < 0 || fcntl(perf->output, F_SETFL, O_APPEND)) {
		ret = -errno;
		goto fail;
	}
	perf->pid = fork();
	if (perf->pid == 0)
		become(command, keep, perf->output, parent);
	if (perf->pid > 0)
		perf->pid_fd = (int)syscall(SYS_pidfd_open, perf->pid, 0);
	if (perf->pid_fd >= 0)
		return 0;
	ret = -errno;
	if (perf->pid > 0) {
		kill(perf->pid, SIGKILL);
		waitpid(perf->pid, NULL, 0);
	}
fail:
	log_error("perf: cannot start it: %s", strerror(-ret));
	if (perf->output >= 0)
		close(perf->output);
	return ret;
}

/* The last lines that perf wrote, each as a message of ours, or how it ended without. */
static void print_last(int output, int status)
{
	char text[2048], *line = text, *end;
	off_t size = lseek(output, 0, SEEK_END);
	off_t from = size < (off_t)sizeof(text) ? 0 : size - (off_t)sizeof(text) + 1;
	ssize_t len = pread(output, text, sizeof(text) - 1, from);
	unsigned lines = 0;

	if (len <= 0) {
		if (WIFSIGNALED(status))
			log_error("perf was ended by signal %d", WTERMSIG(status));
		else
			log_error("perf says nothing, with status %d", WEXITSTATUS(status));
		return;
	}
	while (len && text[len - 1] == '\n')
		len--;
	text[len] = '\0';
	for (end = text + len; end > text && lines < LAST_LINES; end--)
		if (end[-1] == '\n' && ++lines == LAST_LINES)
			line = end;
	while ((end = strsep(&line, "\n")))
		if (end[strspn(end, " \t")])
			log_error("perf says: %s", end);
}

/* All of it, to be freed; NULL without memory. */
static char *read_output(int output)
{
	off_t size = lseek(output, 0, SEEK_END);
	char *text = malloc((size_t)size + 1);
	ssize_t len = text ? pread(output, text, (size_t)size, 0) : -1;

	if (len < 0) {
		free(text);
		return NULL;
	}
	text[len] = '\0';
	return text;
}

/* Wait for its end: its status as wait(2) has it. */
static int wait_end(struct perf *perf, int timeout_ms)
{
	struct pollfd ended = { .fd = perf->pid_fd, .events = POLLIN };
	int status = 0, n;

	do
		n = poll(&ended, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		log_error("perf does not end: killed");
		kill(perf->pid, SIGKILL);
	}
	waitpid(perf->pid, &status, 0);
	return status;
}

static int finish(struct perf *perf, int timeout_ms, const char *what, char **output)
{
	int ret = 0, status = wait_end(perf, timeout_ms);

	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_PERF) {
		log_error("perf is not installed: Debian has it in the package linux-perf");
		ret = -ENOENT;
	} else if (status) {
		if (what) {
			log_error("%s", what);
			print_last(perf->output, status);
		}
		ret = -EIO;
	} else if (output) {
		*output = read_output(perf->output);
		if (!*output) {
			log_error("out of memory");
			ret = -ENOMEM;
		}
	}
	close(perf->pid_fd);
	close(perf->output);
	return ret;
}

int perf_finish(struct perf *perf, int timeout_ms, const char *what)
{
	return finish(perf, timeout_ms, what, NULL);
}

int perf_run(struct perf_command *command, const char *what, char **output)
{
	struct perf perf;
	int ret = perf_start(&perf, command, NULL);

	if (!ret)
		ret = finish(&perf, RUN_TIMEOUT_MS, what, output);
	perf_free(command);
	return ret;
}
