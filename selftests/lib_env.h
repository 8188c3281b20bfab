/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the tests of libheapuser: what a valid and an invalid handle do, and where the
 * library's descriptor is.
 *
 * The library has state that lasts as long as its process. The harness runs every test in a child
 * of its own, and nothing may call the library before: so every test starts with a fresh library.
 */
#ifndef _LIB_ENV_H
#define _LIB_ENV_H

#include "pheap_test.h"
#include <dirent.h>
#include <heapuser.h>

/* The allocator of the C library, under the names that a program cannot replace. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t nmemb, size_t n);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

/* @n, unknown to the compiler, which would warn of sizes that no heap has. */
static inline size_t hidden(size_t n)
{
	__asm__("" : "+r" (n));
	return n;
}

/* An errno that no function sets: it must survive every success. */
#define ERRNO_MARK	12345

/* Whether every function refuses @h with EINVAL; prints one that does not. @p: any pointer. */
static inline bool handle_is_refused(struct pheap *h, void *p)
{
	struct pheap_stat st;
	const char *bad = NULL;

#define REFUSES(call, result)					\
	do {							\
		errno = 0;					\
		if ((call) != (result) || errno != EINVAL)	\
			bad = bad ? bad : #call;		\
	} while (0)

	REFUSES(pheap_alloc(h, 100), NULL);
	REFUSES(pheap_zalloc(h, 100), NULL);
	REFUSES(pheap_calloc(h, 10, 10), NULL);
	REFUSES(pheap_calloc(h, hidden(SIZE_MAX), 2), NULL);
	REFUSES(pheap_aligned_alloc(h, 64, 100), NULL);
	REFUSES(pheap_free(h, p), -1);
	REFUSES(pheap_free(h, NULL), -1);
	REFUSES(pheap_usable_size(h, p), (size_t)-1);
	REFUSES(pheap_size(h, p), (size_t)-1);
	REFUSES(pheap_commit(h, 1, 0), -1);
	REFUSES(pheap_stat(h, &st, sizeof(st)), -1);
	REFUSES(pheap_destroy(h), -1);
#undef REFUSES
	if (bad)
		printf("# not refused: %s\n", bad);
	return !bad;
}

/* Whether a heap serves: a block comes, holds its contents, and goes. */
static inline bool handle_serves(struct pheap *h)
{
	unsigned char *p;
	bool ok;

	errno = ERRNO_MARK;
	p = pheap_alloc(h, 1000);
	if (!p)
		return false;
	pattern_fill(p, 1000, 3);
	ok = pattern_ok(p, 1000, 3);
	return !pheap_free(h, p) && ok && errno == ERRNO_MARK;
}

/* Descriptors of /dev/pheap in this process: their number, and the highest of them in *@last. */
static inline int device_descriptors(int *last)
{
	struct stat dev, st;
	struct dirent *e;
	DIR *dir;
	int nr = 0;

	if (stat(PHEAP_DEVICE, &dev))
		return -errno;
	dir = opendir("/proc/self/fd");
	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && !fstat(fd, &st) && S_ISCHR(st.st_mode) &&
		    st.st_rdev == dev.st_rdev) {
			nr++;
			if (last)
				*last = fd;
		}
	}
	closedir(dir);
	return nr;
}

#endif /* _LIB_ENV_H */
