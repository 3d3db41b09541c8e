// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/x86/cpu.h"

#include <stdbool.h>
#include <string.h>

#include "hw/base/util.h"
#include "tests/unit/unit.h"

#define ENTRIES 32
#define COUNT_MAX 254

/* What a test hands to cpuid_fill(), made from a table of leaves. */
static union {
	struct kvm_cpuid2 cpuid;
	char room[sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2)];
} list;

struct leaf {
	uint32_t function, index, eax, ebx, ecx, edx;
};

/*
 * The shape of what KVM gives on an Intel server of two threads a core, 16
 * cores a package, with the host's own topology in 0BH and 1FH.
 */
static const struct leaf intel[] = {
	{ 0, 0, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69 },
	{ 1, 0, 0x806f8, 0x1f200800, 0x7ed83203, 0x1fabfbff },
	{ 2, 0, 0x00feff01, 0xf0, 0, 0 },
	{ 4, 0, 0x7c004121, 0x2c0003f, 0x3f, 0 },
	{ 4, 1, 0x7c004122, 0x1c0003f, 0x3f, 0 },
	{ 4, 2, 0x7c004143, 0x3c0003f, 0x7ff, 0 },
	{ 4, 3, 0x7c07c163, 0x380003f, 0x1ffff, 4 },
	{ 4, 4, 0, 0, 0, 0 },
	{ 6, 0, 4, 0, 0, 0 },
	{ 0xa, 0, 0x07300802, 0, 0, 0x603 },
	{ 0xb, 0, 1, 2, 0x100, 0x1f },
	{ 0xb, 1, 5, 32, 0x201, 0x1f },
	{ 0xb, 2, 0, 0, 2, 0x1f },
	{ 0x1f, 0, 1, 2, 0x100, 0x1f },
	{ 0x1f, 1, 5, 32, 0x201, 0x1f },
	{ 0x1f, 2, 6, 64, 0x502, 0x1f },
	{ 0x1f, 3, 0, 0, 3, 0x1f },
	{ 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d },
	{ 0x80000000, 0, 0x80000008, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0, 0x121, 0x2c100800 },
	{ 0x80000008, 0, 0x302e, 0, 0, 0 },
};

/* And on a first generation EPYC, which has no leaf 0BH. */
static const struct leaf amd[] = {
	{ 0, 0, 0xd, 0x68747541, 0x444d4163, 0x69746e65 },
	{ 1, 0, 0x800f12, 0x07100800, 0x7ed8320b, 0x178bfbff },
	{ 4, 0, 0, 0, 0, 0 },
	{ 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d },
	{ 0x80000000, 0, 0x80000026, 0x68747541, 0x444d4163, 0x69746e65 },
	{ 0x80000001, 0, 0x800f12, 0, 0x4003f3, 0x2fd3fbff },
	{ 0x80000008, 0, 0x303030, 0x1007, 0x4007, 0 },
	{ 0x8000001d, 0, 0x4121, 0x1c0003f, 0x3f, 0 },
	{ 0x8000001d, 1, 0x4122, 0xc0003f, 0xff, 0 },
	{ 0x8000001d, 2, 0x4143, 0x1c0003f, 0x3ff, 2 },
	{ 0x8000001d, 3, 0x1c163, 0x3c0003f, 0x1fff, 1 },
	{ 0x8000001d, 4, 0, 0, 0, 0 },
	{ 0x8000001e, 0, 7, 0x103, 0x301, 0 },
	{ 0x80000026, 0, 1, 2, 0x100, 7 },
};

static void fill(const struct leaf *leaf, unsigned leaves, unsigned index, unsigned count)
{
	struct kvm_cpuid_entry2 *e = list.cpuid.entries;

	ck_assert_uint_le(leaves + CPUID_ADDED, ENTRIES);
	memset(&list, 0, sizeof(list));
	list.cpuid.nent = leaves;
	for (unsigned i = 0; i < leaves; i++)
		e[i] = (struct kvm_cpuid_entry2){
			.function = leaf[i].function,
			.index = leaf[i].index,
			.eax = leaf[i].eax,
			.ebx = leaf[i].ebx,
			.ecx = leaf[i].ecx,
			.edx = leaf[i].edx,
		};
	cpuid_fill(&list.cpuid, index, count);
	ck_assert_uint_le(list.cpuid.nent, leaves + CPUID_ADDED);
}

#define FILL(table, index, count) fill(table, array_size(table), index, count)

/* The one entry of that leaf and subleaf; NULL if there is none. */
static const struct kvm_cpuid_entry2 *find(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *found = NULL, *e = list.cpuid.entries;

	for (unsigned i = 0; i < list.cpuid.nent; i++) {
		if (e[i].function != function || e[i].index != index)
			continue;
		ck_assert_ptr_null(found);
		found = &e[i];
	}
	return found;
}

static const struct kvm_cpuid_entry2 *leaf_of(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = find(function, index);

	ck_assert_msg(e != NULL, "leaf %x.%u", function, index);
	return e;
}

static unsigned bits(uint32_t reg, unsigned high, unsigned low)
{
	return reg >> low & ((2u << (high - low)) - 1);
}

/* As SDM 3A, 9.9.4 derives a CPU's place from leaf 0BH or 1FH. */
static void assert_topology(uint32_t leaf, unsigned index, unsigned count)
{
	const struct kvm_cpuid_entry2 *smt = leaf_of(leaf, 0);
	const struct kvm_cpuid_entry2 *core = leaf_of(leaf, 1);
	const struct kvm_cpuid_entry2 *end = leaf_of(leaf, 2);

	ck_assert_uint_eq(smt->ecx, 1 << 8);
	ck_assert_uint_eq(smt->eax, 0);
	ck_assert_uint_eq(smt->ebx, 1);
	ck_assert_uint_eq(core->ecx, 2 << 8 | 1);
	ck_assert_uint_eq(core->ebx, count);
	ck_assert_uint_eq(end->ecx, 2);
	ck_assert_uint_eq(end->ebx, 0);
	ck_assert_ptr_null(find(leaf, 3));
	ck_assert_uint_eq(smt->edx, index);
	ck_assert_uint_eq(core->edx, index);
	ck_assert_uint_eq(end->edx, index);
	ck_assert_uint_eq(smt->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);

	/* One package, and no more id space than it takes. */
	ck_assert_uint_eq(index >> core->eax, 0);
	ck_assert_uint_eq((count - 1) >> core->eax, 0);
	if (count > 1)
		ck_assert_uint_ne((count - 1) >> (core->eax - 1), 0);
	else
		ck_assert_uint_eq(core->eax, 0);
}

static void assert_features(unsigned index, unsigned count)
{
	const struct kvm_cpuid_entry2 *e = leaf_of(1, 0);

	ck_assert_uint_eq(bits(e->ebx, 31, 24), index);
	ck_assert_uint_eq(bits(e->ebx, 23, 16), count);
	ck_assert_uint_eq(bits(e->ebx, 15, 8), 8); /* CLFLUSH line */
	ck_assert_uint_eq(bits(e->ecx, 31, 31), 1);
	ck_assert_uint_eq(bits(e->ecx, 21, 21), 1);
	ck_assert_uint_eq(bits(e->edx, 28, 28), count > 1);
}

START_TEST(intel_topology)
{
	unsigned count, index;

	for (count = 1; count <= COUNT_MAX; count++)
		for (index = 0; index < count; index += 1 + count / 7) {
			FILL(intel, index, count);
			assert_features(index, count);
			assert_topology(0xb, index, count);
			assert_topology(0x1f, index, count);
		}
}
END_TEST

START_TEST(amd_topology)
{
	const struct kvm_cpuid_entry2 *e;
	unsigned count, index;

	for (count = 1; count <= COUNT_MAX; count++)
		for (index = 0; index < count; index += 1 + count / 7) {
			FILL(amd, index, count);
			assert_features(index, count);
			assert_topology(0xb, index, count);
			ck_assert_ptr_null(find(0x1f, 0));
			ck_assert_ptr_null(find(0x80000026, 0));
			ck_assert_uint_eq(leaf_of(0, 0)->eax, 0xd);

			e = leaf_of(0x80000008, 0);
			ck_assert_uint_eq(bits(e->ecx, 7, 0), count - 1);
			ck_assert_uint_eq(1u << bits(e->ecx, 15, 12) >= count, 1);
			ck_assert_uint_eq(e->ebx, 0x1007);
			e = leaf_of(0x8000001e, 0);
			ck_assert_uint_eq(e->eax, index);
			ck_assert_uint_eq(e->ebx, index); /* core id, one thread */
			ck_assert_uint_eq(e->ecx, 0);     /* one node */
			e = leaf_of(0x80000001, 0);
			ck_assert_uint_eq(e->ecx, count > 1 ? 0x4003f3 : 0x4003f1);
		}
}
END_TEST

/* Level 1 and 2 belong to one core, level 3 to all of them. */
static void assert_caches(uint32_t leaf, unsigned count)
{
	const struct kvm_cpuid_entry2 *e;
	unsigned levels = 0;

	for (unsigned i = 0; i < 4; i++) {
		e = leaf_of(leaf, i);
		ck_assert_uint_eq(bits(e->eax, 25, 14), bits(e->eax, 7, 5) == 3 ? count - 1 : 0);
		levels |= 1 << bits(e->eax, 7, 5);
		if (leaf == 4)
			ck_assert_uint_eq(bits(e->eax, 31, 26), min(count, 64u) - 1);
		ck_assert_uint_eq(bits(e->eax, 8, 8), 1); /* self initializing: kept */
	}
	ck_assert_uint_eq(levels, 1 << 1 | 1 << 2 | 1 << 3);
	ck_assert_uint_eq(leaf_of(leaf, 4)->eax, 0);
}

START_TEST(caches)
{
	const unsigned counts[] = { 1, 2, 3, 64, 65, COUNT_MAX };

	for (unsigned i = 0; i < array_size(counts); i++) {
		FILL(intel, 0, counts[i]);
		assert_caches(4, counts[i]);
		FILL(amd, 0, counts[i]);
		assert_caches(0x8000001d, counts[i]);
		ck_assert_uint_eq(leaf_of(4, 0)->eax, 0);
	}
}
END_TEST

/* AMD's fields are reserved on Intel, and most leaves are not ours at all. */
START_TEST(untouched)
{
	const uint32_t mine[] = { 1, 4, 0xb, 0x1f };
	const struct kvm_cpuid_entry2 *e;
	unsigned kept = 0;

	FILL(intel, 3, 8);
	for (unsigned i = 0; i < array_size(intel); i++) {
		bool is_mine = false;

		for (unsigned j = 0; j < array_size(mine); j++)
			is_mine |= intel[i].function == mine[j];
		if (is_mine)
			continue;
		e = leaf_of(intel[i].function, intel[i].index);
		ck_assert_uint_eq(e->eax, intel[i].eax);
		ck_assert_uint_eq(e->ebx, intel[i].ebx);
		ck_assert_uint_eq(e->ecx, intel[i].ecx);
		ck_assert_uint_eq(e->edx, intel[i].edx);
		kept++;
	}
	ck_assert_uint_eq(kept, 8);
}
END_TEST

/* A host so old that it ends below 0BH: x2APIC brings that leaf. */
START_TEST(old_host)
{
	const struct leaf old[] = {
		{ 0, 0, 5, 0x756e6547, 0x6c65746e, 0x49656e69 },
		{ 1, 0, 0, 0x00000800, 0, 0 },
	};

	FILL(old, 1, 4);
	ck_assert_uint_eq(leaf_of(0, 0)->eax, 0xb);
	assert_features(1, 4);
	assert_topology(0xb, 1, 4);
}
END_TEST

/* One vCPU's list may be made from another's. */
START_TEST(twice)
{
	FILL(intel, 3, 8);
	cpuid_fill(&list.cpuid, 5, 6);
	assert_features(5, 6);
	assert_topology(0xb, 5, 6);
	assert_topology(0x1f, 5, 6);
	assert_caches(4, 6);
}
END_TEST

START_TEST(physical_bits)
{
	const struct leaf none[] = { { 0, 0, 1, 0, 0, 0 } };
	const struct leaf guest[] = { { 0x80000008, 0, 0x303934, 0, 0, 0 } };
	const struct leaf zero[] = { { 0x80000008, 0, 0, 0, 0, 0 } };

	FILL(intel, 0, 1);
	ck_assert_uint_eq(cpu_physical_bits(&list.cpuid), 46);
	FILL(none, 0, 1);
	ck_assert_uint_eq(cpu_physical_bits(&list.cpuid), 36);
	FILL(zero, 0, 1);
	ck_assert_uint_eq(cpu_physical_bits(&list.cpuid), 36);
	/* 52 bits, of which nested paging reaches 48. */
	FILL(guest, 0, 1);
	ck_assert_uint_eq(cpu_physical_bits(&list.cpuid), 48);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cpu");

	unit_tcase(s, "cpuid", intel_topology, amd_topology, caches, untouched, old_host, twice,
		   physical_bits);
	return unit_run(s);
}
