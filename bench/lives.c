// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps as the unit of work: made, filled with 1000 blocks or one, and thrown away as a whole. What
 * has no heaps frees every block instead.
 */
#include "bench.h"

#define NR_BLOCKS	1000
#define WARM_UP		5

/* 16 to 512 bytes, as the nodes and strings of a request. */
static size_t sizes[NR_BLOCKS];
static void *blocks[NR_BLOCKS];

static void choose_sizes(void)
{
	uint64_t random = 7;
	size_t i;

	for (i = 0; i < NR_BLOCKS; i++)
		sizes[i] = 16 + bench_random(&random) % 497;
}

static void fill(void *heap)
{
	size_t i;

	for (i = 0; i < NR_BLOCKS; i++)
		blocks[i] = bench_alloc(heap, sizes[i]);
}

static void life(unsigned long n)
{
	void *heap;
	size_t i;

	while (n--) {
		heap = bench_create();
		fill(heap);
		if (!(HEAP_CAPS & CAN_DESTROY)) {
			for (i = 0; i < NR_BLOCKS; i++)
				heap_free(heap, blocks[i]);
		}
		heap_destroy(heap);
	}
}

static void run_1000(const struct bench_test *test)
{
	unsigned long n = rounds(20, 200);

	choose_sizes();
	life(WARM_UP);
	measure_begin();
	life(n);
	measure_end(test->name, n);
}

static void run_reset(const struct bench_test *test)
{
	unsigned long n = rounds(20, 200), i;
	void *heap = bench_create();

	choose_sizes();
	for (i = 0; i < WARM_UP; i++) {
		heap_reset(heap);
		fill(heap);
	}
	measure_begin();
	for (i = 0; i < n; i++) {
		heap_reset(heap);
		fill(heap);
	}
	measure_end(test->name, n);
	heap_destroy(heap);
}

static void short_life(unsigned long n)
{
	void *heap;

	while (n--) {
		heap = bench_create();
		bench_alloc(heap, 64);
		heap_destroy(heap);
	}
}

static void run_1(const struct bench_test *test)
{
	unsigned long n = rounds(100, 1000);

	short_life(WARM_UP);
	measure_begin();
	short_life(n);
	measure_end(test->name, n);
}

const struct bench_test life_tests[] = {
	{ "create+1000+destroy", run_1000, 0, CAN_MANY, false, false },
	{ "reset+1000", run_reset, 0, CAN_MANY | CAN_RESET, false, false },
	{ "create+1+destroy", run_1, 0, CAN_DESTROY, false, false },
	{ NULL, NULL, 0, 0, false, false }
};
