/* SPDX-License-Identifier: GPL-2.0 */
/*
 * No heap but what heaps are made of, as a reference: a mapping of anonymous memory that holds one
 * block, of 1 MiB or as large as the block.
 */
#ifndef HEAPS_ANONYMOUS_H
#define HEAPS_ANONYMOUS_H

#include <sys/mman.h>

#define HEAP_CAPS	CAN_DESTROY

struct anonymous {
	void *p;
	size_t bytes;
};

static inline bool heap_init(void)
{
	return true;
}

static inline void *heap_create(void)
{
	static struct anonymous the_heap;

	return &the_heap;
}

static inline void heap_destroy(void *heap)
{
	struct anonymous *a = heap;

	munmap(a->p, a->bytes);
}

static inline void heap_reset(void *heap)
{
}

static inline void *heap_alloc(void *heap, size_t bytes)
{
	struct anonymous *a = heap;

	a->bytes = bytes > MIB ? bytes : MIB;
	a->p = mmap(NULL, a->bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return a->p == MAP_FAILED ? NULL : a->p;
}

static inline void heap_free(void *heap, void *p)
{
}

static inline size_t heap_committed(void *heap)
{
	return 0;
}

#endif /* HEAPS_ANONYMOUS_H */
