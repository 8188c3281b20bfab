// SPDX-License-Identifier: GPL-2.0
/*
 * ALLOC_BATCH and FREE_BATCH: many blocks by one call, and exact answers about those it did not get
 * or free.
 */
#include "pheap_test.h"

#include <pthread.h>
#include <sys/mman.h>
#include "kselftest_harness.h"

#define TIMEOUT		120
#define MOST		PHEAP_BATCH_BLOCKS
#define GROUPS		PHEAP_BATCH_GROUPS

FIXTURE(batch)
{
	int fd;
	__u64 heap;
	__u64 base;
	struct pheap_counters before;
	struct pheap_group groups[GROUPS];
	struct pheap_ioc_free_batch f;
	struct pheap_ioc_stat st;
	char *area;		/* a page, and behind it one that cannot be accessed */
};

FIXTURE_VARIANT(batch)
{
	__u64 maximum;
};

FIXTURE_VARIANT_ADD(batch, small_heap)
{
	.maximum = MIB,
};

FIXTURE_VARIANT_ADD(batch, large_heap)
{
	.maximum = 32 * MIB,
};

FIXTURE_SETUP(batch)
{
	struct pheap_ioc_create c;

	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	self->before = counters_get();
	ASSERT_EQ(0, raw_create(self->fd, 0, variant->maximum, 0, NULL, &c));
	self->heap = c.heap;
	self->base = c.base;
	self->area = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	ASSERT_NE(MAP_FAILED, self->area);
	ASSERT_EQ(0, mprotect(self->area + PAGE, PAGE, PROT_NONE));
}

FIXTURE_TEARDOWN(batch)
{
	munmap(self->area, 2 * PAGE);
	EXPECT_EQ(0, raw_destroy(self->fd, self->heap));
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	EXPECT_TRUE(counters_equal(self->before, counters_get()));
	close(self->fd);
}

/* The addresses of groups, in order. Their number. */
static unsigned int expand(const struct pheap_group *groups, __u32 nr_groups, __u64 usable,
			   __u64 *addrs, unsigned int room)
{
	unsigned int nr = 0;

	for (__u32 g = 0; g < nr_groups; g++)
		for (unsigned int bit = 0; bit < 64; bit++)
			if ((groups[g].mask >> bit) & 1 && nr < room)
				addrs[nr++] = groups[g].addr + bit * usable;
	return nr;
}

/* As many as the call gives. Their number, or -errno. */
static int batch_get(int fd, __u64 heap, __u64 bytes, __u32 wanted, __u64 *addrs, __u64 *usable)
{
	struct pheap_group groups[GROUPS];
	__u32 nr_groups = GROUPS, nr = wanted;
	int r;

	memset(groups, POISON_BYTE, sizeof(groups));
	r = raw_alloc_batch(fd, heap, bytes, groups, &nr_groups, &nr, usable);
	if (r)
		return r;
	if (!nr || nr > wanted || !nr_groups || nr_groups > GROUPS || *usable < bytes)
		return -EBADE;
	for (__u32 g = 0; g < nr_groups; g++)
		if (!groups[g].mask)
			return -EBADE;
	return expand(groups, nr_groups, *usable, addrs, MOST) == nr ? (int)nr : -EBADE;
}

static int batch_put(int fd, __u64 heap, const __u64 *addrs, __u32 nr)
{
	struct pheap_ioc_free_batch f;
	int r = raw_free_batch(fd, heap, addrs, nr, &f);

	return r ? r : f.nr_addrs == nr && !f.nr_refused ? 0 : -EBADE;
}

TEST_F_TIMEOUT(batch, blocks_are_distinct_usable_and_of_one_size, TIMEOUT)
{
	static const __u64 sizes[] = {
		0, 1, 16, 17, 48, 64, 100, 1000, 1024, 4096, 5000, 15360, 15361, 40000,
	};
	__u64 addrs[MOST], usable, size;

	for (unsigned int s = 0; s < ARRAY_LEN(sizes); s++) {
		__u32 wanted = sizes[s] <= 1024 ? MOST : 12;
		int nr = batch_get(self->fd, self->heap, sizes[s], wanted, addrs, &usable);

		ASSERT_LT(0, nr) {
			TH_LOG("size %llu", sizes[s]);
		}
		for (int i = 0; i < nr; i++) {
			ASSERT_EQ(0, addrs[i] % 16);
			ASSERT_LE(self->base, addrs[i]);
			ASSERT_GE(self->base + variant->maximum, addrs[i] + usable);
			EXPECT_EQ(0, raw_size(self->fd, self->heap, u64_to_ptr(addrs[i]), &size));
			EXPECT_EQ(usable, size);
			memset(u64_to_ptr(addrs[i]), i, usable);
		}
		for (int i = 0; i < nr; i++) {
			const unsigned char *p = u64_to_ptr(addrs[i]);

			for (__u64 k = 0; k < usable; k++)
				ASSERT_EQ((unsigned char)i, p[k]);
		}
		ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
		EXPECT_EQ(nr, self->st.nr_blocks);
		EXPECT_EQ(nr * usable, self->st.allocated_bytes);
		EXPECT_EQ(0, batch_put(self->fd, self->heap, addrs, nr));
		ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
		EXPECT_EQ(0, self->st.nr_blocks);
		EXPECT_EQ(0, self->st.allocated_bytes);
	}
	EXPECT_EQ(0, self->st.bad_frees);
}

TEST_F(batch, warm_heap_gives_all_that_is_wanted)
{
	__u64 addrs[MOST], usable;
	__u32 wanted;

	ASSERT_EQ(0, raw_commit(self->fd, self->heap, MIB, 0, NULL));
	for (wanted = 1; wanted <= MOST; wanted = wanted * 2 + (wanted == 4)) {
		ASSERT_EQ(wanted, batch_get(self->fd, self->heap, 64, wanted, addrs, &usable));
		EXPECT_EQ(64, usable);
		EXPECT_EQ(0, batch_put(self->fd, self->heap, addrs, wanted));
	}
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(MIB, self->st.committed_bytes);
}

TEST_F(batch, array_of_groups_that_is_full_ends_it)
{
	__u32 nr_groups = 1, nr = MOST;
	__u64 usable;

	ASSERT_EQ(0, raw_commit(self->fd, self->heap, MIB, 0, NULL));
	memset(self->groups, POISON_BYTE, sizeof(self->groups));
	ASSERT_EQ(0, raw_alloc_batch(self->fd, self->heap, 64, self->groups, &nr_groups, &nr,
				     &usable));
	EXPECT_EQ(1, nr_groups);
	EXPECT_LE(1, nr);
	EXPECT_GE(64, nr);
	EXPECT_EQ(nr, __builtin_popcountll(self->groups[0].mask));
	/* Nothing behind it is written. */
	EXPECT_EQ(POISON, self->groups[1].addr);
	EXPECT_EQ(POISON, self->groups[1].mask);
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(nr, self->st.nr_blocks);
	/* More room than a call can use is not looked at. */
	nr_groups = UINT32_MAX;
	nr = MOST;
	EXPECT_EQ(0, raw_alloc_batch(self->fd, self->heap, 64, self->groups, &nr_groups, &nr,
				     &usable));
	EXPECT_GE(GROUPS, nr_groups);
}

TEST_F_TIMEOUT(batch, heap_grows_until_full_and_says_so_once, TIMEOUT)
{
	__u64 addrs[MOST], usable, total = 0;
	int nr;

	while ((nr = batch_get(self->fd, self->heap, 1000, 100, addrs, &usable)) > 0)
		total += nr;
	EXPECT_EQ(-ENOSPC, nr);
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(total, self->st.nr_blocks);
	EXPECT_EQ(variant->maximum, self->st.committed_bytes);
	EXPECT_EQ(1, self->st.nr_failures);
	EXPECT_LE(variant->maximum * 95 / 100, self->st.allocated_bytes);
	EXPECT_EQ(-ENOSPC,
		  batch_get(self->fd, self->heap, variant->maximum + 1, 1, addrs, &usable));
	EXPECT_EQ(-ENOSPC, batch_get(self->fd, self->heap, UINT64_MAX, 1, addrs, &usable));
	/* One block is free: a batch of one. */
	EXPECT_EQ(0, raw_free(self->fd, self->heap, u64_to_ptr(self->base)));
	EXPECT_EQ(1, batch_get(self->fd, self->heap, 1000, MOST, addrs, &usable));
	EXPECT_EQ(self->base, addrs[0]);
}

TEST_F(batch, arguments_of_alloc_out_of_domain_are_EINVAL)
{
	static const struct {
		__u32 groups, blocks;
	} bad[] = {
		{ 0, 1 }, { 0, MOST }, { 0, 0 }, { 1, 0 }, { 1, MOST + 1 }, { 1, UINT32_MAX },
		{ GROUPS, 1U << 31 },
	};
	__u64 usable;

	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++) {
		__u32 nr_groups = bad[i].groups, nr = bad[i].blocks;

		EXPECT_EQ(-EINVAL, raw_alloc_batch(self->fd, self->heap, 64, self->groups,
						   &nr_groups, &nr, &usable)) {
			TH_LOG("row %u", i);
		}
		EXPECT_EQ(bad[i].groups, nr_groups);
		EXPECT_EQ(bad[i].blocks, nr);
		EXPECT_EQ(POISON, usable);
	}
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(0, self->st.nr_allocs);
	EXPECT_EQ(0, self->st.nr_failures);
}

TEST_F(batch, groups_that_cannot_be_written_are_EFAULT_and_nothing_stays)
{
	void *bad[] = {
		NULL,
		(void *)1,
		self->area + PAGE,
		self->area + PAGE - sizeof(struct pheap_group),	/* the first can */
		u64_to_ptr(0xffff888000000000),
	};
	__u64 usable;
	void *p;

	ASSERT_EQ(0, raw_commit(self->fd, self->heap, MIB, 0, NULL));
	ASSERT_EQ(0, raw_alloc(self->fd, self->heap, 64, &p));
	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++) {
		__u32 nr_groups = GROUPS, nr = MOST;

		EXPECT_EQ(-EFAULT, raw_alloc_batch(self->fd, self->heap, 64, bad[i], &nr_groups,
						   &nr, &usable)) {
			TH_LOG("pointer %p", bad[i]);
		}
		ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
		EXPECT_EQ(1, self->st.nr_blocks);
		EXPECT_EQ(64, self->st.allocated_bytes);
		EXPECT_EQ(0, self->st.bad_frees);
	}
	EXPECT_EQ(0, raw_free(self->fd, self->heap, p));
}

TEST_F(batch, blocks_of_all_sizes_and_origins_are_freed_together)
{
	__u64 addrs[MOST + 1], usable;
	void *p;
	int nr;

	nr = batch_get(self->fd, self->heap, 100, 50, addrs, &usable);
	ASSERT_LT(0, nr);
	/* One by one what came by a batch, by a batch what came one by one. */
	EXPECT_EQ(0, raw_free(self->fd, self->heap, u64_to_ptr(addrs[--nr])));
	for (; nr < 300; nr++) {
		ASSERT_EQ(0, raw_alloc(self->fd, self->heap, nr % 50 ? nr * 5 : 20000, &p));
		addrs[nr] = ptr_to_u64(p);
	}
	EXPECT_EQ(0, batch_put(self->fd, self->heap, addrs, nr));
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(0, self->st.nr_blocks);
	EXPECT_EQ(0, self->st.bad_frees);
}

TEST_F(batch, what_is_no_block_is_refused_and_told_exactly)
{
	__u64 addrs[MOST], expected[MOST / 64] = {}, usable;
	int nr, nr_bad = 0;

	nr = batch_get(self->fd, self->heap, 48, 300, addrs, &usable);
	ASSERT_LT(20, nr);
	for (int i = nr; i < MOST; i++) {
		const __u64 bad[] = {
			addrs[i % nr],				/* twice */
			addrs[i % nr] + 16,			/* inside */
			addrs[i % nr] + 1,
			self->base + variant->maximum,
			ptr_to_u64(&nr),
			1,
			UINT64_MAX,
			0,					/* allowed */
		};

		addrs[i] = bad[i % ARRAY_LEN(bad)];
		if (!addrs[i])
			continue;
		expected[i / 64] |= 1ULL << (i % 64);
		nr_bad++;
	}
	ASSERT_EQ(0, raw_free_batch(self->fd, self->heap, addrs, MOST, &self->f));
	EXPECT_EQ(MOST, self->f.nr_addrs);
	EXPECT_EQ(nr_bad, self->f.nr_refused);
	EXPECT_EQ(0, memcmp(expected, self->f.refused, sizeof(expected)));
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(0, self->st.nr_blocks);
	EXPECT_EQ(nr, self->st.nr_frees);
	EXPECT_EQ(nr_bad, self->st.bad_frees);
	/* All of them are refused now, and words that a batch does not reach are 0. */
	ASSERT_EQ(0, raw_free_batch(self->fd, self->heap, addrs, 20, &self->f));
	EXPECT_EQ(20, self->f.nr_refused);
	EXPECT_EQ((1 << 20) - 1, self->f.refused[0]);
	for (unsigned int i = 1; i < ARRAY_LEN(self->f.refused); i++)
		EXPECT_EQ(0, self->f.refused[i]);
}

TEST_F(batch, block_of_another_heap_is_refused)
{
	struct pheap_ioc_create c;
	__u64 addr;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 0, variant->maximum, 0, NULL, &c));
	ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 64, &p));
	addr = ptr_to_u64(p);
	ASSERT_EQ(0, raw_free_batch(self->fd, self->heap, &addr, 1, &self->f));
	EXPECT_EQ(1, self->f.nr_refused);
	EXPECT_EQ(0, batch_put(self->fd, c.heap, &addr, 1));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F(batch, number_of_addresses_out_of_domain_is_EINVAL)
{
	static const __u32 bad[] = { 0, MOST + 1, UINT32_MAX };
	__u64 addrs[MOST], usable;

	ASSERT_LT(0, batch_get(self->fd, self->heap, 48, 10, addrs, &usable));
	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++)
		EXPECT_EQ(-EINVAL, raw_free_batch(self->fd, self->heap, addrs, bad[i], &self->f));
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(0, self->st.nr_frees);
	EXPECT_EQ(0, self->st.bad_frees);
}

TEST_F(batch, addresses_that_cannot_be_read_are_EFAULT_or_cut_short)
{
	__u64 addrs[MOST], usable, *end = (__u64 *)(self->area + PAGE);
	int nr = batch_get(self->fd, self->heap, 48, 400, addrs, &usable);

	while (nr < 200) {
		int more = batch_get(self->fd, self->heap, 48, 200, addrs + nr, &usable);

		ASSERT_LT(0, more);
		nr += more;
	}
	EXPECT_EQ(-EFAULT, raw_free_batch(self->fd, self->heap, NULL, 1, &self->f));
	EXPECT_EQ(-EFAULT, raw_free_batch(self->fd, self->heap, end, MOST, &self->f));
	end[-1] = addrs[0];
	EXPECT_EQ(-EFAULT, raw_free_batch(self->fd, self->heap, end - 1, 2, &self->f));
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(0, self->st.nr_frees);
	/* Room for 150 of 200: some of the first are done, exactly as many as told. */
	memcpy(end - 150, addrs, 150 * sizeof(*addrs));
	ASSERT_EQ(0, raw_free_batch(self->fd, self->heap, end - 150, 200, &self->f));
	EXPECT_LT(0, self->f.nr_addrs);
	EXPECT_GE(150, self->f.nr_addrs);
	EXPECT_EQ(0, self->f.nr_refused);
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(self->f.nr_addrs, self->st.nr_frees);
	EXPECT_EQ(-EINVAL, raw_size(self->fd, self->heap,
				    u64_to_ptr(addrs[self->f.nr_addrs - 1]), &usable));
	EXPECT_EQ(0, batch_put(self->fd, self->heap, addrs + self->f.nr_addrs,
			       nr - self->f.nr_addrs));
}

/* Two threads that allocate, mark, and hand what they have to each other to check and free. */
struct worker {
	int fd;
	__u64 heap;
	unsigned int nr;
	__u64 (*slots)[64];
	pthread_mutex_t *lock;
	unsigned long nr_wrong;
};

#define NR_SLOTS	16
#define NR_ROUNDS	3000

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	__u32 random = w->nr + 1;

	for (unsigned int i = 0; i < NR_ROUNDS; i++) {
		__u64 addrs[MOST] = {}, old[64], usable, bytes;
		int nr;

		random = random * 1664525 + 1013904223;
		bytes = 16 + (random >> 16) % 200;
		nr = batch_get(w->fd, w->heap, bytes, 64, addrs, &usable);
		if (nr <= 0) {
			w->nr_wrong++;
			continue;
		}
		/* The first two words of a block tell whose it is. */
		for (int k = 0; k < nr; k++) {
			((__u64 *)u64_to_ptr(addrs[k]))[0] = addrs[k];
			((__u64 *)u64_to_ptr(addrs[k]))[1] = i;
		}
		pthread_mutex_lock(w->lock);
		memcpy(old, w->slots[(random >> 8) % NR_SLOTS], sizeof(old));
		memcpy(w->slots[(random >> 8) % NR_SLOTS], addrs, sizeof(old));
		pthread_mutex_unlock(w->lock);
		for (nr = 0; nr < 64 && old[nr]; nr++)
			w->nr_wrong += *(__u64 *)u64_to_ptr(old[nr]) != old[nr];
		if (nr && batch_put(w->fd, w->heap, old, 64))
			w->nr_wrong++;
	}
	return NULL;
}

TEST_F_TIMEOUT(batch, two_threads, TIMEOUT)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	__u64 slots[NR_SLOTS][64] = {};
	struct worker w[2];
	pthread_t thread[2];

	for (unsigned int i = 0; i < 2; i++) {
		w[i] = (struct worker){
			.fd = self->fd, .heap = self->heap, .nr = i, .slots = slots, .lock = &lock,
		};
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, worker_run, &w[i]));
	}
	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(thread[i], NULL));
		EXPECT_EQ(0, w[i].nr_wrong);
	}
	for (unsigned int i = 0; i < NR_SLOTS; i++)
		EXPECT_EQ(0, batch_put(self->fd, self->heap, slots[i], 64));
	ASSERT_EQ(0, raw_stat(self->fd, self->heap, &self->st));
	EXPECT_EQ(0, self->st.nr_blocks);
	EXPECT_EQ(0, self->st.allocated_bytes);
	EXPECT_EQ(0, self->st.bad_frees);
	EXPECT_EQ(0, self->st.nr_failures);
}

TEST_HARNESS_MAIN
