// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * block.c - blocks: alloc, free, sizes.
 *
 * Owns no state. Every call is one ioctl, and the kernel checks every pointer. block_alloc(),
 * block_free() and block_size() are the only way down, so caches of blocks belong in front of
 * these three and nowhere else.
 */
#include "internal.h"

/* What pheap_alloc() promises without being asked. */
#define DEFAULT_ALIGN	16

static int block_alloc(struct pheap *h, size_t bytes, size_t align, unsigned int flags, void **p)
{
	struct pheap_ioc_alloc arg = {
		.size = sizeof(arg),
		.flags = flags,
		.bytes = bytes,
		.align = align,
	};
	int err;

	err = heapuser_handle_lookup(h, &arg.heap);
	if (!err)
		err = heapuser_device_call(PHEAP_IOC_ALLOC, &arg);
	if (!err)
		*p = (void *)(uintptr_t)arg.addr;
	return err;
}

static int block_free(struct pheap *h, void *p)
{
	struct pheap_ioc_free arg = { .size = sizeof(arg), .addr = (uintptr_t)p };
	int err;

	err = heapuser_handle_lookup(h, &arg.heap);
	if (!err && p)
		err = heapuser_device_call(PHEAP_IOC_FREE, &arg);
	return err;
}

static int block_size(struct pheap *h, const void *p, size_t *bytes)
{
	struct pheap_ioc_size arg = { .size = sizeof(arg), .addr = (uintptr_t)p };
	int err;

	err = heapuser_handle_lookup(h, &arg.heap);
	if (!err)
		err = heapuser_device_call(PHEAP_IOC_SIZE, &arg);
	if (!err)
		*bytes = arg.usable_bytes;
	return err;
}

static void *alloc_result(int err, int entry_errno, void *p)
{
	return heapuser_result(err, entry_errno) ? NULL : p;
}

void *pheap_alloc(struct pheap *h, size_t n)
{
	int entry_errno = errno;
	void *p = NULL;
	int err = block_alloc(h, n, DEFAULT_ALIGN, 0, &p);

	return alloc_result(err, entry_errno, p);
}

void *pheap_zalloc(struct pheap *h, size_t n)
{
	int entry_errno = errno;
	void *p = NULL;
	int err = block_alloc(h, n, DEFAULT_ALIGN, PHEAP_ALLOC_ZERO, &p);

	return alloc_result(err, entry_errno, p);
}

void *pheap_calloc(struct pheap *h, size_t nmemb, size_t n)
{
	size_t bytes;

	/* More than any heap has: a bad handle is still told first. */
	if (__builtin_mul_overflow(nmemb, n, &bytes))
		bytes = SIZE_MAX;
	return pheap_zalloc(h, bytes);
}

void *pheap_aligned_alloc(struct pheap *h, size_t align, size_t n)
{
	int entry_errno = errno;
	void *p = NULL;
	/* The kernel takes 0 for "the default", but here it is a mistake of the caller. */
	int err = align ? block_alloc(h, n, align, 0, &p) : -EINVAL;

	return alloc_result(err, entry_errno, p);
}

int pheap_free(struct pheap *h, void *p)
{
	int entry_errno = errno;

	return heapuser_result(block_free(h, p), entry_errno);
}

size_t pheap_usable_size(struct pheap *h, const void *p)
{
	int entry_errno = errno;
	size_t bytes = 0;
	int err = block_size(h, p, &bytes);

	return heapuser_result(err, entry_errno) ? (size_t)-1 : bytes;
}

size_t pheap_size(struct pheap *h, const void *p)
{
	return pheap_usable_size(h, p);
}
