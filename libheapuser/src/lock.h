/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * lock.h - a sleeping lock of one word.
 *
 * Not a pthread mutex, because the lock must be free when its memory was just wiped by a fork,
 * whoever held it in the parent, and all zeroes is not a documented state of a pthread mutex.
 */
#ifndef HEAPUSER_LOCK_H
#define HEAPUSER_LOCK_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 0: free, 1: held, 2: held and somebody may be asleep waiting for it. */
struct heapuser_lock {
	atomic_int word;
};

static inline void heapuser_lock(struct heapuser_lock *lock)
{
	int seen = 0;

	if (atomic_compare_exchange_strong_explicit(&lock->word, &seen, 1, memory_order_acquire,
						    memory_order_relaxed))
		return;
	/* Whoever gets it here cannot know of other sleepers: assume that there are some. */
	while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
		syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static inline void heapuser_unlock(struct heapuser_lock *lock)
{
	if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
		syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif /* HEAPUSER_LOCK_H */
