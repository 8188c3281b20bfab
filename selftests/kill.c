// SPDX-License-Identifier: GPL-2.0
/*
 * A process may die at any instant, in the middle of any call: every page, every byte of metadata
 * and every heap goes back, for the module and for the memory cgroup. Children that do random
 * things to heaps from two threads are killed after a random number of operations, and after each
 * the figures must be what they were.
 */
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define GROUP		"pheap-kill"
#define NR_KILLS	200
#define NR_HEAPS	6
#define NR_BLOCKS	64
#define MAX_OPS		300

/* Shared with the child: how far it got. */
struct progress {
	unsigned long ops;
	unsigned long failures;
};

/*
 * One heap of the child. The threads use all of them without
 * any order: an operation may find its heap gone.
 */
struct victim {
	__u64 heap;
	__u64 base;
	__u64 maximum;
};

static struct progress *progress;
static struct victim victims[NR_HEAPS];
static int device;

static void do_something(struct rng *rng, void **blocks)
{
	const __u64 maxima[] = { 64 * KIB, MIB, 8 * MIB, 128 * MIB, 0 };
	unsigned int h = rng_below(rng, NR_HEAPS);
	unsigned int b = rng_below(rng, NR_BLOCKS);
	struct victim *v = &victims[h];
	__u64 heap = __atomic_load_n(&v->heap, __ATOMIC_ACQUIRE);
	__u32 flags = rng_below(rng, 2) ? PHEAP_COMMIT_POPULATE : 0;
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	__u64 bytes;
	int r = 0;
	void *p;

	switch (rng_below(rng, 16)) {
	case 0:
		r = raw_create(device, rng_below(rng, 3 * MIB),
			       maxima[rng_below(rng, ARRAY_LEN(maxima))], flags,
			       flags ? "killed" : NULL, &c);
		if (r)
			break;
		heap = __atomic_exchange_n(&v->heap, c.heap, __ATOMIC_ACQ_REL);
		if (heap)
			raw_destroy(device, heap);
		break;
	case 1:
		raw_destroy(device, heap);
		break;
	case 2:
		if (raw_stat(device, heap, &st))
			break;
		bytes = st.committed_bytes + rng_below(rng, 4 * MIB);
		r = raw_commit(device, heap, bytes < 24 * MIB ? bytes : 24 * MIB, flags, NULL);
		break;
	case 3:
		if (raw_stat(device, heap, &st))
			break;
		/* The other thread may destroy it meanwhile: touch() survives that. */
		for (bytes = 0; bytes < st.committed_bytes; bytes += 37 * PAGE)
			touch(u64_to_ptr(st.base + bytes), true);
		break;
	case 4:
		if (!rng_below(rng, 8) && !raw_stat(device, heap, &st))
			madvise(u64_to_ptr(st.base), st.committed_bytes, MADV_DONTNEED);
		break;
	case 5:
	case 6:
	case 7:
		raw_free(device, heap, blocks[b]);
		break;
	default:
		bytes = rng_below(rng, 4) ? rng_below(rng, 4000) : rng_below(rng, 600 * KIB);
		r = raw_alloc(device, heap, bytes, &p);
		if (!r) {
			blocks[b] = p;
			touch(p, true);
		}
	}
	if (r == -ENOMEM)
		__atomic_add_fetch(&progress->failures, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&progress->ops, 1, __ATOMIC_RELEASE);
}

static void *do_things(void *arg)
{
	void *blocks[NR_BLOCKS] = { NULL };
	struct rng rng = *(struct rng *)arg;

	for (;;)
		do_something(&rng, blocks);
	return NULL;
}

static void child_run(uint64_t seed)
{
	static struct rng rngs[2];
	pthread_t thread;

	if (cgroup_enter(GROUP))
		_exit(1);
	device = device_open();
	if (device < 0)
		_exit(2);
	rngs[0].state = seed;
	rngs[1].state = seed ^ 0x5DEECE66D;
	for (unsigned int i = 0; i < NR_HEAPS; i++) {
		struct pheap_ioc_create c;

		if (raw_create(device, 0, 8 * MIB, 0, NULL, &c))
			_exit(3);
		victims[i].heap = c.heap;
	}
	if (pthread_create(&thread, NULL, do_things, &rngs[0]))
		_exit(4);
	do_things(&rngs[1]);
}

/* Waits until the figure is at most @limit; returns what it is. */
static long long kernel_settle(long long limit)
{
	const struct timespec ms = { .tv_nsec = 1000 * 1000 };
	long long kernel = -1;

	for (int i = 0; i < 10000; i++) {
		kernel = cgroup_value(GROUP, "memory.stat", "kernel");
		if (kernel <= limit)
			break;
		nanosleep(&ms, NULL);
	}
	return kernel;
}

TEST(sanity_of_counters)
{
	struct pheap_counters before = counters_get();
	struct pheap_ioc_create c;
	int fd = device_open();

	/* The figures that the next test compares do move. */
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, raw_create(fd, MIB, 8 * MIB, 0, NULL, &c));
	EXPECT_EQ(before.committed_pages + 256, counters_get().committed_pages);
	EXPECT_LT(before.metadata_bytes, counters_get().metadata_bytes);
	EXPECT_EQ(before.nr_heaps + 1, counters_get().nr_heaps);
	EXPECT_EQ(0, raw_destroy(fd, c.heap));
	EXPECT_TRUE(counters_settle(before));
}

FIXTURE(kill) {
	struct pheap_counters before;
};

FIXTURE_SETUP(kill)
{
	self->before = counters_get();
	ASSERT_EQ(0, cgroup_create(GROUP, 0));
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	ASSERT_NE(MAP_FAILED, progress);
}

FIXTURE_TEARDOWN(kill)
{
	EXPECT_EQ(0, cgroup_remove(GROUP));
}

TEST_F_TIMEOUT(kill, everything_goes_back_from_any_point, 280)
{
	unsigned long nr = test_scaled(NR_KILLS), ops = 0, failures = 0;
	struct rng rng;
	/*
	 * Of the charge of small objects each CPU keeps up to
	 * a page for the next one of the same cgroup.
	 */
	const long long rest = sysconf(_SC_NPROCESSORS_CONF) * (long long)PAGE;

	rng_start(&rng);
	for (unsigned long i = 0; i < nr; i++) {
		unsigned long limit = 1 + rng_below(&rng, MAX_OPS);
		uint64_t seed = rng_next(&rng);
		int status;
		pid_t child;

		progress->ops = 0;
		progress->failures = 0;
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			child_run(seed);
			_exit(5);
		}
		while (__atomic_load_n(&progress->ops, __ATOMIC_ACQUIRE) < limit) {
			ASSERT_EQ(0, waitpid(child, &status, WNOHANG));
			sched_yield();
		}
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		ASSERT_EQ(SIGKILL, WTERMSIG(status));
		ops += progress->ops;
		failures += progress->failures;
		ASSERT_TRUE(counters_settle(self->before)) {
			struct pheap_counters now = counters_get();

			TH_LOG("kill %lu at %lu of %llu: pages %lld, metadata %lld, heaps %lld",
			       i, limit, (unsigned long long)seed,
			       now.committed_pages - self->before.committed_pages,
			       now.metadata_bytes - self->before.metadata_bytes,
			       now.nr_heaps - self->before.nr_heaps);
		}
	}
	TH_LOG("%lu kills, %lu operations, %lu of them without memory; %lld bytes still charged",
	       nr, ops, failures, kernel_settle(rest));
	/* KASAN keeps freed objects for a while, and they stay charged. */
	if (!kernel_is_debug())
		EXPECT_GE(rest, kernel_settle(rest));
}

TEST_HARNESS_MAIN
