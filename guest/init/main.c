// SPDX-License-Identifier: BSD-2-Clause
#include "guest/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define NEW_ROOT "/root"

/* Disks are there when their driver's module is loaded; this is for latecomers. */
#define ROOT_DEADLINE_MS 10000

static void mount_kernel(const char *type, const char *folder)
{
	if (mount(type, folder, type, 0, NULL) && errno != EBUSY)
		die("cannot mount %s on %s: %s", type, folder, strerror(errno));
}

/*
 * The kernel has opened /dev/console three times, unless there is none.  Then
 * no file of ours may get such a number: messages would be written into it.
 */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close(fd);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int open_uevents(void)
{
	struct sockaddr_nl all = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&all, sizeof(all)))
		say("cannot listen for new devices: %s", strerror(errno));
	return fd;
}

static void drain(int fd)
{
	char event[4096];

	/* ENOBUFS: some were lost; all that counts is that there were any. */
	while (recv(fd, event, sizeof(event), MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
		;
}

/* Wait until the root device is there, looking again after each uevent. */
static void wait_for_root(const struct options *o, long deadline_ms, char dev[BLOCK_NAME_SIZE])
{
	long deadline = now_ms() + deadline_ms, left;
	bool told = o->quiet;
	/* Before the first look, or a device could appear in between unseen. */
	struct pollfd events = { .fd = open_uevents(), .events = POLLIN };

	while (!block_find(o->root, dev)) {
		left = deadline - now_ms();
		if (left <= 0 && !o->wait)
			die("no root device %s", o->root);
		if (!told)
			say("waiting for root device %s", o->root);
		told = true;
		poll(&events, 1, o->wait ? -1 : (int)left);
		drain(events.fd);
	}
	close(events.fd);
}

static void mount_root(const struct options *o, const char *dev)
{
	const char *type = o->fstype ? o->fstype : block_fstype(dev);
	unsigned long flags = o->writable ? 0 : MS_RDONLY;
	struct statvfs mounted;
	int ret;

	if (!type)
		die("%s holds no ext4, xfs, btrfs or squashfs; for others give rootfstype=", dev);
	modules_load(!strcmp(type, "ext3") || !strcmp(type, "ext2") ? "ext4" : type, o);
	ret = mount(dev, NEW_ROOT, type, flags, o->flags);
	/* As the kernel does: a read-only disk is mounted so even under rw. */
	if (ret && (errno == EACCES || errno == EROFS) && !(flags & MS_RDONLY)) {
		flags |= MS_RDONLY;
		ret = mount(dev, NEW_ROOT, type, flags, o->flags);
	}
	if (ret)
		die("cannot mount %s as %s, %s%s%s: %s", dev, type, flags & MS_RDONLY ? "ro" : "rw",
		    o->flags ? "," : "", o->flags ? o->flags : "",
		    errno == ENODEV ? "no such file system in the kernel, and no module"
				    : strerror(errno));
	if (!o->quiet && !statvfs(NEW_ROOT, &mounted))
		say("root is %s, %s, %s", dev, type, mounted.f_flag & ST_RDONLY ? "ro" : "rw");
}

/* Our own files, which would stay in RAM for ever. */
static void free_archive(void)
{
	DIR *dir = opendir("/vmm");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (*entry->d_name != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
	unlink("/init");
}

/*
 * Leave the new root as a kernel that mounts it by itself would: with devtmpfs
 * on /dev, and without /proc and /sys, which its init expects to mount.
 */
static void enter_root(void)
{
	umount2("/proc", MNT_DETACH);
	umount2("/sys", MNT_DETACH);
	if (mount("/dev", NEW_ROOT "/dev", NULL, MS_MOVE, NULL)) {
		say("cannot move /dev into the root file system: %s", strerror(errno));
		umount2("/dev", MNT_DETACH);
	}
	free_archive();
	if (chdir(NEW_ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("cannot make the root file system the root: %s", strerror(errno));
}

/* Run the init that the kernel would, with the arguments it has left over. */
static void run_init(const char *asked, char **argv)
{
	static const char *const usual[] = { "/sbin/init", "/etc/init", "/bin/init", "/bin/sh" };

	if (asked) {
		argv[0] = (char *)asked;
		execv(asked, argv);
		die("cannot run init=%s: %s", asked, strerror(errno));
	}
	for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++) {
		argv[0] = (char *)usual[i];
		execv(usual[i], argv);
		if (errno != ENOENT)
			say("cannot run %s: %s", usual[i], strerror(errno));
	}
	die("the root file system has no /sbin/init, /etc/init, /bin/init or /bin/sh "
	    "that runs; try init=");
}

int main(int argc, char **argv)
{
	static struct options options;
	char dev[BLOCK_NAME_SIZE];
	bool loaded;

	(void)argc;
	mount_kernel("devtmpfs", "/dev");
	fill_standard_fds();
	mount_kernel("proc", "/proc");
	mount_kernel("sysfs", "/sys");
	options_read(&options);
	loaded = modules_load("disk", &options);
	/* Without their drivers disks do not come. */
	wait_for_root(&options, loaded ? ROOT_DEADLINE_MS : 0, dev);
	mount_root(&options, dev);
	enter_root();
	mark();
	run_init(options.init, argv);
}
