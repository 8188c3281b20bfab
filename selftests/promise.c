// SPDX-License-Identifier: GPL-2.0
/*
 * What a heap promises about memory: what is reserved costs nothing, what is committed exists
 * before it is touched, and it stays until the heap ends. Each figure is checked where the system
 * tells it, not only where the module does.
 */
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define TIMEOUT		120
#define TIB		(1024 * GIB)
#define GROUP		"pheap-promise"
#define NR_GROWABLE	10000

FIXTURE(promise) {
	int fd;
	struct pheap_counters before;
};

FIXTURE_SETUP(promise)
{
	self->before = counters_get();
	ASSERT_LE(0, self->before.committed_pages);
	ASSERT_LE(0, self->before.metadata_bytes);
	ASSERT_LE(0, self->before.nr_heaps);
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(promise)
{
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	close(self->fd);
	EXPECT_TRUE(counters_settle(self->before));
}

static long long rss(const struct pheap_ioc_create *c)
{
	return smaps_field(c->base, c->reserved_bytes, "Rss");
}

static long minor_faults(void)
{
	struct rusage u;

	return getrusage(RUSAGE_SELF, &u) ? -errno : u.ru_minflt;
}

static void touch_pages(const struct pheap_ioc_create *c, __u64 from, __u64 to)
{
	volatile unsigned char *base = u64_to_ptr(c->base);

	for (__u64 i = from; i < to; i += PAGE)
		base[i] = 1;
}

static bool is_zero(const struct pheap_ioc_create *c, __u64 from, __u64 to)
{
	const __u64 *words = u64_to_ptr(c->base);

	for (__u64 i = from / 8; i < to / 8; i++)
		if (words[i])
			return false;
	return true;
}

/*
 * Sizes at create
 */

static void check_create(struct __test_metadata *_metadata, int fd, __u64 initial, __u64 maximum,
			 __u64 committed, __u64 reserved)
{
	struct pheap_counters before = counters_get();
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;

	ASSERT_EQ(0, raw_create(fd, initial, maximum, 0, NULL, &c));
	EXPECT_EQ(committed, c.committed_bytes);
	EXPECT_EQ(reserved, c.reserved_bytes);
	EXPECT_EQ(0, c.base % (reserved >= 2 * MIB ? 2 * MIB : PAGE));
	ASSERT_EQ(0, raw_stat(fd, c.heap, &st));
	EXPECT_EQ(c.base, st.base);
	EXPECT_EQ(committed, st.committed_bytes);
	EXPECT_EQ(committed, st.peak_committed_bytes);
	EXPECT_EQ(reserved, st.reserved_bytes);
	EXPECT_EQ(0, st.allocated_bytes);
	EXPECT_EQ(0, st.nr_blocks);
	EXPECT_EQ(0, st.nr_failures);
	EXPECT_EQ(reserved, smaps_field(c.base, c.reserved_bytes, "Size"));
	EXPECT_EQ(before.committed_pages + (long long)(committed / PAGE),
		  counters_get().committed_pages);
	EXPECT_EQ(before.nr_heaps + 1, counters_get().nr_heaps);
	EXPECT_EQ(0, touch(u64_to_ptr(c.base), true));
	EXPECT_EQ(0, touch(u64_to_ptr(c.base + committed - 1), true));
	EXPECT_EQ(0, raw_destroy(fd, c.heap));
	EXPECT_EQ(before.committed_pages, counters_get().committed_pages);
}

TEST_F_TIMEOUT(promise, initial_zero_commits_one_page, TIMEOUT)
{
	check_create(_metadata, self->fd, 0, MIB, PAGE, MIB);
	check_create(_metadata, self->fd, 0, PAGE, PAGE, PAGE);
	check_create(_metadata, self->fd, 0, GIB, PAGE, GIB);
}

TEST_F_TIMEOUT(promise, sizes_are_rounded_up_to_pages, TIMEOUT)
{
	check_create(_metadata, self->fd, 1, 1, PAGE, PAGE);
	check_create(_metadata, self->fd, PAGE + 1, 10 * PAGE + 1, 2 * PAGE, 11 * PAGE);
	check_create(_metadata, self->fd, 3 * MIB - 1, 5 * MIB - 4095, 3 * MIB, 5 * MIB);
}

TEST_F_TIMEOUT(promise, initial_above_the_maximum_is_clamped, TIMEOUT)
{
	check_create(_metadata, self->fd, MIB, 64 * KIB, 64 * KIB, 64 * KIB);
	check_create(_metadata, self->fd, ~0ULL, 3 * MIB, 3 * MIB, 3 * MIB);
}

TEST_F_TIMEOUT(promise, a_growable_heap_reserves_the_machines_memory, TIMEOUT)
{
	long long total = meminfo("MemTotal");
	struct pheap_ioc_create c;
	__u64 power = 64 * MIB;

	while (power < (__u64)total)
		power *= 2;
	ASSERT_EQ(0, raw_create(self->fd, 0, 0, 0, NULL, &c));
	EXPECT_EQ(PAGE, c.committed_bytes);
	EXPECT_EQ(power, c.reserved_bytes);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F_TIMEOUT(promise, a_growable_heap_reserves_a_quarter_of_what_rlimit_as_leaves, TIMEOUT)
{
	long long used = file_key("/proc/self/status", "VmSize") * 1024;
	struct rlimit limit = { .rlim_cur = used + GIB, .rlim_max = RLIM_INFINITY };
	struct pheap_ioc_create c;

	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	ASSERT_EQ(0, raw_create(self->fd, 0, 0, 0, NULL, &c));
	EXPECT_LE(64 * MIB, c.reserved_bytes);
	EXPECT_GE(256 * MIB, c.reserved_bytes);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	/* Not even the smallest reservation is left. */
	limit.rlim_cur = used + 32 * MIB;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, 0, 0, NULL, &c));
}

TEST_F_TIMEOUT(promise, a_growable_heap_takes_an_initial_size_and_grows, TIMEOUT)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 5 * MIB, 0, 0, NULL, &c));
	EXPECT_EQ(5 * MIB, c.committed_bytes);
	ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 30 * MIB, &p));
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_LE(30 * MIB, st.committed_bytes);
	EXPECT_EQ(c.reserved_bytes, st.reserved_bytes);
	memset(p, 1, 30 * MIB);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

/*
 * Pages exist before they are touched
 */

TEST_F_TIMEOUT(promise, initial_pages_exist_before_the_first_touch, TIMEOUT)
{
	const long long bytes = 160 * MIB;
	/*
	 * MemFree leaves out pages that CPUs keep for their next use, tens of MiB on newer kernels.
	 */
	const long long slack = 48 * MIB;
	long long free_before, free_after, kernel_before, kernel_after;
	struct pheap_ioc_create c;

	ASSERT_EQ(0, cgroup_create(GROUP, 0));
	ASSERT_EQ(0, cgroup_enter(GROUP));
	kernel_before = cgroup_value(GROUP, "memory.stat", "kernel");
	free_before = meminfo("MemFree");
	ASSERT_EQ(0, raw_create(self->fd, bytes, 2 * bytes, 0, NULL, &c));
	free_after = meminfo("MemFree");
	kernel_after = cgroup_value(GROUP, "memory.stat", "kernel");
	/* One page in each 2 MiB is mapped, which in the tail is a huge page. */
	EXPECT_GE(8 * 16 * PAGE + bytes - 16 * MIB, rss(&c));
	EXPECT_EQ(self->before.committed_pages + bytes / (long long)PAGE,
		  counters_get().committed_pages);
	EXPECT_LE(bytes - slack, free_before - free_after);
	EXPECT_GE(bytes + slack, free_before - free_after);
	EXPECT_LE(bytes - 256 * (long long)KIB, kernel_after - kernel_before);
	EXPECT_GE(bytes + 4 * (long long)MIB, kernel_after - kernel_before);
	touch_pages(&c, 0, bytes);
	EXPECT_EQ(bytes, rss(&c));
	/* The touch took no memory. */
	EXPECT_GE(slack, free_after - meminfo("MemFree"));
	EXPECT_GE(256 * (long long)KIB,
		  cgroup_value(GROUP, "memory.stat", "kernel") - kernel_after);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	EXPECT_EQ(self->before.committed_pages, counters_get().committed_pages);
	EXPECT_GE(slack, free_before - meminfo("MemFree"));
	EXPECT_GE((long long)MIB, cgroup_value(GROUP, "memory.stat", "kernel") - kernel_before);
	ASSERT_EQ(0, cgroup_enter("."));
	EXPECT_EQ(0, cgroup_remove(GROUP));
}

TEST_F_TIMEOUT(promise, commit_grows_by_what_was_asked, TIMEOUT)
{
	struct pheap_ioc_create c;
	__u64 committed;

	ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, MIB + 1, 0, &committed));
	EXPECT_EQ(MIB + PAGE, committed);
	/* Less than there is: nothing happens. */
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 0, 0, &committed));
	EXPECT_EQ(MIB + PAGE, committed);
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, MIB, 0, &committed));
	EXPECT_EQ(MIB + PAGE, committed);
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 20 * MIB, 0, &committed));
	EXPECT_EQ(20 * MIB, committed);
	EXPECT_EQ(self->before.committed_pages + 5120, counters_get().committed_pages);
	EXPECT_GE(8 * 16 * PAGE + 4 * MIB, rss(&c));
	touch_pages(&c, 0, 20 * MIB);
	EXPECT_EQ(20 * MIB, rss(&c));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F_TIMEOUT(promise, commit_beyond_the_maximum_is_enospc, TIMEOUT)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;

	ASSERT_EQ(0, raw_create(self->fd, MIB, 4 * MIB, 0, NULL, &c));
	EXPECT_EQ(-ENOSPC, raw_commit(self->fd, c.heap, 4 * MIB + 1, 0, NULL));
	EXPECT_EQ(-ENOSPC, raw_commit(self->fd, c.heap, ~0ULL, 0, NULL));
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(MIB, st.committed_bytes);
	EXPECT_EQ(2, st.nr_failures);
	EXPECT_EQ(0, raw_commit(self->fd, c.heap, 4 * MIB, 0, NULL));
	touch_pages(&c, 0, 4 * MIB);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

static void check_populated(struct __test_metadata *_metadata, int fd,
			    const struct pheap_ioc_create *c, __u64 bytes)
{
	struct pheap_ioc_stat before, after;
	long faults;

	EXPECT_EQ(bytes, rss(c));
	ASSERT_EQ(0, raw_stat(fd, c->heap, &before));
	faults = minor_faults();
	touch_pages(c, 0, bytes);
	EXPECT_EQ(faults, minor_faults());
	ASSERT_EQ(0, raw_stat(fd, c->heap, &after));
	EXPECT_EQ(before.nr_faults, after.nr_faults);
	EXPECT_EQ(bytes, rss(c));
}

TEST_F_TIMEOUT(promise, populated_memory_never_faults, TIMEOUT)
{
	const __u64 sizes[] = {
		PAGE, 64 * KIB, MIB, 2 * MIB, 3 * MIB, 16 * MIB, 20 * MIB, 40 * MIB
	};
	struct pheap_ioc_create c;

	for (unsigned int i = 0; i < ARRAY_LEN(sizes); i++) {
		ASSERT_EQ(0, raw_create(self->fd, sizes[i], 128 * MIB, PHEAP_COMMIT_POPULATE, NULL,
					&c));
		check_populated(_metadata, self->fd, &c, sizes[i]);
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
		ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
		ASSERT_EQ(0, raw_commit(self->fd, c.heap, sizes[i], PHEAP_COMMIT_POPULATE, NULL));
		check_populated(_metadata, self->fd, &c, sizes[i]);
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	}
}

TEST_F_TIMEOUT(promise, populate_maps_what_was_committed_before, TIMEOUT)
{
	struct pheap_ioc_create c;

	ASSERT_EQ(0, raw_create(self->fd, 20 * MIB, 128 * MIB, 0, NULL, &c));
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 20 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	check_populated(_metadata, self->fd, &c, 20 * MIB);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F_TIMEOUT(promise, blocks_of_a_growing_heap_do_not_fault, TIMEOUT)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat before, after;

	ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
	for (unsigned int i = 0; i < 40; i++) {
		void *p;

		ASSERT_EQ(0, raw_alloc(self->fd, c.heap, MIB, &p));
		ASSERT_EQ(0, raw_stat(self->fd, c.heap, &before));
		memset(p, i, MIB);
		ASSERT_EQ(0, raw_stat(self->fd, c.heap, &after));
		EXPECT_EQ(before.nr_faults, after.nr_faults);
	}
	EXPECT_LE(40 * MIB, after.committed_bytes);
	EXPECT_LE(40 * MIB, rss(&c));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F_TIMEOUT(promise, first_touches_come_in_windows, TIMEOUT)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;

	ASSERT_EQ(0, raw_create(self->fd, 40 * MIB, 128 * MIB, 0, NULL, &c));
	touch_pages(&c, 0, 40 * MIB);
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	/*
	 * 4,096 small pages by 16, and the rest in huge
	 * pages if the machine has them, else one by one.
	 */
	TH_LOG("%llu page faults in 40 MiB", st.nr_faults);
	EXPECT_LE(1, st.nr_faults);
	EXPECT_GE(10240, st.nr_faults);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	ASSERT_EQ(0, raw_create(self->fd, 16 * MIB, 64 * MIB, 0, NULL, &c));
	touch_pages(&c, 0, 16 * MIB);
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_LE(1, st.nr_faults);
	EXPECT_GE(256, st.nr_faults);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

/*
 * What is not committed
 */

TEST_F_TIMEOUT(promise, uncommitted_memory_is_sigsegv, TIMEOUT)
{
	const __u64 maxima[] = { MIB, 64 * MIB, 128 * MIB, TIB };
	struct pheap_ioc_create c;

	for (unsigned int i = 0; i < ARRAY_LEN(maxima); i++) {
		ASSERT_EQ(0, raw_create(self->fd, 64 * KIB, maxima[i], 0, NULL, &c));
		EXPECT_EQ(0, touch(u64_to_ptr(c.base + 64 * KIB - 1), true));
		EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(c.base + 64 * KIB), false));
		EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(c.base + 64 * KIB), true));
		EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(c.base + maxima[i] / 2), true));
		EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(c.base + maxima[i] - 1), false));
		/* The fault changed nothing. */
		ASSERT_EQ(0, raw_commit(self->fd, c.heap, 128 * KIB, 0, NULL));
		EXPECT_EQ(0, touch(u64_to_ptr(c.base + 64 * KIB), true));
		EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(c.base + 128 * KIB), true));
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	}
}

/*
 * No decommit
 */

TEST_F_TIMEOUT(promise, nothing_is_decommitted_by_frees, TIMEOUT)
{
	static void *blocks[4096];
	struct pheap_counters full;
	struct pheap_ioc_stat before, after;
	struct pheap_ioc_create c;
	long long mapped;

	ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
	for (unsigned int i = 0; i < ARRAY_LEN(blocks); i++)
		ASSERT_EQ(0, raw_alloc(self->fd, c.heap, i % 8 ? 1000 : 40000, &blocks[i]));
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &before));
	full = counters_get();
	mapped = rss(&c);
	for (unsigned int i = 0; i < ARRAY_LEN(blocks); i++)
		ASSERT_EQ(0, raw_free(self->fd, c.heap, blocks[i]));
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &after));
	EXPECT_EQ(0, after.nr_blocks);
	EXPECT_EQ(0, after.allocated_bytes);
	EXPECT_EQ(before.committed_bytes, after.committed_bytes);
	EXPECT_EQ(before.peak_committed_bytes, after.peak_committed_bytes);
	EXPECT_EQ(full.committed_pages, counters_get().committed_pages);
	EXPECT_EQ(mapped, rss(&c));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

/*
 * The maximum
 */

static void check_maximum(struct __test_metadata *_metadata, int fd, __u64 maximum, __u64 block)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	unsigned int nr = 0;
	void *p, *last = NULL;
	int r;

	ASSERT_EQ(0, raw_create(fd, 0, maximum, 0, NULL, &c));
	/* Larger than the heap: never, and no harm. */
	EXPECT_EQ(-ENOSPC, raw_alloc(fd, c.heap, maximum + 1, &p));
	EXPECT_EQ(-ENOSPC, raw_alloc(fd, c.heap, ~0ULL, &p));
	ASSERT_EQ(0, raw_stat(fd, c.heap, &st));
	EXPECT_EQ(2, st.nr_failures);
	EXPECT_EQ(PAGE, st.committed_bytes);
	for (;;) {
		r = raw_alloc(fd, c.heap, block, &p);
		if (r)
			break;
		memset(p, 0x3C, block);
		last = p;
		nr++;
	}
	EXPECT_EQ(-ENOSPC, r);
	EXPECT_EQ(maximum / block, nr);
	ASSERT_EQ(0, raw_stat(fd, c.heap, &st));
	EXPECT_EQ(3, st.nr_failures);
	EXPECT_EQ(maximum, st.committed_bytes);
	EXPECT_EQ(nr, st.nr_blocks);
	/* It goes on. */
	EXPECT_EQ(-ENOSPC, raw_alloc(fd, c.heap, block, &p));
	ASSERT_EQ(0, raw_free(fd, c.heap, last));
	EXPECT_EQ(0, raw_alloc(fd, c.heap, block, &p));
	EXPECT_EQ(0, touch(p, true));
	EXPECT_EQ(-ENOSPC, raw_alloc(fd, c.heap, block, &p));
	EXPECT_EQ(0, raw_destroy(fd, c.heap));
}

TEST_F_TIMEOUT(promise, the_maximum_is_enospc_and_the_heap_goes_on, TIMEOUT)
{
	check_maximum(_metadata, self->fd, 64 * KIB, 4 * KIB);
	check_maximum(_metadata, self->fd, MIB, 64 * KIB);
	check_maximum(_metadata, self->fd, 4 * MIB, 64 * KIB);
	check_maximum(_metadata, self->fd, 70 * MIB, 2 * MIB);
}

TEST_F_TIMEOUT(promise, a_block_as_large_as_the_heap, TIMEOUT)
{
	const __u64 maxima[] = { PAGE, 64 * KIB, MIB, 3 * MIB, 40 * MIB, 70 * MIB };

	for (unsigned int i = 0; i < ARRAY_LEN(maxima); i++) {
		struct pheap_ioc_create c;
		void *p;

		ASSERT_EQ(0, raw_create(self->fd, 0, maxima[i], 0, NULL, &c));
		ASSERT_EQ(0, raw_alloc(self->fd, c.heap, maxima[i], &p));
		EXPECT_EQ(c.base, ptr_to_u64(p));
		EXPECT_EQ(0, touch(p, true));
		EXPECT_EQ(0, touch((char *)p + maxima[i] - 1, true));
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	}
}

/*
 * Contents
 */

TEST_F_TIMEOUT(promise, fresh_memory_is_zero, TIMEOUT)
{
	struct pheap_ioc_create c;
	void *dirt;

	/* Dirty what the heap will get: pages of a program, then of another heap. */
	dirt = mmap(NULL, 160 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, dirt);
	memset(dirt, 0xDB, 160 * MIB);
	ASSERT_EQ(0, munmap(dirt, 160 * MIB));
	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(0, raw_create(self->fd, 24 * MIB, 128 * MIB,
					i ? PHEAP_COMMIT_POPULATE : 0, NULL, &c));
		EXPECT_TRUE(is_zero(&c, 0, 24 * MIB));
		memset(u64_to_ptr(c.base), 0xDB, 24 * MIB);
		ASSERT_EQ(0, raw_commit(self->fd, c.heap, 48 * MIB, i ? PHEAP_COMMIT_POPULATE : 0,
					NULL));
		EXPECT_TRUE(is_zero(&c, 24 * MIB, 48 * MIB));
		memset(u64_to_ptr(c.base), 0xDB, 48 * MIB);
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	}
}

/*
 * What a reservation costs
 */

TEST_F_TIMEOUT(promise, metadata_does_not_depend_on_the_maximum, TIMEOUT)
{
	const __u64 maxima[] = { MIB, 2 * MIB, GIB, TIB };
	__u64 metadata[ARRAY_LEN(maxima)];

	for (unsigned int i = 0; i < ARRAY_LEN(maxima); i++) {
		struct pheap_ioc_create c;
		struct pheap_ioc_stat st;

		ASSERT_EQ(0, raw_create(self->fd, 0, maxima[i], 0, NULL, &c));
		ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
		metadata[i] = st.metadata_bytes;
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
		TH_LOG("maximum %llu MiB: %llu bytes", maxima[i] / MIB, metadata[i]);
		EXPECT_GE(4 * KIB, metadata[i]);
	}
	EXPECT_EQ(metadata[1], metadata[2]);
	EXPECT_EQ(metadata[1], metadata[3]);
}

/* Kernel memory of @nr heaps made in the cgroup, without page tables and committed pages. */
static long long kernel_cost(struct __test_metadata *_metadata, int fd, __u64 maximum,
			     unsigned int nr, __u64 *heaps)
{
	long long kernel, tables, before;
	struct pheap_ioc_create c;
	__u64 committed = 0;

	before = cgroup_value(GROUP, "memory.stat", "kernel") -
		 cgroup_value(GROUP, "memory.stat", "pagetables");
	for (unsigned int i = 0; i < nr; i++) {
		int r = raw_create(fd, 0, maximum, 0, NULL, &c);

		if (r)
			TH_LOG("heap %u: %s", i, strerror(-r));
		ASSERT_EQ(0, r);
		heaps[i] = c.heap;
		committed += c.committed_bytes;
		*(volatile char *)u64_to_ptr(c.base) = 1;
	}
	kernel = cgroup_value(GROUP, "memory.stat", "kernel");
	tables = cgroup_value(GROUP, "memory.stat", "pagetables");
	return kernel - tables - before - committed;
}

static void destroy_all(struct __test_metadata *_metadata, int fd, unsigned int nr,
			const __u64 *heaps)
{
	for (unsigned int i = 0; i < nr; i++)
		ASSERT_EQ(0, raw_destroy(fd, heaps[i]));
}

TEST_F_TIMEOUT(promise, one_tebibyte_reserved_costs_what_four_mebibytes_cost, TIMEOUT)
{
	__u64 heaps[64];
	long long small, large;

	ASSERT_EQ(0, cgroup_create(GROUP, 0));
	ASSERT_EQ(0, cgroup_enter(GROUP));
	/* The first heaps pay for what is made once. */
	kernel_cost(_metadata, self->fd, 4 * MIB, 64, heaps);
	destroy_all(_metadata, self->fd, 64, heaps);
	small = kernel_cost(_metadata, self->fd, 4 * MIB, 64, heaps);
	destroy_all(_metadata, self->fd, 64, heaps);
	large = kernel_cost(_metadata, self->fd, TIB, 64, heaps);
	destroy_all(_metadata, self->fd, 64, heaps);
	TH_LOG("kernel memory of 64 heaps: %lld bytes with 4 MiB reserved, %lld with 1 TiB", small,
	       large);
	/* The checkers of a debug kernel add to every object. */
	if (!kernel_is_debug())
		EXPECT_GE(64 * 4 * (long long)KIB, small);
	/*
	 * A large heap has a mapping more, and one that is alone in 512 GiB of address space a page
	 * of the third level of the page table, which some kernels do not count among page tables.
	 */
	EXPECT_GE(small + 64 * (long long)(PAGE + KIB), large);
	ASSERT_EQ(0, cgroup_enter("."));
	EXPECT_EQ(0, cgroup_remove(GROUP));
}

TEST_F_TIMEOUT(promise, a_reservation_is_not_in_committed_as, TIMEOUT)
{
	long long before = meminfo("Committed_AS");
	struct pheap_ioc_create c;

	ASSERT_EQ(0, raw_create(self->fd, 32 * MIB, TIB, 0, NULL, &c));
	EXPECT_GE(2 * (long long)MIB, meminfo("Committed_AS") - before);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	EXPECT_GE(2 * (long long)MIB, llabs(meminfo("Committed_AS") - before));
}

FIXTURE(overcommit) {
	int fd;
	long long mode;
	struct pheap_counters before;
};

FIXTURE_VARIANT(overcommit) {
	const char *mode;
};

FIXTURE_VARIANT_ADD(overcommit, heuristic) { .mode = "0" };
FIXTURE_VARIANT_ADD(overcommit, always) { .mode = "1" };
FIXTURE_VARIANT_ADD(overcommit, strict) { .mode = "2" };

FIXTURE_SETUP(overcommit)
{
	self->mode = file_number("/proc/sys/vm/overcommit_memory");
	ASSERT_LE(0, self->mode);
	self->before = counters_get();
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, file_write("/proc/sys/vm/overcommit_memory", variant->mode));
}

FIXTURE_TEARDOWN(overcommit)
{
	char text[8];

	snprintf(text, sizeof(text), "%lld", self->mode);
	EXPECT_EQ(0, file_write("/proc/sys/vm/overcommit_memory", text));
	close(self->fd);
	EXPECT_TRUE(counters_settle(self->before));
}

TEST_F_TIMEOUT(overcommit, create_grow_and_destroy, TIMEOUT)
{
	struct pheap_ioc_create c;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 8 * MIB, TIB, 0, NULL, &c));
	EXPECT_EQ(TIB, c.reserved_bytes);
	touch_pages(&c, 0, 8 * MIB);
	ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 30 * MIB, &p));
	memset(p, 1, 30 * MIB);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	ASSERT_EQ(0, raw_create(self->fd, 0, 0, 0, NULL, &c));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

/*
 * Limits of the process
 */

TEST_F_TIMEOUT(promise, rlimit_as_counts_the_reservation, TIMEOUT)
{
	long long used = file_key("/proc/self/status", "VmSize") * 1024;
	struct rlimit limit = { .rlim_cur = used + 64 * MIB, .rlim_max = RLIM_INFINITY };
	struct pheap_ioc_create c, d;

	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	EXPECT_EQ(self->before.committed_pages, counters_get().committed_pages);
	ASSERT_EQ(0, raw_create(self->fd, 0, 48 * MIB, 0, NULL, &c));
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, 48 * MIB, 0, NULL, &d));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	ASSERT_EQ(0, raw_create(self->fd, 0, 48 * MIB, 0, NULL, &c));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

/* Growing lays mappings over the heap's own reservation, which needs no more address space. */
TEST_F_TIMEOUT(promise, growth_needs_no_more_of_rlimit_as, TIMEOUT)
{
	struct pheap_ioc_create c;
	struct rlimit limit = { .rlim_max = RLIM_INFINITY };

	ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
	limit.rlim_cur = file_key("/proc/self/status", "VmSize") * 1024 + PAGE;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	EXPECT_EQ(0, raw_commit(self->fd, c.heap, 40 * MIB, 0, NULL));
	touch_pages(&c, 0, 40 * MIB);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F_TIMEOUT(promise, rlimit_data_does_not_count_heaps, TIMEOUT)
{
	long long used = file_key("/proc/self/status", "VmData") * 1024;
	struct rlimit limit = { .rlim_cur = used + MIB, .rlim_max = RLIM_INFINITY };
	struct pheap_ioc_create c;

	ASSERT_EQ(0, setrlimit(RLIMIT_DATA, &limit));
	ASSERT_EQ(0, raw_create(self->fd, 20 * MIB, 128 * MIB, 0, NULL, &c));
	touch_pages(&c, 0, 20 * MIB);
	EXPECT_EQ(0, raw_commit(self->fd, c.heap, 40 * MIB, 0, NULL));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F_TIMEOUT(promise, create_works_under_mlockall, TIMEOUT)
{
	const __u64 maxima[] = { MIB, 64 * MIB, 128 * MIB, TIB };
	struct pheap_ioc_create c;
	void *p;

	ASSERT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE));
	for (unsigned int i = 0; i < ARRAY_LEN(maxima); i++) {
		ASSERT_EQ(0, raw_create(self->fd, 64 * KIB, maxima[i], 0, NULL, &c));
		EXPECT_EQ(0, touch(u64_to_ptr(c.base + 64 * KIB - 1), true));
		EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(c.base + 64 * KIB), true));
		ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 512 * KIB, &p));
		memset(p, 1, 512 * KIB);
		if (maxima[i] > 64 * MIB) {
			EXPECT_EQ(0, raw_commit(self->fd, c.heap, 40 * MIB, 0, NULL));
			touch_pages(&c, 0, 40 * MIB);
		}
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	}
	EXPECT_EQ(0, munlockall());
}

/*
 * Many heaps
 */

TEST_F_TIMEOUT(promise, ten_thousand_growable_heaps, 280)
{
	static struct pheap_list_entry entries[NR_GROWABLE + 1];
	static __u64 heaps[NR_GROWABLE];
	unsigned long nr = test_scaled(NR_GROWABLE);
	__u64 nr_listed = ARRAY_LEN(entries);
	long long extra, kernel, tables;

	memset(entries, 0, sizeof(entries));
	memset(heaps, 1, sizeof(heaps));
	ASSERT_EQ(0, cgroup_create(GROUP, 0));
	ASSERT_EQ(0, cgroup_enter(GROUP));
	kernel = cgroup_value(GROUP, "memory.stat", "kernel");
	extra = kernel_cost(_metadata, self->fd, 0, nr, heaps);
	tables = cgroup_value(GROUP, "memory.stat", "pagetables");
	TH_LOG("a heap with one page: %lld bytes and %lld of page tables, over %lu heaps",
	       extra / (long long)nr, tables / (long long)nr, nr);
	if (!kernel_is_debug())
		EXPECT_GE(4 * (long long)(KIB * nr), extra);
	EXPECT_EQ(self->before.committed_pages + (long long)nr, counters_get().committed_pages);
	EXPECT_EQ(nr, nr_heaps_own(self->fd));
	ASSERT_EQ(0, raw_list(self->fd, entries, &nr_listed));
	ASSERT_EQ(nr, nr_listed);
	for (unsigned long i = 0; i < nr; i++) {
		ASSERT_EQ(heaps[i], entries[i].heap);
		ASSERT_LE(64 * MIB, entries[i].reserved_bytes);
	}
	/* They are heaps, every one: allocate in some of each region of the address space. */
	for (unsigned long i = 0; i < nr; i += 97) {
		void *p;

		ASSERT_EQ(0, raw_alloc(self->fd, heaps[i], 20000, &p));
		memset(p, 1, 20000);
		ASSERT_EQ(0, raw_free(self->fd, heaps[i], p));
	}
	destroy_all(_metadata, self->fd, nr, heaps);
	EXPECT_EQ(self->before.committed_pages, counters_get().committed_pages);
	/*
	 * Memory freed after a grace period is counted until
	 * then; what stays are caches of the process itself.
	 */
	for (int i = 0; i < 10000; i++) {
		const struct timespec ms = { .tv_nsec = 1000 * 1000 };

		if (cgroup_value(GROUP, "memory.stat", "kernel") - kernel < (long long)MIB)
			break;
		nanosleep(&ms, NULL);
	}
	EXPECT_GE((long long)MIB, cgroup_value(GROUP, "memory.stat", "kernel") - kernel);
	ASSERT_EQ(0, cgroup_enter("."));
	EXPECT_EQ(0, cgroup_remove(GROUP));
}

TEST_HARNESS_MAIN
