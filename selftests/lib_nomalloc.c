// SPDX-License-Identifier: GPL-2.0
/*
 * libheapuser never calls malloc() or its relatives: it may be what they are made of. This
 * program puts its own in front of the C library's and counts, in every function and in the ways
 * that are taken rarely.
 */
#include "lib_env.h"
#include <sys/syscall.h>
#include "kselftest_harness.h"

static __thread unsigned long nr_calls;

/* Global, so that the compiler cannot do without the calls that it keeps the results of. */
void *sink;

void *malloc(size_t n)
{
	nr_calls++;
	return __libc_malloc(n);
}

void *calloc(size_t nmemb, size_t n)
{
	nr_calls++;
	return __libc_calloc(nmemb, n);
}

void *realloc(void *p, size_t n)
{
	nr_calls++;
	return __libc_realloc(p, n);
}

void *memalign(size_t align, size_t n)
{
	nr_calls++;
	return __libc_memalign(align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	nr_calls++;
	return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	nr_calls++;
	*p = __libc_memalign(align, n);
	return *p ? 0 : ENOMEM;
}

void free(void *p)
{
	nr_calls++;
	__libc_free(p);
}

/* The counters work at all: without this the other tests would prove nothing. */
TEST(calls_are_counted)
{
	FILE *f;

	nr_calls = 0;
	sink = malloc(10);
	sink = realloc(sink, 20);
	free(sink);
	EXPECT_EQ(3, nr_calls);
	/* And so are those that come from a shared library. */
	f = fopen("/dev/null", "r");
	EXPECT_LT(3, nr_calls);
	fclose(f);
}

TEST(every_function)
{
	struct pheap *h, *list[4];
	struct pheap_stat st;
	void *p;

	nr_calls = 0;
	h = pheap_create_named(0, MIB, PHEAP_POPULATE, "name");
	p = pheap_alloc(h, 10);
	pheap_usable_size(h, p);
	pheap_size(h, p);
	pheap_free(h, p);
	pheap_free(h, pheap_zalloc(h, 10000));
	pheap_free(h, pheap_calloc(h, 10, 10));
	pheap_free(h, pheap_aligned_alloc(h, 4096, 10));
	pheap_commit(h, 8192, 0);
	pheap_stat(h, &st, sizeof(st));
	pheap_process_heaps(list, 4);
	EXPECT_NE(NULL, pheap_strerror(ENOSPC));
	pheap_destroy(h);
	EXPECT_EQ(0, nr_calls);
	EXPECT_EQ(4, st.nr_frees);
}

TEST(failures)
{
	struct pheap *h;

	nr_calls = 0;
	h = pheap_create(0, MIB, 0);
	EXPECT_EQ(NULL, pheap_alloc(h, hidden(SIZE_MAX)));
	EXPECT_EQ(-1, pheap_free(h, &h));
	EXPECT_EQ(NULL, pheap_create(0, MIB, PHEAP_CHECKED));
	EXPECT_EQ(0, pheap_destroy(h));
	EXPECT_EQ(-1, pheap_destroy(h));
	EXPECT_EQ(0, nr_calls);
}

TEST(growing_table_and_reopening)
{
	struct pheap *h[1000];
	unsigned int i, nr = 0;

	nr_calls = 0;
	for (i = 0; i < ARRAY_LEN(h); i++) {
		h[i] = pheap_create(0, 4096, 0);
		nr += !!h[i];
		if (i % 100 == 0)
			syscall(SYS_close_range, 3, ~0U, 0);
	}
	for (i = 0; i < ARRAY_LEN(h); i++)
		nr += !pheap_destroy(h[i]);
	EXPECT_EQ(0, nr_calls);
	EXPECT_EQ(2 * ARRAY_LEN(h), nr);
}

TEST_HARNESS_MAIN
