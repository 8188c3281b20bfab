// SPDX-License-Identifier: GPL-2.0
/*
 * The ABI of /dev/pheap, command by command: what INFO, CREATE, STAT and COMMIT tell, and every
 * error of their tables that a program can provoke.
 *
 * Blocks and their contents are the subject of alloc.c, limits that of limits.c, LIST and names
 * that of abi_list.c.
 */
#include "abi_env.h"
#include <sys/resource.h>
#include "kselftest_harness.h"

/* A reservation much larger than memory, as far as a 32-bit program can have one. */
#define LARGE_BYTES	(sizeof(void *) == 8 ? 1ULL << 40 : GIB)

FIXTURE(calls)
{
	struct env env;
	int fd;
};

FIXTURE_SETUP(calls)
{
	ASSERT_EQ(0, env_setup(&self->env));
	self->fd = self->env.fd;
}

FIXTURE_TEARDOWN(calls)
{
	close(self->fd);
}

TEST_F(calls, heap_that_is_not_there_is_ENOENT)
{
	static const unsigned int cmds[] = {
		PHEAP_IOC_DESTROY, PHEAP_IOC_ALLOC, PHEAP_IOC_FREE, PHEAP_IOC_SIZE, PHEAP_IOC_STAT,
		PHEAP_IOC_COMMIT, PHEAP_IOC_RESET, PHEAP_IOC_ALLOC_BATCH, PHEAP_IOC_FREE_BATCH,
	};
	struct env *e = &self->env;
	struct pheap_ioc_create gone;
	struct snapshot before, after;
	unsigned int i, j;

	ASSERT_EQ(0, raw_create(self->fd, 0, PAGE, 0, NULL, &gone));
	ASSERT_EQ(0, raw_destroy(self->fd, gone.heap));
	before = snapshot_take(e);
	for (i = 0; i < ARRAY_LEN(cmds); i++) {
		const __u64 ids[] = {
			0, gone.heap, gone.heap + 1, e->heap ^ 1ULL << 63, e->heap ^ 1ULL << 32,
			UINT64_MAX, UINT32_MAX, e->base,
		};

		for (j = 0; j < ARRAY_LEN(ids); j++) {
			fill_valid(e, cmds[i], e->area);
			/* The identifier follows size and flags in all of them. */
			memcpy(e->area + 8, &ids[j], sizeof(ids[j]));
			EXPECT_EQ(-ENOENT, raw_ioctl(self->fd, cmds[i], e->area)) {
				TH_LOG("command %#x heap %#llx", cmds[i], ids[j]);
			}
		}
	}
	after = snapshot_take(e);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(calls, info_tells_version_and_constants)
{
	struct pheap_ioc_info info;

	ASSERT_EQ(0, raw_info(self->fd, &info));
	EXPECT_EQ(sizeof(info), info.size);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(PHEAP_ABI_VERSION, info.abi_version);
	EXPECT_EQ(sysconf(_SC_PAGESIZE), info.page_bytes);
	EXPECT_EQ(PHEAP_FEATURE_NAMES | PHEAP_FEATURE_RESET | PHEAP_FEATURE_BATCH, info.features);
	EXPECT_LE(LARGE_BYTES, info.max_reserve_bytes);
	EXPECT_EQ(0, info.max_reserve_bytes % PAGE);
	EXPECT_EQ(2 * MIB, info.max_align_bytes);
	EXPECT_EQ(MIB, info.small_heap_bytes);
	EXPECT_EQ(0, info.reserved);
}

TEST_F(calls, info_tells_the_limits_in_force)
{
	struct pheap_ioc_info info;

	ASSERT_EQ(0, raw_info(self->fd, &info));
	EXPECT_EQ(param_get("system_limit_pages") * PAGE, info.system_limit_bytes);
	EXPECT_EQ(param_get("user_limit_pages") * PAGE, info.user_limit_bytes);
	EXPECT_EQ(param_get("process_limit_pages") * PAGE, info.process_limit_bytes);
	EXPECT_EQ(param_get("reserve_pages") * PAGE, info.reserve_bytes);
	EXPECT_EQ(param_get("user_limit_heaps"), info.user_limit_heaps);
	EXPECT_LT(0, param_get("system_limit_pages"));
	EXPECT_LT(0, param_get("user_limit_heaps"));
}

TEST_F(calls, info_counts_heaps_and_charge_of_this_process)
{
	struct pheap_ioc_info one, two, none;
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;

	ASSERT_EQ(0, raw_info(self->fd, &one));
	ASSERT_EQ(0, raw_stat(self->fd, self->env.heap, &st));
	EXPECT_EQ(1, one.process_nr_heaps);
	EXPECT_LE(st.committed_bytes + st.metadata_bytes, one.process_charged_bytes);
	ASSERT_EQ(0, raw_create(self->fd, 128 * KIB, MIB, 0, NULL, &c));
	ASSERT_EQ(0, raw_info(self->fd, &two));
	EXPECT_EQ(2, two.process_nr_heaps);
	EXPECT_LE(one.process_charged_bytes + 128 * KIB, two.process_charged_bytes);
	ASSERT_EQ(0, raw_destroy(self->fd, c.heap));
	ASSERT_EQ(0, raw_info(self->fd, &two));
	EXPECT_EQ(one.process_charged_bytes, two.process_charged_bytes);
	ASSERT_EQ(0, raw_destroy(self->fd, self->env.heap));
	ASSERT_EQ(0, raw_info(self->fd, &none));
	EXPECT_EQ(0, none.process_nr_heaps);
	EXPECT_EQ(0, none.process_charged_bytes);
}

TEST_F(calls, stat_tells_what_create_told)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;

	ASSERT_EQ(0, raw_create(self->fd, 5 * PAGE, 7 * PAGE, 0, NULL, &c));
	EXPECT_EQ(7 * PAGE, c.reserved_bytes);
	EXPECT_EQ(5 * PAGE, c.committed_bytes);
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(c.heap, st.heap);
	EXPECT_EQ(c.base, st.base);
	EXPECT_EQ(c.reserved_bytes, st.reserved_bytes);
	EXPECT_EQ(c.committed_bytes, st.committed_bytes);
	EXPECT_EQ(c.committed_bytes, st.peak_committed_bytes);
	EXPECT_EQ(0, st.allocated_bytes);
	EXPECT_EQ(0, st.nr_blocks);
	EXPECT_EQ(0, st.nr_failures);
	EXPECT_EQ(0, st.bad_frees);
	EXPECT_EQ(0, st.nr_allocs);
	EXPECT_EQ(0, st.nr_frees);
	EXPECT_EQ(0, st.nr_faults);
	EXPECT_LT(0, st.metadata_bytes);
}

TEST_F(calls, inputs_of_create_are_returned_unchanged)
{
	struct pheap_ioc_create c;

	ASSERT_EQ(0, raw_create(self->fd, 5, 7 * PAGE + 1, 0, "kept", &c));
	EXPECT_EQ(sizeof(c), c.size);
	EXPECT_EQ(0, c.flags);
	EXPECT_EQ(5, c.initial_bytes);
	EXPECT_EQ(7 * PAGE + 1, c.maximum_bytes);
	EXPECT_STREQ("kept", (char *)c.name);
	EXPECT_EQ(8 * PAGE, c.reserved_bytes);
	EXPECT_EQ(PAGE, c.committed_bytes);
}

TEST_F(calls, create_rounds_and_clamps)
{
	static const struct {
		__u64 initial, maximum, committed, reserved;
	} rows[] = {
		{ 0, 1, PAGE, PAGE },
		{ 1, 1, PAGE, PAGE },
		{ PAGE, PAGE, PAGE, PAGE },
		{ PAGE + 1, 2 * PAGE, 2 * PAGE, 2 * PAGE },
		{ 0, PAGE + 1, PAGE, 2 * PAGE },
		{ 64 * KIB, PAGE, PAGE, PAGE },
		{ UINT64_MAX, 64 * KIB, 64 * KIB, 64 * KIB },
		{ UINT64_MAX - PAGE + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB },
		{ 0, 2 * MIB, PAGE, 2 * MIB },
		{ 0, 2 * MIB + 1, PAGE, 2 * MIB + PAGE },
		{ 3 * MIB, LARGE_BYTES, 3 * MIB, LARGE_BYTES },
	};
	struct pheap_ioc_create c;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		ASSERT_EQ(0, raw_create(self->fd, rows[i].initial, rows[i].maximum, 0, NULL, &c)) {
			TH_LOG("row %u", i);
		}
		EXPECT_EQ(rows[i].committed, c.committed_bytes);
		EXPECT_EQ(rows[i].reserved, c.reserved_bytes);
		EXPECT_EQ(0, c.base % (c.reserved_bytes >= 2 * MIB ? 2 * MIB : PAGE));
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	}
}

TEST_F(calls, create_beyond_the_largest_maximum_is_ENOMEM)
{
	struct snapshot before = snapshot_take(&self->env), after;
	struct pheap_ioc_create c;
	struct pheap_ioc_info info;

	ASSERT_EQ(0, raw_info(self->fd, &info));
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, info.max_reserve_bytes + 1, 0, NULL, &c));
	EXPECT_EQ(POISON, c.heap);
	EXPECT_EQ(POISON, c.base);
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, 1ULL << 63, 0, NULL, &c));
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, UINT64_MAX - PAGE + 1, 0, NULL, &c));
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, UINT64_MAX, 0, NULL, &c));
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(calls, create_without_address_space_is_ENOMEM)
{
	struct snapshot before = snapshot_take(&self->env), after;
	struct rlimit rl = { .rlim_cur = 512 * MIB, .rlim_max = RLIM_INFINITY };
	struct pheap_ioc_create c;

	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &rl));
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, GIB, 0, NULL, &c));
	EXPECT_EQ(POISON, c.heap);
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
	EXPECT_EQ(0, raw_create(self->fd, 0, 64 * MIB, 0, NULL, &c));
}

TEST_F(calls, growable_heap_takes_at_most_a_quarter_of_the_address_limit)
{
	struct rlimit rl = { .rlim_cur = 512 * MIB, .rlim_max = RLIM_INFINITY };
	struct pheap_ioc_create c;

	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &rl));
	ASSERT_EQ(0, raw_create(self->fd, 0, 0, 0, NULL, &c));
	EXPECT_LE(64 * MIB, c.reserved_bytes);
	EXPECT_GE(128 * MIB, c.reserved_bytes);
}

TEST_F(calls, identifiers_are_never_reissued)
{
	struct pheap_ioc_create c;
	__u64 last = self->env.heap;
	int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, raw_create(self->fd, 0, PAGE, 0, NULL, &c));
		EXPECT_LT(last, c.heap);
		last = c.heap;
		ASSERT_EQ(0, raw_destroy(self->fd, c.heap));
		EXPECT_EQ(-ENOENT, raw_destroy(self->fd, c.heap));
	}
}

TEST_F(calls, alignment_that_is_no_power_of_two_or_too_large_is_EINVAL)
{
	static const __u64 bad[] = {
		3, 17, 24, 48, 4095, 4097, 2 * MIB + 1, 2 * MIB - 1, 4 * MIB, 1ULL << 32,
		1ULL << 63, UINT64_MAX,
	};
	struct snapshot before = snapshot_take(&self->env), after;
	unsigned int i;
	void *p;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		EXPECT_EQ(-EINVAL,
			  raw_alloc_full(self->fd, self->env.heap, 64, bad[i], 0, &p, NULL)) {
			TH_LOG("alignment %#llx", bad[i]);
		}
		EXPECT_EQ(NULL, p);
	}
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(calls, alloc_beyond_the_maximum_is_ENOSPC_and_counted)
{
	static const __u64 bad[] = {
		MIB + 1, 1ULL << 32, 1ULL << 63, UINT64_MAX - 15, UINT64_MAX - PAGE + 1, UINT64_MAX,
	};
	struct snapshot before = snapshot_take(&self->env), after;
	unsigned int i;
	__u64 usable;
	void *p;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		EXPECT_EQ(-ENOSPC,
			  raw_alloc_full(self->fd, self->env.heap, bad[i], 0, 0, &p, &usable)) {
			TH_LOG("size %#llx", bad[i]);
		}
		EXPECT_EQ(NULL, p);
		EXPECT_EQ(POISON, usable);
	}
	after = snapshot_take(&self->env);
	EXPECT_EQ(before.stat.nr_failures + ARRAY_LEN(bad), after.stat.nr_failures);
	after.stat.nr_failures = before.stat.nr_failures;
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(calls, commit_grows_never_shrinks_and_stops_at_the_maximum)
{
	static const __u64 bad[] = { MIB + 1, 1ULL << 63, UINT64_MAX - PAGE + 2, UINT64_MAX };
	__u64 heap = self->env.heap, committed;
	struct pheap_ioc_stat st;
	unsigned int i;

	EXPECT_EQ(0, raw_commit(self->fd, heap, 0, 0, &committed));
	EXPECT_EQ(64 * KIB, committed);
	EXPECT_EQ(0, raw_commit(self->fd, heap, 64 * KIB, 0, &committed));
	EXPECT_EQ(64 * KIB, committed);
	EXPECT_EQ(0, raw_commit(self->fd, heap, 200 * KIB - 1, 0, &committed));
	EXPECT_LE(200 * KIB, committed);
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		__u64 out;

		EXPECT_EQ(-ENOSPC, raw_commit(self->fd, heap, bad[i], 0, &out));
		EXPECT_EQ(POISON, out);
	}
	ASSERT_EQ(0, raw_stat(self->fd, heap, &st));
	EXPECT_EQ(committed, st.committed_bytes);
	EXPECT_EQ(ARRAY_LEN(bad), st.nr_failures);
	EXPECT_EQ(0, raw_commit(self->fd, heap, MIB, PHEAP_COMMIT_POPULATE, &committed));
	EXPECT_EQ(MIB, committed);
	EXPECT_EQ(0, raw_commit(self->fd, heap, PAGE, PHEAP_COMMIT_POPULATE, &committed));
	EXPECT_EQ(MIB, committed);
	ASSERT_EQ(0, raw_stat(self->fd, heap, &st));
	EXPECT_EQ(MIB, st.peak_committed_bytes);
}

TEST_HARNESS_MAIN
