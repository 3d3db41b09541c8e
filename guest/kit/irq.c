// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/irq.h"

#include "guest/kit/acpi.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	SELECTOR_CODE = 0x08,
	SELECTOR_TSS = 0x18,
	GATE_INTERRUPT = 0x8e,
	GATE_FROM_USER = 0x60,
	DESCRIPTOR_TSS = 0x89,
	IST_FAULTS = 1,
	STUB_SIZE = 16,
	FIRST_DEVICE_VECTOR = 32,

	PIC1_DATA = 0x21,
	PIC2_DATA = 0xa1,

	MSR_APIC_BASE = 0x1b,
	APIC_BASE_ENABLE = 1 << 11,
	APIC_ID = 0x20,
	APIC_TPR = 0x80,
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
	APIC_SOFTWARE_ENABLE = 1 << 8,
	APIC_LVT_MASKED = 1 << 16,
	APIC_DIVIDE_BY_16 = 0x3,

	IOAPIC_SELECT = 0x00,
	IOAPIC_WINDOW = 0x10,
	IOAPIC_VERSION = 0x01,
	IOAPIC_ENTRY = 0x10,
	IOAPIC_LEVEL = 1 << 15,
	IOAPIC_ACTIVE_LOW = 1 << 13,
	IOAPIC_MASKED = 1 << 16,
	ISA_GSI_COUNT = 16,
};

/*
 * KVM's and QEMU's local APIC timers count a 1 GHz bus. On another bus deadlines get
 * longer or shorter, and the bench's times are wrong by as much.
 */
enum { APIC_TICKS_PER_MS = 1000000 / 16, TSC_CALIBRATION_MS = 50, TSC_CALIBRATION_LOOKS = 8 };

struct irq_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3], reserved1, ist[7], reserved2;
	uint16_t reserved3, io_bitmap;
} __attribute__((packed));

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

struct irq_vector {
	volatile unsigned count;
	bool expected;
	void (*handler)(void *argument);
	void *argument;
};

extern const uint8_t irq_stubs[];
void irq_dispatch(const struct irq_frame *frame);

/* Code and data; the TSS in two entries; data and code of CPL 3. */
static uint64_t gdt[7] = {
	0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0, 0, 0x00cff3000000ffff, 0x00affb000000ffff,
};
static struct gate idt[VECTOR_COUNT];
static struct tss tss;
static uint8_t fault_stack[PAGE_SIZE] __attribute__((aligned(16)));
static uint8_t user_interrupt_stack[PAGE_SIZE] __attribute__((aligned(16)));

static struct irq_vector vectors[VECTOR_COUNT];
static volatile unsigned stray_vector;
static volatile bool deadline_expired;
static uintptr_t apic;
static unsigned armed_gsi;
static bool line_armed;

static void gdt_load(void)
{
	struct table_pointer pointer = { sizeof(gdt) - 1, (uintptr_t)gdt };
	uint64_t base = (uintptr_t)&tss;

	tss.rsp[0] = (uintptr_t)(user_interrupt_stack + sizeof(user_interrupt_stack));
	tss.ist[IST_FAULTS - 1] = (uintptr_t)(fault_stack + sizeof(fault_stack));
	tss.io_bitmap = sizeof(tss);
	gdt[SELECTOR_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 |
				(uint64_t)DESCRIPTOR_TSS << 40 | (base >> 24 & 0xff) << 56;
	gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	asm volatile("lgdt %0" : : "m"(pointer) : "memory");
	asm volatile("ltr %w0" : : "r"(SELECTOR_TSS) : "memory");
}

/*
 * Exceptions run on a stack of their own, so that a broken stack pointer still gets its
 * report.
 */
void irq_gate(unsigned vector, const void *entry, bool from_user)
{
	uintptr_t offset = (uintptr_t)entry;

	idt[vector] = (struct gate){
		.offset_low = (uint16_t)offset,
		.selector = SELECTOR_CODE,
		.ist = vector < FIRST_DEVICE_VECTOR ? IST_FAULTS : 0,
		.type = GATE_INTERRUPT | (from_user ? GATE_FROM_USER : 0),
		.offset_middle = (uint16_t)(offset >> 16),
		.offset_high = (uint32_t)(offset >> 32),
	};
}

static void idt_load(void)
{
	struct table_pointer pointer = { sizeof(idt) - 1, (uintptr_t)idt };

	for (unsigned i = 0; i < VECTOR_COUNT; i++)
		irq_gate(i, irq_stubs + STUB_SIZE * i, false);
	asm volatile("lidt %0" : : "m"(pointer) : "memory");
}

static void apic_start(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
	apic = base & 0xffffff000;
	/* First of all: while it is software-disabled, every LVT entry stays masked. */
	mmio_write32(apic + APIC_SPURIOUS, APIC_SOFTWARE_ENABLE | VECTOR_SPURIOUS);
	mmio_write32(apic + APIC_TPR, 0);
	mmio_write32(apic + APIC_LVT_LINT0, APIC_LVT_MASKED);
	mmio_write32(apic + APIC_LVT_LINT1, APIC_LVT_MASKED);
	mmio_write32(apic + APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_16);
	mmio_write32(apic + APIC_LVT_TIMER, VECTOR_TIMER);
}

void irq_init(void)
{
	gdt_load();
	idt_load();
	outb(PIC1_DATA, 0xff);
	outb(PIC2_DATA, 0xff);
	apic_start();
	cpu_interrupts_on();
}

static void fault_report(const struct irq_frame *frame)
{
	uint64_t cr2;

	asm volatile("movq %%cr2, %0" : "=r"(cr2));
	print("# exception %lu, error 0x%lx, rip 0x%lx, rsp 0x%lx, cr2 0x%lx\n", frame->vector,
	      frame->error, frame->rip, frame->rsp, cr2);
	print("# rax 0x%lx, rcx 0x%lx, rdx 0x%lx, rbx 0x%lx, rsi 0x%lx, rdi 0x%lx\n", frame->rax,
	      frame->rcx, frame->rdx, frame->rbx, frame->rsi, frame->rdi);
	test_give_up("exception");
}

void irq_dispatch(const struct irq_frame *frame)
{
	struct irq_vector *vector = &vectors[frame->vector];

	if (frame->vector < FIRST_DEVICE_VECTOR)
		fault_report(frame);
	if (frame->vector == VECTOR_SPURIOUS)
		return; /* nothing is in service, so it takes no EOI */
	if (frame->vector == VECTOR_TIMER) {
		deadline_expired = true;
	} else if (vector->expected) {
		vector->count++;
		if (vector->handler)
			vector->handler(vector->argument);
	} else {
		stray_vector = (unsigned)frame->vector;
	}
	mmio_write32(apic + APIC_EOI, 0);
}

void irq_expect(unsigned vector, void (*handler)(void *argument), void *argument)
{
	cpu_interrupts_off();
	vectors[vector] = (struct irq_vector){
		.expected = true,
		.handler = handler,
		.argument = argument,
	};
	cpu_interrupts_on();
}

unsigned irq_count(unsigned vector)
{
	return vectors[vector].count;
}

void irq_forget(void)
{
	if (line_armed)
		irq_line_mask(armed_gsi);
	cpu_interrupts_off();
	for (unsigned i = VECTOR_MSI; i < VECTOR_COUNT; i++)
		vectors[i] = (struct irq_vector){ .expected = false };
	stray_vector = 0;
	cpu_interrupts_on();
}

unsigned irq_stray_vector(void)
{
	return stray_vector;
}

uint32_t irq_msi_address(void)
{
	return MSI_ADDRESS_BASE | (mmio_read32(apic + APIC_ID) >> 24) << 12;
}

static void ioapic_write(uintptr_t ioapic, uint8_t index, uint32_t value)
{
	mmio_write32(ioapic + IOAPIC_SELECT, index);
	mmio_write32(ioapic + IOAPIC_WINDOW, value);
}

/*
 * Writes the redirection entry of `gsi`, target first, so that it is complete when it gets
 * unmasked.
 */
static void ioapic_route(unsigned gsi, uint32_t entry)
{
	uint32_t first_gsi;
	uintptr_t ioapic = acpi_ioapic(gsi, &first_gsi);
	uint8_t index = (uint8_t)(IOAPIC_ENTRY + 2 * (gsi - first_gsi));

	ioapic_write(ioapic, index + 1, mmio_read32(apic + APIC_ID));
	ioapic_write(ioapic, index, entry);
}

/* PCI lines are active low; on an ISA input the chipset's router has turned them over. */
static uint32_t ioapic_entry(unsigned gsi)
{
	return VECTOR_INTX | IOAPIC_LEVEL | (gsi < ISA_GSI_COUNT ? 0 : IOAPIC_ACTIVE_LOW);
}

void irq_line_arm(unsigned gsi)
{
	armed_gsi = gsi;
	line_armed = true;
	ioapic_route(gsi, ioapic_entry(gsi));
}

void irq_line_mask(unsigned gsi)
{
	line_armed = false;
	ioapic_route(gsi, ioapic_entry(gsi) | IOAPIC_MASKED);
}

static void line_seen(void *gsi)
{
	irq_line_mask(*(unsigned *)gsi);
}

bool irq_line_asserted(unsigned gsi, unsigned ms)
{
	bool asserted;

	irq_expect(VECTOR_INTX, line_seen, &gsi);
	irq_line_arm(gsi);
	asserted = WAIT_UNTIL(ms, irq_count(VECTOR_INTX) > 0);
	irq_line_mask(gsi);
	irq_expect(VECTOR_INTX, NULL, NULL);
	return asserted;
}

/* Both clocks at once: the closest of several looks, since the CPU may be taken away in one. */
static uint32_t timer_and_tsc(uint64_t *tsc)
{
	uint64_t closest = ~0ull;
	uint32_t ticks = 0;

	for (unsigned i = 0; i < TSC_CALIBRATION_LOOKS; i++) {
		uint64_t before = cpu_tsc();
		uint32_t now = mmio_read32(apic + APIC_TIMER_CURRENT);
		uint64_t took = cpu_tsc() - before;

		if (took >= closest)
			continue;
		closest = took;
		*tsc = before + took / 2;
		ticks = now;
	}
	return ticks;
}

uint64_t irq_tsc_khz(void)
{
	uint64_t tsc_start, tsc_end;
	uint32_t start, end;

	deadline_start(TSC_CALIBRATION_MS * 100);
	start = timer_and_tsc(&tsc_start);
	do {
		end = timer_and_tsc(&tsc_end);
	} while (start - end < TSC_CALIBRATION_MS * APIC_TICKS_PER_MS);
	deadline_stop();
	return (tsc_end - tsc_start) * APIC_TICKS_PER_MS / (start - end);
}

void deadline_start(unsigned ms)
{
	deadline_expired = false;
	mmio_write32(apic + APIC_TIMER_INITIAL, ms * APIC_TICKS_PER_MS);
}

bool deadline_passed(void)
{
	return deadline_expired;
}

void deadline_stop(void)
{
	mmio_write32(apic + APIC_TIMER_INITIAL, 0);
}

void irq_sleep(unsigned ms)
{
	(void)WAIT_UNTIL(ms, false);
}
