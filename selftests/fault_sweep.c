// SPDX-License-Identifier: GPL-2.0
/*
 * Every failure point of every command: the n-th allocation, or access to user memory, that the
 * kernel makes in the call fails, for n = 1, 2, ... until the call gets through without.
 *
 * Whatever fails, the call ends with ENOMEM or EFAULT or does without, the heaps are what they were
 * before, and the same call works afterwards. Needs a kernel with fault injection (make
 * check-debug); elsewhere the tests are skipped.
 */
#include "pheap_test.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include "kselftest_harness.h"

#define DEBUGFS		"/sys/kernel/debug/"
/* More failure points than any call has. */
#define MAX_POINTS	5000
#define TIMEOUT		600

/* All kinds of failures on, nothing of them in the kernel log, none unless asked for. */
static const char * const settings[][2] = {
	{ DEBUGFS "failslab/ignore-gfp-wait", "0" },
	{ DEBUGFS "failslab/verbose", "0" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "0" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "0" },
	{ DEBUGFS "fail_page_alloc/min-order", "0" },
	{ DEBUGFS "fail_page_alloc/verbose", "0" },
	{ DEBUGFS "fail_usercopy/verbose", "0" },
};

/* What a call works on; made anew for each failure point. */
struct scene {
	int fd;
	__u64 maximum;
	__u64 initial;
	__u64 bytes;
	__u32 flags;
	const char *name;
	struct pheap_ioc_create c;
	void *block;
};

/* Switches injection on; opens the device and the calling thread's counter. -ENOENT: not here. */
static int injection_start(int *nth_fd)
{
	unsigned int i;
	int ret;

	*nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (*nth_fd < 0)
		return -ENOENT;
	for (i = 0; i < ARRAY_LEN(settings); i++) {
		ret = file_write(settings[i][0], settings[i][1]);
		if (ret)
			return -EIO;
	}
	return device_open();
}

static bool fail_nth_set(int fd, int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	return pwrite(fd, text, len, 0) == len;
}

/*
 * Ends the injection; true if a failure was injected. Reading the counter counts, too: if that is
 * what fails, nothing before it did.
 */
static bool fail_nth_end(int fd)
{
	char text[16] = "";
	bool injected = pread(fd, text, sizeof(text) - 1, 0) > 0 && text[0] == '0';

	while (!fail_nth_set(fd, 0))
		;
	return injected;
}

static int make_heap(struct scene *s)
{
	return raw_create(s->fd, s->initial, s->maximum, 0, NULL, &s->c);
}

static int drop_heap(struct scene *s)
{
	return raw_destroy(s->fd, s->c.heap);
}

static int make_block(struct scene *s)
{
	int ret = make_heap(s);

	return ret ? ret : raw_alloc(s->fd, s->c.heap, s->bytes, &s->block);
}

static int nothing(struct scene *s)
{
	return 0;
}

static int do_create(struct scene *s)
{
	return raw_create(s->fd, s->initial, s->maximum, s->flags, s->name, &s->c);
}

static int do_alloc(struct scene *s)
{
	__u64 usable;

	return raw_alloc_full(s->fd, s->c.heap, s->bytes, 0, s->flags, &s->block, &usable);
}

static int do_free(struct scene *s)
{
	return raw_free(s->fd, s->c.heap, s->block);
}

static int do_reset(struct scene *s)
{
	return raw_reset(s->fd, s->c.heap);
}

static int do_alloc_batch(struct scene *s)
{
	struct pheap_group groups[PHEAP_BATCH_GROUPS];
	__u32 nr_groups = PHEAP_BATCH_GROUPS, nr = 200;
	__u64 usable;

	return raw_alloc_batch(s->fd, s->c.heap, s->bytes, groups, &nr_groups, &nr, &usable);
}

/* The block alone, so that a call that freed it cannot be repeated. */
static int do_free_batch(struct scene *s)
{
	__u64 addrs[100] = { [70] = ptr_to_u64(s->block) };
	struct pheap_ioc_free_batch f;
	int ret = raw_free_batch(s->fd, s->c.heap, addrs, ARRAY_LEN(addrs), &f);

	if (!ret && f.nr_addrs == 64)
		/* Cut short before the block: go on from there. */
		ret = raw_free_batch(s->fd, s->c.heap, addrs + 64, 36, &f);
	return ret ? ret : f.nr_refused ? -EBADE : 0;
}

static int do_size(struct scene *s)
{
	__u64 usable;

	return raw_size(s->fd, s->c.heap, s->block, &usable);
}

static int do_stat(struct scene *s)
{
	struct pheap_ioc_stat st;

	return raw_stat(s->fd, s->c.heap, &st);
}

static int do_info(struct scene *s)
{
	struct pheap_ioc_info info;

	return raw_info(s->fd, &info);
}

static int do_list(struct scene *s)
{
	struct pheap_list_entry entries[4];
	__u64 nr = ARRAY_LEN(entries);

	return raw_list(s->fd, entries, &nr);
}

static int do_commit(struct scene *s)
{
	__u64 committed;

	return raw_commit(s->fd, s->c.heap, s->bytes, s->flags, &committed);
}

/*
 * Whether a call that failed with @ret left the heap as it was. What it committed stays if only the
 * results could not be written: nothing is ever decommitted.
 */
static bool same_heap(struct scene *s, const struct pheap_ioc_stat *before, int ret)
{
	struct pheap_ioc_stat now;

	return !raw_stat(s->fd, s->c.heap, &now) &&
	       (now.committed_bytes == before->committed_bytes ||
		(ret == -EFAULT && now.committed_bytes > before->committed_bytes)) &&
	       now.allocated_bytes == before->allocated_bytes &&
	       now.nr_blocks == before->nr_blocks && now.reserved_bytes == before->reserved_bytes;
}

/*
 * @setup makes the scene, @call is swept, @cleanup ends what @call made if it worked, or else what
 * @setup made. @on_heap: the scene has a heap before the call.
 */
static void sweep(struct __test_metadata *_metadata, int nth_fd, struct scene *s,
		  int (*setup)(struct scene *s), int (*call)(struct scene *s),
		  int (*cleanup)(struct scene *s), bool on_heap)
{
	int nr_failed = 0, nr_without = 0, n;

	for (n = 1; n < MAX_POINTS; n++) {
		struct pheap_counters before;
		struct pheap_ioc_stat st;
		bool injected;
		int ret;

		ASSERT_EQ(0, setup(s));
		before = counters_get();
		if (on_heap)
			ASSERT_EQ(0, raw_stat(s->fd, s->c.heap, &st));
		ASSERT_TRUE(fail_nth_set(nth_fd, n));
		ret = call(s);
		injected = fail_nth_end(nth_fd);
		if (ret) {
			EXPECT_TRUE(injected);
			EXPECT_TRUE(ret == -ENOMEM || ret == -EFAULT) {
				TH_LOG("failure point %d: %s", n, strerror(-ret));
			}
			if (on_heap) {
				EXPECT_TRUE(same_heap(s, &st, ret)) {
					TH_LOG("failure point %d changed the heap", n);
				}
			} else {
				EXPECT_TRUE(counters_settle(before)) {
					TH_LOG("failure point %d left something", n);
				}
			}
			/* The next call works. */
			ASSERT_EQ(0, call(s)) {
				TH_LOG("the call after failure point %d", n);
			}
		}
		ASSERT_EQ(0, cleanup(s));
		if (!injected)
			break;
		nr_failed += ret != 0;
		nr_without += !ret;
	}
	ASSERT_GT(MAX_POINTS, n);
	EXPECT_LT(0, nr_failed);
	ksft_print_msg("%d failure points made the call fail, it did without %d\n", nr_failed,
		       nr_without);
}

FIXTURE(sweep)
{
	int fd;
	int nth_fd;
	struct pheap_counters start;
};

FIXTURE_VARIANT(sweep)
{
	int (*setup)(struct scene *s);
	int (*call)(struct scene *s);
	int (*cleanup)(struct scene *s);
	bool on_heap;
	__u64 maximum;
	__u64 initial;
	__u64 bytes;
	__u32 flags;
	const char *name;
};

FIXTURE_VARIANT_ADD(sweep, create_small) {
	.setup = nothing, .call = do_create, .cleanup = drop_heap, .on_heap = false,
	.maximum = 64 * KIB,
};

FIXTURE_VARIANT_ADD(sweep, create_named) {
	.setup = nothing, .call = do_create, .cleanup = drop_heap, .on_heap = false,
	.maximum = 64 * KIB, .name = "swept",
};

FIXTURE_VARIANT_ADD(sweep, create_of_pages) {
	.setup = nothing, .call = do_create, .cleanup = drop_heap, .on_heap = false,
	.maximum = 8 * MIB, .initial = 100 * KIB,
};

FIXTURE_VARIANT_ADD(sweep, create_populated) {
	.setup = nothing, .call = do_create, .cleanup = drop_heap, .on_heap = false,
	.maximum = 8 * MIB, .initial = 1 * MIB, .flags = PHEAP_COMMIT_POPULATE,
};

FIXTURE_VARIANT_ADD(sweep, create_growable) {
	.setup = nothing, .call = do_create, .cleanup = drop_heap, .on_heap = false,
};

FIXTURE_VARIANT_ADD(sweep, create_into_the_tail) {
	.setup = nothing, .call = do_create, .cleanup = drop_heap, .on_heap = false,
	.maximum = 256 * MIB, .initial = 19 * MIB, .flags = PHEAP_COMMIT_POPULATE,
};

FIXTURE_VARIANT_ADD(sweep, destroy_of_small) {
	.setup = make_heap, .call = drop_heap, .cleanup = nothing, .on_heap = true,
	.maximum = 64 * KIB,
};

FIXTURE_VARIANT_ADD(sweep, destroy_of_large) {
	.setup = make_heap, .call = drop_heap, .cleanup = nothing, .on_heap = true,
	.maximum = 256 * MIB, .initial = 20 * MIB,
};

FIXTURE_VARIANT_ADD(sweep, alloc_of_units) {
	.setup = make_heap, .call = do_alloc, .cleanup = drop_heap, .on_heap = true,
	.maximum = 64 * KIB, .bytes = 100,
};

FIXTURE_VARIANT_ADD(sweep, alloc_of_units_that_grows) {
	.setup = make_heap, .call = do_alloc, .cleanup = drop_heap, .on_heap = true,
	.maximum = 1 * MIB, .bytes = 100 * KIB,
};

FIXTURE_VARIANT_ADD(sweep, alloc_of_a_class) {
	.setup = make_heap, .call = do_alloc, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .initial = 64 * KIB, .bytes = 100,
};

FIXTURE_VARIANT_ADD(sweep, alloc_of_the_smallest_class) {
	.setup = make_heap, .call = do_alloc, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .initial = 64 * KIB, .bytes = 16,
};

FIXTURE_VARIANT_ADD(sweep, alloc_of_a_run_that_grows) {
	.setup = make_heap, .call = do_alloc, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .bytes = 3 * MIB,
};

FIXTURE_VARIANT_ADD(sweep, alloc_that_grows_into_the_tail) {
	.setup = make_heap, .call = do_alloc, .cleanup = drop_heap, .on_heap = true,
	.maximum = 256 * MIB, .initial = 15 * MIB, .bytes = 18 * MIB,
};

FIXTURE_VARIANT_ADD(sweep, alloc_zeroed) {
	.setup = make_heap, .call = do_alloc, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .bytes = 200 * KIB, .flags = PHEAP_ALLOC_ZERO,
};

FIXTURE_VARIANT_ADD(sweep, free_of_a_block) {
	.setup = make_block, .call = do_free, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .bytes = 100,
};

FIXTURE_VARIANT_ADD(sweep, alloc_batch_of_units) {
	.setup = make_heap, .call = do_alloc_batch, .cleanup = drop_heap, .on_heap = true,
	.maximum = 1 * MIB, .bytes = 100,
};

FIXTURE_VARIANT_ADD(sweep, alloc_batch_of_a_class) {
	.setup = make_heap, .call = do_alloc_batch, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .initial = 64 * KIB, .bytes = 100,
};

FIXTURE_VARIANT_ADD(sweep, alloc_batch_of_the_smallest_class) {
	.setup = make_heap, .call = do_alloc_batch, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .initial = 64 * KIB, .bytes = 16,
};

FIXTURE_VARIANT_ADD(sweep, alloc_batch_that_grows) {
	.setup = make_heap, .call = do_alloc_batch, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .bytes = 40 * KIB,
};

FIXTURE_VARIANT_ADD(sweep, free_batch) {
	.setup = make_block, .call = do_free_batch, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .bytes = 100,
};

FIXTURE_VARIANT_ADD(sweep, reset_of_a_heap) {
	.setup = make_heap, .call = do_reset, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB,
};

FIXTURE_VARIANT_ADD(sweep, size_of_a_block) {
	.setup = make_block, .call = do_size, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .bytes = 100,
};

FIXTURE_VARIANT_ADD(sweep, stat) {
	.setup = make_heap, .call = do_stat, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB,
};

FIXTURE_VARIANT_ADD(sweep, info) {
	.setup = make_heap, .call = do_info, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB,
};

FIXTURE_VARIANT_ADD(sweep, list) {
	.setup = make_heap, .call = do_list, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB,
};

FIXTURE_VARIANT_ADD(sweep, commit) {
	.setup = make_heap, .call = do_commit, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .bytes = 1 * MIB,
};

FIXTURE_VARIANT_ADD(sweep, commit_populated) {
	.setup = make_heap, .call = do_commit, .cleanup = drop_heap, .on_heap = true,
	.maximum = 8 * MIB, .bytes = 1 * MIB, .flags = PHEAP_COMMIT_POPULATE,
};

FIXTURE_VARIANT_ADD(sweep, commit_over_two_borders) {
	.setup = make_heap, .call = do_commit, .cleanup = drop_heap, .on_heap = true,
	.maximum = 256 * MIB, .initial = 15 * MIB, .bytes = 34 * MIB,
};

FIXTURE_SETUP(sweep)
{
	self->start = counters_get();
	self->fd = injection_start(&self->nth_fd);
	if (self->fd == -ENOENT)
		SKIP(return, "this kernel has no fault injection");
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(sweep)
{
	if (self->fd < 0)
		return;
	close(self->fd);
	EXPECT_TRUE(counters_settle(self->start));
	close(self->nth_fd);
}

TEST_F_TIMEOUT(sweep, every_failure_point, TIMEOUT)
{
	struct scene s = {
		.fd = self->fd, .maximum = variant->maximum, .initial = variant->initial,
		.bytes = variant->bytes, .flags = variant->flags, .name = variant->name,
	};

	sweep(_metadata, self->nth_fd, &s, variant->setup, variant->call, variant->cleanup,
	      variant->on_heap);
}

/* A touch of committed memory has nothing that could fail: not a page, not a page table. */
FIXTURE(first_touch)
{
	int fd;
	int nth_fd;
};

FIXTURE_VARIANT(first_touch)
{
	__u64 maximum;
	__u64 bytes;
};

FIXTURE_VARIANT_ADD(first_touch, small) { .maximum = 1 * MIB, .bytes = 1 * MIB };
FIXTURE_VARIANT_ADD(first_touch, pages) { .maximum = 8 * MIB, .bytes = 5 * MIB };
FIXTURE_VARIANT_ADD(first_touch, tail) { .maximum = 256 * MIB, .bytes = 21 * MIB };

FIXTURE_SETUP(first_touch)
{
	self->fd = injection_start(&self->nth_fd);
	if (self->fd == -ENOENT)
		SKIP(return, "this kernel has no fault injection");
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(first_touch)
{
	if (self->fd < 0)
		return;
	close(self->fd);
	close(self->nth_fd);
}

TEST_F_TIMEOUT(first_touch, allocates_nothing, TIMEOUT)
{
	struct pheap_ioc_create c;
	__u64 at;

	ASSERT_EQ(0, raw_create(self->fd, variant->bytes, variant->maximum, 0, NULL, &c));
	for (at = 0; at < variant->bytes; at += PAGE) {
		ASSERT_TRUE(fail_nth_set(self->nth_fd, 1));
		*(volatile char *)u64_to_ptr(c.base + at) = 1;
		/* The failure is still to come: there was no allocation to fail. */
		ASSERT_FALSE(fail_nth_end(self->nth_fd)) {
			TH_LOG("the touch at %llu allocates", at);
		}
	}
	ASSERT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_HARNESS_MAIN
