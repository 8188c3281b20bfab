// SPDX-License-Identifier: GPL-2.0
/*
 * What the calls cost. Each test prints figures as diagnostics and fails only if a call fails;
 * those about memory also hold the figures against their limits. Run under selftests/vm/run -i,
 * where a nanosecond is an instruction executed, the figures are exact and repeatable; elsewhere
 * they are only times.
 */
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <sys/mman.h>

#define TIMEOUT		280
#define ROUNDS		1000
#define GROUP		"pheap-cost"

FIXTURE(cost) {
	int fd;
};

FIXTURE_SETUP(cost)
{
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(cost)
{
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	close(self->fd);
}

static unsigned long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void report(const char *what, unsigned long long ns, unsigned long long count)
{
	ksft_print_msg("cost: %-52s %10llu\n", what, (ns + count / 2) / count);
}

TEST_F_TIMEOUT(cost, calls_that_do_nothing, TIMEOUT)
{
	struct pheap_ioc_info info;
	unsigned long long start;

	EXPECT_EQ(-ENOTTY, raw_ioctl(self->fd, _IO(PHEAP_IOC_TYPE, 0xFF), NULL));
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		ioctl(self->fd, _IO(PHEAP_IOC_TYPE, 0xFF), NULL);
	report("unknown ioctl", now() - start, ROUNDS);
	EXPECT_EQ(0, raw_info(self->fd, &info));
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		raw_info(self->fd, &info);
	report("INFO", now() - start, ROUNDS);
}

/* Alloc and free in turn, and all allocs before all frees; the heap is committed and warm. */
static void cost_blocks(struct __test_metadata *_metadata, int fd, __u64 bytes, __u64 maximum)
{
	static void *p[ROUNDS];
	unsigned long long start, alloc = 0, free = 0;
	struct pheap_ioc_create c;
	char what[64];

	ASSERT_EQ(0, raw_create(fd, maximum, maximum, PHEAP_COMMIT_POPULATE, NULL, &c));
	for (int i = 0; i < ROUNDS; i++)
		ASSERT_EQ(0, raw_alloc(fd, c.heap, bytes, &p[i]));
	for (int i = 0; i < ROUNDS; i++)
		ASSERT_EQ(0, raw_free(fd, c.heap, p[i]));
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		raw_alloc(fd, c.heap, bytes, &p[i]);
	alloc = now() - start;
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		raw_free(fd, c.heap, p[i]);
	free = now() - start;
	snprintf(what, sizeof(what), "ALLOC of %llu bytes", bytes);
	report(what, alloc, ROUNDS);
	snprintf(what, sizeof(what), "FREE of %llu bytes", bytes);
	report(what, free, ROUNDS);
	start = now();
	for (int i = 0; i < ROUNDS; i++) {
		raw_alloc(fd, c.heap, bytes, &p[0]);
		raw_free(fd, c.heap, p[0]);
	}
	snprintf(what, sizeof(what), "ALLOC + FREE of one block of %llu bytes", bytes);
	report(what, now() - start, ROUNDS);
	EXPECT_EQ(0, raw_destroy(fd, c.heap));
}

TEST_F_TIMEOUT(cost, alloc_and_free, TIMEOUT)
{
	cost_blocks(_metadata, self->fd, 64, 8 * MIB);
	cost_blocks(_metadata, self->fd, 1024, 8 * MIB);
	cost_blocks(_metadata, self->fd, 64 * KIB, 96 * MIB);
}

/* Blocks of one size by batches, allocated and freed in turn. */
static void cost_of_batch(struct __test_metadata *_metadata, int fd, __u64 bytes, __u64 maximum,
			  __u32 nr)
{
	static __u64 addrs[PHEAP_BATCH_BLOCKS];
	struct pheap_group groups[PHEAP_BATCH_GROUPS];
	unsigned long long start, alloc = 0, free = 0;
	struct pheap_ioc_free_batch f;
	struct pheap_ioc_create c;
	__u64 usable;
	char what[64];

	ASSERT_EQ(0, raw_create(fd, maximum, maximum, PHEAP_COMMIT_POPULATE, NULL, &c));
	for (int i = 0; i < 101; i++) {
		__u32 nr_groups = PHEAP_BATCH_GROUPS, got = nr, k = 0;

		/* The first round makes the spans. */
		if (i == 1) {
			alloc = 0;
			free = 0;
		}
		start = now();
		ASSERT_EQ(0, raw_alloc_batch(fd, c.heap, bytes, groups, &nr_groups, &got, &usable));
		alloc += now() - start;
		ASSERT_EQ(nr, got);
		for (__u32 g = 0; g < nr_groups; g++)
			for (__u64 mask = groups[g].mask; mask; mask &= mask - 1)
				addrs[k++] = groups[g].addr + __builtin_ctzll(mask) * usable;
		start = now();
		ASSERT_EQ(0, raw_free_batch(fd, c.heap, addrs, nr, &f));
		free += now() - start;
		ASSERT_EQ(0, f.nr_refused);
	}
	snprintf(what, sizeof(what), "ALLOC_BATCH of %u blocks of %llu bytes", nr, bytes);
	report(what, alloc, 100);
	snprintf(what, sizeof(what), "FREE_BATCH of %u blocks of %llu bytes", nr, bytes);
	report(what, free, 100);
	EXPECT_EQ(0, raw_destroy(fd, c.heap));
}

TEST_F_TIMEOUT(cost, batches, TIMEOUT)
{
	static const __u32 nr[] = { 1, 16, 64, 256, 512 };

	for (unsigned int i = 0; i < ARRAY_LEN(nr); i++)
		cost_of_batch(_metadata, self->fd, 64, 8 * MIB, nr[i]);
	cost_of_batch(_metadata, self->fd, 16, 8 * MIB, 512);
	cost_of_batch(_metadata, self->fd, 1024, 8 * MIB, 256);
	cost_of_batch(_metadata, self->fd, 64, MIB, 512);
}

TEST_F_TIMEOUT(cost, reset, TIMEOUT)
{
	static const __u64 maximum[] = { MIB, 8 * MIB, 96 * MIB };
	unsigned long long start, empty, filled;
	struct pheap_ioc_create c;
	char what[64];
	void *p;

	for (unsigned int k = 0; k < ARRAY_LEN(maximum); k++) {
		ASSERT_EQ(0, raw_create(self->fd, maximum[k], maximum[k], 0, NULL, &c));
		empty = 0;
		filled = 0;
		for (int i = 0; i < 10; i++) {
			for (int j = 0; j < ROUNDS; j++)
				ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 16 + j % 10 * 64, &p));
			start = now();
			ASSERT_EQ(0, raw_reset(self->fd, c.heap));
			filled += now() - start;
			start = now();
			ASSERT_EQ(0, raw_reset(self->fd, c.heap));
			empty += now() - start;
		}
		snprintf(what, sizeof(what), "RESET of %llu MiB committed, nothing in use",
			 maximum[k] / MIB);
		report(what, empty, 10);
		snprintf(what, sizeof(what), "RESET of %llu MiB committed, 1000 blocks",
			 maximum[k] / MIB);
		report(what, filled, 10);
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	}
}

TEST_F_TIMEOUT(cost, alloc_and_free_in_a_small_heap, TIMEOUT)
{
	cost_blocks(_metadata, self->fd, 64, MIB);
}

TEST_F_TIMEOUT(cost, create_and_destroy, TIMEOUT)
{
	const struct {
		const char *what;
		__u64 initial;
		__u64 maximum;
		bool touch;
	} cases[] = {
		{ "create + destroy, 1 MiB reserved, 1 page", 0, MIB, false },
		{ "create + touch + destroy, 1 MiB reserved, 1 page", 0, MIB, true },
		{ "create + touch + destroy, 8 MiB reserved, 1 page", 0, 8 * MIB, true },
		{ "create + touch + destroy, 1 TiB reserved, 1 page", 0, 1024 * GIB, true },
		{ "create + touch + destroy, growable, 1 page", 0, 0, true },
	};
	unsigned long long start;
	struct pheap_ioc_create c;
	void *p;

	for (unsigned int k = 0; k < ARRAY_LEN(cases); k++) {
		for (int round = 0; round < 2; round++) {
			start = now();
			for (int i = 0; i < ROUNDS; i++) {
				ASSERT_EQ(0, raw_create(self->fd, cases[k].initial,
							cases[k].maximum, 0, NULL, &c));
				if (cases[k].touch)
					*(volatile char *)u64_to_ptr(c.base) = 1;
				ASSERT_EQ(0, raw_destroy(self->fd, c.heap));
			}
		}
		report(cases[k].what, now() - start, ROUNDS);
	}
	start = now();
	for (int i = 0; i < ROUNDS; i++) {
		p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*(volatile char *)p = 1;
		munmap(p, MIB);
	}
	report("anonymous mmap + touch + munmap of 1 MiB", now() - start, ROUNDS);
	start = now();
	for (int i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, raw_create(self->fd, 0, MIB, 0, NULL, &c));
		ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 100, &p));
		*(volatile char *)p = 1;
		ASSERT_EQ(0, raw_destroy(self->fd, c.heap));
	}
	report("create + alloc + touch + destroy, 1 MiB reserved", now() - start, ROUNDS);
}

static void touch_pages(__u64 base, __u64 from, __u64 to)
{
	for (__u64 i = from; i < to; i += PAGE)
		*(volatile char *)u64_to_ptr(base + i) = 1;
}

TEST_F_TIMEOUT(cost, pages, TIMEOUT)
{
	const __u64 front = 16 * MIB, tail = 32 * MIB;
	struct pheap_ioc_create c;
	unsigned long long start;
	void *p;

	/* The first 8 MiB of a heap that has nothing but small pages. */
	ASSERT_EQ(0, raw_create(self->fd, 0, 64 * MIB, 0, NULL, &c));
	start = now();
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 8 * MIB, 0, NULL));
	report("commit per page, 8 MiB of small pages", now() - start, 8 * MIB / PAGE);
	start = now();
	touch_pages(c.base, 0, 8 * MIB);
	report("first touch per page, 8 MiB of small pages", now() - start, 8 * MIB / PAGE);
	start = now();
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 16 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	report("commit + populate per page, 8 MiB of small pages", now() - start, 8 * MIB / PAGE);
	start = now();
	ASSERT_EQ(0, raw_destroy(self->fd, c.heap));
	report("destroy per page, 16 MiB of small pages", now() - start, 16 * MIB / PAGE);

	/* The tail of a large one. */
	ASSERT_EQ(0, raw_create(self->fd, front, 128 * MIB, PHEAP_COMMIT_POPULATE, NULL, &c));
	start = now();
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, front + tail, 0, NULL));
	report("commit per page, 32 MiB of huge pages", now() - start, tail / PAGE);
	start = now();
	touch_pages(c.base, front, front + tail);
	report("first touch per page, 32 MiB of huge pages", now() - start, tail / PAGE);
	start = now();
	ASSERT_EQ(0, raw_destroy(self->fd, c.heap));
	report("destroy per page, of them and 16 MiB of small", now() - start,
	       (front + tail) / PAGE);

	p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	madvise(p, 8 * MIB, MADV_NOHUGEPAGE);
	start = now();
	touch_pages(ptr_to_u64(p), 0, 8 * MIB);
	report("first touch per page, anonymous memory", now() - start, 8 * MIB / PAGE);
	start = now();
	munmap(p, 8 * MIB);
	report("munmap per page, anonymous memory", now() - start, 8 * MIB / PAGE);
}

/*
 * Fills a heap with blocks of one size and tells its metadata in thousandths of what is committed.
 */
static void cost_metadata(struct __test_metadata *_metadata, int fd, __u64 bytes, __u64 maximum,
			  __u64 limit)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	void *p;
	int r;

	ASSERT_EQ(0, raw_create(fd, 0, maximum, 0, NULL, &c));
	while (!(r = raw_alloc(fd, c.heap, bytes, &p)))
		;
	EXPECT_EQ(-ENOSPC, r);
	ASSERT_EQ(0, raw_stat(fd, c.heap, &st));
	ASSERT_EQ(0, raw_destroy(fd, c.heap));
	ksft_print_msg("cost: metadata per MiB, blocks of %7llu bytes: %llu (%llu.%02llu %%)\n",
		       bytes, st.metadata_bytes * MIB / st.committed_bytes,
		       st.metadata_bytes * 100 / st.committed_bytes,
		       st.metadata_bytes * 10000 / st.committed_bytes % 100);
	EXPECT_EQ(maximum, st.committed_bytes);
	EXPECT_GE(st.committed_bytes * limit / 1000, st.metadata_bytes);
}

TEST_F_TIMEOUT(cost, metadata_with_blocks_of_32_bytes_is_at_most_4_percent, TIMEOUT)
{
	cost_metadata(_metadata, self->fd, 32, 16 * MIB, 40);
}

TEST_F_TIMEOUT(cost, metadata_with_blocks_of_1_kib_is_at_most_1_percent, TIMEOUT)
{
	cost_metadata(_metadata, self->fd, KIB, 16 * MIB, 10);
}

TEST_F_TIMEOUT(cost, metadata_with_blocks_of_1_mib_is_at_most_0_7_percent, TIMEOUT)
{
	cost_metadata(_metadata, self->fd, MIB, 64 * MIB, 7);
}

TEST_F_TIMEOUT(cost, kernel_memory_of_a_one_page_heap_is_at_most_4_kib, TIMEOUT)
{
	static __u64 heaps[ROUNDS];
	long long before[2], after[2];
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;

	if (kernel_is_debug())
		SKIP(return, "a debug kernel's own bytes would count");
	memset(heaps, 1, sizeof(heaps));
	ASSERT_EQ(0, cgroup_create(GROUP, 0));
	ASSERT_EQ(0, cgroup_enter(GROUP));
	before[0] = cgroup_value(GROUP, "memory.stat", "kernel");
	before[1] = cgroup_value(GROUP, "memory.stat", "pagetables");
	for (int i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, raw_create(self->fd, 0, 8 * MIB, 0, NULL, &c));
		heaps[i] = c.heap;
	}
	after[0] = cgroup_value(GROUP, "memory.stat", "kernel");
	after[1] = cgroup_value(GROUP, "memory.stat", "pagetables");
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	for (int i = 0; i < ROUNDS; i++)
		ASSERT_EQ(0, raw_destroy(self->fd, heaps[i]));
	ASSERT_EQ(0, cgroup_enter("."));
	EXPECT_EQ(0, cgroup_remove(GROUP));
	ksft_print_msg("cost: kernel memory of a heap with one page: %lld (metadata: %llu)\n",
		       (after[0] - before[0] - (after[1] - before[1])) / ROUNDS - (long long)PAGE,
		       st.metadata_bytes);
	EXPECT_GE(8 * (long long)KIB * ROUNDS, after[0] - before[0] - (after[1] - before[1]));
}

TEST_HARNESS_MAIN
