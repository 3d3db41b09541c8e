// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/guest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "hw/base/clock.h"
#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/json.h"
#include "vmm/trace/guest_read.h"

/* Events so long before and after the recording are not looked at. */
#define MARGIN (60 * NS_PER_S)

/* Where so many equal requests began while one was under way, it is not looked for. */
#define LOOKS_MAX 1024

#define ANY_DISK (-2)

/* Host TSC to CLOCK_MONOTONIC. */
struct clock_line {
	uint64_t tsc, ns; /* of the first pair */
	double ns_per_tick;
};

/* A request, by the guest: from issue to completion. */
struct interval {
	struct guest_key key;
	uint64_t issue, done; /* ns */
	unsigned device; /* index of trace_guest.device[] */
};

/* A request, by the VMM. */
struct entry {
	struct guest_key key;
	struct trace_request *request;
	const struct interval *claim; /* the only one that it may be, so far */
	bool disputed;
};

/* What the guest and the VMM know, to be joined. */
struct sides {
	struct trace *trace;
	struct trace_guest *guest;
	struct clock_line line;
	struct guest_log log;
	struct interval *interval; /* by device, key and time */
	size_t interval_count;
	struct entry *entry;       /* by key and time */
	size_t entry_count;
};

static int compare_keys(const struct guest_key *a, const struct guest_key *b)
{
	int order = compare_numbers(a->sector, b->sector);

	if (!order)
		order = compare_numbers(a->len, b->len);
	return order ? order : compare_numbers(a->op, b->op);
}

static bool pair_to_ns(const struct clock_line *line, uint64_t tsc, uint64_t *ns)
{
	double ticks = (double)(int64_t)(tsc - line->tsc) * line->ns_per_tick;

	/* Before the clock's zero, or after centuries. */
	if (ticks < -(double)line->ns || ticks > 0x1p62)
		return false;
	*ns = line->ns + (uint64_t)(int64_t)ticks;
	return true;
}

/*
 * The line through the first and the last pair.  What the others are off it, and the
 * ticks for which a pair's reading took, is how far it may be wrong.
 */
static int fit_line(struct sides *sides, const char *file)
{
	const struct trace *trace = sides->trace;
	const struct trace_clock *first = trace->clock;
	const struct trace_clock *last = trace->clock_count ? first + trace->clock_count - 1 : first;
	struct clock_line *line = &sides->line;
	uint64_t off = 0, ticks = 0;
	double error;

	if (trace->clock_count < 2 || last->tsc <= first->tsc ||
	    last->monotonic <= first->monotonic) {
		log_error("'%s': cannot be joined: the recording lacks the clock's pairs", file);
		return -ENODATA;
	}
	line->tsc = first->tsc;
	line->ns = first->monotonic;
	line->ns_per_tick = (double)(last->monotonic - first->monotonic) /
		(double)(last->tsc - first->tsc);
	for (const struct trace_clock *pair = first; pair <= last; pair++) {
		uint64_t ns;

		if (!pair_to_ns(line, pair->tsc, &ns))
			continue;
		off = max(off, ns > pair->monotonic ? ns - pair->monotonic : pair->monotonic - ns);
		ticks = max(ticks, pair->tsc_error);
	}
	error = (double)off + (double)ticks * line->ns_per_tick + 1;
	if (error > NS_PER_S) {
		log_error("'%s': cannot be joined: the recording's clocks may be wrong by over a "
			  "second", file);
		return -ENODATA;
	}
	sides->guest->error = (uint64_t)error;
	return 0;
}

/* Events with times of the host's; those that have none, or are far away, go. */
static int set_times(struct sides *sides, const char *file)
{
	struct trace *trace = sides->trace;
	struct guest_log *log = &sides->log;
	bool found = false;
	size_t kept = 0;

	for (size_t i = 0; i < log->count; i++) {
		struct guest_event event = log->event[i];
		const struct trace_thread *vcpu = trace_vcpu(trace, event.cpu);

		if (!vcpu || !vcpu->tsc_known) {
			log->broken++;
			continue;
		}
		found = true;
		if (!pair_to_ns(&sides->line, event.time - vcpu->tsc_offset, &event.time) ||
		    event.time + MARGIN < trace->begin || event.time > trace->end + MARGIN)
			continue;
		log->event[kept++] = event;
	}
	sides->guest->broken = log->broken;
	if (log->count && !found) {
		log_error("'%s': cannot be joined: KVM did not tell the offset of the guest's TSC",
			  file);
		return -ENODATA;
	}
	log->count = kept;
	return 0;
}

/* --- The guest's requests. --- */

static int compare_events(const void *left, const void *right)
{
	const struct guest_event *a = left, *b = right;
	int order = compare_numbers(a->device, b->device);

	if (!order)
		order = compare_keys(&a->key, &b->key);
	if (!order)
		order = compare_numbers(a->time, b->time);
	return order ? order : compare_numbers(a->kind, b->kind);
}

static bool is_same(const struct guest_event *a, const struct guest_event *b)
{
	return a->device == b->device && !compare_keys(&a->key, &b->key);
}

/* Its index; -1: there are too many. */
static int add_device(struct trace_guest *guest, uint32_t number)
{
	struct trace_guest_device *device = &guest->device[guest->device_count];
	uint32_t major = number >> GUEST_MINOR_BITS;
	uint32_t minor = number & ((1u << GUEST_MINOR_BITS) - 1);

	/* They come sorted. */
	if (guest->device_count && device[-1].major == major && device[-1].minor == minor)
		return (int)guest->device_count - 1;
	if (guest->device_count == TRACE_GUEST_DEVICES)
		return -1;
	*device = (struct trace_guest_device){ .major = major, .minor = minor, .disk = -1 };
	return (int)guest->device_count++;
}

/*
 * The events of one device and key, by time.  While the guest has two equal requests
 * at once, which of them a completion ends cannot be told.
 */
static void add_intervals(struct sides *sides, unsigned device, const struct guest_event *event,
			  size_t count)
{
	const struct guest_event *issue = NULL;
	unsigned open = 0;
	bool muddled = false;

	for (const struct guest_event *end = event + count; event < end; event++) {
		if (event->kind == GUEST_ISSUE) {
			muddled = open++;
			issue = event;
			continue;
		}
		if (!open)
			continue; /* begun before the record */
		open--;
		if (event->kind == GUEST_COMPLETE && muddled)
			sides->guest->muddled++;
		else if (event->kind == GUEST_COMPLETE)
			sides->interval[sides->interval_count++] = (struct interval){
				.key = event->key,
				.issue = issue->time,
				.done = event->time,
				.device = device,
			};
	}
}

static int make_intervals(struct sides *sides)
{
	const struct guest_log *log = &sides->log;
	size_t count;

	sides->interval = reallocarray(NULL, log->count / 2 + 1, sizeof(*sides->interval));
	if (!sides->interval)
		return -ENOMEM;
	qsort(log->event, log->count, sizeof(*log->event), compare_events);
	for (size_t i = 0; i < log->count; i += count) {
		const struct guest_event *event = &log->event[i];
		int device = add_device(sides->guest, event->device);

		for (count = 1; i + count < log->count && is_same(event, event + count);)
			count++;
		if (device < 0)
			sides->guest->devices_ignored += count;
		else
			add_intervals(sides, (unsigned)device, event, count);
	}
	return 0;
}

/* --- The VMM's requests. --- */

static int compare_entries(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	int order = compare_keys(&a->key, &b->key);

	return order ? order : compare_numbers(a->request->t[TRACE_POP], b->request->t[TRACE_POP]);
}

static int make_entries(struct sides *sides)
{
	struct trace *trace = sides->trace;

	sides->entry = reallocarray(NULL, trace->request_count + 1, sizeof(*sides->entry));
	if (!sides->entry)
		return -ENOMEM;
	for (size_t i = 0; i < trace->request_count; i++) {
		struct trace_request *request = &trace->request[i];

		if (request->disk < trace->disk_count)
			sides->entry[sides->entry_count++] = (struct entry){
				.key = { request->sector, request->len, request->op },
				.request = request,
			};
	}
	qsort(sides->entry, sides->entry_count, sizeof(*sides->entry), compare_entries);
	return 0;
}

/* The first entry that may be that of @interval: one of its key, not popped before it. */
static struct entry *first_entry(const struct sides *sides, const struct interval *interval)
{
	size_t low = 0, high = sides->entry_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct entry *entry = &sides->entry[middle];
		int order = compare_keys(&entry->key, &interval->key);

		if (!order)
			order = compare_numbers(entry->request->t[TRACE_POP] + sides->guest->error,
					interval->issue);
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return &sides->entry[low];
}

/*
 * How many entries of @disk lie within @interval: none; one, which is *@found; or two,
 * which stands for several, and for what it would take long to tell.
 */
static unsigned find_entries(const struct sides *sides, const struct interval *interval,
			     int disk, struct entry **found)
{
	uint64_t done = interval->done + sides->guest->error;
	struct entry *entry = first_entry(sides, interval);
	const struct entry *end = sides->entry + sides->entry_count;
	unsigned count = 0;

	for (unsigned looks = 0; entry < end && count < 2; entry++, looks++) {
		const struct trace_request *request = entry->request;

		if (compare_keys(&entry->key, &interval->key) || request->t[TRACE_POP] > done)
			break;
		if (looks == LOOKS_MAX)
			return 2;
		if (request->t[TRACE_PUSH] > done || (disk != ANY_DISK && request->disk != disk))
			continue;
		*found = entry;
		count++;
	}
	return count;
}

/* --- Which device is which disk? --- */

/* A request that could be one of several tells nothing. */
static void vote(const struct sides *sides, const struct interval *interval, uint64_t *votes)
{
	struct entry *entry;

	if (find_entries(sides, interval, ANY_DISK, &entry) == 1)
		votes[interval->device * sides->trace->disk_count + entry->request->disk]++;
}

/* The disk with nearly all of the votes, or -1. */
static int elected(const uint64_t *votes, size_t disks)
{
	uint64_t most = 0, all = 0;
	int disk = -1;

	for (size_t i = 0; i < disks; i++) {
		all += votes[i];
		if (votes[i] > most) {
			most = votes[i];
			disk = (int)i;
		}
	}
	return 10 * most > 9 * all ? disk : -1;
}

/* A disk is one device: that with more votes for it. */
static void learn_disks(struct sides *sides, const uint64_t *votes)
{
	struct trace_guest *guest = sides->guest;
	size_t disks = sides->trace->disk_count;

	for (unsigned i = 0; i < guest->device_count; i++) {
		int disk = elected(&votes[i * disks], disks);

		for (unsigned other = 0; other < i && disk >= 0; other++) {
			if (guest->device[other].disk != disk)
				continue;
			if (votes[other * disks + (size_t)disk] >= votes[i * disks + (size_t)disk])
				disk = -1;
			else
				guest->device[other].disk = -1;
		}
		guest->device[i].disk = disk;
	}
}

static int find_disks(struct sides *sides)
{
	uint64_t *votes = calloc(sides->guest->device_count * sides->trace->disk_count + 1,
				 sizeof(*votes));

	if (!votes)
		return -ENOMEM;
	for (size_t i = 0; i < sides->interval_count; i++)
		vote(sides, &sides->interval[i], votes);
	learn_disks(sides, votes);
	free(votes);
	return 0;
}

/* --- The join. --- */

/*
 * What lies before the issue by no more than the error lies at it.  A doorbell before
 * that was rung for another request.
 */
static void set_issue(struct trace_request *request, uint64_t issue, uint64_t error)
{
	bool foreign = false;

	for (unsigned i = TRACE_EXIT; i <= TRACE_POP; i++) {
		if (!request->t[i] || request->t[i] >= issue)
			continue;
		if (request->t[i] + error >= issue)
			issue = request->t[i];
		else
			foreign = true;
	}
	for (unsigned i = TRACE_EXIT; foreign && i < TRACE_POP; i++)
		request->t[i] = 0;
	if (foreign) {
		request->doorbell = TRACE_POLLED;
		request->bell_tid = 0;
	}
	request->t[TRACE_ISSUE] = issue;
}

/* Likewise: an interrupt after the end was not what told the guest. */
static void set_done(struct trace_request *request, uint64_t done, uint64_t error)
{
	bool foreign = false;

	for (unsigned i = TRACE_ENTRY; i >= TRACE_PUSH; i--) {
		if (!request->t[i] || request->t[i] <= done)
			continue;
		if (request->t[i] <= done + error || i <= TRACE_PUBLISH)
			done = request->t[i];
		else
			foreign = true;
	}
	for (unsigned i = TRACE_INTERRUPT; foreign && i <= TRACE_ENTRY; i++)
		request->t[i] = 0;
	if (foreign)
		request->interrupt = TRACE_COALESCED;
	request->t[TRACE_DONE] = done;
}

static void claim(struct sides *sides, const struct interval *interval)
{
	struct trace_guest_device *device = &sides->guest->device[interval->device];
	struct entry *found;
	unsigned seen = find_entries(sides, interval, device->disk, &found);

	/* One that lies across an end of the recording may be in it, or not. */
	if (!seen && (interval->issue < sides->trace->begin || interval->done > sides->trace->end))
		return;
	device->requests++;
	if (!seen)
		device->absent++;
	else if (seen > 1 || found->disputed)
		device->ambiguous++;
	else if (found->claim) {
		found->disputed = true;
		device->joined--;
		device->ambiguous += 2;
	} else {
		found->claim = interval;
		device->joined++;
	}
}

static void fill_in(struct sides *sides)
{
	for (size_t i = 0; i < sides->entry_count; i++) {
		const struct entry *entry = &sides->entry[i];

		if (!entry->claim || entry->disputed)
			continue;
		set_issue(entry->request, entry->claim->issue, sides->guest->error);
		set_done(entry->request, entry->claim->done, sides->guest->error);
		sides->guest->joined++;
	}
}

static int join_all(struct sides *sides, const char *file)
{
	int ret = guest_log_read(&sides->log, file);

	if (!ret && !sides->log.count) {
		log_error("'%s': has no events of the block layer%s", file, sides->log.other_clock ?
			  " with trace_clock=x86-tsc" : "");
		return -ENODATA;
	}
	if (!ret)
		ret = fit_line(sides, file);
	if (!ret)
		ret = set_times(sides, file);
	if (!ret && ((ret = make_intervals(sides)) || (ret = make_entries(sides)) ||
		     (ret = find_disks(sides))))
		log_error("'%s': cannot join: out of memory", file);
	if (ret)
		return ret;
	for (size_t i = 0; i < sides->interval_count; i++)
		claim(sides, &sides->interval[i]);
	fill_in(sides);
	return 0;
}

int trace_guest_load(struct trace *trace, const char *file, struct trace_guest *guest)
{
	struct sides sides = { .trace = trace, .guest = guest };
	int ret;

	*guest = (struct trace_guest){ 0 };
	ret = join_all(&sides, file);
	if (!ret)
		trace->guest = guest;
	free(sides.entry);
	free(sides.interval);
	free(sides.log.event);
	return ret;
}

void trace_guest_print(const struct trace_guest *guest, const struct trace *trace, FILE *out)
{
	fprintf(out, "guest: joined %" PRIu64 " of %zu requests, whose issue and completion are "
		"exact to %" PRIu64 " ns\n", guest->joined, trace->request_count, guest->error);
	for (unsigned i = 0; i < guest->device_count; i++) {
		const struct trace_guest_device *device = &guest->device[i];

		if (device->disk >= 0)
			fprintf(out, "  device %u,%u is disk %d (%s): %" PRIu64 " requests, %" PRIu64
				" joined, %" PRIu64 " ambiguous, %" PRIu64 " not found\n",
				device->major, device->minor, device->disk,
				trace->disk[device->disk].name, device->requests, device->joined,
				device->ambiguous, device->absent);
		else if (device->requests)
			fprintf(out, "  device %u,%u is no disk that was recorded: %" PRIu64
				" requests\n", device->major, device->minor, device->requests);
	}
	if (guest->muddled || guest->broken || guest->devices_ignored)
		fprintf(out, "  left out: %" PRIu64 " of equal requests at one time, %" PRIu64
			" broken lines, %" PRIu64 " events of devices beyond the first %u\n",
			guest->muddled, guest->broken, guest->devices_ignored, TRACE_GUEST_DEVICES);
}

static void write_device(const struct trace_guest_device *device, struct json *json)
{
	json_object(json, NULL);
	json_unsigned(json, "major", device->major);
	json_unsigned(json, "minor", device->minor);
	if (device->disk >= 0)
		json_unsigned(json, "disk", (unsigned)device->disk);
	json_unsigned(json, "requests", device->requests);
	json_unsigned(json, "joined", device->joined);
	json_unsigned(json, "ambiguous", device->ambiguous);
	json_unsigned(json, "absent", device->absent);
	json_end(json);
}

void trace_guest_write(const struct trace_guest *guest, struct json *json)
{
	json_object(json, "guest");
	json_unsigned(json, "joined", guest->joined);
	json_unsigned(json, "error_ns", guest->error);
	json_unsigned(json, "muddled", guest->muddled);
	json_unsigned(json, "broken_lines", guest->broken);
	json_unsigned(json, "ignored_events", guest->devices_ignored);
	json_array(json, "devices");
	for (unsigned i = 0; i < guest->device_count; i++)
		write_device(&guest->device[i], json);
	json_end(json);
	json_end(json);
}
