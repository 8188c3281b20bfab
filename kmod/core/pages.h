/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page descriptors, and the array of chunks that holds them.
 *
 * Each page of the committed part has a descriptor and a mask word. What they mean follows from the
 * kind:
 *
 *   kind        on                               len                    next, prev   class, nfree
 *   NONE        every page inside of a run
 *   FREE        first page of a free run         pages of the run       list         -
 *   FREE_TAIL   its last page, if not the first  pages of the run       -            -
 *   RUN         first page of a block of pages   pages of the block     -            -
 *   SPAN        first page of a span             pages of the span      list         of the span
 *   SPAN_PART   all its other pages              distance to the first  -            -
 *
 * Only the ends of a run are ever written, so that allocating or freeing a run of a million pages
 * touches three or four descriptors, and a pointer into the middle of a block finds NONE. Spans are
 * short: each of their pages leads to the first.
 */
#ifndef _PHEAP_PAGES_H
#define _PHEAP_PAGES_H

#include <linux/build_bug.h>
#include <linux/limits.h>
#include <asm/page.h>

#include "classes.h"
#include "core.h"

/* No page: end of a list. */
#define PHEAP_NONE		U32_MAX

#define PHEAP_CHUNK_SHIFT	8
#define PHEAP_CHUNK_PAGES	256U

/**
 * enum pheap_page_kind - what a page is, as drawn above
 * @PHEAP_PAGE_NONE: inside of a run
 * @PHEAP_PAGE_FREE: first page of a free run
 * @PHEAP_PAGE_FREE_TAIL: last page of a free run of more than one page
 * @PHEAP_PAGE_RUN: first page of a block of pages
 * @PHEAP_PAGE_SPAN: first page of a span
 * @PHEAP_PAGE_SPAN_PART: any other page of a span
 */
enum pheap_page_kind {
	PHEAP_PAGE_NONE,
	PHEAP_PAGE_FREE,
	PHEAP_PAGE_FREE_TAIL,
	PHEAP_PAGE_RUN,
	PHEAP_PAGE_SPAN,
	PHEAP_PAGE_SPAN_PART,
};

/**
 * struct pheap_page - descriptor of a page
 * @next: next page of the list that this one is in
 * @prev: previous page of that list
 * @len: see the drawing above
 * @nfree: free blocks of the span
 * @kind: enum pheap_page_kind
 * @class: size class of the span
 */
struct pheap_page {
	u32 next;
	u32 prev;
	u32 len;
	u16 nfree;
	u8 kind;
	u8 class;
};

static_assert(sizeof(struct pheap_page) == 16);

/* Lists of free runs: one per length below 16, then 8 per doubling up to 2^31 pages. */
#define PHEAP_NR_RUN_LISTS	240
/* Lists of spans with both free and live blocks, per class, from nearly full to nearly empty. */
#define PHEAP_NR_SPAN_LISTS	3

/**
 * struct pheap_lists - list heads of a heap of pages; together below 2 KiB
 * @runs: free runs by length
 * @runs_used: one bit per list of @runs: it is not empty
 * @spans: spans with at least one free block
 * @empty: per class, a span without a live block that is kept so that a lone block does not make
 *	and unmake it; it is also in @spans
 * @nr_spares: entries of @spares
 * @spares: memory for bitmaps of spans, linked through its first word
 */
struct pheap_lists {
	u32 runs[PHEAP_NR_RUN_LISTS];
	u64 runs_used[(PHEAP_NR_RUN_LISTS + 63) / 64];
	u32 spans[PHEAP_NR_CLASSES][PHEAP_NR_SPAN_LISTS];
	u32 empty[PHEAP_NR_CLASSES];
	u32 nr_spares;
	void *spares;
};

static_assert(sizeof(struct pheap_lists) <= 2048);

/* What is allocated for it: kmalloc has no size between. */
#define PHEAP_LISTS_BYTES	2048

/**
 * pheap_page() - descriptor of a page
 * @core: a pages heap
 * @page: number of a committed page
 *
 * Context: Locked.
 * Return: The descriptor.
 */
static inline struct pheap_page *pheap_page(const struct pheap_core *core, u32 page)
{
	return &core->pages.table[page >> PHEAP_CHUNK_SHIFT].pages[page % PHEAP_CHUNK_PAGES];
}

/**
 * pheap_mask() - mask word of a page
 * @core: a pages heap
 * @page: number of a committed page
 *
 * Context: Locked.
 * Return: Address of the word.
 */
static inline u64 *pheap_mask(const struct pheap_core *core, u32 page)
{
	return &core->pages.table[page >> PHEAP_CHUNK_SHIFT].masks[page % PHEAP_CHUNK_PAGES];
}

/**
 * pheap_list_add() - put a page at the front of a list, or at its second place
 * @core: a pages heap
 * @head: the list
 * @page: what to put there
 *
 * The lowest address seen goes to the front: lists lean towards low addresses without being sorted.
 *
 * Context: Locked.
 */
void pheap_list_add(struct pheap_core *core, u32 *head, u32 page);

/**
 * pheap_list_del() - take a page from a list
 * @core: a pages heap
 * @head: the list
 * @page: a page of it
 *
 * Context: Locked.
 */
void pheap_list_del(struct pheap_core *core, u32 *head, u32 page);

/**
 * pheap_lists_clear() - make all lists empty; spares stay
 * @lists: the lists
 *
 * Context: Locked, or nobody knows them yet.
 */
void pheap_lists_clear(struct pheap_lists *lists);

/**
 * pheap_pages_destroy() - free all metadata but bitmaps of spans
 * @core: a pages heap
 *
 * Context: May sleep.
 */
void pheap_pages_destroy(struct pheap_core *core);

/**
 * pheap_pages_prepare() - allocate descriptors up to @grow->nr_pages
 * @core: a pages heap
 * @grow: zeroed but for nr_pages
 *
 * Context: Not locked, may sleep.
 * Return: 0 or -ENOMEM; what was allocated is left to pheap_pages_finish() in both cases.
 */
int pheap_pages_prepare(struct pheap_core *core, struct pheap_core_grow *grow);

/**
 * pheap_pages_commit() - switch to the larger tables; the new pages are NONE
 * @core: a pages heap
 * @grow: as prepared
 *
 * Context: Locked.
 */
void pheap_pages_commit(struct pheap_core *core, struct pheap_core_grow *grow);

/**
 * pheap_pages_finish() - free what was replaced, or what was prepared
 * @core: a pages heap
 * @grow: as prepared
 *
 * Context: Not locked, may sleep.
 */
void pheap_pages_finish(struct pheap_core *core, struct pheap_core_grow *grow);

#endif /* _PHEAP_PAGES_H */
