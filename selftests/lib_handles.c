// SPDX-License-Identifier: GPL-2.0
/*
 * Handles of libheapuser: stale, garbage and foreign ones are EINVAL everywhere and harm nothing,
 * none is given out twice, and the list of heaps tells them in order of creation.
 */
#include "lib_env.h"
#include <sys/mman.h>
#include "kselftest_harness.h"

#define TIMEOUT		180

FIXTURE(handle)
{
	struct pheap *heap;
	unsigned char *block;
};

FIXTURE_SETUP(handle)
{
	self->heap = pheap_create(0, MIB, 0);
	ASSERT_NE(NULL, self->heap)
		TH_LOG("%s", pheap_strerror(errno));
	self->block = pheap_alloc(self->heap, 500);
	ASSERT_NE(NULL, self->block);
	pattern_fill(self->block, 500, 1);
}

/* Whatever a test did with bad handles, the good one has not noticed. */
FIXTURE_TEARDOWN(handle)
{
	struct pheap_stat st;

	ASSERT_TRUE(pattern_ok(self->block, 500, 1));
	ASSERT_EQ(0, pheap_stat(self->heap, &st, sizeof(st)));
	EXPECT_EQ(1, st.nr_blocks);
	EXPECT_TRUE(handle_serves(self->heap));
	EXPECT_EQ(0, pheap_free(self->heap, self->block));
	EXPECT_EQ(0, pheap_destroy(self->heap));
	EXPECT_TRUE(handle_is_refused(self->heap, self->block));
}

TEST_F(handle, null)
{
	EXPECT_TRUE(handle_is_refused(NULL, self->block));
}

TEST_F(handle, stale)
{
	struct pheap *h = pheap_create(0, MIB, 0);
	void *p;

	ASSERT_NE(NULL, h);
	p = pheap_alloc(h, 10);
	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, pheap_destroy(h));
	/* The second destroy is among these. */
	EXPECT_TRUE(handle_is_refused(h, p));
}

TEST_F(handle, stale_while_slot_is_used_again)
{
	struct pheap *old = pheap_create(0, MIB, 0), *h;

	ASSERT_NE(NULL, old);
	ASSERT_EQ(0, pheap_destroy(old));
	h = pheap_create(0, MIB, 0);
	ASSERT_NE(NULL, h);
	EXPECT_NE(old, h);
	EXPECT_TRUE(handle_is_refused(old, self->block));
	EXPECT_TRUE(handle_serves(h));
	EXPECT_EQ(0, pheap_destroy(h));
}

TEST_F(handle, garbage)
{
	static int object;
	uintptr_t values[] = {
		1, 16, 4096, UINTPTR_MAX, UINTPTR_MAX - 1, UINTPTR_MAX / 2, 1ULL << 63,
		(uintptr_t)&object, (uintptr_t)&values, (uintptr_t)self->block,
		(uintptr_t)&handle_is_refused,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(values); i++)
		EXPECT_TRUE(handle_is_refused((struct pheap *)values[i], self->block));
}

TEST_F(handle, one_bit_wrong)
{
	int bit;

	for (bit = 0; bit < 64; bit++) {
		uintptr_t value = (uintptr_t)self->heap ^ 1ULL << bit;

		EXPECT_TRUE(handle_is_refused((struct pheap *)value, self->block))
			TH_LOG("bit %d", bit);
	}
}

TEST_F_TIMEOUT(handle, random_garbage, TIMEOUT)
{
	unsigned long i, n = test_scaled(20000);
	struct rng rng;
	uintptr_t value;

	rng_start(&rng);
	for (i = 0; i < n; i++) {
		value = rng_next(&rng) >> rng_below(&rng, 64);
		/* Half of them look like handles. */
		if (i & 1)
			value |= 1ULL << 63;
		if ((struct pheap *)value != self->heap)
			ASSERT_TRUE(handle_is_refused((struct pheap *)value, self->block));
	}
}

TEST_F_TIMEOUT(handle, never_given_out_twice, TIMEOUT)
{
	unsigned long i, n = test_scaled(20000);
	struct pheap *last = self->heap;

	/* Handles rise, so each differs from all before it. */
	for (i = 0; i < n; i++) {
		struct pheap *h = pheap_create(0, 4096, 0);

		ASSERT_NE(NULL, h);
		ASSERT_GT((uintptr_t)h, (uintptr_t)last);
		last = h;
		ASSERT_EQ(0, pheap_destroy(h));
	}
	EXPECT_TRUE(handle_is_refused(last, self->block));
}

TEST_F(handle, block_of_another_heap)
{
	struct pheap *other = pheap_create(0, MIB, 0);
	struct pheap_stat st;

	ASSERT_NE(NULL, other);
	errno = 0;
	EXPECT_EQ(-1, pheap_free(other, self->block));
	EXPECT_EQ(EINVAL, errno);
	errno = 0;
	EXPECT_EQ((size_t)-1, pheap_usable_size(other, self->block));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, pheap_stat(other, &st, sizeof(st)));
	EXPECT_EQ(1, st.corruptions);
	EXPECT_EQ(0, pheap_destroy(other));
}

/* The program unmaps the range: the heap is dead, and destroying it is all that is left to do. */
TEST_F(handle, killed_by_munmap)
{
	struct pheap *h = pheap_create(0, MIB, 0), *list[2];
	struct pheap_stat st;

	ASSERT_NE(NULL, h);
	ASSERT_EQ(0, pheap_stat(h, &st, sizeof(st)));
	ASSERT_EQ(0, munmap(u64_to_ptr(st.base), st.reserved_bytes));
	errno = 0;
	EXPECT_EQ(NULL, pheap_alloc(h, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(2, pheap_process_heaps(list, 2));
	EXPECT_EQ(h, list[1]);
	pheap_destroy(h);
	EXPECT_EQ(1, pheap_process_heaps(list, 2));
	EXPECT_TRUE(handle_is_refused(h, self->block));
}

TEST_F(handle, list_is_in_order_of_creation)
{
	struct pheap *h[300], *list[300];
	size_t i, n = 0;

	for (i = 0; i < 300; i++) {
		h[i] = pheap_create(0, 4096, 0);
		ASSERT_NE(NULL, h[i]);
	}
	ASSERT_EQ(301, pheap_process_heaps(NULL, 0));
	for (i = 0; i < 300; i += 3)
		ASSERT_EQ(0, pheap_destroy(h[i]));
	/* These take the slots of those, but come last. */
	for (i = 0; i < 300; i += 30) {
		h[i] = pheap_create(0, 4096, 0);
		ASSERT_NE(NULL, h[i]);
	}
	ASSERT_EQ(211, pheap_process_heaps(list, 300));
	EXPECT_EQ(self->heap, list[n++]);
	for (i = 0; i < 300; i++)
		if (i % 3)
			ASSERT_EQ(h[i], list[n++]);
	for (i = 0; i < 300; i += 30)
		ASSERT_EQ(h[i], list[n++]);
	EXPECT_EQ(211, n);
	for (i = 1; i < n; i++)
		ASSERT_EQ(0, pheap_destroy(list[i]));
	EXPECT_EQ(1, pheap_process_heaps(list, 300));
}

TEST_F(handle, list_that_does_not_fit)
{
	struct pheap *second = pheap_create(0, 4096, 0), *list[2] = { (void *)1, (void *)1 };

	ASSERT_NE(NULL, second);
	errno = ERRNO_MARK;
	EXPECT_EQ(2, pheap_process_heaps(list, 1));
	EXPECT_EQ(self->heap, list[0]);
	EXPECT_EQ((void *)1, list[1]);
	EXPECT_EQ(ERRNO_MARK, errno);
	EXPECT_EQ(0, pheap_destroy(second));
}

/* More heaps than one step of the table holds. */
TEST_F_TIMEOUT(handle, thousands, TIMEOUT)
{
	size_t i, n = test_scaled(5000);
	struct pheap **h = calloc(n, sizeof(*h));
	struct pheap_stat st;

	ASSERT_NE(NULL, h);
	for (i = 0; i < n; i++) {
		h[i] = pheap_create(0, 0, 0);
		ASSERT_NE(NULL, h[i])
			TH_LOG("heap %zu: %s", i, pheap_strerror(errno));
	}
	EXPECT_EQ(n + 1, pheap_process_heaps(NULL, 0));
	ASSERT_EQ(0, pheap_stat(h[n - 1], &st, sizeof(st)));
	EXPECT_GE(st.library_bytes, n * 16);
	EXPECT_LE(st.library_bytes, 8192 + n * 64);
	for (i = 0; i < n; i++)
		ASSERT_TRUE(handle_serves(h[i]));
	for (i = n; i-- > 0; )
		ASSERT_EQ(0, pheap_destroy(h[i]));
	for (i = 0; i < n; i += 97)
		ASSERT_TRUE(handle_is_refused(h[i], self->block));
	free(h);
}

/* Before anything was created. */
TEST(no_heap_yet)
{
	struct pheap *list[1];

	EXPECT_EQ(0, pheap_process_heaps(list, 1));
	EXPECT_TRUE(handle_is_refused((struct pheap *)(1ULL << 63 | 1ULL << 17), &list));
}

TEST_HARNESS_MAIN
