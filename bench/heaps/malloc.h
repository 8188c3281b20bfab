/* SPDX-License-Identifier: GPL-2.0 */
/* What the program is linked with as malloc: glibc, tcmalloc, jemalloc, mimalloc. */
#ifndef HEAPS_MALLOC_H
#define HEAPS_MALLOC_H

#include <stdlib.h>

#define HEAP_CAPS	(CAN_MANY | CAN_FREE | CAN_THREADS | CAN_SHARE)

static inline bool heap_init(void)
{
	return true;
}

static inline void *heap_create(void)
{
	static char the_heap;

	return &the_heap;
}

static inline void heap_destroy(void *heap)
{
}

static inline void heap_reset(void *heap)
{
}

static inline void *heap_alloc(void *heap, size_t bytes)
{
	return malloc(bytes);
}

static inline void heap_free(void *heap, void *p)
{
	free(p);
}

static inline size_t heap_committed(void *heap)
{
	return 0;
}

#endif /* HEAPS_MALLOC_H */
