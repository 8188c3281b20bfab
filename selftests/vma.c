// SPDX-License-Identifier: GPL-2.0
/*
 * What a program may do to the mappings of a heap, and what it may not. Either a call is refused
 * and the heap lives on with its data, or it unmaps something and the heap is dead at once, its
 * pages back, and the process unharmed. No call corrupts, and no heap ever overwrites a mapping
 * that is not its own.
 */
#include <sys/utsname.h>
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TIMEOUT		120
#define MAX_PIECES	16
#define DATA_SEED	77

/* Not in the headers of every C library. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define NR_MSEAL 462

FIXTURE(vma) {
	int fd;
	struct pheap_ioc_create c;
	unsigned char *base;	/* the heap */
	unsigned char *mem;	/* where the test looks, filled with the pattern */
	__u64 bytes;
	struct pheap_counters before;
	bool gone;		/* set by tests that ended the heap */
};

FIXTURE_VARIANT(vma) {
	struct memory_kind kind;
};

FIXTURE_VARIANT_ADD(vma, small) { .kind = MEMORY_SMALL };
FIXTURE_VARIANT_ADD(vma, front) { .kind = MEMORY_FRONT };
FIXTURE_VARIANT_ADD(vma, tail) { .kind = MEMORY_TAIL };

FIXTURE_SETUP(vma)
{
	self->before = counters_get();
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, memory_create(self->fd, &variant->kind, &self->c, &self->mem));
	self->base = u64_to_ptr(self->c.base);
	self->bytes = variant->kind.bytes;
	pattern_fill(self->mem, self->bytes, DATA_SEED);
}

FIXTURE_TEARDOWN(vma)
{
	if (!self->gone)
		EXPECT_EQ(0, raw_destroy(self->fd, self->c.heap));
	EXPECT_EQ(-ENOENT, raw_destroy(self->fd, self->c.heap));
	close(self->fd);
	EXPECT_TRUE(counters_settle(self->before));
}

/* The heap works and holds its data. */
static void check_alive(struct __test_metadata *_metadata, struct _test_data_vma *self)
{
	struct pheap_ioc_stat st;
	void *p;

	EXPECT_TRUE(pattern_ok(self->mem, self->bytes, DATA_SEED));
	EXPECT_EQ(0, touch(self->mem, true));
	EXPECT_EQ(0, touch(self->mem + self->bytes - 1, true));
	ASSERT_EQ(0, raw_stat(self->fd, self->c.heap, &st));
	EXPECT_EQ(self->c.reserved_bytes, st.reserved_bytes);
	EXPECT_EQ(self->c.reserved_bytes,
		  smaps_field(self->c.base, self->c.reserved_bytes, "Size"));
	ASSERT_EQ(0, raw_alloc(self->fd, self->c.heap, 100, &p));
	EXPECT_EQ(0, raw_free(self->fd, self->c.heap, p));
}

/*
 * The heap answers to nothing; DESTROY may still have pieces to
 * unmap, afterwards it answers to nothing as well.
 */
static void check_dead(struct __test_metadata *_metadata, struct _test_data_vma *self)
{
	struct pheap_ioc_stat st;
	struct pheap_list_entry e;
	__u64 nr = 1;
	void *p;

	EXPECT_EQ(-ENOENT, raw_stat(self->fd, self->c.heap, &st));
	EXPECT_EQ(-ENOENT, raw_alloc(self->fd, self->c.heap, 100, &p));
	EXPECT_EQ(-ENOENT, raw_free(self->fd, self->c.heap, self->base));
	EXPECT_EQ(-ENOENT, raw_commit(self->fd, self->c.heap, self->c.reserved_bytes, 0, NULL));
	EXPECT_EQ(0, raw_list(self->fd, &e, &nr));
	EXPECT_EQ(0, nr);
	self->gone = true;
}

static int heap_pieces(struct _test_data_vma *self, struct piece *pieces)
{
	return pieces_get(self->c.base, self->c.reserved_bytes, pieces, MAX_PIECES);
}

/*
 * munmap
 */

TEST_F_TIMEOUT(vma, munmap_of_a_part_is_refused, TIMEOUT)
{
	struct piece pieces[MAX_PIECES];
	int nr = heap_pieces(self, pieces);

	ASSERT_LE(1, nr);
	for (int i = 0; i < nr; i++) {
		unsigned char *start = u64_to_ptr(pieces[i].start);
		__u64 bytes = pieces[i].end - pieces[i].start;

		EXPECT_TRUE(pieces[i].heap);
		EXPECT_EQ(-1, munmap(start, PAGE));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, munmap(start + bytes - PAGE, PAGE));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, munmap(start + 2 * MIB, 2 * MIB));
		EXPECT_EQ(EINVAL, errno);
	}
	check_alive(_metadata, self);
}

TEST_F_TIMEOUT(vma, munmap_of_the_whole_ends_the_heap, TIMEOUT)
{
	ASSERT_EQ(0, munmap(self->base, self->c.reserved_bytes));
	check_dead(_metadata, self);
	EXPECT_EQ(SIGSEGV, touch(self->mem, false));
	EXPECT_EQ(0, pieces_get(self->c.base, self->c.reserved_bytes, NULL, 0));
	/* The pages are back without any further call. */
	EXPECT_TRUE(counters_settle(self->before));
}

TEST_F_TIMEOUT(vma, munmap_of_more_than_the_heap_ends_it, TIMEOUT)
{
	unsigned char *guard = mmap(self->base - PAGE, PAGE, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (guard == MAP_FAILED)
		ASSERT_EQ(EEXIST, errno);
	ASSERT_EQ(0, munmap(self->base - PAGE, self->c.reserved_bytes + PAGE));
	check_dead(_metadata, self);
	EXPECT_EQ(0, pieces_get(self->c.base - PAGE, self->c.reserved_bytes + PAGE, NULL, 0));
}

/* Unmapping any one mapping of the heap kills all of it; DESTROY takes away what is left. */
TEST_F_TIMEOUT(vma, munmap_of_one_piece_ends_the_heap, TIMEOUT)
{
	struct piece pieces[MAX_PIECES];
	struct pheap_ioc_create c;
	int nr = heap_pieces(self, pieces);

	ASSERT_LE(1, nr);
	ASSERT_GE(MAX_PIECES, nr);
	EXPECT_EQ(0, raw_destroy(self->fd, self->c.heap));
	for (int i = 0; i < nr; i++) {
		unsigned char *mem;
		int left;

		ASSERT_EQ(0, memory_create(self->fd, &variant->kind, &c, &mem));
		self->c = c;
		self->base = u64_to_ptr(c.base);
		ASSERT_EQ(nr, heap_pieces(self, pieces));
		memset(self->base, 1, variant->kind.commit);
		ASSERT_EQ(0, munmap(u64_to_ptr(pieces[i].start), pieces[i].end - pieces[i].start));
		check_dead(_metadata, self);
		for (int j = 0; j < nr; j++) {
			EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(pieces[j].start), false));
			EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(pieces[j].start + 5 * PAGE), true));
		}
		left = nr - 1;
		EXPECT_EQ(left, pieces_get(c.base, c.reserved_bytes, NULL, 0));
		EXPECT_EQ(left ? 0 : -ENOENT, raw_destroy(self->fd, c.heap));
		EXPECT_EQ(0, pieces_get(c.base, c.reserved_bytes, NULL, 0));
		EXPECT_EQ(-ENOENT, raw_destroy(self->fd, c.heap));
		EXPECT_TRUE(counters_settle(self->before));
	}
}

TEST_F_TIMEOUT(vma, process_exit_frees_what_is_left_of_a_killed_heap, TIMEOUT)
{
	struct pheap_counters with_heap = counters_get();
	int status;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct piece pieces[MAX_PIECES];
		struct pheap_ioc_create c;
		unsigned char *mem;

		if (memory_create(self->fd, &variant->kind, &c, &mem))
			_exit(1);
		memset(u64_to_ptr(c.base), 1, variant->kind.commit);
		if (pieces_get(c.base, c.reserved_bytes, pieces, MAX_PIECES) < 1)
			_exit(2);
		_exit(munmap(u64_to_ptr(pieces[0].start), pieces[0].end - pieces[0].start) ? 3 : 0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(counters_settle(with_heap));
	check_alive(_metadata, self);
}

/*
 * Mappings laid over the heap
 */

TEST_F_TIMEOUT(vma, map_fixed_over_a_part_is_refused, TIMEOUT)
{
	void *p = mmap(self->mem + PAGE, PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	EXPECT_EQ(MAP_FAILED, p);
	p = mmap(self->mem + PAGE, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_EQ(EEXIST, errno);
	check_alive(_metadata, self);
}

TEST_F_TIMEOUT(vma, map_fixed_over_the_whole_ends_the_heap, TIMEOUT)
{
	unsigned char *p = mmap(self->base, self->c.reserved_bytes, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	ASSERT_EQ(self->base, p);
	check_dead(_metadata, self);
	EXPECT_EQ(0, self->mem[0]);
	pattern_fill(p, 64 * KIB, 5);
	EXPECT_EQ(-ENOENT, raw_destroy(self->fd, self->c.heap));
	EXPECT_TRUE(pattern_ok(p, 64 * KIB, 5));
	EXPECT_EQ(0, munmap(p, self->c.reserved_bytes));
}

/*
 * What a program puts into the hole of a killed heap is the
 * program's: DESTROY unmaps only what is still the heap's.
 */
TEST_F_TIMEOUT(vma, a_mapping_in_the_hole_of_a_killed_heap_survives_destroy, TIMEOUT)
{
	struct piece pieces[MAX_PIECES];
	int nr = heap_pieces(self, pieces);

	ASSERT_LE(1, nr);
	ASSERT_GE(MAX_PIECES, nr);
	for (int i = 0; i < nr; i++) {
		unsigned char *hole = u64_to_ptr(pieces[i].start);
		__u64 bytes = pieces[i].end - pieces[i].start;
		struct pheap_ioc_create c;
		struct piece left;

		ASSERT_EQ(hole,
			  mmap(hole, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0));
		pattern_fill(hole, 64 * KIB, i);
		pattern_fill(hole + bytes - 64 * KIB, 64 * KIB, i);
		check_dead(_metadata, self);
		EXPECT_EQ(nr > 1 ? 0 : -ENOENT, raw_destroy(self->fd, self->c.heap));
		ASSERT_EQ(1, pieces_get(self->c.base, self->c.reserved_bytes, &left, 1));
		EXPECT_FALSE(left.heap);
		EXPECT_EQ(pieces[i].start, left.start);
		EXPECT_EQ(pieces[i].end, left.end);
		EXPECT_TRUE(pattern_ok(hole, 64 * KIB, i));
		EXPECT_TRUE(pattern_ok(hole + bytes - 64 * KIB, 64 * KIB, i));
		EXPECT_EQ(0, munmap(hole, bytes));

		if (i == nr - 1)
			break;
		ASSERT_EQ(0, memory_create(self->fd, &variant->kind, &c, &self->mem));
		self->c = c;
		self->base = u64_to_ptr(c.base);
		ASSERT_EQ(nr, heap_pieces(self, pieces));
	}
}

TEST_F_TIMEOUT(vma, a_mapping_inside_a_larger_hole_survives_destroy, TIMEOUT)
{
	unsigned char *inner = self->base + MIB;

	ASSERT_EQ(0, munmap(self->base, self->c.reserved_bytes));
	ASSERT_EQ(inner, mmap(inner, 64 * KIB, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	pattern_fill(inner, 64 * KIB, 6);
	EXPECT_EQ(-ENOENT, raw_destroy(self->fd, self->c.heap));
	EXPECT_TRUE(pattern_ok(inner, 64 * KIB, 6));
	EXPECT_EQ(0, munmap(inner, 64 * KIB));
	self->gone = true;
}

/*
 * The device itself cannot be mapped, and neither can a heap be mapped a second time through /proc.
 */
TEST_F_TIMEOUT(vma, the_device_cannot_be_mapped, TIMEOUT)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, self->c.base));
	check_alive(_metadata, self);
}

/*
 * mprotect, mremap, remap_file_pages
 */

TEST_F_TIMEOUT(vma, mprotect_is_refused, TIMEOUT)
{
	const int prots[] = {
		PROT_NONE, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
		PROT_READ | PROT_WRITE | PROT_EXEC,
	};

	for (unsigned int i = 0; i < ARRAY_LEN(prots); i++) {
		EXPECT_EQ(-1, mprotect(self->base, self->c.reserved_bytes, prots[i]));
		EXPECT_EQ(EACCES, errno);
		EXPECT_EQ(-1, mprotect(self->mem + PAGE, PAGE, prots[i]));
		EXPECT_EQ(EACCES, errno);
		EXPECT_EQ(-1, mprotect(self->mem + 2 * MIB, MIB, prots[i]));
		EXPECT_EQ(EACCES, errno);
	}
	check_alive(_metadata, self);
}

static void flags_line(const char *line, __u64 start, __u64 end, void *arg)
{
	char *out = arg;

	(void)start;
	(void)end;
	if (!strncmp(line, "VmFlags:", 8))
		snprintf(out + strlen(out), 1024 - strlen(out), "%s", line + 8);
}

TEST_F_TIMEOUT(vma, heap_memory_can_never_be_executable, TIMEOUT)
{
	char flags[1024] = "";

	ASSERT_LT(0, smaps_walk(0, self->c.base, self->c.reserved_bytes, flags_line, flags));
	EXPECT_NE(NULL, strstr(flags, " rd"));
	EXPECT_NE(NULL, strstr(flags, " wr"));
	EXPECT_EQ(NULL, strstr(flags, " ex"));
	EXPECT_EQ(NULL, strstr(flags, " me"));
	TH_LOG("VmFlags:%s", flags);
}

TEST_F_TIMEOUT(vma, mremap_is_refused, TIMEOUT)
{
	struct piece pieces[MAX_PIECES];
	int nr = heap_pieces(self, pieces);
	unsigned char *other = mmap(NULL, 132 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_LE(1, nr);
	ASSERT_NE(MAP_FAILED, other);
	for (int i = 0; i < nr; i++) {
		unsigned char *p = u64_to_ptr(pieces[i].start);
		__u64 bytes = pieces[i].end - pieces[i].start;

		/*
		 * Grow, shrink, duplicate, move, move a part, move
		 * without unmapping, move over another mapping.
		 */
		EXPECT_EQ(MAP_FAILED, mremap(p, bytes, bytes + PAGE, 0));
		EXPECT_EQ(MAP_FAILED, mremap(p, bytes, 2 * bytes, MREMAP_MAYMOVE));
		EXPECT_EQ(MAP_FAILED, mremap(p, bytes, bytes - PAGE, 0));
		EXPECT_EQ(MAP_FAILED, mremap(p, 0, PAGE, MREMAP_MAYMOVE));
		EXPECT_EQ(MAP_FAILED,
			  mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, other));
		EXPECT_EQ(MAP_FAILED,
			  mremap(p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other));
		EXPECT_EQ(MAP_FAILED, mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
		EXPECT_EQ(nr, heap_pieces(self, pieces));
		check_alive(_metadata, self);
	}
}

/* The system call would unmap first and fail afterwards: it must fail before. */
TEST_F_TIMEOUT(vma, remap_file_pages_is_refused, TIMEOUT)
{
	struct piece pieces[MAX_PIECES];
	int nr = heap_pieces(self, pieces);

	ASSERT_LE(1, nr);
	ASSERT_GE(MAX_PIECES, nr);
	for (int i = 0; i < nr; i++) {
		__u64 bytes = pieces[i].end - pieces[i].start;

		EXPECT_EQ(-1, syscall(SYS_remap_file_pages, pieces[i].start, bytes, 0,
				      pieces[i].start / PAGE + 16, 0));
		EXPECT_EQ(-1, syscall(SYS_remap_file_pages, pieces[i].start, bytes, 0,
				      pieces[i].start / PAGE, 0));
		EXPECT_EQ(-1, syscall(SYS_remap_file_pages, pieces[i].start + PAGE, PAGE, 0, 0, 0));
		EXPECT_EQ(nr, pieces_get(self->c.base, self->c.reserved_bytes, NULL, 0));
	}
	check_alive(_metadata, self);
}

/*
 * madvise
 */

/* The result depends on whether all of the mapping is committed. */
#define ANY (-1)

static int kernel_major(void)
{
	struct utsname name;

	return uname(&name) ? 0 : atoi(name.release);
}

/*
 * Results of advice on a whole mapping, and on a committed
 * part of it. What changes flags cannot be had for a part.
 */
static const struct advice {
	const char *name;
	int advice;
	int whole;
	int part;
} advices[] = {
	{ "NORMAL", MADV_NORMAL, 0, 0 },
	{ "RANDOM", MADV_RANDOM, 0, EINVAL },
	{ "SEQUENTIAL", MADV_SEQUENTIAL, 0, EINVAL },
	{ "WILLNEED", MADV_WILLNEED, 0, 0 },
	{ "DONTNEED", MADV_DONTNEED, 0, 0 },
	{ "FREE", MADV_FREE, EINVAL, EINVAL },
	{ "REMOVE", MADV_REMOVE, ENODEV, ENODEV },
	{ "DONTFORK", MADV_DONTFORK, 0, 0 },
	{ "DOFORK", MADV_DOFORK, 0, EINVAL },
	{ "DODUMP", MADV_DODUMP, EINVAL, EINVAL },
	{ "DONTDUMP", MADV_DONTDUMP, 0, EINVAL },
	{ "HUGEPAGE", MADV_HUGEPAGE, 0, EINVAL },
	{ "NOHUGEPAGE", MADV_NOHUGEPAGE, 0, EINVAL },
	{ "MERGEABLE", MADV_MERGEABLE, 0, 0 },
	{ "UNMERGEABLE", MADV_UNMERGEABLE, 0, 0 },
	{ "WIPEONFORK", MADV_WIPEONFORK, EINVAL, EINVAL },
	{ "KEEPONFORK", MADV_KEEPONFORK, 0, 0 },
	{ "COLD", MADV_COLD, 0, 0 },
	{ "PAGEOUT", MADV_PAGEOUT, 0, 0 },
	{ "POPULATE_READ", MADV_POPULATE_READ, ANY, 0 },
	{ "POPULATE_WRITE", MADV_POPULATE_WRITE, ANY, 0 },
	{ "DONTNEED_LOCKED", MADV_DONTNEED_LOCKED, 0, 0 },
	{ "COLLAPSE", MADV_COLLAPSE, EINVAL, EINVAL },
};

TEST_F_TIMEOUT(vma, madvise_of_a_part_never_loses_data, TIMEOUT)
{
	for (unsigned int i = 0; i < ARRAY_LEN(advices); i++) {
		/* A few pages, and half of a huge page. */
		int few = madvise(self->mem + PAGE, 3 * PAGE, advices[i].advice) ? errno : 0;
		int half = madvise(self->mem + 2 * MIB, MIB, advices[i].advice) ? errno : 0;

		if (advices[i].part != ANY) {
			EXPECT_EQ(advices[i].part, few)
				TH_LOG("MADV_%s", advices[i].name);
			EXPECT_EQ(advices[i].part, half)
				TH_LOG("MADV_%s", advices[i].name);
		}
		EXPECT_TRUE(pattern_ok(self->mem, self->bytes, DATA_SEED))
			TH_LOG("data lost by MADV_%s", advices[i].name);
	}
	check_alive(_metadata, self);
}

TEST_F_TIMEOUT(vma, madvise_of_a_whole_mapping_never_loses_data, TIMEOUT)
{
	struct piece pieces[MAX_PIECES];
	int nr = heap_pieces(self, pieces);

	ASSERT_LE(1, nr);
	ASSERT_GE(MAX_PIECES, nr);
	for (unsigned int i = 0; i < ARRAY_LEN(advices); i++) {
		for (int j = 0; j < nr; j++) {
			unsigned char *p = u64_to_ptr(pieces[j].start);
			__u64 bytes = pieces[j].end - pieces[j].start;
			int r = madvise(p, bytes, advices[i].advice) ? errno : 0;

			int whole = advices[i].whole;

			/* Linux 7 does not let such mappings be copied by fork at all. */
			if (advices[i].advice == MADV_DOFORK && kernel_major() >= 7)
				whole = EINVAL;
			if (whole != ANY)
				EXPECT_EQ(whole, r)
					TH_LOG("MADV_%s", advices[i].name);
		}
		EXPECT_TRUE(pattern_ok(self->mem, self->bytes, DATA_SEED))
			TH_LOG("data lost by MADV_%s", advices[i].name);
		EXPECT_EQ(nr, pieces_get(self->c.base, self->c.reserved_bytes, NULL, 0));
		check_alive(_metadata, self);
	}
	/* Whatever flags are left: the heap grows as far as it could. */
	EXPECT_EQ(0, raw_commit(self->fd, self->c.heap, self->c.reserved_bytes < 70 * MIB ?
				self->c.reserved_bytes : 70 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	check_alive(_metadata, self);
}

TEST_F_TIMEOUT(vma, dontneed_drops_the_mapping_not_the_data, TIMEOUT)
{
	__u64 rss = smaps_field(self->c.base, self->c.reserved_bytes, "Rss");

	EXPECT_LE(self->bytes, rss);
	for (unsigned int i = 0; i < 4; i++) {
		struct piece pieces[MAX_PIECES];
		int nr = heap_pieces(self, pieces);

		for (int j = 0; j < nr; j++)
			ASSERT_EQ(0, madvise(u64_to_ptr(pieces[j].start),
					     pieces[j].end - pieces[j].start, MADV_DONTNEED));
		EXPECT_EQ(0, smaps_field(self->c.base, self->c.reserved_bytes, "Rss"));
		EXPECT_TRUE(pattern_ok(self->mem, self->bytes, DATA_SEED));
		EXPECT_LE(self->bytes, smaps_field(self->c.base, self->c.reserved_bytes, "Rss"));
	}
	check_alive(_metadata, self);
}

TEST_F_TIMEOUT(vma, dontneed_of_half_a_huge_page_again_and_again, TIMEOUT)
{
	for (unsigned int i = 0; i < 16; i++) {
		ASSERT_EQ(0, madvise(self->mem + 2 * MIB + (i & 1) * MIB, MIB, MADV_DONTNEED));
		EXPECT_EQ(0, touch(self->mem + 2 * MIB + i * 64 * KIB, true));
	}
	check_alive(_metadata, self);
}

TEST_F_TIMEOUT(vma, populate_of_uncommitted_memory_fails_and_harms_nothing, TIMEOUT)
{
	EXPECT_EQ(-1,
		  madvise(self->base + self->c.reserved_bytes - PAGE, PAGE, MADV_POPULATE_WRITE));
	EXPECT_EQ(-1,
		  madvise(self->base + self->c.reserved_bytes - PAGE, PAGE, MADV_POPULATE_READ));
	check_alive(_metadata, self);
}

/*
 * Locking
 */

TEST_F_TIMEOUT(vma, mlock_of_the_heap_and_growth_after_it, TIMEOUT)
{
	__u64 committed;
	int r;

	/*
	 * ENOMEM tells that a part has no memory yet; what the kernel locked before it is locked.
	 */
	r = mlock(self->base, self->c.reserved_bytes);
	if (r)
		EXPECT_EQ(ENOMEM, errno);
	check_alive(_metadata, self);
	EXPECT_EQ(0, raw_commit(self->fd, self->c.heap, variant->kind.commit + MIB, 0, &committed));
	EXPECT_EQ(0, touch(self->base + variant->kind.commit + MIB - 1, true));
	EXPECT_EQ(0, munlock(self->base, self->c.reserved_bytes));
	check_alive(_metadata, self);
}

/*
 * userfaultfd
 */

static int uffd_open(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

TEST_F_TIMEOUT(vma, userfaultfd_is_refused, TIMEOUT)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct piece piece;
	int fd = uffd_open(0);

	if (fd == -ENOSYS)
		SKIP(return, "this kernel has no userfaultfd");
	ASSERT_LE(0, fd);
	ASSERT_EQ(1, pieces_get(ptr_to_u64(self->mem), 1, &piece, 1));
	reg.range.start = piece.start;
	reg.range.len = piece.end - piece.start;
	EXPECT_EQ(-1, ioctl(fd, UFFDIO_REGISTER, &reg));
	EXPECT_EQ(EINVAL, errno);
	reg.mode = UFFDIO_REGISTER_MODE_WP;
	EXPECT_EQ(-1, ioctl(fd, UFFDIO_REGISTER, &reg));
	EXPECT_EQ(EINVAL, errno);
	close(fd);
	check_alive(_metadata, self);
}

/* Since 6.7 the write tracking that needs no handler can be switched on for any mapping. */
TEST_F_TIMEOUT(vma, asynchronous_write_tracking_harms_nothing, TIMEOUT)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct piece piece;
	int fd = uffd_open((1 << 15) | (1 << 13));

	if (fd < 0)
		SKIP(return, "this kernel has no asynchronous write tracking (before 6.7)");
	ASSERT_EQ(1, pieces_get(ptr_to_u64(self->mem), 1, &piece, 1));
	reg.range.start = piece.start;
	reg.range.len = piece.end - piece.start;
	if (!ioctl(fd, UFFDIO_REGISTER, &reg)) {
		wp.range = reg.range;
		EXPECT_EQ(0, ioctl(fd, UFFDIO_WRITEPROTECT, &wp));
		check_alive(_metadata, self);
	}
	pattern_fill(self->mem, self->bytes, DATA_SEED);
	close(fd);
	check_alive(_metadata, self);
}

/*
 * mseal
 */

TEST_F_TIMEOUT(vma, a_sealed_heap_stays_until_the_process_ends, TIMEOUT)
{
	struct pheap_counters with_heap = counters_get();
	int status;
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		struct pheap_ioc_stat st;
		struct pheap_ioc_create c;
		unsigned char *mem;
		void *p;

		ASSERT_EQ(0, memory_create(self->fd, &variant->kind, &c, &mem));
		pattern_fill(mem, 64 * KIB, 8);
		if (syscall(NR_MSEAL, c.base, c.reserved_bytes, 0))
			_exit(errno == ENOSYS ? KSFT_SKIP : KSFT_FAIL);
		EXPECT_EQ(-EPERM, raw_destroy(self->fd, c.heap));
		/* Nothing has happened to it. */
		EXPECT_TRUE(pattern_ok(mem, 64 * KIB, 8));
		EXPECT_EQ(0, raw_stat(self->fd, c.heap, &st));
		EXPECT_EQ(0, raw_alloc(self->fd, c.heap, 1000, &p));
		EXPECT_EQ(0, raw_free(self->fd, c.heap, p));
		EXPECT_EQ(-EPERM, raw_destroy(self->fd, c.heap));
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(counters_settle(with_heap));
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "this kernel has no mseal (before 6.10)");
	EXPECT_EQ(0, status);
}

/*
 * Growth of a sealed large heap needs a mapping that the
 * seal forbids: refused, with everything as it was.
 */
TEST(growth_of_a_sealed_large_heap_is_refused)
{
	struct pheap_counters before = counters_get();
	int status, fd = device_open();
	pid_t child;

	ASSERT_LE(0, fd);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct pheap_ioc_stat st;
		struct pheap_ioc_create c;
		__u64 committed;

		ASSERT_EQ(0, raw_create(fd, 8 * MIB, 128 * MIB, 0, NULL, &c));
		pattern_fill(u64_to_ptr(c.base), 8 * MIB, 9);
		if (syscall(NR_MSEAL, c.base, c.reserved_bytes, 0))
			_exit(errno == ENOSYS ? KSFT_SKIP : KSFT_FAIL);
		EXPECT_GT(0, raw_commit(fd, c.heap, 24 * MIB, 0, NULL));
		ASSERT_EQ(0, raw_stat(fd, c.heap, &st));
		EXPECT_GT(24 * MIB, st.committed_bytes);
		/* Up to the border nothing has to be mapped. */
		EXPECT_EQ(0, raw_commit(fd, c.heap, 16 * MIB, 0, &committed));
		EXPECT_EQ(16 * MIB, committed);
		EXPECT_TRUE(pattern_ok(u64_to_ptr(c.base), 8 * MIB, 9));
		_exit(_metadata->exit_code);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(counters_settle(before));
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "this kernel has no mseal (before 6.10)");
	EXPECT_EQ(0, status);
}

/*
 * Races
 */

struct race {
	int fd;
	struct pheap_ioc_create c;
	volatile int start;
	struct rng rng;
	unsigned long allocs;
};

static void race_wait(struct race *r)
{
	while (!r->start)
		sched_yield();
}

/* Spins a little, to meet the others at another point each time. */
static void race_delay(uint64_t n)
{
	for (volatile uint64_t i = 0; i < n; i++)
		;
}

static void *race_user(void *arg)
{
	struct race *r = arg;
	struct rng rng = r->rng;
	void *p[16] = { NULL };
	unsigned int i = 0;
	int ret = 0;

	race_wait(r);
	while (ret != -ENOENT) {
		if (p[i])
			ret = raw_free(r->fd, r->c.heap, p[i]);
		ret = raw_alloc(r->fd, r->c.heap, 1 + rng_below(&rng, 256 * KIB), &p[i]);
		if (!ret) {
			touch(p[i], true);
			r->allocs++;
		} else {
			p[i] = NULL;
		}
		i = (i + 1) % ARRAY_LEN(p);
	}
	return NULL;
}

static void *race_committer(void *arg)
{
	struct race *r = arg;
	struct rng rng = r->rng;
	__u64 bytes = 0;

	rng_next(&rng);
	race_wait(r);
	while (bytes < 40 * MIB) {
		__u32 flags = rng_below(&rng, 2) ? PHEAP_COMMIT_POPULATE : 0;

		bytes += rng_below(&rng, 2 * MIB);
		if (raw_commit(r->fd, r->c.heap, bytes, flags, NULL) == -ENOENT)
			break;
		touch(u64_to_ptr(r->c.base + bytes - 1), true);
	}
	return NULL;
}

static void *race_destroyer(void *arg)
{
	struct race *r = arg;

	race_wait(r);
	race_delay(rng_below(&r->rng, 1000000));
	raw_destroy(r->fd, r->c.heap);
	return NULL;
}

FIXTURE(race) {
	struct race r;
	struct pheap_counters before;
};

FIXTURE_VARIANT(race) {
	__u64 maximum;
	bool destroyer;
};

FIXTURE_VARIANT_ADD(race, small) { .maximum = 8 * MIB };
FIXTURE_VARIANT_ADD(race, large) { .maximum = 128 * MIB };
FIXTURE_VARIANT_ADD(race, small_and_destroy) { .maximum = 8 * MIB, .destroyer = true };
FIXTURE_VARIANT_ADD(race, large_and_destroy) { .maximum = 128 * MIB, .destroyer = true };

FIXTURE_SETUP(race)
{
	self->before = counters_get();
	self->r.fd = device_open();
	ASSERT_LE(0, self->r.fd);
	rng_start(&self->r.rng);
}

FIXTURE_TEARDOWN(race)
{
	EXPECT_EQ(0, nr_heaps_own(self->r.fd));
	close(self->r.fd);
	EXPECT_TRUE(counters_settle(self->before));
}

TEST_F_TIMEOUT(race, munmap_against_use_of_the_heap, TIMEOUT)
{
	unsigned int nr = variant->destroyer ? 3 : 2;
	unsigned long allocs = 0;
	struct race *r = &self->r;

	for (unsigned long i = 0; i < test_scaled(60); i++) {
		void *(*fns[3])(void *) = { race_user, race_committer, race_destroyer };
		pthread_t threads[3];
		int ret;

		r->start = 0;
		r->allocs = 0;
		ASSERT_EQ(0, raw_create(r->fd, 0, variant->maximum, 0, NULL, &r->c));
		for (unsigned int t = 0; t < nr; t++)
			ASSERT_EQ(0, pthread_create(&threads[t], NULL, fns[t], r));
		r->start = 1;
		race_delay(rng_below(&r->rng, 1000000));
		/*
		 * The heap may be gone, and then nothing is
		 * mapped there: no thread here maps anything.
		 */
		ret = munmap(u64_to_ptr(r->c.base), r->c.reserved_bytes);
		if (!variant->destroyer)
			EXPECT_EQ(0, ret);
		for (unsigned int t = 0; t < nr; t++)
			pthread_join(threads[t], NULL);
		/*
		 * Growth may have been laying a mapping over the tail:
		 * a piece that came after the munmap is left.
		 */
		ret = raw_destroy(r->fd, r->c.heap);
		EXPECT_TRUE(ret == 0 || ret == -ENOENT);
		EXPECT_EQ(-ENOENT, raw_destroy(r->fd, r->c.heap));
		EXPECT_EQ(0, pieces_get(r->c.base, r->c.reserved_bytes, NULL, 0));
		allocs += r->allocs;
	}
	TH_LOG("%lu allocations before the end of their heaps", allocs);
}

/*
 * A foreign mapping in the reservation of a large heap. The heap dies of it; its growth, which lays
 * mappings over its own tail, must notice in time and never put one over the foreign mapping.
 */

TEST(growth_after_a_foreign_mapping_over_the_tail_is_refused)
{
	int fd = device_open();
	struct piece pieces[MAX_PIECES];
	struct pheap_ioc_create c;
	unsigned char *tail;
	__u64 bytes;
	int nr;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, raw_create(fd, 10 * MIB, 128 * MIB, 0, NULL, &c));
	nr = pieces_get(c.base, c.reserved_bytes, pieces, MAX_PIECES);
	ASSERT_LE(2, nr);
	ASSERT_GE(MAX_PIECES, nr);
	tail = u64_to_ptr(pieces[nr - 1].start);
	bytes = pieces[nr - 1].end - pieces[nr - 1].start;
	ASSERT_EQ(tail, mmap(tail, bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0));
	for (__u64 i = 0; i < bytes; i += MIB)
		pattern_fill(tail + i, PAGE, i);
	EXPECT_EQ(-ENOENT, raw_commit(fd, c.heap, 40 * MIB, 0, NULL));
	EXPECT_EQ(-ENOENT, raw_commit(fd, c.heap, 40 * MIB, PHEAP_COMMIT_POPULATE, NULL));
	EXPECT_EQ(0, raw_destroy(fd, c.heap));
	for (__u64 i = 0; i < bytes; i += MIB)
		EXPECT_TRUE(pattern_ok(tail + i, PAGE, i));
	EXPECT_EQ(0, munmap(tail, bytes));
}

static void *grow_thread(void *arg)
{
	struct race *r = arg;

	race_wait(r);
	for (__u64 bytes = MIB; bytes <= 72 * MIB; bytes += MIB)
		if (raw_commit(r->fd, r->c.heap, bytes, 0, NULL))
			break;
	return NULL;
}

FIXTURE(overlay) {
	struct race r;
	struct pheap_counters before;
};

FIXTURE_SETUP(overlay)
{
	self->before = counters_get();
	self->r.fd = device_open();
	ASSERT_LE(0, self->r.fd);
	rng_start(&self->r.rng);
}

FIXTURE_TEARDOWN(overlay)
{
	close(self->r.fd);
	EXPECT_TRUE(counters_settle(self->before));
}

TEST_F_TIMEOUT(overlay, growth_never_overwrites_a_foreign_mapping, TIMEOUT)
{
	struct race *r = &self->r;

	for (unsigned long i = 0; i < test_scaled(60); i++) {
		struct piece piece;
		unsigned char *at;
		pthread_t thread;
		__u64 bytes;

		r->start = 0;
		ASSERT_EQ(0, raw_create(r->fd, 0, 128 * MIB, 0, NULL, &r->c));
		at = u64_to_ptr(r->c.base + 16 * MIB);
		bytes = r->c.reserved_bytes - 16 * MIB;
		ASSERT_EQ(0, pthread_create(&thread, NULL, grow_thread, r));
		r->start = 1;
		race_delay(rng_below(&r->rng, 2000000));
		ASSERT_EQ(at, mmap(at, bytes, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0));
		for (__u64 j = 0; j < bytes; j += MIB)
			pattern_fill(at + j, 64, j + i);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(1, pieces_get(ptr_to_u64(at), bytes, &piece, 1));
		EXPECT_FALSE(piece.heap);
		for (__u64 j = 0; j < bytes; j += MIB)
			EXPECT_TRUE(pattern_ok(at + j, 64, j + i));
		EXPECT_EQ(0, raw_destroy(r->fd, r->c.heap));
		for (__u64 j = 0; j < bytes; j += MIB)
			EXPECT_TRUE(pattern_ok(at + j, 64, j + i));
		ASSERT_EQ(0, munmap(at, bytes));
	}
}

TEST_HARNESS_MAIN
