// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on heaps of several shapes, each compared with the shadow: ten million in all.
 *
 * PHEAP_SEED repeats a run; PHEAP_OPS sets the number of operations.
 */
#include <stdlib.h>

#include <linux/kernel.h>

#include "heap.h"

#define KIB	1024ULL
#define MIB	(1024 * KIB)

struct shape {
	u64 base;
	u64 reserved;
	u64 limit;
	u64 committed;
	u64 most;		/* usual size of a block at most */
	u32 check_every;	/* operations between two full checks */
	u32 extra;
};

static struct heap heap;
static u64 nr_ops = 10000000;

/* Mostly usual sizes, sometimes tiny, sometimes much larger. */
static u64 some_size(const struct shape *shape)
{
	switch (unit_between(&unit_rng, 0, 15)) {
	case 0:
		return unit_between(&unit_rng, 0, 64);
	case 1:
		return 1ULL << unit_between(&unit_rng, 0, 14);
	case 2:
		return unit_between(&unit_rng, 0, shape->limit / 16);
	case 3:
		if (unit_between(&unit_rng, 0, 3))
			return 48;
		return unit_between(&unit_rng, 0, shape->limit * 2);
	default:
		return unit_between(&unit_rng, 0, shape->most);
	}
}

static u64 some_align(void)
{
	u64 r = unit_between(&unit_rng, 0, 63);

	if (r > 7)
		return PHEAP_MIN_ALIGN;
	return PHEAP_MIN_ALIGN << unit_between(&unit_rng, 0, r ? 8 : 17);
}

/* A number that may or may not be a block: near one, inside one, in the heap, outside. */
static u64 some_addr(void)
{
	u64 r = unit_between(&unit_rng, 0, 7);

	if (r < 5 && heap.nr_blocks) {
		u32 nr = unit_between(&unit_rng, 0, heap.nr_blocks - 1);
		const struct block *block = &heap.blocks[nr];

		if (r < 2)
			return block->addr + unit_between(&unit_rng, 0, block->usable);
		return block->addr + PAGE_SIZE * unit_between(&unit_rng, 0, 8) - PAGE_SIZE * 4;
	}
	if (r < 7)
		return heap.base + unit_between(&unit_rng, 0, heap.limit);
	return unit_random(&unit_rng);
}

/* A batch as large as a cache would take, mostly; a quarter as many frees, a few of them bad. */
static void some_batch(const struct shape *shape)
{
	u64 addrs[64], bytes = some_size(shape);
	u32 nr = unit_between(&unit_rng, 1, unit_between(&unit_rng, 0, 3) ? 64 : 512), i;

	if (unit_between(&unit_rng, 0, 1) && bytes < 4096) {
		heap_alloc_batch(&heap, bytes, nr, unit_between(&unit_rng, 1, 64));
		return;
	}
	nr = unit_between(&unit_rng, 1, 64);
	for (i = 0; i < nr; i++) {
		u64 r = unit_between(&unit_rng, 0, 31);

		if (r < 2 || !heap.nr_blocks)
			addrs[i] = r ? some_addr() : 0;
		else
			addrs[i] = heap.blocks[unit_between(&unit_rng, 0, heap.nr_blocks - 1)].addr;
	}
	heap_free_batch(&heap, addrs, nr);
}

static void run(const struct shape *shape, u64 nr)
{
	u64 i, checks = 0;
	/* More allocations than frees, then the other way round, and so on. */
	u32 allocs = 60;

	heap_create_at(&heap, shape->base, shape->reserved, shape->limit, shape->committed);
	heap.extra = shape->extra;
	for (i = 0; i < nr; i++) {
		u64 what = unit_between(&unit_rng, 0, 99);

		if (i % (nr / 20 + 1) == 0)
			allocs = unit_between(&unit_rng, 35, 65);
		if (what < 4) {
			heap_free_addr(&heap, some_addr());
			if (what == 0)
				some_batch(shape);
		} else if (what < 4 + (96 * allocs) / 100) {
			/* Now and then there is no memory for metadata. */
			if (unit_between(&unit_rng, 0, 63) == 0)
				heap.fail_in = unit_between(&unit_rng, 1, 4);
			heap_alloc(&heap, some_size(shape), some_align());
			heap.fail_in = 0;
		} else if (heap.nr_blocks) {
			heap_free(&heap, unit_between(&unit_rng, 0, heap.nr_blocks - 1));
		}
		/* A reset clears the shadow, which is as large as the heap. */
		if (i % (4 * shape->check_every) == 0)
			heap_reset(&heap);
		if (i % shape->check_every == 0) {
			heap_check(&heap);
			checks++;
		}
	}
	printf("# %u operations, %u blocks, %u failed, %u full checks; at the end %u in %u KiB\n",
	       (u32)nr, (u32)heap.nr_allocs, (u32)heap.nr_failures, (u32)checks, heap.nr_blocks,
	       (u32)(heap_committed(&heap) / 1024));
	heap_check(&heap);
	heap_free_all(&heap);
	heap_check(&heap);
	CHECK(heap_alloc(&heap, heap_committed(&heap), PHEAP_MIN_ALIGN) >= 0);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void units_of_one_page(void)
{
	static const struct shape shape = {
		HEAP_BASE_ODD, PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, 200, 50, 0
	};

	run(&shape, nr_ops / 20);
}

static void units_fixed_64_kib(void)
{
	static const struct shape shape = {
		HEAP_BASE_ODD, 64 * KIB, 64 * KIB, 64 * KIB, 1000, 100, 0
	};

	run(&shape, nr_ops / 10);
}

static void units_growing_1_mib(void)
{
	static const struct shape shape = {
		HEAP_BASE_ODD, MIB, MIB, PAGE_SIZE, 2000, 3000, 4
	};

	run(&shape, nr_ops / 4);
}

static void pages_smallest(void)
{
	static const struct shape shape = {
		HEAP_BASE_ODD, MIB + PAGE_SIZE, MIB + PAGE_SIZE, PAGE_SIZE, 3000, 500, 1
	};

	run(&shape, nr_ops / 10);
}

static void pages_fixed_16_mib(void)
{
	static const struct shape shape = {
		HEAP_BASE_EVEN, 16 * MIB, 16 * MIB, 16 * MIB, 2000, 20000, 0
	};

	run(&shape, nr_ops / 4);
}

static void pages_growing_64_mib(void)
{
	static const struct shape shape = {
		HEAP_BASE_EVEN, 64 * MIB, 64 * MIB, PAGE_SIZE, 20000, 40000, 200
	};

	run(&shape, nr_ops / 8);
}

/* The reservation is large, but the machine is not: growth ends before it does. */
static void pages_stopped_at_8_mib_of_1_tib(void)
{
	static const struct shape shape = {
		HEAP_BASE_EVEN, MIB * MIB, 8 * MIB, PAGE_SIZE, 5000, 10000, 64
	};

	run(&shape, nr_ops / 8);
}

static const struct unit_test tests[] = {
	UNIT_TEST(units_of_one_page),
	UNIT_TEST(units_fixed_64_kib),
	UNIT_TEST(units_growing_1_mib),
	UNIT_TEST(pages_smallest),
	UNIT_TEST(pages_fixed_16_mib),
	UNIT_TEST(pages_growing_64_mib),
	UNIT_TEST(pages_stopped_at_8_mib_of_1_tib),
};

int main(void)
{
	const char *ops = getenv("PHEAP_OPS");

	if (ops)
		nr_ops = strtoull(ops, NULL, 0);
	return unit_run(tests, ARRAY_SIZE(tests));
}
