// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps: life from create to the last reference, and the allocation of blocks, which ties the
 * core (which blocks), the commit (which pages) and the limits together.
 *
 * A heap is found by others only when it is complete. It dies when any part of its region is
 * unmapped, by destroy, by the program behind our back, or by the end of the process; its
 * memory goes when nobody refers to it any more.
 */
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/resource.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "pheap.h"

static struct kmem_cache *pheap_cache;

/**
 * pheap_heap_init - set up what heaps are made from
 *
 * Return: 0 or -ENOMEM.
 */
int pheap_heap_init(void)
{
	pheap_cache = KMEM_CACHE(pheap, SLAB_ACCOUNT);
	return pheap_cache ? 0 : -ENOMEM;
}

/**
 * pheap_heap_exit - undo pheap_heap_init() when the last heap is gone
 */
void pheap_heap_exit(void)
{
	/* pheap_free_rcu() of the last heaps. */
	rcu_barrier();
	kmem_cache_destroy(pheap_cache);
}

void *pheap_meta_alloc(struct pheap_core *core, size_t bytes)
{
	void *mem = kvzalloc(bytes, PHEAP_GFP);

	if (mem)
		pheap_metadata_count(container_of(core, struct pheap, core), bytes);
	return mem;
}

void pheap_meta_free(struct pheap_core *core, void *mem, size_t bytes)
{
	if (!mem)
		return;
	pheap_metadata_count(container_of(core, struct pheap, core), -(long)bytes);
	kvfree(mem);
}

/**
 * pheap_get - take a reference
 * @heap: the heap; the caller has one already
 */
void pheap_get(struct pheap *heap)
{
	refcount_inc(&heap->ref);
}

static void pheap_free_rcu(struct rcu_head *rcu)
{
	kmem_cache_free(pheap_cache, container_of(rcu, struct pheap, rcu));
}

/**
 * pheap_put - drop a reference; the last one gives all memory of the heap back
 * @heap: the heap
 *
 * Context: process context; mmap_lock may be held, spinlocks may not.
 */
void pheap_put(struct pheap *heap)
{
	struct pheap_ctx *ctx = heap->ctx;

	if (!refcount_dec_and_test(&heap->ref))
		return;
	pheap_commit_release(heap);
	if (heap->base)
		pheap_core_destroy(&heap->core);
	pheap_region_file_put(heap);
	pheap_metadata_count(heap, -(long)sizeof(*heap));
	pheap_uncharge_heap(ctx);
	mutex_destroy(&heap->grow_lock);
	call_rcu(&heap->rcu, pheap_free_rcu);
	pheap_ctx_put(ctx);
}

/*
 * What a growable heap reserves: as much as could ever be filled, and no more than leaves the
 * process its address space. The k-th heap gets at most 1/(32 k) of the address space, so that
 * the sum stays below a half of it even for 65,536 heaps.
 */
static unsigned long pheap_growable_bytes(struct pheap_ctx *ctx)
{
	unsigned long limit = rlimit(RLIMIT_AS);
	unsigned long used = READ_ONCE(current->mm->total_vm) << PAGE_SHIFT;
	unsigned long bytes = roundup_pow_of_two(totalram_pages()) << PAGE_SHIFT;

	if (limit != RLIM_INFINITY)
		bytes = min(bytes, limit > used ? (limit - used) / 4 : 0);
	bytes = min(bytes, TASK_SIZE / 32 / (READ_ONCE(ctx->nr_heaps) + 1));
	bytes = clamp(bytes, PHEAP_GROWABLE_MIN_BYTES, (unsigned long)PHEAP_MAX_RESERVE);
	return rounddown_pow_of_two(bytes);
}

static int pheap_reserve(struct pheap *heap, u64 maximum)
{
	unsigned long bytes;
	int ret;

	if (maximum > PHEAP_MAX_RESERVE)
		return -ENOMEM;
	if (maximum)
		return pheap_region_map(heap, PAGE_ALIGN(maximum));

	bytes = pheap_growable_bytes(heap->ctx);
	for (;;) {
		ret = pheap_region_map(heap, bytes);
		if (ret != -ENOMEM || bytes <= PHEAP_GROWABLE_MIN_BYTES)
			return ret;
		bytes /= 2;
	}
}

/**
 * pheap_create - make a heap
 * @ctx: the context of the calling process
 * @initial: bytes to commit
 * @maximum: bytes to reserve, 0 for a growable heap
 * @name: zero-terminated name, "" for none
 * @populate: map the committed pages
 *
 * The heap has its id, but cannot be found until pheap_ctx_publish(). An error from then on
 * calls pheap_abandon().
 *
 * Return: the heap with a reference, or an ERR_PTR().
 * Context: process context of the owner, may sleep.
 */
struct pheap *pheap_create(struct pheap_ctx *ctx, u64 initial, u64 maximum, const char *name,
			   bool populate)
{
	struct pheap *heap;
	int ret;

	ret = pheap_charge_heap(ctx);
	if (ret)
		return ERR_PTR(ret);
	heap = kmem_cache_zalloc(pheap_cache, PHEAP_GFP);
	if (!heap) {
		pheap_uncharge_heap(ctx);
		return ERR_PTR(-ENOMEM);
	}
	refcount_inc(&ctx->ref);
	heap->ctx = ctx;
	refcount_set(&heap->ref, 1);
	mutex_init(&heap->grow_lock);
	spin_lock_init(&heap->lock);
	INIT_LIST_HEAD(&heap->list);
	strscpy(heap->name, name, sizeof(heap->name));
	pheap_metadata_count(heap, sizeof(*heap));

	ret = pheap_region_file(heap);
	if (ret)
		goto err;
	ret = pheap_ctx_add(ctx, heap);
	if (ret)
		goto err;
	ret = pheap_reserve(heap, maximum);
	if (ret)
		goto err;
	pheap_core_init(&heap->core, heap->base, heap->reserved);
	initial = clamp_t(u64, initial, 1, heap->reserved);
	ret = pheap_commit(heap, PAGE_ALIGN(initial), populate);
	if (ret)
		goto err;
	return heap;

err:
	pheap_abandon(heap);
	return ERR_PTR(ret);
}

/**
 * pheap_abandon - end a heap that was not published
 * @heap: the heap; the caller's reference is dropped
 *
 * Context: process context of the owner, may sleep.
 */
void pheap_abandon(struct pheap *heap)
{
	if (heap->reserved)
		pheap_region_unmap(heap);
	pheap_ctx_remove(heap->ctx, heap);
	pheap_put(heap);
}

/**
 * pheap_destroy - end a heap
 * @heap: the heap, dead or alive
 *
 * Return: 0; -ENOENT if another thread is destroying it; -EPERM if its region is sealed, -EINTR
 * on a fatal signal: both leave it to the end of the process.
 * Context: process context of the owner, may sleep.
 */
int pheap_destroy(struct pheap *heap)
{
	int ret;

	if (test_and_set_bit(PHEAP_DESTROYING, &heap->state))
		return -ENOENT;
	ret = pheap_region_unmap(heap);
	if (ret) {
		clear_bit(PHEAP_DESTROYING, &heap->state);
		return ret;
	}
	pheap_ctx_remove(heap->ctx, heap);
	return 0;
}

/**
 * pheap_count_failure - count an allocation or commit if it failed for want of memory
 * @heap: the heap
 * @ret: how it ended
 */
void pheap_count_failure(struct pheap *heap, int ret)
{
	if (unlikely(ret == -ENOSPC || ret == -ENOMEM || ret == -EDQUOT))
		atomic_long_inc(&heap->nr_failures);
}

static int pheap_core_request(struct pheap *heap, struct pheap_request *req,
			      enum pheap_core_effort effort)
{
	lockdep_assert_held(&heap->lock);
	if (req->batch)
		return pheap_core_alloc_batch(&heap->core, req->bytes, effort, req->nr_blocks,
					      req->nr_groups, req->batch);
	return pheap_core_alloc(&heap->core, req->bytes, req->align, effort, &req->addr,
				&req->usable);
}

static int pheap_core_try(struct pheap *heap, struct pheap_request *req,
			  enum pheap_core_effort effort)
{
	int ret;

	spin_lock(&heap->lock);
	ret = pheap_core_request(heap, req, effort);
	spin_unlock(&heap->lock);
	return ret;
}

/*
 * Hand the core the metadata that an allocation of this size might want. It does without if
 * there is none.
 */
static void pheap_core_equip(struct pheap *heap, u64 bytes)
{
	size_t spare_bytes = pheap_core_spare_bytes(&heap->core, bytes);
	void *spare;

	if (likely(!spare_bytes))
		return;
	spare = pheap_meta_alloc(&heap->core, spare_bytes);
	if (!spare)
		return;
	spin_lock(&heap->lock);
	spare = pheap_core_spare_give(&heap->core, spare);
	spin_unlock(&heap->lock);
	pheap_meta_free(&heap->core, spare, spare_bytes);
}

/* The committed part has no room: grow it, or else look closer. */
static int pheap_block_alloc_slow(struct pheap *heap, struct pheap_request *req)
{
	u64 need;
	int err, ret;

	if (mutex_lock_killable(&heap->grow_lock))
		return -EINTR;
	do {
		spin_lock(&heap->lock);
		ret = pheap_core_request(heap, req, PHEAP_CORE_EASY);
		need = ret ? pheap_core_need(&heap->core, req->bytes, req->align) : 0;
		spin_unlock(&heap->lock);
		if (!ret)
			goto out;
		/*
		 * No growth helps, or none is needed for a less tidy answer. Else another
		 * thread may take what is committed here: it made progress, and each round
		 * commits more.
		 */
		if (need > heap->reserved || need <= heap->committed)
			err = -ENOSPC;
		else
			err = pheap_grow(heap, need);
	} while (!err);

	ret = err;
	if (!pheap_is_dead(heap) && !pheap_core_try(heap, req, PHEAP_CORE_LAST))
		ret = 0;
out:
	mutex_unlock(&heap->grow_lock);
	return ret;
}

/**
 * pheap_block_alloc - allocate a block, or blocks of one size
 * @heap: the heap
 * @req: what is wanted, and where its answer goes
 *
 * The heap grows only if there is no block at all; a batch may be smaller than it was asked for.
 *
 * Return: 0, -ENOSPC, -ENOMEM, -EDQUOT, -ENOENT if the heap died, -EINTR on a fatal signal.
 * Context: process context of the owner, may sleep.
 */
int pheap_block_alloc(struct pheap *heap, struct pheap_request *req)
{
	int ret = -ENOSPC;

	if (likely(req->bytes <= heap->reserved)) {
		pheap_core_equip(heap, req->bytes);
		ret = pheap_core_try(heap, req, PHEAP_CORE_EASY);
		if (unlikely(ret))
			ret = pheap_block_alloc_slow(heap, req);
	}
	pheap_count_failure(heap, ret);
	return ret;
}

/**
 * pheap_reset - free all blocks
 * @heap: the heap
 *
 * Once begun it runs to its end: it allocates nothing, and takes much less time than it took to
 * commit the pages.
 *
 * Return: 0; -ENOENT if the heap died, -EINTR on a fatal signal.
 * Context: process context, may sleep.
 */
int pheap_reset(struct pheap *heap)
{
	bool more;
	u32 end = 0;

	/* Allocations that find too little while it runs wait here for the rest. */
	if (mutex_lock_killable(&heap->grow_lock))
		return -EINTR;
	if (pheap_is_dead(heap)) {
		mutex_unlock(&heap->grow_lock);
		return -ENOENT;
	}
	do {
		spin_lock(&heap->lock);
		more = pheap_core_reset(&heap->core, &end);
		spin_unlock(&heap->lock);
		cond_resched();
	} while (more);
	mutex_unlock(&heap->grow_lock);
	return 0;
}

/**
 * pheap_block_free - free a block
 * @heap: the heap
 * @addr: its address
 *
 * Return: 0 or -EINVAL: not a live block.
 * Context: process context.
 */
int pheap_block_free(struct pheap *heap, u64 addr)
{
	int ret;

	spin_lock(&heap->lock);
	ret = pheap_core_free(&heap->core, addr);
	if (unlikely(ret))
		heap->bad_frees++;
	spin_unlock(&heap->lock);
	return ret;
}

/**
 * pheap_block_free_some - free blocks
 * @heap: the heap
 * @addrs: their addresses; 0 is passed over
 * @nr: how many, at most 64
 *
 * Return: a bit for each that is not a live block.
 * Context: process context.
 */
u64 pheap_block_free_some(struct pheap *heap, const u64 *addrs, u32 nr)
{
	u64 refused;

	spin_lock(&heap->lock);
	refused = pheap_core_free_batch(&heap->core, addrs, nr);
	heap->bad_frees += hweight64(refused);
	spin_unlock(&heap->lock);
	return refused;
}

/**
 * pheap_batch_free - free the blocks of a batch that nobody was told of
 * @heap: the heap
 * @batch: what pheap_block_alloc() returned
 *
 * Context: process context.
 */
void pheap_batch_free(struct pheap *heap, const struct pheap_core_batch *batch)
{
	spin_lock(&heap->lock);
	pheap_core_free_groups(&heap->core, batch);
	spin_unlock(&heap->lock);
}
