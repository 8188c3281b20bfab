// SPDX-License-Identifier: GPL-2.0
/*
 * What the functions of libheapuser return: every errno that heapuser.h names, one cause at a
 * time, what is left behind (nothing), errno after success (untouched), and the texts.
 */
#include "lib_env.h"
#include <limits.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "kselftest_harness.h"

/* The call must give @result and set errno to @err. */
#define EXPECT_FAILS(err, result, call)				\
	do {							\
		errno = ERRNO_MARK;				\
		EXPECT_EQ(result, call)				\
			TH_LOG("%s", #call);			\
		EXPECT_EQ(err, errno)				\
			TH_LOG("%s", #call);			\
	} while (0)

FIXTURE(errors)
{
	struct pheap *heap;
	unsigned char *block;
};

FIXTURE_SETUP(errors)
{
	self->heap = pheap_create(0, MIB, 0);
	ASSERT_NE(NULL, self->heap)
		TH_LOG("%s", pheap_strerror(errno));
	self->block = pheap_alloc(self->heap, 500);
	ASSERT_NE(NULL, self->block);
	pattern_fill(self->block, 500, 1);
}

/* No failure made or ended a heap or a block. */
FIXTURE_TEARDOWN(errors)
{
	struct pheap_stat st;

	EXPECT_EQ(1, pheap_process_heaps(NULL, 0));
	ASSERT_TRUE(pattern_ok(self->block, 500, 1));
	ASSERT_EQ(0, pheap_stat(self->heap, &st, sizeof(st)));
	EXPECT_EQ(1, st.nr_blocks);
	EXPECT_EQ(0, pheap_destroy(self->heap));
}

TEST_F(errors, create_flags)
{
	unsigned int accepted = PHEAP_NO_SERIALIZE | PHEAP_UNCACHED | PHEAP_POPULATE;
	struct pheap *h;
	int bit;

	for (bit = 0; bit < 32; bit++) {
		unsigned int flag = 1U << bit;

		if (!(flag & accepted)) {
			EXPECT_FAILS(EINVAL, NULL, pheap_create(0, MIB, flag));
			EXPECT_FAILS(EINVAL, NULL, pheap_create(0, MIB, flag | accepted));
			continue;
		}
		h = pheap_create(0, MIB, flag);
		ASSERT_NE(NULL, h);
		EXPECT_TRUE(handle_serves(h));
		EXPECT_EQ(0, pheap_destroy(h));
	}
}

TEST_F(errors, create_populate)
{
	struct pheap *h = pheap_create(256 * KIB, MIB, PHEAP_POPULATE);
	struct pheap_stat before, after;
	unsigned long i;

	ASSERT_NE(NULL, h);
	ASSERT_EQ(0, pheap_stat(h, &before, sizeof(before)));
	for (i = 0; i < 256 * KIB; i += PAGE)
		ASSERT_EQ(0, touch((char *)u64_to_ptr(before.base) + i, true));
	ASSERT_EQ(0, pheap_stat(h, &after, sizeof(after)));
	EXPECT_EQ(before.nr_faults, after.nr_faults);
	EXPECT_EQ(0, pheap_destroy(h));
}

TEST_F(errors, create_name)
{
	static const char *const good[] = {
		"", "a", "with space", "utf-8 no, but ~!@#$%^&*()_+={}|;:'\",.<>?",
		"0123456789012345678901234567890",
	};
	static const char *const bad[] = {
		"a/b", "a\\b", "[a", "a]", "a\nb", "\x01", "\x7f", "\xc3\xa4",
		"01234567890123456789012345678901",
		"a name that is much longer than any heap can have, whatever the library copies",
	};
	struct pheap *h;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(good); i++) {
		/* The longest goes into 31 characters. */
		if (strlen(good[i]) >= PHEAP_NAME_MAX)
			continue;
		h = pheap_create_named(0, MIB, 0, good[i]);
		ASSERT_NE(NULL, h)
			TH_LOG("%s", good[i]);
		EXPECT_EQ(0, pheap_destroy(h));
	}
	h = pheap_create_named(0, MIB, 0, NULL);
	ASSERT_NE(NULL, h);
	EXPECT_EQ(0, pheap_destroy(h));
	for (i = 0; i < ARRAY_LEN(bad); i++)
		EXPECT_FAILS(EINVAL, NULL, pheap_create_named(0, MIB, 0, bad[i]));
}

TEST_F(errors, create_name_is_shown)
{
	struct pheap *h = pheap_create_named(0, MIB, 0, "shown in maps");
	char line[512];
	bool found = false;
	FILE *f;

	ASSERT_NE(NULL, h);
	f = fopen("/proc/self/maps", "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f))
		found |= !!strstr(line, "shown in maps");
	fclose(f);
	EXPECT_TRUE(found);
	EXPECT_EQ(0, pheap_destroy(h));
}

TEST_F(errors, create_sizes)
{
	struct pheap_stat st;
	struct pheap *h;

	/* More than is there, and more than an address can name. */
	EXPECT_FAILS(ENOMEM, NULL, pheap_create(meminfo("MemTotal"), 1ULL << 40, 0));
	EXPECT_FAILS(ENOMEM, NULL, pheap_create(0, hidden(SIZE_MAX), 0));
	EXPECT_FAILS(ENOMEM, NULL, pheap_create(hidden(SIZE_MAX), hidden(SIZE_MAX), 0));
	/* An initial size above the maximum is no error. */
	h = pheap_create(hidden(SIZE_MAX), 64 * KIB, 0);
	ASSERT_NE(NULL, h);
	ASSERT_EQ(0, pheap_stat(h, &st, sizeof(st)));
	EXPECT_EQ(64 * KIB, st.committed_bytes);
	EXPECT_EQ(64 * KIB, st.reserved_bytes);
	EXPECT_EQ(0, pheap_destroy(h));
	h = pheap_create(1, 4097, 0);
	ASSERT_NE(NULL, h);
	ASSERT_EQ(0, pheap_stat(h, &st, sizeof(st)));
	EXPECT_EQ(4096, st.committed_bytes);
	EXPECT_EQ(8192, st.reserved_bytes);
	EXPECT_EQ(0, pheap_destroy(h));
}

TEST_F(errors, create_address_space)
{
	struct rlimit r = { .rlim_cur = GIB, .rlim_max = GIB };

	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &r));
	EXPECT_FAILS(ENOMEM, NULL, pheap_create(0, 2 * GIB, 0));
}

TEST_F(errors, full_heap)
{
	EXPECT_FAILS(ENOSPC, NULL, pheap_alloc(self->heap, MIB));
	EXPECT_FAILS(ENOSPC, NULL, pheap_alloc(self->heap, MIB + 1));
	EXPECT_FAILS(ENOSPC, NULL, pheap_alloc(self->heap, hidden(SIZE_MAX)));
	EXPECT_FAILS(ENOSPC, NULL, pheap_alloc(self->heap, hidden(SIZE_MAX) - 15));
	EXPECT_FAILS(ENOSPC, NULL, pheap_alloc(self->heap, hidden(SIZE_MAX) / 2));
	EXPECT_FAILS(ENOSPC, NULL, pheap_zalloc(self->heap, hidden(SIZE_MAX)));
	EXPECT_FAILS(ENOSPC, NULL, pheap_calloc(self->heap, hidden(SIZE_MAX), 1));
	EXPECT_FAILS(ENOSPC, NULL, pheap_calloc(self->heap, hidden(SIZE_MAX), 2));
	EXPECT_FAILS(ENOSPC, NULL, pheap_calloc(self->heap, hidden(SIZE_MAX) / 16 + 2, 16));
	EXPECT_FAILS(ENOSPC, NULL, pheap_calloc(self->heap, hidden(SIZE_MAX) / 2, 16));
	EXPECT_FAILS(ENOSPC, NULL, pheap_aligned_alloc(self->heap, 2 * MIB, hidden(SIZE_MAX)));
	EXPECT_FAILS(ENOSPC, -1, pheap_commit(self->heap, MIB + 1, 0));
	EXPECT_FAILS(ENOSPC, -1, pheap_commit(self->heap, hidden(SIZE_MAX), 0));
}

TEST_F(errors, alignment)
{
	struct pheap *h = pheap_create(0, 16 * MIB, 0);
	size_t align;
	void *p;

	ASSERT_NE(NULL, h);
	EXPECT_FAILS(EINVAL, NULL, pheap_aligned_alloc(h, hidden(0), 10));
	EXPECT_FAILS(EINVAL, NULL, pheap_aligned_alloc(h, hidden(3), 10));
	EXPECT_FAILS(EINVAL, NULL, pheap_aligned_alloc(h, hidden(24), 10));
	EXPECT_FAILS(EINVAL, NULL, pheap_aligned_alloc(h, hidden(4 * MIB), 10));
	EXPECT_FAILS(EINVAL, NULL, pheap_aligned_alloc(h, hidden(SIZE_MAX), 10));
	for (align = 1; align <= 2 * MIB; align *= 2) {
		p = pheap_aligned_alloc(h, align, 100);
		ASSERT_NE(NULL, p);
		EXPECT_EQ(0, (uintptr_t)p % align);
		EXPECT_EQ(0, (uintptr_t)p % 16);
		EXPECT_EQ(0, pheap_free(h, p));
	}
	EXPECT_EQ(0, pheap_destroy(h));
}

TEST_F(errors, zeroed)
{
	unsigned char *p;
	size_t usable, i;
	int way;

	for (way = 0; way < 2; way++) {
		p = pheap_alloc(self->heap, 3000);
		ASSERT_NE(NULL, p);
		usable = pheap_usable_size(self->heap, p);
		ASSERT_GE(usable, 3000);
		ASSERT_NE((size_t)-1, usable);
		EXPECT_EQ(usable, pheap_size(self->heap, p));
		memset(p, 0xff, usable);
		ASSERT_EQ(0, pheap_free(self->heap, p));
		p = way ? pheap_calloc(self->heap, 30, 100) : pheap_zalloc(self->heap, 3000);
		ASSERT_NE(NULL, p);
		usable = pheap_usable_size(self->heap, p);
		for (i = 0; i < usable; i++)
			ASSERT_EQ(0, p[i]);
		EXPECT_EQ(0, pheap_free(self->heap, p));
	}
}

TEST_F(errors, empty_blocks_are_blocks)
{
	void *a = pheap_alloc(self->heap, 0), *b = pheap_calloc(self->heap, 0, 8);

	EXPECT_NE(NULL, a);
	EXPECT_NE(NULL, b);
	EXPECT_NE(a, b);
	EXPECT_EQ(0, pheap_free(self->heap, a));
	EXPECT_EQ(0, pheap_free(self->heap, b));
}

TEST_F(errors, bad_pointers)
{
	void *bad[] = {
		self->block + 16, self->block + 1, self->block - 16, &self->heap,
		(void *)16, (void *)UINTPTR_MAX, self->heap,
	};
	struct pheap_stat st;
	unsigned int i;
	void *p;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		EXPECT_FAILS(EINVAL, -1, pheap_free(self->heap, bad[i]));
		EXPECT_FAILS(EINVAL, (size_t)-1, pheap_usable_size(self->heap, bad[i]));
		EXPECT_FAILS(EINVAL, (size_t)-1, pheap_size(self->heap, bad[i]));
	}
	EXPECT_FAILS(EINVAL, (size_t)-1, pheap_usable_size(self->heap, NULL));
	p = pheap_alloc(self->heap, 40);
	ASSERT_EQ(0, pheap_free(self->heap, p));
	EXPECT_FAILS(EINVAL, -1, pheap_free(self->heap, p));
	ASSERT_EQ(0, pheap_stat(self->heap, &st, sizeof(st)));
	EXPECT_EQ(ARRAY_LEN(bad) + 1, st.corruptions);
	/* Not counted, because it is no error. */
	errno = ERRNO_MARK;
	EXPECT_EQ(0, pheap_free(self->heap, NULL));
	EXPECT_EQ(ERRNO_MARK, errno);
}

TEST_F(errors, commit)
{
	struct pheap_stat st;
	int bit;

	for (bit = 0; bit < 32; bit++)
		if (1U << bit != PHEAP_POPULATE)
			EXPECT_FAILS(EINVAL, -1, pheap_commit(self->heap, 8192, 1U << bit));
	errno = ERRNO_MARK;
	EXPECT_EQ(0, pheap_commit(self->heap, 8193, 0));
	ASSERT_EQ(0, pheap_stat(self->heap, &st, sizeof(st)));
	EXPECT_EQ(3 * PAGE, st.committed_bytes);
	EXPECT_EQ(0, pheap_commit(self->heap, MIB, PHEAP_POPULATE));
	EXPECT_EQ(0, pheap_commit(self->heap, 0, 0));
	ASSERT_EQ(0, pheap_stat(self->heap, &st, sizeof(st)));
	EXPECT_EQ(MIB, st.committed_bytes);
	EXPECT_EQ(ERRNO_MARK, errno);
}

TEST_F(errors, stat)
{
	size_t known = offsetof(struct pheap_stat, base);
	struct { struct pheap_stat st; unsigned char more[64]; } big;
	struct pheap_stat st;
	size_t i;

	EXPECT_FAILS(EINVAL, -1, pheap_stat(self->heap, NULL, sizeof(st)));
	memset(&st, POISON_BYTE, sizeof(st));
	EXPECT_FAILS(EINVAL, -1, pheap_stat(self->heap, &st, 0));
	EXPECT_FAILS(EINVAL, -1, pheap_stat(self->heap, &st, known - 1));
	EXPECT_EQ(POISON, st.reserved_bytes);

	/* A program older than the library. */
	EXPECT_EQ(0, pheap_stat(self->heap, &st, known));
	EXPECT_EQ(MIB, st.reserved_bytes);
	EXPECT_EQ(0, st.corruptions);
	EXPECT_EQ(POISON, st.base);
	EXPECT_EQ(POISON, st.library_bytes);

	/* A newer one. */
	memset(&big, POISON_BYTE, sizeof(big));
	errno = ERRNO_MARK;
	EXPECT_EQ(0, pheap_stat(self->heap, &big.st, sizeof(big)));
	EXPECT_EQ(ERRNO_MARK, errno);
	for (i = 0; i < sizeof(big.more); i++)
		EXPECT_EQ(0, big.more[i]);

	EXPECT_EQ(0, big.st.cached_bytes);
	EXPECT_EQ(1, big.st.nr_blocks);
	EXPECT_EQ(1, big.st.nr_allocs);
	EXPECT_EQ(0, big.st.nr_frees);
	EXPECT_EQ(0, big.st.nr_failures);
	EXPECT_GE(big.st.allocated_bytes, 500);
	EXPECT_GE(big.st.committed_bytes, 4096);
	EXPECT_EQ(big.st.committed_bytes, big.st.peak_committed_bytes);
	EXPECT_GE((uintptr_t)self->block, big.st.base);
	EXPECT_LT((uintptr_t)self->block, big.st.base + big.st.committed_bytes);
	EXPECT_GT(big.st.metadata_bytes, 0);
	EXPECT_GT(big.st.library_bytes, 0);
}

TEST_F(errors, errno_survives_success)
{
	struct pheap_stat st;
	struct pheap *h;
	void *p;

	errno = ERRNO_MARK;
	h = pheap_create_named(0, MIB, 0, "name");
	p = pheap_alloc(h, 10);
	pheap_usable_size(h, p);
	pheap_size(h, p);
	pheap_free(h, p);
	pheap_free(h, pheap_zalloc(h, 10));
	pheap_free(h, pheap_calloc(h, 10, 10));
	pheap_free(h, pheap_aligned_alloc(h, 4096, 10));
	pheap_commit(h, 8192, PHEAP_POPULATE);
	pheap_stat(h, &st, sizeof(st));
	pheap_process_heaps(NULL, 0);
	EXPECT_NE(NULL, pheap_strerror(ENOSPC));
	pheap_destroy(h);
	EXPECT_EQ(ERRNO_MARK, errno);
	EXPECT_EQ(4, st.nr_frees);
}

/* The limits of the module hold for users without CAP_SYS_RESOURCE. */
FIXTURE(limits)
{
	long long process_pages;
	long long user_heaps;
};

FIXTURE_SETUP(limits)
{
	if (geteuid())
		SKIP(return, "needs root to set the module's limits");
	self->process_pages = param_get("process_limit_pages");
	self->user_heaps = param_get("user_limit_heaps");
	ASSERT_GT(self->process_pages, 0);
	ASSERT_GT(self->user_heaps, 0);
}

FIXTURE_TEARDOWN(limits)
{
	EXPECT_EQ(0, param_set("process_limit_pages", self->process_pages));
	EXPECT_EQ(0, param_set("user_limit_heaps", self->user_heaps));
}

/* In a child, because the fixture stays root. Tells the errno of create, alloc and commit. */
static int limited_child(int *create, int *alloc, int *commit)
{
	int ends[2], errors[3] = { 0 }, status;
	pid_t pid;

	if (pipe(ends))
		return -1;
	pid = fork();
	if (!pid) {
		struct pheap *h = drop_privileges(TEST_UID) ? NULL : pheap_create(0, 64 * MIB, 0);
		unsigned int i;
		void *p;

		errno = 0;
		if (!pheap_create(32 * MIB, 64 * MIB, 0))
			errors[0] = errno;
		for (i = 0; i < 80; i++) {
			p = pheap_alloc(h, MIB - 4096);
			if (!p) {
				errors[1] = errno;
				break;
			}
		}
		if (pheap_commit(h, 32 * MIB, 0))
			errors[2] = errno;
		_exit(write(ends[1], errors, sizeof(errors)) != sizeof(errors));
	}
	close(ends[1]);
	if (read(ends[0], errors, sizeof(errors)) != sizeof(errors))
		errors[0] = -1;
	close(ends[0]);
	waitpid(pid, &status, 0);
	*create = errors[0];
	*alloc = errors[1];
	*commit = errors[2];
	return status;
}

TEST_F(limits, pages_of_a_process)
{
	int create, alloc, commit;

	ASSERT_EQ(0, param_set("process_limit_pages", 16 * MIB / PAGE));
	ASSERT_EQ(0, limited_child(&create, &alloc, &commit));
	EXPECT_EQ(EDQUOT, create);
	EXPECT_EQ(EDQUOT, alloc);
	EXPECT_EQ(EDQUOT, commit);
}

TEST_F(limits, heaps_of_a_user)
{
	int create, alloc, commit;

	ASSERT_EQ(0, param_set("user_limit_heaps", 1));
	ASSERT_EQ(0, limited_child(&create, &alloc, &commit));
	EXPECT_EQ(EDQUOT, create);
	EXPECT_EQ(ENOSPC, alloc);
	EXPECT_EQ(0, commit);
}

/* A cgroup that is too small: errors, and the program lives. */
TEST(memory_cgroup)
{
	struct pheap *h;
	void *p;

	if (geteuid() || cgroup_create("lib_errors", 16 * MIB))
		SKIP(return, "needs root and the memory controller");
	ASSERT_EQ(0, cgroup_enter("lib_errors"));
	EXPECT_FAILS(ENOMEM, NULL, pheap_create(32 * MIB, 64 * MIB, 0));
	h = pheap_create(0, 64 * MIB, 0);
	ASSERT_NE(NULL, h);
	EXPECT_FAILS(ENOMEM, -1, pheap_commit(h, 32 * MIB, 0));
	do {
		p = pheap_alloc(h, 100000);
	} while (p);
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_EQ(0, pheap_destroy(h));
	EXPECT_EQ(0, cgroup_value("lib_errors", "memory.events", "oom_kill"));
	EXPECT_EQ(0, cgroup_enter("."));
	EXPECT_EQ(0, cgroup_remove("lib_errors"));
}

TEST(texts_are_distinct)
{
	static const int known[] = {
		0, ENODEV, EACCES, EMFILE, ENOSPC, ENOMEM, EDQUOT, EINVAL, EPERM, ERRNO_MARK,
	};
	unsigned int i, k;

	for (i = 0; i < ARRAY_LEN(known); i++) {
		const char *text = pheap_strerror(known[i]);

		ASSERT_NE(NULL, text);
		EXPECT_LT(5, strlen(text));
		EXPECT_EQ(NULL, strchr(text, '\n'));
		for (k = 0; k < i; k++)
			EXPECT_STRNE(text, pheap_strerror(known[k]));
	}
}

TEST(texts_of_everything)
{
	int err;

	for (err = -5000; err < 5000; err++)
		ASSERT_NE(NULL, pheap_strerror(err));
	EXPECT_NE(NULL, pheap_strerror(INT_MIN));
	EXPECT_NE(NULL, pheap_strerror(INT_MAX));
}

TEST_HARNESS_MAIN
