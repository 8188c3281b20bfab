// SPDX-License-Identifier: GPL-2.0
/*
 * When memory is short a heap says so: ENOMEM, in a small memory cgroup and in a small machine.
 * Nobody is killed, what was committed before stays usable, what failed leaves nothing behind, and
 * afterwards everything is given back.
 */
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <sys/mman.h>
#include <sys/wait.h>

#define TIMEOUT		240
#define GROUP		"pheap-oom"
#define GROUP_BYTES	(64 * MIB)

/* With more memory than this, filling the machine takes too long. */
#define MACHINE_BYTES	(1536 * MIB)

/*
 * Given as the only argument, the program does nothing: for a test that fork and exec still work.
 */
#define EXEC_NOTHING	"exec-nothing"

/*
 * Kills, as the kernel counts and logs them
 */

struct kills {
	long long nr;
	int kmsg;
};

static void kills_start(struct __test_metadata *_metadata, struct kills *k)
{
	k->nr = file_key("/proc/vmstat", "oom_kill");
	ASSERT_LE(0, k->nr);
	k->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, k->kmsg);
	ASSERT_LE(0, lseek(k->kmsg, 0, SEEK_END));
}

static void kills_check(struct __test_metadata *_metadata, struct kills *k)
{
	char record[8192];
	ssize_t n;

	EXPECT_EQ(k->nr, file_key("/proc/vmstat", "oom_kill"));
	/* EPIPE: records were overwritten before we read them; the next read goes on. */
	while ((n = read(k->kmsg, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		if (n < 0)
			continue;
		record[n] = 0;
		EXPECT_TRUE(!strstr(record, "oom-kill") && !strstr(record, "Out of memory") &&
			    !strstr(record, "out of memory"))
			TH_LOG("%s", record);
	}
	close(k->kmsg);
}

static bool fork_and_exec_work(void)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return false;
	if (!child) {
		execl("/proc/self/exe", "oom", EXEC_NOTHING, NULL);
		_exit(1);
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

/*
 * A small cgroup. The process is inside only while it uses heaps, and does nothing else meanwhile:
 * opening a file at the limit would get it killed.
 */

FIXTURE(cgroup) {
	int fd;
	int outside;		/* cgroup.procs of the root group */
	struct pheap_counters before;
	struct kills kills;
};

FIXTURE_SETUP(cgroup)
{
	kills_start(_metadata, &self->kills);
	self->before = counters_get();
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	self->outside = open(CGROUP_DIR "/cgroup.procs", O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, self->outside);
	ASSERT_EQ(0, cgroup_create(GROUP, GROUP_BYTES));
	ASSERT_EQ(0, cgroup_enter(GROUP));
}

FIXTURE_TEARDOWN(cgroup)
{
	ASSERT_EQ(1, write(self->outside, "0", 1));
	EXPECT_EQ(0, cgroup_value(GROUP, "memory.events", "oom_kill"));
	EXPECT_EQ(0, cgroup_value(GROUP, "memory.events", "oom"));
	kills_check(_metadata, &self->kills);
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	close(self->fd);
	EXPECT_TRUE(counters_settle(self->before));
	EXPECT_GE(2 * (long long)MIB, cgroup_value(GROUP, "memory.stat", "kernel"));
	EXPECT_EQ(0, cgroup_remove(GROUP));
}

TEST_F_TIMEOUT(cgroup, create_beyond_the_limit_is_enomem, TIMEOUT)
{
	struct pheap_ioc_create c;
	unsigned char mem;

	for (unsigned int i = 0; i < 10; i++) {
		ASSERT_EQ(-ENOMEM, raw_create(self->fd, 128 * MIB, i & 1 ? 128 * MIB : GIB,
					      i & 2 ? PHEAP_COMMIT_POPULATE : 0, NULL, &c));
		ASSERT_EQ(0, nr_heaps_own(self->fd));
		ASSERT_TRUE(counters_equal(self->before, counters_get()) ||
			    counters_settle(self->before));
	}
	/* A smaller one is still to be had, whole. */
	ASSERT_EQ(0, raw_create(self->fd, 32 * MIB, 128 * MIB, 0, NULL, &c));
	memset(u64_to_ptr(c.base), 1, 32 * MIB);
	mem = *(volatile unsigned char *)u64_to_ptr(c.base + 32 * MIB - 1);
	EXPECT_EQ(1, mem);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F_TIMEOUT(cgroup, commit_to_the_limit_then_first_touches, TIMEOUT)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	__u64 committed = 0, bytes;
	volatile unsigned char *base;
	int r;

	ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
	base = u64_to_ptr(c.base);
	for (bytes = 256 * KIB;; bytes += 256 * KIB) {
		r = raw_commit(self->fd, c.heap, bytes, 0, &committed);
		if (r)
			break;
	}
	/* Then page by page, up to the very last. */
	for (bytes -= 256 * KIB; ; bytes += PAGE)
		if (raw_commit(self->fd, c.heap, bytes + PAGE, 0, NULL))
			break;
	/* Hardly a page was touched yet, and the group is full. */
	for (__u64 i = 0; i < bytes; i += PAGE)
		base[i] = 1;
	ASSERT_EQ(1, write(self->outside, "0", 1));
	EXPECT_EQ(-ENOMEM, r);
	EXPECT_LE(40 * MIB, bytes);
	EXPECT_GE(GROUP_BYTES, bytes);
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(bytes, st.committed_bytes);
	EXPECT_EQ(2, st.nr_failures);
	EXPECT_EQ(SIGSEGV, touch(base + bytes, false));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F_TIMEOUT(cgroup, alloc_to_the_limit_and_go_on, TIMEOUT)
{
	static unsigned char *blocks[1024];
	unsigned int nr, again = 0;
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	int r = 0;

	memset(blocks, 0, sizeof(blocks));
	ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
	for (nr = 0; nr < ARRAY_LEN(blocks); nr++) {
		r = raw_alloc(self->fd, c.heap, 100 * KIB, (void **)&blocks[nr]);
		if (r)
			break;
		memset(blocks[nr], nr, 100 * KIB);
	}
	/* Half of it free again: the heap gives what it has, without the group. */
	for (unsigned int i = 0; i < nr; i += 2)
		raw_free(self->fd, c.heap, blocks[i]);
	for (unsigned int i = 0; i < nr; i += 2) {
		if (raw_alloc(self->fd, c.heap, 100 * KIB, (void **)&blocks[i]))
			continue;
		memset(blocks[i], i, 100 * KIB);
		again++;
	}
	ASSERT_EQ(1, write(self->outside, "0", 1));
	EXPECT_EQ(-ENOMEM, r);
	EXPECT_LE(400, nr);
	EXPECT_EQ((nr + 1) / 2, again);
	for (unsigned int i = 0; i < nr; i++)
		EXPECT_TRUE(blocks[i][0] == (unsigned char)i &&
			    blocks[i][100 * KIB - 1] == (unsigned char)i);
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(nr, st.nr_blocks);
	EXPECT_EQ(1, st.nr_failures);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

/*
 * A heap that is full up to the limit of the group with
 * another's memory: its first touches need nothing any more.
 */
TEST_F_TIMEOUT(cgroup, first_touches_of_one_heap_while_another_fills_the_group, TIMEOUT)
{
	struct pheap_ioc_create c, filler;
	int r = 0;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 24 * MIB, 128 * MIB, 0, NULL, &c));
	ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &filler));
	for (__u64 bytes = MIB; bytes >= 16; bytes /= 4)
		while (!(r = raw_alloc(self->fd, filler.heap, bytes, &p)))
			*(volatile char *)p = 1;
	memset(u64_to_ptr(c.base), 1, 24 * MIB);
	ASSERT_EQ(1, write(self->outside, "0", 1));
	EXPECT_EQ(-ENOMEM, r);
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	EXPECT_EQ(0, raw_destroy(self->fd, filler.heap));
}

TEST_F_TIMEOUT(cgroup, creates_until_the_group_is_full, TIMEOUT)
{
	static struct pheap_ioc_create heaps[2000];
	unsigned int nr;
	int r = 0;

	memset(heaps, 1, sizeof(heaps));
	for (nr = 0; nr < ARRAY_LEN(heaps); nr++) {
		r = raw_create(self->fd, 64 * KIB, MIB, 0, NULL, &heaps[nr]);
		if (r)
			break;
	}
	/* Again and again at the limit. */
	for (unsigned int i = 0; i < 200; i++) {
		struct pheap_ioc_create c;

		if (!raw_create(self->fd, 64 * KIB, i & 1 ? 0 : MIB, 0, NULL, &c))
			raw_destroy(self->fd, c.heap);
	}
	for (unsigned int i = 0; i < nr; i++)
		memset(u64_to_ptr(heaps[i].base), 1, 64 * KIB);
	ASSERT_EQ(1, write(self->outside, "0", 1));
	EXPECT_EQ(-ENOMEM, r);
	EXPECT_LE(500, nr);
	TH_LOG("%u heaps of 64 KiB in 64 MiB", nr);
	for (unsigned int i = 0; i < nr; i++)
		EXPECT_EQ(0, raw_destroy(self->fd, heaps[i].heap));
}

TEST_F_TIMEOUT(cgroup, one_page_heaps_until_the_group_is_full, TIMEOUT)
{
	unsigned long nr = 0;
	struct pheap_ioc_create c;
	__u64 last = 0;
	int r;

	while (!(r = raw_create(self->fd, 0, 0, 0, NULL, &c))) {
		last = c.heap;
		nr++;
	}
	ASSERT_EQ(0, raw_destroy(self->fd, last));
	ASSERT_EQ(0, raw_create(self->fd, 0, MIB, 0, NULL, &c));
	*(volatile char *)u64_to_ptr(c.base) = 1;
	ASSERT_EQ(1, write(self->outside, "0", 1));
	EXPECT_EQ(-ENOMEM, r);
	EXPECT_LE(1000, nr);
	TH_LOG("%lu growable heaps in 64 MiB", nr);
	for (;;) {
		struct pheap_list_entry entries[64];
		__u64 found = ARRAY_LEN(entries);

		r = raw_list(self->fd, entries, &found);
		if (!found)
			break;
		ASSERT_TRUE(r == 0 || r == -EMSGSIZE);
		for (__u64 i = 0; i < found && i < ARRAY_LEN(entries); i++)
			ASSERT_EQ(0, raw_destroy(self->fd, entries[i].heap));
	}
}

/*
 * A small machine
 */

FIXTURE(machine) {
	int fd;
	struct pheap_counters before;
	struct kills kills;
	long long available;
};

FIXTURE_SETUP(machine)
{
	if (meminfo("MemTotal") > (long long)MACHINE_BYTES)
		SKIP(return, "the machine has more than 1.5 GiB of memory to fill");
	kills_start(_metadata, &self->kills);
	self->before = counters_get();
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	self->available = meminfo("MemAvailable");
}

/*
 * What may be missing when all heaps are gone: caches of the kernel, and what KASAN keeps for a
 * while, a 32nd of the machine.
 */
static long long slack(void)
{
	return (kernel_is_debug() ? 80 : 24) * MIB;
}

FIXTURE_TEARDOWN(machine)
{
	kills_check(_metadata, &self->kills);
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	close(self->fd);
	EXPECT_TRUE(counters_settle(self->before));
	EXPECT_LE(self->available - slack(), meminfo("MemAvailable"));
}

TEST_F_TIMEOUT(machine, commit_until_it_is_full_again_and_again, TIMEOUT)
{
	unsigned long rounds = test_scaled(10);

	for (unsigned long round = 0; round < rounds; round++) {
		struct pheap_ioc_create c;
		volatile unsigned char *base;
		__u64 bytes = 0, step = 16 * MIB;
		int r = 0;

		ASSERT_EQ(0, raw_create(self->fd, 0, 4 * GIB, 0, NULL, &c));
		base = u64_to_ptr(c.base);
		while (step >= PAGE) {
			r = raw_commit(self->fd, c.heap, bytes + step,
				       round & 1 ? PHEAP_COMMIT_POPULATE : 0, NULL);
			if (r)
				step /= 4;
			else
				bytes += step;
		}
		EXPECT_EQ(-ENOMEM, r);
		EXPECT_LE(128 * MIB, bytes);
		for (__u64 i = 0; i < bytes; i += PAGE)
			base[i] = 1;
		/* The machine is usable while it is full of heap. */
		EXPECT_TRUE(fork_and_exec_work());
		EXPECT_LT(0, meminfo("MemAvailable"));
		if (!round)
			TH_LOG("%llu MiB committed, %lld MiB available then, of %lld MiB",
			       bytes / MIB, meminfo("MemAvailable") / (long long)MIB,
			       self->available / (long long)MIB);
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
		EXPECT_EQ(self->before.committed_pages, counters_get().committed_pages);
		EXPECT_LE(self->available - slack(), meminfo("MemAvailable"));
	}
}

TEST_F_TIMEOUT(machine, one_create_of_more_than_there_is, TIMEOUT)
{
	struct pheap_ioc_create c;

	for (unsigned int i = 0; i < 4; i++) {
		EXPECT_EQ(-ENOMEM, raw_create(self->fd, 4 * GIB, 4 * GIB,
					      i & 1 ? PHEAP_COMMIT_POPULATE : 0, NULL, &c));
		EXPECT_EQ(0, nr_heaps_own(self->fd));
		EXPECT_TRUE(fork_and_exec_work());
	}
}

TEST_F_TIMEOUT(machine, alloc_until_it_is_full_and_go_on, TIMEOUT)
{
	struct pheap_ioc_create c;
	unsigned char *p, *last = NULL;
	unsigned int nr = 0;
	int r;

	ASSERT_EQ(0, raw_create(self->fd, 0, 4 * GIB, 0, NULL, &c));
	while (!(r = raw_alloc(self->fd, c.heap, 500 * KIB, (void **)&p))) {
		memset(p, 1, 500 * KIB);
		last = p;
		nr++;
	}
	EXPECT_EQ(-ENOMEM, r);
	EXPECT_LE(256, nr);
	ASSERT_EQ(0, raw_free(self->fd, c.heap, last));
	EXPECT_EQ(0, raw_alloc(self->fd, c.heap, 400 * KIB, (void **)&p));
	memset(p, 2, 400 * KIB);
	EXPECT_TRUE(fork_and_exec_work());
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

/* Heaps whose cost is page tables, mappings and metadata rather than pages. */
TEST_F_TIMEOUT(machine, small_heaps_until_it_is_full, TIMEOUT)
{
	/* On a debug kernel twenty thousand of them take ten minutes. */
	__u64 bytes = kernel_is_debug() ? 256 * KIB : 16 * KIB;
	unsigned long nr = 0;
	struct pheap_ioc_create c;
	int r;

	while (!(r = raw_create(self->fd, bytes, 4 * MIB, 0, NULL, &c)))
		nr++;
	EXPECT_EQ(-ENOMEM, r);
	TH_LOG("%lu heaps of %llu KiB", nr, bytes / KIB);
	EXPECT_LE(500, nr);
	EXPECT_TRUE(fork_and_exec_work());
	for (;;) {
		static struct pheap_list_entry entries[256];
		__u64 found = ARRAY_LEN(entries);

		r = raw_list(self->fd, entries, &found);
		if (!found)
			break;
		ASSERT_TRUE(r == 0 || r == -EMSGSIZE);
		for (__u64 i = 0; i < found && i < ARRAY_LEN(entries); i++)
			ASSERT_EQ(0, raw_destroy(self->fd, entries[i].heap));
	}
}

TEST_F_TIMEOUT(machine, two_processes_race_to_fill_it, TIMEOUT)
{
	unsigned long rounds = test_scaled(5);

	for (unsigned long round = 0; round < rounds; round++) {
		int full[2], go[2], status;
		pid_t children[2];
		char byte;

		ASSERT_EQ(0, pipe(full));
		ASSERT_EQ(0, pipe(go));
		for (unsigned int i = 0; i < 2; i++) {
			struct pheap_ioc_create c;
			void *p;
			int r;

			children[i] = fork();
			ASSERT_LE(0, children[i]);
			if (children[i])
				continue;
			close(go[1]);
			r = raw_create(self->fd, 0, 4 * GIB, 0, NULL, &c);
			while (!r) {
				r = raw_alloc(self->fd, c.heap, i ? 60 * KIB : 2 * MIB, &p);
				if (!r)
					memset(p, 1, i ? 60 * KIB : 2 * MIB);
			}
			/* Full: tell so, and hold it until the other is full, too. */
			if (write(full[1], "", 1) != 1 || read(go[0], &byte, 1))
				_exit(1);
			_exit(r == -ENOMEM ? 0 : 2);
		}
		for (unsigned int i = 0; i < 2; i++)
			ASSERT_EQ(1, read(full[0], &byte, 1));
		EXPECT_TRUE(fork_and_exec_work());
		close(go[1]);
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(children[i], waitpid(children[i], &status, 0));
			EXPECT_EQ(0, status);
		}
		close(go[0]);
		close(full[0]);
		close(full[1]);
		EXPECT_TRUE(counters_settle(self->before));
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], EXEC_NOTHING))
		return 0;
	return test_harness_run(argc, argv);
}
