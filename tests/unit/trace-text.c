// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/trace-text.h"

#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static FILE *file;
static char *text;
static size_t size;

void text_begin(void)
{
	if (file)
		fclose(file);
	free(text);
	text = NULL;
	file = open_memstream(&text, &size);
	ck_assert_ptr_nonnull(file);
}

void text_event(unsigned tid, uint64_t ns, const char *event, ...)
{
	bool is_vcpu = tid >= TEXT_VCPU;
	uint64_t time = TEXT_BEGIN + ns;
	char name[16];
	va_list args;

	snprintf(name, sizeof(name), "%s%u", is_vcpu ? "vcpu" : "io",
		 tid - (is_vcpu ? TEXT_VCPU : TEXT_IO));
	fprintf(file, "%16s %5u [%03d] %5" PRIu64 ".%09" PRIu64 ": ", name, tid, is_vcpu,
		time / 1000000000, time % 1000000000);
	va_start(args, event);
	vfprintf(file, event, args);
	va_end(args);
	putc('\n', file);
}

void text_raw(const char *line)
{
	fputs(line, file);
}

static void write_probe(uint64_t ns, const char *name, unsigned count, const uint64_t *arg)
{
	char args[256];
	int len = 0;

	for (unsigned i = 0; i < count; i++)
		len += snprintf(args + len, sizeof(args) - (size_t)len, " arg%u=%" PRId64, i + 1,
				(int64_t)arg[i]);
	text_event(TEXT_IO, ns, "%24s (55a9197c40f9)%s", name, args);
}

#define probe(ns, name, ...)                                                      \
	write_probe(ns, "sdt_vmm:" name ":",                                      \
		    sizeof((uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t),       \
		    (uint64_t[]){ __VA_ARGS__ })

uint64_t text_notify(unsigned disk, unsigned queue)
{
	return 0xc0003000 + 0x4000 * disk + 4 * queue;
}

void text_ring(uint64_t ns, uint64_t address, unsigned value)
{
	text_event(TEXT_VCPU, ns, "            kvm:kvm_mmio: mmio write len 2 gpa 0x%" PRIx64
		   " val 0x%x", address, value);
}

void text_wake_up(uint64_t waking, uint64_t running)
{
	text_event(TEXT_VCPU, waking, "sched:sched_waking: comm=io0 pid=%u prio=120 target_cpu=000",
		   TEXT_IO);
	text_event(TEXT_IO, running, "PERF_RECORD_SWITCH IN         ");
}

void text_see(uint64_t ns, unsigned disk, unsigned queue)
{
	probe(ns, "doorbell", disk, queue);
}

void text_sleep(uint64_t ns)
{
	probe(ns, "sleep", 0);
	text_event(TEXT_IO, ns + 1, "PERF_RECORD_SWITCH OUT        ");
}

void text_pop(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq)
{
	probe(ns, "pop", disk, queue, seq, seq % 16, 0, 8 * seq, 4096, text_notify(disk, queue), 0);
}

void text_submit(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq, unsigned how)
{
	probe(ns, "submit", disk, queue, seq, 0, 8 * seq, 4096, how);
}

void text_enter(uint64_t ns)
{
	probe(ns, "enter", 0, 1, 0);
}

void text_complete(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq)
{
	probe(ns, "complete", disk, queue, seq, 0);
}

void text_push(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq)
{
	probe(ns, "push", disk, queue, seq, seq % 16, 0, 4097);
}

void text_publish(uint64_t ns, unsigned disk, unsigned queue, unsigned count, unsigned wanted)
{
	probe(ns, "publish", disk, queue, count, wanted);
}

void text_interrupt(uint64_t ns, unsigned disk, unsigned queue, unsigned how, unsigned vector)
{
	probe(ns, "interrupt", disk, queue, how, 0xfee00000, vector);
}

void text_deliver(uint64_t routed, uint64_t accepted, unsigned vcpu, unsigned vector)
{
	text_event(TEXT_IO, routed, "kvm:kvm_msi_set_irq: dst 0 vec %u (Fixed|physical|edge)",
		   vector);
	text_event(TEXT_IO, accepted, "kvm:kvm_apic_accept_irq: apicid %x vec %u (Fixed|edge)",
		   vcpu, vector);
}

void text_request(uint64_t ns, unsigned disk, unsigned queue, uint64_t seq, unsigned wanted)
{
	text_pop(ns, disk, queue, seq);
	text_submit(ns + 1000, disk, queue, seq, 0);
	text_enter(ns + 2000);
	text_complete(ns + 3000, disk, queue, seq);
	text_push(ns + 4000, disk, queue, seq);
	text_publish(ns + 5000, disk, queue, 1, wanted);
}

const char *text_written(size_t *len)
{
	fflush(file);
	*len = size;
	return text;
}

void text_load(struct trace *trace)
{
	size_t len;
	const char *written = text_written(&len);
	FILE *in = fmemopen((void *)written, len, "r");

	ck_assert_ptr_nonnull(in);
	ck_assert_int_eq(trace_load_text(trace, in, "test"), 0);
	fclose(in);
}

uint64_t text_stamp(const struct trace_request *request, enum trace_stamp stamp)
{
	return request->t[stamp] ? request->t[stamp] - TEXT_BEGIN : UINT64_MAX;
}
