// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "vmm/number.h"
#include "vmm/options.h"

/* The file @name of process @pid, or NULL. */
static FILE *process_file(const char *proc, pid_t pid, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%d/%s", proc, pid, name);
	return fopen(path, "re");
}

/* The program of @pid, to be freed; NULL with errno. */
static char *process_exe(const char *proc, pid_t pid)
{
	char path[PATH_MAX], exe[PATH_MAX];
	ssize_t len;

	snprintf(path, sizeof(path), "%s/%d/exe", proc, pid);
	len = readlink(path, exe, sizeof(exe));
	return len < 0 ? NULL : strndup(exe, (size_t)len);
}

/* By the real user: in /proc, what is not to be dumped seems to be root's. */
static void find_owner(const char *proc, struct trace_target *target)
{
	FILE *status = process_file(proc, target->pid, "status");
	const char *sudo = getenv("SUDO_UID");
	unsigned uid = UINT_MAX;
	char line[256];

	while (status && fgets(line, sizeof(line), status) && sscanf(line, "Uid: %u", &uid) != 1)
		;
	if (status)
		fclose(status);
	if (uid != getuid() && !(sudo && uid == strtoul(sudo, NULL, 10)))
		snprintf(target->whose, sizeof(target->whose), " of user %u", uid);
}

static void argv_free(char **argv)
{
	for (char **arg = argv; arg && *arg; arg++)
		free(*arg);
	free(argv);
}

/* The command line of @pid, with *@argc words; NULL: it has none. */
static char **process_argv(const char *proc, pid_t pid, int *argc)
{
	FILE *file = process_file(proc, pid, "cmdline");
	char **argv = NULL, **longer, *word = NULL;
	size_t size = 0;

	for (*argc = 0; file && getdelim(&word, &size, '\0', file) > 0; ++*argc) {
		longer = reallocarray(argv, (size_t)*argc + 2, sizeof(*argv));
		if (!longer)
			break;
		argv = longer;
		argv[*argc] = word;
		argv[*argc + 1] = NULL;
		word = NULL;
		size = 0;
	}
	free(word);
	if (file)
		fclose(file);
	return argv;
}

/* Is @pid a "vmm run" that this user may look at?  Then @found is all about it. */
static bool process_is_vm(const char *proc, pid_t pid, struct trace_target *found)
{
	const char *name, *base;
	char **argv;
	bool is_vm;
	int argc;

	*found = (struct trace_target){ .pid = pid, .exe = process_exe(proc, pid) };
	if (!found->exe)
		return false;
	base = strrchr(found->exe, '/');
	argv = process_argv(proc, pid, &argc);
	is_vm = base && !strncmp(base, "/vmm", 4) && argc > 1 && !strcmp(argv[1], "run");
	name = is_vm ? options_name(argc - 1, argv + 1) : NULL;
	if (name)
		found->name = strdup(name);
	argv_free(argv);
	if (is_vm)
		find_owner(proc, found);
	else
		trace_target_free(found);
	return is_vm;
}

void trace_target_free(struct trace_target *target)
{
	free(target->name);
	free(target->exe);
	*target = (struct trace_target){ 0 };
}

/* The PID that @text is, or 0. */
static pid_t parse_pid(const char *text)
{
	const char *end;
	uint64_t number;

	if (!number_parse(text, &number, &end) || *end || number > INT_MAX)
		return 0;
	return (pid_t)number;
}

/* What a VM is called in messages. */
static void print_vm(FILE *to, const struct trace_target *vm)
{
	if (vm->name)
		fprintf(to, "'%s' (PID %d%s)", vm->name, vm->pid, vm->whose);
	else
		fprintf(to, "PID %d%s", vm->pid, vm->whose);
}

/*
 * Look at every VM: the first called @name is *@target, and the caller's own before
 * others.  Returns how many are as good; @list: all VMs.
 */
static unsigned search(const char *proc, struct dirent **entry, int count, const char *name,
		       struct trace_target *target, FILE *list)
{
	const char *separator = "";
	struct trace_target vm;
	unsigned own = 0, others = 0;
	bool first;
	pid_t pid;

	for (int i = 0; i < count; i++) {
		pid = parse_pid(entry[i]->d_name);
		if (!pid || !process_is_vm(proc, pid, &vm))
			continue;
		fputs(separator, list);
		print_vm(list, &vm);
		separator = ", ";
		first = vm.name && !strcmp(vm.name, name) &&
			(vm.whose[0] ? !others++ && !own : !own++);
		trace_target_free(first ? target : &vm);
		if (first)
			*target = vm;
	}
	return own ? own : others;
}

/* Say why none, or more than one, is the VM meant. */
static int not_one(const char *name, unsigned found, const char *running)
{
	if (found)
		log_error("%u VMs are called '%s': say which by its PID", found, name);
	else if (*running)
		log_error("no VM is called '%s'", name);
	else
		log_error("no VM is called '%s'; none%s runs", name, geteuid() ? " of yours" : "");
	if (*running)
		log_error("running: %s", running);
	return found ? -EINVAL : -ESRCH;
}

static int find_name(const char *proc, const char *name, struct trace_target *target)
{
	struct dirent **entry = NULL;
	int ret = 0, count = scandir(proc, &entry, NULL, versionsort);
	char *running = NULL;
	unsigned found;
	size_t size;
	FILE *list;

	list = count < 0 ? NULL : open_memstream(&running, &size);
	if (!list) {
		ret = -errno;
		log_error("%s: %s", proc, strerror(errno));
		goto out;
	}
	found = search(proc, entry, count, name, target, list);
	fclose(list);
	if (found != 1) {
		ret = not_one(name, found, running);
		trace_target_free(target);
	}
out:
	free(running);
	while (count > 0)
		free(entry[--count]);
	free(entry);
	return ret;
}

static int find_pid(const char *proc, pid_t pid, struct trace_target *target)
{
	if (process_is_vm(proc, pid, target))
		return 0;
	/* It may be a vmm by another name: its probes will tell. */
	target->pid = pid;
	find_owner(proc, target);
	target->exe = process_exe(proc, pid);
	if (target->exe)
		return 0;
	if (errno == ENOENT) {
		log_error("no process has PID %d", pid);
		return -ESRCH;
	}
	log_error("PID %d: %s", pid, strerror(errno));
	return -errno;
}

int trace_target_find(const char *proc, const char *word, struct trace_target *target)
{
	pid_t pid = parse_pid(word);

	*target = (struct trace_target){ 0 };
	return pid ? find_pid(proc, pid, target) : find_name(proc, word, target);
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

/* Is it one that the kernel makes for io_uring, and ends when there is nothing to do? */
static bool is_worker(const char *proc, pid_t pid, pid_t tid)
{
	char name[32], comm[16];
	bool is;
	FILE *file;

	snprintf(name, sizeof(name), "task/%d/comm", tid);
	file = process_file(proc, pid, name);
	is = !file || !fgets(comm, sizeof(comm), file) || !strncmp(comm, "iou-wrk-", 8);
	if (file)
		fclose(file);
	return is && tid != pid; /* the name of that one is the user's choice */
}

pid_t *trace_target_threads(const char *proc, pid_t pid, size_t *count)
{
	pid_t *tids = NULL, *more, tid;
	struct dirent *entry;
	char path[PATH_MAX];
	DIR *folder;

	*count = 0;
	snprintf(path, sizeof(path), "%s/%d/task", proc, pid);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		tid = parse_pid(entry->d_name);
		if (!tid || is_worker(proc, pid, tid))
			continue;
		more = reallocarray(tids, *count + 1, sizeof(*tids));
		if (!more)
			continue;
		tids = more;
		tids[(*count)++] = tid;
	}
	if (folder)
		closedir(folder);
	if (tids)
		qsort(tids, *count, sizeof(*tids), by_number);
	return tids;
}

bool trace_target_ids_are_global(const char *proc)
{
	/* The number of the first such namespace, the same in all kernels since 3.8. */
	const ino_t first = 0xEFFFFFFC;
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/self/ns/pid", proc);
	return !stat(path, &st) && st.st_ino == first;
}

bool trace_target_takes(const char *proc, pid_t pid, int signo)
{
	FILE *status = process_file(proc, pid, "status");
	uint64_t mask, taken = 0;
	char line[256];

	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "SigBlk: %" SCNx64, &mask) == 1 ||
		    sscanf(line, "SigCgt: %" SCNx64, &mask) == 1)
			taken |= mask;
	if (status)
		fclose(status);
	return taken >> (signo - 1) & 1;
}

/*
 * A probe is told by an ELF note: the name "stapsdt", three addresses, provider
 * and probe.
 */
static bool find_note(const char *data, size_t size)
{
	static const char owner[] = "stapsdt", probe[] = "vmm\0pop";
	const size_t there = sizeof(owner) + 3 * sizeof(uint64_t);
	const char *end = data + size, *at = data;

	while ((at = memmem(at, (size_t)(end - at), owner, sizeof(owner)))) {
		if ((size_t)(end - at) < there + sizeof(probe))
			return false;
		if (!memcmp(at + there, probe, sizeof(probe)))
			return true;
		at++;
	}
	return false;
}

int trace_target_probes(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = -ENOENT;
	struct stat st;
	char *data;

	if (fd < 0 || fstat(fd, &st)) {
		ret = -errno;
		goto out;
	}
	if (st.st_size > TRACE_PROGRAM_MAX) {
		ret = -EFBIG;
		goto out;
	}
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED) {
		ret = -errno;
		goto out;
	}
	if (find_note(data, (size_t)st.st_size))
		ret = 0;
	munmap(data, (size_t)st.st_size);
out:
	if (fd >= 0)
		close(fd);
	return ret;
}
