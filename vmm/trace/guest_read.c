// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/guest_read.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/number.h"
#include "vmm/trace/array.h"

#define LINE_ROOM 1024
#define SECTOR 512

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Read a number of at most @limit, with @after behind it, and move @at past both. */
static bool take(const char **at, const char *after, uint64_t limit, uint64_t *value)
{
	size_t len = strlen(after);

	if (!number_parse(*at, value, at) || *value > limit || strncmp(*at, after, len))
		return false;
	*at += len;
	return true;
}

/*
 * "TASK-PID [CPU] FLAGS TIME: " before the event's name, which begins at @name.  A
 * task may be called anything, so this is read backwards.
 */
static enum guest_line take_prefix(const char *line, const char *name, struct guest_event *event)
{
	const char *time = name - 2, *cpu;
	uint64_t number;

	while (time > line && is_digit(time[-1]))
		time--;
	if (time > line && time[-1] == '.')
		return GUEST_LINE_OTHER_CLOCK;
	cpu = memrchr(line, '[', (size_t)(time - line));
	if (!cpu)
		return GUEST_LINE_BROKEN;
	cpu++;
	if (!take(&cpu, "]", UINT16_MAX, &number) ||
	    !take(&time, ": ", UINT64_MAX, &event->time))
		return GUEST_LINE_BROKEN;
	event->cpu = (uint16_t)number;
	return GUEST_LINE_EVENT;
}

/* The kernel's letters for an operation; -1: none that a virtio disk is asked for. */
static int operation(const char *letters)
{
	/* A flush that goes before it, unless it is the operation itself: "FF". */
	if (letters[0] == 'F' && letters[1] != ' ')
		letters++;
	switch (letters[0]) {
	case 'R':
		return VIRTIO_BLK_T_IN;
	case 'W':
		return letters[1] == 'Z' ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_OUT;
	case 'F':
		return VIRTIO_BLK_T_FLUSH;
	case 'D':
		return letters[1] == 'E' ? -1 : VIRTIO_BLK_T_DISCARD;
	case 'N': /* what kernels that know no "WZ" write for it */
		return VIRTIO_BLK_T_WRITE_ZEROES;
	default:
		return -1;
	}
}

/* "MAJOR,MINOR LETTERS [BYTES ](COMMAND) SECTOR + COUNT ", the same in all three. */
static bool take_request(const char *at, struct guest_event *event)
{
	uint64_t major, minor, count;
	int op;

	at += strspn(at, " ");
	if (!take(&at, ",", UINT32_MAX >> GUEST_MINOR_BITS, &major) ||
	    !take(&at, " ", (1u << GUEST_MINOR_BITS) - 1, &minor))
		return false;
	op = operation(at);
	at = strstr(at, ") ");
	if (op < 0 || !at)
		return false;
	at += 2;
	if (!take(&at, " + ", UINT64_MAX, &event->key.sector) ||
	    !take(&at, " ", UINT32_MAX / SECTOR, &count))
		return false;
	event->device = (uint32_t)(major << GUEST_MINOR_BITS | minor);
	event->key.op = (uint8_t)op;
	event->key.len = (uint32_t)count * SECTOR;
	return true;
}

enum guest_line guest_line_parse(const char *line, struct guest_event *event)
{
	static const struct {
		const char *mark;
		enum guest_event_kind kind;
	} events[] = {
		{ ": block_rq_issue: ", GUEST_ISSUE },
		{ ": block_rq_complete: ", GUEST_COMPLETE },
		{ ": block_rq_requeue: ", GUEST_REQUEUE },
	};

	for (size_t i = 0; i < array_size(events); i++) {
		const char *mark = strstr(line, events[i].mark);
		enum guest_line result;

		if (!mark)
			continue;
		event->kind = (uint8_t)events[i].kind;
		result = take_prefix(line, mark + 2, event);
		if (result == GUEST_LINE_EVENT &&
		    !take_request(mark + strlen(events[i].mark), event))
			result = GUEST_LINE_BROKEN;
		return result;
	}
	return GUEST_LINE_OTHER;
}

static int add_event(struct guest_log *log, size_t *room, const struct guest_event *event)
{
	if (!array_make_room(&log->event, room, log->count))
		return -ENOMEM;
	log->event[log->count++] = *event;
	return 0;
}

static int read_lines(struct guest_log *log, FILE *file)
{
	char line[LINE_ROOM];
	struct guest_event event;
	bool begins = true; /* it is not the rest of a line too long to be one of these */
	size_t room = 0;
	int ret = 0;

	for (; !ret && fgets(line, sizeof(line), file); begins = strchr(line, '\n')) {
		if (!begins)
			continue;
		switch (guest_line_parse(line, &event)) {
		case GUEST_LINE_EVENT:
			ret = add_event(log, &room, &event);
			break;
		case GUEST_LINE_BROKEN:
			log->broken++;
			break;
		case GUEST_LINE_OTHER_CLOCK:
			log->other_clock++;
			break;
		case GUEST_LINE_OTHER:
			break;
		}
	}
	return ret ? ret : ferror(file) ? -EIO : 0;
}

int guest_log_read(struct guest_log *log, const char *file)
{
	FILE *stream = fopen(file, "re");
	int ret;

	*log = (struct guest_log){ 0 };
	if (!stream) {
		ret = -errno;
		log_error("'%s': cannot open: %s", file, strerror(-ret));
		return ret;
	}
	ret = read_lines(log, stream);
	fclose(stream);
	if (ret)
		log_error("'%s': cannot read: %s", file, strerror(-ret));
	return ret;
}
