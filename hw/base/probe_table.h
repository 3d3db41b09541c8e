/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every probe: PROBE(name, what it tells, arguments...), in the order of a
 * request's way.  `vmm probes` and the manual's table are printed from this.
 *
 * All arguments are signed integers of 64 bits; times are in nanoseconds:
 *   disk        the number of the --disk option, from 0
 *   queue       its index; of an interrupt also 65535, for the configuration
 *   seq         how many chains the queue had popped before; never reset
 *   head        the driver's name of the chain: a descriptor's index, or a buffer id
 *   op          as virtio numbers it, VIRTIO_BLK_T_*; 255: the header cannot be read
 *   sector      of 512 bytes; of a discard or write zeroes, where it begins
 *   len, size   in bytes; of a queue, its entries
 *   notify, bus where the queue's driver rings: in memory (bus 0), or at a port (1)
 *   thread      of the I/O threads, from 0
 *   result      0 or -errno
 *   status      of a request VIRTIO_BLK_S_*, 255: there is no room for one
 *   why         points to text
 *   reason      as KVM numbers it, KVM_EXIT_*
 *   how         of submit 0: on the ring, 1: by a system call at once; of interrupt
 *               enum virtio_interrupt_way: 0 MSI-X is sent, 1 the line is raised
 *               (address: its GSI), and what is not sent: 2 the vector is masked,
 *               3 there is none, 4 no bus master or no route, 5 INTx is disabled
 *
 * Between pop and push, a request that needs no disk has no submit and no
 * complete; another one has one of each, also if it went together with others,
 * or took several steps.  What needs no step of its own, since another's flush was
 * for both, or since it was given up, is submitted as it completes.  With IN_ORDER,
 * a publish may show fewer than were pushed: those that come first.
 */
#pragma once

#define PROBE_TABLE(PROBE)                                                                      \
	/* The I/O threads. */                                                                  \
	PROBE(doorbell, "the I/O thread has seen the queue's doorbell", disk, queue)            \
	PROBE(wake, "an I/O thread returns from its sleep", thread, completions)                \
	PROBE(sleep, "it is about to sleep", thread)                                            \
	PROBE(poll_hit, "it has spun, and there is something to do", thread, waited_ns)         \
	PROBE(poll_miss, "it has spun for nothing", thread, waited_ns)                          \
                                                                                                \
	/* A request. */                                                                        \
	PROBE(pop, "a request was taken off the ring and parsed",                               \
	      disk, queue, seq, head, op, sector, len, notify, bus)                             \
	PROBE(submit, "its first step is prepared",                                             \
	      disk, queue, seq, op, sector, len, how)                                           \
	PROBE(enter, "io_uring_enter is about to take what is prepared",                        \
	      thread, submitted, wanted)                                                        \
	PROBE(complete, "the disk has done all of it", disk, queue, seq, result)                \
	PROBE(push, "it goes back to the driver", disk, queue, seq, head, status, written)      \
	PROBE(publish, "so many are visible now; interrupt 1: the driver wants one",            \
	      disk, queue, count, interrupt)                                                    \
	PROBE(interrupt, "one is about to be sent, or cannot be",                               \
	      disk, queue, how, address, data)                                                  \
                                                                                                \
	/* The device. */                                                                       \
	PROBE(queue_start, "the queue is given to its thread",                                  \
	      disk, queue, size, packed, notify, bus)                                           \
	PROBE(queue_stop, "the thread has let go of the queue", disk, queue)                    \
	PROBE(device_broken, "the driver broke a rule: a reset is needed", disk, why)           \
	PROBE(device_status, "the driver has changed it; 0: a reset is complete", disk, status) \
	PROBE(device_features, "those that are in use from now on", disk, features)             \
	PROBE(config_change, "the configuration has changed since this generation",             \
	      disk, generation)                                                                 \
                                                                                                \
	/* The vCPUs. */                                                                        \
	PROBE(exit_pio, "a vCPU uses a port; a read is told when its value is known",           \
	      vcpu, port, size, is_write, value)                                                \
	PROBE(exit_mmio, "likewise memory that is a device's",                                  \
	      vcpu, address, len, is_write, value)                                              \
	PROBE(exit_other, "it left the guest for another reason", vcpu, reason)                 \
	PROBE(vcpu_run, "it goes back to the guest", vcpu)                                      \
                                                                                                \
	/* What a recording needs besides. */                                                   \
	PROBE(clock, "both clocks at one time, but for tsc_error ticks",                        \
	      tsc, monotonic_ns, tsc_error)                                                     \
	PROBE(vcpu_tsc, "the guest's TSC is the host's and the offset, if KVM tells",           \
	      vcpu, tid, tsc_offset, known)                                                     \
	PROBE(disk, "an image; the end of its path, 64 bytes as little-endian words",           \
	      disk, queues, name0, name1, name2, name3, name4, name5, name6, name7)
