// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/tape.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/trace/array.h"

#define HEADER_WORDS 2
#define REASONS_MAX 256 /* each exit is compared with them */

static int add_reason(struct tape *tape, struct trace *trace,
		      const struct trace_event *event, uint64_t *number)
{
	size_t len = min(event->reason_len, sizeof(trace->reason->name) - 1), i;
	struct trace_reason *reason;

	for (i = 0; i < trace->reason_count; i++) {
		reason = &trace->reason[i];
		if (!strncmp(reason->name, event->reason, len) && !reason->name[len])
			break;
	}
	*number = i;
	if (i < trace->reason_count)
		return 0;
	if (i == REASONS_MAX)
		return -E2BIG;
	if (!array_make_room(&trace->reason, &tape->reasons_room, i))
		return -ENOMEM;
	reason = &trace->reason[trace->reason_count++];
	memset(reason, 0, sizeof(*reason));
	memcpy(reason->name, event->reason, len);
	log_disarm(reason->name);
	return 0;
}

static int add_thread(struct tape *tape, struct trace *trace,
		      const struct trace_event *event)
{
	struct trace_thread *thread = trace_thread(trace, event->tid);

	while (trace->tid_count <= event->tid) {
		if (!array_make_room(&trace->thread_of_tid, &tape->tids_room, trace->tid_count))
			return -ENOMEM;
		trace->thread_of_tid[trace->tid_count++] = 0;
	}
	if (!thread) {
		if (!array_make_room(&trace->thread, &tape->threads_room, trace->thread_count))
			return -ENOMEM;
		thread = &trace->thread[trace->thread_count++];
		*thread = (struct trace_thread){
			.tid = event->tid,
			.vcpu = TRACE_NO_VCPU,
		};
		trace->thread_of_tid[event->tid] = (uint32_t)trace->thread_count;
	}
	/* perf calls one ":123" as long as it does not know its name. */
	if (!*thread->name || *thread->name == ':')
		memcpy(thread->name, event->comm, sizeof(thread->name));
	log_disarm(thread->name);
	return 0;
}

int tape_add(struct tape *tape, struct trace *trace, struct trace_event *event)
{
	uint64_t *word;
	int ret = add_thread(tape, trace, event);

	if (ret == 0 && event->reason) {
		ret = add_reason(tape, trace, event, &event->arg[event->count]);
		event->count++;
	}
	if (ret)
		return ret;
	while (tape->words_room < tape->words + HEADER_WORDS + event->count)
		if (!array_enlarge((void **)&tape->word, &tape->words_room,
				   sizeof(*word)))
			return -ENOMEM;
	word = tape->word + tape->words;
	word[0] = event->time;
	word[1] = event->type | (uint64_t)event->count << 8 | (uint64_t)event->cpu << 16 |
		(uint64_t)event->tid << 32;
	memcpy(word + HEADER_WORDS, event->arg, event->count * sizeof(*word));
	tape->words += HEADER_WORDS + event->count;
	tape->events++;
	tape->disordered |= event->time < tape->last;
	tape->last = event->time;
	return 0;
}

static unsigned count_at(const uint64_t *word)
{
	return word[1] >> 8 & 0xff;
}

static int compare_times(const void *left, const void *right, void *words)
{
	const size_t l = *(const size_t *)left, r = *(const size_t *)right;
	const uint64_t *word = words;

	if (word[l] != word[r])
		return word[l] < word[r] ? -1 : 1;
	return l < r ? -1 : l > r;
}

int tape_sort(struct tape *tape)
{
	size_t at = 0;

	if (!tape->disordered)
		return 0;
	tape->order = calloc(tape->events, sizeof(*tape->order));
	if (!tape->order)
		return -ENOMEM;
	for (size_t i = 0; i < tape->events; i++) {
		tape->order[i] = at;
		at += HEADER_WORDS + count_at(tape->word + at);
	}
	qsort_r(tape->order, tape->events, sizeof(*tape->order), compare_times,
		tape->word);
	return 0;
}

bool tape_next(const struct tape *tape, struct tape_cursor *cursor,
		    struct trace_event *event)
{
	size_t at = cursor->at;
	const uint64_t *word;

	if (cursor->index == tape->events)
		return false;
	if (tape->order)
		at = tape->order[cursor->index];
	word = tape->word + at;
	*event = (struct trace_event){
		.time = word[0],
		.type = word[1] & 0xff,
		.count = (uint8_t)count_at(word),
		.cpu = (uint16_t)(word[1] >> 16),
		.tid = (uint32_t)(word[1] >> 32),
	};
	memcpy(event->arg, word + HEADER_WORDS, event->count * sizeof(*word));
	cursor->index++;
	cursor->at = at + HEADER_WORDS + event->count;
	return true;
}

void tape_free(struct tape *tape)
{
	free(tape->word);
	free(tape->order);
}
