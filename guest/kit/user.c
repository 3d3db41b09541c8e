// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/user.h"

#include "guest/kit/irq.h"
#include "guest/kit/test.h"

enum {
	EVENT_STUB_SIZE = 32,
	VECTOR_BREAKPOINT = 3,
};

/* user.S */
extern const uint8_t user_event_stubs[], user_call[];

void user_init(void)
{
	irq_gate(VECTOR_BREAKPOINT, user_call, true);
}

unsigned user_event_vector(unsigned event)
{
	unsigned vector = VECTOR_MSI + event;

	CHECK(event < USER_EVENTS);
	irq_gate(vector, user_event_stubs + EVENT_STUB_SIZE * event, false);
	return vector;
}
