// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps of pages: size classes, spans and their bitmaps.
 */
#include <errno.h>

#include <linux/kernel.h>
#include <linux/limits.h>

#include "classes.h"
#include "heap.h"
#include "pages.h"

#define KIB	1024ULL
#define MIB	(1024 * KIB)

static struct heap heap;

static void class_table_is_sound(void)
{
	u32 i, o;

	for (i = 0; i < PHEAP_NR_CLASSES; i++) {
		const struct pheap_class *c = &pheap_classes[i];
		u32 span = c->pages * PAGE_SIZE, small = c->small_pages * PAGE_SIZE, list = 0;

		CHECK_CMP(c->bytes % 16, ==, 0);
		CHECK_CMP(c->reciprocal, ==, (1ULL << 32) / c->bytes + 1);
		CHECK_CMP(c->fullness, ==, 3 * 65536 / (span / c->bytes + 1));
		CHECK_CMP(c->pages, <=, PHEAP_MAX_SPAN);
		CHECK_CMP(c->small_pages, <=, c->pages);
		CHECK_CMP(span % c->bytes * 64, <=, span);
		CHECK_CMP(small % c->bytes * 8, <=, small);
		CHECK_CMP(span / c->bytes, >=, 4);
		CHECK((c->bytes < PHEAP_INLINE_BYTES) == (i < PHEAP_INLINE_CLASS));
		if (c->bytes < PHEAP_INLINE_BYTES)
			CHECK_CMP(span / c->bytes, <=, PHEAP_BITMAP_BYTES * 8);
		for (o = 0; o <= span; o++)
			CHECK_CMP(((u64)o * c->reciprocal) >> 32, ==, o / c->bytes);
		for (o = 1; o <= span / c->bytes; o++) {
			u32 now = (o * c->fullness) >> 16;

			CHECK(now == list || now == list + 1);
			list = now;
		}
		CHECK_CMP(list, ==, PHEAP_NR_SPAN_LISTS - 1);
	}
	CHECK_CMP(pheap_classes[PHEAP_NR_CLASSES - 1].bytes, ==, PHEAP_MAX_BLOCK);
}

static void class_of_every_size(void)
{
	u32 bytes;

	for (bytes = 0; bytes <= PHEAP_MAX_BLOCK; bytes++) {
		u32 class = pheap_class_of(bytes);

		CHECK_CMP(class, <, PHEAP_NR_CLASSES);
		CHECK_CMP(pheap_classes[class].bytes, >=, bytes);
		if (class)
			CHECK_CMP(pheap_classes[class - 1].bytes, <, bytes);
		if (bytes > 128)
			CHECK_CMP((pheap_classes[class].bytes - bytes) * 8, <, bytes);
	}
}

static void every_size_up_to_five_pages(void)
{
	u64 bytes;

	heap_create(&heap, 16 * MIB, 16 * MIB);
	for (bytes = 0; bytes <= 5 * PAGE_SIZE; bytes++) {
		int nr = heap_try(&heap, bytes, 16, PHEAP_CORE_EASY);
		u64 usable = ALIGN(bytes, (u64)PAGE_SIZE);

		CHECK(nr >= 0);
		if (bytes <= PHEAP_MAX_BLOCK)
			usable = pheap_classes[pheap_class_of(bytes)].bytes;
		CHECK_CMP(heap.blocks[nr].usable, ==, usable);
		/* Some stay, so that spans are not always new. */
		if (bytes % 64)
			heap_free(&heap, nr);
	}
	heap_check(&heap);
	heap_free_all(&heap);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void sizes_around_class_borders(void)
{
	u32 class;
	int d;

	heap_create(&heap, 16 * MIB, PAGE_SIZE);
	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		for (d = -1; d <= 1; d++) {
			int i;

			for (i = 0; i < 20; i++)
				CHECK(heap_alloc(&heap, pheap_classes[class].bytes + d, 16) >= 0);
			heap_check(&heap);
		}
	}
	heap_free_some(&heap, &unit_rng, 50);
	heap_check(&heap);
	heap_free_all(&heap);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void size_zero_gives_unique_blocks(void)
{
	int a, b;

	heap_create(&heap, 2 * MIB, PAGE_SIZE);
	a = heap_alloc(&heap, 0, 16);
	b = heap_alloc(&heap, 0, 16);
	CHECK(a >= 0 && b >= 0);
	CHECK(heap.blocks[a].addr != heap.blocks[b].addr);
	heap_destroy(&heap);
}

static void every_alignment(void)
{
	u64 align, bytes;

	heap_create(&heap, 64 * MIB, 64 * MIB);
	for (align = 16; align <= PHEAP_MAX_ALIGN; align *= 2) {
		for (bytes = 0; bytes <= 5 * PAGE_SIZE; bytes += bytes < 64 ? 1 : 61) {
			int nr = heap_try(&heap, bytes, align, PHEAP_CORE_EASY);

			CHECK(nr >= 0);
			/* Some stay, but there are few places of the largest alignments. */
			if (bytes % 5 || align > 64 * KIB)
				heap_free(&heap, nr);
		}
		heap_check(&heap);
		heap_free_all(&heap);
	}
	heap_check(&heap);
	heap_destroy(&heap);
}

/*
 * All blocks of a few spans: the shadow sees that none overlaps, and the spans end when the last is
 * freed.
 */
static void spans_of_every_class(void)
{
	u32 class, i;

	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		const struct pheap_class *c = &pheap_classes[class];
		u32 blocks = c->pages * PAGE_SIZE / c->bytes;

		heap_create(&heap, 8 * MIB, 8 * MIB);
		for (i = 0; i < 3 * blocks + 1; i++) {
			int nr = heap_try(&heap, c->bytes, 16, PHEAP_CORE_EASY);

			CHECK(nr >= 0);
			CHECK_CMP(heap.blocks[nr].usable, ==, c->bytes);
		}
		heap_check(&heap);
		heap_free_some(&heap, &unit_rng, 70);
		heap_check(&heap);
		while (heap_try(&heap, c->bytes, 16, PHEAP_CORE_EASY) >= 0)
			if (heap.nr_blocks == 3 * blocks)
				break;
		heap_check(&heap);
		heap_free_some(&heap, &unit_rng, 100);
		heap_check(&heap);
		CHECK(heap_try(&heap, 8 * MIB, 16, PHEAP_CORE_EASY) >= 0);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void exhaustion_and_reuse(void)
{
	u32 class, nr;

	for (class = 0; class < PHEAP_NR_CLASSES; class += 5) {
		u64 bytes = pheap_classes[class].bytes;

		heap_create(&heap, 2 * MIB, PAGE_SIZE);
		while (heap_alloc(&heap, bytes, 16) >= 0)
			;
		nr = heap.nr_blocks;
		heap_check(&heap);
		CHECK_CMP(heap_committed(&heap) + bytes, >, 2 * MIB);
		CHECK_CMP(heap.requested * 100, >=, 2 * MIB * 86);
		heap_free_some(&heap, &unit_rng, 50);
		heap_check(&heap);
		/* Spans that ended come back with other lengths, and perhaps more waste. */
		while (heap_alloc(&heap, bytes, 16) >= 0)
			;
		CHECK_CMP(heap.nr_blocks * 100, >=, nr * 95);
		heap_check(&heap);
		heap_free_all(&heap);
		CHECK(heap_alloc(&heap, 2 * MIB, 16) >= 0);
		heap_destroy(&heap);
	}
}

static void bad_frees_change_nothing(void)
{
	u32 class, i;
	u64 addr;

	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		const struct pheap_class *c = &pheap_classes[class];

		heap_create(&heap, 2 * MIB, MIB);
		for (i = 0; i < c->pages * PAGE_SIZE / c->bytes; i++)
			CHECK(heap_try(&heap, c->bytes, 16, PHEAP_CORE_EASY) >= 0);
		heap_free_some(&heap, &unit_rng, 50);
		/*
		 * Every byte of the span and its surroundings: interior, freed, misaligned, waste
		 * at the end.
		 */
		for (addr = heap.base - 10; addr < heap.base + (c->pages + 2) * PAGE_SIZE; addr++)
			if (heap_find(&heap, addr) < 0)
				heap_refuse(&heap, addr);
		heap_check(&heap);
		heap_free_all(&heap);
		/* The kept span has no block. */
		for (addr = heap.base; addr < heap.base + c->pages * PAGE_SIZE; addr += 16)
			heap_refuse(&heap, addr);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/*
 * One block allocated and freed over and over stays in its span; the span is given back when its
 * pages are needed.
 */
static void kept_spans(void)
{
	u32 class, i;

	heap_create(&heap, 4 * MIB, 4 * MIB);
	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		u64 addr = 0;

		for (i = 0; i < 3; i++) {
			int nr = heap_try(&heap, pheap_classes[class].bytes, 16, PHEAP_CORE_EASY);

			CHECK(nr >= 0);
			CHECK(!i || heap.blocks[nr].addr == addr);
			addr = heap.blocks[nr].addr;
			heap_free(&heap, nr);
			heap_check(&heap);
		}
	}
	CHECK(heap_try(&heap, 4 * MIB, 16, PHEAP_CORE_EASY) >= 0);
	heap_check(&heap);
	heap_free_all(&heap);
	/* By a class as well: keep one span of 64 bytes, then fill with another class. */
	heap_free(&heap, heap_try(&heap, 64, 16, PHEAP_CORE_EASY));
	for (i = 0; i < 1024; i++)
		CHECK(heap_try(&heap, 4096, 16, PHEAP_CORE_EASY) >= 0);
	heap_check(&heap);
	heap_destroy(&heap);
}

/* Holes of one page only: most classes make do with less than their usual span. */
static void short_spans(void)
{
	u32 class, i;

	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		const struct pheap_class *c = &pheap_classes[class];
		u32 hole = (c->bytes + PAGE_SIZE - 1) / PAGE_SIZE;
		u64 holes[4], nr_holes = 0;
		int nr;

		heap_create(&heap, 4 * MIB, 4 * MIB);
		while (nr_holes < 4) {
			nr = heap_try(&heap, hole * PAGE_SIZE, 2 * PAGE_SIZE, PHEAP_CORE_EASY);
			CHECK(nr >= 0);
			holes[nr_holes++] = heap.blocks[nr].addr;
			CHECK(heap_try(&heap, 5 * PAGE_SIZE, 16, PHEAP_CORE_EASY) >= 0);
		}
		/* All the rest, page by page. */
		while (heap_try(&heap, PAGE_SIZE, 2 * PAGE_SIZE, PHEAP_CORE_LAST) >= 0)
			;
		while (heap_try(&heap, PAGE_SIZE, PAGE_SIZE, PHEAP_CORE_LAST) >= 0)
			;
		CHECK(heap_try(&heap, c->bytes, 16, PHEAP_CORE_LAST) == -ENOSPC);
		for (i = 0; i < nr_holes; i++)
			heap_free_addr(&heap, holes[i]);
		heap_check(&heap);
		nr = heap_try(&heap, c->bytes, 16, PHEAP_CORE_EASY);
		CHECK((nr >= 0) == (c->small_pages <= hole));
		for (i = 0; i < 3; i++)
			CHECK(heap_try(&heap, c->bytes, 16, PHEAP_CORE_LAST) >= 0);
		heap_check(&heap);
		heap_free_all(&heap);
		CHECK(heap_try(&heap, 4 * MIB, 16, PHEAP_CORE_EASY) >= 0);
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

/* No page is free, but a larger block. */
static void borrowed_blocks(void)
{
	u32 class, i;

	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		u64 bytes = pheap_classes[class].bytes, last;
		int nr;

		if (bytes == 8192)
			continue;
		heap_create(&heap, 2 * MIB, 2 * MIB);
		while (heap_try(&heap, 8192, 16, PHEAP_CORE_LAST) >= 0)
			;
		CHECK_CMP(heap.usable, ==, 2 * MIB);
		for (i = 0; i < 10; i++)
			heap_free(&heap, i * 20);
		CHECK(heap_try(&heap, bytes, 16, PHEAP_CORE_EASY) == -EAGAIN);
		nr = heap_try(&heap, bytes, 16, PHEAP_CORE_LAST);
		CHECK((nr >= 0) == (bytes <= 8192));
		if (nr >= 0) {
			last = heap.blocks[nr].addr;
			CHECK_CMP(heap.blocks[nr].usable, ==, 8192);
			heap_check(&heap);
			heap_free_addr(&heap, last);
			nr = heap_try(&heap, bytes, 4096, PHEAP_CORE_LAST);
			CHECK(nr >= 0);
		}
		heap_check(&heap);
		heap_destroy(&heap);
	}
}

static void without_spares(void)
{
	u64 bytes;

	heap_create(&heap, 2 * MIB, 2 * MIB);
	heap.spares = false;
	for (bytes = 0; bytes < 64; bytes++) {
		size_t spare = pheap_core_spare_bytes(&heap.core, bytes);
		int nr;

		CHECK_CMP(spare, ==, bytes <= 48 ? PHEAP_BITMAP_BYTES : 0);
		nr = heap_try(&heap, bytes, 16, PHEAP_CORE_EASY);
		CHECK(nr >= 0);
		CHECK_CMP(heap.blocks[nr].usable, ==, 64);
		nr = heap_try(&heap, bytes, 128, PHEAP_CORE_EASY);
		CHECK(nr >= 0);
		CHECK_CMP(heap.blocks[nr].usable, ==, 128);
	}
	/* And when there is no room for another span. */
	while (heap_try(&heap, 10, 16, PHEAP_CORE_EASY) >= 0)
		;
	CHECK(heap_try(&heap, 10, 16, PHEAP_CORE_LAST) >= 0);
	while (heap_try(&heap, 10, 16, PHEAP_CORE_LAST) >= 0)
		;
	CHECK_CMP(heap.usable, ==, 2 * MIB);
	heap_check(&heap);
	heap_free_all(&heap);
	heap_check(&heap);
	/* With one they have their own size. */
	heap.spares = true;
	CHECK_CMP(heap.blocks[heap_try(&heap, 10, 16, PHEAP_CORE_EASY)].usable, ==, 16);
	heap_check(&heap);
	heap_destroy(&heap);
}

/* Without a spare and without a page, a block of a class with an allocated bitmap is lent too. */
static void borrowed_without_spares(void)
{
	int nr;

	heap_create(&heap, 2 * MIB, 2 * MIB);
	while (heap_try(&heap, 32, 16, PHEAP_CORE_LAST) >= 0)
		;
	heap_free(&heap, 1000);
	heap.spares = false;
	CHECK(heap_try(&heap, 16, 16, PHEAP_CORE_EASY) == -EAGAIN);
	nr = heap_try(&heap, 16, 16, PHEAP_CORE_LAST);
	CHECK(nr >= 0);
	CHECK_CMP(heap.blocks[nr].usable, ==, 32);
	CHECK(heap_try(&heap, 16, 16, PHEAP_CORE_LAST) == -ENOSPC);
	heap_check(&heap);
	heap_destroy(&heap);
}

static void spares_are_kept_and_used_again(void)
{
	size_t before, size;
	void *spare;
	u32 i;

	heap_create(&heap, 8 * MIB, 8 * MIB);
	for (i = 0; i < 10; i++) {
		spare = pheap_meta_alloc(&heap.core, PHEAP_BITMAP_BYTES);
		spare = pheap_core_spare_give(&heap.core, spare);
		heap_check(&heap);
		if (spare)
			break;
	}
	/* A few are taken, then they come back. */
	CHECK(i > 0 && i < 10);
	pheap_meta_free(&heap.core, spare, PHEAP_BITMAP_BYTES);
	CHECK_CMP(pheap_core_spare_bytes(&heap.core, 16), ==, 0);

	for (i = 0; i < 20000; i++)
		CHECK(heap_try(&heap, 1 + i % 48, 16, PHEAP_CORE_EASY) >= 0);
	before = heap.meta_bytes;
	heap_free_all(&heap);
	heap_check(&heap);
	CHECK_CMP(heap.meta_bytes, ==, before);
	for (i = 0; i < 20000; i++)
		CHECK(heap_try(&heap, 1 + i % 48, 16, PHEAP_CORE_EASY) >= 0);
	CHECK_CMP(heap.meta_bytes, ==, before);
	heap_destroy(&heap);

	/* Without a commit there is no place for one; nobody asks for one in a heap of units. */
	heap_create(&heap, 2 * MIB, 0);
	size = pheap_core_spare_bytes(&heap.core, 1);
	CHECK_CMP(size, ==, PHEAP_BITMAP_BYTES);
	spare = pheap_meta_alloc(&heap.core, size);
	CHECK(pheap_core_spare_give(&heap.core, spare) == spare);
	pheap_meta_free(&heap.core, spare, size);
	heap_destroy(&heap);
	heap_create(&heap, MIB, MIB);
	CHECK_CMP(pheap_core_spare_bytes(&heap.core, 1), ==, 0);
	heap_destroy(&heap);
}

/* Every allocation of metadata fails from some point on: blocks are had as long as pages are. */
static void no_metadata_for_spares(void)
{
	u32 i;

	heap_create(&heap, 2 * MIB, 2 * MIB);
	for (i = 0; heap.usable < 2 * MIB; i++) {
		heap.fail_in = i % 3 == 0;
		CHECK(heap_try(&heap, 1 + i % 100, 16, PHEAP_CORE_LAST) >= 0);
		heap.fail_in = 0;
		if (i % 4 == 3)
			heap_free(&heap, unit_between(&unit_rng, 0, heap.nr_blocks - 1));
		if (i % 512 == 0)
			heap_check(&heap);
		if (heap.usable > 2 * MIB * 9 / 10)
			break;
	}
	heap_check(&heap);
	heap_destroy(&heap);
}

/*
 * What need tells is enough, and with one page less there is no span; at the end of the reservation
 * a short one.
 */
static void need_of_spans(void)
{
	u32 class, pages;

	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		const struct pheap_class *c = &pheap_classes[class];
		u32 least = (c->bytes + PAGE_SIZE - 1) / PAGE_SIZE;

		for (pages = 0; pages <= 1024; pages += pages < 512 ? 93 : 1) {
			u64 need;

			heap_create(&heap, 4 * MIB, pages * PAGE_SIZE);
			if (pages)
				CHECK(heap_try(&heap, pages * PAGE_SIZE, 16, PHEAP_CORE_EASY) >= 0);
			CHECK(heap_try(&heap, c->bytes, 16, PHEAP_CORE_EASY) == -EAGAIN);
			need = pheap_core_need(&heap.core, c->bytes, 16);
			if (1024 - pages < least) {
				CHECK(need == U64_MAX);
				CHECK(heap_try(&heap, c->bytes, 16, PHEAP_CORE_LAST) == -ENOSPC);
			} else {
				CHECK_CMP(need, >, pages * PAGE_SIZE);
				CHECK_CMP(need, <=, 4 * MIB);
				CHECK_CMP(need, <=, (pages + c->pages) * PAGE_SIZE);
				CHECK(heap_grow(&heap, need) == 0);
				CHECK(heap_try(&heap, c->bytes, 16, 1024 - pages >= c->small_pages ?
					       PHEAP_CORE_EASY : PHEAP_CORE_LAST) >= 0);
			}
			heap_check(&heap);
			heap_destroy(&heap);
		}
	}
}

static void fill(u64 reserved, u64 most, u32 least_full)
{
	u32 i, worst = 10000;

	for (i = 0; i < 10; i++) {
		u32 full;

		heap_create(&heap, reserved, PAGE_SIZE);
		full = heap_fill(&heap, &unit_rng, most);
		if (full < worst)
			worst = full;
		heap_check(&heap);
		heap_destroy(&heap);
	}
	printf("# %u MiB, up to %u bytes: full to %.2f %% at the first failure, worst of 10\n",
	       (u32)(reserved / MIB), (u32)most, heap_percent(worst));
	CHECK_CMP(worst, >=, least_full);
}

static void fill_16_mib(void)
{
	fill(16 * MIB, 2000, 8500);
	fill(16 * MIB, 8000, 8500);
}

/* Page-sized spans of many classes weigh more in heaps only a little larger than those of units. */
static void fill_2_and_4_mib(void)
{
	fill(2 * MIB, 2000, 7500);
	fill(4 * MIB, 2000, 8000);
}

static void churn(u64 reserved, u64 most, u32 least_full)
{
	struct churn churn;

	heap_create(&heap, reserved, PAGE_SIZE);
	heap_fill(&heap, &unit_rng, most);
	churn = heap_churn(&heap, &unit_rng, most, 500000);
	printf("# %u MiB, to %u bytes: %u failures, %.2f %% full in the mean, %.2f %% at worst\n",
	       (u32)(reserved / MIB), (u32)most, (u32)churn.nr_failures, heap_percent(churn.mean),
	       heap_percent(churn.worst));
	heap_check(&heap);
	heap_free_all(&heap);
	heap_check(&heap);
	CHECK(heap_try(&heap, reserved, 16, PHEAP_CORE_EASY) >= 0);
	heap_destroy(&heap);
	CHECK_CMP(churn.worst, >=, least_full);
}

static void churn_16_mib(void)
{
	churn(16 * MIB, 2000, 7500);
	churn(16 * MIB, 8000, 7500);
}

static void churn_4_mib(void)
{
	churn(4 * MIB, 2000, 7500);
}

static void metadata_of_small_blocks(void)
{
	/* Of 10,000: at most 4 % for 32 bytes, 1 % for 1 KiB. */
	static const u32 cases[][2] = {
		{ 16, 400 }, { 32, 400 }, { 48, 400 }, { 64, 100 }, { 1024, 100 }
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		heap_create(&heap, 64 * MIB, PAGE_SIZE);
		while (heap_alloc(&heap, cases[i][0], 16) >= 0)
			;
		printf("# 64 MiB of %u-byte blocks: %zu bytes of metadata per MiB\n", cases[i][0],
		       heap.meta_bytes / 64);
		CHECK_CMP(heap.meta_bytes * 10000, <=, 64 * MIB * cases[i][1]);
		heap_destroy(&heap);
	}
}

static const struct unit_test tests[] = {
	UNIT_TEST(class_table_is_sound),
	UNIT_TEST(class_of_every_size),
	UNIT_TEST(every_size_up_to_five_pages),
	UNIT_TEST(sizes_around_class_borders),
	UNIT_TEST(size_zero_gives_unique_blocks),
	UNIT_TEST(every_alignment),
	UNIT_TEST(spans_of_every_class),
	UNIT_TEST(exhaustion_and_reuse),
	UNIT_TEST(bad_frees_change_nothing),
	UNIT_TEST(kept_spans),
	UNIT_TEST(short_spans),
	UNIT_TEST(borrowed_blocks),
	UNIT_TEST(without_spares),
	UNIT_TEST(borrowed_without_spares),
	UNIT_TEST(spares_are_kept_and_used_again),
	UNIT_TEST(no_metadata_for_spares),
	UNIT_TEST(need_of_spans),
	UNIT_TEST(fill_16_mib),
	UNIT_TEST(fill_2_and_4_mib),
	UNIT_TEST(churn_16_mib),
	UNIT_TEST(churn_4_mib),
	UNIT_TEST(metadata_of_small_blocks),
};

int main(void)
{
	return unit_run(tests, ARRAY_SIZE(tests));
}
