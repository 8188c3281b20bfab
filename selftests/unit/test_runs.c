// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps of pages: blocks that are runs of pages, and the growth of the descriptors.
 */
#include <errno.h>
#include <stdlib.h>

#include <linux/kernel.h>
#include <linux/limits.h>

#include "heap.h"
#include "pages.h"

#define KIB	1024ULL
#define MIB	(1024 * KIB)
#define GIB	(1024 * MIB)

static struct heap heap;

/* Bytes of a block of @pages that is no block of a class. */
static u64 run_bytes(u64 pages)
{
	u64 bytes = pages * PAGE_SIZE;

	return bytes > PHEAP_MAX_BLOCK ? bytes : PHEAP_MAX_BLOCK + 1;
}

static void sizes_around_page_borders(void)
{
	u64 pages;
	int d;

	heap_create(&heap, 16 * MIB, 16 * MIB);
	for (pages = 4; pages <= 4096; pages = pages < 40 ? pages + 1 : pages * 2) {
		for (d = -1; d <= 1; d++) {
			u64 bytes = pages * PAGE_SIZE + d;
			int nr = heap_try(&heap, bytes, 16, PHEAP_CORE_EASY);

			CHECK((nr >= 0) == (bytes <= 16 * MIB));
			if (nr < 0)
				continue;
			CHECK_CMP(heap.blocks[nr].usable, ==, ALIGN(bytes, (u64)PAGE_SIZE));
			heap_check(&heap);
			heap_free(&heap, nr);
			heap_check(&heap);
		}
	}
	heap_destroy(&heap);
}

static void every_alignment(void)
{
	static const u64 bases[] = { HEAP_BASE_EVEN, HEAP_BASE_ODD };
	u64 align, pages;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		heap_create_at(&heap, bases[i], 16 * MIB, 16 * MIB, 16 * MIB);
		for (align = 16; align <= PHEAP_MAX_ALIGN; align *= 2) {
			for (pages = 1; pages <= 512; pages *= 2) {
				u64 bytes = run_bytes(pages);
				bool room = heap_has_room(&heap, bytes, align);
				int nr = heap_try(&heap, bytes, align, PHEAP_CORE_LAST);

				/* Runs are whole pages: room for the bytes is room for the run. */
				CHECK((nr >= 0) == room);
				heap_check(&heap);
				if (nr >= 0 && unit_between(&unit_rng, 0, 2))
					heap_free(&heap, nr);
			}
		}
		heap_free_all(&heap);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/* Nothing but an aligned block of one byte asks for a page. */
static void small_blocks_of_large_alignment(void)
{
	int nr;

	heap_create(&heap, 16 * MIB, 16 * MIB);
	for (nr = 0; nr < 8; nr++) {
		int block = heap_try(&heap, 1, 2 * MIB, PHEAP_CORE_EASY);

		/* The base is 2 MiB aligned: eight such addresses. */
		CHECK(block >= 0);
		CHECK_CMP(heap.blocks[block].usable, ==, PAGE_SIZE);
	}
	CHECK(heap_alloc(&heap, 1, 2 * MIB) == -ENOSPC);
	heap_check(&heap);
	heap_free_all(&heap);
	CHECK(heap_alloc(&heap, 16 * MIB, 2 * MIB) >= 0);
	heap_destroy(&heap);
}

static void neighbours_are_joined(void)
{
	u32 order, i;

	/* Three blocks between two others, freed in each of the six orders. */
	static const u8 orders[6][3] = {
		{ 1, 2, 3 }, { 1, 3, 2 }, { 2, 1, 3 }, { 2, 3, 1 }, { 3, 1, 2 }, { 3, 2, 1 },
	};

	for (order = 0; order < 6; order++) {
		u64 addr[5];

		heap_create(&heap, 2 * MIB, 2 * MIB);
		for (i = 0; i < 5; i++) {
			int nr = heap_try(&heap, 10 * PAGE_SIZE, 16, PHEAP_CORE_EASY);

			CHECK(nr >= 0);
			addr[i] = heap.blocks[nr].addr;
		}
		for (i = 0; i < 3; i++) {
			heap_free_addr(&heap, addr[orders[order][i]]);
			heap_check(&heap);
		}
		/* The hole of 30 pages is preferred to the larger rest. */
		i = heap_try(&heap, 30 * PAGE_SIZE, 16, PHEAP_CORE_EASY);
		CHECK_CMP(heap.blocks[i].addr, ==, addr[1]);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void exhaustion_and_reuse(void)
{
	u32 nr = 0;
	int i;

	heap_create(&heap, 16 * MIB, PAGE_SIZE);
	while (heap_alloc(&heap, 4 * PAGE_SIZE, 16) >= 0)
		nr++;
	CHECK_CMP(nr, ==, 1024);
	heap_check(&heap);
	for (i = 0; i < 1024; i += 2)
		heap_free_addr(&heap, heap.base + (u64)i * 4 * PAGE_SIZE);
	heap_check(&heap);
	CHECK(heap_alloc(&heap, 5 * PAGE_SIZE, 16) == -ENOSPC);
	for (i = 0; i < 512; i++)
		CHECK(heap_alloc(&heap, 4 * PAGE_SIZE, 16) >= 0);
	CHECK(heap_alloc(&heap, 4 * PAGE_SIZE, 16) == -ENOSPC);
	CHECK(heap_alloc(&heap, 0, 16) == -ENOSPC);
	heap_free_all(&heap);
	heap_check(&heap);
	CHECK(heap_alloc(&heap, 16 * MIB, 16) >= 0);
	heap_destroy(&heap);
}

/* A request for exactly what is left succeeds, wherever it is and however many runs come close. */
static void exactly_what_is_left(void)
{
	u32 rounds;

	for (rounds = 0; rounds < 300; rounds++) {
		u64 want = unit_between(&unit_rng, 17, 200), bytes;
		int nr, mine;
		u32 i;

		heap_create(&heap, 64 * MIB, 64 * MIB);
		/*
		 * Runs just too short, of which there are many in the list that the wanted one is
		 * in.
		 */
		for (i = 0; i < 60; i++) {
			heap_try(&heap, run_bytes(want - 1), 16, PHEAP_CORE_EASY);
			heap_try(&heap, run_bytes(4), 16, PHEAP_CORE_EASY);
		}
		mine = heap_try(&heap, run_bytes(want), 16, PHEAP_CORE_EASY);
		bytes = heap.blocks[mine].addr;
		nr = heap_try(&heap, heap_committed(&heap) - heap.usable, 16, PHEAP_CORE_LAST);
		CHECK(nr >= 0);
		heap_free_addr(&heap, bytes);
		for (i = 0; i < heap.nr_blocks; i++)
			if (heap.blocks[i].usable == (want - 1) * PAGE_SIZE)
				heap_free(&heap, i--);
		CHECK(heap_try(&heap, run_bytes(want), 16, PHEAP_CORE_LAST) >= 0);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void whole_heap_block(void)
{
	u64 pages;

	for (pages = 257; pages <= 16384; pages = pages * 3 / 2) {
		u64 reserved = pages * PAGE_SIZE;
		int nr;

		heap_create(&heap, reserved, PAGE_SIZE);
		CHECK(heap_alloc(&heap, reserved + 1, 16) == -ENOSPC);
		nr = heap_alloc(&heap, reserved, 16);
		CHECK(nr >= 0);
		CHECK_CMP(heap_committed(&heap), ==, reserved);
		heap_check(&heap);
		heap_free(&heap, nr);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/*
 * A freed run is found again by a block of its size without growing, however large and odd it is.
 */
static void freed_run_is_reused(void)
{
	u64 committed;
	u32 i, nr;

	heap_create(&heap, 256 * MIB, PAGE_SIZE);
	for (i = 0; i < 10; i++) {
		nr = heap_alloc(&heap, 20 * MIB + 12345, 16);
		CHECK(heap_alloc(&heap, 5 * PAGE_SIZE, 16) >= 0);
		heap_free(&heap, nr);
		CHECK(heap_try(&heap, 20 * MIB + 12345, 16, PHEAP_CORE_EASY) >= 0);
	}
	committed = heap_committed(&heap);
	for (i = 0; i < heap.nr_blocks; i++)
		if (heap.blocks[i].usable > MIB)
			heap_free(&heap, i--);
	for (i = 0; i < 10; i++)
		CHECK(heap_alloc(&heap, 20 * MIB + 12345, 16) >= 0);
	CHECK_CMP(heap_committed(&heap), ==, committed);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void bad_frees_change_nothing(void)
{
	u64 addr;
	int nr;

	heap_create(&heap, 2 * MIB, MIB);
	nr = heap_try(&heap, 100 * PAGE_SIZE, 16, PHEAP_CORE_EASY);
	CHECK(heap_try(&heap, 50 * PAGE_SIZE, 16, PHEAP_CORE_EASY) >= 0);
	CHECK(heap_try(&heap, 5 * PAGE_SIZE, 16, PHEAP_CORE_EASY) >= 0);
	addr = heap.blocks[nr].addr;
	heap_free(&heap, nr);
	heap_refuse(&heap, addr);
	/* All that is aligned, and what is not around pages. */
	for (addr = heap.base - PAGE_SIZE; addr < heap.base + 2 * MIB + PAGE_SIZE; addr += 16)
		if (heap_find(&heap, addr) < 0)
			heap_refuse(&heap, addr);
	for (addr = heap.base; addr < heap.base + 2 * MIB; addr += PAGE_SIZE) {
		heap_refuse(&heap, addr - 1);
		heap_refuse(&heap, addr + 1);
	}
	for (addr = 1; addr; addr *= 2) {
		heap_refuse(&heap, addr);
		heap_refuse(&heap, -addr);
		heap_refuse(&heap, heap.base - addr);
	}
	heap_check(&heap);
	heap_free_all(&heap);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void need_is_exact(void)
{
	u32 i;

	for (i = 0; i < 1000; i++) {
		u64 align = 16ULL << unit_between(&unit_rng, 0, 17);
		u64 bytes = unit_between(&unit_rng, PHEAP_MAX_BLOCK + 1, 3 * MIB);
		u64 need;
		u32 j;

		heap_create_at(&heap, i & 1 ? HEAP_BASE_ODD : HEAP_BASE_EVEN, 16 * MIB, 16 * MIB,
			       unit_between(&unit_rng, 1, 300) * PAGE_SIZE);
		for (j = unit_between(&unit_rng, 0, 30); j; j--)
			heap_try(&heap, unit_between(&unit_rng, PHEAP_MAX_BLOCK + 1, 100 * KIB), 16,
				 PHEAP_CORE_EASY);
		if (heap.nr_blocks)
			heap_free(&heap, heap.nr_blocks - 1);
		if (heap_try(&heap, bytes, align, PHEAP_CORE_EASY) == -EAGAIN) {
			need = pheap_core_need(&heap.core, bytes, align);
			CHECK_CMP(need, >, heap_committed(&heap));
			CHECK(heap_grow(&heap, need - PAGE_SIZE) == 0);
			CHECK(heap_try(&heap, bytes, align, PHEAP_CORE_LAST) == -ENOSPC);
			CHECK_CMP(pheap_core_need(&heap.core, bytes, align), ==, need);
			CHECK(heap_grow(&heap, need) == 0);
			CHECK(heap_try(&heap, bytes, align, PHEAP_CORE_EASY) >= 0);
		}
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/* Fails only if no run is long enough, with as few runs as this. */
static void failure_is_exact(void)
{
	u32 i, nr_failed = 0;

	heap_create(&heap, 4 * MIB + PAGE_SIZE, PAGE_SIZE);
	for (i = 0; i < 20000; i++) {
		if (heap.nr_blocks && unit_between(&unit_rng, 0, 1)) {
			heap_free(&heap, unit_between(&unit_rng, 0, heap.nr_blocks - 1));
		} else {
			u64 bytes = unit_between(&unit_rng, PHEAP_MAX_BLOCK + 1, 200 * KIB);
			u64 align = 16ULL << unit_between(&unit_rng, 0, 13);

			if (heap_alloc(&heap, bytes, align) < 0) {
				CHECK(!heap_has_room(&heap, bytes, align));
				nr_failed++;
			}
		}
		if (i % 16 == 0)
			heap_check(&heap);
	}
	CHECK(nr_failed > 100);
	heap_destroy(&heap);
}

/* Growth in steps of every kind across the borders of chunks and tables keeps what is there. */
static void growth_across_chunks(void)
{
	u32 step;

	for (step = 1; step <= 700; step = step < 10 ? step + 1 : step * 3) {
		heap_create(&heap, 16 * MIB, PAGE_SIZE);
		while (heap.core.nr_pages + step <= 4096) {
			CHECK(heap_grow(&heap, (u64)(heap.core.nr_pages + step) * PAGE_SIZE) == 0);
			if (unit_between(&unit_rng, 0, 3) == 0)
				heap_try(&heap, unit_between(&unit_rng, 1, 5 * PAGE_SIZE), 16,
					 PHEAP_CORE_EASY);
			if (heap.core.nr_pages % 64 < step)
				heap_check(&heap);
		}
		heap_check(&heap);
		heap_free_all(&heap);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void metadata_follows_what_is_committed(void)
{
	size_t one_page;
	u64 reserved;

	heap_create(&heap, 2 * MIB, PAGE_SIZE);
	one_page = heap.meta_bytes;
	printf("# one committed page: %zu bytes, and %zu of the core itself\n", one_page,
	       sizeof(heap.core));
	CHECK_CMP(one_page + sizeof(heap.core), <=, 2560);
	heap_destroy(&heap);
	for (reserved = 2 * MIB; reserved <= PHEAP_MAX_RESERVE; reserved *= 2) {
		heap_create_at(&heap, HEAP_BASE_EVEN, reserved, 2 * MIB, PAGE_SIZE);
		CHECK_CMP(heap.meta_bytes, ==, one_page);
		CHECK(heap_alloc(&heap, 300 * PAGE_SIZE, 16) >= 0);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void metadata_of_large_blocks(void)
{
	u64 mib;

	for (mib = 16; mib <= 1024; mib *= 8) {
		heap_create(&heap, mib * MIB, PAGE_SIZE);
		while (heap_alloc(&heap, MIB, 16) >= 0)
			;
		CHECK_CMP(heap.nr_blocks, ==, mib);
		printf("# %u MiB of 1 MiB blocks: %zu bytes of metadata per MiB\n", (u32)mib,
		       heap.meta_bytes / (size_t)mib);
		CHECK_CMP(heap.meta_bytes * 10000, <=, mib * MIB * 62);
		heap_destroy(&heap);
	}
}

/* The last page numbers of the largest reservation: the arithmetic holds. */
static void largest_reservation(void)
{
	heap_create_at(&heap, HEAP_BASE_EVEN, PHEAP_MAX_RESERVE, MIB, PAGE_SIZE);
	CHECK(pheap_core_need(&heap.core, PHEAP_MAX_RESERVE, 16) == PHEAP_MAX_RESERVE);
	CHECK(pheap_core_need(&heap.core, PHEAP_MAX_RESERVE + 1, 16) == U64_MAX);
	CHECK(pheap_core_need(&heap.core, PHEAP_MAX_RESERVE - PAGE_SIZE, PHEAP_MAX_ALIGN) ==
	      PHEAP_MAX_RESERVE - PAGE_SIZE);
	CHECK(heap_try(&heap, PHEAP_MAX_RESERVE, PHEAP_MAX_ALIGN, PHEAP_CORE_EASY) == -EAGAIN);
	CHECK(heap_try(&heap, PHEAP_MAX_RESERVE, PHEAP_MAX_ALIGN, PHEAP_CORE_LAST) == -ENOSPC);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void growth_without_metadata_fails_cleanly(void)
{
	static const u32 steps[][2] = {
		{ 0, 1 }, { 0, 8 }, { 0, 256 }, { 0, 257 }, { 0, 3000 }, { 1, 9 }, { 8, 256 },
		{ 8, 257 }, { 200, 600 }, { 256, 512 }, { 257, 258 }, { 257, 300 }, { 300, 3000 },
		{ 600, 700 },
		{ 1000, 1025 },
	};
	u32 i, nth;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		for (nth = 1;; nth++) {
			bool failed;

			heap_create(&heap, 16 * MIB, steps[i][0] * PAGE_SIZE);
			heap_try(&heap, 100, 16, PHEAP_CORE_EASY);
			heap.fail_in = nth;
			failed = heap_grow(&heap, steps[i][1] * PAGE_SIZE) != 0;
			CHECK(failed == !heap.fail_in);
			heap.fail_in = 0;
			heap_check(&heap);
			CHECK(heap_grow(&heap, steps[i][1] * PAGE_SIZE) == 0);
			heap_check(&heap);
			heap_free_all(&heap);
			CHECK(heap_try(&heap, steps[i][1] * PAGE_SIZE, 16, PHEAP_CORE_EASY) >= 0);
			heap_check(&heap);
			heap_destroy(&heap);
			if (!failed)
				break;
		}
	}
}

static const struct unit_test tests[] = {
	UNIT_TEST(sizes_around_page_borders),
	UNIT_TEST(every_alignment),
	UNIT_TEST(small_blocks_of_large_alignment),
	UNIT_TEST(neighbours_are_joined),
	UNIT_TEST(exhaustion_and_reuse),
	UNIT_TEST(exactly_what_is_left),
	UNIT_TEST(whole_heap_block),
	UNIT_TEST(freed_run_is_reused),
	UNIT_TEST(bad_frees_change_nothing),
	UNIT_TEST(need_is_exact),
	UNIT_TEST(failure_is_exact),
	UNIT_TEST(growth_across_chunks),
	UNIT_TEST(metadata_follows_what_is_committed),
	UNIT_TEST(metadata_of_large_blocks),
	UNIT_TEST(largest_reservation),
	UNIT_TEST(growth_without_metadata_fails_cleanly),
};

int main(void)
{
	return unit_run(tests, ARRAY_SIZE(tests));
}
