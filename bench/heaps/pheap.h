/* SPDX-License-Identifier: GPL-2.0 */
/* Growable private heaps; HEAP_FLAGS are those of pheap_create() and tell the mode. */
#ifndef HEAPS_PHEAP_H
#define HEAPS_PHEAP_H

#include <heapuser.h>

/* HEAP_RESETS: the library has pheap_reset(). */
#ifdef HEAP_RESETS
#define PHEAP_CAN_RESET	CAN_RESET
#else
#define PHEAP_CAN_RESET	0
#endif

#define HEAP_CAPS	(CAN_MANY | CAN_FREE | CAN_DESTROY | CAN_THREADS | CAN_SHARE |	\
			 PHEAP_CAN_RESET | (HEAP_FLAGS & PHEAP_UNCACHED ? CAN_IOCTL : 0))

static inline void *heap_create(void)
{
	return pheap_create(0, 0, HEAP_FLAGS);
}

static inline void heap_destroy(void *heap)
{
	pheap_destroy(heap);
}

/* Without the module, or in a mode that the library does not have, there is nothing to measure. */
static inline bool heap_init(void)
{
	void *heap = heap_create();

	if (heap)
		heap_destroy(heap);
	return heap;
}

static inline void heap_reset(void *heap)
{
#ifdef HEAP_RESETS
	pheap_reset(heap);
#endif
}

static inline void *heap_alloc(void *heap, size_t bytes)
{
	return pheap_alloc(heap, bytes);
}

static inline void heap_free(void *heap, void *p)
{
	pheap_free(heap, p);
}

static inline size_t heap_committed(void *heap)
{
	struct pheap_stat st;

	return pheap_stat(heap, &st, sizeof(st)) ? 0 : st.committed_bytes;
}

#endif /* HEAPS_PHEAP_H */
