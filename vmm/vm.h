/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual machine as KVM sees it: memory slots, the in-kernel interrupt
 * controllers, message routes and doorbells.  What hw/ asks of a hypervisor is
 * answered here by op tables, whose opaque is the struct vm.
 *
 * Functions that return an error have printed it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/base/log.h"
#include "hw/doorbell.h"
#include "hw/irq_line.h"
#include "hw/msi.h"

struct vm_routes;

struct vm {
	int kvm_fd; /* /dev/kvm */
	int fd;
	size_t run_size; /* of a vCPU's struct kvm_run */
	bool any_length; /* doorbells may match writes of any width */
	pthread_mutex_t lock;
	struct vm_routes *routes; /* lock */
	struct log_limit messages;
};

/*
 * Print that KVM cannot do @what, for the reason in errno, and return that as
 * -errno.
 */
int kvm_error(const char *what);

/*
 * Open /dev/kvm, check that it has every capability used here and can run
 * @cpus vCPUs, and make a VM.  0 or -errno.
 */
int vm_create(struct vm *vm, unsigned cpus);
/* The vCPUs are gone. */
void vm_destroy(struct vm *vm);

/*
 * Back guest memory [gpa, gpa + len) by @host, as slot number @slot.  Before
 * vm_create_irqchip(): after it this takes a hundred times longer.
 */
int vm_add_memory(struct vm *vm, unsigned slot, uint64_t gpa, uint64_t len, void *host);

/* Local APICs, I/O APIC, PICs and PIT, in the kernel.  Before the first vCPU. */
int vm_create_irqchip(struct vm *vm);

extern const struct irq_line_ops vm_irq_line_ops;
extern const struct msi_ops vm_msi_ops;
extern const struct doorbell_ops vm_doorbell_ops;
