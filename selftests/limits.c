// SPDX-License-Identifier: GPL-2.0
/*
 * The limits of the module: pages of the system, of a user and of a process, heaps of a user, and
 * the reserve of memory that nobody gets.
 *
 * Every test sets the limits it needs as root, works as an ordinary user in a child process where a
 * limit must bind, and ends with the counters of the module where they were. The teardown restores
 * the limits. Children report the first step that went wrong by its line.
 */
#include "pheap_test.h"
#include <sys/mman.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define OTHER_UID	1001

static const char * const limits[] = {
	"system_limit_pages", "user_limit_pages", "process_limit_pages", "user_limit_heaps",
	"reserve_pages",
};

FIXTURE(limits)
{
	int fd;
	long long saved[ARRAY_LEN(limits)];
	struct pheap_counters start;
};

FIXTURE_SETUP(limits)
{
	unsigned int i;

	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	for (i = 0; i < ARRAY_LEN(limits); i++) {
		self->saved[i] = param_get(limits[i]);
		ASSERT_LT(0, self->saved[i]);
	}
	self->start = counters_get();
}

FIXTURE_TEARDOWN(limits)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(limits); i++)
		EXPECT_EQ(0, param_set(limits[i], self->saved[i]));
	EXPECT_TRUE(counters_settle(self->start));
	close(self->fd);
}

/* In a child: ends it with the line of the first step that is not so. */
#define step(condition) do { \
	if (!(condition)) { \
		printf("# line %d: not so: %s (errno %d)\n", __LINE__, #condition, errno); \
		fflush(stdout); \
		_exit(1); \
	} \
} while (0)

/*
 * Runs @fn in a child that became @uid (0: stays what it is); returns its exit status, or -EBUSY if
 * what it had does not come back.
 */
static int run_as(uid_t uid, void (*fn)(int fd, void *arg), int fd, void *arg)
{
	struct pheap_counters before = counters_get();
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		if (uid)
			step(!drop_privileges(uid));
		fn(fd, arg);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	if (!counters_settle(before))
		return -EBUSY;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct heap_limit {
	unsigned int heaps;
};

static void exceed_user_heaps(int fd, void *arg)
{
	const struct heap_limit *limit = arg;
	struct pheap_counters before, after;
	struct pheap_ioc_create c, first = { 0 };
	unsigned int i;

	for (i = 0; i < limit->heaps; i++) {
		step(!raw_create(fd, 0, 64 * KIB, 0, NULL, &c));
		if (!i)
			first = c;
	}
	before = counters_get();
	step(raw_create(fd, 0, 64 * KIB, 0, NULL, &c) == -EDQUOT);
	step(c.heap == POISON && c.base == POISON);
	step(raw_create(fd, 0, 64 * KIB, 0, "named", &c) == -EDQUOT);
	after = counters_get();
	step(counters_equal(before, after));
	step(nr_heaps_own(fd) == limit->heaps);
	/* One less, one more. */
	step(!raw_destroy(fd, first.heap));
	step(!raw_create(fd, 0, 64 * KIB, 0, NULL, &c));
	step(raw_create(fd, 0, 64 * KIB, 0, NULL, &c) == -EDQUOT);
}

TEST_F(limits, heaps_of_a_user_beyond_the_limit_are_EDQUOT)
{
	struct heap_limit limit = { 10 };

	ASSERT_EQ(0, param_set("user_limit_heaps", 10));
	EXPECT_EQ(0, run_as(TEST_UID, exceed_user_heaps, self->fd, &limit));
}

static void fork_for_more_heaps(int fd, void *arg)
{
	struct heap_limit limit = { 4 };
	struct pheap_ioc_create c;
	unsigned int i;

	(void)arg;
	for (i = 0; i < 6; i++)
		step(!raw_create(fd, 0, 64 * KIB, 0, NULL, &c));
	/* The child has no heaps, but it is the same user. */
	step(!run_as(0, exceed_user_heaps, fd, &limit));
	step(!raw_create(fd, 0, 64 * KIB, 0, NULL, &c));
}

TEST_F(limits, heaps_of_a_user_are_not_evaded_by_fork)
{
	ASSERT_EQ(0, param_set("user_limit_heaps", 10));
	EXPECT_EQ(0, run_as(TEST_UID, fork_for_more_heaps, self->fd, NULL));
}

/*
 * With @pages allowed: create, commit and alloc stop there with EDQUOT, what was had stays good,
 * and after destroy all of it is there again. Metadata counts as well: an eighth is left to it.
 */
static void exceed_pages(int fd, void *arg)
{
	__u64 pages = *(__u64 *)arg, bytes = pages * PAGE, committed, least = bytes - bytes / 8;
	struct pheap_counters before, after;
	struct pheap_ioc_create c, big;
	struct pheap_ioc_stat st, now;
	unsigned int round;
	__u64 sum;
	void *p;
	int r;

	/* Create. */
	before = counters_get();
	step(raw_create(fd, bytes + PAGE, 4 * bytes, 0, NULL, &big) == -EDQUOT);
	step(big.heap == POISON);
	after = counters_get();
	step(counters_equal(before, after));
	step(nr_heaps_own(fd) == 0);

	for (round = 0; round < 2; round++) {
		/* Commit. */
		step(!raw_create(fd, 0, 4 * bytes, 0, NULL, &c));
		step(raw_commit(fd, c.heap, bytes + PAGE, 0, &committed) == -EDQUOT);
		step(committed == POISON);
		step(!raw_stat(fd, c.heap, &st));
		step(st.committed_bytes == PAGE && st.nr_failures == 1);
		step(!raw_commit(fd, c.heap, bytes / 2, PHEAP_COMMIT_POPULATE, &committed));
		step(committed >= bytes / 2);

		/* Alloc: fails in the end, not before the limit is used. */
		sum = 0;
		while (!(r = raw_alloc(fd, c.heap, 10000, &p))) {
			memset(p, 0x5A, 10000);
			sum += 10000;
			step(sum < 4 * bytes);
		}
		step(r == -EDQUOT);
		step(!p);
		step(!raw_stat(fd, c.heap, &st));
		step(st.committed_bytes <= bytes);
		step(st.committed_bytes >= least);
		step(sum >= least - bytes / 8);
		step(raw_alloc(fd, c.heap, bytes / 2, &p) == -EDQUOT);
		step(!raw_stat(fd, c.heap, &now));
		step(now.committed_bytes == st.committed_bytes && now.nr_blocks == st.nr_blocks);
		step(now.nr_failures == st.nr_failures + 1);
		/* The heap's own maximum is another matter, and told apart. */
		step(raw_alloc(fd, c.heap, 4 * bytes + 1, &p) == -ENOSPC);
		step(!raw_destroy(fd, c.heap));
	}
	after = counters_get();
	step(counters_equal(before, after));
}

TEST_F(limits, pages_of_a_user_beyond_the_limit_are_EDQUOT)
{
	__u64 pages = 4096;

	ASSERT_EQ(0, param_set("user_limit_pages", pages));
	EXPECT_EQ(0, run_as(TEST_UID, exceed_pages, self->fd, &pages));
}

TEST_F(limits, pages_of_a_process_beyond_the_limit_are_EDQUOT)
{
	__u64 pages = 4096;

	ASSERT_EQ(0, param_set("process_limit_pages", pages));
	EXPECT_EQ(0, run_as(TEST_UID, exceed_pages, self->fd, &pages));
}

TEST_F(limits, pages_of_the_system_beyond_the_limit_are_EDQUOT)
{
	__u64 pages = 4096;

	ASSERT_EQ(0, param_set("system_limit_pages", self->start.committed_pages + pages));
	EXPECT_EQ(0, run_as(TEST_UID, exceed_pages, self->fd, &pages));
}

/* Commits @bytes in one heap, which lives until the process ends. */
static void take_bytes(int fd, void *arg)
{
	struct pheap_ioc_create c;

	step(!raw_create(fd, *(__u64 *)arg, 64 * MIB, 0, NULL, &c));
}

static void fail_to_take_bytes(int fd, void *arg)
{
	struct pheap_counters before = counters_get();
	struct pheap_ioc_create c;

	step(raw_create(fd, *(__u64 *)arg, 64 * MIB, 0, NULL, &c) == -EDQUOT);
	step(counters_equal(before, counters_get()));
}

static void take_and_fork(int fd, void *arg)
{
	__u64 much = 10 * MIB, little = 4 * MIB;

	(void)arg;
	take_bytes(fd, &much);
	/* 16 MiB for the user: 10 here, and not 10 more in a child, but 4. */
	step(!run_as(0, fail_to_take_bytes, fd, &much));
	step(!run_as(0, take_bytes, fd, &little));
	step(!run_as(0, take_bytes, fd, &little));
}

TEST_F(limits, pages_of_a_user_are_not_evaded_by_fork)
{
	ASSERT_EQ(0, param_set("user_limit_pages", 4096));
	EXPECT_EQ(0, run_as(TEST_UID, take_and_fork, self->fd, NULL));
}

static void take_and_ask_another_process(int fd, void *arg)
{
	__u64 much = 10 * MIB;

	(void)arg;
	take_bytes(fd, &much);
	fail_to_take_bytes(fd, &much);
	/* A process of its own has a limit of its own. */
	step(!run_as(0, take_bytes, fd, &much));
}

TEST_F(limits, pages_of_a_process_are_those_of_one_process)
{
	ASSERT_EQ(0, param_set("process_limit_pages", 4096));
	EXPECT_EQ(0, run_as(TEST_UID, take_and_ask_another_process, self->fd, NULL));
}

static void hold_while_another_user_takes(int fd, void *arg)
{
	int *pipes = arg;
	__u64 much = 10 * MIB;
	char c;

	take_bytes(fd, &much);
	step(write(pipes[1], "x", 1) == 1);
	step(read(pipes[2], &c, 1) == 1);
}

TEST_F(limits, pages_of_a_user_are_not_taken_by_another_user)
{
	__u64 much = 10 * MIB;
	int pipes[4], status;
	pid_t pid;
	char c;

	ASSERT_EQ(0, param_set("user_limit_pages", 4096));
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, pipe(pipes + 2));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		step(!drop_privileges(TEST_UID));
		hold_while_another_user_takes(self->fd, pipes);
		_exit(0);
	}
	close(pipes[1]);
	EXPECT_EQ(1, read(pipes[0], &c, 1));
	EXPECT_EQ(0, run_as(TEST_UID, fail_to_take_bytes, self->fd, &much));
	EXPECT_EQ(0, run_as(OTHER_UID, take_bytes, self->fd, &much));
	EXPECT_EQ(1, write(pipes[3], "x", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(counters_settle(self->start));
	EXPECT_EQ(0, run_as(TEST_UID, take_bytes, self->fd, &much));
}

TEST_F(limits, system_administrator_is_exempt)
{
	struct pheap_ioc_create c, d;

	ASSERT_EQ(0, param_set("user_limit_heaps", 1));
	ASSERT_EQ(0, param_set("system_limit_pages", 1));
	ASSERT_EQ(0, param_set("user_limit_pages", 1));
	ASSERT_EQ(0, param_set("process_limit_pages", 1));
	EXPECT_EQ(0, raw_create(self->fd, MIB, 4 * MIB, 0, NULL, &c));
	EXPECT_EQ(0, raw_create(self->fd, MIB, 4 * MIB, 0, NULL, &d));
	EXPECT_EQ(0, raw_commit(self->fd, c.heap, 4 * MIB, 0, NULL));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	EXPECT_EQ(0, raw_destroy(self->fd, d.heap));
}

struct live_limit {
	int to_parent[2];
	int to_child[2];
};

static void meet(const struct live_limit *l)
{
	char c;

	step(write(l->to_parent[1], "x", 1) == 1);
	step(read(l->to_child[0], &c, 1) == 1);
}

static void live_through_changes(int fd, const struct live_limit *l)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	__u64 committed;
	void *p;

	step(!raw_create(fd, 4 * MIB, 64 * MIB, 0, NULL, &c));
	step(!raw_alloc(fd, c.heap, 3 * MIB, &p));
	memset(p, 1, 3 * MIB);
	meet(l);
	/* Now the limit is below what is committed: nothing is taken away, nothing grows. */
	step(!raw_stat(fd, c.heap, &st));
	step(st.committed_bytes >= 4 * MIB);
	memset(p, 2, 3 * MIB);
	step(raw_commit(fd, c.heap, st.committed_bytes + PAGE, 0, NULL) == -EDQUOT);
	step(!raw_commit(fd, c.heap, MIB, 0, &committed));
	step(committed == st.committed_bytes);
	step(!raw_free(fd, c.heap, p));
	step(!raw_alloc(fd, c.heap, 3 * MIB, &p));
	meet(l);
	/* Now it is high again. */
	step(!raw_commit(fd, c.heap, 8 * MIB, 0, NULL));
	step(!raw_destroy(fd, c.heap));
}

TEST_F(limits, limits_can_be_set_while_heaps_live)
{
	struct live_limit l;
	int status, round;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(l.to_parent));
	ASSERT_EQ(0, pipe(l.to_child));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		step(!drop_privileges(TEST_UID));
		live_through_changes(self->fd, &l);
		_exit(0);
	}
	close(l.to_parent[1]);
	for (round = 0; round < 2; round++) {
		if (read(l.to_parent[0], &c, 1) != 1)
			break;
		EXPECT_EQ(0, param_set("user_limit_pages", round ? self->saved[1] : 16));
		EXPECT_EQ(0, param_set("process_limit_pages", round ? self->saved[2] : 16));
		EXPECT_EQ(1, write(l.to_child[1], "x", 1));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* The reserve binds everyone, root too: it protects the machine. */
TEST_F(limits, growth_into_the_reserve_is_ENOMEM)
{
	struct pheap_counters before, after;
	struct pheap_ioc_create c, d;
	struct pheap_ioc_stat st, now;
	long long available;
	__u64 committed;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, MIB, 256 * MIB, 0, NULL, &c));
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	before = counters_get();
	available = meminfo("MemAvailable");
	ASSERT_LT((long long)(80 * MIB), available);
	ASSERT_EQ(0, param_set("reserve_pages", (available - 40 * MIB) / PAGE));

	EXPECT_EQ(-ENOMEM, raw_commit(self->fd, c.heap, 80 * MIB, 0, &committed));
	EXPECT_EQ(POISON, committed);
	EXPECT_EQ(-ENOMEM, raw_alloc(self->fd, c.heap, 80 * MIB, &p));
	EXPECT_EQ(NULL, p);
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 80 * MIB, 256 * MIB, 0, NULL, &d));
	EXPECT_EQ(POISON, d.heap);
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &now));
	EXPECT_EQ(st.committed_bytes, now.committed_bytes);
	EXPECT_EQ(2, now.nr_failures);
	after = counters_get();
	EXPECT_EQ(before.committed_pages, after.committed_pages);
	EXPECT_EQ(before.nr_heaps, after.nr_heaps);
	/* What stays above the reserve is to be had. */
	EXPECT_EQ(0, raw_commit(self->fd, c.heap, 9 * MIB, 0, NULL));
	EXPECT_EQ(0, raw_alloc(self->fd, c.heap, 5 * MIB, &p));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F(limits, nothing_grows_when_the_reserve_is_all_of_memory)
{
	struct pheap_ioc_create c;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 64 * KIB, 4 * MIB, 0, NULL, &c));
	ASSERT_EQ(0, param_set("reserve_pages", 1LL << 40));
	EXPECT_EQ(-ENOMEM, raw_commit(self->fd, c.heap, MIB, 0, NULL));
	EXPECT_EQ(-ENOMEM, raw_alloc(self->fd, c.heap, MIB, &p));
	/* What is committed serves. */
	EXPECT_EQ(0, raw_alloc(self->fd, c.heap, 1000, &p));
	memset(p, 1, 1000);
	EXPECT_EQ(0, raw_free(self->fd, c.heap, p));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

static void exit_with_heaps(int fd, void *arg)
{
	struct pheap_ioc_create c;
	unsigned int i;
	void *p;

	(void)arg;
	for (i = 0; i < 20; i++) {
		step(!raw_create(fd, i * 10 * KIB, i & 1 ? 0 : 8 * MIB, 0,
				 i & 2 ? "left" : NULL, &c));
		step(!raw_alloc(fd, c.heap, 100 << i % 12, &p));
		memset(p, i, 100 << i % 12);
	}
}

TEST_F(limits, what_a_process_leaves_behind_counts_no_more)
{
	unsigned int i;

	/* Three processes of the user, one after the other, each need most of the limit. */
	ASSERT_EQ(0, param_set("user_limit_heaps", 25));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, run_as(TEST_UID, exit_with_heaps, self->fd, NULL));
	EXPECT_TRUE(counters_equal(self->start, counters_get()));
}

static void set_limits_as_user(int fd, void *arg)
{
	unsigned int i;

	(void)fd;
	(void)arg;
	for (i = 0; i < ARRAY_LEN(limits); i++)
		step(param_set(limits[i], 1) == -EACCES);
}

TEST_F(limits, ordinary_user_cannot_set_them)
{
	unsigned int i;

	EXPECT_EQ(0, run_as(TEST_UID, set_limits_as_user, self->fd, NULL));
	for (i = 0; i < ARRAY_LEN(limits); i++)
		EXPECT_EQ(self->saved[i], param_get(limits[i]));
}

TEST_F(limits, counters_cannot_be_written)
{
	EXPECT_NE(0, param_set("committed_pages", 0));
	EXPECT_NE(0, param_set("metadata_bytes", 0));
	EXPECT_NE(0, param_set("nr_heaps", 0));
	EXPECT_TRUE(counters_equal(self->start, counters_get()));
}

TEST_HARNESS_MAIN
