// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks: sizes, alignments, contents.
 *
 * Every rule runs in each of the three kinds of heap: managed in units of 16 bytes (up to 1 MiB),
 * by size classes within a fixed maximum, and growable. How much fits is the subject of
 * alloc_fill.c, what may be freed that of alloc_free.c.
 */
#include "alloc_block.h"
#include "kselftest_harness.h"

#define NR_WINDOW	64

FIXTURE(alloc)
{
	struct test_heap h;
	struct rng rng;
};

FIXTURE_VARIANT(alloc)
{
	__u64 maximum;
};

FIXTURE_VARIANT_ADD(alloc, small_64k)
{
	.maximum = 64 * KIB,
};

FIXTURE_VARIANT_ADD(alloc, small_1m)
{
	.maximum = MIB,
};

FIXTURE_VARIANT_ADD(alloc, large_16m)
{
	.maximum = 16 * MIB,
};

FIXTURE_VARIANT_ADD(alloc, growable)
{
	.maximum = 0,
};

FIXTURE_SETUP(alloc)
{
	rng_start(&self->rng);
	ASSERT_EQ(0, heap_open(&self->h, 0, variant->maximum));
}

FIXTURE_TEARDOWN(alloc)
{
	EXPECT_EQ(0, heap_close(&self->h));
}

TEST_F(alloc, every_size_up_to_three_pages)
{
	/* Up to 24 KiB live at a time: fits the smallest heap. */
	struct block window[2] = { 0 };
	__u64 bytes, usable;

	for (bytes = 0; bytes <= 3 * PAGE; bytes++) {
		struct block *other = &window[~bytes & 1];
		struct block *b = &window[bytes & 1];

		if (b->p) {
			ASSERT_TRUE(block_intact(b, false)) {
				TH_LOG("size %llu damaged", b->bytes);
			}
			ASSERT_EQ(0, block_free(&self->h, b));
		}
		b->tag = bytes;
		ASSERT_EQ(0, block_alloc(&self->h, b, bytes)) {
			TH_LOG("size %llu at %p usable %llu", bytes, b->p, b->usable);
		}
		ASSERT_EQ(0, raw_size(self->h.fd, self->h.id, b->p, &usable));
		ASSERT_EQ(b->usable, usable);
		ASSERT_NE(other->p, b->p);
		block_fill(b, false);
	}
	EXPECT_TRUE(stat_agrees(&self->h, 2, window[0].usable + window[1].usable));
	EXPECT_EQ(0, block_free(&self->h, &window[0]));
	EXPECT_EQ(0, block_free(&self->h, &window[1]));
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
}

/*
 * The usable size of a block tells where its class ends: the next byte is the next class. Walks
 * over every border of the heap that way, whatever the classes are.
 */
TEST_F(alloc, both_sides_of_every_size_class_border)
{
	__u64 bytes = 1, top = self->h.reserved < 4 * MIB ? self->h.reserved / 4 : 4 * MIB;
	struct block below, at, above;
	unsigned int nr_borders = 0;

	while (bytes < top) {
		ASSERT_EQ(0, block_alloc(&self->h, &below, bytes));
		ASSERT_EQ(0, block_alloc(&self->h, &at, below.usable));
		ASSERT_EQ(0, block_alloc(&self->h, &above, below.usable + 1));
		EXPECT_EQ(below.usable, at.usable);
		EXPECT_LT(at.usable, above.usable);
		below.tag = bytes;
		at.tag = bytes + 1;
		above.tag = bytes + 2;
		/* All that may be used is used. */
		below.bytes = below.usable;
		above.bytes = above.usable;
		block_fill(&below, true);
		block_fill(&at, true);
		block_fill(&above, true);
		ASSERT_TRUE(block_intact(&below, true));
		ASSERT_TRUE(block_intact(&at, true));
		ASSERT_TRUE(block_intact(&above, true));
		ASSERT_EQ(0, block_free(&self->h, &at));
		ASSERT_EQ(0, block_free(&self->h, &below));
		ASSERT_EQ(0, block_free(&self->h, &above));
		nr_borders++;
		/* Beyond three pages the borders are pages: look at fewer of them. */
		bytes = below.usable + 1;
		if (bytes > 3 * PAGE)
			bytes += bytes / 8;
		else if (below.usable >= 512 && self->h.reserved <= MIB)
			bytes += 16 * 7;
	}
	EXPECT_LT(10, nr_borders);
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
}

TEST_F(alloc, powers_of_two_and_their_neighbours)
{
	__u64 power, top = self->h.reserved < 8 * MIB ? self->h.reserved : 8 * MIB;
	int d;

	for (power = 16; power < top; power *= 2) {
		for (d = -1; d <= 1; d++) {
			struct block b = { .tag = power + d };

			ASSERT_EQ(0, block_alloc(&self->h, &b, power + d)) {
				TH_LOG("size %llu", power + d);
			}
			block_fill(&b, false);
			EXPECT_TRUE(block_intact(&b, false));
			EXPECT_EQ(0, block_free(&self->h, &b));
		}
	}
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
}

TEST_F(alloc, size_0_gives_unique_blocks)
{
	struct block b[NR_WINDOW] = { 0 };
	__u64 usable = 0;
	unsigned int i;

	for (i = 0; i < NR_WINDOW; i++) {
		ASSERT_EQ(0, block_alloc(&self->h, &b[i], 0));
		usable += b[i].usable;
	}
	EXPECT_TRUE(blocks_disjoint(b, NR_WINDOW));
	EXPECT_TRUE(stat_agrees(&self->h, NR_WINDOW, usable));
	for (i = 0; i < NR_WINDOW; i++)
		EXPECT_EQ(0, block_free(&self->h, &b[i]));
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
}

TEST_F(alloc, blocks_never_overlap_and_keep_their_contents)
{
	enum { NR = 400 };
	struct block b[NR] = { 0 };
	__u64 usable = 0, used = 0;
	unsigned int i, nr = 0;

	while (nr < NR && used < 40 * KIB) {
		__u64 bytes = rng_below(&self->rng, nr % 8 ? 200 : 3000);

		b[nr].tag = rng_next(&self->rng);
		ASSERT_EQ(0, block_alloc(&self->h, &b[nr], bytes));
		/* Up to the last byte that may be used. */
		b[nr].bytes = b[nr].usable;
		used += b[nr].usable;
		block_fill(&b[nr++], true);
	}
	for (i = 0; i < nr; i++) {
		EXPECT_TRUE(block_intact(&b[i], true));
		usable += b[i].usable;
	}
	EXPECT_TRUE(stat_agrees(&self->h, nr, usable));
	EXPECT_TRUE(blocks_disjoint(b, nr));
	for (i = 0; i < nr; i++) {
		EXPECT_TRUE(block_intact(&b[i], true));
		EXPECT_EQ(0, block_free(&self->h, &b[i]));
	}
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
}

static bool all_zero(const struct block *b)
{
	__u64 i;

	for (i = 0; i < b->usable; i++)
		if (b->p[i])
			return false;
	return true;
}

TEST_F(alloc, zero_flag_clears_fresh_and_reused_blocks)
{
	static const __u64 sizes[] = { 1, 15, 16, 17, 100, 1000, 4000, 4096, 5000, 20000 };
	unsigned int i, round;

	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		for (round = 0; round < 3; round++) {
			struct block a, b;

			ASSERT_EQ(0, block_alloc_aligned(&self->h, &a, sizes[i], 0,
							 PHEAP_ALLOC_ZERO));
			EXPECT_TRUE(all_zero(&a)) {
				TH_LOG("size %llu round %u", sizes[i], round);
			}
			ASSERT_EQ(0, block_alloc(&self->h, &b, sizes[i]));
			memset(a.p, 0xEE, a.usable);
			memset(b.p, 0xDD, b.usable);
			EXPECT_EQ(0, block_free(&self->h, &a));
			ASSERT_EQ(0, block_alloc_aligned(&self->h, &a, sizes[i], 64,
							 PHEAP_ALLOC_ZERO));
			EXPECT_TRUE(all_zero(&a)) {
				TH_LOG("size %llu round %u, reused", sizes[i], round);
			}
			memset(a.p, 0xCC, a.usable);
			/* Clearing one block must not clear its neighbour. */
			EXPECT_EQ(0xDD, b.p[0]);
			EXPECT_EQ(0xDD, b.p[b.usable - 1]);
			EXPECT_EQ(0, block_free(&self->h, &b));
			EXPECT_EQ(0, block_free(&self->h, &a));
		}
	}
}

TEST_F(alloc, every_alignment_with_sizes_around_it)
{
	__u64 align;
	unsigned int i;

	for (align = 1; align <= 2 * MIB; align *= 2) {
		const __u64 sizes[] = { 0, 1, align - 1, align, align + 1, 3 * align };

		for (i = 0; i < ARRAY_LEN(sizes); i++) {
			struct block first = { .tag = align }, second = { .tag = ~align };

			if (sizes[i] * 2 + align * 2 > self->h.reserved)
				continue;
			ASSERT_EQ(0, block_alloc_aligned(&self->h, &first, sizes[i], align, 0)) {
				TH_LOG("align %#llx size %#llx", align, sizes[i]);
			}
			ASSERT_EQ(0, block_alloc_aligned(&self->h, &second, sizes[i], align, 0)) {
				TH_LOG("align %#llx size %#llx", align, sizes[i]);
			}
			block_fill(&first, false);
			block_fill(&second, false);
			EXPECT_TRUE(block_intact(&first, false));
			EXPECT_EQ(0, block_free(&self->h, &first));
			EXPECT_TRUE(block_intact(&second, false));
			EXPECT_EQ(0, block_free(&self->h, &second));
		}
	}
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
}

TEST_F(alloc, aligned_blocks_between_others_are_freed_like_others)
{
	struct block small[NR_WINDOW], aligned[NR_WINDOW];
	__u64 usable = 0;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		__u64 align = 16ULL << (i % 7);

		small[i].tag = i;
		aligned[i].tag = ~i;
		ASSERT_EQ(0, block_alloc(&self->h, &small[i], 1 + i * 13));
		ASSERT_EQ(0, block_alloc_aligned(&self->h, &aligned[i], 1 + i * 29, align, 0));
		block_fill(&small[i], true);
		block_fill(&aligned[i], true);
		usable += small[i].usable + aligned[i].usable;
	}
	EXPECT_TRUE(stat_agrees(&self->h, 40, usable));
	for (i = 0; i < 20; i++) {
		EXPECT_TRUE(block_intact(&small[i], true));
		EXPECT_EQ(0, block_free(&self->h, &small[i]));
	}
	for (i = 0; i < 20; i++) {
		EXPECT_TRUE(block_intact(&aligned[i], true));
		EXPECT_EQ(0, block_free(&self->h, &aligned[i]));
	}
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
}

TEST_F(alloc, alignment_that_no_address_has_is_ENOSPC)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	unsigned int tries;
	void *p;

	/* A heap of one page is aligned to 2 MiB by chance at best. */
	for (tries = 0; tries < 8; tries++) {
		ASSERT_EQ(0, raw_create(self->h.fd, 0, PAGE, 0, NULL, &c));
		if (c.base % (2 * MIB))
			break;
	}
	ASSERT_NE(0, c.base % (2 * MIB));
	EXPECT_EQ(-ENOSPC, raw_alloc_full(self->h.fd, c.heap, 16, 2 * MIB, 0, &p, NULL));
	EXPECT_EQ(NULL, p);
	ASSERT_EQ(0, raw_stat(self->h.fd, c.heap, &st));
	EXPECT_EQ(1, st.nr_failures);
	EXPECT_EQ(0, st.nr_blocks);
	EXPECT_EQ(0, raw_alloc(self->h.fd, c.heap, PAGE, &p));
}

TEST_HARNESS_MAIN
