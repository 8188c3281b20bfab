// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks and threads: several threads in one heap, blocks freed by another thread than the one that
 * allocated them, and heaps that are destroyed while others use them.
 */
#include "alloc_block.h"
#include <pthread.h>
#include <stdatomic.h>
#include "kselftest_harness.h"

#define NR_THREADS	4
#define NR_LIVE		64
#define NR_STEPS	3000
#define RING		256

FIXTURE(threads)
{
	struct test_heap h;
};

FIXTURE_VARIANT(threads)
{
	__u64 maximum;
};

FIXTURE_VARIANT_ADD(threads, small)
{
	.maximum = MIB,
};

FIXTURE_VARIANT_ADD(threads, large)
{
	.maximum = 64 * MIB,
};

FIXTURE_VARIANT_ADD(threads, growable)
{
	.maximum = 0,
};

FIXTURE_SETUP(threads)
{
	ASSERT_EQ(0, heap_open(&self->h, 0, variant->maximum));
}

FIXTURE_TEARDOWN(threads)
{
	close(self->h.fd);
}

struct worker {
	const struct test_heap *h;
	unsigned long steps;
	struct rng rng;
	/* Results: */
	unsigned long nr_damaged;
	unsigned long nr_full;	/* allocations that failed with ENOSPC */
	int error;		/* first result that may not be */
};

static void *allocate_and_free(void *arg)
{
	struct block b[NR_LIVE] = { 0 };
	struct worker *w = arg;
	unsigned long i;
	int r;

	for (i = 0; i < w->steps; i++) {
		struct block *slot = &b[rng_below(&w->rng, NR_LIVE)];

		if (slot->p) {
			w->nr_damaged += !block_intact(slot, true);
			r = block_free(w->h, slot);
			slot->p = NULL;
		} else {
			slot->tag = rng_next(&w->rng);
			r = block_alloc(w->h, slot, rng_below(&w->rng, i % 32 ? 300 : 9000));
			if (r == -ENOSPC) {
				w->nr_full++;
				slot->p = NULL;
				continue;
			}
			if (!r)
				block_fill(slot, true);
		}
		if (r && !w->error)
			w->error = r;
	}
	for (i = 0; i < NR_LIVE; i++) {
		if (!b[i].p)
			continue;
		w->nr_damaged += !block_intact(&b[i], true);
		r = block_free(w->h, &b[i]);
		if (r && !w->error)
			w->error = r;
	}
	return NULL;
}

TEST_F_TIMEOUT(threads, several_threads_allocate_and_free_in_one_heap, 120)
{
	struct worker w[NR_THREADS];
	pthread_t thread[NR_THREADS];
	struct pheap_ioc_stat st;
	unsigned int i;

	for (i = 0; i < NR_THREADS; i++) {
		w[i] = (struct worker){
			.h = &self->h, .steps = test_scaled(NR_STEPS), .rng.state = i + 1,
		};
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, allocate_and_free, &w[i]));
	}
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, w[i].error);
		EXPECT_EQ(0, w[i].nr_damaged);
		EXPECT_EQ(0, w[i].nr_full);
	}
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
	ASSERT_EQ(0, raw_stat(self->h.fd, self->h.id, &st));
	EXPECT_EQ(0, st.bad_frees);
	EXPECT_EQ(0, heap_close(&self->h));
}

/* One thread allocates and fills, the other checks and frees; blocks travel in a ring. */
struct ring {
	const struct test_heap *h;
	struct block b[RING];
	atomic_ulong put;
	atomic_ulong taken;
	unsigned long steps;
	unsigned long nr_damaged;
	int error;
};

static void *free_from_ring(void *arg)
{
	struct ring *ring = arg;
	unsigned long i;
	int r;

	for (i = 0; i < ring->steps; i++) {
		struct block *b = &ring->b[i % RING];

		while (atomic_load_explicit(&ring->put, memory_order_acquire) <= i)
			sched_yield();
		ring->nr_damaged += !block_intact(b, true);
		r = block_free(ring->h, b);
		if (r && !ring->error)
			ring->error = r;
		atomic_store_explicit(&ring->taken, i + 1, memory_order_release);
	}
	return NULL;
}

TEST_F_TIMEOUT(threads, one_thread_frees_what_another_allocates, 120)
{
	static struct ring ring;
	pthread_t thread;
	unsigned long i;
	struct rng rng;

	rng_start(&rng);
	ring.h = &self->h;
	ring.steps = test_scaled(2 * NR_STEPS);
	ASSERT_EQ(0, pthread_create(&thread, NULL, free_from_ring, &ring));
	for (i = 0; i < ring.steps; i++) {
		struct block *b = &ring.b[i % RING];

		while (atomic_load_explicit(&ring.taken, memory_order_acquire) + RING <= i)
			sched_yield();
		b->tag = rng_next(&rng);
		ASSERT_EQ(0, block_alloc(&self->h, b, rng_below(&rng, 1000)));
		block_fill(b, true);
		atomic_store_explicit(&ring.put, i + 1, memory_order_release);
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(0, ring.error);
	EXPECT_EQ(0, ring.nr_damaged);
	EXPECT_TRUE(stat_agrees(&self->h, 0, 0));
	EXPECT_EQ(0, heap_close(&self->h));
}

/* Threads that meet the end of the heap: calls work until it, and say ENOENT after it. */
struct victim {
	const struct test_heap *h;
	atomic_ulong *nr_calls;
	int last;
};

static void *use_until_gone(void *arg)
{
	struct victim *v = arg;
	void *p;
	int r;

	do {
		r = raw_alloc(v->h->fd, v->h->id, 100, &p);
		if (!r)
			r = raw_free(v->h->fd, v->h->id, p);
		atomic_fetch_add(v->nr_calls, 1);
	} while (!r || r == -ENOSPC);
	v->last = r;
	return NULL;
}

TEST_F_TIMEOUT(threads, destroy_while_others_allocate_gives_them_ENOENT, 120)
{
	unsigned int round, i;

	ASSERT_EQ(0, raw_destroy(self->h.fd, self->h.id));
	for (round = 0; round < 10; round++) {
		pthread_t thread[NR_THREADS];
		struct victim v[NR_THREADS];
		atomic_ulong nr_calls = 0;
		struct test_heap h;

		ASSERT_EQ(0, heap_open(&h, 0, variant->maximum));
		for (i = 0; i < NR_THREADS; i++) {
			v[i] = (struct victim){ .h = &h, .nr_calls = &nr_calls };
			ASSERT_EQ(0, pthread_create(&thread[i], NULL, use_until_gone, &v[i]));
		}
		while (atomic_load(&nr_calls) < 50 * (round + 1))
			sched_yield();
		EXPECT_EQ(0, raw_destroy(h.fd, h.id));
		for (i = 0; i < NR_THREADS; i++) {
			pthread_join(thread[i], NULL);
			EXPECT_EQ(-ENOENT, v[i].last);
		}
		EXPECT_EQ(0, nr_heaps_own(h.fd));
		close(h.fd);
	}
}

struct destroyer {
	const struct test_heap *h;
	pthread_barrier_t *barrier;
	int result;
};

static void *destroy(void *arg)
{
	struct destroyer *d = arg;

	pthread_barrier_wait(d->barrier);
	d->result = raw_destroy(d->h->fd, d->h->id);
	return NULL;
}

TEST_F_TIMEOUT(threads, of_several_threads_destroying_one_heap_one_succeeds, 120)
{
	unsigned int round, i;

	ASSERT_EQ(0, raw_destroy(self->h.fd, self->h.id));
	for (round = 0; round < 15; round++) {
		struct destroyer d[NR_THREADS];
		pthread_t thread[NR_THREADS];
		pthread_barrier_t barrier;
		unsigned int wins = 0;
		struct test_heap h;

		ASSERT_EQ(0, heap_open(&h, 64 * KIB, variant->maximum));
		pthread_barrier_init(&barrier, NULL, NR_THREADS);
		for (i = 0; i < NR_THREADS; i++) {
			d[i] = (struct destroyer){ .h = &h, .barrier = &barrier };
			ASSERT_EQ(0, pthread_create(&thread[i], NULL, destroy, &d[i]));
		}
		for (i = 0; i < NR_THREADS; i++) {
			pthread_join(thread[i], NULL);
			wins += !d[i].result;
			EXPECT_TRUE(!d[i].result || d[i].result == -ENOENT);
		}
		EXPECT_EQ(1, wins);
		EXPECT_EQ(0, nr_heaps_own(h.fd));
		close(h.fd);
	}
}

struct creator {
	int fd;
	unsigned int rounds;
	unsigned int nr_odd;
};

static void *create_and_destroy(void *arg)
{
	struct creator *c = arg;
	struct pheap_ioc_create heap;
	unsigned int i;
	void *p;

	for (i = 0; i < c->rounds; i++) {
		if (raw_create(c->fd, 0, i & 1 ? 64 * KIB : 4 * MIB, 0, i & 2 ? "racer" : NULL,
			       &heap) ||
		    raw_alloc(c->fd, heap.heap, 1000, &p)) {
			c->nr_odd++;
			continue;
		}
		memset(p, i, 1000);
		/* The last heap of the process goes again and again, and its context with it. */
		c->nr_odd += !!raw_destroy(c->fd, heap.heap);
	}
	return NULL;
}

TEST_F_TIMEOUT(threads, threads_create_and_destroy_first_and_last_heaps_at_once, 120)
{
	struct pheap_counters start, end;
	struct creator c[NR_THREADS];
	pthread_t thread[NR_THREADS];
	unsigned int i;

	ASSERT_EQ(0, raw_destroy(self->h.fd, self->h.id));
	start = counters_get();
	for (i = 0; i < NR_THREADS; i++) {
		c[i] = (struct creator){ .fd = self->h.fd, .rounds = 100 };
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, create_and_destroy, &c[i]));
	}
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, c[i].nr_odd);
	}
	end = counters_get();
	EXPECT_EQ(0, nr_heaps_own(self->h.fd));
	EXPECT_TRUE(counters_equal(start, end));
}

TEST_HARNESS_MAIN
