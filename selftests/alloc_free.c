// SPDX-License-Identifier: GPL-2.0
/*
 * What may be freed: only a live block of this heap, by its own address. Every other pointer is
 * refused, counted, and leaves the heap and the contents of its blocks as they were.
 *
 * The same pointers are given to SIZE, which refuses them without counting.
 */
#include "alloc_block.h"
#include <pthread.h>
#include <sys/mman.h>
#include "kselftest_harness.h"

#define NR_LIVE		8

FIXTURE(bad_free)
{
	struct test_heap h;
	struct block live[NR_LIVE];
	__u64 usable;
	__u64 nr_bad;	/* refused so far */
};

FIXTURE_VARIANT(bad_free)
{
	__u64 maximum;
};

FIXTURE_VARIANT_ADD(bad_free, small)
{
	.maximum = 256 * KIB,
};

FIXTURE_VARIANT_ADD(bad_free, large)
{
	.maximum = 32 * MIB,
};

FIXTURE_VARIANT_ADD(bad_free, growable)
{
	.maximum = 0,
};

FIXTURE_SETUP(bad_free)
{
	static const __u64 sizes[NR_LIVE] = { 1, 16, 40, 300, 2000, 4096, 9000, 40000 };
	unsigned int i;

	self->nr_bad = 0;
	self->usable = 0;
	ASSERT_EQ(0, heap_open(&self->h, 0, variant->maximum));
	for (i = 0; i < NR_LIVE; i++) {
		self->live[i].tag = i + 1;
		ASSERT_EQ(0, block_alloc(&self->h, &self->live[i], sizes[i]));
		block_fill(&self->live[i], true);
		self->usable += self->live[i].usable;
	}
}

FIXTURE_TEARDOWN(bad_free)
{
	EXPECT_EQ(0, heap_close(&self->h));
}

/* FREE and SIZE refuse the pointer; figures and contents are what they were. */
#define expect_refused(self, pointer) do { \
	void *expect_p = (pointer); \
	struct pheap_ioc_stat expect_st; \
	__u64 expect_usable; \
	unsigned int expect_i; \
	\
	EXPECT_EQ(-EINVAL, raw_free((self)->h.fd, (self)->h.id, expect_p)) { \
		TH_LOG("pointer %p", expect_p); \
	} \
	(self)->nr_bad++; \
	EXPECT_EQ(-EINVAL, raw_size((self)->h.fd, (self)->h.id, expect_p, &expect_usable)); \
	EXPECT_EQ(POISON, expect_usable); \
	EXPECT_TRUE(stat_agrees(&(self)->h, NR_LIVE, (self)->usable)); \
	EXPECT_EQ(0, raw_stat((self)->h.fd, (self)->h.id, &expect_st)); \
	EXPECT_EQ((self)->nr_bad, expect_st.bad_frees); \
	EXPECT_EQ(0, expect_st.nr_failures); \
	for (expect_i = 0; expect_i < NR_LIVE; expect_i++) { \
		EXPECT_TRUE(block_intact(&(self)->live[expect_i], true)); \
	} \
} while (0)

TEST_F(bad_free, null_is_allowed_and_does_nothing)
{
	struct pheap_ioc_stat before, after;

	ASSERT_EQ(0, raw_stat(self->h.fd, self->h.id, &before));
	EXPECT_EQ(0, raw_free(self->h.fd, self->h.id, NULL));
	ASSERT_EQ(0, raw_stat(self->h.fd, self->h.id, &after));
	before.nr_faults = after.nr_faults;
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
}

TEST_F(bad_free, size_of_null_is_EINVAL)
{
	__u64 usable;

	EXPECT_EQ(-EINVAL, raw_size(self->h.fd, self->h.id, NULL, &usable));
	EXPECT_EQ(POISON, usable);
}

TEST_F(bad_free, double_free)
{
	static const __u64 sizes[] = { 0, 1, 16, 17, 100, 1000, 4096, 5000, 50000 };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		struct block b;

		ASSERT_EQ(0, block_alloc(&self->h, &b, sizes[i]));
		ASSERT_EQ(0, block_free(&self->h, &b));
		expect_refused(self, b.p);
		expect_refused(self, b.p);
	}
}

TEST_F(bad_free, double_free_with_neighbours_freed_in_between)
{
	struct block b[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, block_alloc(&self->h, &b[i], 5000));
	ASSERT_EQ(0, block_free(&self->h, &b[1]));
	ASSERT_EQ(0, block_free(&self->h, &b[0]));
	ASSERT_EQ(0, block_free(&self->h, &b[2]));
	/* All three are one free run now. */
	expect_refused(self, b[1].p);
	expect_refused(self, b[0].p);
	expect_refused(self, b[2].p);
}

TEST_F(bad_free, every_interior_address_of_small_blocks)
{
	unsigned int i;
	__u64 off;

	for (i = 0; i < 4; i++)
		for (off = 1; off < self->live[i].usable; off++)
			expect_refused(self, self->live[i].p + off);
}

TEST_F(bad_free, interior_addresses_of_large_blocks)
{
	static const __u64 offs[] = { 1, 8, 15, 16, 17, 32, 64, 1024, 2048, 4080 };
	unsigned int i, j;

	for (i = 5; i < NR_LIVE; i++) {
		for (j = 0; j < ARRAY_LEN(offs); j++)
			expect_refused(self, self->live[i].p + offs[j]);
		expect_refused(self, self->live[i].p + self->live[i].usable - 16);
		expect_refused(self, self->live[i].p + self->live[i].usable - 1);
	}
	/* The page boundaries inside the block of ten pages. */
	for (j = 1; j < 10; j++) {
		void *page = (void *)(((uintptr_t)self->live[7].p + j * PAGE) & -PAGE);

		if (page != self->live[7].p && page < (void *)(self->live[7].p + 40000))
			expect_refused(self, page);
	}
}

TEST_F(bad_free, block_of_another_heap)
{
	struct test_heap other;
	struct block b = { .tag = 99 };

	ASSERT_EQ(0, heap_open(&other, 0, variant->maximum));
	ASSERT_EQ(0, block_alloc(&other, &b, 1000));
	block_fill(&b, true);
	expect_refused(self, b.p);
	EXPECT_TRUE(stat_agrees(&other, 1, b.usable));
	EXPECT_TRUE(block_intact(&b, true));
	EXPECT_EQ(0, block_free(&other, &b));
	EXPECT_EQ(0, heap_close(&other));
}

TEST_F(bad_free, memory_that_is_no_heap)
{
	static int in_data;
	void *m = malloc(100), *map;
	int on_stack;

	map = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	expect_refused(self, &on_stack);
	expect_refused(self, &in_data);
	expect_refused(self, m);
	expect_refused(self, map);
	free(m);
}

TEST_F(bad_free, garbage)
{
	static const __u64 garbage[] = {
		1, 15, 16, 4096, 0xdeadbeef, 0x5555555555555555, 0x7fffffffffff, 0x800000000000,
		1ULL << 63, 0xffff888000000000, UINT64_MAX - PAGE + 1, UINT64_MAX - 15, UINT64_MAX,
	};
	unsigned int i, bit;

	for (i = 0; i < ARRAY_LEN(garbage); i++)
		expect_refused(self, u64_to_ptr(garbage[i]));
	/* A good pointer with one bit of its upper half turned over. */
	for (bit = 32; bit < 64; bit++)
		expect_refused(self, u64_to_ptr(ptr_to_u64(self->live[3].p) ^ 1ULL << bit));
}

TEST_F(bad_free, borders_of_the_range)
{
	struct pheap_ioc_stat st;
	unsigned char *base = u64_to_ptr(self->h.base);

	ASSERT_EQ(0, raw_stat(self->h.fd, self->h.id, &st));
	expect_refused(self, base - 1);
	expect_refused(self, base - 16);
	expect_refused(self, base - PAGE);
	expect_refused(self, base + st.reserved_bytes - 16);
	expect_refused(self, base + st.reserved_bytes);
	expect_refused(self, base + st.reserved_bytes + 16);
	expect_refused(self, base + st.reserved_bytes + PAGE);
}

TEST_F(bad_free, committed_but_free_and_not_committed)
{
	struct pheap_ioc_stat st;
	unsigned char *base = u64_to_ptr(self->h.base);
	__u64 committed;

	ASSERT_EQ(0, raw_commit(self->h.fd, self->h.id, 200 * KIB, 0, &committed));
	ASSERT_EQ(0, raw_stat(self->h.fd, self->h.id, &st));
	expect_refused(self, base + committed - 16);
	expect_refused(self, base + committed - PAGE);
	if (committed == st.reserved_bytes)
		SKIP(return, "all of the heap is committed");
	expect_refused(self, base + committed);
	expect_refused(self, base + committed + 16);
	expect_refused(self, base + committed + (st.reserved_bytes - committed) / 2 / PAGE * PAGE);
}

TEST_F(bad_free, random_addresses_of_the_range)
{
	struct pheap_ioc_stat st;
	unsigned int i, j;
	struct rng rng;

	rng_start(&rng);
	ASSERT_EQ(0, raw_stat(self->h.fd, self->h.id, &st));
	for (i = 0; i < 2000; i++) {
		unsigned char *p = u64_to_ptr(self->h.base + rng_below(&rng, st.committed_bytes));

		if (i & 1)
			p = u64_to_ptr(ptr_to_u64(p) & -16);
		for (j = 0; j < NR_LIVE; j++)
			if (p == self->live[j].p)
				break;
		if (j == NR_LIVE)
			expect_refused(self, p);
	}
}

TEST_F(bad_free, heap_works_on_after_all_of_it)
{
	struct block b;
	unsigned int i;

	for (i = 0; i < 100; i++)
		expect_refused(self, self->live[i % NR_LIVE].p + 1 + i % 8);
	for (i = 0; i < NR_LIVE; i++)
		EXPECT_EQ(0, block_free(&self->h, &self->live[i]));
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
	EXPECT_EQ(0, block_alloc(&self->h, &b, self->h.reserved < MIB ? self->h.reserved : MIB));
}

/* Of several threads that free one block, one succeeds. */
struct racer {
	const struct test_heap *h;
	pthread_barrier_t *barrier;
	void **block;
	unsigned int rounds;
	unsigned int wins;
	bool odd;	/* saw something other than success and EINVAL */
};

static void *race_free(void *arg)
{
	struct racer *r = arg;
	unsigned int i;
	int result;

	for (i = 0; i < r->rounds; i++) {
		pthread_barrier_wait(r->barrier);
		result = raw_free(r->h->fd, r->h->id, r->block[i]);
		r->wins += !result;
		r->odd |= result && result != -EINVAL;
	}
	return NULL;
}

TEST_F(bad_free, of_two_threads_freeing_one_block_one_succeeds)
{
	enum { ROUNDS = 200 };
	pthread_barrier_t barrier;
	pthread_t thread;
	void *block[ROUNDS];
	struct racer r[2];
	struct pheap_ioc_stat st;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++)
		ASSERT_EQ(0, raw_alloc(self->h.fd, self->h.id, 100, &block[i]));
	pthread_barrier_init(&barrier, NULL, 2);
	for (i = 0; i < 2; i++)
		r[i] = (struct racer){
			.h = &self->h, .barrier = &barrier, .block = block, .rounds = ROUNDS,
		};
	ASSERT_EQ(0, pthread_create(&thread, NULL, race_free, &r[0]));
	race_free(&r[1]);
	pthread_join(thread, NULL);
	EXPECT_EQ(ROUNDS, r[0].wins + r[1].wins);
	EXPECT_FALSE(r[0].odd);
	EXPECT_FALSE(r[1].odd);
	EXPECT_TRUE(stat_agrees(&self->h, NR_LIVE, self->usable));
	ASSERT_EQ(0, raw_stat(self->h.fd, self->h.id, &st));
	EXPECT_EQ(ROUNDS, st.bad_frees);
}

TEST_HARNESS_MAIN
