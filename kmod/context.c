// SPDX-License-Identifier: GPL-2.0
/*
 * Process contexts: which heaps belong to which address space.
 *
 * A context is keyed by its mm and holds it with mmgrab(), so the key cannot be reused while
 * the context is known; it never keeps the address space itself alive. A call reaches only the
 * context of its own current->mm, through whatever descriptor: an inherited or passed
 * descriptor gives no power over anybody else's heaps.
 */
#include <linux/hashtable.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "pheap.h"

/* A slot number takes this many low bits of an id. */
#define PHEAP_SLOT_BITS	20

static DEFINE_HASHTABLE(pheap_ctx_table, 8);
static DEFINE_SPINLOCK(pheap_ctx_table_lock);

/* Distinguishes all heaps ever made on this machine: an id is never issued twice, in no process. */
static atomic64_t pheap_next_id = ATOMIC64_INIT(1);

/* The context of the calling process, or NULL. Without a reference: valid under RCU. */
static struct pheap_ctx *pheap_ctx_current(struct file *dev)
{
	struct pheap_ctx *ctx = READ_ONCE(dev->private_data);
	struct mm_struct *mm = current->mm;

	if (likely(ctx && ctx->mm == mm))
		return ctx;
	hash_for_each_possible_rcu(pheap_ctx_table, ctx, node, (unsigned long)mm) {
		if (ctx->mm == mm)
			return ctx;
	}
	return NULL;
}

/**
 * pheap_ctx_find - the context of the calling process
 * @dev: the open device through which the call came
 *
 * Return: the context with a reference, or NULL if the process has none.
 * Context: process context.
 */
struct pheap_ctx *pheap_ctx_find(struct file *dev)
{
	struct pheap_ctx *ctx;

	rcu_read_lock();
	ctx = pheap_ctx_current(dev);
	if (ctx && !refcount_inc_not_zero(&ctx->ref))
		ctx = NULL;
	rcu_read_unlock();
	return ctx;
}

/**
 * pheap_ctx_make - the context of the calling process, made if there is none
 * @dev: the open device through which the call came; the first context made through it stays
 *	with it
 *
 * Return: the context with a reference, or an ERR_PTR().
 * Context: process context, may sleep.
 */
struct pheap_ctx *pheap_ctx_make(struct file *dev)
{
	struct pheap_ctx *ctx, *other;

	ctx = pheap_ctx_find(dev);
	if (ctx)
		goto keep;

	ctx = kzalloc(sizeof(*ctx), PHEAP_GFP);
	if (!ctx)
		return ERR_PTR(-ENOMEM);
	ctx->user = pheap_user_get(current_uid());
	if (!ctx->user) {
		kfree(ctx);
		return ERR_PTR(-ENOMEM);
	}
	ctx->mm = current->mm;
	mmgrab(ctx->mm);
	refcount_set(&ctx->ref, 1);
	mutex_init(&ctx->map_lock);
	spin_lock_init(&ctx->lock);
	INIT_LIST_HEAD(&ctx->heaps);
	xa_init_flags(&ctx->table, XA_FLAGS_ALLOC1);

	spin_lock(&pheap_ctx_table_lock);
	other = pheap_ctx_find(dev);
	if (!other)
		hash_add_rcu(pheap_ctx_table, &ctx->node, (unsigned long)ctx->mm);
	spin_unlock(&pheap_ctx_table_lock);
	if (other) {
		pheap_ctx_put(ctx);
		ctx = other;
	}
keep:
	if (!READ_ONCE(dev->private_data)) {
		refcount_inc(&ctx->ref);
		if (cmpxchg(&dev->private_data, NULL, ctx))
			refcount_dec(&ctx->ref);
	}
	return ctx;
}

/**
 * pheap_ctx_put - drop a reference
 * @ctx: the context
 *
 * Context: process context; may be called with mmap_lock held, as the last VMA of a process closes.
 */
void pheap_ctx_put(struct pheap_ctx *ctx)
{
	if (!refcount_dec_and_test(&ctx->ref))
		return;

	spin_lock(&pheap_ctx_table_lock);
	hash_del_rcu(&ctx->node);
	spin_unlock(&pheap_ctx_table_lock);

	pheap_region_ctx_put(ctx);
	xa_destroy(&ctx->table);
	pheap_user_put(ctx->user);
	mmdrop(ctx->mm);
	kfree_rcu(ctx, rcu);
}

/**
 * pheap_find - find a heap of the calling process
 * @dev: the open device through which the call came
 * @id: id of the heap
 *
 * Return: the heap with a reference, dead or alive, or an ERR_PTR(-ENOENT).
 * Context: process context.
 */
struct pheap *pheap_find(struct file *dev, u64 id)
{
	struct pheap *heap = NULL;
	struct pheap_ctx *ctx;

	rcu_read_lock();
	ctx = pheap_ctx_current(dev);
	if (ctx)
		heap = xa_load(&ctx->table, id & (BIT(PHEAP_SLOT_BITS) - 1));
	if (!heap || heap->id != id || !refcount_inc_not_zero(&heap->ref))
		heap = ERR_PTR(-ENOENT);
	rcu_read_unlock();
	return heap;
}

/**
 * pheap_ctx_add - give a heap its id and room in the table; nobody can find it yet
 * @ctx: the context
 * @heap: the heap
 *
 * Return: 0, to be followed by pheap_ctx_publish() or pheap_ctx_remove(), or -ENOMEM, or
 * -EDQUOT when the table is full.
 * Context: process context, may sleep.
 */
int pheap_ctx_add(struct pheap_ctx *ctx, struct pheap *heap)
{
	u32 slot;
	int ret;

	ret = xa_alloc(&ctx->table, &slot, NULL, XA_LIMIT(1, BIT(PHEAP_SLOT_BITS) - 1), PHEAP_GFP);
	if (ret)
		return ret == -EBUSY ? -EDQUOT : ret;
	heap->slot = slot;
	heap->id = (u64)atomic64_fetch_inc(&pheap_next_id) << PHEAP_SLOT_BITS | slot;
	return 0;
}

/**
 * pheap_ctx_publish - let the process find a complete heap
 * @ctx: the context
 * @heap: the heap; the table gets a reference of its own
 *
 * Return: false, and nothing is published, if the region was unmapped already.
 * Context: process context.
 */
bool pheap_ctx_publish(struct pheap_ctx *ctx, struct pheap *heap)
{
	bool alive;

	spin_lock(&ctx->lock);
	alive = !pheap_is_dead(heap);
	if (alive) {
		pheap_get(heap);
		list_add_tail(&heap->list, &ctx->heaps);
		ctx->nr_heaps++;
		/* The entry was reserved by pheap_ctx_add(): no memory is needed. */
		xa_store(&ctx->table, heap->slot, heap, 0);
	}
	spin_unlock(&ctx->lock);
	return alive;
}

static void pheap_ctx_unlist_locked(struct pheap_ctx *ctx, struct pheap *heap)
{
	lockdep_assert_held(&ctx->lock);
	if (list_empty(&heap->list))
		return;
	list_del_init(&heap->list);
	ctx->nr_heaps--;
}

/**
 * pheap_ctx_unlist - a heap died: it can still be found by its id, to destroy what is left, but
 * is told no more
 * @ctx: the context
 * @heap: the heap
 *
 * Context: process context; mmap_lock may be held.
 */
void pheap_ctx_unlist(struct pheap_ctx *ctx, struct pheap *heap)
{
	spin_lock(&ctx->lock);
	pheap_ctx_unlist_locked(ctx, heap);
	spin_unlock(&ctx->lock);
}

/**
 * pheap_ctx_remove - undo pheap_ctx_add() and pheap_ctx_publish()
 * @ctx: the context
 * @heap: the heap; if it was published, the reference of the table is dropped
 *
 * Context: process context; mmap_lock may be held.
 */
void pheap_ctx_remove(struct pheap_ctx *ctx, struct pheap *heap)
{
	bool put = false;

	spin_lock(&ctx->lock);
	pheap_ctx_unlist_locked(ctx, heap);
	if (heap->slot) {
		put = xa_erase(&ctx->table, heap->slot);
		heap->slot = 0;
	}
	spin_unlock(&ctx->lock);
	if (put)
		pheap_put(heap);
}
