/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every probe: PROBE(name, what it tells, arguments...), in the order of a
 * request's way.  `vmm probes` and the manual's table are printed from this.
 *
 * All arguments are signed integers of 64 bits.  disk: the number of the --disk
 * option, from 0; queue: its index; seq: how many chains the queue had popped
 * before, never reset; op: as virtio numbers it (VIRTIO_BLK_T_*), 255: the header
 * could not be read; sector: of 512 bytes; len, size: in bytes; thread: of the I/O
 * threads; bus: 0 memory, 1 I/O ports.  Times are in ns of CLOCK_MONOTONIC.
 *
 * Between pop and push, a request that needs no disk has no submit and no
 * complete; another one has one of each, also if it went together with others or
 * took several steps.
 */
#pragma once

#define PROBE_TABLE(PROBE)                                                                        \
	/* The I/O threads. */                                                                    \
	PROBE(doorbell, "the I/O thread saw the queue's doorbell", disk, queue)                   \
	PROBE(wake, "the I/O thread has slept", thread, completions)                              \
	PROBE(sleep, "it is about to sleep", thread)                                              \
	PROBE(poll_hit, "it spun, and there seems to be work", thread, waited_ns)                 \
	PROBE(poll_miss, "it spun for nothing", thread, waited_ns)                                \
                                                                                                  \
	/* A request. */                                                                          \
	PROBE(pop, "a request was taken off the ring and parsed; notify: where its driver rings", \
	      disk, queue, seq, head, op, sector, len, notify, bus)                               \
	PROBE(submit, "its first step is prepared; how: 0 on the ring, 1 called at once",         \
	      disk, queue, seq, op, sector, len, how)                                             \
	PROBE(enter, "io_uring_enter takes what is prepared", thread, submitted, wanted)          \
	PROBE(complete, "the disk has done all of it; result: 0 or -errno",                       \
	      disk, queue, seq, result)                                                           \
	PROBE(push, "it goes back; status: 255 if there is no room for one",                      \
	      disk, queue, seq, head, status, written)                                            \
	PROBE(publish, "so many can be seen; interrupt: does the driver want one?",               \
	      disk, queue, count, interrupt)                                                      \
	PROBE(interrupt, "how: 0 MSI-X, 1 line (address: GSI); not sent: 2 masked, 3 no vector, " \
	      "4 no bus master or no route, 5 INTx disabled; queue: 65535 configuration",         \
	      disk, queue, how, address, data)                                                    \
                                                                                                  \
	/* The device. */                                                                         \
	PROBE(queue_start, "the queue's thread is given it; packed: the kind of ring",            \
	      disk, queue, size, packed, notify, bus)                                             \
	PROBE(queue_stop, "the queue's thread has let go of it", disk, queue)                     \
	PROBE(device_broken, "it needs a reset; why: points to text", disk, why)                  \
	PROBE(device_status, "the driver has written it", disk, status)                           \
	PROBE(device_features, "those that are in use", disk, features)                           \
	PROBE(config_change, "generation: of what the driver has read", disk, generation)         \
                                                                                                  \
	/* The vCPUs. */                                                                          \
	PROBE(exit_pio, "to an I/O port; a read is told when it is done",                         \
	      vcpu, port, size, is_write, value)                                                  \
	PROBE(exit_mmio, "likewise to memory", vcpu, address, len, is_write, value)               \
	PROBE(exit_other, "reason: as KVM numbers it (KVM_EXIT_*)", vcpu, reason)                 \
	PROBE(vcpu_run, "back to the guest", vcpu)                                                \
                                                                                                  \
	/* What a recording needs besides: at each signal SIGRTMIN+1. */                          \
	PROBE(clock, "read at one time, but for so many ticks", tsc, monotonic_ns, tsc_error)     \
	PROBE(vcpu_tsc, "the guest's TSC is the host's plus tsc_offset; known: 0 if KVM is mute", \
	      vcpu, tid, tsc_offset, known)                                                       \
	PROBE(disk, "an image; its name's first 64 bytes, as little-endian words",                \
	      disk, queues, name0, name1, name2, name3, name4, name5, name6, name7)
