/* SPDX-License-Identifier: GPL-2.0 */
/* The explicit heaps of mimalloc: only their creator allocates from them, any thread frees. */
#ifndef HEAPS_MIMALLOC_HEAP_H
#define HEAPS_MIMALLOC_HEAP_H

#include <mimalloc.h>

#define HEAP_CAPS	(CAN_MANY | CAN_FREE | CAN_DESTROY | CAN_THREADS)

static inline bool heap_init(void)
{
	return true;
}

static inline void *heap_create(void)
{
	return mi_heap_new();
}

static inline void heap_destroy(void *heap)
{
	mi_heap_destroy(heap);
}

static inline void heap_reset(void *heap)
{
}

static inline void *heap_alloc(void *heap, size_t bytes)
{
	return mi_heap_malloc(heap, bytes);
}

static inline void heap_free(void *heap, void *p)
{
	mi_free(p);
}

static inline size_t heap_committed(void *heap)
{
	return 0;
}

#endif /* HEAPS_MIMALLOC_HEAP_H */
