/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that another party may change at any time: guest memory, and fields
 * that two of our threads share.  Each access is one load or store of natural
 * width, named by the order that it gives.
 */
#pragma once

#include <stddef.h>
#include <string.h>

#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/*
 * Orders an earlier store before a later load, which acquire and release do
 * not.  Each use names the other side's fence.
 */
static inline void fence_full(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Between two looks at what another thread will change. */
static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

/*
 * Copy what a guest may change meanwhile.  The compiler must not read the
 * original again: what was checked is what is used.
 */
static inline void copy_once(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
	__asm__ volatile("" : : "r"(to) : "memory");
}
