// SPDX-License-Identifier: GPL-2.0
/*
 * Two threads, timed: each replaces blocks of its own and now and then takes over the other's
 * (after Larson and Krishnan, "Memory allocation for long-running server applications"); and one
 * that allocates what the other frees.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"

#define NR_THREADS	2
#define NR_BLOCKS	1000
#define NR_GENERATIONS	20
#define NR_REPLACED	20000

static pthread_barrier_t barrier;
static void *common;
static void *blocks[NR_THREADS][NR_BLOCKS];

/* Where only its creator allocates from a heap, every thread has one. */
static void *thread_heap(void)
{
	return HEAP_CAPS & CAN_SHARE ? common : bench_create();
}

static void *larson(void *arg)
{
	size_t me = (uintptr_t)arg, g, i;
	uint64_t random = me + 11;
	void *heap = thread_heap();

	for (i = 0; i < NR_BLOCKS; i++)
		blocks[me][i] = bench_alloc(heap, 16 + bench_random(&random) % 497);
	for (g = 0; g < NR_GENERATIONS; g++) {
		void **mine;

		pthread_barrier_wait(&barrier);
		mine = blocks[(me + g) % NR_THREADS];
		for (i = 0; i < NR_REPLACED; i++) {
			size_t k = bench_random(&random) % NR_BLOCKS;

			heap_free(heap, mine[k]);
			mine[k] = bench_alloc(heap, 16 + bench_random(&random) % 497);
		}
	}
	pthread_barrier_wait(&barrier);
	return NULL;
}

#define NR_OBJECTS	400000
#define RING		1024
#define OBJECT_BYTES	96

static void *_Atomic ring[RING];

static void *produce(void *arg)
{
	void *heap = thread_heap();
	size_t i;

	pthread_barrier_wait(&barrier);
	for (i = 0; i < NR_OBJECTS; i++) {
		void *p = bench_alloc(heap, OBJECT_BYTES);

		while (atomic_load_explicit(&ring[i % RING], memory_order_relaxed))
			sched_yield();
		atomic_store_explicit(&ring[i % RING], p, memory_order_release);
	}
	pthread_barrier_wait(&barrier);
	return arg;
}

static void *consume(void *arg)
{
	/* Blocks of another thread's heap are freed without naming it. */
	void *heap = common;
	size_t i;

	pthread_barrier_wait(&barrier);
	for (i = 0; i < NR_OBJECTS; i++) {
		void *p;

		while (!(p = atomic_load_explicit(&ring[i % RING], memory_order_acquire)))
			sched_yield();
		atomic_store_explicit(&ring[i % RING], NULL, memory_order_release);
		heap_free(heap, p);
	}
	pthread_barrier_wait(&barrier);
	return arg;
}

/* Time from the first barrier to the last, without start and end of the threads. */
static uint64_t run_threads(void *(*first)(void *arg), void *(*second)(void *arg),
			    size_t nr_barriers)
{
	pthread_t threads[NR_THREADS];
	uint64_t start;

	common = bench_create();
	if (pthread_barrier_init(&barrier, NULL, NR_THREADS + 1) ||
	    pthread_create(&threads[0], NULL, first, NULL) ||
	    pthread_create(&threads[1], NULL, second, (void *)1))
		bench_fail("starting threads");
	pthread_barrier_wait(&barrier);
	start = measure_clock();
	while (--nr_barriers)
		pthread_barrier_wait(&barrier);
	start = measure_clock() - start;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	return start;
}

static void run_larson(const struct bench_test *test)
{
	uint64_t ns = run_threads(larson, larson, NR_GENERATIONS + 1);

	/* Two threads at a time: the time that one operation takes in its thread. */
	measure_row(test->name, NR_GENERATIONS * NR_REPLACED, ns);
}

static void run_pipe(const struct bench_test *test)
{
	measure_row(test->name, NR_OBJECTS, run_threads(produce, consume, 2));
}

#define NEEDS	(CAN_MANY | CAN_FREE | CAN_THREADS)

const struct bench_test thread_tests[] = {
	{ "larson/2", run_larson, 0, NEEDS, false, true },
	{ "producer-consumer", run_pipe, 0, NEEDS, false, true },
	{ NULL, NULL, 0, 0, false, false }
};
