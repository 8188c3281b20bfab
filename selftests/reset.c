// SPDX-License-Identifier: GPL-2.0
/*
 * RESET: every block is freed at once, and the committed pages are kept.
 */
#include "pheap_test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define TIMEOUT		120
#define NR_BLOCKS	2000
#define NR_ROUNDS	3000

FIXTURE(reset)
{
	int fd;
	struct pheap_counters before;
};

FIXTURE_VARIANT(reset)
{
	__u64 maximum;
};

FIXTURE_VARIANT_ADD(reset, small_heap)
{
	.maximum = MIB,
};

FIXTURE_VARIANT_ADD(reset, large_heap)
{
	.maximum = 96 * MIB,
};

FIXTURE_SETUP(reset)
{
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	self->before = counters_get();
}

FIXTURE_TEARDOWN(reset)
{
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	EXPECT_TRUE(counters_equal(self->before, counters_get()));
	close(self->fd);
}

/* Sizes of all kinds: tiny, odd, around pages, and in large heaps runs. */
static __u64 size_of(unsigned int i, __u64 maximum)
{
	return i % 97 ? i * 37 % 400 : maximum / 400;
}

TEST_F_TIMEOUT(reset, frees_every_block_and_keeps_what_is_committed, TIMEOUT)
{
	static void *p[NR_BLOCKS];
	struct pheap_ioc_stat filled, st;
	struct pheap_ioc_create c;
	__u64 usable;
	void *whole;

	ASSERT_EQ(0, raw_create(self->fd, 0, variant->maximum, 0, NULL, &c));
	for (int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < NR_BLOCKS; i++) {
			__u64 bytes = size_of(i, variant->maximum);

			ASSERT_EQ(0, raw_alloc(self->fd, c.heap, bytes, &p[i]));
			memset(p[i], round, bytes);
		}
		ASSERT_EQ(0, raw_stat(self->fd, c.heap, &filled));
		EXPECT_EQ(NR_BLOCKS, filled.nr_blocks);
		EXPECT_EQ(0, raw_reset(self->fd, c.heap));
		ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
		EXPECT_EQ(0, st.nr_blocks);
		EXPECT_EQ(0, st.allocated_bytes);
		EXPECT_EQ(filled.committed_bytes, st.committed_bytes);
		EXPECT_EQ(filled.metadata_bytes, st.metadata_bytes);
		EXPECT_EQ(filled.nr_allocs, st.nr_allocs);
		EXPECT_EQ(filled.nr_allocs, st.nr_frees);
		for (unsigned int i = 0; i < NR_BLOCKS; i++) {
			EXPECT_EQ(-EINVAL, raw_free(self->fd, c.heap, p[i]));
			EXPECT_EQ(-EINVAL, raw_size(self->fd, c.heap, p[i], &usable));
		}
		ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
		EXPECT_EQ(filled.bad_frees + NR_BLOCKS, st.bad_frees);
		/* In one piece again, and still mapped. */
		ASSERT_EQ(0, raw_alloc(self->fd, c.heap, st.committed_bytes, &whole));
		EXPECT_EQ(c.base, ptr_to_u64(whole));
		memset(whole, 0x55, st.committed_bytes);
		EXPECT_EQ(0, raw_free(self->fd, c.heap, whole));
		ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
		EXPECT_EQ(filled.committed_bytes, st.committed_bytes);
	}
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F(reset, heap_that_is_empty_full_or_dead)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 0, variant->maximum, 0, NULL, &c));
	EXPECT_EQ(0, raw_reset(self->fd, c.heap));
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(PAGE, st.committed_bytes);
	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, raw_alloc(self->fd, c.heap, variant->maximum, &p));
		EXPECT_EQ(-ENOSPC, raw_alloc(self->fd, c.heap, 1, &p));
		EXPECT_EQ(0, raw_reset(self->fd, c.heap));
	}
	EXPECT_EQ(0, munmap(u64_to_ptr(c.base), c.reserved_bytes));
	EXPECT_EQ(-ENOENT, raw_reset(self->fd, c.heap));
}

TEST_F(reset, child_cannot_reset_its_parents_heap)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	int status;
	pid_t pid;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 0, variant->maximum, 0, NULL, &c));
	ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 100, &p));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(raw_reset(self->fd, c.heap) != -ENOENT);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(1, st.nr_blocks);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

/* A thread that allocates and frees while another resets: nothing but what the rules allow. */
struct worker {
	int fd;
	__u64 heap;
	__u64 base;
	__u64 reserved;
	int stop;
	int nr_rounds;
	unsigned long nr_ok;
	unsigned long nr_refused;
	unsigned long nr_full;
	unsigned long nr_wrong;
};

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	unsigned int i;

	for (i = 0; !__atomic_load_n(&w->stop, __ATOMIC_RELAXED); i++) {
		__atomic_store_n(&w->nr_rounds, i, __ATOMIC_RELAXED);
		__u64 bytes = i % 11 ? i % 300 : i % 40000;
		void *p;
		int r;

		r = raw_alloc(w->fd, w->heap, bytes, &p);
		if (r) {
			w->nr_full += r == -ENOSPC;
			w->nr_wrong += r != -ENOSPC;
			continue;
		}
		if (ptr_to_u64(p) - w->base + bytes > w->reserved)
			w->nr_wrong++;
		memset(p, 1, bytes);
		if (i % 4)
			continue;
		/* Reset was faster, or it is still ours. */
		r = raw_free(w->fd, w->heap, p);
		w->nr_ok += !r;
		w->nr_refused += r == -EINVAL;
		w->nr_wrong += r && r != -EINVAL;
	}
	return NULL;
}

TEST_F_TIMEOUT(reset, while_other_threads_allocate, TIMEOUT)
{
	struct worker w[2] = {};
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	pthread_t thread[2];

	ASSERT_EQ(0, raw_create(self->fd, 0, variant->maximum, 0, NULL, &c));
	for (int i = 0; i < 2; i++) {
		w[i].fd = self->fd;
		w[i].heap = c.heap;
		w[i].base = c.base;
		w[i].reserved = c.reserved_bytes;
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, worker_run, &w[i]));
	}
	for (int i = 0; i < 2; i++)
		while (__atomic_load_n(&w[i].nr_rounds, __ATOMIC_RELAXED) < NR_ROUNDS)
			ASSERT_EQ(0, raw_reset(self->fd, c.heap));
	for (int i = 0; i < 2; i++)
		__atomic_store_n(&w[i].stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(thread[i], NULL));
		EXPECT_EQ(0, w[i].nr_wrong);
		EXPECT_LT(0, w[i].nr_ok + w[i].nr_refused);
	}
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(w[0].nr_refused + w[1].nr_refused, st.bad_frees);
	EXPECT_EQ(w[0].nr_full + w[1].nr_full, st.nr_failures);
	EXPECT_EQ(0, raw_reset(self->fd, c.heap));
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(0, st.nr_blocks);
	EXPECT_EQ(st.nr_allocs, st.nr_frees);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_HARNESS_MAIN
