// SPDX-License-Identifier: GPL-2.0
/*
 * libheapuser and fork: however a child is made, its parent's handles are EINVAL there, heaps of
 * its own work, and the parent notices nothing. A child that shares the memory is the same
 * process.
 */
#include "lib_env.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "kselftest_harness.h"

#define NR_HEAPS	40
#define TIMEOUT		180

FIXTURE(fork)
{
	struct pheap *heaps[NR_HEAPS];
	unsigned char *block;
};

FIXTURE_SETUP(fork)
{
	int i;

	for (i = 0; i < NR_HEAPS; i++) {
		self->heaps[i] = pheap_create(0, MIB, 0);
		ASSERT_NE(NULL, self->heaps[i])
			TH_LOG("%s", pheap_strerror(errno));
	}
	self->block = pheap_alloc(self->heaps[0], 5000);
	ASSERT_NE(NULL, self->block);
	pattern_fill(self->block, 5000, 1);
}

FIXTURE_TEARDOWN(fork)
{
	struct pheap *list[NR_HEAPS + 1];
	struct pheap_stat st;
	int i;

	ASSERT_TRUE(pattern_ok(self->block, 5000, 1));
	ASSERT_EQ(0, pheap_stat(self->heaps[0], &st, sizeof(st)));
	EXPECT_EQ(1, st.nr_blocks);
	EXPECT_EQ(NR_HEAPS, pheap_process_heaps(list, NR_HEAPS + 1));
	for (i = 0; i < NR_HEAPS; i++) {
		EXPECT_EQ(self->heaps[i], list[i]);
		EXPECT_TRUE(handle_serves(self->heaps[i]));
		EXPECT_EQ(0, pheap_destroy(self->heaps[i]));
	}
}

static int wait_status(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What a child must find. Return: 0, or the number of the rule that does not hold. */
static int child_rules(struct pheap **heaps, unsigned char *block)
{
	struct pheap *own[2 * NR_HEAPS], *list[2];
	int i, k;

	if (pheap_process_heaps(list, 2) != 0)
		return 1;
	for (i = 0; i < NR_HEAPS; i++)
		if (!handle_is_refused(heaps[i], block))
			return 2;
	if (touch(block, false) != SIGSEGV)
		return 3;
	for (i = 0; i < 2 * NR_HEAPS; i++) {
		own[i] = pheap_create(0, MIB, 0);
		if (!own[i] || !handle_serves(own[i]))
			return 4;
		for (k = 0; k < NR_HEAPS; k++)
			if (own[i] == heaps[k])
				return 5;
	}
	for (i = 0; i < NR_HEAPS; i++)
		if (!handle_is_refused(heaps[i], block))
			return 6;
	if (pheap_process_heaps(list, 2) != 2 * NR_HEAPS || list[0] != own[0])
		return 7;
	/* Half of them are left to the end of the process. */
	for (i = 0; i < NR_HEAPS; i++)
		if (pheap_destroy(own[i]))
			return 8;
	return 0;
}

TEST_F(fork, fork)
{
	pid_t pid = fork();

	if (!pid)
		_exit(child_rules(self->heaps, self->block));
	EXPECT_EQ(0, wait_status(pid));
}

/* Past the C library: no atfork handler runs. */
TEST_F(fork, raw_clone)
{
	pid_t pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		_exit(child_rules(self->heaps, self->block));
	EXPECT_EQ(0, wait_status(pid));
}

/* The descriptor table is shared: what the child does to it happens to the parent, too. */
TEST_F(fork, raw_clone_files)
{
	pid_t pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		_exit(child_rules(self->heaps, self->block));
	EXPECT_EQ(0, wait_status(pid));
	EXPECT_LE(1, device_descriptors(NULL));
}

TEST_F(fork, grandchild)
{
	pid_t pid = fork();

	if (!pid) {
		struct pheap *heaps[NR_HEAPS];
		unsigned char *block;
		int i;

		for (i = 0; i < NR_HEAPS; i++) {
			heaps[i] = pheap_create(0, MIB, 0);
			if (!heaps[i] || heaps[i] == self->heaps[i])
				_exit(20);
		}
		block = pheap_alloc(heaps[0], 100);
		pid = fork();
		if (!pid) {
			for (i = 0; i < NR_HEAPS; i++)
				if (!handle_is_refused(self->heaps[i], self->block))
					_exit(21);
			_exit(child_rules(heaps, block));
		}
		i = wait_status(pid);
		if (i)
			_exit(i);
		if (!handle_serves(heaps[NR_HEAPS - 1]))
			_exit(22);
		_exit(0);
	}
	EXPECT_EQ(0, wait_status(pid));
}

/* The parent's descriptor is inherited and does not pile up. */
TEST_F(fork, descriptors_do_not_pile_up)
{
	pid_t pid = fork();

	if (!pid) {
		struct pheap *h = pheap_create(0, MIB, 0);

		_exit(h && handle_serves(h) && device_descriptors(NULL) == 1 ? 0 : 1);
	}
	EXPECT_EQ(0, wait_status(pid));
}

/* The child closes what it inherited; the parent's stays open. */
TEST_F(fork, child_closes_everything)
{
	pid_t pid = fork();

	if (!pid) {
		syscall(SYS_close_range, 3, ~0U, 0);
		_exit(child_rules(self->heaps, self->block));
	}
	EXPECT_EQ(0, wait_status(pid));
	EXPECT_EQ(1, device_descriptors(NULL));
}

TEST_F(fork, before_any_heap)
{
	int i;

	/* From a process that has destroyed all its heaps: the table is there, and empty. */
	for (i = 0; i < NR_HEAPS; i++)
		ASSERT_EQ(0, pheap_destroy(self->heaps[i]));
	i = fork();
	if (!i) {
		struct pheap *h = pheap_create(0, MIB, 0);

		_exit(h && handle_serves(h) && pheap_process_heaps(NULL, 0) == 1 ? 0 : 1);
	}
	EXPECT_EQ(0, wait_status(i));
	/* For the teardown. */
	for (i = 0; i < NR_HEAPS; i++) {
		self->heaps[i] = pheap_create(0, MIB, 0);
		ASSERT_NE(NULL, self->heaps[i]);
	}
	self->block = pheap_alloc(self->heaps[0], 5000);
	pattern_fill(self->block, 5000, 1);
}

struct sibling {
	struct pheap *heap;
	struct pheap *made;
	unsigned char *block;
	int result;
};

static int sibling_main(void *arg)
{
	struct sibling *s = arg;

	s->block = pheap_alloc(s->heap, 300);
	s->made = pheap_create(0, MIB, 0);
	s->result = s->block && s->made && handle_serves(s->made) ? 1 : 2;
	if (s->block)
		pattern_fill(s->block, 300, 9);
	return 0;
}

/* As vfork() does: the parent sleeps, the memory is one. */
TEST_F(fork, child_that_shares_the_memory)
{
	struct sibling s = { .heap = self->heaps[1] };
	char *stack = mmap(NULL, 256 * KIB, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	ASSERT_NE(MAP_FAILED, stack);
	pid = clone(sibling_main, stack + 256 * KIB, CLONE_VM | CLONE_VFORK | SIGCHLD, &s);
	EXPECT_EQ(0, wait_status(pid));
	ASSERT_EQ(1, s.result);
	EXPECT_TRUE(pattern_ok(s.block, 300, 9));
	EXPECT_EQ(0, pheap_free(s.heap, s.block));
	EXPECT_TRUE(handle_serves(s.made));
	EXPECT_EQ(0, pheap_destroy(s.made));
}

static atomic_bool stop;

static void *churn(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		struct pheap *h = pheap_create(0, 4096, 0);

		if (!h || pheap_destroy(h))
			return (void *)1;
	}
	return NULL;
}

/* Another thread holds the library's lock at most forks: the child must find it free. */
TEST_F_TIMEOUT(fork, while_threads_create_and_destroy, TIMEOUT)
{
	unsigned long i, n = test_scaled(100);
	pthread_t threads[3];
	void *result;
	pid_t pid;
	int t;

	for (t = 0; t < 3; t++)
		ASSERT_EQ(0, pthread_create(&threads[t], NULL, churn, NULL));
	for (i = 0; i < n; i++) {
		pid = fork();
		if (!pid) {
			struct pheap *h;

			alarm(60);
			if (!handle_is_refused(self->heaps[0], self->block))
				_exit(1);
			h = pheap_create(0, MIB, 0);
			_exit(h && handle_serves(h) && !pheap_destroy(h) ? 0 : 2);
		}
		ASSERT_EQ(0, wait_status(pid));
	}
	atomic_store(&stop, true);
	for (t = 0; t < 3; t++) {
		ASSERT_EQ(0, pthread_join(threads[t], &result));
		EXPECT_EQ(NULL, result);
	}
}

TEST_HARNESS_MAIN
