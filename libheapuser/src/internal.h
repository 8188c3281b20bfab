/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * internal.h - what the parts of libheapuser know of each other.
 *
 *   heap.c    create, destroy, commit, stat, list    \  the public functions: they check
 *   block.c   alloc, free, sizes                     /  arguments, set errno, own no state
 *   handle.c  handles: the table of this process's heaps
 *   device.c  the descriptor of /dev/pheap and every ioctl
 *   memory.c  the library's own memory
 *   error.c   texts
 *
 * Functions in here return 0 or a negative errno value; only the public ones set errno, through
 * heapuser_result(), and only on failure.
 *
 * State. The table of handles and its lock lie in memory that any kind of fork replaces by zeroes
 * (MADV_WIPEONFORK), and all zeroes is a valid empty table. Three words are inherited on purpose:
 * where that memory is, the number of the descriptor (it serves the child as well as its parent,
 * and the kernel tells the two apart by their address spaces), and the generation counter (a
 * child that goes on counting where its parent stood cannot give out a handle that its parent
 * had).
 */
#ifndef HEAPUSER_INTERNAL_H
#define HEAPUSER_INTERNAL_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/pheap.h>

#include "heapuser.h"

/* device.c */
int heapuser_device_call(unsigned int cmd, void *arg);

/* handle.c */
int heapuser_handle_reserve(uint32_t *slot);
struct pheap *heapuser_handle_publish(uint32_t slot, uint64_t heap);
void heapuser_handle_cancel(uint32_t slot);
int heapuser_handle_lookup(const struct pheap *h, __u64 *heap);
void heapuser_handle_retire(const struct pheap *h);
size_t heapuser_handle_list(struct pheap **out, size_t n);
size_t heapuser_handle_bytes(void);

/* memory.c */
size_t heapuser_page_bytes(void);
void *heapuser_memory_reserve(size_t bytes);
int heapuser_memory_commit(void *p, size_t bytes);
void heapuser_memory_release(void *p, size_t bytes);

/**
 * heapuser_result() - end of a public function
 * @err: 0 or a negative errno value
 * @entry_errno: errno when the function was entered
 *
 * Return: 0 with errno as it was, or -1 with errno set.
 */
static inline int heapuser_result(int err, int entry_errno)
{
	errno = err ? -err : entry_errno;
	return err ? -1 : 0;
}

#endif /* HEAPUSER_INTERNAL_H */
