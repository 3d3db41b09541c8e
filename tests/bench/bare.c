// SPDX-License-Identifier: BSD-2-Clause
/*
 * usage: bare KERNEL MIB
 *
 * The least that a monitor can do before the first KVM_RUN: memory, interrupt
 * controllers, a vCPU, and the kernel's image in huge pages. What the vCPU runs
 * there is nothing.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_PAGE (2UL << 20)
#define KERNEL_AT (16UL << 20)

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	size_t len = argc > 2 ? (size_t)atoi(argv[2]) << 20 : 0;
	struct kvm_userspace_memory_region slot = { .memory_size = len };
	int image, kvm, vm, vcpu;
	struct stat st;
	char *ram;

	check(argc > 2, "usage: bare KERNEL MIB");
	image = open(argv[1], O_RDONLY);
	check(image >= 0 && !fstat(image, &st), argv[1]);
	ram = mmap(NULL, len + HUGE_PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	check(ram != MAP_FAILED, "mmap");
	ram += -(uintptr_t)ram % HUGE_PAGE;
	madvise(ram, len, MADV_HUGEPAGE);

	kvm = open("/dev/kvm", O_RDWR);
	check(kvm >= 0, "/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	check(vm >= 0, "KVM_CREATE_VM");
	/* Before the interrupt controllers: after them it takes far longer. */
	slot.userspace_addr = (uintptr_t)ram;
	check(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	check(!ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	check(vcpu >= 0, "KVM_CREATE_VCPU");
	check(pread(image, ram + KERNEL_AT, (size_t)st.st_size, 0) == st.st_size, "pread");
	return ioctl(vcpu, KVM_RUN, 0) < 0;
}
