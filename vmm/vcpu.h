/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual CPU and its thread.  The thread runs the guest, sends the guest's
 * accesses to the buses, and comes back for nothing else.
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>

#include "hw/bus.h"
#include "vmm/vm.h"

struct boot_report;

/* Who serves a vCPU's accesses and hears of its end. */
struct vcpu_config {
	struct bus *pio, *mmio;
	/* The guest cannot go on; @status is an exit status.  On the vCPU's thread. */
	void (*ended)(void *opaque, int status);
	void *opaque;
	/* Atomic; once true, no vCPU enters the guest again. */
	const bool *over;
	/* Told of the first KVM_RUN and the first exit; NULL: nobody asked. */
	struct boot_report *report;
};

struct vcpu {
	int fd;
	unsigned index;
	struct kvm_run *run; /* shared with KVM; the thread's, but immediate_exit */
	size_t run_size;
	struct vcpu_config config;
	pthread_t thread;
	bool started;
	bool tsc_wanted; /* atomic: see vcpu_tell_tsc() */
};

/* Make vCPU number @index; 0 or -errno, having printed why. */
int vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned index, const struct vcpu_config *config);
/* Not running. */
void vcpu_destroy(struct vcpu *vcpu);

/* Run it on a thread of its own.  0 or -errno, having printed why. */
int vcpu_start(struct vcpu *vcpu);

/*
 * Have the vCPU's thread fire the probe that tells of the guest's TSC: KVM lets
 * nobody else ask while the guest runs.  It leaves the guest for that.
 */
void vcpu_tell_tsc(struct vcpu *vcpu);

/*
 * Once it is over: make the vCPU leave the guest, and wait until it has, which
 * takes some tens of microseconds.  To stop many, order them all first.
 */
void vcpu_order_stop(struct vcpu *vcpu);
void vcpu_stop(struct vcpu *vcpu);
