// SPDX-License-Identifier: GPL-2.0
/*
 * A stub of the kernel side: the device calls of libheapuser over the allocator core in user space,
 * in the place of device.c. With it the library runs natively, so that caches, locality and threads
 * can be measured in time.
 *
 * Every command makes one cheap system call, as it would enter the kernel once. Heaps are anonymous
 * memory; growth follows the rule of the module (pheap_grow() in kmod/commit.c), and what an
 * allocation commits is mapped at once. What creating, committing, faulting and destroying cost in
 * the module is not modelled, nor are its limits and its 2 MiB folios. The stub trusts the library:
 * the identifier of a heap is an address.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "core.h"

#include <asm/page.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/minmax.h>

#define GROWABLE_BYTES	(32UL << 30)
/* As in kmod: the piece that pages come in, and how far growth goes beyond what is needed. */
#define SLOT_BYTES	(64UL << 10)
#define GROW_MAX_BYTES	(4UL << 20)

/**
 * struct stub_heap - a heap
 * @core: its structure; first, so that the heap is found from it
 * @lock: around the core
 * @map: the mapping
 * @map_bytes: its size, with what aligning the base takes
 * @metadata_bytes: memory of the core
 */
struct stub_heap {
	struct pheap_core core;
	pthread_mutex_t lock;
	void *map;
	size_t map_bytes;
	size_t metadata_bytes;
};

void *pheap_meta_alloc(struct pheap_core *core, size_t bytes)
{
	((struct stub_heap *)core)->metadata_bytes += bytes;
	return calloc(1, bytes);
}

void pheap_meta_free(struct pheap_core *core, void *mem, size_t bytes)
{
	((struct stub_heap *)core)->metadata_bytes -= bytes;
	free(mem);
}

static u64 committed(const struct stub_heap *heap)
{
	return (u64)heap->core.nr_pages << PAGE_SHIFT;
}

static u64 reserved(const struct stub_heap *heap)
{
	return (u64)heap->core.reserved_pages << PAGE_SHIFT;
}

static u64 page_align(u64 bytes)
{
	return (bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

static int stub_commit(struct stub_heap *heap, u64 bytes, bool populate)
{
	struct pheap_core_grow grow;
	u64 old = committed(heap);
	int ret;

	ret = pheap_core_grow_prepare(&heap->core, &grow, bytes);
	if (ret)
		return ret;
	if (populate && bytes > old &&
	    madvise((void *)(uintptr_t)(heap->core.base + old), bytes - old, MADV_POPULATE_WRITE)) {
		pheap_core_grow_finish(&heap->core, &grow);
		return -ENOMEM;
	}
	pheap_core_grow_commit(&heap->core, &grow);
	pheap_core_grow_finish(&heap->core, &grow);
	return 0;
}

static int stub_grow(struct stub_heap *heap, u64 need)
{
	u64 target = committed(heap);

	if (target < SLOT_BYTES)
		target += target;
	else
		target += clamp_t(u64, target / 8, SLOT_BYTES, GROW_MAX_BYTES);
	target = max(target, need);
	if (target > SLOT_BYTES)
		target = (target + SLOT_BYTES - 1) & ~(SLOT_BYTES - 1);
	return stub_commit(heap, min(target, reserved(heap)), true);
}

static int do_create(struct pheap_ioc_create *create)
{
	u64 bytes = create->maximum_bytes ? page_align(create->maximum_bytes) : GROWABLE_BYTES;
	u64 initial = create->initial_bytes ? page_align(create->initial_bytes) : PAGE_SIZE;
	struct stub_heap *heap = calloc(1, sizeof(*heap));
	u64 base;
	int ret;

	if (!heap)
		return -ENOMEM;
	heap->map_bytes = bytes + PHEAP_MAX_ALIGN;
	heap->map = mmap(NULL, heap->map_bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (heap->map == MAP_FAILED) {
		free(heap);
		return -ENOMEM;
	}
	base = ((uintptr_t)heap->map + PHEAP_MAX_ALIGN - 1) & ~(PHEAP_MAX_ALIGN - 1);
	pthread_mutex_init(&heap->lock, NULL);
	pheap_core_init(&heap->core, base, bytes);
	ret = stub_commit(heap, min(initial, bytes), create->flags & PHEAP_COMMIT_POPULATE);
	if (ret) {
		munmap(heap->map, heap->map_bytes);
		free(heap);
		return ret;
	}
	create->heap = (uintptr_t)heap;
	create->base = base;
	create->reserved_bytes = bytes;
	create->committed_bytes = committed(heap);
	return 0;
}

static int do_destroy(struct stub_heap *heap)
{
	munmap(heap->map, heap->map_bytes);
	pheap_core_destroy(&heap->core);
	free(heap);
	return 0;
}

/* The steps of pheap_block_alloc() in the module. */
static int do_alloc(struct stub_heap *heap, struct pheap_ioc_alloc *alloc)
{
	u64 align = max_t(u64, alloc->align, PHEAP_MIN_ALIGN);
	size_t spare_bytes = pheap_core_spare_bytes(&heap->core, alloc->bytes);
	void *spare;
	u64 need;
	int ret;

	if (alloc->bytes > reserved(heap))
		return -ENOSPC;
	if (spare_bytes) {
		spare = pheap_meta_alloc(&heap->core, spare_bytes);
		spare = spare ? pheap_core_spare_give(&heap->core, spare) : NULL;
		if (spare)
			pheap_meta_free(&heap->core, spare, spare_bytes);
	}
	for (;;) {
		ret = pheap_core_alloc(&heap->core, alloc->bytes, align, PHEAP_CORE_EASY,
				       &alloc->addr, &alloc->usable_bytes);
		if (!ret)
			return 0;
		need = pheap_core_need(&heap->core, alloc->bytes, align);
		if (need > reserved(heap) || need <= committed(heap) || stub_grow(heap, need))
			break;
	}
	return pheap_core_alloc(&heap->core, alloc->bytes, align, PHEAP_CORE_LAST, &alloc->addr,
				&alloc->usable_bytes);
}

static int do_stat(struct stub_heap *heap, struct pheap_ioc_stat *stat)
{
	struct pheap_core_stats core;

	pheap_core_stats(&heap->core, &core);
	stat->base = heap->core.base;
	stat->reserved_bytes = reserved(heap);
	stat->committed_bytes = committed(heap);
	stat->peak_committed_bytes = committed(heap);
	stat->allocated_bytes = core.allocated_bytes;
	stat->nr_blocks = core.nr_blocks;
	stat->nr_allocs = core.nr_allocs;
	stat->nr_frees = core.nr_frees;
	stat->metadata_bytes = sizeof(*heap) + heap->metadata_bytes;
	return 0;
}

static int do_commit(struct stub_heap *heap, struct pheap_ioc_commit *commit)
{
	int ret;

	if (commit->bytes > reserved(heap))
		return -ENOSPC;
	ret = stub_commit(heap, page_align(commit->bytes), commit->flags & PHEAP_COMMIT_POPULATE);
	commit->committed_bytes = committed(heap);
	return ret;
}

static int do_locked(struct stub_heap *heap, unsigned int cmd, void *arg)
{
	struct pheap_ioc_size *size = arg;

	switch (cmd) {
	case PHEAP_IOC_ALLOC:
		return do_alloc(heap, arg);
	case PHEAP_IOC_FREE:
		return pheap_core_free(&heap->core, ((struct pheap_ioc_free *)arg)->addr);
	case PHEAP_IOC_SIZE:
		return pheap_core_size(&heap->core, size->addr, &size->usable_bytes);
	case PHEAP_IOC_STAT:
		return do_stat(heap, arg);
	case PHEAP_IOC_COMMIT:
		return do_commit(heap, arg);
	default:
		return -ENOTTY;
	}
}

/* The identifier in the struct of a command. */
static struct stub_heap *heap_of(unsigned int cmd, const void *arg)
{
	u64 id = 0;

	switch (cmd) {
	case PHEAP_IOC_DESTROY:
		id = ((const struct pheap_ioc_destroy *)arg)->heap;
		break;
	case PHEAP_IOC_ALLOC:
		id = ((const struct pheap_ioc_alloc *)arg)->heap;
		break;
	case PHEAP_IOC_FREE:
		id = ((const struct pheap_ioc_free *)arg)->heap;
		break;
	case PHEAP_IOC_SIZE:
		id = ((const struct pheap_ioc_size *)arg)->heap;
		break;
	case PHEAP_IOC_STAT:
		id = ((const struct pheap_ioc_stat *)arg)->heap;
		break;
	case PHEAP_IOC_COMMIT:
		id = ((const struct pheap_ioc_commit *)arg)->heap;
		break;
	}
	return (struct stub_heap *)(uintptr_t)id;
}

/**
 * heapuser_device_call() - what device.c does by an ioctl
 * @cmd: PHEAP_IOC_*
 * @arg: its struct
 *
 * Return: 0 or a negative errno value.
 */
int heapuser_device_call(unsigned int cmd, void *arg)
{
	struct stub_heap *heap;
	int ret;

	syscall(SYS_getppid);
	if (cmd == PHEAP_IOC_CREATE)
		return do_create(arg);
	heap = heap_of(cmd, arg);
	if (!heap)
		return -ENOTTY;
	if (cmd == PHEAP_IOC_DESTROY)
		return do_destroy(heap);
	pthread_mutex_lock(&heap->lock);
	ret = do_locked(heap, cmd, arg);
	pthread_mutex_unlock(&heap->lock);
	return ret;
}
