// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * memory.c - the library's own memory.
 *
 * Owns nothing itself: it hands out regions of private anonymous memory. A region is reserved
 * once at its full size and made accessible from its start as it is needed, so that it grows
 * without moving. It lies between two pages that cannot be accessed, and any kind of fork gives
 * the child zeroes in its place. Nothing here ever calls malloc(): the library may be what
 * malloc() is made of.
 */
#include "internal.h"

#include <sys/mman.h>
#include <unistd.h>

size_t heapuser_page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/**
 * heapuser_memory_reserve() - reserve a region
 * @bytes: size, a multiple of the page size
 *
 * Return: its first byte, or NULL if there is no such range of addresses. Nothing of it is
 * accessible before heapuser_memory_commit().
 */
void *heapuser_memory_reserve(size_t bytes)
{
	size_t guard = heapuser_page_bytes();
	char *p;

	p = mmap(NULL, guard + bytes + guard, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, guard + bytes + guard, MADV_WIPEONFORK)) {
		munmap(p, guard + bytes + guard);
		return NULL;
	}
	return p + guard;
}

/**
 * heapuser_memory_commit() - make memory of a region accessible
 * @p: first byte, page aligned
 * @bytes: size, a multiple of the page size
 *
 * Doing it again is harmless and changes no contents.
 *
 * Return: 0 or -ENOMEM.
 */
int heapuser_memory_commit(void *p, size_t bytes)
{
	return mprotect(p, bytes, PROT_READ | PROT_WRITE) ? -ENOMEM : 0;
}

/**
 * heapuser_memory_release() - give a region back
 * @p: what heapuser_memory_reserve() returned
 * @bytes: the size it was reserved with
 */
void heapuser_memory_release(void *p, size_t bytes)
{
	size_t guard = heapuser_page_bytes();

	munmap((char *)p - guard, guard + bytes + guard);
}
