/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts: descriptor tables, exceptions, the local APIC and its timer, the I/O APICs,
 * and waiting. The kit runs with interrupts on and counts what arrives at each vector.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	VECTOR_TIMER = 0x20,
	VECTOR_MSI = 0x30, /* the first of VECTOR_MSI_COUNT for a test's own use */
	VECTOR_MSI_COUNT = 0x20,
	VECTOR_INTX = 0x50,
	VECTOR_SPURIOUS = 0x5f,
	VECTOR_COUNT = 0x60, /* as many as boot.S has stubs */
};

#define MSI_ADDRESS_BASE 0xfee00000u

/* Loads GDT, TSS and IDT, masks the old PICs, starts the local APIC and turns interrupts on. */
void irq_init(void);

/*
 * Points `vector` straight to `entry`, which ends the interrupt itself. `from_user`: an instruction
 * at CPL 3 may ask for it.
 */
void irq_gate(unsigned vector, const void *entry, bool from_user);

/*
 * From now on `vector` is expected; `handler` (may be NULL) runs inside the interrupt,
 * before its EOI.
 */
void irq_expect(unsigned vector, void (*handler)(void *argument), void *argument);

/* How often `vector` came since irq_expect(). */
unsigned irq_count(unsigned vector);

/*
 * Forgets all counts and handlers and masks what irq_line_arm() armed: the next test
 * starts clean.
 */
void irq_forget(void);

/* The last vector that came without irq_expect() since irq_forget(), or 0. */
unsigned irq_stray_vector(void);

/* The MSI address that reaches this CPU. */
uint32_t irq_msi_address(void);

/* Unmasks I/O APIC input `gsi` as level-triggered on VECTOR_INTX, or masks it. */
void irq_line_arm(unsigned gsi);
void irq_line_mask(unsigned gsi);

/*
 * True if level-triggered input `gsi` is asserted or becomes so within `ms`: unmasks it
 * and waits for an interrupt. Takes over VECTOR_INTX and leaves the input masked.
 */
bool irq_line_asserted(unsigned gsi, unsigned ms);

/*
 * TSC ticks in a millisecond, by the local APIC timer: the one clock that every monitor has.
 * Takes 50 ms, and the timer.
 */
uint64_t irq_tsc_khz(void);

/* A deadline by the local APIC timer. Expiry wakes a halted CPU. One at a time. */
void deadline_start(unsigned ms);
bool deadline_passed(void);
void deadline_stop(void);

/* Long enough for any request on a busy machine; only a failing test waits this long. */
enum { PATIENCE_MS = 10000 };

/* How long a test watches for something that must not happen. */
enum { QUIET_MS = 20 };

/* Sleeps until an interrupt has made `condition` true. False if it is not within `ms`. */
#define WAIT_UNTIL(ms, condition)                                                                  \
	({                                                                                         \
		bool met_;                                                                         \
		deadline_start(ms);                                                                \
		for (;;) {                                                                         \
			cpu_interrupts_off();                                                      \
			met_ = (condition);                                                        \
			if (met_ || deadline_passed())                                             \
				break;                                                             \
			cpu_interrupts_on_and_halt();                                              \
		}                                                                                  \
		cpu_interrupts_on();                                                               \
		deadline_stop();                                                                   \
		met_;                                                                              \
	})

/* The same by looking again and again, for what no interrupt announces. */
#define POLL_UNTIL(ms, condition)                                                                  \
	({                                                                                         \
		bool met_;                                                                         \
		deadline_start(ms);                                                                \
		while (!(met_ = (condition)) && !deadline_passed())                                \
			cpu_relax();                                                               \
		deadline_stop();                                                                   \
		met_;                                                                              \
	})

/* Sleeps for `ms`, interrupts on. */
void irq_sleep(unsigned ms);
