/* SPDX-License-Identifier: GPL-2.0 */
/* The pools of the Apache Portable Runtime: blocks are not freed singly; for one thread. */
#ifndef HEAPS_APR_H
#define HEAPS_APR_H

#include <apr_general.h>
#include <apr_pools.h>

#define HEAP_CAPS	(CAN_MANY | CAN_DESTROY | CAN_RESET)

static inline bool heap_init(void)
{
	return apr_initialize() == APR_SUCCESS;
}

static inline void *heap_create(void)
{
	apr_pool_t *pool;

	return apr_pool_create(&pool, NULL) == APR_SUCCESS ? pool : NULL;
}

static inline void heap_destroy(void *heap)
{
	apr_pool_destroy(heap);
}

static inline void heap_reset(void *heap)
{
	apr_pool_clear(heap);
}

static inline void *heap_alloc(void *heap, size_t bytes)
{
	return apr_palloc(heap, bytes);
}

static inline void heap_free(void *heap, void *p)
{
}

static inline size_t heap_committed(void *heap)
{
	return 0;
}

#endif /* HEAPS_APR_H */
