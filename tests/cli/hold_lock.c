// SPDX-License-Identifier: BSD-2-Clause
/* hold_lock read|write FILE: hold a lock as vmm does until stdin ends. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char byte;
	int fd;

	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "read"))
		lock.l_type = F_RDLCK;
	fd = open(argv[2], O_RDWR);
	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock)) {
		perror(argv[2]);
		return 1;
	}
	puts("locked");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
