// SPDX-License-Identifier: GPL-2.0
/*
 * Commit: the pages of a heap.
 *
 * The committed part is the prefix [0, heap->committed) of the reservation. It only grows, and
 * a page of it is never replaced before the heap ends. Growing takes steps that are all undone
 * if one fails: charge the limits, get metadata for the core, allocate pages, make the region
 * dumpable up to there, map; only then is the new size published, to the fault handler by a
 * store-release of heap->committed, to the core under the heap's lock. So a failure leaves the
 * heap as it was, and whatever is inside the committed part is backed, charged, and has its
 * page tables.
 *
 * Pages come as folios of 2 MiB in the part of the region that can map them, of 64 KiB
 * elsewhere, and one by one where larger ones do not fit or are not to be had. They are charged
 * to the memory cgroup of the caller, are not on any LRU list (not reclaimed, not migrated),
 * and belong to the mapping of the heap's file, so that futexes, direct I/O and the like work
 * on them.
 */
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "pheap.h"

#define PHEAP_PAGE_GFP	(GFP_HIGHUSER | __GFP_ACCOUNT | __GFP_ZERO | __GFP_NOWARN)

/* Growth beyond what is needed: an eighth of what is committed, at most this. */
#define PHEAP_GROW_MAX_BYTES	(4UL << 20)

/**
 * pheap_backing_page - the page at an index of the heap
 * @heap: the heap
 * @index: number of the page in the heap, below what the caller knows to be committed
 *
 * Return: the page; stays until the heap ends.
 * Context: RCU read lock.
 */
struct page *pheap_backing_page(struct pheap *heap, unsigned long index)
{
	unsigned long entry = rcu_dereference(heap->backing)->entry[index >> PHEAP_BACKING_SHIFT];
	const struct pheap_backing_chunk *chunk;

	if (entry & PHEAP_FOLIO)
		return (struct page *)(entry & ~PHEAP_FOLIO) + (index & (PHEAP_BACKING_PAGES - 1));
	chunk = (const struct pheap_backing_chunk *)entry;
	entry = chunk->slot[(index & (PHEAP_BACKING_PAGES - 1)) >> PHEAP_SLOT_ORDER];
	if (entry & PHEAP_FOLIO)
		return (struct page *)(entry & ~PHEAP_FOLIO) + (index & (PHEAP_SLOT_PAGES - 1));
	return ((struct page **)entry)[index & (PHEAP_SLOT_PAGES - 1)];
}

static struct pheap_backing *pheap_backing_locked(struct pheap *heap)
{
	return rcu_dereference_protected(heap->backing,
					 lockdep_is_held(&heap->grow_lock) ||
					 !refcount_read(&heap->ref));
}

static void *pheap_table_alloc(struct pheap *heap, size_t bytes)
{
	void *mem = kvzalloc(bytes, PHEAP_GFP);

	if (mem)
		pheap_metadata_count(heap, bytes);
	return mem;
}

static void pheap_table_free(struct pheap *heap, void *mem, size_t bytes)
{
	/* The embedded ones end with the heap. */
	if (mem == &heap->first_chunk || mem == heap->first_pages)
		return;
	pheap_metadata_count(heap, -(long)bytes);
	kvfree(mem);
}

/* Make room in the table of pages for @nr entries; it doubles. */
static int pheap_backing_extend(struct pheap *heap, unsigned long nr)
{
	struct pheap_backing *old = pheap_backing_locked(heap), *pages;

	if (old && old->nr >= nr)
		return 0;
	if (old)
		nr = max(nr, old->nr * 2);
	pages = pheap_table_alloc(heap, struct_size(pages, entry, nr));
	if (!pages)
		return -ENOMEM;
	pages->nr = nr;
	if (old)
		memcpy(pages->entry, old->entry, flex_array_size(old, entry, old->nr));
	rcu_assign_pointer(heap->backing, pages);
	if (old) {
		pheap_metadata_count(heap, -(long)struct_size(old, entry, old->nr));
		kvfree_rcu(old, rcu);
	}
	return 0;
}

static struct folio *pheap_folio_alloc(struct pheap *heap, unsigned long index, unsigned int order)
{
	/* A large folio is a convenience, a single page is the promise: try hard for that only. */
	gfp_t gfp = PHEAP_PAGE_GFP | (order ? __GFP_NORETRY : __GFP_RETRY_MAYFAIL);
	struct folio *folio = folio_alloc(gfp, order);

	if (!folio)
		return NULL;
	folio->mapping = heap->file->f_mapping;
	folio->index = (heap->base >> PAGE_SHIFT) + index;
	return folio;
}

/*
 * The heap's own reference goes. Somebody else may still have one: the page then belongs to
 * nobody but him, and is free when he is done.
 */
static void pheap_folio_free(struct folio *folio)
{
	folio_lock(folio);
	folio->mapping = NULL;
	folio_unlock(folio);
	folio_put(folio);
}

/* Free the pages of one slot from its page @from on, and the slot if nothing is before it. */
static void pheap_slot_free(struct pheap *heap, unsigned long *slot, unsigned long from)
{
	struct page **pages = (struct page **)*slot;
	unsigned long i;

	if (*slot & PHEAP_FOLIO) {
		pheap_folio_free((struct folio *)(*slot & ~PHEAP_FOLIO));
		*slot = 0;
		return;
	}
	for (i = from; i < PHEAP_SLOT_PAGES; i++) {
		if (!pages[i])
			break;
		pheap_folio_free(page_folio(pages[i]));
		pages[i] = NULL;
	}
	if (from)
		return;
	*slot = 0;
	pheap_table_free(heap, pages, PHEAP_SLOT_PAGES * sizeof(*pages));
}

/* Free all pages with an index of @from or more, and the tables that nothing before @from needs. */
static void pheap_backing_free(struct pheap *heap, unsigned long from)
{
	struct pheap_backing *pages = pheap_backing_locked(heap);
	unsigned long i;

	if (!pages)
		return;
	for (i = from >> PHEAP_BACKING_SHIFT; i < pages->nr; i++) {
		unsigned long first = max(from, i << PHEAP_BACKING_SHIFT) &
				      (PHEAP_BACKING_PAGES - 1);
		struct pheap_backing_chunk *chunk = (struct pheap_backing_chunk *)pages->entry[i];
		unsigned long s;

		if (!pages->entry[i])
			break;
		cond_resched();
		if (pages->entry[i] & PHEAP_FOLIO) {
			pheap_folio_free((struct folio *)(pages->entry[i] & ~PHEAP_FOLIO));
			pages->entry[i] = 0;
			continue;
		}
		for (s = first >> PHEAP_SLOT_ORDER; s < ARRAY_SIZE(chunk->slot); s++) {
			unsigned long start = max(first, s << PHEAP_SLOT_ORDER) &
					      (PHEAP_SLOT_PAGES - 1);

			if (!chunk->slot[s])
				break;
			pheap_slot_free(heap, &chunk->slot[s], start);
		}
		if (!first) {
			pages->entry[i] = 0;
			pheap_table_free(heap, chunk, sizeof(*chunk));
		}
	}
}

/* Allocate the pages [index, end) of one slot. */
static int pheap_slot_fill(struct pheap *heap, unsigned long *slot, unsigned long index,
			   unsigned long end)
{
	unsigned long i = index & (PHEAP_SLOT_PAGES - 1);
	struct folio *folio;
	struct page **pages;

	if (end - index == PHEAP_SLOT_PAGES) {
		folio = pheap_folio_alloc(heap, index, PHEAP_SLOT_ORDER);
		if (folio) {
			*slot = (unsigned long)folio | PHEAP_FOLIO;
			return 0;
		}
	}
	if (!*slot && slot == heap->first_chunk.slot)
		*slot = (unsigned long)heap->first_pages;
	else if (!*slot)
		*slot = (unsigned long)pheap_table_alloc(heap, PHEAP_SLOT_PAGES * sizeof(*pages));
	pages = (struct page **)*slot;
	if (!pages)
		return -ENOMEM;
	for (; index < end; index++, i++) {
		folio = pheap_folio_alloc(heap, index, 0);
		if (!folio)
			return -ENOMEM;
		pages[i] = folio_page(folio, 0);
	}
	return 0;
}

/* Whether the region can map this 2 MiB of the heap by one folio. */
static bool pheap_chunk_is_huge(const struct pheap *heap, unsigned long index, unsigned long end)
{
	return end - index == PHEAP_BACKING_PAGES && heap->reserved > PHEAP_ONE_VMA_BYTES &&
	       index >= PHEAP_FRONT_BYTES >> PAGE_SHIFT;
}

/* Allocate the pages [index, end) of one chunk. */
static int pheap_chunk_fill(struct pheap *heap, unsigned long index, unsigned long end)
{
	unsigned long *entry = &pheap_backing_locked(heap)->entry[index >> PHEAP_BACKING_SHIFT];
	struct pheap_backing_chunk *chunk;
	int ret;

	if (pheap_chunk_is_huge(heap, index, end)) {
		struct folio *folio = pheap_folio_alloc(heap, index, PHEAP_BACKING_SHIFT);

		if (folio) {
			*entry = (unsigned long)folio | PHEAP_FOLIO;
			return 0;
		}
	}
	if (!*entry && index < PHEAP_BACKING_PAGES)
		*entry = (unsigned long)&heap->first_chunk;
	else if (!*entry)
		*entry = (unsigned long)pheap_table_alloc(heap, sizeof(*chunk));
	chunk = (struct pheap_backing_chunk *)*entry;
	if (!chunk)
		return -ENOMEM;
	while (index < end) {
		unsigned long next =
			min(end, round_down(index, PHEAP_SLOT_PAGES) + PHEAP_SLOT_PAGES);
		unsigned long slot = (index & (PHEAP_BACKING_PAGES - 1)) >> PHEAP_SLOT_ORDER;

		ret = pheap_slot_fill(heap, &chunk->slot[slot], index, next);
		if (ret)
			return ret;
		index = next;
	}
	return 0;
}

/*
 * Allocate the pages [index, end). What was allocated before a failure is left for
 * pheap_backing_free().
 */
static int pheap_backing_fill(struct pheap *heap, unsigned long index, unsigned long end)
{
	int ret;

	while (index < end) {
		unsigned long next =
			min(end, round_down(index, PHEAP_BACKING_PAGES) + PHEAP_BACKING_PAGES);

		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		/* For each chunk, so that a large commit stops short of the reserve, too. */
		ret = pheap_memory_claim(next - index);
		if (ret)
			return ret;
		ret = pheap_chunk_fill(heap, index, next);
		pheap_memory_unclaim(next - index);
		if (ret)
			return ret;
		index = next;
	}
	return 0;
}

/*
 * Grow the committed part to @bytes. With @all, map all of what is new, else just give it its
 * page tables.
 */
static int pheap_commit_locked(struct pheap *heap, unsigned long bytes, bool all)
{
	unsigned long from = heap->committed >> PAGE_SHIFT, to = bytes >> PAGE_SHIFT;
	struct pheap_core_grow grow;
	int ret;

	lockdep_assert_held(&heap->grow_lock);
	if (pheap_is_dead(heap))
		return -ENOENT;
	ret = pheap_charge_pages(heap->ctx, to - from);
	if (ret)
		return ret;
	/*
	 * What cannot succeed shall not first take metadata and the page cache. Filling a chunk
	 * looks itself, and looking costs 360 instructions.
	 */
	if (to - from > PHEAP_BACKING_PAGES) {
		ret = pheap_memory_claim(to - from);
		if (ret)
			goto err_uncharge;
		pheap_memory_unclaim(to - from);
	}
	ret = pheap_core_grow_prepare(&heap->core, &grow, bytes);
	if (ret)
		goto err_uncharge;
	ret = pheap_backing_extend(heap, DIV_ROUND_UP(to, PHEAP_BACKING_PAGES));
	if (ret)
		goto err_core;
	ret = pheap_backing_fill(heap, from, to);
	if (ret)
		goto err_pages;
	ret = pheap_region_extend_dump(heap, bytes);
	if (ret)
		goto err_pages;

	/*
	 * The mapping may go through the fault handler, which shows unpublished pages to this
	 * task only.
	 */
	heap->growing = bytes;
	WRITE_ONCE(heap->grower, current);
	ret = pheap_region_populate(heap, heap->committed, bytes, all);
	WRITE_ONCE(heap->grower, NULL);
	if (ret)
		goto err_zap;

	/*
	 * Pairs with the acquire in the fault handler. First, because who gets a block from
	 * the core will touch it.
	 */
	smp_store_release(&heap->committed, bytes);
	spin_lock(&heap->lock);
	pheap_core_grow_commit(&heap->core, &grow);
	spin_unlock(&heap->lock);
	pheap_core_grow_finish(&heap->core, &grow);
	return 0;

err_zap:
	pheap_region_zap(heap, heap->committed, bytes);
err_pages:
	pheap_backing_free(heap, from);
err_core:
	pheap_core_grow_finish(&heap->core, &grow);
err_uncharge:
	pheap_uncharge_pages(heap->ctx, to - from);
	return ret;
}

/**
 * pheap_commit - make sure that so much is committed
 * @heap: the heap
 * @bytes: multiple of the page size, at most the reservation
 * @populate: map it all, too
 *
 * Return: 0; -ENOMEM, -EDQUOT; -ENOENT if the heap died; -EINTR on a fatal signal. After an
 * error the committed part is what it was.
 * Context: process context of the owner, may sleep.
 */
int pheap_commit(struct pheap *heap, unsigned long bytes, bool populate)
{
	unsigned long old;
	int ret = 0;

	if (mutex_lock_killable(&heap->grow_lock))
		return -EINTR;
	old = heap->committed;
	if (bytes > old)
		ret = pheap_commit_locked(heap, bytes, populate);
	if (!ret && populate && old)
		ret = pheap_region_populate(heap, 0, min(old, bytes), true);
	mutex_unlock(&heap->grow_lock);
	return ret;
}

/**
 * pheap_grow - commit more because an allocation needs it
 * @heap: the heap, its grow_lock held
 * @need: committed bytes that the allocation needs, at most the reservation
 *
 * Commits some more than that if it can, and maps it: the caller is about to touch it.
 *
 * Return: like pheap_commit().
 * Context: process context of the owner, may sleep.
 */
int pheap_grow(struct pheap *heap, unsigned long need)
{
	unsigned long slot_bytes = PHEAP_SLOT_PAGES << PAGE_SHIFT;
	unsigned long target = heap->committed;
	int ret;

	lockdep_assert_held(&heap->grow_lock);
	if (target < slot_bytes)
		target += target;
	else
		target += clamp(target / 8, slot_bytes, PHEAP_GROW_MAX_BYTES);
	target = max(target, need);
	if (heap->reserved > PHEAP_ONE_VMA_BYTES && target > PHEAP_FRONT_BYTES)
		target = round_up(target, PHEAP_BACKING_PAGES << PAGE_SHIFT);
	else if (target > slot_bytes)
		target = round_up(target, slot_bytes);
	target = min(target, heap->reserved);

	ret = pheap_commit_locked(heap, target, true);
	if ((ret == -ENOMEM || ret == -EDQUOT) && target > need)
		ret = pheap_commit_locked(heap, need, true);
	return ret;
}

/**
 * pheap_commit_release - give all pages of a heap back
 * @heap: the heap, without references and VMAs
 *
 * Context: process context, may sleep; mmap_lock may be held.
 */
void pheap_commit_release(struct pheap *heap)
{
	struct pheap_backing *pages = pheap_backing_locked(heap);

	if (!pages)
		return;
	pheap_backing_free(heap, 0);
	pheap_uncharge_pages(heap->ctx, heap->committed >> PAGE_SHIFT);
	pheap_table_free(heap, pages, struct_size(pages, entry, pages->nr));
}
