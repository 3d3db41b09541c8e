// SPDX-License-Identifier: BSD-2-Clause
/* trace_load_text(): from perf's lines to requests, whose times are known. */
#include <errno.h>
#include <string.h>

#include "tests/unit/files.h"
#include "tests/unit/trace-text.h"
#include "tests/unit/unit.h"
#include "vmm/trace/layers.h"

#define NONE UINT64_MAX

static struct trace trace;

static void setup(void)
{
	text_begin();
}

static void teardown(void)
{
	/* What belongs together is found so, and not by leaving out what contradicts it. */
	ck_assert_uint_eq(trace.counters.disordered, 0);
	trace_free(&trace);
}

/* The request with this number; it must be there once. */
static const struct trace_request *request(unsigned disk, unsigned queue, uint64_t seq)
{
	const struct trace_request *found = NULL;

	for (size_t i = 0; i < trace.request_count; i++) {
		const struct trace_request *r = &trace.request[i];

		if (r->disk != disk || r->queue != queue || r->seq != seq)
			continue;
		ck_assert_ptr_null(found);
		found = r;
	}
	ck_assert_ptr_nonnull(found);
	return found;
}

#define assert_stamp(r, stamp, ns) ck_assert_uint_eq(text_stamp(r, stamp), (ns))

/* On a host that shows all of it, each stage takes a time of its own. */
static void write_full_request(void)
{
	text_event(TEXT_VCPU, 0, "kvm:kvm_entry: vcpu 0, rip 0xffffffff81000000 intr_info 0x0");
	text_sleep(10);
	text_event(TEXT_VCPU, 1000, "kvm:kvm_exit: vcpu 0 reason npf rip 0xffffffff81000000 "
		   "info1 0x0 info2 0x0 intr_info 0x0 error_code 0x0 requests 0x0");
	text_ring(1001, text_notify(0, 0), 0);
	text_wake_up(1003, 1007);
	text_see(1010, 0, 0);
	text_pop(1015, 0, 0, 7);
	text_event(TEXT_VCPU, 1020, "kvm:kvm_entry: vcpu 0, rip 0xffffffff81000000");
	text_submit(1031, 0, 0, 7, 0);
	text_enter(1063);
	text_complete(1127, 0, 0, 7);
	text_push(1255, 0, 0, 7);
	text_publish(1511, 0, 0, 1, 1);
	text_interrupt(2023, 0, 0, 0, 48);
	text_deliver(3047, 5095, 0, 48);
	text_event(TEXT_VCPU, 6000, "kvm:kvm_exit: vcpu 0 reason interrupt rip 0x1 info1 0x0");
	text_event(TEXT_VCPU, 9191, "kvm:kvm_inj_virq: IRQ 0x30");
	text_event(TEXT_VCPU, 17383, "kvm:kvm_entry: vcpu 0, rip 0x1");
}

START_TEST(layers_are_exact)
{
	static const uint64_t expected[TRACE_LAYERS] = {
		[TRACE_LAYER_EXIT] = 1,
		[TRACE_LAYER_SIGNAL] = 2,
		[TRACE_LAYER_CPU] = 4,
		[TRACE_LAYER_POP] = 8,
		[TRACE_LAYER_SUBMIT] = 16 + 32,
		[TRACE_LAYER_DISK] = 64,
		[TRACE_LAYER_PUBLISH] = 128 + 256 + 512,
		[TRACE_LAYER_DELIVER] = 1024 + 2048,
		[TRACE_LAYER_INJECT] = 4096,
		[TRACE_LAYER_ENTRY] = 8192,
	};
	uint64_t ns[TRACE_LAYERS], sum = 0;
	const struct trace_request *r;

	write_full_request();
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 1);
	r = request(0, 0, 7);
	ck_assert_uint_eq(trace_layers(r, ns), 0x7fe);
	for (unsigned i = 0; i < TRACE_LAYERS; i++) {
		ck_assert_uint_eq(ns[i], expected[i]);
		sum += ns[i];
	}
	ck_assert_uint_eq(trace_whole(r), sum);
	ck_assert_uint_eq(trace_whole(r), 16383);
	ck_assert_uint_eq(r->doorbell, TRACE_OWN);
	ck_assert_uint_eq(r->interrupt, TRACE_OWN);
	ck_assert_uint_eq(r->bell_tid, TEXT_VCPU);
	ck_assert_uint_eq(r->tid, TEXT_IO);
	ck_assert_uint_eq(r->vcpu, 0);
	ck_assert_uint_eq(r->head, 7);
	ck_assert_uint_eq(r->sector, 56);
	ck_assert_uint_eq(r->len, 4096);
	ck_assert_uint_eq(trace.counters.events, 21);
	ck_assert_uint_eq(trace.begin, TEXT_BEGIN);
	ck_assert_uint_eq(trace.end, TEXT_BEGIN + 17383);
}
END_TEST

START_TEST(spans_are_of_threads)
{
	const struct trace_thread *vcpu, *io;

	write_full_request();
	text_load(&trace);
	vcpu = trace_thread(&trace, TEXT_VCPU);
	io = trace_thread(&trace, TEXT_IO);
	ck_assert_str_eq(vcpu->name, "vcpu0");
	ck_assert_uint_eq(vcpu->vcpu, 0);
	ck_assert(!vcpu->serves);
	ck_assert_str_eq(io->name, "io0");
	ck_assert(io->serves);
	ck_assert_uint_eq(io->sleeps, 1);
	/* Two exits; and the I/O thread ran from its wake-up to the end. */
	ck_assert_uint_eq(trace.span_count, 3);
	for (size_t i = 0; i < trace.span_count; i++) {
		const struct trace_span *span = &trace.span[i];

		if (span->kind == TRACE_SPAN_RUNNING) {
			ck_assert_ptr_eq(&trace.thread[span->thread], io);
			ck_assert_uint_eq(span->begin, TEXT_BEGIN + 1007);
			ck_assert_uint_eq(span->end, TEXT_BEGIN + 17383);
		} else if (!strcmp(trace.reason[span->reason].name, "npf")) {
			ck_assert_uint_eq(span->begin, TEXT_BEGIN + 1000);
			ck_assert_uint_eq(span->end, TEXT_BEGIN + 1020);
		} else {
			ck_assert_str_eq(trace.reason[span->reason].name, "interrupt");
			ck_assert_uint_eq(span->begin, TEXT_BEGIN + 6000);
			ck_assert_uint_eq(span->end, TEXT_BEGIN + 17383);
		}
	}
}
END_TEST

START_TEST(first_pop_owns_the_doorbell)
{
	text_sleep(0);
	text_ring(1000, text_notify(0, 0), 0);
	text_wake_up(1001, 1002);
	text_see(1003, 0, 0);
	text_pop(1010, 0, 0, 0);
	text_pop(1011, 0, 0, 1);
	text_pop(1012, 0, 0, 2);
	for (unsigned i = 0; i < 3; i++)
		text_push(1020 + i, 0, 0, i);
	text_publish(1030, 0, 0, 3, 0);
	/* Found while the thread goes on. */
	text_request(2000, 0, 0, 3, 0);
	text_load(&trace);

	ck_assert_uint_eq(trace.request_count, 4);
	ck_assert_uint_eq(request(0, 0, 0)->doorbell, TRACE_OWN);
	ck_assert_uint_eq(request(0, 0, 1)->doorbell, TRACE_COALESCED);
	ck_assert_uint_eq(request(0, 0, 2)->doorbell, TRACE_COALESCED);
	ck_assert_uint_eq(request(0, 0, 3)->doorbell, TRACE_POLLED);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 1000);
	for (unsigned seq = 1; seq < 4; seq++) {
		assert_stamp(request(0, 0, seq), TRACE_DOORBELL, NONE);
		assert_stamp(request(0, 0, seq), TRACE_WAKING, NONE);
		assert_stamp(request(0, 0, seq), TRACE_RUNNING, NONE);
		ck_assert_uint_eq(trace_first(request(0, 0, seq)), TRACE_POP);
	}
	ck_assert_uint_eq(trace.queue[0].doorbells, 1);
	ck_assert_uint_eq(trace.queue[0].pops, 4);
	ck_assert_uint_eq(trace.queue[0].suppressed, 2);
}
END_TEST

/* The thread is awake: nobody wakes it for the doorbell. */
START_TEST(awake_thread_has_no_wake_up)
{
	text_sleep(0);
	text_wake_up(100, 200);
	text_request(1000, 0, 0, 0, 0);
	text_ring(7000, text_notify(0, 0), 0);
	text_see(7100, 0, 0);
	text_request(8000, 0, 0, 1, 0);
	text_load(&trace);
	ck_assert_uint_eq(request(0, 0, 1)->doorbell, TRACE_OWN);
	assert_stamp(request(0, 0, 1), TRACE_DOORBELL, 7000);
	assert_stamp(request(0, 0, 1), TRACE_WAKING, NONE);
	assert_stamp(request(0, 0, 1), TRACE_RUNNING, NONE);
}
END_TEST

/* Somebody else had woken it, and it waits for a CPU. */
START_TEST(wake_up_for_another_reason)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 100, "sched:sched_waking: comm=io0 pid=%u prio=120 target_cpu=000",
		   TEXT_IO);
	text_ring(200, text_notify(0, 0), 0);
	text_event(TEXT_IO, 300, "PERF_RECORD_SWITCH IN         ");
	text_see(310, 0, 0);
	text_request(400, 0, 0, 0, 0);
	text_load(&trace);
	ck_assert_uint_eq(request(0, 0, 0)->doorbell, TRACE_OWN);
	assert_stamp(request(0, 0, 0), TRACE_WAKING, NONE);
	assert_stamp(request(0, 0, 0), TRACE_RUNNING, 300);
}
END_TEST

/* A request was popped before its doorbell came: that is not for the next one. */
START_TEST(late_doorbell_owns_nothing)
{
	text_sleep(0);
	text_wake_up(1, 2);
	text_request(1000, 0, 0, 0, 0);
	text_ring(7000, text_notify(0, 0), 0);
	text_see(7100, 0, 0);
	text_sleep(8000);
	text_wake_up(9000, 9001);
	text_request(10000, 0, 0, 1, 0);
	text_load(&trace);
	ck_assert_uint_eq(request(0, 0, 1)->doorbell, TRACE_POLLED);
	ck_assert_uint_eq(trace.queue[0].doorbells, 1);
	ck_assert_uint_eq(trace.queue[0].doorbells_idle, 1);
}
END_TEST

/* Two vCPUs ring; the one pop is for the first, and the second does not outlive it. */
START_TEST(second_doorbell_waits_for_nothing)
{
	text_sleep(0);
	text_ring(1000, text_notify(0, 0), 0);
	text_event(TEXT_VCPU + 1, 1100, "kvm:kvm_mmio: mmio write len 2 gpa 0x%llx val 0x0",
		   (unsigned long long)text_notify(0, 0));
	text_wake_up(1200, 1300);
	text_see(1400, 0, 0);
	text_request(2000, 0, 0, 0, 0);
	text_request(9000, 0, 0, 1, 0);
	text_load(&trace);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 1000);
	ck_assert_uint_eq(request(0, 0, 1)->doorbell, TRACE_POLLED);
	ck_assert_uint_eq(trace.queue[0].doorbells, 2);
	ck_assert_uint_eq(trace.queue[0].doorbells_extra, 1);
}
END_TEST

/* The first was seen, and there was nothing; the one that came meanwhile counts. */
START_TEST(doorbell_after_a_late_one)
{
	text_sleep(0);
	text_ring(1000, text_notify(0, 0), 0);
	text_see(1100, 0, 0);
	text_ring(1200, text_notify(0, 0), 0);
	text_sleep(1300);
	text_wake_up(1400, 1500);
	text_see(1600, 0, 0);
	text_request(2000, 0, 0, 0, 0);
	text_load(&trace);
	ck_assert_uint_eq(request(0, 0, 0)->doorbell, TRACE_OWN);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 1200);
	ck_assert_uint_eq(trace.queue[0].doorbells_idle, 1);
	ck_assert_uint_eq(trace.queue[0].doorbells_extra, 0);
}
END_TEST

START_TEST(doorbell_before_the_recording)
{
	/* Its round began before; then one whose doorbell only the thread saw. */
	text_request(0, 0, 0, 0, 0);
	text_sleep(10000);
	text_see(11000, 0, 0);
	text_request(12000, 0, 0, 1, 0);
	text_load(&trace);
	ck_assert_uint_eq(request(0, 0, 0)->doorbell, TRACE_UNKNOWN);
	ck_assert_uint_eq(request(0, 0, 1)->doorbell, TRACE_UNKNOWN);
}
END_TEST

/* Not only at the beginning: each that the thread sees must have been written. */
START_TEST(doorbell_that_nobody_wrote)
{
	text_sleep(0);
	text_ring(500, text_notify(0, 0), 0);
	text_see(600, 0, 0);
	text_request(1000, 0, 0, 0, 0);
	text_sleep(10000);
	text_see(11000, 0, 0);
	text_request(12000, 0, 0, 1, 0);
	text_load(&trace);
	ck_assert_uint_eq(request(0, 0, 0)->doorbell, TRACE_OWN);
	ck_assert_uint_eq(request(0, 0, 1)->doorbell, TRACE_UNKNOWN);
}
END_TEST

/* Each with an address of its own, and two disks with the same numbers. */
START_TEST(queues_and_disks_are_told_apart)
{
	static const unsigned id[][2] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 } };

	text_sleep(0);
	for (unsigned i = 0; i < 4; i++)
		text_ring(1000 + 10 * i, text_notify(id[i][0], id[i][1]), id[i][1]);
	text_wake_up(2000, 2001);
	for (unsigned i = 0; i < 4; i++)
		text_see(3000 + 10 * i, id[i][0], id[i][1]);
	for (unsigned i = 0; i < 4; i++)
		text_pop(4000 + 10 * i, id[3 - i][0], id[3 - i][1], 5);
	for (unsigned i = 0; i < 4; i++)
		text_push(5000 + 10 * i, id[i][0], id[i][1], 5);
	for (unsigned i = 0; i < 4; i++)
		text_publish(6000 + 10 * i, id[i][0], id[i][1], 1, 0);
	text_load(&trace);

	ck_assert_uint_eq(trace.request_count, 4);
	ck_assert_uint_eq(trace.queue_count, 4);
	for (unsigned i = 0; i < 4; i++) {
		const struct trace_request *r = request(id[i][0], id[i][1], 5);

		ck_assert_uint_eq(r->doorbell, TRACE_OWN);
		assert_stamp(r, TRACE_DOORBELL, 1000 + 10 * i);
		assert_stamp(r, TRACE_POP, 4000 + 10 * (3 - i));
		assert_stamp(r, TRACE_PUSH, 5000 + 10 * i);
		assert_stamp(r, TRACE_PUBLISH, 6000 + 10 * i);
		ck_assert_uint_eq(trace.queue[i].disk, id[i][0]);
		ck_assert_uint_eq(trace.queue[i].index, id[i][1]);
		ck_assert_uint_eq(trace.queue[i].doorbells, 1);
	}
}
END_TEST

static void pop_at(uint64_t ns, unsigned queue, uint64_t seq, uint64_t notify, unsigned bus)
{
	text_event(TEXT_IO, ns, "sdt_vmm:pop: (55a9197c40f9) arg1=0 arg2=%u arg3=%u arg4=0 arg5=0 "
		   "arg6=0 arg7=512 arg8=%u arg9=%u", queue, (unsigned)seq, (unsigned)notify, bus);
}

/* The legacy and the MMIO transport: the value names the queue. */
START_TEST(shared_address)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 1000, "kvm:kvm_pio: pio_write at 0xc010 size 2 count 1 val 0x1 ");
	text_wake_up(1001, 1002);
	text_see(1003, 0, 1);
	pop_at(1010, 1, 0, 0xc010, 1);
	text_push(1020, 0, 1, 0);
	text_publish(1030, 0, 1, 1, 0);
	text_event(TEXT_VCPU, 2000, "kvm:kvm_pio: pio_write at 0xc010 size 2 count 1 val 0x0 ");
	text_see(2003, 0, 0);
	pop_at(2010, 0, 0, 0xc010, 1);
	text_push(2020, 0, 0, 0);
	text_publish(2030, 0, 0, 1, 0);
	/* Of no queue that is known; and memory at the same address. */
	text_event(TEXT_VCPU, 3000, "kvm:kvm_pio: pio_write at 0xc010 size 2 count 1 val 0x7 ");
	text_ring(3100, 0xc010, 0);
	text_load(&trace);

	assert_stamp(request(0, 1, 0), TRACE_DOORBELL, 1000);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 2000);
	ck_assert_uint_eq(trace.queue[0].doorbells, 1);
	ck_assert_uint_eq(trace.queue[1].doorbells, 1);
	ck_assert_uint_eq(trace.counters.doorbells_unclear, 1);
}
END_TEST

/* The upper half of what is written is where the driver is (NOTIFICATION_DATA). */
START_TEST(shared_address_with_data)
{
	text_sleep(0);
	text_ring(1000, 0xd0000050, 0x80010001);
	text_see(1003, 0, 1);
	pop_at(1010, 1, 0, 0xd0000050, 0);
	text_push(1020, 0, 1, 0);
	text_publish(1030, 0, 1, 1, 0);
	text_sleep(1500);
	pop_at(2010, 0, 0, 0xd0000050, 0);
	text_push(2020, 0, 0, 0);
	text_publish(2030, 0, 0, 1, 0);
	text_load(&trace);
	assert_stamp(request(0, 1, 0), TRACE_DOORBELL, 1000);
	ck_assert_uint_eq(request(0, 0, 0)->doorbell, TRACE_POLLED);
}
END_TEST

/* The driver moves the device's registers: the old address is nobody's. */
START_TEST(address_moves)
{
	text_sleep(0);
	text_ring(1000, 0xd0000000, 0);
	text_see(1003, 0, 0);
	pop_at(1010, 0, 0, 0xd0000000, 0);
	text_push(1020, 0, 0, 0);
	text_publish(1030, 0, 0, 1, 0);
	text_event(TEXT_IO, 1500, "sdt_vmm:queue_start: (55a9197c40f9) arg1=0 arg2=0 arg3=256 "
		   "arg4=0 arg5=%u arg6=0", 0xe0000000);
	text_ring(2000, 0xd0000000, 0);
	text_ring(2100, 0xe0000000, 0);
	text_see(2200, 0, 0);
	pop_at(2300, 0, 1, 0xe0000000, 0);
	text_push(2400, 0, 0, 1);
	text_publish(2500, 0, 0, 1, 0);
	text_load(&trace);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 1000);
	assert_stamp(request(0, 0, 1), TRACE_DOORBELL, 2100);
	ck_assert_uint_eq(trace.queue[0].doorbells, 2);
}
END_TEST

/* --doorbell=exit: KVM tells of the write, and then vmm's exit does. */
START_TEST(doorbell_by_an_exit_counts_once)
{
	text_sleep(0);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = 10000 * i;

		text_ring(at + 1000, text_notify(0, 0), 0);
		text_event(TEXT_VCPU, at + 1100, "sdt_vmm:exit_mmio: (55a9197c40f9) arg1=0 "
			   "arg2=%lld arg3=2 arg4=1 arg5=0", (long long)text_notify(0, 0));
		text_wake_up(at + 1200, at + 1300);
		text_see(at + 1400, 0, 0);
		text_request(at + 1500, 0, 0, i, 0);
		text_sleep(at + 9000);
	}
	/* Another one, of which KVM's event is missing. */
	text_event(TEXT_VCPU, 21100, "sdt_vmm:exit_mmio: (55a9197c40f9) arg1=0 arg2=%lld arg3=2 "
		   "arg4=1 arg5=0", (long long)text_notify(0, 0));
	text_load(&trace);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 1000);
	assert_stamp(request(0, 0, 1), TRACE_DOORBELL, 11000);
	ck_assert_uint_eq(trace.queue[0].doorbells, 3);
	ck_assert_uint_eq(trace.queue[0].doorbells_extra, 0);
}
END_TEST

/* Only vmm's probe tells, where KVM's events were not recorded. */
START_TEST(doorbell_by_the_exit_probe_alone)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 1000, "sdt_vmm:exit_mmio: (55a9197c40f9) arg1=0 arg2=%lld arg3=2 "
		   "arg4=1 arg5=0", (long long)text_notify(0, 0));
	/* A read is none. */
	text_event(TEXT_VCPU, 1050, "sdt_vmm:exit_mmio: (55a9197c40f9) arg1=0 arg2=%lld arg3=2 "
		   "arg4=0 arg5=0", (long long)text_notify(0, 0));
	text_see(1100, 0, 0);
	text_request(1500, 0, 0, 0, 0);
	text_load(&trace);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 1000);
	ck_assert_uint_eq(trace.queue[0].doorbells, 1);
}
END_TEST

START_TEST(fast_mmio)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 1000, "kvm:kvm_fast_mmio: fast mmio at gpa 0x%llx",
		   (unsigned long long)text_notify(0, 0));
	text_see(1100, 0, 0);
	text_request(1500, 0, 0, 0, 0);
	text_load(&trace);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 1000);
}
END_TEST

/* --- Interrupts --- */

START_TEST(first_of_a_batch_owns_the_interrupt)
{
	text_sleep(0);
	for (unsigned i = 0; i < 3; i++)
		text_pop(1000 + i, 0, 0, i);
	/* Done in another order. */
	text_push(2000, 0, 0, 2);
	text_push(2001, 0, 0, 0);
	text_push(2002, 0, 0, 1);
	text_publish(3000, 0, 0, 3, 1);
	text_interrupt(3001, 0, 0, 0, 33);
	text_deliver(3002, 3003, 1, 33);
	text_load(&trace);

	ck_assert_uint_eq(request(0, 0, 2)->interrupt, TRACE_OWN);
	assert_stamp(request(0, 0, 2), TRACE_INTERRUPT, 3001);
	assert_stamp(request(0, 0, 2), TRACE_ROUTED, 3002);
	assert_stamp(request(0, 0, 2), TRACE_ACCEPT, 3003);
	ck_assert_uint_eq(request(0, 0, 2)->vcpu, 1);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(request(0, 0, i)->interrupt, TRACE_COALESCED);
		assert_stamp(request(0, 0, i), TRACE_PUBLISH, 3000);
		assert_stamp(request(0, 0, i), TRACE_INTERRUPT, NONE);
		ck_assert_uint_eq(trace_last(request(0, 0, i)), TRACE_PUBLISH);
	}
	ck_assert_uint_eq(trace.queue[0].interrupts, 1);
}
END_TEST

START_TEST(interrupts_suppressed_and_held)
{
	text_sleep(0);
	text_request(1000, 0, 0, 0, 0);
	for (unsigned how = 2; how <= 5; how++) {
		text_request(10000 * how, 0, 0, how, 1);
		text_interrupt(10000 * how + 6000, 0, 0, how, 33);
	}
	text_load(&trace);
	ck_assert_uint_eq(request(0, 0, 0)->interrupt, TRACE_SUPPRESSED);
	for (unsigned how = 2; how <= 5; how++) {
		ck_assert_uint_eq(request(0, 0, how)->interrupt, TRACE_HELD);
		assert_stamp(request(0, 0, how), TRACE_INTERRUPT, NONE);
	}
	ck_assert_uint_eq(trace.queue[0].held, 4);
	ck_assert_uint_eq(trace.queue[0].suppressed, 1);
	ck_assert_uint_eq(trace.queue[0].interrupts, 0);
}
END_TEST

/* What another interrupt of the thread's does is not taken for it. */
START_TEST(other_interrupts_are_not_mixed_in)
{
	text_sleep(0);
	text_pop(1000, 0, 0, 0);
	text_pop(1001, 0, 1, 0);
	text_push(2000, 0, 0, 0);
	text_push(2001, 0, 1, 0);
	text_publish(3000, 0, 0, 1, 1);
	text_interrupt(3001, 0, 0, 0, 33);
	/* Its message is not in the recording, but another one is. */
	text_event(TEXT_IO, 3002, "kvm:kvm_msi_set_irq: dst 0 vec 99 (Fixed|physical|edge)");
	text_event(TEXT_VCPU, 3003, "kvm:kvm_msi_set_irq: dst 0 vec 33 (Fixed|physical|edge)");
	text_publish(4000, 0, 1, 1, 1);
	text_interrupt(4001, 0, 1, 0, 34);
	text_deliver(4002, 4003, 0, 34);
	/* That of the configuration is nobody's. */
	text_interrupt(5000, 0, 65535, 0, 35);
	text_deliver(5001, 5002, 0, 35);
	text_load(&trace);
	assert_stamp(request(0, 0, 0), TRACE_INTERRUPT, 3001);
	assert_stamp(request(0, 0, 0), TRACE_ROUTED, NONE);
	assert_stamp(request(0, 0, 0), TRACE_ACCEPT, NONE);
	assert_stamp(request(0, 1, 0), TRACE_ROUTED, 4002);
	assert_stamp(request(0, 1, 0), TRACE_ACCEPT, 4003);
	ck_assert_uint_eq(trace.queue_count, 2);
	ck_assert_uint_eq(trace.queue[0].interrupts, 1);
	ck_assert_uint_eq(trace.queue[1].interrupts, 1);
}
END_TEST

START_TEST(interrupt_line)
{
	text_sleep(0);
	text_request(1000, 0, 0, 0, 1);
	text_event(TEXT_IO, 7000, "sdt_vmm:interrupt: (55a9197c40f9) arg1=0 arg2=0 arg3=1 arg4=17 "
		   "arg5=0");
	text_event(TEXT_IO, 7001, "kvm:kvm_set_irq: gsi 16 level 1 source 0");
	text_event(TEXT_IO, 7002, "kvm:kvm_set_irq: gsi 17 level 1 source 0");
	text_event(TEXT_IO, 7003, "kvm:kvm_apic_accept_irq: apicid 0 vec 55 (Fixed|level)");
	text_event(TEXT_VCPU, 8000, "kvm:kvm_inj_virq: irq 55");
	text_event(TEXT_VCPU, 8001, "kvm:kvm_entry: vcpu 0");
	text_load(&trace);
	assert_stamp(request(0, 0, 0), TRACE_INTERRUPT, 7000);
	assert_stamp(request(0, 0, 0), TRACE_ROUTED, 7002);
	assert_stamp(request(0, 0, 0), TRACE_ACCEPT, 7003);
	assert_stamp(request(0, 0, 0), TRACE_INJECT, 8000);
	assert_stamp(request(0, 0, 0), TRACE_ENTRY, 8001);
}
END_TEST

/* The same vector twice before the vCPU takes it: one injection is for both. */
START_TEST(one_injection_for_two)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 1, "kvm:kvm_entry: vcpu 0, rip 0x1");
	for (unsigned i = 0; i < 2; i++) {
		text_request(10000 * i + 1000, 0, 0, i, 1);
		text_interrupt(10000 * i + 7000, 0, 0, 0, 33);
		text_deliver(10000 * i + 7001, 10000 * i + 7002, 0, 33);
	}
	text_event(TEXT_VCPU, 30000, "kvm:kvm_inj_virq: IRQ 0x22");
	text_event(TEXT_VCPU, 30001, "kvm:kvm_entry: vcpu 0, rip 0x1");
	text_event(TEXT_VCPU, 40000, "kvm:kvm_inj_virq: IRQ 0x21 [reinjected]");
	text_event(TEXT_VCPU, 40001, "kvm:kvm_entry: vcpu 0, rip 0x1");
	text_load(&trace);
	for (unsigned i = 0; i < 2; i++) {
		assert_stamp(request(0, 0, i), TRACE_INJECT, 40000);
		assert_stamp(request(0, 0, i), TRACE_ENTRY, 40001);
	}
}
END_TEST

/* With APICv, a vCPU in the guest has the interrupt at once; others when they enter. */
START_TEST(posted_interrupts)
{
	static const unsigned exits[] = { 0, 1 };

	text_sleep(0);
	text_event(TEXT_VCPU, 1, "kvm:kvm_entry: vcpu 0, rip 0x1");
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = 20000 * i;

		text_request(at + 1000, 0, 0, i, 1);
		if (exits[i])
			text_event(TEXT_VCPU, at + 6500, "kvm:kvm_exit: vcpu 0 reason HLT rip 0x1");
		text_interrupt(at + 7000, 0, 0, 0, 33);
		text_deliver(at + 7001, at + 7002, 0, 33);
		text_event(TEXT_IO, at + 7003,
			   "kvm:kvm_apicv_accept_irq: apicid 0 vec 33 (Fixed|edge)");
		text_event(TEXT_VCPU, at + 9000, "kvm:kvm_entry: vcpu 0, rip 0x1");
	}
	/* Some other is injected: the host shows that, when there is such. */
	text_event(TEXT_VCPU, 50000, "kvm:kvm_inj_virq: IRQ 0xec");
	text_event(TEXT_VCPU, 50001, "kvm:kvm_entry: vcpu 0, rip 0x1");
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 2);
	assert_stamp(request(0, 0, 0), TRACE_ACCEPT, 7002);
	assert_stamp(request(0, 0, 0), TRACE_ENTRY, NONE);
	assert_stamp(request(0, 0, 1), TRACE_ACCEPT, 27002);
	assert_stamp(request(0, 0, 1), TRACE_INJECT, NONE);
	assert_stamp(request(0, 0, 1), TRACE_ENTRY, 29000);
}
END_TEST

/* --- Both ends, and what is missing --- */

START_TEST(both_ends_of_the_recording)
{
	/* Popped before. */
	text_complete(0, 0, 0, 4);
	text_push(1, 0, 0, 4);
	text_publish(2, 0, 0, 1, 0);
	text_request(1000, 0, 0, 5, 0);
	/* Not done; not published; and one whose interrupt is still to be injected. */
	text_event(TEXT_VCPU, 9000, "kvm:kvm_inj_virq: IRQ 0xec");
	text_pop(10000, 0, 0, 6);
	text_pop(10001, 0, 0, 7);
	text_push(10002, 0, 0, 7);
	text_request(20000, 0, 1, 0, 1);
	text_interrupt(27000, 0, 1, 0, 33);
	text_deliver(27001, 27002, 0, 33);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 1);
	request(0, 0, 5);
	ck_assert_uint_eq(trace.counters.begun_before, 1);
	ck_assert_uint_eq(trace.counters.not_ended, 3);
	ck_assert_uint_eq(trace.counters.torn, 0);
	ck_assert_uint_eq(trace.counters.stray, 0);
}
END_TEST

/* Between 20000 and 40000 perf had no room on CPU 0. */
START_TEST(lost_events_tear_what_is_under_way)
{
	text_sleep(0);
	text_request(1000, 0, 0, 0, 0);
	text_pop(10000, 0, 0, 1);
	text_pop(20000, 0, 0, 2);
	text_ring(25000, text_notify(0, 0), 0);
	text_event(TEXT_IO, 40000, "PERF_RECORD_LOST lost 12");
	text_push(40000, 0, 0, 1);
	text_publish(40001, 0, 0, 1, 0);
	/* 3 and 4 were lost as a whole. */
	text_request(50000, 0, 0, 5, 0);
	text_request(60000, 0, 0, 6, 0);
	text_load(&trace);

	ck_assert_uint_eq(trace.counters.lost, 12);
	ck_assert_uint_eq(trace.counters.lost_at, TEXT_BEGIN + 20000);
	ck_assert_uint_eq(trace.request_count, 3);
	request(0, 0, 0);
	/* Its doorbell may be among what was lost; the next one's is not. */
	ck_assert_uint_eq(request(0, 0, 5)->doorbell, TRACE_UNKNOWN);
	ck_assert_uint_eq(request(0, 0, 6)->doorbell, TRACE_POLLED);
	ck_assert_uint_eq(trace.counters.torn, 4);
	ck_assert_uint_eq(trace.counters.stray, 0);
}
END_TEST

/* The publish of the one and the push of the other are lost: they stay apart. */
START_TEST(lost_events_never_mix_requests)
{
	text_sleep(0);
	text_pop(1000, 0, 0, 0);
	text_submit(1001, 0, 0, 0, 0);
	text_event(TEXT_IO, 5000, "PERF_RECORD_LOST lost 3");
	text_pop(5000, 0, 0, 1);
	text_submit(5001, 0, 0, 1, 0);
	text_enter(5002);
	text_push(5003, 0, 0, 1);
	text_publish(5004, 0, 0, 1, 1);
	text_interrupt(5005, 0, 0, 0, 33);
	text_event(TEXT_IO, 9000, "PERF_RECORD_LOST lost 2");
	text_deliver(9000, 9001, 0, 33);
	text_request(20000, 0, 0, 2, 1);
	text_interrupt(27000, 0, 0, 0, 33);
	text_deliver(27001, 27002, 0, 33);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 1);
	assert_stamp(request(0, 0, 2), TRACE_ACCEPT, 27002);
	ck_assert_uint_eq(trace.counters.torn, 2);
	ck_assert_uint_eq(trace.counters.lost, 5);
}
END_TEST

/* On a CPU that has nothing to do with a request, too: nobody knows what it was. */
START_TEST(lost_events_of_another_cpu)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 500, "kvm:kvm_entry: vcpu 0");
	text_request(1000, 0, 0, 0, 0);
	text_request(7500, 0, 0, 1, 0);
	text_event(TEXT_VCPU, 8000, "PERF_RECORD_LOST lost 1");
	text_event(TEXT_VCPU, 8000, "kvm:kvm_entry: vcpu 0");
	text_request(19000, 0, 0, 2, 0);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 1);
	request(0, 0, 2);
	ck_assert_uint_eq(trace.counters.torn, 2);
}
END_TEST

/* The loss that ends last began first. */
START_TEST(lost_events_on_two_cpus)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 500, "kvm:kvm_entry: vcpu 0");
	text_request(1000, 0, 0, 0, 0);
	text_sleep(14000);
	text_event(TEXT_IO, 15000, "PERF_RECORD_LOST lost 1");
	text_event(TEXT_VCPU, 20000, "PERF_RECORD_LOST lost 1");
	text_request(21000, 0, 0, 1, 0);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 1);
	request(0, 0, 1);
	ck_assert_uint_eq(trace.counters.torn, 1);
}
END_TEST

/* Two were published, and the push of the first, which has the interrupt, was lost. */
START_TEST(lost_events_hide_an_owner)
{
	text_sleep(0);
	text_pop(1000, 0, 0, 0);
	text_pop(1001, 0, 0, 1);
	text_push(2000, 0, 0, 0);
	text_event(TEXT_IO, 5000, "PERF_RECORD_LOST lost 2");
	text_pop(5001, 0, 0, 2);
	text_push(5002, 0, 0, 2);
	text_publish(5003, 0, 0, 2, 1);
	text_interrupt(5004, 0, 0, 0, 33);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 1);
	ck_assert_uint_eq(request(0, 0, 2)->interrupt, TRACE_UNKNOWN);
	assert_stamp(request(0, 0, 2), TRACE_INTERRUPT, NONE);
}
END_TEST

/* A pop is missing, and perf does not say why. */
START_TEST(gap_in_the_numbers)
{
	text_sleep(0);
	text_request(1000, 0, 0, 0, 0);
	text_sleep(7000);
	text_ring(8000, text_notify(0, 0), 0);
	text_see(8500, 0, 0);
	text_request(10000, 0, 0, 2, 0);
	text_request(20000, 0, 0, 2, 0);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 2);
	ck_assert_uint_ne(request(0, 0, 2)->doorbell, TRACE_OWN);
	ck_assert_uint_eq(trace.counters.not_ended, 0);
	ck_assert_uint_eq(trace.counters.torn, 1);
	ck_assert_uint_gt(trace.counters.stray, 0);
}
END_TEST

/* A publish is missing: what it published is not taken for what the next one does. */
START_TEST(publish_missing)
{
	text_sleep(0);
	text_pop(1000, 0, 0, 0);
	text_pop(1001, 0, 0, 1);
	text_push(2000, 0, 0, 0);
	text_push(3000, 0, 0, 1);
	text_publish(3001, 0, 0, 1, 1);
	text_interrupt(3002, 0, 0, 0, 33);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 1);
	ck_assert_uint_eq(request(0, 0, 1)->interrupt, TRACE_OWN);
	ck_assert_uint_eq(trace.counters.not_ended, 1);
}
END_TEST

START_TEST(lines_in_any_order)
{
	text_request(1000, 0, 0, 0, 0);
	text_sleep(0);
	text_see(901, 0, 0);
	text_ring(900, text_notify(0, 0), 0);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 1);
	ck_assert_uint_eq(request(0, 0, 0)->doorbell, TRACE_OWN);
	assert_stamp(request(0, 0, 0), TRACE_DOORBELL, 900);
}
END_TEST

START_TEST(requests_without_a_disk)
{
	uint64_t ns[TRACE_LAYERS];

	text_sleep(0);
	text_pop(1000, 0, 0, 0);
	text_push(1010, 0, 0, 0);
	text_publish(1020, 0, 0, 1, 0);
	/* And one whose I/O is a system call. */
	text_pop(2000, 0, 0, 1);
	text_submit(2001, 0, 0, 1, 1);
	text_enter(2003);
	text_complete(2005, 0, 0, 1);
	text_push(2006, 0, 0, 1);
	text_publish(2007, 0, 0, 1, 0);
	text_load(&trace);
	ck_assert_uint_eq(trace_layers(request(0, 0, 0), ns), 1u << TRACE_LAYER_PUBLISH);
	ck_assert_uint_eq(ns[TRACE_LAYER_PUBLISH], 20);
	assert_stamp(request(0, 0, 1), TRACE_ENTER, NONE);
	trace_layers(request(0, 0, 1), ns);
	ck_assert_uint_eq(ns[TRACE_LAYER_SUBMIT], 1);
	ck_assert_uint_eq(ns[TRACE_LAYER_DISK], 4);
}
END_TEST

START_TEST(metadata)
{
	text_sleep(0);
	text_event(TEXT_IO, 1, "sdt_vmm:clock: (1) arg1=123456789 arg2=5000000001 arg3=77");
	/* "disk-0.img" and an escape character. */
	text_event(TEXT_IO, 2, "sdt_vmm:disk: (1) arg1=0 arg2=4 arg3=%lld arg4=%d arg5=0 arg6=0 "
		   "arg7=0 arg8=0 arg9=0 arg10=0", 0x6d692e302d1b6964LL, 0x67);
	text_event(TEXT_IO, 3, "sdt_vmm:vcpu_tsc: (1) arg1=1 arg2=%u arg3=-1000 arg4=1",
		   TEXT_VCPU + 1);
	text_event(TEXT_VCPU + 1, 4, "kvm:kvm_entry: vcpu 1, rip 0x1");
	text_request(1000, 0, 0, 0, 0);
	text_event(TEXT_IO, 9001, "sdt_vmm:clock: (1) arg1=223456789 arg2=5000000002 arg3=78");
	text_load(&trace);
	ck_assert_uint_eq(trace.clock_count, 2);
	ck_assert_uint_eq(trace.clock[0].tsc, 123456789);
	ck_assert_uint_eq(trace.clock[1].monotonic, 5000000002);
	ck_assert_uint_eq(trace.clock[1].tsc_error, 78);
	ck_assert_uint_eq(trace.disk_count, 1);
	ck_assert_uint_eq(trace.disk[0].queues, 4);
	ck_assert_str_eq(trace.disk[0].name, "di?-0.img");
	ck_assert(trace_thread(&trace, TEXT_VCPU + 1)->tsc_known);
	ck_assert_uint_eq(trace_thread(&trace, TEXT_VCPU + 1)->tsc_offset, (uint64_t)-1000);
	ck_assert_uint_eq(trace_thread(&trace, TEXT_VCPU + 1)->vcpu, 1);
}
END_TEST

/* --- Hostile text --- */

/* What a load of @text says on stderr, to be freed; it must fail with @error. */
static char *refused(const char *text, size_t len, int error)
{
	FILE *in = fmemopen((void *)text, len, "r");
	struct trace loaded;
	int ret;

	ck_assert_ptr_nonnull(in);
	files_capture();
	ret = trace_load_text(&loaded, in, "x.txt");
	fclose(in);
	ck_assert_int_eq(ret, error);
	return files_captured();
}

START_TEST(text_that_is_no_recording)
{
	static const char other[] = "             foo  1 [000] 1.000000: cycles: 1234\n";
	static const char none[] = "Dear Sir or Madam,\n\nnothing\n";
	char *said = refused(other, sizeof(other) - 1, -ENODATA);

	ck_assert_ptr_nonnull(strstr(said, "x.txt: no request of a vmm in it"));
	ck_assert_ptr_null(strstr(said, "lines"));
	free(said);
	said = refused(none, sizeof(none) - 1, -ENODATA);
	ck_assert_ptr_nonnull(strstr(said, "x.txt: 2 lines of it are not of perf script"));
	free(said);
}
END_TEST

START_TEST(names_may_be_anything)
{
	text_sleep(0);
	text_raw(" 7 [000] 1.0: sd   999 [000]     5.000000500: sdt_vmm:sleep: (1) arg1=0\n");
	text_raw("       \033[2J x  y   998 [000]     5.000000501: sdt_vmm:sleep: (1) arg1=0\n");
	text_raw("         \xc2\x9b" "2J \xc3\xa9   997 [000]     5.000000501: sdt_vmm:sleep: (1) arg1=0\n");
	text_raw("             io0   100 [000]     5.000000502: sched:sched_waking: comm=a pid=7 b "
		 "pid=100 prio=120 target_cpu=000\n");
	text_request(1000, 0, 0, 0, 0);
	text_load(&trace);
	ck_assert_uint_eq(trace.counters.broken, 0);
	ck_assert_str_eq(trace_thread(&trace, 999)->name, "7 [000] 1.0: sd");
	ck_assert_str_eq(trace_thread(&trace, 998)->name, "?[2J x  y");
	ck_assert_str_eq(trace_thread(&trace, 997)->name, "\xc2?2J \xc3\xa9");
}
END_TEST

START_TEST(broken_lines_are_counted)
{
	static const char *const lines[] = {
		"io0   100 [000]     5.000000500: sdt_vmm:sleep: (1) arg1=0\n",
		"             io0   100 [000]     5.000000500 sdt_vmm:sleep: (1) arg1=0\n",
		"             io0   100 [000]     5: sdt_vmm:sleep: (1) arg1=0\n",
		"             io0   100 [000]     0.000000000: sdt_vmm:sleep: (1) arg1=0\n",
		"             io0   100 [0x0]     5.000000500: sdt_vmm:sleep: (1) arg1=0\n",
		"             io0   100 [65535]     5.000000500: sdt_vmm:sleep: (1) arg1=0\n",
		"             io0 99999999999 [000]     5.000000500: sdt_vmm:sleep: (1) arg1=0\n",
		"             io0   100 [000] 99999999999999999999.0: sdt_vmm:sleep: (1) arg1=0\n",
		"             io0   100 [000] 9999999999999999999.0: sdt_vmm:sleep: (1) arg1=0\n",
		"             io0   100 [000]     5.000000500: sdt_vmm:pop: (1) arg1=0 arg2=0\n",
		"             io0   100 [000]     5.000000500: sdt_vmm:sleep: (1) arg1=\n",
		"             io0   100 [000]     5.000000500: sdt_vmm:sleep: (1) arg1=99999999999999999999\n",
		"             io0   100 [000]     5.000000500: kvm:kvm_mmio: mmio write len 2\n",
		"             io0   100 [000]     5.000000500: kvm:kvm_exit: vcpu 0\n",
		"             io0   100 [000]     5.000000500: PERF_RECORD_LOST lost x\n",
	};
	const unsigned count = sizeof(lines) / sizeof(*lines);

	text_sleep(0);
	for (unsigned i = 0; i < count; i++)
		text_raw(lines[i]);
	text_request(1000, 0, 0, 0, 0);
	text_load(&trace);
	ck_assert_uint_eq(trace.counters.broken, count);
	ck_assert_uint_eq(trace.counters.events, 2 + 6);
}
END_TEST

START_TEST(implausible_numbers)
{
	text_sleep(0);
	text_event(TEXT_IO, 10, "sdt_vmm:pop: (1) arg1=-1 arg2=99999 arg3=-1 arg4=-1 arg5=-1 "
		   "arg6=-1 arg7=-1 arg8=-1 arg9=-1");
	text_event(TEXT_IO, 11, "sdt_vmm:publish: (1) arg1=0 arg2=0 arg3=-1 arg4=1");
	text_event(TEXT_IO, 12, "sdt_vmm:push: (1) arg1=0 arg2=65534 arg3=-1 arg4=1 arg5=1 arg6=0");
	text_event(TEXT_IO, 13, "sdt_vmm:disk: (1) arg1=-1 arg2=-1 arg3=-1 arg4=-1 arg5=-1 arg6=-1 "
		   "arg7=-1 arg8=-1 arg9=-1 arg10=-1");
	text_event(TEXT_IO, 14, "sdt_vmm:vcpu_tsc: (1) arg1=-1 arg2=-1 arg3=-1 arg4=-1");
	text_event(TEXT_IO, 15, "kvm:kvm_apic_accept_irq: apicid ffffffff vec 4294967295 (|)");
	text_event(TEXT_IO, 16, "kvm:kvm_inj_virq: IRQ 0xffffffffffffffff");
	text_event(TEXT_IO, 17, "kvm:kvm_exit: vcpu 4294967295 reason ");
	text_request(1000, 0, 0, UINT64_MAX - 1, 0);
	text_request(9000, 0, 0, UINT64_MAX, 0);
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 2);
	ck_assert_uint_gt(trace.counters.stray, 0);
}
END_TEST

/* As good a fuzzer as fits into a second: under the sanitizers, nothing may happen. */
START_TEST(mutated_text)
{
	uint64_t random = 88172645463325252ULL;
	const char *text;
	size_t len;
	char *copy;

	write_full_request();
	text_event(TEXT_IO, 20000, "PERF_RECORD_LOST lost 1");
	for (unsigned i = 0; i < 4; i++)
		text_request(30000 + 10000 * i, 0, i % 2, 8 + i, i % 2);
	text_event(TEXT_IO, 80000, "sdt_vmm:clock: (1) arg1=1 arg2=2 arg3=3");
	text = text_written(&len);
	copy = malloc(len);
	ck_assert_ptr_nonnull(copy);
	for (unsigned round = 0; round < 3000; round++) {
		struct trace loaded;
		FILE *in;

		memcpy(copy, text, len);
		for (unsigned i = 0; i < 1 + round % 30; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			/* A byte from elsewhere in the text, or any. */
			copy[random % len] = random >> 60 ? text[(random >> 20) % len] :
				(char)(random >> 40);
		}
		in = fmemopen(copy, len, "r");
		ck_assert_ptr_nonnull(in);
		files_capture();
		if (!trace_load_text(&loaded, in, "mutated"))
			trace_free(&loaded);
		free(files_captured());
		fclose(in);
	}
	free(copy);
}
END_TEST

/* --- Events that cannot be in this order, or hardly --- */

/* The queue starts anew in the round in which its doorbell was seen, and is seen once more. */
START_TEST(queue_starts_while_it_is_seen)
{
	text_sleep(0);
	text_request(100, 0, 0, 0, 0);
	text_ring(10000, text_notify(0, 0), 0);
	text_see(10010, 0, 0);
	text_event(TEXT_VCPU, 10020, "sdt_vmm:queue_start: (1) arg1=0 arg2=0 arg3=256 arg4=0 "
		   "arg5=%llu arg6=0", (unsigned long long)text_notify(0, 0));
	text_ring(10030, text_notify(0, 0), 0);
	text_see(10040, 0, 0);
	text_sleep(10050);
	text_load(&trace);
	ck_assert_uint_eq(trace.queue[0].doorbells, 2);
}
END_TEST

/* Injected first, and then posted. */
START_TEST(posted_after_it_is_injected)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 1, "kvm:kvm_exit: vcpu 0 reason HLT rip 0x1");
	text_request(1000, 0, 0, 0, 1);
	text_interrupt(7000, 0, 0, 0, 33);
	text_deliver(7001, 7002, 0, 33);
	text_event(TEXT_VCPU, 7003, "kvm:kvm_inj_virq: IRQ 0x21");
	text_event(TEXT_IO, 7004, "kvm:kvm_apicv_accept_irq: apicid 0 vec 33 (Fixed|edge)");
	text_event(TEXT_VCPU, 7005, "kvm:kvm_entry: vcpu 0, rip 0x1");
	text_load(&trace);
	assert_stamp(request(0, 0, 0), TRACE_INJECT, 7003);
	assert_stamp(request(0, 0, 0), TRACE_ENTRY, 7005);
}
END_TEST

/* Submitted when their interrupts are under way already. */
START_TEST(submitted_after_they_are_published)
{
	text_sleep(0);
	text_event(TEXT_VCPU, 1, "kvm:kvm_entry: vcpu 0, rip 0x1");
	text_pop(1000, 0, 0, 0);
	text_pop(1010, 0, 0, 1);
	text_submit(1020, 0, 0, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = 10000 * (i + 1);

		text_push(at, 0, 0, !i);
		text_publish(at + 10, 0, 0, 1, 1);
		text_interrupt(at + 20, 0, 0, 0, 33);
		text_deliver(at + 30, at + 40, 0, 33);
	}
	text_submit(30000, 0, 0, 1, 0);
	text_enter(30010);
	text_event(TEXT_VCPU, 40000, "kvm:kvm_inj_virq: IRQ 0x21");
	text_event(TEXT_VCPU, 40001, "kvm:kvm_entry: vcpu 0, rip 0x1");
	text_load(&trace);
	ck_assert_uint_eq(trace.request_count, 2);
	ck_assert_uint_gt(trace.counters.disordered, 0);
	trace.counters.disordered = 0;
}
END_TEST

/* --- So many that a search for each would take minutes --- */

static void load_many(void)
{
	text_load(&trace);
	trace_free(&trace);
	text_begin();
	text_request(0, 0, 0, 0, 0);
}

START_TEST(much_of_everything)
{
	const unsigned many = 100000;
	char line[100];

	text_request(0, 0, 0, 0, 0);
	for (unsigned i = 0; i < many; i++) /* threads */
		text_event(1024 * (1 + i % 4000) + i / 4000, 6000 + i, "kvm:kvm_entry: vcpu 0");
	load_many();

	for (unsigned i = 0; i < TRACE_DISKS * TRACE_QUEUES; i++) /* queues at one address */
		text_event(TEXT_IO, 6000 + i, "sdt_vmm:pop: (1) arg1=%u arg2=%u arg3=0 arg4=0 "
			   "arg5=0 arg6=0 arg7=0 arg8=4096 arg9=0", i / TRACE_QUEUES,
			   i % TRACE_QUEUES);
	for (unsigned i = 0; i < many; i++)
		text_ring(100000 + i, 4096, i);
	load_many();

	for (unsigned i = 0; i < 30000; i++) { /* interrupts under way, of a thread each */
		uint64_t at = 10000 + 10 * i;
		unsigned tid = 1000 + i;

		text_pop(at, 0, 0, 1 + i);
		text_push(at, 0, 0, 1 + i);
		text_event(tid, at, "sdt_vmm:publish: (1) arg1=0 arg2=0 arg3=1 arg4=1");
		text_event(tid, at, "sdt_vmm:interrupt: (1) arg1=0 arg2=0 arg3=0 arg4=0 arg5=33");
		text_event(tid, at, "kvm:kvm_msi_set_irq: dst 0 vec 33 (Fixed|physical|edge)");
		text_event(tid, at, "kvm:kvm_apic_accept_irq: apicid 0 vec 33 (Fixed|edge)");
		text_event(tid, 1000000 + i, "kvm:kvm_apicv_accept_irq: apicid 0 vec 33 (edge)");
	}
	text_event(TEXT_VCPU, 2000000, "kvm:kvm_inj_virq: IRQ 0x21");
	load_many();

	text_raw("             io0   100 [8191]     5.000000000: sdt_vmm:sleep: (1) arg1=0\n");
	for (unsigned i = 0; i < many; i++) { /* losses on CPUs that are not known */
		snprintf(line, sizeof(line), "             io0   100 [-01]     5.%09u: "
			 "PERF_RECORD_LOST lost 1\n", 10000 + i);
		text_raw(line);
	}
	load_many();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace_join");

	unit_tcase_with(suite, "trace_join", setup, teardown,
			layers_are_exact, spans_are_of_threads,
			first_pop_owns_the_doorbell, awake_thread_has_no_wake_up,
			wake_up_for_another_reason, late_doorbell_owns_nothing,
			second_doorbell_waits_for_nothing, doorbell_after_a_late_one,
			doorbell_before_the_recording, doorbell_that_nobody_wrote,
			queues_and_disks_are_told_apart, shared_address,
			shared_address_with_data, address_moves,
			doorbell_by_an_exit_counts_once,
			doorbell_by_the_exit_probe_alone, fast_mmio,
			first_of_a_batch_owns_the_interrupt,
			interrupts_suppressed_and_held,
			other_interrupts_are_not_mixed_in, interrupt_line,
			one_injection_for_two, posted_interrupts,
			both_ends_of_the_recording, lost_events_tear_what_is_under_way,
			lost_events_never_mix_requests, lost_events_of_another_cpu,
			lost_events_on_two_cpus, lost_events_hide_an_owner,
			gap_in_the_numbers, publish_missing, lines_in_any_order,
			requests_without_a_disk, metadata, text_that_is_no_recording,
			names_may_be_anything, broken_lines_are_counted,
			implausible_numbers, mutated_text, queue_starts_while_it_is_seen,
			posted_after_it_is_injected, submitted_after_they_are_published,
			much_of_everything);
	return unit_run(suite);
}
