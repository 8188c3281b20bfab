// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * heap.c - heaps as a whole: create, destroy, commit, figures, list.
 *
 * Owns no state: handles are kept by handle.c, heaps by the kernel. A handle is published after
 * its heap exists and retired after its heap is gone, so a valid handle always has, or had, a
 * heap of this process.
 */
#include "internal.h"

#include <assert.h>
#include <string.h>

#define CREATE_FLAGS	(PHEAP_NO_SERIALIZE | PHEAP_UNCACHED | PHEAP_POPULATE)

static_assert(PHEAP_NAME_MAX == PHEAP_NAME_BYTES, "a name fits the ABI");

struct pheap *pheap_create_named(size_t initial, size_t maximum, unsigned int flags,
				 const char *name)
{
	struct pheap_ioc_create arg = {
		.size = sizeof(arg),
		.flags = flags & PHEAP_POPULATE ? PHEAP_COMMIT_POPULATE : 0,
		.initial_bytes = initial,
		.maximum_bytes = maximum,
	};
	int entry_errno = errno;
	uint32_t slot;
	int err = 0;

	if (flags & ~CREATE_FLAGS)
		err = -EINVAL;
	if (name && !err) {
		size_t len = strnlen(name, PHEAP_NAME_MAX);

		if (len == PHEAP_NAME_MAX)
			err = -EINVAL;
		else
			memcpy(arg.name, name, len);
	}
	if (!err)
		err = heapuser_handle_reserve(&slot);
	if (heapuser_result(err, entry_errno))
		return NULL;

	err = heapuser_device_call(PHEAP_IOC_CREATE, &arg);
	if (err)
		heapuser_handle_cancel(slot);
	if (heapuser_result(err, entry_errno))
		return NULL;
	return heapuser_handle_publish(slot, arg.heap);
}

struct pheap *pheap_create(size_t initial, size_t maximum, unsigned int flags)
{
	return pheap_create_named(initial, maximum, flags, NULL);
}

int pheap_destroy(struct pheap *h)
{
	struct pheap_ioc_destroy arg = { .size = sizeof(arg) };
	int entry_errno = errno;
	int err;

	err = heapuser_handle_lookup(h, &arg.heap);
	if (!err) {
		err = heapuser_device_call(PHEAP_IOC_DESTROY, &arg);
		/* EINVAL: the heap is gone already, by munmap or by another thread's destroy. */
		if (!err || err == -EINVAL)
			heapuser_handle_retire(h);
	}
	return heapuser_result(err, entry_errno);
}

int pheap_commit(struct pheap *h, size_t bytes, unsigned int flags)
{
	struct pheap_ioc_commit arg = {
		.size = sizeof(arg),
		.flags = flags & PHEAP_POPULATE ? PHEAP_COMMIT_POPULATE : 0,
		.bytes = bytes,
	};
	int entry_errno = errno;
	int err;

	err = flags & ~PHEAP_POPULATE ? -EINVAL : heapuser_handle_lookup(h, &arg.heap);
	if (!err)
		err = heapuser_device_call(PHEAP_IOC_COMMIT, &arg);
	return heapuser_result(err, entry_errno);
}

int pheap_stat(struct pheap *h, struct pheap_stat *st, size_t st_size)
{
	struct pheap_ioc_stat arg = { .size = sizeof(arg) };
	int entry_errno = errno;
	struct pheap_stat all;
	int err;

	if (!st || st_size < offsetof(struct pheap_stat, base))
		return heapuser_result(-EINVAL, entry_errno);
	err = heapuser_handle_lookup(h, &arg.heap);
	if (!err)
		err = heapuser_device_call(PHEAP_IOC_STAT, &arg);
	if (err)
		return heapuser_result(err, entry_errno);

	all = (struct pheap_stat){
		.reserved_bytes = arg.reserved_bytes,
		.committed_bytes = arg.committed_bytes,
		.allocated_bytes = arg.allocated_bytes,
		.nr_blocks = arg.nr_blocks,
		.peak_committed_bytes = arg.peak_committed_bytes,
		.nr_failures = arg.nr_failures,
		.corruptions = arg.bad_frees,
		.base = arg.base,
		.metadata_bytes = arg.metadata_bytes,
		.nr_allocs = arg.nr_allocs,
		.nr_frees = arg.nr_frees,
		.nr_faults = arg.nr_faults,
		.library_bytes = heapuser_handle_bytes(),
	};
	if (st_size > sizeof(all)) {
		memset((char *)st + sizeof(all), 0, st_size - sizeof(all));
		st_size = sizeof(all);
	}
	memcpy(st, &all, st_size);
	return heapuser_result(0, entry_errno);
}

size_t pheap_process_heaps(struct pheap **out, size_t n)
{
	int entry_errno = errno;
	size_t total = heapuser_handle_list(out, n);

	/* Waiting for the lock may have set it. */
	errno = entry_errno;
	return total;
}
