// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile programs and unlucky ones: calls that cannot succeed, calls that fail half-way, and
 * mappings changed or lost while the module works on them. What is asked for is refused with the
 * documented error and at once, nothing is left behind, and nobody else notices.
 *
 * Every test ends with the counters of the module where they were. The teardown restores the
 * settings that tests change. Children report the first step that went wrong by its line.
 */
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef __NR_mseal
#define __NR_mseal 462
#endif

#define TIMEOUT		60
#define TIB		(1024 * GIB)
#define OTHER_UID	1001
#define MAX_PIECES	16

/* Exit status of a child that finds no such call in this kernel. */
#define SKIPPED		4

/* What counts as prompt: far more than the call takes in a slow virtual machine. */
#define PROMPT_MS	5000

#define MAP_COUNT	"/proc/sys/vm/max_map_count"

static const char * const limits[] = {
	"system_limit_pages", "user_limit_pages", "process_limit_pages", "reserve_pages",
};

#define RESERVE		3

FIXTURE(hostile)
{
	int fd;
	long long saved[ARRAY_LEN(limits)];
	long long map_count;
	long long oom_kills;
	struct pheap_counters before;
};

FIXTURE_SETUP(hostile)
{
	for (unsigned int i = 0; i < ARRAY_LEN(limits); i++) {
		self->saved[i] = param_get(limits[i]);
		ASSERT_LT(0, self->saved[i]);
	}
	self->map_count = file_number(MAP_COUNT);
	ASSERT_LT(0, self->map_count);
	self->oom_kills = file_key("/proc/vmstat", "oom_kill");
	self->before = counters_get();
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(hostile)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", self->map_count);
	EXPECT_EQ(0, file_write(MAP_COUNT, text));
	for (unsigned int i = 0; i < ARRAY_LEN(limits); i++)
		EXPECT_EQ(0, param_set(limits[i], self->saved[i]));
	EXPECT_TRUE(counters_settle(self->before));
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	EXPECT_EQ(self->oom_kills, file_key("/proc/vmstat", "oom_kill"));
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

/* Starts @fn in a child that became @uid (0: stays what it is). */
static pid_t child_start(uid_t uid, void (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	if (uid)
		step(!drop_privileges(uid));
	fn(arg);
	_exit(0);
}

/* The exit status of a child, or the negative number of the signal that ended it. */
static int child_wait(pid_t pid)
{
	int status;

	if (pid <= 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void *shared_alloc(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Mappings of the module in this process, or -errno. */
static int heap_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int nr = 0;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		nr += !!strstr(line, "[pheap");
	fclose(f);
	return nr;
}

/*
 * Too few mappings left: a create makes one or two, and a large commit another one. Each of them
 * may be the one that fails.
 */

/* Enough for every other program of the system, and soon used up. */
#define FEW_MAPS	150
#define FEW_MAPS_TEXT	"150"

/* Mappings that use up what the process may have. None of them merges with another. */
static void *filler[FEW_MAPS + 2];
static unsigned int nr_filler;

static void filler_drop(unsigned int nr)
{
	for (; nr && nr_filler; nr--)
		munmap(filler[--nr_filler], PAGE);
}

/* Leaves @room mappings. */
static void filler_fill(unsigned int room)
{
	void *p;

	while (nr_filler < ARRAY_LEN(filler)) {
		p = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			break;
		filler[nr_filler++] = p;
	}
	filler_drop(room);
}

struct shape {
	__u64 initial;
	__u64 maximum;
	__u32 flags;
	const char *name;
};

static const struct shape shapes[] = {
	{ 0, 0, 0, NULL },
	{ 0, 0, 0, "named" },
	{ 0, 8 * MIB, 0, NULL },
	{ 0, TIB, 0, NULL },
	{ 3 * MIB, 128 * MIB, PHEAP_COMMIT_POPULATE, "named" },
	{ 24 * MIB, 128 * MIB, 0, NULL },
	{ 40 * MIB, GIB, PHEAP_COMMIT_POPULATE, NULL },
};

/* Creates a heap, checks and destroys it; a failure is ENOMEM. Nothing is left in any case. */
static int create_and_destroy(struct __test_metadata *_metadata, int fd, const struct shape *s)
{
	struct pheap_ioc_create c;
	int r = raw_create(fd, s->initial, s->maximum, s->flags, s->name, &c);

	if (r) {
		EXPECT_EQ(-ENOMEM, r);
		EXPECT_EQ(POISON, c.base);
		return r;
	}
	EXPECT_EQ(0, touch(u64_to_ptr(c.base), true));
	EXPECT_EQ(0, touch(u64_to_ptr(c.base + c.committed_bytes - 1), true));
	/* That is, all of it is mapped. */
	EXPECT_EQ(0, msync(u64_to_ptr(c.base), c.reserved_bytes, MS_ASYNC));
	EXPECT_EQ(0, raw_destroy(fd, c.heap));
	return 0;
}

TEST_F_TIMEOUT(hostile, create_without_room_for_its_mappings_leaves_nothing, TIMEOUT)
{
	unsigned int failed = 0;

	ASSERT_EQ(0, file_write(MAP_COUNT, FEW_MAPS_TEXT));
	for (const struct shape *s = shapes; s < shapes + ARRAY_LEN(shapes); s++) {
		for (unsigned int room = 0; room < 5; room++) {
			filler_fill(room);
			failed += create_and_destroy(_metadata, self->fd, s) != 0;
			ASSERT_EQ(0, heap_mappings());
			ASSERT_TRUE(counters_settle(self->before));
		}
	}
	/* All without any room, and none with room for three. */
	EXPECT_LE(ARRAY_LEN(shapes), failed);
	EXPECT_GE(3 * ARRAY_LEN(shapes), failed);
	filler_drop(nr_filler);
}

/* Takes a mapping and gives it back: what fails for want of one may work a moment later. */
static void *mapper_run(void *arg)
{
	while (!__atomic_load_n((bool *)arg, __ATOMIC_RELAXED)) {
		void *p = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (p != MAP_FAILED)
			munmap(p, PAGE);
	}
	return NULL;
}

TEST_F_TIMEOUT(hostile, create_while_another_thread_takes_mappings_leaves_nothing, TIMEOUT)
{
	const long long end = now_ms() + 3000;
	unsigned long failed = 0, nr = test_scaled(3000), i;
	bool stop = false;
	pthread_t thread;

	ASSERT_EQ(0, file_write(MAP_COUNT, FEW_MAPS_TEXT));
	ASSERT_EQ(0, pthread_create(&thread, NULL, mapper_run, &stop));
	filler_fill(2);
	for (i = 0; i < nr && now_ms() < end; i++) {
		failed += create_and_destroy(_metadata, self->fd, &shapes[i % 4]) != 0;
		if (i % 32 == 0 && heap_mappings())
			break;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, heap_mappings());
	filler_drop(nr_filler);
	TH_LOG("%lu heaps made, %lu refused", i - failed, failed);
}

/*
 * One user asks for what cannot be had, again and again; another one asks for little.
 */

struct contest {
	int expected;		/* what the hostile user gets */
	bool stop;
	unsigned long rounds;
};

static void ask_for_too_much(void *arg)
{
	struct contest *contest = arg;
	struct pheap_ioc_create c, big;
	int fd = device_open();

	step(fd >= 0);
	step(!prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	step(!raw_create(fd, 0, TIB, 0, NULL, &c));
	while (!__atomic_load_n(&contest->stop, __ATOMIC_ACQUIRE)) {
		for (unsigned int i = 0; i < 16; i++)
			step(raw_commit(fd, c.heap, TIB, 0, NULL) == contest->expected);
		step(raw_create(fd, TIB, TIB, 0, NULL, &big) == contest->expected);
		__atomic_add_fetch(&contest->rounds, 1, __ATOMIC_RELEASE);
	}
}

static void ask_for_little(void *arg)
{
	const long long end = now_ms() + 3000;
	unsigned long nr = test_scaled(2000);
	struct pheap_ioc_create c;
	int fd = device_open();
	void *p;

	step(fd >= 0);
	for (unsigned long i = 0; i < nr && now_ms() < end; i++) {
		step(!raw_create(fd, 64 * KIB, i % 8 ? MIB : 128 * MIB, 0, NULL, &c));
		step(!raw_commit(fd, c.heap, 128 * KIB, 0, NULL));
		step(!raw_alloc(fd, c.heap, 200 * KIB, &p));
		step(!raw_destroy(fd, c.heap));
	}
}

static void check_contest(struct __test_metadata *_metadata, int expected)
{
	struct contest *contest = shared_alloc(sizeof(*contest));
	pid_t hostile;

	ASSERT_NE(NULL, contest);
	contest->expected = expected;
	hostile = child_start(TEST_UID, ask_for_too_much, contest);
	ASSERT_LT(0, hostile);
	while (!__atomic_load_n(&contest->rounds, __ATOMIC_ACQUIRE) &&
	       !waitpid(hostile, NULL, WNOHANG))
		sched_yield();
	EXPECT_EQ(0, child_wait(child_start(OTHER_UID, ask_for_little, NULL)));
	__atomic_store_n(&contest->stop, true, __ATOMIC_RELEASE);
	EXPECT_EQ(0, child_wait(hostile));
	munmap(contest, sizeof(*contest));
}

TEST_F_TIMEOUT(hostile, refused_requests_harm_no_other_user, TIMEOUT)
{
	check_contest(_metadata, -EDQUOT);
	if (meminfo("MemTotal") >= (long long)TIB)
		SKIP(return, "this machine has a TiB of memory to give");
	/* Limits that do not bind leave the memory of the machine to say no. */
	for (unsigned int i = 0; i < RESERVE; i++)
		ASSERT_EQ(0, param_set(limits[i], 1LL << 40));
	check_contest(_metadata, -ENOMEM);
}

/*
 * What exceeds the machine, asked for by one whom no limit binds
 */

struct watch {
	bool stop;
	unsigned long rounds;
	long long metadata_max;
	long long available_min;
};

static void *watch_run(void *arg)
{
	struct watch *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		long long metadata = param_get("metadata_bytes");
		long long available = meminfo("MemAvailable");

		if (metadata > w->metadata_max)
			w->metadata_max = metadata;
		if (available < w->available_min)
			w->available_min = available;
		__atomic_add_fetch(&w->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

TEST_F_TIMEOUT(hostile, more_than_the_machine_has_is_refused_before_anything_is_taken, TIMEOUT)
{
	const long long start = now_ms();
	struct watch w = { .available_min = meminfo("MemAvailable") };
	struct pheap_ioc_create heap, c;
	pthread_t thread;
	void *p;

	if (meminfo("MemTotal") >= (long long)TIB)
		SKIP(return, "this machine has a TiB of memory to give");
	ASSERT_EQ(0, raw_create(self->fd, 0, TIB, 0, NULL, &heap));
	ASSERT_EQ(0, pthread_create(&thread, NULL, watch_run, &w));
	/* Prompt as it is, it has to be done many times to be seen. */
	do {
		EXPECT_EQ(-ENOMEM, raw_create(self->fd, TIB, TIB, 0, NULL, &c));
		EXPECT_EQ(-ENOMEM, raw_create(self->fd, TIB, TIB, PHEAP_COMMIT_POPULATE, NULL,
					      &c));
		EXPECT_EQ(-ENOMEM, raw_commit(self->fd, heap.heap, TIB, 0, NULL));
		EXPECT_EQ(-ENOMEM, raw_alloc(self->fd, heap.heap, TIB - MIB, &p));
	} while (__atomic_load_n(&w.rounds, __ATOMIC_RELAXED) < 100 &&
		 now_ms() - start < PROMPT_MS);
	EXPECT_GT(PROMPT_MS, now_ms() - start);
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_GE(self->before.metadata_bytes + (long long)MIB, w.metadata_max);
	EXPECT_LE(self->saved[RESERVE] * (long long)PAGE, w.available_min);
	EXPECT_EQ(0, raw_destroy(self->fd, heap.heap));
}

TEST_F_TIMEOUT(hostile, huge_reserve_lets_nothing_grow, TIMEOUT)
{
	static const char * const huge[] = {
		"18446744073709551615", "18446744073709551360", "9223372036854775808",
		"9223372036854775807", "4611686018427387904",
	};
	const char *path = PARAM_DIR "/reserve_pages";
	struct pheap_ioc_create heap, c;
	struct pheap_ioc_stat st;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 64 * KIB, 16 * MIB, 0, NULL, &heap));
	for (unsigned int i = 0; i < ARRAY_LEN(huge); i++) {
		ASSERT_EQ(0, file_write(path, huge[i]));
		EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, 64 * KIB, 0, NULL, &c)) {
			TH_LOG("reserve_pages %s", huge[i]);
		}
		EXPECT_EQ(-ENOMEM, raw_create(self->fd, 4 * MIB, 128 * MIB, 0, "named", &c));
		EXPECT_EQ(-ENOMEM, raw_commit(self->fd, heap.heap, 16 * MIB, 0, NULL));
		EXPECT_EQ(-ENOMEM, raw_alloc(self->fd, heap.heap, 2 * MIB, &p));
		ASSERT_EQ(0, raw_stat(self->fd, heap.heap, &st));
		EXPECT_EQ(64 * KIB, st.committed_bytes);
		EXPECT_EQ(1, nr_heaps_own(self->fd));
	}
	ASSERT_EQ(0, param_set("reserve_pages", 0));
	EXPECT_EQ(0, raw_create(self->fd, 4 * MIB, 128 * MIB, 0, NULL, &c));
	EXPECT_EQ(0, raw_commit(self->fd, heap.heap, 8 * MIB, 0, NULL));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	EXPECT_EQ(0, raw_destroy(self->fd, heap.heap));
}

/*
 * Populated is populated, also where the program wants no huge pages
 */

/* Touches every page of the first @bytes and wants no fault for it. */
static void check_no_faults(struct __test_metadata *_metadata, int fd,
			    const struct pheap_ioc_create *c, __u64 bytes)
{
	volatile unsigned char *base = u64_to_ptr(c->base);
	struct pheap_ioc_stat before, after;
	struct rusage start, end;

	ASSERT_EQ(0, raw_stat(fd, c->heap, &before));
	getrusage(RUSAGE_SELF, &start);
	for (__u64 i = 0; i < bytes; i += PAGE)
		base[i] = 1;
	getrusage(RUSAGE_SELF, &end);
	ASSERT_EQ(0, raw_stat(fd, c->heap, &after));
	EXPECT_EQ(before.nr_faults, after.nr_faults);
	/* The stack and the like may have a fault or two of their own. */
	EXPECT_GE(4, end.ru_minflt - start.ru_minflt);
}

TEST_F_TIMEOUT(hostile, populate_maps_all_without_huge_pages, TIMEOUT)
{
	struct pheap_ioc_create c;

	ASSERT_EQ(0, prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	/* What the commit adds, and what was committed before. */
	ASSERT_EQ(0, raw_create(self->fd, 0, 256 * MIB, 0, NULL, &c));
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 24 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	check_no_faults(_metadata, self->fd, &c, 24 * MIB);
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 44 * MIB, 0, NULL));
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 44 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	check_no_faults(_metadata, self->fd, &c, 44 * MIB);
	/* With and without them in one heap. */
	ASSERT_EQ(0, prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
	ASSERT_EQ(0, raw_commit(self->fd, c.heap, 60 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	check_no_faults(_metadata, self->fd, &c, 60 * MIB);
	ASSERT_EQ(0, raw_destroy(self->fd, c.heap));
}

/*
 * mlockall(MCL_FUTURE): what is mapped from then on counts against RLIMIT_MEMLOCK
 */

static void lock_future(int fd, __u64 limit_bytes, struct pheap_ioc_create *before)
{
	struct rlimit l = { .rlim_cur = limit_bytes, .rlim_max = limit_bytes };

	step(fd >= 0);
	step(!setrlimit(RLIMIT_MEMLOCK, &l));
	step(!drop_privileges(TEST_UID));
	/* A heap of earlier days. */
	step(!raw_create(fd, 0, 256 * MIB, 0, NULL, before));
	step(!mlockall(MCL_FUTURE));
}

static void lock_little(void *arg)
{
	struct pheap_counters with_heap;
	struct pheap_ioc_create before, c;
	struct pheap_ioc_stat st;
	int fd = device_open();
	int r;

	lock_future(fd, 64 * KIB, &before);
	with_heap = counters_get();
	for (const struct shape *s = shapes; s < shapes + ARRAY_LEN(shapes); s++) {
		step(raw_create(fd, s->initial, s->maximum, s->flags, s->name, &c) == -ENOMEM);
		step(c.heap == POISON);
	}
	step(counters_equal(with_heap, counters_get()));
	/* A heap that the limit has room for. */
	step(!raw_create(fd, 0, 16 * KIB, 0, NULL, &c));
	step(!raw_destroy(fd, c.heap));
	/* The earlier heap grows while that needs no mapping, and beyond that or not. */
	step(!raw_commit(fd, before.heap, 12 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	r = raw_commit(fd, before.heap, 40 * MIB, 0, NULL);
	step(!r || r == -ENOMEM);
	step(!raw_stat(fd, before.heap, &st));
	step(st.committed_bytes == (r ? 12 * MIB : 40 * MIB));
	step(!raw_destroy(fd, before.heap));
	step(!heap_mappings());
}

static void lock_much(void *arg)
{
	struct pheap_ioc_create before, c;
	int fd = device_open();

	lock_future(fd, 4 * TIB, &before);
	for (const struct shape *s = shapes; s < shapes + ARRAY_LEN(shapes); s++) {
		step(!raw_create(fd, s->initial, s->maximum, s->flags, s->name, &c));
		step(!touch(u64_to_ptr(c.base + c.committed_bytes - 1), true));
		if (s->maximum > 64 * MIB)
			step(!raw_commit(fd, c.heap, 48 * MIB, s->flags, NULL));
		step(!raw_destroy(fd, c.heap));
	}
	step(!raw_commit(fd, before.heap, 40 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	step(!raw_destroy(fd, before.heap));
	step(!heap_mappings());
}

TEST_F_TIMEOUT(hostile, limit_of_locked_memory_is_ENOMEM, TIMEOUT)
{
	EXPECT_EQ(0, child_wait(child_start(0, lock_little, NULL)));
	EXPECT_EQ(0, child_wait(child_start(0, lock_much, NULL)));
}

/*
 * MADV_DOFORK gives a child a copy of the heap's mapping. It is empty, holds nothing, and outlives
 * everything that it was copied from.
 */

/* Heaps of these many shapes. */
#define NR_COPIED	6

struct copies {
	struct piece pieces[MAX_PIECES];
	int nr;
	bool forked;		/* the child forked again */
	int gone[2];		/* pipe: the end of file tells that the owner is gone */
	int fd;			/* the owner's device, which the copies do without */
};

/* Every way to change a mapping, tried on one that was copied from a heap. */
static void attack(const struct piece *piece)
{
	unsigned char *p = u64_to_ptr(piece->start);
	__u64 bytes = piece->end - piece->start;
	void *spare;

	step(touch(p, false) == SIGSEGV);
	step(touch(p + bytes - 1, true) == SIGSEGV);
	spare = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	step(mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, spare) == MAP_FAILED);
	step(mremap(p, bytes, bytes + PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	step(mremap(p, 0, bytes, MREMAP_MAYMOVE) == MAP_FAILED);
	step(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, spare) == MAP_FAILED);
	step(mremap(p, bytes, bytes - PAGE, 0) == MAP_FAILED);
	step(remap_file_pages(p, bytes, 0, 0, 0));
	step(remap_file_pages(p, PAGE, 0, 1, 0));
	step(mprotect(p, bytes, PROT_READ | PROT_WRITE | PROT_EXEC));
	step(mprotect(p, PAGE, PROT_READ));
	step(munmap(p + PAGE, PAGE));
	madvise(p, bytes, MADV_DONTNEED);
	madvise(p, bytes, MADV_KEEPONFORK);
	madvise(p, bytes, MADV_REMOVE);
	step(madvise(p, PAGE, MADV_POPULATE_WRITE));
	/* Still there, and still nothing. */
	step(!msync(p, bytes, MS_ASYNC));
	step(touch(p, true) == SIGSEGV);
	step(!munmap(p, bytes));
	step(touch(p, false) == SIGSEGV);
}

static void copies_attack(void *arg)
{
	struct copies *copies = arg;
	pid_t child = 0;
	char c;

	if (!copies->forked) {
		copies->forked = true;
		close(copies->fd);
		child = child_start(0, copies_attack, copies);
		step(child > 0);
	}
	step(!read(copies->gone[0], &c, 1));
	for (int i = 0; i < copies->nr; i++)
		attack(&copies->pieces[i]);
	step(!heap_mappings());
	if (child)
		step(!child_wait(child));
}

/* Makes heaps, has them copied into a child, which it tells the pid of, and ends. */
static void copies_own(struct copies *copies, pid_t *child)
{
	struct pheap_ioc_create c[NR_COPIED];
	int fd = device_open();

	step(fd >= 0);
	copies->fd = fd;
	for (unsigned int i = 0; i < NR_COPIED; i++) {
		const struct shape *s = &shapes[i];

		step(!raw_create(fd, s->initial, s->maximum, s->flags, s->name, &c[i]));
		copies->nr += pieces_get(c[i].base, c[i].reserved_bytes,
					 copies->pieces + copies->nr, MAX_PIECES - copies->nr);
		step(copies->nr <= MAX_PIECES);
	}
	for (struct piece *p = copies->pieces; p < copies->pieces + copies->nr; p++) {
		if (madvise(u64_to_ptr(p->start), p->end - p->start, MADV_DOFORK)) {
			step(errno == EINVAL);
			_exit(SKIPPED);
		}
	}
	*child = child_start(0, copies_attack, copies);
	step(*child > 0);
	/* Half of them end by destroy, the others with the process. */
	for (unsigned int i = 0; i < NR_COPIED; i++)
		if (*child & 1)
			step(!raw_destroy(fd, c[i].heap));
	close(fd);
}

/*
 * One round. The end of the owner is known for certain, because this process becomes the parent of
 * what the owner leaves. With @before, nothing is left then but the copies. Returns the exit status
 * of the owner or of the attackers.
 */
static int copies_round(const struct pheap_counters *before)
{
	pid_t *attacker = shared_alloc(sizeof(*attacker)), owner;
	struct copies copies = { .nr = 0 };
	int r, ret = 0;

	if (!attacker || pipe(copies.gone))
		return -errno;
	fflush(stdout);
	owner = fork();
	if (!owner) {
		close(copies.gone[1]);
		copies_own(&copies, attacker);
		_exit(0);
	}
	r = child_wait(owner);
	if (!r && before && !counters_settle(*before))
		r = -EBUSY;
	close(copies.gone[1]);
	close(copies.gone[0]);
	if (*attacker > 0)
		ret = child_wait(*attacker);
	munmap(attacker, sizeof(*attacker));
	return r ?: ret;
}

/* What others have freed, contexts too, is this process's. */
static void come_and_go(void *arg)
{
	struct pheap_ioc_create c;

	step(!prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE)) {
		int fd = device_open();

		step(fd >= 0);
		for (unsigned int i = 0; i < 8; i++) {
			step(!raw_create(fd, 0, i & 1 ? MIB : 0, 0, i & 2 ? "other" : NULL, &c));
			step(!raw_destroy(fd, c.heap));
		}
		close(fd);
	}
}

TEST_F_TIMEOUT(hostile, copy_by_fork_holds_nothing_and_is_harmless, TIMEOUT)
{
	bool *stop = shared_alloc(sizeof(*stop));
	pid_t others;
	int r;

	ASSERT_NE(NULL, stop);
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	r = copies_round(&self->before);
	if (r == SKIPPED)
		SKIP(return, "this kernel gives children no copy of such mappings");
	ASSERT_EQ(0, r);
	others = child_start(TEST_UID, come_and_go, stop);
	ASSERT_LT(0, others);
	for (unsigned long i = test_scaled(16); i; i--)
		EXPECT_EQ(0, copies_round(NULL));
	__atomic_store_n(stop, true, __ATOMIC_RELEASE);
	EXPECT_EQ(0, child_wait(others));
	munmap(stop, sizeof(*stop));
}

/*
 * SIGKILL in the middle of a large commit
 */

#define KILL_BYTES	(192 * MIB)

struct commit_job {
	bool small_pages;
	bool started;
	long long ms;
};

static void commit_much(void *arg)
{
	struct commit_job *job = arg;
	struct pheap_ioc_create c;
	int fd = device_open();

	step(fd >= 0);
	step(!prctl(PR_SET_THP_DISABLE, job->small_pages, 0, 0, 0));
	step(!raw_create(fd, 0, 2 * KILL_BYTES, 0, NULL, &c));
	job->ms = now_ms();
	__atomic_store_n(&job->started, true, __ATOMIC_RELEASE);
	step(!raw_commit(fd, c.heap, KILL_BYTES, PHEAP_COMMIT_POPULATE, NULL));
	job->ms = now_ms() - job->ms;
}

/* Kills the commit after @delay_ms, or when it is done; returns how long it took to end, or -1. */
static long long commit_and_kill(struct commit_job *job, long long delay_ms)
{
	struct timespec delay = { delay_ms / 1000, delay_ms % 1000 * 1000000 };
	long long killed;
	pid_t pid;
	int r;

	job->started = false;
	pid = child_start(0, commit_much, job);
	while (!__atomic_load_n(&job->started, __ATOMIC_ACQUIRE)) {
		if (pid < 0 || waitpid(pid, NULL, WNOHANG))
			return -1;
		sched_yield();
	}
	nanosleep(&delay, NULL);
	killed = now_ms();
	kill(pid, SIGKILL);
	r = child_wait(pid);
	return r && r != -SIGKILL ? -1 : now_ms() - killed;
}

TEST_F_TIMEOUT(hostile, kill_during_a_large_commit_ends_it_promptly, TIMEOUT)
{
	struct commit_job *job = shared_alloc(sizeof(*job));

	ASSERT_NE(NULL, job);
	if (meminfo("MemAvailable") < (long long)(KILL_BYTES + 16 * MIB) +
	    self->saved[RESERVE] * (long long)PAGE)
		SKIP(return, "not enough memory available");
	for (int i = 0; i < 2; i++) {
		long long whole_ms, ms;

		job->small_pages = i;
		ASSERT_EQ(0, child_wait(child_start(0, commit_much, job)));
		whole_ms = job->ms;
		for (int k = 0; k < 5; k++) {
			ms = commit_and_kill(job, whole_ms * k / 5);
			ASSERT_LE(0, ms);
			ASSERT_TRUE(counters_settle(self->before));
			EXPECT_GT(PROMPT_MS, ms);
		}
	}
	munmap(job, sizeof(*job));
}

/*
 * Allocations that fail because the mapping is lost or cannot change
 */

static void fail_for_a_sealed_tail(void *arg)
{
	struct piece pieces[MAX_PIECES];
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	int fd = device_open(), nr;
	void *p;

	step(fd >= 0);
	step(!raw_create(fd, 0, 256 * MIB, 0, NULL, &c));
	nr = pieces_get(c.base, c.reserved_bytes, pieces, MAX_PIECES);
	step(nr >= 2 && nr <= MAX_PIECES);
	/* A sealed tail cannot be made dumpable: the heap lives and does not grow there. */
	if (syscall(__NR_mseal, pieces[nr - 1].start, pieces[nr - 1].end - pieces[nr - 1].start,
		    0)) {
		step(errno == ENOSYS);
		_exit(SKIPPED);
	}
	step(raw_alloc(fd, c.heap, 30 * MIB, &p) == -EPERM && !p);
	step(raw_commit(fd, c.heap, 30 * MIB, 0, NULL) == -EPERM);
	step(!raw_stat(fd, c.heap, &st));
	step(!st.nr_failures && !st.nr_blocks);
	step(raw_destroy(fd, c.heap) == -EPERM);
}

TEST_F_TIMEOUT(hostile, failure_that_is_not_for_want_of_memory_is_not_counted, TIMEOUT)
{
	int r = child_wait(child_start(0, fail_for_a_sealed_tail, NULL));

	if (r == SKIPPED)
		SKIP(return, "this kernel has no mseal (before 6.10)");
	EXPECT_EQ(0, r);
}

struct race {
	int fd;
	pthread_barrier_t barrier;
	struct pheap_ioc_create c;
	bool done;
	unsigned long blocks;
	int wrong;		/* an error that should not be, or 1 for a bad address */
};

/* Allocates from the heap of each round until that is no more. */
static void *race_alloc(void *arg)
{
	struct race *race = arg;
	const struct pheap_ioc_create *c = &race->c;
	struct rng rng;

	rng_start(&rng);
	for (;;) {
		__u64 sum = 0, bytes, usable, at;
		void *p;
		int r;

		pthread_barrier_wait(&race->barrier);
		if (race->done)
			return NULL;
		/* Less than the reservation, and less than the machine has. */
		while (sum < 60 * MIB) {
			bytes = rng_below(&rng, rng_below(&rng, 8) ? 8 * KIB : 3 * MIB);
			r = raw_alloc_full(race->fd, c->heap, bytes, 0, 0, &p, &usable);
			at = ptr_to_u64(p);
			if (r) {
				if (r != -ENOENT || p)
					race->wrong = r;
				break;
			}
			if (at < c->base || at + usable > c->base + c->reserved_bytes)
				race->wrong = 1;
			race->blocks++;
			sum += bytes;
		}
		pthread_barrier_wait(&race->barrier);
	}
}

TEST_F_TIMEOUT(hostile, alloc_racing_with_munmap_ends_with_ENOENT, TIMEOUT)
{
	const long long end = now_ms() + 5000;
	unsigned long nr = test_scaled(400), i;
	struct piece pieces[MAX_PIECES];
	static struct race race;
	struct rng rng = { .state = 7 };
	pthread_t thread;

	race.fd = self->fd;
	ASSERT_EQ(0, pthread_barrier_init(&race.barrier, NULL, 2));
	ASSERT_EQ(0, pthread_create(&thread, NULL, race_alloc, &race));
	for (i = 0; i < nr && now_ms() < end && !race.wrong; i++) {
		struct pheap_ioc_create *c = &race.c;
		const struct piece *piece;
		volatile unsigned long spin;
		int r;

		ASSERT_EQ(0, raw_create(self->fd, 0, i & 1 ? 64 * MIB : 128 * MIB, 0, NULL, c));
		r = pieces_get(c->base, c->reserved_bytes, pieces, MAX_PIECES);
		piece = &pieces[rng_below(&rng, r)];
		pthread_barrier_wait(&race.barrier);
		for (spin = rng_below(&rng, 1000000); spin; spin--)
			;
		/* One mapping of it, or all if the heap has grown over that. */
		if (munmap(u64_to_ptr(piece->start), piece->end - piece->start))
			EXPECT_EQ(0, munmap(u64_to_ptr(c->base), c->reserved_bytes));
		pthread_barrier_wait(&race.barrier);
		r = raw_destroy(self->fd, c->heap);
		if (r)
			EXPECT_EQ(-ENOENT, r);
	}
	race.done = true;
	pthread_barrier_wait(&race.barrier);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_NE(0, race.blocks);
	EXPECT_EQ(0, heap_mappings());
	EXPECT_EQ(0, race.wrong);
}

TEST_HARNESS_MAIN
