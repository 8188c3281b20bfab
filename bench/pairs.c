// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks of one size in a warm heap: alloc and free in turn; all allocs before all frees, in three
 * orders; two heaps in turn.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define WARM_UP		200
/* Rows of one name: the best counts. The timer falls into some, and is large beside them. */
#define REPEATS		3

static void pair(const struct bench_test *test, void *heap)
{
	unsigned long n = rounds(1000, test->arg > 256 * KIB ? 2000 : 30000), i, k;

	for (i = 0; i < WARM_UP; i++)
		heap_free(heap, bench_alloc(heap, test->arg));
	for (k = 0; k < REPEATS; k++) {
		measure_begin();
		for (i = 0; i < n; i++)
			heap_free(heap, bench_alloc(heap, test->arg));
		measure_end(test->name, n);
	}
}

/* The block is the only one: the heap is empty again after every free. */
static void run_pair(const struct bench_test *test)
{
	pair(test, bench_create());
}

/* As in a program that has other blocks, with which a heap need not give memory back each time. */
static void run_pair_among(const struct bench_test *test)
{
	void *heap = bench_create();

	bench_alloc(heap, test->arg);
	pair(test, heap);
}

#define NR_BLOCKS	100000
#define BULK_BYTES	64

static void *blocks[NR_BLOCKS];

static void shuffle(void)
{
	uint64_t random = 1;
	size_t i;

	for (i = NR_BLOCKS - 1; i; i--) {
		size_t k = bench_random(&random) % (i + 1);
		void *p = blocks[i];

		blocks[i] = blocks[k];
		blocks[k] = p;
	}
}

static void reverse(void)
{
	size_t i;

	for (i = 0; i < NR_BLOCKS / 2; i++) {
		void *p = blocks[i];

		blocks[i] = blocks[NR_BLOCKS - 1 - i];
		blocks[NR_BLOCKS - 1 - i] = p;
	}
}

static void fill(void *heap)
{
	size_t i;

	for (i = 0; i < NR_BLOCKS; i++)
		blocks[i] = bench_alloc(heap, BULK_BYTES);
}

enum bulk_order { BULK_LIFO, BULK_FIFO, BULK_RANDOM };

/* From cold, then once more with what the frees left. */
static void run_bulk(const struct bench_test *test)
{
	void *heap = bench_create();
	char row[64];
	size_t i;

	/* The array itself shall not be part of it. */
	for (i = 0; i < NR_BLOCKS; i++)
		blocks[i] = &blocks[i];
	measure_begin();
	fill(heap);
	snprintf(row, sizeof(row), "%s/alloc-cold", test->name);
	measure_end(row, NR_BLOCKS);

	if (test->arg == BULK_RANDOM)
		shuffle();
	else if (test->arg == BULK_LIFO)
		reverse();
	measure_begin();
	for (i = 0; i < NR_BLOCKS; i++)
		heap_free(heap, blocks[i]);
	snprintf(row, sizeof(row), "%s/free", test->name);
	measure_end(row, NR_BLOCKS);

	measure_begin();
	fill(heap);
	snprintf(row, sizeof(row), "%s/alloc-warm", test->name);
	measure_end(row, NR_BLOCKS);
}

/* What a cache of one heap per thread does to a program that uses two. */
static void run_two_heaps(const struct bench_test *test)
{
	void *a = bench_create(), *b = bench_create(), *p, *q;
	unsigned long n = rounds(1000, 20000), i, k;

	for (i = 0; i < WARM_UP; i++) {
		p = bench_alloc(a, test->arg);
		q = bench_alloc(b, test->arg);
		heap_free(a, p);
		heap_free(b, q);
	}
	for (k = 0; k < REPEATS; k++) {
		measure_begin();
		for (i = 0; i < n; i++) {
			p = bench_alloc(a, test->arg);
			q = bench_alloc(b, test->arg);
			heap_free(a, p);
			heap_free(b, q);
		}
		/* Per pair of alloc and free, as the other tests of pairs. */
		measure_end(test->name, 2 * n);
	}
}

#define NEEDS			(CAN_MANY | CAN_FREE)
#define PAIR(size, bytes)	{ "pair/" size, run_pair, bytes, NEEDS, false, false }
#define AMONG(size, bytes)	{ "pair-among/" size, run_pair_among, bytes, NEEDS, false, false }

const struct bench_test pair_tests[] = {
	PAIR("16", 16), PAIR("32", 32), PAIR("64", 64), PAIR("128", 128), PAIR("256", 256),
	PAIR("512", 512), PAIR("1K", KIB), PAIR("2K", 2 * KIB), PAIR("4K", 4 * KIB),
	PAIR("8K", 8 * KIB), PAIR("16K", 16 * KIB), PAIR("32K", 32 * KIB), PAIR("64K", 64 * KIB),
	PAIR("128K", 128 * KIB), PAIR("256K", 256 * KIB), PAIR("512K", 512 * KIB),
	PAIR("1M", MIB), PAIR("2M", 2 * MIB), PAIR("4M", 4 * MIB),
	AMONG("16", 16), AMONG("64", 64), AMONG("256", 256), AMONG("1K", KIB), AMONG("4K", 4 * KIB),
	AMONG("32K", 32 * KIB), AMONG("256K", 256 * KIB), AMONG("4M", 4 * MIB),
	{ "bulk/lifo", run_bulk, BULK_LIFO, NEEDS, false, false },
	{ "bulk/fifo", run_bulk, BULK_FIFO, NEEDS, false, false },
	{ "bulk/random", run_bulk, BULK_RANDOM, NEEDS, false, false },
	{ "two-heaps/64", run_two_heaps, 64, NEEDS, false, false },
	{ "two-heaps/1K", run_two_heaps, KIB, NEEDS, false, false },
	{ NULL, NULL, 0, 0, false, false }
};
