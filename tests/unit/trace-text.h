/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What perf script prints of a recording, written line by line with the times that
 * a test chooses.  I/O thread N has id TEXT_IO + N, vCPU N has TEXT_VCPU + N.
 */
#pragma once

#include <stdint.h>

#include "vmm/trace/trace.h"

#define TEXT_IO 100
#define TEXT_VCPU 200

/* The first event's; all times are ns after it. */
#define TEXT_BEGIN 5000000000ULL

void text_begin(void);

/* @event of the thread @tid, on CPU 0 if that is an I/O thread, else on CPU 1. */
void text_event(unsigned tid, uint64_t ns, const char *event, ...)
	__attribute__((format(printf, 3, 4)));

/* As it stands. */
void text_raw(const char *line);

/* Guest and KVM: vCPU 0 writes to @address; the I/O thread 0 gets a CPU. */
void text_ring(uint64_t ns, uint64_t address, unsigned value);
void text_wake_up(uint64_t waking, uint64_t running);

/* The I/O thread 0; the doorbell of queue Q of disk D is at text_notify(D, Q). */
uint64_t text_notify(unsigned disk, unsigned queue);
void text_see(uint64_t ns, unsigned disk, unsigned queue);
void text_sleep(uint64_t ns);
void text_pop(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq);
void text_submit(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq, unsigned how);
void text_enter(uint64_t ns);
void text_complete(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq);
void text_push(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq);
void text_publish(uint64_t ns, unsigned disk, unsigned queue, unsigned count, unsigned wanted);
/* An MSI with this vector, to vCPU 0; and that KVM routes it and its local APIC takes it. */
void text_interrupt(uint64_t ns, unsigned disk, unsigned queue, unsigned how, unsigned vector);
void text_deliver(uint64_t routed, uint64_t accepted, unsigned vcpu, unsigned vector);

/* A request's whole way on the I/O thread, from pop to publish, a microsecond each. */
void text_request(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq, unsigned wanted);

/* Load what was written: it must go well. */
void text_load(struct trace *trace);

/* The text so far; valid until text_begin(). */
const char *text_written(size_t *len);

/* Of the request: ns after TEXT_BEGIN; UINT64_MAX: it has no such stamp. */
uint64_t text_stamp(const struct trace_request *request, enum trace_stamp stamp);
