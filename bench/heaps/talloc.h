/* SPDX-License-Identifier: GPL-2.0 */
/* A talloc context per heap, with the blocks as its children; for one thread. */
#ifndef HEAPS_TALLOC_H
#define HEAPS_TALLOC_H

#include <talloc.h>

#define HEAP_CAPS	(CAN_MANY | CAN_FREE | CAN_DESTROY | CAN_RESET)

static inline bool heap_init(void)
{
	return true;
}

static inline void *heap_create(void)
{
	return talloc_new(NULL);
}

static inline void heap_destroy(void *heap)
{
	talloc_free(heap);
}

static inline void heap_reset(void *heap)
{
	talloc_free_children(heap);
}

static inline void *heap_alloc(void *heap, size_t bytes)
{
	return talloc_size(heap, bytes);
}

static inline void heap_free(void *heap, void *p)
{
	talloc_free(p);
}

static inline size_t heap_committed(void *heap)
{
	return 0;
}

#endif /* HEAPS_TALLOC_H */
