// SPDX-License-Identifier: GPL-2.0
/*
 * libheapuser from many threads at once: creating, using, listing and destroying heaps of their
 * own and of each other. What is wrong use (a handle that another thread may just destroy) is
 * EINVAL and harms nobody.
 */
#include "lib_env.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include "kselftest_harness.h"

#define NR_THREADS	8
#define NR_BLOCKS	64
#define TIMEOUT		180

FIXTURE(threads)
{
	size_t nr_heaps;
};

FIXTURE_SETUP(threads)
{
	self->nr_heaps = pheap_process_heaps(NULL, 0);
	ASSERT_EQ(0, self->nr_heaps);
}

FIXTURE_TEARDOWN(threads)
{
	EXPECT_EQ(self->nr_heaps, pheap_process_heaps(NULL, 0));
}

struct worker {
	pthread_t thread;
	unsigned int id;
	struct pheap *shared;
	unsigned long rounds;
	const char *failed;
};

/* Starts the threads at the same time, waits for them. Return: what failed, or "". */
static pthread_barrier_t start;

static const char *run_workers(void *(*fn)(void *), struct pheap *shared, unsigned long rounds)
{
	static struct worker w[NR_THREADS];
	const char *failed = "";
	unsigned int i;

	pthread_barrier_init(&start, NULL, NR_THREADS);
	for (i = 0; i < NR_THREADS; i++) {
		w[i] = (struct worker){ .id = i, .shared = shared, .rounds = rounds };
		if (pthread_create(&w[i].thread, NULL, fn, &w[i]))
			return "pthread_create";
	}
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		if (w[i].failed)
			failed = w[i].failed;
	}
	pthread_barrier_destroy(&start);
	return failed;
}

/* Allocates and frees at random, with contents checked. Return: what failed, or NULL. */
static const char *churn(struct pheap *h, unsigned int seed, unsigned long rounds)
{
	unsigned char *block[NR_BLOCKS] = { NULL };
	size_t size[NR_BLOCKS] = { 0 };
	struct rng rng = { .state = 1000 + seed };
	unsigned long i;

	for (i = 0; i < rounds; i++) {
		unsigned int k = rng_below(&rng, NR_BLOCKS);

		if (block[k]) {
			if (!pattern_ok(block[k], size[k], seed + k))
				return "contents";
			if (pheap_free(h, block[k]))
				return "free";
			block[k] = NULL;
			continue;
		}
		size[k] = rng_below(&rng, 2000);
		block[k] = pheap_alloc(h, size[k]);
		if (!block[k])
			return "alloc";
		pattern_fill(block[k], size[k], seed + k);
	}
	for (i = 0; i < NR_BLOCKS; i++)
		if (block[i] && pheap_free(h, block[i]))
			return "last free";
	return NULL;
}

static void *shared_worker(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(&start);
	w->failed = churn(w->shared, w->id * NR_BLOCKS, w->rounds);
	return NULL;
}

TEST_F_TIMEOUT(threads, one_heap, TIMEOUT)
{
	struct pheap *h = pheap_create(0, 16 * MIB, 0);
	struct pheap_stat st;

	ASSERT_NE(NULL, h)
		TH_LOG("%s", pheap_strerror(errno));
	EXPECT_STREQ("", run_workers(shared_worker, h, test_scaled(2000)));
	ASSERT_EQ(0, pheap_stat(h, &st, sizeof(st)));
	EXPECT_EQ(0, st.nr_blocks);
	EXPECT_EQ(0, st.allocated_bytes);
	EXPECT_EQ(st.nr_allocs, st.nr_frees);
	EXPECT_EQ(0, st.corruptions);
	EXPECT_EQ(0, pheap_destroy(h));
}

static void *own_worker(void *arg)
{
	struct worker *w = arg;
	unsigned long i;

	pthread_barrier_wait(&start);
	for (i = 0; i < w->rounds && !w->failed; i++) {
		struct pheap *h = pheap_create(0, i % 2 ? MIB : 4 * MIB, 0);

		if (!h) {
			w->failed = "create";
			break;
		}
		w->failed = churn(h, w->id * NR_BLOCKS, 30);
		if (pheap_destroy(h))
			w->failed = "destroy";
		if (!pheap_destroy(h) || errno != EINVAL)
			w->failed = "second destroy";
	}
	return NULL;
}

TEST_F_TIMEOUT(threads, own_heaps, TIMEOUT)
{
	EXPECT_STREQ("", run_workers(own_worker, NULL, test_scaled(60)));
	EXPECT_EQ(0, pheap_process_heaps(NULL, 0));
	EXPECT_EQ(1, device_descriptors(NULL));
}

/* First calls of all threads at the same time: one table, one descriptor. */
static void *first_worker(void *arg)
{
	struct worker *w = arg;
	struct pheap *h;

	pthread_barrier_wait(&start);
	h = pheap_create(0, 4096, 0);
	if (!h || !handle_serves(h))
		w->failed = "first heap";
	return NULL;
}

TEST_F_TIMEOUT(threads, first_use, TIMEOUT)
{
	struct pheap *list[NR_THREADS];
	unsigned int i;

	EXPECT_STREQ("", run_workers(first_worker, NULL, 1));
	ASSERT_EQ(NR_THREADS, pheap_process_heaps(list, NR_THREADS));
	EXPECT_EQ(1, device_descriptors(NULL));
	for (i = 0; i < NR_THREADS; i++)
		EXPECT_EQ(0, pheap_destroy(list[i]));
}

static atomic_uint nr_destroyed;

static void *destroy_worker(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(&start);
	errno = 0;
	if (!pheap_destroy(w->shared))
		atomic_fetch_add(&nr_destroyed, 1);
	else if (errno != EINVAL)
		w->failed = "destroy";
	return NULL;
}

TEST_F_TIMEOUT(threads, all_destroy_one_heap, TIMEOUT)
{
	unsigned long i, n = test_scaled(50);

	for (i = 0; i < n; i++) {
		struct pheap *h = pheap_create(0, MIB, 0);

		ASSERT_NE(NULL, h);
		atomic_store(&nr_destroyed, 0);
		ASSERT_STREQ("", run_workers(destroy_worker, h, 1));
		ASSERT_EQ(1, atomic_load(&nr_destroyed));
		ASSERT_EQ(0, pheap_process_heaps(NULL, 0));
	}
}

/*
 * Half of the threads make and destroy heaps and tell their handles; the others use whatever
 * handle they read last. They must succeed or get EINVAL; and a heap that is never destroyed is
 * never hit instead.
 */
static atomic_uintptr_t told;
static atomic_bool done;

static void *stale_worker(void *arg)
{
	struct worker *w = arg;
	unsigned long i;

	pthread_barrier_wait(&start);
	if (w->id % 2) {
		while (!atomic_load(&done)) {
			struct pheap_stat st;
			struct pheap *h = (struct pheap *)atomic_load(&told);

			if (!h) {
				sched_yield();
				continue;
			}
			if (!pheap_alloc(h, 100) && errno != EINVAL && errno != ENOSPC)
				w->failed = "stale alloc";
			if (pheap_stat(h, &st, sizeof(st)) && errno != EINVAL)
				w->failed = "stale stat";
		}
		return NULL;
	}
	for (i = 0; i < w->rounds; i++) {
		struct pheap *h = pheap_create(0, 64 * KIB, 0);

		if (!h) {
			w->failed = "create";
			break;
		}
		atomic_store(&told, (uintptr_t)h);
		sched_yield();
		if (pheap_destroy(h)) {
			w->failed = "destroy";
			break;
		}
	}
	if (w->id == 0)
		atomic_store(&done, true);
	return NULL;
}

TEST_F_TIMEOUT(threads, handles_destroyed_by_others, TIMEOUT)
{
	struct pheap *bystander = pheap_create(0, MIB, 0);
	struct pheap_stat st;

	ASSERT_NE(NULL, bystander);
	EXPECT_STREQ("", run_workers(stale_worker, NULL, test_scaled(250)));
	ASSERT_EQ(0, pheap_stat(bystander, &st, sizeof(st)));
	EXPECT_EQ(0, st.nr_allocs);
	EXPECT_EQ(1, pheap_process_heaps(NULL, 0));
	EXPECT_EQ(0, pheap_destroy(bystander));
}

/* The list is consistent whenever it is taken: in order, no more heaps than there can be. */
static void *list_worker(void *arg)
{
	struct pheap *list[2 * NR_THREADS], *h[2] = { NULL };
	struct worker *w = arg;
	unsigned long i;
	size_t n, k;

	pthread_barrier_wait(&start);
	for (i = 0; i < w->rounds && !w->failed; i++) {
		if (h[i % 2] && pheap_destroy(h[i % 2]))
			w->failed = "destroy";
		h[i % 2] = pheap_create(0, 4096, 0);
		if (!h[i % 2])
			w->failed = "create";
		n = pheap_process_heaps(list, ARRAY_LEN(list));
		if (n > ARRAY_LEN(list))
			w->failed = "more heaps than there are";
		for (k = 1; k < n && k < ARRAY_LEN(list); k++)
			if ((uintptr_t)list[k] <= (uintptr_t)list[k - 1])
				w->failed = "order";
	}
	for (i = 0; i < 2; i++)
		if (h[i] && pheap_destroy(h[i]))
			w->failed = "last destroy";
	return NULL;
}

TEST_F_TIMEOUT(threads, list_while_others_create, TIMEOUT)
{
	EXPECT_STREQ("", run_workers(list_worker, NULL, test_scaled(200)));
	EXPECT_EQ(0, pheap_process_heaps(NULL, 0));
}

/* Somebody closes all descriptors again and again. */
static void *closing_worker(void *arg)
{
	struct worker *w = arg;
	unsigned long i;

	pthread_barrier_wait(&start);
	if (w->id) {
		w->failed = churn(w->shared, w->id * NR_BLOCKS, w->rounds);
		return NULL;
	}
	for (i = 0; i < w->rounds / 10; i++) {
		syscall(SYS_close_range, 3, ~0U, 0);
		sched_yield();
	}
	return NULL;
}

TEST_F_TIMEOUT(threads, descriptor_closed_by_others, TIMEOUT)
{
	struct pheap *h = pheap_create(0, 16 * MIB, 0);

	ASSERT_NE(NULL, h);
	EXPECT_STREQ("", run_workers(closing_worker, h, test_scaled(1000)));
	EXPECT_EQ(0, pheap_destroy(h));
}

TEST_HARNESS_MAIN
