// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that was never used: a heap that grows, with the costliest single call, and one block
 * whose pages are touched for the first time.
 */
#include <stdio.h>

#include "bench.h"

#define GROW_BYTES	(32 * MIB)

/* Blocks until the heap has GROW_BYTES; a call includes the first touch of its block. */
static void run_growth(const struct bench_test *test)
{
	unsigned long n = GROW_BYTES / test->arg, i;
	void *heap = bench_create();

	measure_begin();
	for (i = 0; i < n; i++) {
		bench_alloc(heap, test->arg);
		measure_lap();
	}
	measure_end(test->name, n);
}

/* Alloc, touch every page, destroy the heap: per page. The first lap includes the alloc. */
static void run_touch(const struct bench_test *test)
{
	unsigned long i, pages = test->arg / PAGE;
	void *heap;
	char *p;

	measure_begin();
	heap = bench_create();
	p = heap_alloc(heap, test->arg);
	if (!p)
		bench_fail("alloc");
	for (i = 0; i < test->arg; i += PAGE) {
		((volatile char *)p)[i] = 1;
		measure_lap();
	}
	if (!(HEAP_CAPS & CAN_DESTROY))
		heap_free(heap, p);
	heap_destroy(heap);
	measure_end(test->name, pages);
}

const struct bench_test page_tests[] = {
	{ "growth/256", run_growth, 256, CAN_MANY, false, false },
	{ "growth/4K", run_growth, 4 * KIB, CAN_MANY, false, false },
	{ "growth/256/thp", run_growth, 256, CAN_MANY, true, false },
	{ "growth/4K/thp", run_growth, 4 * KIB, CAN_MANY, true, false },
	{ "touch/1M", run_touch, MIB, 0, false, false },
	{ "touch/64M", run_touch, 64 * MIB, 0, false, false },
	{ "touch/1M/thp", run_touch, MIB, 0, true, false },
	{ "touch/64M/thp", run_touch, 64 * MIB, 0, true, false },
	{ NULL, NULL, 0, 0, false, false }
};
