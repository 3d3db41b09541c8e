/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of trace_join() share. */
#pragma once

#include "vmm/trace/join.h"

#define JOIN_BUCKETS 1024

/* A list of requests, by number + 1; 0: it ends. */
typedef uint32_t join_list;

struct join_numbers {
	uint32_t *at; /* numbers of requests */
	size_t count, room;
};

#define JOIN_NONE UINT32_MAX /* a request that is not in the recording */

/* Of a request, while it is joined. */
struct join_state {
	uint32_t epoch; /* of its pop */
	join_list next;
	bool is_listed;
	enum join_fate {
		JOIN_OPEN,  /* not published yet */
		JOIN_WHOLE, /* from pop to publish */
		JOIN_CUT,   /* by the end of the recording */
		JOIN_TORN,  /* by lost events */
	} fate;
};

struct join_bell {
	uint64_t time; /* 0: none */
	uint64_t exit;
	uint32_t tid;
};

struct join_queue {
	struct trace_queue result;
	struct join_queue *next_at; /* with the same hash of its address */
	uint64_t notify;            /* address of the doorbell */
	uint8_t bus;
	bool has_notify;
	struct join_numbers request; /* all of them, by seq */

	/* What follows is forgotten where events were lost. */
	uint32_t epoch;
	struct join_bell bell;  /* that waits for a pop */
	struct join_bell later; /* came when the I/O thread had seen that one */
	uint64_t unseen;        /* doorbells that the thread may not have seen yet */
	bool is_seen;           /* is in the thread's list: it saw the bell in this round */
	struct join_queue *next_seen;
	uint64_t own_round;    /* of the last pop with a doorbell of its own */
	uint64_t orphan_round; /* a doorbell was seen that is not in the recording */
	struct join_numbers pushed; /* not published yet */
	struct join_numbers batch;  /* published last, from batch_first on */
	size_t batch_first;
	bool batch_is_known; /* all of it, and its interrupt is to come */
};

/* The interrupt that an I/O thread is sending. */
struct join_delivery {
	enum { JOIN_SENT = 1, JOIN_ROUTED, JOIN_ACCEPTED } stage; /* 0: none */
	uint32_t request; /* or JOIN_NONE */
	bool is_line;
	uint64_t address, data;
	uint64_t apic, vector; /* that accepted it */
};

/* Of a thread, beside its struct trace_thread. */
struct join_thread {
	uint32_t epoch;
	uint64_t waking, running; /* the last time; 0: none */
	uint64_t span_begin;      /* it has had a CPU since; 0: not known */
	/* An I/O thread: */
	uint64_t wake;  /* it has worked since; 0: it sleeps, or not known */
	uint64_t round; /* 1: the one in which the recording begins */
	join_list submitted;
	struct join_queue *seen; /* whose doorbells it saw in this round */
	struct join_delivery delivery;
	/* A vCPU: */
	uint64_t exit; /* since when it is out of the guest; 0: it is not, or not known */
	uint16_t exit_reason;
	uint64_t bell_address; /* of the last doorbell ... */
	uint8_t bell_bus;
	bool bell_open;     /* ... that may be told once more, by the exit's probe */
	join_list *pending; /* by vector: accepted, not injected; NULL: never any */
	join_list entering; /* injected */
};

struct join {
	struct trace *trace;
	struct trace_event event; /* that is looked at */
	int error;
	uint32_t epoch; /* how often all was forgotten */

	struct join_state *state; /* of trace->request[] */
	size_t states_room, requests_room, spans_room, clocks_room, disks_room;
	struct join_thread *thread; /* of trace->thread[] */
	struct join_queue *queue[TRACE_DISKS * TRACE_QUEUES], *bucket_at[JOIN_BUCKETS];
	size_t queue_count;

	/* When events were lost: by begin, not touching each other. */
	struct join_loss {
		uint64_t begin, end;
	} *loss;
	size_t loss_count, losses_room, next_loss;
	bool in_loss;
	uint64_t cpu_last[TRACE_EVENT_CPUS]; /* time of the last event there; 0: none */
	unsigned cpus;
};

/* In the present epoch.  NULL: no such queue, or no memory, which join->error tells. */
struct join_queue *join_queue(struct join *join, uint64_t disk, uint64_t index);
struct join_thread *join_thread(struct join *join, uint32_t tid);

/*
 * A request is in one list at a time, whatever the recording says: false, if it is in
 * one already.  Take out the first; or all, which share a @fate.
 */
bool join_push(struct join *join, join_list *list, uint32_t request);
uint32_t join_pull(struct join *join, join_list *list);
void join_drop(struct join *join, join_list *list, enum join_fate fate);

/* join_learn.c: before all else, once for each event, and then once. */
void join_learn(struct join *join);
void join_learned(struct join *join);
void join_add_span(struct join *join, uint32_t tid, enum trace_span_kind kind, uint64_t begin,
		   uint64_t reason);

/* What they do with join->event, which is of @thread. */
typedef void join_handler(struct join *join, struct join_thread *thread);

/* join_bell.c: from the guest to the I/O thread. */
join_handler join_kvm_exit, join_kvm_write, join_exit_probe, join_doorbell;
void join_own_bell(struct join *join, struct join_thread *thread, struct join_queue *queue,
		   struct trace_request *request);
void join_end_round(struct join_thread *thread);
void join_place(struct join *join, struct join_queue *queue, uint64_t notify, uint64_t bus);

/* join_interrupt.c: from the I/O thread to the guest. */
join_handler join_publish, join_interrupt, join_kvm_route, join_kvm_accept, join_kvm_post;
join_handler join_kvm_inject, join_kvm_entry;
/* Those whose interrupt is under way to the guest. */
void join_drop_interrupts(struct join *join, struct join_thread *vcpu, enum join_fate fate);
