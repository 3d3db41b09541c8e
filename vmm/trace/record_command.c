// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/record_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/trace/perf.h"
#include "vmm/trace/uprobes.h"
#include "vmm/x86/layout.h"

#define NUMBER(n) #n
#define TEXT(n) NUMBER(n)

/* What the kernel tells of a request's way outside of vmm. */
static const struct kernel_event {
	const char *group, *name;
	const char *filter; /* NULL: all of them */
} kernel_events[] = {
	{ "kvm", "kvm_exit", NULL },
	{ "kvm", "kvm_entry", NULL },
	/* Doorbells: not the interrupt controllers, nor the ports of a PC's own devices. */
	{ "kvm", "kvm_fast_mmio", NULL },
	{ "kvm", "kvm_mmio",
	  "type==2&&(gpa<" TEXT(LAYOUT_IO_APIC) "||gpa>=" TEXT(LAYOUT_HIGH_RAM) ")" },
	{ "kvm", "kvm_pio", "rw==1&&port>=" TEXT(LAYOUT_PORT_PCI) },
	/* Interrupts: MSI-X, and the lines that PCI and virtio-mmio use. */
	{ "kvm", "kvm_msi_set_irq", NULL },
	{ "kvm", "kvm_set_irq", "gsi>=" TEXT(LAYOUT_GSI_PCI) },
	{ "kvm", "kvm_apic_accept_irq", NULL },
	{ "kvm", "kvm_apicv_accept_irq", NULL },
	{ "kvm", "kvm_inj_virq", NULL },
};

char *record_threads_filter(const pid_t *thread, size_t count)
{
	char *text = NULL;
	size_t size, last;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	/* By ranges, since the kernel takes no more than a page. */
	for (size_t first = 0; first < count; first = last + 1) {
		for (last = first; last + 1 < count && thread[last + 1] == thread[last] + 1;)
			last++;
		fprintf(to, "%s", first ? "||" : "");
		if (first == last)
			fprintf(to, "pid==%d", thread[first]);
		else
			fprintf(to, "(pid>=%d&&pid<=%d)", thread[first], thread[last]);
	}
	fclose(to);
	return text;
}

/* As perf takes it, to be freed; NULL without memory. */
static char *threads_list(const pid_t *thread, size_t count)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	for (size_t i = 0; i < count; i++)
		fprintf(to, "%s%d", i ? "," : "", thread[i]);
	fclose(to);
	return text;
}

static void add_kernel_event(struct perf_command *command, const char *tracefs,
			     const char *group, const char *name, const char *filter)
{
	if (!trace_uprobes_event(tracefs, group, name)) {
		log_info("this kernel has no event %s:%s", group, name);
		return;
	}
	perf_add(command, "-e");
	perf_add(command, "%s:%s", group, name);
	if (filter) {
		perf_add(command, "--filter");
		perf_add(command, "%s", filter);
	}
}

void record_command(struct perf_command *command, const struct record_plan *plan)
{
	char *filter = record_threads_filter(plan->thread, plan->thread_count);
	char *threads = threads_list(plan->thread, plan->thread_count);

	perf_add(command, "perf");
	perf_add(command, "record");
	perf_add(command, "-k");
	perf_add(command, "CLOCK_MONOTONIC");
	/* The file needs no program's build id, and perf no look for them at its end. */
	perf_add(command, "-B");
	perf_add(command, "-N");
	/* Nor BPF's programs: perf would wait for the thread that looks for them, up to 1 s. */
	perf_add(command, "--no-bpf-event");
	perf_add(command, "-m");
	perf_add(command, "%s", plan->buffer);
	perf_add(command, "-o");
	perf_add(command, "%s", plan->file);
	/* Not -p: perf fails, without a word, if one of a process's threads ends meanwhile. */
	perf_add(command, "-t");
	perf_add(command, "%s", threads);
	perf_add(command, "--inherit");
	perf_add(command, "-e");
	perf_add(command, TRACE_UPROBES_GROUP ":*");
	for (unsigned i = 0; i < array_size(kernel_events); i++)
		add_kernel_event(command, plan->tracefs, kernel_events[i].group,
				 kernel_events[i].name, kernel_events[i].filter);
	/*
	 * When a thread gets a CPU: sched_switch happens on the thread that leaves
	 * one, and so would not be seen, as perf looks at this process alone.
	 */
	perf_add(command, "--switch-events");
	if (plan->ids_are_global)
		add_kernel_event(command, plan->tracefs, "sched", "sched_waking", filter);
	perf_hide_rest(command);
	/* Nothing is recorded until perf is told to, and it says when it has begun. */
	perf_add(command, "-D");
	perf_add(command, "-1");
	perf_add(command, "--control");
	perf_add(command, "fd:%d,%d", plan->control, plan->ack);
	if (!filter || !threads)
		command->error = -ENOMEM;
	free(filter);
	free(threads);
}
