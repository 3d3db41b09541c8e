// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/probe.h"
#include "hw/base/util.h"
#include "vmm/boot_report.h"
#include "vmm/exit_status.h"
#include "vmm/x86/registers.h"

/* Interrupts KVM_RUN; does nothing else. */
#define KICK_SIGNAL SIGRTMIN

/* --- How a guest ends --- */

static const char *exit_name(uint32_t reason)
{
	/* clang-format off */
#define NAME(x) [KVM_EXIT_##x] = #x
	static const char *const names[] = {
		NAME(UNKNOWN), NAME(EXCEPTION), NAME(IO), NAME(HYPERCALL), NAME(DEBUG),
		NAME(HLT), NAME(MMIO), NAME(IRQ_WINDOW_OPEN), NAME(SHUTDOWN), NAME(FAIL_ENTRY),
		NAME(INTR), NAME(SET_TPR), NAME(TPR_ACCESS), NAME(NMI), NAME(INTERNAL_ERROR),
		NAME(SYSTEM_EVENT), NAME(IOAPIC_EOI), NAME(HYPERV), NAME(X86_RDMSR),
		NAME(X86_WRMSR), NAME(DIRTY_RING_FULL), NAME(AP_RESET_HOLD), NAME(X86_BUS_LOCK),
		NAME(XEN), NAME(NOTIFY),
	};
#undef NAME
	/* clang-format on */

	return reason < array_size(names) && names[reason] ? names[reason] : "unnamed";
}

/* What KVM says beside the reason. */
static void describe(const struct kvm_run *run, char *text, size_t size)
{
	text[0] = '\0';
	if (run->exit_reason == KVM_EXIT_SHUTDOWN)
		snprintf(text, size, ": triple fault");
	else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		snprintf(text, size, ": hardware reason 0x%llx",
			 run->fail_entry.hardware_entry_failure_reason);
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
		 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		snprintf(text, size, ": cannot emulate an instruction");
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		snprintf(text, size, ": suberror %u", run->internal.suberror);
	else if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT)
		snprintf(text, size, ": event %u", run->system_event.type);
}

/* The guest cannot go on. */
static void died(struct vcpu *vcpu)
{
	char text[64];

	describe(vcpu->run, text, sizeof(text));
	log_error("vCPU %u: the guest died: KVM exit %u (%s)%s", vcpu->index,
		  vcpu->run->exit_reason, exit_name(vcpu->run->exit_reason), text);
	registers_print(vcpu->fd);
	vcpu->config.ended(vcpu->config.opaque, STATUS_GUEST_DIED);
}

/* KVM_RUN itself failed. */
static void run_failed(struct vcpu *vcpu, int error)
{
	log_error("vCPU %u: KVM_RUN: %s", vcpu->index, strerror(error));
	registers_print(vcpu->fd);
	vcpu->config.ended(vcpu->config.opaque, STATUS_ERROR);
}

/* --- Running --- */

/* One port access, or the several of a string instruction. */
static void handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned len = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++, data += len) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, len);
			probe(exit_pio, vcpu->index, run->io.port, len, true, value);
			bus_write(vcpu->config.pio, run->io.port, value, len);
		} else {
			value = bus_read(vcpu->config.pio, run->io.port, len);
			memcpy(data, &value, len);
			probe(exit_pio, vcpu->index, run->io.port, len, false, value);
		}
	}
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned len = run->mmio.len;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, len);
		probe(exit_mmio, vcpu->index, run->mmio.phys_addr, len, true, value);
		bus_write(vcpu->config.mmio, run->mmio.phys_addr, value, len);
	} else {
		value = bus_read(vcpu->config.mmio, run->mmio.phys_addr, len);
		memcpy(run->mmio.data, &value, len);
		probe(exit_mmio, vcpu->index, run->mmio.phys_addr, len, false, value);
	}
}

static bool is_over(const struct vcpu *vcpu)
{
	return load_acquire(vcpu->config.over);
}

static void tell_tsc(struct vcpu *vcpu)
{
	int64_t offset = 0;
	const struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};
	bool known = ioctl(vcpu->fd, KVM_GET_DEVICE_ATTR, &attr) == 0;

	probe(vcpu_tsc, vcpu->index, gettid(), offset, known);
}

/* The vCPU was made to leave the guest for something else than the end. */
static void obey(struct vcpu *vcpu)
{
	store_relaxed(&vcpu->tsc_wanted, false);
	store_relaxed(&vcpu->run->immediate_exit, 0);
	/*
	 * Stored before `over` is loaded.  Who ends the VM stores `over` and then
	 * immediate_exit: so either `over` is seen, or immediate_exit stays.
	 */
	fence_full();
	tell_tsc(vcpu);
}

/* Out of the way of all later ones. */
static void first_exit(struct vcpu *vcpu)
{
	boot_report_reached(vcpu->config.report, BOOT_FIRST_EXIT, "");
	vcpu->config.report = NULL;
}

/* Run until it is over, or until the guest cannot go on. */
static void vcpu_run(struct vcpu *vcpu)
{
	boot_report_reached(vcpu->config.report, BOOT_FIRST_RUN, "");
	while (!is_over(vcpu)) {
		if (load_acquire(&vcpu->tsc_wanted)) {
			obey(vcpu);
			continue;
		}
		probe(vcpu_run, vcpu->index);
		if (ioctl(vcpu->fd, KVM_RUN, 0)) {
			if (errno == EINTR || errno == EAGAIN) {
				probe(exit_other, vcpu->index, KVM_EXIT_INTR);
				continue;
			}
			run_failed(vcpu, errno);
			return;
		}
		if (vcpu->config.report)
			first_exit(vcpu);
		switch (vcpu->run->exit_reason) {
		case KVM_EXIT_IO:
			handle_io(vcpu);
			break;
		case KVM_EXIT_MMIO:
			handle_mmio(vcpu);
			break;
		case KVM_EXIT_INTR:
			probe(exit_other, vcpu->index, KVM_EXIT_INTR);
			break;
		default:
			probe(exit_other, vcpu->index, vcpu->run->exit_reason);
			/* After a reset, say, a guest may end in any way. */
			if (!is_over(vcpu))
				died(vcpu);
			return;
		}
	}
}

static void *thread_main(void *opaque)
{
	struct vcpu *vcpu = opaque;
	char name[16];
	sigset_t kick;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	vcpu_run(vcpu);
	return NULL;
}

static void ignore_kick(int signo)
{
	(void)signo;
}

int vcpu_start(struct vcpu *vcpu)
{
	/* A handler, since an ignored signal would interrupt nothing. */
	const struct sigaction action = { .sa_handler = ignore_kick };
	int ret;

	sigaction(KICK_SIGNAL, &action, NULL);
	ret = pthread_create(&vcpu->thread, NULL, thread_main, vcpu);
	if (ret) {
		log_error("vCPU %u: cannot start its thread: %s", vcpu->index, strerror(ret));
		return -ret;
	}
	vcpu->started = true;
	return 0;
}

/*
 * A signal between the thread's last look at its orders and KVM_RUN would be
 * lost; KVM looks at immediate_exit once signals can wake it.
 */
static void hold(struct vcpu *vcpu)
{
	store_release(&vcpu->run->immediate_exit, 1);
}

void vcpu_tell_tsc(struct vcpu *vcpu)
{
	if (!vcpu->started || !probe_wanted(vcpu_tsc))
		return;
	/* First: who obeys the order lets the vCPU go on. */
	hold(vcpu);
	store_release(&vcpu->tsc_wanted, true);
	pthread_kill(vcpu->thread, KICK_SIGNAL);
}

void vcpu_order_stop(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	hold(vcpu);
	pthread_kill(vcpu->thread, KICK_SIGNAL);
}

void vcpu_stop(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	vcpu_order_stop(vcpu);
	pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}

/* --- Creation --- */

int vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned index, const struct vcpu_config *config)
{
	int ret;

	*vcpu = (struct vcpu){
		.index = index,
		.run_size = vm->run_size,
		.config = *config,
	};
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (vcpu->fd < 0) {
		ret = -errno;
		log_error("vCPU %u: KVM cannot create it: %s", index, strerror(-ret));
		return ret;
	}
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		ret = -errno;
		log_error("vCPU %u: cannot map its shared page: %s", index, strerror(-ret));
		close(vcpu->fd);
		return ret;
	}
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	munmap(vcpu->run, vcpu->run_size);
	close(vcpu->fd);
}
