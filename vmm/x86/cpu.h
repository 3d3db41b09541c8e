/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a vCPU looks like to its guest, and the state in which firmware would
 * hand it to a kernel.  APIC ids are the vCPU indexes; all vCPUs are single
 * threaded cores of one package.
 *
 * Functions that call KVM return 0 or -errno and have printed why.
 */
#pragma once

#include <linux/kvm.h>

struct kernel_entry;

/* Entries that cpuid_fill() may add, for which its argument must have room. */
#define CPUID_ADDED 8

/*
 * What KVM can offer a guest here (KVM_GET_SUPPORTED_CPUID), with what it leaves
 * out of that: the TSC deadline timer where it has one, and the processor's
 * name.  There is room for CPUID_ADDED more entries.  The caller frees *@base.
 */
int cpu_get_supported(int kvm_fd, struct kvm_cpuid2 **base);

/*
 * Make @cpuid that of vCPU @index of @count (1 to 254): x2APIC id and topology
 * in each leaf that Intel (SDM 2A, CPUID) or AMD (APM 3, appendix E) put them
 * in, hypervisor and x2APIC bits.  Pure: no system call.
 */
void cpuid_fill(struct kvm_cpuid2 *cpuid, unsigned index, unsigned count);

/* Give the vCPU its own edition of @base.  Before it first runs. */
int cpu_set_cpuid(int vcpu_fd, const struct kvm_cpuid2 *base, unsigned index, unsigned count);

/*
 * The number of guest physical address bits that can be mapped, which is where
 * the 64-bit PCI window must end.
 */
unsigned cpu_physical_bits(const struct kvm_cpuid2 *cpuid);

/*
 * What firmware sets on every vCPU, boot processor or not: memory type and
 * fast string MSRs.  After cpu_set_cpuid().
 */
int cpu_set_msrs(int vcpu_fd);

/*
 * The boot processor's registers and local APIC at the kernel's entry, as
 * kernel_load() wants them.  The others wait for INIT and SIPI, as KVM made
 * them with its in-kernel irqchip.
 */
int cpu_set_boot_state(int vcpu_fd, const struct kernel_entry *entry);
