/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The benchmark driver: what its parts know of each other.
 *
 * The driver is compiled once per heap, with HEAP_NAME and HEAP_HEADER given by the Makefile. The
 * header is the plug-in (heaps/): it supplies the functions and the HEAP_CAPS below as static
 * inline code, so that every heap is called directly, at the price that a program pays.
 *
 *   main.c      arguments, the list of tests, one process per test
 *   measure.c   begin, lap and end of a measurement, and the lines that are printed
 *   pairs.c     alloc and free in turn, all allocs before all frees, two heaps in turn
 *   lives.c     heaps that are created, used and destroyed or reset
 *   pages.c     growth from cold, first touch
 *   mixed.c     blocks of many sizes and lifetimes; memory that is committed for them
 *   threads.c   two threads
 *   ioctl.c     the module without the library
 *   step.c      instructions of one warm alloc and one warm free, counted one by one
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB		1024UL
#define MIB		(1024 * KIB)
#define PAGE		4096UL
#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))

/**
 * enum bench_cap - what a heap can do, and what a test needs
 * @CAN_MANY: more than one block per heap
 * @CAN_FREE: single blocks are freed
 * @CAN_DESTROY: heap_destroy() gives back live blocks; without it there is only one heap, and
 *	heap_create() and heap_destroy() do nothing
 * @CAN_RESET: heap_reset() frees every block and the heap goes on
 * @CAN_THREADS: any thread may free any block
 * @CAN_SHARE: any thread may allocate from any heap; a heap with CAN_THREADS alone is used by the
 *	thread that created it
 * @CAN_IOCTL: its module can be called directly
 */
enum bench_cap {
	CAN_MANY	= 1 << 0,
	CAN_FREE	= 1 << 1,
	CAN_DESTROY	= 1 << 2,
	CAN_RESET	= 1 << 3,
	CAN_THREADS	= 1 << 4,
	CAN_SHARE	= 1 << 5,
	CAN_IOCTL	= 1 << 6,
};

/*
 * Every plug-in defines HEAP_CAPS, and:
 *
 * bool heap_init(void)                           once per process; false: not available here
 * void *heap_create(void)                        a heap without a maximum; NULL: failed
 * void heap_destroy(void *heap)
 * void heap_reset(void *heap)
 * void *heap_alloc(void *heap, size_t bytes)     NULL: failed
 * void heap_free(void *heap, void *p)
 * size_t heap_committed(void *heap)              bytes of memory that the heap has; 0: unknown,
 *                                                what the process has is taken
 */
#include HEAP_HEADER

/**
 * struct bench_test - one test
 * @name: name of its rows, or what they begin with
 * @run: does it, in a process of its own
 * @arg: for @run
 * @needs: set of enum bench_cap
 * @thp: with transparent huge pages; all others run without
 * @native: makes sense only where time is measured
 */
struct bench_test {
	const char *name;
	void (*run)(const struct bench_test *test);
	unsigned long arg;
	unsigned int needs;
	bool thp;
	bool native;
};

extern const struct bench_test pair_tests[], life_tests[], page_tests[], mixed_tests[],
	thread_tests[], ioctl_tests[], step_tests[];

/* Measure time, not instructions: more rounds. */
extern bool bench_native;

/* How often to repeat something, by what is measured. */
static inline unsigned long rounds(unsigned long counted, unsigned long timed)
{
	return bench_native ? timed : counted;
}

/* Ends the test as failed. */
_Noreturn void bench_fail(const char *what);

/* The functions of the plug-in that can fail, for tests that cannot go on. */
void *bench_create(void);

static inline void *bench_alloc(void *heap, size_t bytes)
{
	char *p = heap_alloc(heap, bytes);

	if (__builtin_expect(!p, 0))
		bench_fail("alloc");
	/* A program uses what it allocates. */
	*(volatile char *)p = 1;
	return p;
}

/*
 * One measurement: from measure_begin() to measure_end(), which makes its row, divided by @ops.
 * Between them measure_lap() may be called to measure single calls; the costliest is told as well.
 * Nothing is printed or allocated in between.
 */
void measure_begin(void);
void measure_lap(void);
void measure_end(const char *row, unsigned long ops);
/* The same for threads: the clock alone, read by the caller. */
uint64_t measure_clock(void);
void measure_row(const char *row, unsigned long ops, uint64_t ns);
/* A figure that is no cost. */
void measure_value(const char *row, const char *metric, double value);
/* Prints all of it; called once, when the test has ended. */
void measure_flush(void);

/* Numbers without pattern, the same in every run. */
static inline uint32_t bench_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

#endif /* BENCH_H */
