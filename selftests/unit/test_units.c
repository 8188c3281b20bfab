// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps of units: reservations up to 1 MiB.
 */
#include <errno.h>

#include <linux/kernel.h>
#include <linux/limits.h>

#include "heap.h"

#define KIB	1024ULL
#define MIB	(1024 * KIB)

static struct heap heap;

static void every_size_up_to_three_pages(void)
{
	u64 bytes;

	heap_create(&heap, 64 * KIB, 64 * KIB);
	for (bytes = 0; bytes <= 3 * PAGE_SIZE; bytes++) {
		int nr = heap_try(&heap, bytes, 16, PHEAP_CORE_EASY);

		CHECK(nr >= 0);
		CHECK_CMP(heap.blocks[nr].addr, ==, heap.base);
		CHECK_CMP(heap.blocks[nr].usable, ==, bytes ? ALIGN(bytes, 16ULL) : 16);
		heap_free(&heap, nr);
	}
	heap_check(&heap);
	heap_destroy(&heap);
}

static void sizes_around_powers_of_two(void)
{
	u64 power;
	int d;

	heap_create(&heap, MIB, MIB);
	for (power = 16; power <= MIB; power *= 2) {
		for (d = -1; d <= 1; d++) {
			int nr = heap_try(&heap, power + d, 16, PHEAP_CORE_LAST);

			CHECK((nr >= 0) == (power + d <= MIB));
			heap_check(&heap);
			if (nr >= 0)
				heap_free(&heap, nr);
			heap_check(&heap);
		}
	}
	heap_destroy(&heap);
}

static void size_zero_gives_unique_blocks(void)
{
	int a, b;

	heap_create(&heap, 64 * KIB, PAGE_SIZE);
	a = heap_alloc(&heap, 0, 16);
	b = heap_alloc(&heap, 0, 16);
	CHECK(a >= 0 && b >= 0);
	CHECK(heap.blocks[a].addr != heap.blocks[b].addr);
	heap_destroy(&heap);
}

static void every_alignment(void)
{
	u64 align;

	/* The base is aligned to a page only: the address counts, not the place in the heap. */
	heap_create(&heap, MIB, MIB);
	CHECK(heap_try(&heap, 1, 16, PHEAP_CORE_EASY) >= 0);
	for (align = 16; align <= PHEAP_MAX_ALIGN; align *= 2) {
		u64 bytes;

		for (bytes = 1; bytes <= 128 * KIB; bytes = bytes * 3 + 1) {
			bool room = heap_has_room(&heap, bytes, align);
			int nr = heap_try(&heap, bytes, align, PHEAP_CORE_EASY);

			CHECK((nr >= 0) == room);
			heap_check(&heap);
			if (nr >= 0 && unit_between(&unit_rng, 0, 1))
				heap_free(&heap, nr);
		}
	}
	heap_free_all(&heap);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void lowest_address_first(void)
{
	u32 i;

	heap_create(&heap, 64 * KIB, 64 * KIB);
	for (i = 0; i < 64; i++)
		CHECK(heap_try(&heap, KIB, 16, PHEAP_CORE_EASY) >= 0);
	/*
	 * Holes of 1 KiB at 40 and 41, and at 10: what fits goes into the lower hole, what does not
	 * behind.
	 */
	heap_free_addr(&heap, heap.base + 40 * KIB);
	heap_free_addr(&heap, heap.base + 41 * KIB);
	heap_free_addr(&heap, heap.base + 10 * KIB);
	i = heap_try(&heap, KIB + 1, 16, PHEAP_CORE_EASY);
	CHECK_CMP(heap.blocks[i].addr, ==, heap.base + 40 * KIB);
	i = heap_try(&heap, 512, 16, PHEAP_CORE_EASY);
	CHECK_CMP(heap.blocks[i].addr, ==, heap.base + 10 * KIB);
	i = heap_try(&heap, 528, 16, PHEAP_CORE_EASY);
	CHECK_CMP(heap.blocks[i].addr, ==, heap.base + 41 * KIB + 16);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void exhaustion_and_reuse(void)
{
	u32 i, nr = 0;

	heap_create(&heap, 64 * KIB, PAGE_SIZE);
	while (heap_alloc(&heap, 16, 16) >= 0)
		nr++;
	CHECK_CMP(nr, ==, 4096);
	CHECK_CMP(heap_committed(&heap), ==, 64 * KIB);
	heap_check(&heap);
	/* Every other unit: nothing of two units fits, all of one do. */
	for (i = 0; i < 4096; i += 2)
		heap_free_addr(&heap, heap.base + i * 16);
	heap_check(&heap);
	CHECK(heap_alloc(&heap, 17, 16) == -ENOSPC);
	for (i = 0; i < 2048; i++)
		CHECK(heap_alloc(&heap, 1, 16) >= 0);
	CHECK(heap_alloc(&heap, 1, 16) == -ENOSPC);
	heap_free_all(&heap);
	heap_check(&heap);
	CHECK(heap_alloc(&heap, 64 * KIB, 16) >= 0);
	heap_destroy(&heap);
}

static void whole_heap_block(void)
{
	u64 pages;

	for (pages = 1; pages <= 256; pages++) {
		int nr;

		heap_create(&heap, pages * PAGE_SIZE, PAGE_SIZE);
		CHECK(heap_alloc(&heap, pages * PAGE_SIZE + 1, 16) == -ENOSPC);
		nr = heap_alloc(&heap, pages * PAGE_SIZE, 16);
		CHECK(nr >= 0);
		heap_check(&heap);
		CHECK(heap_alloc(&heap, 0, 16) == -ENOSPC);
		heap_free(&heap, nr);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void bad_frees_change_nothing(void)
{
	u64 addr;
	int nr;

	heap_create(&heap, 64 * KIB, 32 * KIB);
	nr = heap_try(&heap, 100, 16, PHEAP_CORE_EASY);
	CHECK(heap_try(&heap, 5000, 16, PHEAP_CORE_EASY) >= 0);
	CHECK(heap_try(&heap, 3000, 16, PHEAP_CORE_EASY) >= 0);
	addr = heap.blocks[nr].addr;
	heap_free(&heap, nr);
	heap_refuse(&heap, addr);
	/*
	 * Every address of the heap and around it: interior, misaligned, free, uncommitted,
	 * outside.
	 */
	for (addr = heap.base - 100; addr < heap.base + 64 * KIB + 100; addr++)
		if (heap_find(&heap, addr) < 0)
			heap_refuse(&heap, addr);
	for (addr = 1; addr; addr *= 2) {
		heap_refuse(&heap, addr);
		heap_refuse(&heap, -addr);
		heap_refuse(&heap, heap.base - addr);
	}
	heap_refuse(&heap, 0);
	heap_check(&heap);
	heap_free_all(&heap);
	heap_check(&heap);
	heap_destroy(&heap);
}

/* The heap fails only if there is no room, and finds the room there is. */
static void failure_is_exact(void)
{
	u32 i, nr_failed = 0;

	heap_create(&heap, 64 * KIB, PAGE_SIZE);
	for (i = 0; i < 60000; i++) {
		if (heap.nr_blocks && unit_between(&unit_rng, 0, 1)) {
			heap_free(&heap, unit_between(&unit_rng, 0, heap.nr_blocks - 1));
		} else {
			u64 bytes = unit_between(&unit_rng, 0, 3000);
			u64 align = 16ULL << unit_between(&unit_rng, 0, 9);

			if (heap_alloc(&heap, bytes, align) < 0) {
				CHECK_CMP(heap_committed(&heap), ==, 64 * KIB);
				CHECK(!heap_has_room(&heap, bytes, align));
				nr_failed++;
			}
		}
		heap_check(&heap);
	}
	CHECK(nr_failed > 100);
	heap_destroy(&heap);
}

static void need_is_exact(void)
{
	u32 i;

	for (i = 0; i < 2000; i++) {
		u64 align = 16ULL << unit_between(&unit_rng, 0, 12);
		u64 bytes = unit_between(&unit_rng, 0, 100 * KIB);
		u64 need;
		u32 j;

		heap_create(&heap, MIB, unit_between(&unit_rng, 1, 16) * PAGE_SIZE);
		for (j = unit_between(&unit_rng, 0, 30); j; j--)
			heap_try(&heap, unit_between(&unit_rng, 0, 6000), 16, PHEAP_CORE_EASY);
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

static void fill(u64 reserved)
{
	u32 seed, worst = 10000;

	for (seed = 0; seed < 20; seed++) {
		u32 full;

		heap_create(&heap, reserved, PAGE_SIZE);
		full = heap_fill(&heap, &unit_rng, 2000);
		if (full < worst)
			worst = full;
		heap_check(&heap);
		heap_destroy(&heap);
	}
	printf("# full to %.2f %% at the first failure, worst of 20\n", heap_percent(worst));
	CHECK_CMP(worst, >=, 8500);
}

static void fill_64_kib(void)
{
	fill(64 * KIB);
}

static void fill_1_mib(void)
{
	fill(MIB);
}

static struct churn churn(u64 reserved)
{
	struct churn churn;
	u32 full;

	heap_create(&heap, reserved, PAGE_SIZE);
	churn = heap_churn(&heap, &unit_rng, 2000, 500000);
	full = heap_fill(&heap, &unit_rng, 2000);
	printf("# %u failures, full to %.2f %% in the mean, %.2f %% at worst, %.2f %% at the end\n",
	       (u32)churn.nr_failures, heap_percent(churn.mean), heap_percent(churn.worst),
	       heap_percent(full));
	heap_check(&heap);
	heap_destroy(&heap);
	CHECK_CMP(churn.mean, >=, 8000);
	return churn;
}

static void churn_64_kib(void)
{
	/* One block is up to 3 % of this heap: single failures may come early. */
	churn(64 * KIB);
}

static void churn_1_mib(void)
{
	CHECK_CMP(churn(MIB).worst, >=, 7500);
}

static void metadata_is_small(void)
{
	heap_create(&heap, MIB, PAGE_SIZE);
	printf("# one committed page: %zu bytes, and %zu of the core itself\n", heap.meta_bytes,
	       sizeof(heap.core));
	CHECK_CMP(heap.meta_bytes + sizeof(heap.core), <=, 512);
	while (heap_alloc(&heap, 32, 16) >= 0)
		;
	printf("# 1 MiB of 32-byte blocks: %zu bytes\n", heap.meta_bytes);
	CHECK_CMP(heap.meta_bytes, <=, MIB * 4 / 100);
	heap_destroy(&heap);
}

static void growth_without_metadata_fails_cleanly(void)
{
	u64 pages;
	u32 nth;

	for (pages = 1; pages <= 256; pages *= 2) {
		for (nth = 1;; nth++) {
			bool failed;

			heap_create(&heap, MIB, 0);
			if (pages > 1) {
				CHECK(heap_grow(&heap, PAGE_SIZE) == 0);
				CHECK(heap_alloc(&heap, 100, 16) >= 0);
			}
			heap.fail_in = nth;
			failed = heap_grow(&heap, pages * PAGE_SIZE) != 0;
			CHECK(failed == !heap.fail_in);
			heap.fail_in = 0;
			heap_check(&heap);
			CHECK(heap_grow(&heap, pages * PAGE_SIZE) == 0);
			CHECK(heap_alloc(&heap, 100, 16) >= 0);
			heap_check(&heap);
			heap_destroy(&heap);
			if (!failed)
				break;
		}
	}
}

static const struct unit_test tests[] = {
	UNIT_TEST(every_size_up_to_three_pages),
	UNIT_TEST(sizes_around_powers_of_two),
	UNIT_TEST(size_zero_gives_unique_blocks),
	UNIT_TEST(every_alignment),
	UNIT_TEST(lowest_address_first),
	UNIT_TEST(exhaustion_and_reuse),
	UNIT_TEST(whole_heap_block),
	UNIT_TEST(bad_frees_change_nothing),
	UNIT_TEST(failure_is_exact),
	UNIT_TEST(need_is_exact),
	UNIT_TEST(fill_64_kib),
	UNIT_TEST(fill_1_mib),
	UNIT_TEST(churn_64_kib),
	UNIT_TEST(churn_1_mib),
	UNIT_TEST(metadata_is_small),
	UNIT_TEST(growth_without_metadata_fails_cleanly),
};

int main(void)
{
	return unit_run(tests, ARRAY_SIZE(tests));
}
