// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/probe-log.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/fence.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct probe_event *events; /* lock, and what follows */
static size_t filled, room;

static void note(enum probe_log_id id, const int64_t *arguments, size_t size)
{
	struct probe_event *event;

	pthread_mutex_lock(&lock);
	if (filled == room) {
		room = room ? 2 * room : 1024;
		events = realloc(events, room * sizeof(*events));
		ck_assert_ptr_nonnull(events);
	}
	event = &events[filled++];
	event->id = id;
	memcpy(&event->doorbell, arguments, size); /* all begin there */
	pthread_mutex_unlock(&lock);
}

#define DEFINE(name, meaning, ...)                                                 \
	unsigned short vmm_##name##_semaphore;                                     \
	void probe_##name(PROBE_EACH(PROBE_PARAMETER, __VA_ARGS__))                \
	{                                                                          \
		const int64_t arguments[] = { __VA_ARGS__ };                       \
		note(PROBE_LOG_##name, arguments, sizeof(arguments));              \
	}
PROBE_TABLE(DEFINE)

/* ThreadSanitizer's, where it is: in the program no thread writes what others read plainly. */
__attribute__((weak)) void AnnotateBenignRaceSized(const char *file, int line,
						   const volatile void *memory, size_t size,
						   const char *why);

static void want_one(unsigned short *semaphore, bool wanted)
{
	if (AnnotateBenignRaceSized)
		AnnotateBenignRaceSized(__FILE__, __LINE__, semaphore, sizeof(*semaphore),
					"the kernel's part");
	store_relaxed(semaphore, wanted);
}

static void want(bool wanted)
{
#define WANT(name, meaning, ...) want_one(&vmm_##name##_semaphore, wanted);
	PROBE_TABLE(WANT)
}

void probe_log_begin(void)
{
	pthread_mutex_lock(&lock);
	filled = 0;
	pthread_mutex_unlock(&lock);
	want(true);
}

void probe_log_end(void)
{
	want(false);
}

size_t probe_log_count(void)
{
	return filled;
}

const struct probe_event *probe_log_at(size_t index)
{
	ck_assert_uint_lt(index, filled);
	return &events[index];
}

size_t probe_log_count_of(enum probe_log_id id)
{
	size_t found = 0;

	for (size_t i = 0; i < filled; i++)
		found += events[i].id == id;
	return found;
}
