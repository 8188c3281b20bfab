// SPDX-License-Identifier: GPL-2.0
/*
 * What both kinds of heap have in common: the front of the core.
 */
#include <errno.h>
#include <string.h>

#include <linux/kernel.h>
#include <linux/limits.h>

#include "heap.h"
#include "pages.h"

#define KIB	1024ULL
#define MIB	(1024 * KIB)

static struct heap heap;

/* One reservation of units and one of pages. */
static const u64 reservations[] = { 64 * KIB, 2 * MIB };

static void reservation_decides_the_kind(void)
{
	int nr;

	/* 2000 bytes are 125 units, or a block of 2048. */
	heap_create(&heap, PHEAP_SMALL_HEAP_BYTES, PAGE_SIZE);
	nr = heap_try(&heap, 2000, 16, PHEAP_CORE_EASY);
	CHECK_CMP(heap.blocks[nr].usable, ==, 2000);
	heap_destroy(&heap);
	heap_create(&heap, PHEAP_SMALL_HEAP_BYTES + PAGE_SIZE, PAGE_SIZE);
	nr = heap_try(&heap, 2000, 16, PHEAP_CORE_EASY);
	CHECK_CMP(heap.blocks[nr].usable, ==, 2048);
	heap_destroy(&heap);
}

static void nothing_committed(void)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], 0);
		CHECK_CMP(heap.nr_meta, ==, 0);
		heap_check(&heap);
		CHECK(heap_try(&heap, 1, 16, PHEAP_CORE_EASY) == -EAGAIN);
		CHECK(heap_try(&heap, 1, 16, PHEAP_CORE_LAST) == -ENOSPC);
		heap_refuse(&heap, heap.base);
		CHECK_CMP(pheap_core_need(&heap.core, 1, 16), ==, PAGE_SIZE);
		CHECK_CMP(pheap_core_need(&heap.core, reservations[i], 16), ==, reservations[i]);
		CHECK(heap_alloc(&heap, 1, 16) >= 0);
		CHECK_CMP(heap_committed(&heap), ==, PAGE_SIZE);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void huge_requests_fail(void)
{
	static const u64 sizes[] = {
		U64_MAX, U64_MAX - 1, U64_MAX - 15, U64_MAX - 4095, U64_MAX / 2, U64_MAX / 2 + 1,
		PHEAP_MAX_RESERVE, 2 * PHEAP_MAX_RESERVE, 0x100000000ULL, 0x100000001ULL,
		0xffffffffULL * 4096, 0x100000000ULL * 4096, 0x100000001ULL * 4096,
		0x100000000ULL * 16, 0x100000001ULL * 16,
	};
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], reservations[i]);
		for (j = 0; j < ARRAY_SIZE(sizes); j++) {
			u64 align;

			for (align = 16; align <= PHEAP_MAX_ALIGN; align *= 2) {
				CHECK(heap_try(&heap, sizes[j], align, PHEAP_CORE_EASY) == -EAGAIN);
				CHECK(heap_try(&heap, sizes[j], align, PHEAP_CORE_LAST) == -ENOSPC);
				CHECK(pheap_core_need(&heap.core, sizes[j], align) == U64_MAX);
			}
			CHECK_CMP(pheap_core_spare_bytes(&heap.core, sizes[j]), ==, 0);
		}
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void growth_to_less_does_nothing(void)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		size_t meta;

		heap_create(&heap, reservations[i], 8 * PAGE_SIZE);
		meta = heap.meta_bytes;
		heap.fail_in = 1;
		CHECK(heap_grow(&heap, 0) == 0);
		CHECK(heap_grow(&heap, PAGE_SIZE) == 0);
		CHECK(heap_grow(&heap, 8 * PAGE_SIZE) == 0);
		heap.fail_in = 0;
		CHECK_CMP(heap.meta_bytes, ==, meta);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/* Finish without commit undoes prepare; between the two the heap works on. */
static void give_up(u64 reserved, u64 from, u64 to)
{
	struct pheap_core_grow grow;
	size_t meta;
	int nr;

	heap_create(&heap, reserved, from);
	nr = heap_try(&heap, 100, 16, PHEAP_CORE_EASY);
	CHECK((nr >= 0) == (from > 0));
	meta = heap.meta_bytes;
	CHECK(pheap_core_grow_prepare(&heap.core, &grow, to) == 0);
	nr = heap_try(&heap, 100, 16, PHEAP_CORE_EASY);
	CHECK((nr >= 0) == (from > 0));
	heap_check(&heap);
	pheap_core_grow_finish(&heap.core, &grow);
	CHECK_CMP(heap.meta_bytes, ==, meta);
	CHECK_CMP(heap_committed(&heap), ==, from);
	heap_check(&heap);
	CHECK(heap_grow(&heap, to) == 0);
	heap_check(&heap);
	if (nr >= 0)
		heap_free(&heap, nr);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void growth_given_up(void)
{
	static const u32 pages[] = { 0, 1, 3, 8, 9, 16, 256, 257, 511, 512 };
	u32 i, from, to;

	for (i = 0; i < ARRAY_SIZE(reservations); i++)
		for (from = 0; from < ARRAY_SIZE(pages); from++)
			for (to = from; to < ARRAY_SIZE(pages); to++)
				if (pages[to] * PAGE_SIZE <= reservations[i])
					give_up(reservations[i], pages[from] * PAGE_SIZE,
						pages[to] * PAGE_SIZE);
}

static void figures(void)
{
	struct pheap_core_stats st;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], reservations[i]);
		heap_try(&heap, 32, 16, PHEAP_CORE_EASY);
		heap_try(&heap, 64, 16, PHEAP_CORE_EASY);
		heap_try(&heap, 20 * KIB, 16, PHEAP_CORE_EASY);
		heap_free_addr(&heap, heap.blocks[1].addr);
		heap_refuse(&heap, heap.base + 1);
		CHECK(heap_try(&heap, reservations[i], 16, PHEAP_CORE_LAST) == -ENOSPC);
		pheap_core_stats(&heap.core, &st);
		CHECK_CMP(st.allocated_bytes, ==, 32 + 20 * KIB);
		CHECK_CMP(st.nr_blocks, ==, 2);
		CHECK_CMP(st.nr_allocs, ==, 3);
		CHECK_CMP(st.nr_frees, ==, 1);
		heap_destroy(&heap);
	}
}

/* The validity check is worth something: it sees damage of every kind of metadata. */
static void damage_is_seen(void)
{
	u32 i, j, bound = 1;
	struct pheap_page *span;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], reservations[i]);
		for (j = 0; j < 20; j++)
			heap_try(&heap, 100 + j * 300, 16, PHEAP_CORE_EASY);
		heap_free_addr(&heap, heap.blocks[3].addr);
		heap_check(&heap);
		heap.core.allocated_bytes++;
		CHECK(!pheap_core_is_valid(&heap.core));
		heap.core.allocated_bytes--;
		heap.core.nr_frees++;
		CHECK(!pheap_core_is_valid(&heap.core));
		heap.core.nr_frees--;
		heap_check(&heap);
		heap_destroy(&heap);
	}

	heap_create(&heap, 64 * KIB, 64 * KIB);
	heap_try(&heap, 100, 16, PHEAP_CORE_EASY);
	heap_try(&heap, 100, 16, PHEAP_CORE_EASY);
	heap.core.units.busy[1] ^= 1;
	CHECK(!pheap_core_is_valid(&heap.core));
	heap.core.units.busy[1] ^= 1;
	heap.core.units.start[0] ^= 1;
	CHECK(!pheap_core_is_valid(&heap.core));
	heap.core.units.start[0] ^= 1;
	swap(heap.core.units.longest[0], bound);
	CHECK(!pheap_core_is_valid(&heap.core));
	swap(heap.core.units.longest[0], bound);
	swap(heap.core.units.group[0], bound);
	CHECK(!pheap_core_is_valid(&heap.core));
	swap(heap.core.units.group[0], bound);
	heap.core.units.empty[0] ^= 2;
	CHECK(!pheap_core_is_valid(&heap.core));
	heap.core.units.empty[0] ^= 2;
	heap_check(&heap);
	heap_destroy(&heap);

	heap_create(&heap, 2 * MIB, 2 * MIB);
	heap_try(&heap, 64, 16, PHEAP_CORE_EASY);
	heap_try(&heap, 20 * KIB, 16, PHEAP_CORE_EASY);
	span = pheap_page(&heap.core, (heap.blocks[0].addr - heap.base) / PAGE_SIZE);
	span->nfree--;
	CHECK(!pheap_core_is_valid(&heap.core));
	span->nfree++;
	span->kind = PHEAP_PAGE_RUN;
	CHECK(!pheap_core_is_valid(&heap.core));
	span->kind = PHEAP_PAGE_SPAN;
	*pheap_mask(&heap.core, (heap.blocks[0].addr - heap.base) / PAGE_SIZE) ^= 2;
	CHECK(!pheap_core_is_valid(&heap.core));
	*pheap_mask(&heap.core, (heap.blocks[0].addr - heap.base) / PAGE_SIZE) ^= 2;
	heap.core.pages.lists->runs_used[0] ^= 2;
	CHECK(!pheap_core_is_valid(&heap.core));
	heap.core.pages.lists->runs_used[0] ^= 2;
	heap_check(&heap);
	heap_destroy(&heap);
}

static void reset_of_nothing(void)
{
	u32 i, end;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], 0);
		end = 0;
		CHECK(!pheap_core_reset(&heap.core, &end));
		heap_check(&heap);
		CHECK(heap_grow(&heap, reservations[i]) == 0);
		heap_reset(&heap);
		heap_check(&heap);
		CHECK_CMP(heap.nr_blocks, ==, 0);
		CHECK(heap_try(&heap, reservations[i], 16, PHEAP_CORE_EASY) >= 0);
		heap_reset(&heap);
		heap_check(&heap);
		CHECK(heap_try(&heap, reservations[i], 16, PHEAP_CORE_EASY) >= 0);
		heap_destroy(&heap);
	}
}

/* Blocks of all sizes, holes between them: all free, their memory in one piece, metadata kept. */
static void reset_frees_everything(void)
{
	u32 i, j, round;
	u64 first;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], PAGE_SIZE);
		for (round = 0; round < 5; round++) {
			size_t meta;

			for (j = 0; j < 400; j++)
				heap_alloc(&heap, j * j % 5000, 16);
			heap_free_some(&heap, &unit_rng, round * 20);
			CHECK(heap.nr_blocks > 0);
			first = heap.blocks[0].addr;
			meta = heap.meta_bytes;
			heap_reset(&heap);
			heap_refuse(&heap, first);
			heap_check(&heap);
			CHECK_CMP(heap.nr_blocks, ==, 0);
			CHECK_CMP(heap.meta_bytes, ==, meta);
			CHECK(heap_has_room(&heap, heap_committed(&heap), 16));
			CHECK(heap_try(&heap, heap_committed(&heap), 16, PHEAP_CORE_EASY) == 0);
			heap_free_all(&heap);
			heap_check(&heap);
		}
		heap_destroy(&heap);
	}
}

/* More than one step's worth of spans and runs; heap_reset() allocates between the steps. */
static void reset_in_steps(void)
{
	u32 round, end;

	heap_create(&heap, 64 * MIB, 64 * MIB);
	for (round = 0; round < 3; round++) {
		while (heap_try(&heap, unit_between(&unit_rng, 0, 20000), 16, PHEAP_CORE_EASY) >= 0)
			;
		heap_free_some(&heap, &unit_rng, 30);
		heap_reset(&heap);
		CHECK_CMP(heap.nr_blocks, >=, 8);
		heap_check(&heap);
	}
	/* What is not in use is not looked at: one step does. */
	heap_free_all(&heap);
	heap_try(&heap, 100, 16, PHEAP_CORE_EASY);
	end = 0;
	CHECK(!pheap_core_reset(&heap.core, &end));
	CHECK_CMP(end, ==, heap.core.nr_pages);
	heap_refuse(&heap, heap.blocks[0].addr);
	heap_destroy(&heap);
}

/* Every size: as many as wanted if there is room, all of one size, all freed by batches. */
static void batches_of_every_size(void)
{
	static const u32 wanted[] = { 1, 2, 63, 64, 65, 200, 512 };
	u64 addrs[64], bytes;
	u32 i, j, n;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], reservations[i]);
		for (bytes = 0; bytes <= 3 * PAGE_SIZE; bytes += bytes < 300 ? 1 : 61) {
			j = bytes % ARRAY_SIZE(wanted);
			n = heap_alloc_batch(&heap, bytes, wanted[j], PHEAP_CORE_MAX_GROUPS);
			CHECK_CMP(heap.nr_blocks, ==, n);
			/* A span of one of these classes has more blocks than were wanted. */
			if (bytes <= 32 && reservations[i] > PHEAP_SMALL_HEAP_BYTES)
				CHECK_CMP(n, ==, wanted[j]);
			while (heap.nr_blocks) {
				for (n = 0; n < 64 && n < heap.nr_blocks; n++)
					addrs[n] = heap.blocks[n].addr;
				heap_free_batch(&heap, addrs, n);
			}
		}
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/* A batch of fresh memory takes whole words. */
static void batch_of_fresh_memory_has_full_groups(void)
{
	struct pheap_core_batch batch;
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], reservations[i]);
		CHECK(!pheap_core_alloc_batch(&heap.core, 64, PHEAP_CORE_EASY, 512, 64, &batch));
		CHECK_CMP(batch.nr_blocks, ==, 512);
		CHECK_CMP(batch.usable, ==, 64);
		CHECK_CMP(batch.nr_groups, ==, 8);
		for (j = 0; j < 8; j++)
			CHECK_CMP(batch.groups[j].mask, ==, U64_MAX);
		pheap_core_free_groups(&heap.core, &batch);
		heap.nr_allocs += 512;
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/* Holes: one block per group, and an end when there is no room for another. */
static void batch_ends_when_groups_do(void)
{
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], reservations[i]);
		for (j = 0; heap_try(&heap, 1024, 16, PHEAP_CORE_EASY) >= 0; j++)
			;
		/* Every other block, from the last on: each has a word or run of its own. */
		for (j = heap.nr_blocks & ~1U; j; j -= 2)
			heap_free(&heap, j - 1);
		CHECK_CMP(heap_try_batch(&heap, 1024, PHEAP_CORE_EASY, 512, 1), <=, 16);
		CHECK(heap_try_batch(&heap, 1024, PHEAP_CORE_EASY, 3, 2) > 0);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/* The last of the heap is served too, one by one. */
static void batches_until_full(void)
{
	u32 i, percent;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], PAGE_SIZE);
		while (heap_alloc_batch(&heap, 100, 100, 64) > 0)
			;
		CHECK_CMP(heap_committed(&heap), ==, reservations[i]);
		CHECK(heap_try(&heap, 100, 16, PHEAP_CORE_LAST) == -ENOSPC);
		percent = heap.usable * 100 / heap.reserved;
		CHECK_CMP(percent, >=, 95);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/* Without a spare the smallest classes cannot have a span; a batch stays of one size. */
static void batch_without_spares(void)
{
	int nr;

	heap_create(&heap, 2 * MIB, 2 * MIB);
	nr = heap_try_batch(&heap, 16, PHEAP_CORE_EASY, 10, 64);
	CHECK_CMP(nr, ==, 10);
	CHECK_CMP(heap.blocks[0].usable, ==, 16);
	heap.spares = false;
	/* What is left of the span, then blocks of 64. */
	while (heap_try_batch(&heap, 16, PHEAP_CORE_EASY, 512, 64) > 0 &&
	       heap.blocks[heap.nr_blocks - 1].usable == 16)
		;
	CHECK_CMP(heap.blocks[heap.nr_blocks - 1].usable, ==, 64);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void free_batch_refuses_what_is_no_block(void)
{
	u64 addrs[64];
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], reservations[i]);
		CHECK_CMP(heap_alloc_batch(&heap, 48, 20, 64), ==, 20);
		for (j = 0; j < 64; j++)
			addrs[j] = j % 4 ? heap.base + j * 7919 : 0;
		addrs[1] = heap.blocks[3].addr;
		addrs[2] = heap.blocks[3].addr;		/* twice */
		addrs[3] = heap.blocks[4].addr + 16;	/* inside */
		addrs[5] = heap.base + heap.reserved;
		addrs[6] = U64_MAX;
		addrs[7] = heap.blocks[0].addr;
		heap_free_batch(&heap, addrs, 64);
		heap_check(&heap);
		heap_free_batch(&heap, addrs, 0);
		heap_destroy(&heap);
	}
}

static void destroy_frees_what_lives(void)
{
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(reservations); i++) {
		heap_create(&heap, reservations[i], PAGE_SIZE);
		for (j = 0; j < 200; j++)
			heap_alloc(&heap, j * j % 3000, 16);
		CHECK(heap.nr_blocks > 0);
		heap_destroy(&heap);
	}
}

static const struct unit_test tests[] = {
	UNIT_TEST(reservation_decides_the_kind),
	UNIT_TEST(nothing_committed),
	UNIT_TEST(huge_requests_fail),
	UNIT_TEST(growth_to_less_does_nothing),
	UNIT_TEST(growth_given_up),
	UNIT_TEST(figures),
	UNIT_TEST(damage_is_seen),
	UNIT_TEST(reset_of_nothing),
	UNIT_TEST(reset_frees_everything),
	UNIT_TEST(reset_in_steps),
	UNIT_TEST(batches_of_every_size),
	UNIT_TEST(batch_of_fresh_memory_has_full_groups),
	UNIT_TEST(batch_ends_when_groups_do),
	UNIT_TEST(batches_until_full),
	UNIT_TEST(batch_without_spares),
	UNIT_TEST(free_batch_refuses_what_is_no_block),
	UNIT_TEST(destroy_frees_what_lives),
};

int main(void)
{
	return unit_run(tests, ARRAY_SIZE(tests));
}
