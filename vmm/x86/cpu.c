// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/x86/cpu.h"

#include <cpuid.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/vm.h"
#include "vmm/x86/kernel.h"
#include "vmm/x86/layout.h"

/* CPUID.1 */
#define ECX_X2APIC (1u << 21)
#define ECX_TSC_DEADLINE (1u << 24)
#define ECX_HYPERVISOR (1u << 31)
#define EDX_HTT (1u << 28)

/* CPUID.80000001H on AMD: the siblings that HTT tells of are cores. */
#define ECX_CMP_LEGACY (1u << 1)

static struct kvm_cpuid_entry2 *find_leaf(struct kvm_cpuid2 *cpuid, uint32_t leaf)
{
	for (unsigned i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == leaf)
			return &cpuid->entries[i];
	return NULL;
}

static void remove_leaf(struct kvm_cpuid2 *cpuid, uint32_t leaf)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function != leaf)
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->nent = kept;
}

static void add_subleaf(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t subleaf, uint32_t eax,
			uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = subleaf,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = eax,
		.ebx = ebx,
		.ecx = ecx,
		.edx = edx,
	};
}

static uint32_t replace_bits(uint32_t reg, unsigned shift, unsigned width, uint32_t value)
{
	uint32_t mask = ((1u << width) - 1) << shift;

	return (reg & ~mask) | (value << shift & mask);
}

/* How many low bits of an APIC id tell @count CPUs apart. */
static unsigned id_bits(unsigned count)
{
	return count > 1 ? 32 - __builtin_clz(count - 1) : 0;
}

static void fill_features(struct kvm_cpuid_entry2 *e, unsigned index, unsigned count)
{
	e->ebx = replace_bits(e->ebx, 16, 8, count);
	e->ebx = replace_bits(e->ebx, 24, 8, index);
	e->ecx |= ECX_X2APIC | ECX_HYPERVISOR;
	e->edx &= ~EDX_HTT;
	if (count > 1)
		e->edx |= EDX_HTT;
}

/*
 * Intel's leaf 4 and AMD's 8000001DH describe one cache a subleaf, in the same
 * bits: each core has its own level 1 and 2, and the package shares the rest.
 */
static void fill_cache(struct kvm_cpuid_entry2 *e, unsigned count)
{
	enum { TYPE = 0x1f };
	unsigned level = e->eax >> 5 & 7;

	if (!(e->eax & TYPE))
		return; /* the end of the list */
	e->eax = replace_bits(e->eax, 14, 12, level > 2 ? count - 1 : 0);
	if (e->function == 4)
		e->eax = replace_bits(e->eax, 26, 6, min(count, 64u) - 1);
}

/*
 * Leaves 0BH and 1FH: one thread a core, @count cores, end.  KVM's own are the
 * host's, or empty, so they are made anew.
 */
static void fill_topology(struct kvm_cpuid2 *cpuid, uint32_t leaf, unsigned index, unsigned count)
{
	enum { SMT = 1 << 8, CORE = 2 << 8 };

	remove_leaf(cpuid, leaf);
	add_subleaf(cpuid, leaf, 0, 0, 1, SMT | 0, index);
	add_subleaf(cpuid, leaf, 1, id_bits(count), count, CORE | 1, index);
	add_subleaf(cpuid, leaf, 2, 0, 0, 2, index);
}

static bool is_amd(const struct kvm_cpuid_entry2 *vendor)
{
	uint32_t name[3] = { vendor->ebx, vendor->edx, vendor->ecx };

	return memcmp(name, "AuthenticAMD", 12) == 0 || memcmp(name, "HygonGenuine", 12) == 0;
}

/* The leaves that mean this on AMD only; on Intel the bits are reserved. */
static void fill_amd(struct kvm_cpuid_entry2 *e, unsigned index, unsigned count)
{
	switch (e->function) {
	case 0x80000001:
		e->ecx &= ~ECX_CMP_LEGACY;
		if (count > 1)
			e->ecx |= ECX_CMP_LEGACY;
		break;
	case 0x80000008:
		e->ecx = replace_bits(e->ecx, 0, 8, count - 1);
		e->ecx = replace_bits(e->ecx, 12, 4, id_bits(count));
		break;
	case 0x8000001d:
		fill_cache(e, count);
		break;
	case 0x8000001e: /* a core's own id, one thread in it, one node */
		e->eax = index;
		e->ebx = index;
		e->ecx = 0;
		break;
	}
}

void cpuid_fill(struct kvm_cpuid2 *cpuid, unsigned index, unsigned count)
{
	struct kvm_cpuid_entry2 *vendor = find_leaf(cpuid, 0);
	bool amd = vendor && is_amd(vendor);
	bool has_1f = vendor && vendor->eax >= 0x1f;

	/* With x2APIC there is always a leaf 0BH, even where the host has none. */
	if (vendor && vendor->eax < 0xb)
		vendor->eax = 0xb;
	for (unsigned i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1)
			fill_features(e, index, count);
		else if (e->function == 4)
			fill_cache(e, count);
		else if (amd)
			fill_amd(e, index, count);
	}
	fill_topology(cpuid, 0xb, index, count);
	if (has_1f)
		fill_topology(cpuid, 0x1f, index, count);
	/* AMD's heir to 0BH tells of the host's dies, and Linux prefers it. */
	remove_leaf(cpuid, 0x80000026);
}

/* Room for @nent entries, and for those that cpuid_fill() adds. */
static struct kvm_cpuid2 *cpuid_alloc(unsigned nent)
{
	struct kvm_cpuid2 *cpuid;

	cpuid = calloc(1, sizeof(*cpuid) + (nent + CPUID_ADDED) * sizeof(*cpuid->entries));
	if (!cpuid)
		log_error("out of memory");
	else
		cpuid->nent = nent;
	return cpuid;
}

/*
 * Older kernels leave the TSC deadline timer out of the list, since it comes
 * with the in-kernel local APIC (KVM API, KVM_GET_SUPPORTED_CPUID).
 */
static void add_tsc_deadline(int kvm_fd, struct kvm_cpuid2 *cpuid)
{
	struct kvm_cpuid_entry2 *e = find_leaf(cpuid, 1);

	if (e && ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		e->ecx |= ECX_TSC_DEADLINE;
}

/* KVM leaves out the processor's name, which is all that these leaves hold. */
static void add_name(struct kvm_cpuid2 *cpuid)
{
	for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
		struct kvm_cpuid_entry2 *e = find_leaf(cpuid, leaf);

		if (e)
			__get_cpuid(leaf, &e->eax, &e->ebx, &e->ecx, &e->edx);
	}
}

int cpu_get_supported(int kvm_fd, struct kvm_cpuid2 **base)
{
	struct kvm_cpuid2 *cpuid;
	unsigned nent = 64;
	int ret;

	/* KVM names no limit; E2BIG says that the list is longer. */
	for (;;) {
		cpuid = cpuid_alloc(nent);
		if (!cpuid)
			return -ENOMEM;
		if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0)
			break;
		if (errno != E2BIG) {
			ret = kvm_error("tell what CPUID it supports");
			free(cpuid);
			return ret;
		}
		free(cpuid);
		nent *= 2;
	}
	add_tsc_deadline(kvm_fd, cpuid);
	add_name(cpuid);
	*base = cpuid;
	return 0;
}

int cpu_set_cpuid(int vcpu_fd, const struct kvm_cpuid2 *base, unsigned index, unsigned count)
{
	struct kvm_cpuid2 *cpuid = cpuid_alloc(base->nent);
	int ret = 0;

	if (!cpuid)
		return -ENOMEM;
	memcpy(cpuid->entries, base->entries, base->nent * sizeof(*base->entries));
	cpuid_fill(cpuid, index, count);
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid) < 0)
		ret = kvm_error("set a vCPU's CPUID");
	free(cpuid);
	return ret;
}

unsigned cpu_physical_bits(const struct kvm_cpuid2 *cpuid)
{
	unsigned bits, guest_bits;

	for (unsigned i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function != 0x80000008)
			continue;
		bits = cpuid->entries[i].eax & 0xff;
		/* Where nested paging reaches less far, KVM says so here. */
		guest_bits = cpuid->entries[i].eax >> 16 & 0xff;
		if (guest_bits && guest_bits < bits)
			bits = guest_bits;
		if (bits)
			return bits;
	}
	return 36; /* Intel SDM 3A, 4.1.4: what a CPU without this leaf has */
}

/* One MSR, read or written by @request. */
static int msr_ioctl(int vcpu_fd, unsigned long request, uint32_t msr, uint64_t *value)
{
	union {
		struct kvm_msrs kvm;
		struct {
			uint32_t count, pad;
			struct kvm_msr_entry entry;
		};
	} list = {
		.count = 1,
		.entry = { .index = msr, .data = *value },
	};

	/* The number of MSRs done: 0 for one that KVM does not take. */
	if (ioctl(vcpu_fd, request, &list) != 1) {
		log_error("KVM: cannot %s MSR 0x%x", request == KVM_GET_MSRS ? "read" : "write",
			  msr);
		return -EIO;
	}
	*value = list.entry.data;
	return 0;
}

int cpu_set_msrs(int vcpu_fd)
{
	enum { MISC_ENABLE = 0x1a0, MTRR_DEF_TYPE = 0x2ff };
	enum { FAST_STRING = 1, MTRR_ENABLE = 1 << 11, WRITE_BACK = 6 };
	uint64_t mtrr = MTRR_ENABLE | WRITE_BACK;
	uint64_t misc = 0;
	int ret;

	/*
	 * All memory is write-back: with the MTRRs off, as after reset, it
	 * would be uncached, and Linux would do without PAT.  No range for the
	 * PCI window: drivers map registers uncached by PAT.
	 */
	ret = msr_ioctl(vcpu_fd, KVM_SET_MSRS, MTRR_DEF_TYPE, &mtrr);
	if (!ret)
		ret = msr_ioctl(vcpu_fd, KVM_GET_MSRS, MISC_ENABLE, &misc);
	/* Without this bit Linux does not use REP MOVS for copying. */
	misc |= FAST_STRING;
	if (!ret)
		ret = msr_ioctl(vcpu_fd, KVM_SET_MSRS, MISC_ENABLE, &misc);
	return ret;
}

/*
 * The entry conditions of both protocols (Linux boot.rst, 64-bit boot protocol;
 * Xen pvh.pandoc): flat segments, interrupts off.  What they leave open stays
 * as KVM reset it.
 */
static int set_sregs(int vcpu_fd, bool long_mode)
{
	enum { CR0_PE = 1, CR0_ET = 1 << 4, CR4_PAE = 1 << 5 };
	enum { EFER_LME = 1 << 8, EFER_LMA = 1 << 10 };
	const uint64_t cr0_pg = 1ULL << 31;
	const struct kvm_segment data = { .limit = ~0u,
					  .selector = KERNEL_DS,
					  .type = 3,
					  .present = 1,
					  .db = 1,
					  .s = 1,
					  .g = 1 };
	struct kvm_sregs s;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &s) < 0)
		return kvm_error("read a vCPU's segment registers");
	s.cs = s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cs.selector = KERNEL_CS;
	s.cs.type = 11; /* execute, read, accessed */
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.cr0 = CR0_PE | CR0_ET;
	s.cr4 = 0;
	if (long_mode) {
		s.cs.db = 0;
		s.cs.l = 1;
		s.gdt.base = LAYOUT_GDT;
		s.gdt.limit = KERNEL_GDT_SIZE - 1;
		s.cr0 |= cr0_pg;
		s.cr3 = LAYOUT_PAGE_TABLES;
		s.cr4 = CR4_PAE;
		s.efer |= EFER_LME | EFER_LMA;
	}
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &s) < 0)
		return kvm_error("set a vCPU's segment registers");
	return 0;
}

static void lapic_write(struct kvm_lapic_state *lapic, unsigned reg, uint32_t value)
{
	memcpy(lapic->regs + reg, &value, sizeof(value));
}

/*
 * Virtual wire mode (MultiProcessor Specification 1.4, 3.6.2.2): the PIC at
 * LINT0, NMI at LINT1.
 */
static int set_lapic(int vcpu_fd)
{
	enum { SVR = 0xf0, LVT_LINT0 = 0x350, LVT_LINT1 = 0x360 };
	enum { SVR_ENABLE = 1 << 8, SVR_VECTOR = 0xff, NMI = 4 << 8, EXTINT = 7 << 8 };
	struct kvm_lapic_state lapic;

	if (ioctl(vcpu_fd, KVM_GET_LAPIC, &lapic) < 0)
		return kvm_error("read a vCPU's local APIC");
	lapic_write(&lapic, SVR, SVR_ENABLE | SVR_VECTOR);
	lapic_write(&lapic, LVT_LINT0, EXTINT);
	lapic_write(&lapic, LVT_LINT1, NMI);
	if (ioctl(vcpu_fd, KVM_SET_LAPIC, &lapic) < 0)
		return kvm_error("set a vCPU's local APIC");
	return 0;
}

int cpu_set_boot_state(int vcpu_fd, const struct kernel_entry *entry)
{
	struct kvm_regs regs = { .rflags = 2, .rip = entry->rip }; /* bit 1 is fixed */
	int ret;

	if (entry->long_mode)
		regs.rsi = entry->boot_info;
	else
		regs.rbx = entry->boot_info;
	ret = set_sregs(vcpu_fd, entry->long_mode);
	if (ret)
		return ret;
	if (ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0)
		return kvm_error("set a vCPU's registers");
	return set_lapic(vcpu_fd);
}
