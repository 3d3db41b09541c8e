// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/events.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "hw/base/clock.h"
#include "hw/base/util.h"

/* The columns of a thread's name, which may contain anything. */
#define NAME_COLUMNS 16

static bool skip(const char **at, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(*at, prefix, len))
		return false;
	*at += len;
	return true;
}

static void skip_blanks(const char **at)
{
	while (**at == ' ')
		++*at;
}

static bool take_digits(const char **at, unsigned base, uint64_t *value)
{
	const char *begin = *at;

	for (*value = 0; isxdigit((unsigned char)**at); ++*at) {
		unsigned char c = (unsigned char)**at;
		unsigned digit = isdigit(c) ? c - '0' : (c | 0x20) - 'a' + 10;

		if (digit >= base)
			break;
		if (*value > (UINT64_MAX - digit) / base)
			return false;
		*value = *value * base + digit;
	}
	return *at != begin;
}

/* What %d, %u or %#x printed; a negative number modulo 2^64. */
static bool take_number(const char **at, uint64_t *value)
{
	bool negative = skip(at, "-");
	bool hex = skip(at, "0x");

	if (!take_digits(at, hex ? 16 : 10, value))
		return false;
	if (negative)
		*value = -*value;
	return true;
}

/* The number after @key, somewhere in the rest of the line. */
static bool find_number(const char *text, const char *key, bool plain_hex, uint64_t *value)
{
	const char *at = strstr(text, key);

	if (!at)
		return false;
	at += strlen(key);
	return plain_hex ? take_digits(&at, 16, value) : take_number(&at, value);
}

/* --- The kernel's events: 1 used, 0 of no interest, -EINVAL --- */

static int result(bool ok)
{
	return ok ? 1 : -EINVAL;
}

static int parse_entry(struct trace_event *event, const char *text)
{
	if (!find_number(text, "vcpu ", false, &event->arg[0]) || event->arg[0] > TRACE_NO_VCPU)
		event->arg[0] = TRACE_NO_VCPU;
	return 1;
}

static int parse_exit(struct trace_event *event, const char *text)
{
	event->reason = strstr(text, "reason ");
	if (!event->reason)
		return -EINVAL;
	event->reason += strlen("reason ");
	event->reason_len = strcspn(event->reason, " \n");
	return parse_entry(event, text);
}

/* Before Linux 6.0 it has another form. */
static int parse_inject(struct trace_event *event, const char *text)
{
	if (strstr(text, "Soft/INTn"))
		return 0;
	return result(find_number(text, "IRQ ", false, &event->arg[0]) ||
		      find_number(text, "irq ", false, &event->arg[0]));
}

/* The last pid counts: the name before it may contain anything. */
static int parse_waking(struct trace_event *event, const char *text)
{
	const char *last = NULL;

	while ((text = strstr(text, " pid=")))
		last = text++;
	return result(last && find_number(last, " pid=", false, &event->arg[0]));
}

/* Those with a function have one argument; the others' stand after keys. */
static const struct kernel_event {
	const char *name;
	enum trace_event_type type;
	int (*parse)(struct trace_event *event, const char *text);
	const char *has; /* what does not have it is of no interest */
	const char *hex, *key[2]; /* hexadecimal, without 0x; and then others */
} kernel_events[] = {
	{ "kvm:kvm_exit:", TRACE_EVENT_KVM_EXIT, .parse = parse_exit },
	{ "kvm:kvm_entry:", TRACE_EVENT_KVM_ENTRY, .parse = parse_entry },
	{ "kvm:kvm_mmio:", TRACE_EVENT_KVM_MMIO, .has = "mmio write", .key = { "gpa ", "val " } },
	{ "kvm:kvm_fast_mmio:", TRACE_EVENT_KVM_FAST_MMIO, .key = { "gpa " } },
	{ "kvm:kvm_pio:", TRACE_EVENT_KVM_PIO, .has = "pio_write", .key = { "at ", "val " } },
	{ "kvm:kvm_msi_set_irq:", TRACE_EVENT_KVM_MSI, .hex = "dst ", .key = { "vec " } },
	{ "kvm:kvm_set_irq:", TRACE_EVENT_KVM_LINE, .key = { "gsi ", "level " } },
	{ "kvm:kvm_apic_accept_irq:", TRACE_EVENT_KVM_ACCEPT, .hex = "apicid ", .key = { "vec " } },
	{ "kvm:kvm_apicv_accept_irq:", TRACE_EVENT_KVM_POST, .hex = "apicid ", .key = { "vec " } },
	{ "kvm:kvm_inj_virq:", TRACE_EVENT_KVM_INJECT, .parse = parse_inject },
	{ "sched:sched_waking:", TRACE_EVENT_WAKING, .parse = parse_waking },
};

static int parse_keys(struct trace_event *event, const struct kernel_event *known,
		      const char *text)
{
	bool ok = true;

	if (known->has && !strstr(text, known->has))
		return 0;
	if (known->hex)
		ok = find_number(text, known->hex, true, &event->arg[event->count++]);
	for (unsigned i = 0; ok && i < array_size(known->key) && known->key[i]; i++)
		ok = find_number(text, known->key[i], false, &event->arg[event->count++]);
	return result(ok);
}

static int parse_kernel(struct trace_event *event, const char *text)
{
	for (unsigned i = 0; i < array_size(kernel_events); i++) {
		const struct kernel_event *known = &kernel_events[i];

		if (!skip(&text, known->name))
			continue;
		event->type = known->type;
		if (!known->parse)
			return parse_keys(event, known, text);
		event->count = 1;
		return known->parse(event, text);
	}
	return 0;
}

/* --- The probes --- */

static const struct {
	const char *name;
	enum trace_event_type type;
	uint8_t count;
} probes[] = {
	{ "pop:", TRACE_EVENT_POP, 9 },
	{ "submit:", TRACE_EVENT_SUBMIT, 7 },
	{ "enter:", TRACE_EVENT_ENTER, 3 },
	{ "complete:", TRACE_EVENT_COMPLETE, 4 },
	{ "push:", TRACE_EVENT_PUSH, 6 },
	{ "publish:", TRACE_EVENT_PUBLISH, 4 },
	{ "interrupt:", TRACE_EVENT_INTERRUPT, 5 },
	{ "doorbell:", TRACE_EVENT_DOORBELL, 2 },
	{ "wake:", TRACE_EVENT_WAKE, 2 },
	{ "sleep:", TRACE_EVENT_SLEEP, 1 },
	{ "poll_hit:", TRACE_EVENT_POLL_HIT, 2 },
	{ "poll_miss:", TRACE_EVENT_POLL_MISS, 2 },
	{ "queue_start:", TRACE_EVENT_QUEUE_START, 6 },
	{ "exit_pio:", TRACE_EVENT_EXIT_PIO, 5 },
	{ "exit_mmio:", TRACE_EVENT_EXIT_MMIO, 5 },
	{ "exit_other:", TRACE_EVENT_EXIT_OTHER, 2 },
	{ "clock:", TRACE_EVENT_CLOCK, 3 },
	{ "vcpu_tsc:", TRACE_EVENT_VCPU_TSC, 4 },
	{ "disk:", TRACE_EVENT_DISK, 10 },
};

/* " (55a9197c40f9) arg1=53931 arg2=-1", after the name. */
static int parse_args(struct trace_event *event, const char *text)
{
	uint64_t number;

	text = strstr(text, " arg1=");
	for (unsigned i = 0; i < event->count; i++)
		if (!text || !skip(&text, " arg") || !take_digits(&text, 10, &number) ||
		    number != i + 1 || !skip(&text, "=") || !take_number(&text, &event->arg[i]))
			return -EINVAL;
	return 1;
}

static int parse_probe(struct trace_event *event, const char *text)
{
	for (unsigned i = 0; i < array_size(probes); i++) {
		if (!skip(&text, probes[i].name))
			continue;
		event->type = probes[i].type;
		event->count = probes[i].count;
		return parse_args(event, text);
	}
	return 0;
}

/* --- perf's own records, after "PERF_RECORD_" --- */

static int parse_record(struct trace_event *event, const char *text)
{
	if (skip(&text, "SWITCH IN")) {
		event->type = TRACE_EVENT_IN;
		return 1;
	}
	if (skip(&text, "SWITCH OUT")) {
		event->type = TRACE_EVENT_OUT;
		return 1;
	}
	if (skip(&text, "LOST lost ")) {
		event->type = TRACE_EVENT_LOST;
		event->count = 1;
		return result(take_number(&text, &event->arg[0]));
	}
	return 0;
}

/* "34852.491521850:", of which perf prints six or nine digits after the point. */
static bool take_time(const char **at, uint64_t *ns)
{
	uint64_t seconds, unit = NS_PER_S / 10;

	if (!take_digits(at, 10, &seconds) || seconds >= INT64_MAX / NS_PER_S || !skip(at, "."))
		return false;
	*ns = seconds * NS_PER_S;
	for (; isdigit((unsigned char)**at); ++*at, unit /= 10)
		*ns += (uint64_t)(**at - '0') * unit;
	return *ns && skip(at, ":");
}

/* The name, thread id, CPU and time with which each line begins. */
static bool take_header(const char **at, struct trace_event *event)
{
	uint64_t tid, cpu = 0;
	bool no_cpu;
	const char *name = *at;
	size_t len;

	if (strnlen(name, NAME_COLUMNS) < NAME_COLUMNS)
		return false;
	skip_blanks(&name);
	len = (size_t)max(*at + NAME_COLUMNS - name, 0L);
	len = min(len, sizeof(event->comm) - 1);
	memcpy(event->comm, name, len);
	*at += NAME_COLUMNS;
	skip_blanks(at);
	if (!take_digits(at, 10, &tid) || (skip(at, "/") && !take_digits(at, 10, &tid)))
		return false;
	skip_blanks(at);
	no_cpu = skip(at, "[-");
	if ((!no_cpu && !skip(at, "[")) || !take_digits(at, 10, &cpu) || !skip(at, "]"))
		return false;
	if (tid >= TRACE_TIDS || cpu >= TRACE_EVENT_CPUS)
		return false;
	event->tid = (uint32_t)tid;
	event->cpu = no_cpu ? TRACE_EVENT_NO_CPU : (uint16_t)cpu;
	skip_blanks(at);
	return take_time(at, &event->time);
}

int trace_event_parse(struct trace_event *event, const char *line)
{
	memset(event, 0, sizeof(*event));
	if (*line == '#' || line[strspn(line, " \n")] == '\0')
		return 0;
	if (!take_header(&line, event))
		return -EINVAL;
	skip_blanks(&line);
	if (skip(&line, "sdt_vmm:"))
		return parse_probe(event, line);
	if (skip(&line, "PERF_RECORD_"))
		return parse_record(event, line);
	return parse_kernel(event, line);
}
