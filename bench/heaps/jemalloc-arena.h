/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Explicit arenas of jemalloc, each with an explicit cache in front, as fast as they can be had. A
 * cache is for one thread at a time, so a heap is, too. A handle is the two numbers as jemalloc
 * wants them in its flags.
 */
#ifndef HEAPS_JEMALLOC_ARENA_H
#define HEAPS_JEMALLOC_ARENA_H

#include <jemalloc/jemalloc.h>

#define HEAP_CAPS	(CAN_MANY | CAN_FREE | CAN_DESTROY | CAN_RESET | CAN_THREADS)

/* Names of controls, looked up once for all files that include this. */
__attribute__((weak)) size_t arena_destroy_mib[3], arena_reset_mib[3];

static inline bool heap_init(void)
{
	size_t n = ARRAY_LEN(arena_destroy_mib), m = ARRAY_LEN(arena_reset_mib);

	return !mallctlnametomib("arena.0.destroy", arena_destroy_mib, &n) &&
	       !mallctlnametomib("arena.0.reset", arena_reset_mib, &m);
}

static inline int arena_flags(void *heap)
{
	return (int)(uintptr_t)heap;
}

static inline unsigned int arena_number(void *heap)
{
	return ((unsigned int)(uintptr_t)heap >> 20) - 1;
}

static inline unsigned int arena_cache(void *heap)
{
	return ((unsigned int)(uintptr_t)heap >> 8 & 0xfff) - 2;
}

static inline void *heap_create(void)
{
	unsigned int number, cache;
	size_t bytes = sizeof(number);

	if (mallctl("arenas.create", &number, &bytes, NULL, 0) ||
	    mallctl("tcache.create", &cache, &bytes, NULL, 0))
		return NULL;
	return (void *)(uintptr_t)(MALLOCX_ARENA(number) | MALLOCX_TCACHE(cache));
}

static inline void heap_destroy(void *heap)
{
	unsigned int cache = arena_cache(heap);

	mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache));
	arena_destroy_mib[1] = arena_number(heap);
	mallctlbymib(arena_destroy_mib, ARRAY_LEN(arena_destroy_mib), NULL, NULL, NULL, 0);
}

static inline void heap_reset(void *heap)
{
	unsigned int cache = arena_cache(heap);

	mallctl("tcache.flush", NULL, NULL, &cache, sizeof(cache));
	arena_reset_mib[1] = arena_number(heap);
	mallctlbymib(arena_reset_mib, ARRAY_LEN(arena_reset_mib), NULL, NULL, NULL, 0);
}

static inline void *heap_alloc(void *heap, size_t bytes)
{
	return mallocx(bytes, arena_flags(heap));
}

static inline void heap_free(void *heap, void *p)
{
	dallocx(p, arena_flags(heap));
}

static inline size_t heap_committed(void *heap)
{
	return 0;
}

#endif /* HEAPS_JEMALLOC_ARENA_H */
