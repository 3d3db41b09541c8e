/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instructions that C has no words for. Device accesses are one `mov` of exactly the
 * stated width, so that a test decides what the device sees and the compiler does not.
 */
#pragma once

#include <stdint.h>

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t value;

	asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline void outb(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t value)
{
	asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t mmio_read8(uintptr_t address)
{
	uint8_t value;

	asm volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
	return value;
}

static inline uint16_t mmio_read16(uintptr_t address)
{
	uint16_t value;

	asm volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline uint32_t mmio_read32(uintptr_t address)
{
	uint32_t value;

	asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline uint64_t mmio_read64(uintptr_t address)
{
	uint64_t value;

	asm volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline void mmio_write8(uintptr_t address, uint8_t value)
{
	asm volatile("movb %0, (%1)" : : "q"(value), "r"(address) : "memory");
}

static inline void mmio_write16(uintptr_t address, uint16_t value)
{
	asm volatile("movw %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline void mmio_write32(uintptr_t address, uint32_t value)
{
	asm volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline void mmio_write64(uintptr_t address, uint64_t value)
{
	asm volatile("movq %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr"
		     :
		     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		     : "memory");
}

static inline void cpu_interrupts_off(void)
{
	asm volatile("cli" : : : "memory");
}

static inline void cpu_interrupts_on(void)
{
	asm volatile("sti" : : : "memory");
}

/*
 * STI holds interrupts off for one more instruction: none can slip in before the HLT and
 * be missed.
 */
static inline void cpu_interrupts_on_and_halt(void)
{
	asm volatile("sti; hlt" : : : "memory");
}

static inline uint64_t cpu_tsc(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void cpu_relax(void)
{
	asm volatile("pause" : : : "memory");
}

/* An exception without an interrupt table: the CPU gives up. */
static inline _Noreturn void cpu_triple_fault(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) nothing = { 0, 0 };

	asm volatile("lidt %0; int3" : : "m"(nothing));
	__builtin_unreachable();
}
