/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running at CPL 3. Some hypervisors emulate a guest's CPL 0 instruction by instruction and run
 * CPL 3 on the CPU: what is measured must run there. All memory, the devices' too, is the user's
 * (boot.S), so a driver needs CPL 0 for ports and HLT only.
 */
#pragma once

#include <stdint.h>

enum { USER_EVENTS = 16 };

/* To be called once before the others. */
void user_init(void);

/*
 * Runs function(argument) at CPL 3 with interrupts on, on a stack of 16 KiB; returns when it does.
 * Not from within itself. A CHECK must not fail there: printing takes ports.
 */
void user_run(void (*function)(void *argument), void *argument);

/*
 * Event `event` is from now on the interrupt whose vector is returned. Its handler is the
 * shortest possible: it sets user_event[event], counts, and ends the interrupt.
 */
unsigned user_event_vector(unsigned event);

extern volatile uint8_t user_event[USER_EVENTS]; /* set; cleared by who saw it */
extern volatile uint32_t user_event_count;       /* of all events */

/*
 * At CPL 3: sleeps until the next interrupt of any kind, but not at all if user_event_count is no
 * longer `count`.
 */
void user_halt(uint32_t count);
