/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request of a recording, and when it passed which point of its way.  Times are
 * nanoseconds of CLOCK_MONOTONIC; 0 means that it was not seen.
 */
#pragma once

#include <stdint.h>

/* In the order in which a request passes them. */
enum trace_stamp {
	TRACE_ISSUE,     /* the guest's block layer gives it to the driver */
	TRACE_EXIT,      /* the vCPU leaves the guest: kvm_exit */
	TRACE_DOORBELL,  /* KVM decodes the doorbell: kvm_mmio, kvm_fast_mmio, kvm_pio */
	TRACE_WAKING,    /* the I/O thread is made runnable: sched_waking */
	TRACE_RUNNING,   /* it has a CPU */
	TRACE_POP,       /* it has taken the request from the ring */
	TRACE_SUBMIT,    /* the request's I/O is prepared; system calls inline begin here */
	TRACE_ENTER,     /* io_uring_enter hands it to the kernel */
	TRACE_COMPLETE,  /* the disk is done with it */
	TRACE_PUSH,      /* it is in the used ring ... */
	TRACE_PUBLISH,   /* ... and the driver can see it there */
	TRACE_INTERRUPT, /* the I/O thread sends the interrupt */
	TRACE_ROUTED,    /* KVM routes it: kvm_msi_set_irq, kvm_set_irq */
	TRACE_ACCEPT,    /* a local APIC takes it: kvm_apic_accept_irq */
	TRACE_INJECT,    /* it is injected: kvm_inj_virq */
	TRACE_ENTRY,     /* the vCPU enters the guest with it: kvm_entry */
	TRACE_DONE,      /* the guest's block layer has it back */
	TRACE_STAMPS
};

/*
 * A doorbell belongs to the first request that is popped after it, an interrupt to the
 * first of those that it publishes.
 */
enum trace_way {
	TRACE_OWN,
	TRACE_COALESCED,  /* popped in one round, or published, with one that has it */
	TRACE_POLLED,     /* no doorbell: found by a look into the ring */
	TRACE_SUPPRESSED, /* no interrupt: the driver does not want any */
	TRACE_HELD,       /* it could not be sent: masked, no vector, disabled */
	TRACE_UNKNOWN,    /* the recording cannot tell */
	TRACE_WAYS
};

struct trace_request {
	uint64_t t[TRACE_STAMPS];
	uint64_t seq;    /* the queue's running number */
	uint64_t sector; /* of 512 bytes */
	uint32_t len;    /* bytes of data */
	uint32_t tid;    /* the I/O thread's */
	uint32_t bell_tid; /* of the vCPU that rang; 0: no doorbell of its own */
	uint16_t disk, queue, head;
	uint16_t vcpu; /* that the interrupt went to; TRACE_NO_VCPU: not seen */
	uint8_t op;     /* VIRTIO_BLK_T_*; 255: unreadable */
	uint8_t status; /* VIRTIO_BLK_S_* */
	uint8_t doorbell, interrupt; /* enum trace_way */
};

#define TRACE_NO_VCPU 0xffff
