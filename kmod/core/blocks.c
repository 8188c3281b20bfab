// SPDX-License-Identifier: GPL-2.0
/*
 * What callers get in heaps of pages: blocks of a size class, cut from spans, and runs of pages.
 *
 * Owns the spans: a span is a run of up to 15 pages cut into blocks of one class. Which of them are
 * free is a bitmap with one bit per block, 1 is free. Bit i of word w is block 64 * w + i, so the
 * blocks of a word are found from one address and one mask. Where a page has at most 64 blocks,
 * word w is the mask word of the span's page w: no memory but the descriptors is needed. Smaller
 * classes have an allocated bitmap, whose address is in the mask word of the first page. That
 * memory is provided by the caller beforehand ("spare"), kept for the next such span when a span
 * ends, and freed with the heap; if there is none, the smallest class with an inline bitmap serves
 * the request.
 *
 * Spans with both free and live blocks are in one of three lists of their class, by the number of
 * free blocks; blocks are taken from the fullest list first, so that nearly empty spans have a
 * chance to end. A span without a live block goes back to the free runs, but each class may keep
 * one, so that a single block allocated and freed over and over does not make and unmake its span.
 * The kept ones are given back before any request fails.
 *
 * Order of attempts, for PHEAP_CORE_EASY: a span with a free block; a new span of the usual length,
 * or as long as a free run allows down to the small length, beyond which too much is wasted at its
 * end. In a heap with little committed the usual length is less: a 64th of it. PHEAP_CORE_LAST
 * adds: spans that hold at least one block, then a block of the next larger class that has one. So
 * the heap is full only if no larger block and no page is free.
 *
 * Every free is checked against descriptor and bitmap: what is not the address of a live block
 * changes nothing.
 *
 * Never looks at the memory it manages, never allocates.
 */
#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "blocks.h"
#include "runs.h"

/* Spares kept for callers that come; more of them come from ended spans. */
#define MAX_GIVEN_SPARES	4U
/* Descriptors that one step of a reset looks at, and a span more. */
#define RESET_STEP	1024U
/* A span takes at most this part of the committed pages. */
#define COMMITTED_PER_SPAN	64U

struct spare {
	struct spare *next;
};

static_assert(PHEAP_MAX_SPAN << PAGE_SHIFT <= 65536);

static bool is_inline(u32 class)
{
	return class >= PHEAP_INLINE_CLASS;
}

/* Word @w of the bitmap of the span at @page. */
static __always_inline u64 *span_word(const struct pheap_core *core, u32 page, u32 class, u32 w)
{
	if (likely(is_inline(class)))
		return pheap_mask(core, page + w);
	return (u64 *)(unsigned long)*pheap_mask(core, page) + w;
}

static u32 list_number(const struct pheap_class *c, u32 nfree)
{
	return (nfree * c->fullness) >> 16;
}

/* The list that a span with @nfree free blocks belongs to. */
static u32 *span_list(struct pheap_core *core, u32 class, u32 nfree)
{
	return &core->pages.lists->spans[class][list_number(&pheap_classes[class], nfree)];
}

static u32 nr_blocks_in(u32 pages, u32 class)
{
	return ((u64)(pages << PAGE_SHIFT) * pheap_classes[class].reciprocal) >> 32;
}

static u32 min_pages(u32 class)
{
	return (pheap_classes[class].bytes - 1) / PAGE_SIZE + 1;
}

/* Usual length of a new span: short while little is committed. */
static u32 usual_pages(const struct pheap_core *core, u32 class)
{
	const struct pheap_class *c = &pheap_classes[class];

	return clamp_t(u32, core->nr_pages / COMMITTED_PER_SPAN, c->small_pages, c->pages);
}

/* First class from @class on whose blocks are aligned to @align, or PHEAP_NR_CLASSES. */
static u32 aligned_class(u32 class, u32 align)
{
	while (class < PHEAP_NR_CLASSES && pheap_classes[class].bytes & (align - 1))
		class++;
	return class;
}

/* Size and alignment of a block of pages. */
static u32 pages_of(u64 bytes)
{
	return bytes ? (bytes - 1) / PAGE_SIZE + 1 : 1;
}

static u32 align_pages(u64 align)
{
	return align < PAGE_SIZE ? 1 : align / PAGE_SIZE;
}

/* The class that serves a request best, or PHEAP_NR_CLASSES if it is one for a run. */
static inline u32 class_for(u64 bytes, u64 align)
{
	if (bytes > PHEAP_MAX_BLOCK || align > PAGE_SIZE)
		return PHEAP_NR_CLASSES;
	if (likely(align <= PHEAP_MIN_ALIGN))
		return pheap_class_of(bytes);
	return aligned_class(pheap_class_of(max(bytes, align)), align);
}

/* The fullest span of @class with a free block, or PHEAP_NONE. */
static inline u32 open_span(const struct pheap_core *core, u32 class)
{
	const u32 *spans = core->pages.lists->spans[class];
	u32 i;

	for (i = 0; i < PHEAP_NR_SPAN_LISTS; i++)
		if (spans[i] != PHEAP_NONE)
			return spans[i];
	return PHEAP_NONE;
}

/*
 * Make pages a span, of which the caller takes a block at once. A class without inline bitmap needs
 * a spare.
 */
static void span_create(struct pheap_core *core, u32 class, u32 page, u32 len)
{
	struct pheap_page *desc = pheap_page(core, page);
	u32 left = nr_blocks_in(len, class);
	u32 i;

	desc->kind = PHEAP_PAGE_SPAN;
	desc->class = class;
	desc->len = len;
	desc->nfree = left;
	for (i = 1; i < len; i++) {
		struct pheap_page *part = pheap_page(core, page + i);

		part->kind = PHEAP_PAGE_SPAN_PART;
		part->len = i;
	}
	if (!is_inline(class)) {
		struct pheap_lists *lists = core->pages.lists;
		struct spare *spare = lists->spares;

		WRITE_ONCE(lists->spares, spare->next);
		lists->nr_spares--;
		*pheap_mask(core, page) = (unsigned long)spare;
	}
	pheap_list_add(core, span_list(core, class, left), page);
	for (i = 0; left > 64; i++, left -= 64)
		*span_word(core, page, class, i) = ~0ULL;
	*span_word(core, page, class, i) = ~0ULL >> (64 - left);
}

static void spare_put(struct pheap_lists *lists, void *mem)
{
	struct spare *spare = mem;

	spare->next = lists->spares;
	WRITE_ONCE(lists->spares, spare);
	lists->nr_spares++;
}

/* Make a span that is in no list any more pages that are nothing; their number. */
static u32 span_dissolve(struct pheap_core *core, u32 page)
{
	struct pheap_page *desc = pheap_page(core, page);
	u32 len = desc->len;
	u32 i;

	if (!is_inline(desc->class))
		spare_put(core->pages.lists, (void *)(unsigned long)*pheap_mask(core, page));
	for (i = 0; i < len; i++)
		pheap_page(core, page + i)->kind = PHEAP_PAGE_NONE;
	return len;
}

/* Make it free pages. */
static void span_destroy(struct pheap_core *core, u32 page)
{
	pheap_run_give(core, page, span_dissolve(core, page));
}

/* Give kept spans back to the free runs; false if there was none. */
static bool give_back_empty(struct pheap_core *core)
{
	struct pheap_lists *lists = core->pages.lists;
	bool any = false;
	u32 class;

	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		u32 page = lists->empty[class];

		if (page == PHEAP_NONE)
			continue;
		lists->empty[class] = PHEAP_NONE;
		pheap_list_del(core, span_list(core, class, pheap_page(core, page)->nfree), page);
		span_destroy(core, page);
		any = true;
	}
	return any;
}

/*
 * Put a span into the list that its number of free blocks asks for. Seldom needed, and called last
 * by the fast functions, which therefore need no stack. Always 0.
 */
static noinline int span_moved(struct pheap_core *core, u32 page, u32 old_nfree)
{
	const struct pheap_page *desc = pheap_page(core, page);

	if (old_nfree)
		pheap_list_del(core, span_list(core, desc->class, old_nfree), page);
	if (desc->nfree)
		pheap_list_add(core, span_list(core, desc->class, desc->nfree), page);
	return 0;
}

/* The first word with a free block of a span that has one; @block: number of the word's block 0. */
static __always_inline u64 *free_word(const struct pheap_core *core, u32 page, u32 class,
				      u32 *block)
{
	u64 *word = span_word(core, page, class, 0);

	*block = 0;
	while (unlikely(!*word)) {
		*block += 64;
		word = span_word(core, page, class, *block / 64);
	}
	return word;
}

/* The bits of @nr blocks were cleared. Always 0. */
static __always_inline int blocks_taken(struct pheap_core *core, u32 page, u32 nr)
{
	struct pheap_lists *lists = core->pages.lists;
	struct pheap_page *desc = pheap_page(core, page);
	const struct pheap_class *c = &pheap_classes[desc->class];
	u32 nfree = desc->nfree;

	if (lists->empty[desc->class] == page)
		lists->empty[desc->class] = PHEAP_NONE;
	desc->nfree = nfree - nr;
	if (unlikely(nfree == nr || list_number(c, nfree) != list_number(c, nfree - nr)))
		return span_moved(core, page, nfree);
	return 0;
}

/* Take a block from a span that has a free one. Always 0. */
static __always_inline int take_block(struct pheap_core *core, u32 page, u64 *addr, u64 *usable)
{
	u32 class = pheap_page(core, page)->class;
	const struct pheap_class *c = &pheap_classes[class];
	u32 block;
	u64 *word = free_word(core, page, class, &block);

	block += __ffs64(*word);
	*word &= *word - 1;
	*usable = c->bytes;
	*addr = core->base + ((u64)page << PAGE_SHIFT) + block * c->bytes;
	return blocks_taken(core, page, 1);
}

/* Take up to @most blocks that are in one word. Their number. */
static u32 take_group(struct pheap_core *core, u32 page, u32 most, struct pheap_core_group *group)
{
	u32 class = pheap_page(core, page)->class;
	u32 block, nr;
	u64 *word = free_word(core, page, class, &block);
	u64 left = 0;

	nr = hweight64(*word);
	if (nr > most) {
		for (left = *word, nr = most; most; most--)
			left &= left - 1;
	}
	group->addr = core->base + ((u64)page << PAGE_SHIFT) + block * pheap_classes[class].bytes;
	group->mask = *word ^ left;
	*word = left;
	blocks_taken(core, page, nr);
	return nr;
}

/* A new span of @class between @most and @least pages. */
static u32 new_span(struct pheap_core *core, u32 class, u32 most, u32 least)
{
	u32 len, page = pheap_run_take_some(core, most, least, &len);

	if (page != PHEAP_NONE)
		span_create(core, class, page, len);
	return page;
}

/* The next larger block that is free and aligned. */
static u32 borrow_span(const struct pheap_core *core, u32 class, u64 align)
{
	while (++class < PHEAP_NR_CLASSES) {
		u32 page;

		if (pheap_classes[class].bytes & (align - 1))
			continue;
		page = open_span(core, class);
		if (page != PHEAP_NONE)
			return page;
	}
	return PHEAP_NONE;
}

/* No span of the class has a free block: one that now gets one, or lends one. */
static u32 span_for(struct pheap_core *core, u32 class, u64 align, enum pheap_core_effort effort)
{
	u32 page, most, least, asked = class;

	if (!is_inline(class) && !core->pages.lists->spares) {
		class = aligned_class(PHEAP_INLINE_CLASS, align);
		page = open_span(core, class);
		if (page != PHEAP_NONE)
			return page;
	}
	most = usual_pages(core, class);
	least = pheap_classes[class].small_pages;
	page = new_span(core, class, most, least);
	if (page == PHEAP_NONE && give_back_empty(core))
		page = new_span(core, class, most, least);
	if (page != PHEAP_NONE || effort == PHEAP_CORE_EASY)
		return page;
	page = new_span(core, class, least, min_pages(class));
	return page != PHEAP_NONE ? page : borrow_span(core, asked, align);
}

static noinline int alloc_by_new_span(struct pheap_core *core, u32 class, u64 align,
				      enum pheap_core_effort effort, u64 *addr, u64 *usable)
{
	u32 page = span_for(core, class, align, effort);

	return page == PHEAP_NONE ? -ENOSPC : take_block(core, page, addr, usable);
}

static noinline int alloc_run(struct pheap_core *core, u64 bytes, u64 align,
			      enum pheap_core_effort effort, u64 *addr, u64 *usable)
{
	u32 tries = effort == PHEAP_CORE_EASY ? PHEAP_RUN_TRIES_EASY : PHEAP_RUN_TRIES_LAST;
	u32 nr = pages_of(bytes);
	u32 page = pheap_run_take(core, nr, align_pages(align), tries);

	if (page == PHEAP_NONE && give_back_empty(core))
		page = pheap_run_take(core, nr, align_pages(align), tries);
	if (page == PHEAP_NONE)
		return -ENOSPC;
	pheap_page(core, page)->kind = PHEAP_PAGE_RUN;
	pheap_page(core, page)->len = nr;
	*addr = core->base + ((u64)page << PAGE_SHIFT);
	*usable = (u64)nr << PAGE_SHIFT;
	return 0;
}

int pheap_blocks_alloc(struct pheap_core *core, u64 bytes, u64 align, enum pheap_core_effort effort,
		       u64 *addr, u64 *usable)
{
	u32 class = class_for(bytes, align);
	u32 page;

	if (class == PHEAP_NR_CLASSES)
		return alloc_run(core, bytes, align, effort, addr, usable);
	page = open_span(core, class);
	if (unlikely(page == PHEAP_NONE))
		return alloc_by_new_span(core, class, align, effort, addr, usable);
	return take_block(core, page, addr, usable);
}

void pheap_blocks_alloc_batch(struct pheap_core *core, u64 bytes, u32 nr_blocks, u32 nr_groups,
			      struct pheap_core_batch *batch)
{
	u32 class = class_for(bytes, PHEAP_MIN_ALIGN);

	while (batch->nr_blocks < nr_blocks && batch->nr_groups < nr_groups) {
		u32 page = open_span(core, class);

		if (page == PHEAP_NONE) {
			/* Without a spare it would be a span of another class. */
			if (batch->nr_blocks && !is_inline(class) && !core->pages.lists->spares)
				break;
			page = span_for(core, class, PHEAP_MIN_ALIGN, PHEAP_CORE_EASY);
			if (page == PHEAP_NONE)
				break;
			class = pheap_page(core, page)->class;
		}
		batch->nr_blocks += take_group(core, page, nr_blocks - batch->nr_blocks,
					       &batch->groups[batch->nr_groups++]);
	}
	batch->usable = pheap_classes[class].bytes;
}

u64 pheap_blocks_need(const struct pheap_core *core, u64 bytes, u64 align)
{
	u32 last = pheap_run_last(core);
	u32 class = class_for(bytes, align);
	u32 start = core->nr_pages - last;
	u64 pages;

	if (class < PHEAP_NR_CLASSES) {
		u32 room = core->reserved_pages - start;

		if (!is_inline(class) && !(core->nr_pages && core->pages.lists->spares))
			class = aligned_class(PHEAP_INLINE_CLASS, align);
		if (room < min_pages(class))
			return U64_MAX;
		pages = start + min(usual_pages(core, class), room);
		if (last >= pheap_classes[class].small_pages)
			pages = core->nr_pages;
	} else {
		pages = pheap_run_aligned(core, start, align_pages(align)) + pages_of(bytes);
		if (pages > core->reserved_pages)
			return U64_MAX;
	}
	return max_t(u64, pages, core->nr_pages) << PAGE_SHIFT;
}

/* A live block: its span, and the word and bit of the bitmap. */
struct block {
	u32 page;
	struct pheap_page *desc;
	u64 *word;
	u64 bit;
};

/* The span that @page is of: its first page, or PHEAP_NONE. */
static __always_inline u32 find_span(const struct pheap_core *core, u32 page)
{
	const struct pheap_page *desc = pheap_page(core, page);

	if (desc->kind == PHEAP_PAGE_SPAN_PART)
		return page - desc->len;
	return desc->kind == PHEAP_PAGE_SPAN ? page : PHEAP_NONE;
}

/* Find the live block of a span that starts at @offset, if there is one. */
static __always_inline bool find_in_span(const struct pheap_core *core, u32 page, u64 offset,
					 struct block *block)
{
	struct pheap_page *desc = pheap_page(core, page);
	const struct pheap_class *c = &pheap_classes[desc->class];
	u32 in_span = offset - ((u64)page << PAGE_SHIFT);
	u32 nr = ((u64)in_span * c->reciprocal) >> 32;

	if (nr * c->bytes != in_span || in_span + c->bytes > desc->len << PAGE_SHIFT)
		return false;
	block->page = page;
	block->desc = desc;
	block->word = span_word(core, page, desc->class, nr / 64);
	block->bit = 1ULL << (nr % 64);
	return !(*block->word & block->bit);
}

/* Find the live block that starts at @offset, if there is one; @page is the page of @offset. */
static __always_inline bool find_block(const struct pheap_core *core, u32 page, u64 offset,
				       struct block *block)
{
	page = find_span(core, page);
	return page != PHEAP_NONE && find_in_span(core, page, offset, block);
}

static bool is_run(const struct pheap_core *core, u32 page, u64 offset)
{
	return pheap_page(core, page)->kind == PHEAP_PAGE_RUN && !(offset & (PAGE_SIZE - 1));
}

int pheap_blocks_size(const struct pheap_core *core, u64 offset, u64 *usable)
{
	u32 page = offset >> PAGE_SHIFT;
	struct block block;

	if (is_run(core, page, offset))
		*usable = (u64)pheap_page(core, page)->len << PAGE_SHIFT;
	else if (find_block(core, page, offset, &block))
		*usable = pheap_classes[block.desc->class].bytes;
	else
		return -EINVAL;
	return 0;
}

/* The only live block of a span was freed: keep the lowest such span of the class. Always 0. */
static noinline int span_emptied(struct pheap_core *core, u32 page, u32 old_nfree)
{
	struct pheap_page *desc = pheap_page(core, page);
	u32 *kept = &core->pages.lists->empty[desc->class];

	if (*kept == PHEAP_NONE) {
		*kept = page;
		return span_moved(core, page, old_nfree);
	}
	if (old_nfree)
		pheap_list_del(core, span_list(core, desc->class, old_nfree), page);
	if (page < *kept) {
		swap(page, *kept);
		pheap_list_add(core, span_list(core, desc->class, desc->nfree), *kept);
		desc = pheap_page(core, page);
		pheap_list_del(core, span_list(core, desc->class, desc->nfree), page);
	}
	span_destroy(core, page);
	return 0;
}

static noinline int free_run(struct pheap_core *core, u32 page, u64 *usable)
{
	struct pheap_page *desc = pheap_page(core, page);

	*usable = (u64)desc->len << PAGE_SHIFT;
	desc->kind = PHEAP_PAGE_NONE;
	pheap_run_give(core, page, desc->len);
	return 0;
}

/* The bits of @nr blocks were set. Always 0. */
static __always_inline int blocks_given(struct pheap_core *core, u32 page, struct pheap_page *desc,
					u32 nr)
{
	const struct pheap_class *c = &pheap_classes[desc->class];
	u32 nfree = desc->nfree;
	bool moves = !nfree || list_number(c, nfree) != list_number(c, nfree + nr);

	desc->nfree = nfree + nr;
	if (nfree + nr == nr_blocks_in(desc->len, desc->class)) {
		u32 *kept = &core->pages.lists->empty[desc->class];

		/* The case of a lone block, which is to be fast. */
		if (*kept == PHEAP_NONE && !moves) {
			*kept = page;
			return 0;
		}
		return span_emptied(core, page, nfree);
	}
	return moves ? span_moved(core, page, nfree) : 0;
}

int pheap_blocks_free(struct pheap_core *core, u64 offset, u64 *usable)
{
	u32 page = offset >> PAGE_SHIFT;
	struct block block;

	if (!find_block(core, page, offset, &block)) {
		if (!is_run(core, page, offset))
			return -EINVAL;
		return free_run(core, page, usable);
	}
	*block.word |= block.bit;
	*usable = pheap_classes[block.desc->class].bytes;
	return blocks_given(core, block.page, block.desc, 1);
}

/* The same, and their size; for batches, which look at the span once. */
static u64 span_given(struct pheap_core *core, u32 page, u32 nr)
{
	struct pheap_page *desc;
	u64 bytes;

	if (!nr)
		return 0;
	desc = pheap_page(core, page);
	bytes = (u64)nr * pheap_classes[desc->class].bytes;
	blocks_given(core, page, desc, nr);
	return bytes;
}

u64 pheap_blocks_free_batch(struct pheap_core *core, const u64 *addrs, u32 nr, u32 *nr_freed,
			    u64 *freed_bytes)
{
	/* The span that the last address was in, and how many of its bits were set. */
	u32 span = PHEAP_NONE, given = 0, freed = 0, i;
	u64 start = 0, bytes = 0, sum = 0, refused = 0;
	struct block block;

	for (i = 0; i < nr; i++) {
		u64 offset = addrs[i] - core->base;

		if (!addrs[i])
			continue;
		if (offset - start >= bytes) {
			u32 page = offset >> PAGE_SHIFT;
			u64 usable;

			/* It may end here. */
			sum += span_given(core, span, given);
			freed += given;
			given = 0;
			bytes = 0;
			if (offset >> PAGE_SHIFT >= core->nr_pages) {
				refused |= 1ULL << i;
				continue;
			}
			span = find_span(core, page);
			if (span == PHEAP_NONE) {
				if (!is_run(core, page, offset)) {
					refused |= 1ULL << i;
					continue;
				}
				free_run(core, page, &usable);
				sum += usable;
				freed++;
				continue;
			}
			start = (u64)span << PAGE_SHIFT;
			bytes = (u64)pheap_page(core, span)->len << PAGE_SHIFT;
		}
		if (find_in_span(core, span, offset, &block)) {
			*block.word |= block.bit;
			given++;
		} else {
			refused |= 1ULL << i;
		}
	}
	*freed_bytes = sum + span_given(core, span, given);
	*nr_freed = freed + given;
	return refused;
}

void pheap_blocks_reset(struct pheap_core *core)
{
	pheap_lists_clear(core->pages.lists);
}

bool pheap_blocks_reset_step(struct pheap_core *core, u32 end)
{
	u32 first = core->nr_pages, page = first, looks = 0;

	while (page < end && looks < RESET_STEP) {
		struct pheap_page *desc = pheap_page(core, page);
		u32 len = desc->len;

		if (desc->kind == PHEAP_PAGE_SPAN) {
			looks += span_dissolve(core, page);
		} else {
			/* A block, or a free run, which has a tail. */
			desc->kind = PHEAP_PAGE_NONE;
			pheap_page(core, page + len - 1)->kind = PHEAP_PAGE_NONE;
			looks += 2;
		}
		page += len;
	}
	core->nr_pages = page;
	pheap_run_give(core, first, page - first);
	return page < end;
}

size_t pheap_blocks_spare_bytes(const struct pheap_core *core, u64 bytes)
{
	const struct pheap_lists *lists = READ_ONCE(core->pages.lists);
	u32 class, i;

	if (bytes >= PHEAP_INLINE_BYTES)
		return 0;
	class = pheap_class_of(bytes);
	if (is_inline(class))
		return 0;
	if (lists) {
		if (READ_ONCE(lists->spares))
			return 0;
		for (i = 0; i < PHEAP_NR_SPAN_LISTS; i++)
			if (READ_ONCE(lists->spans[class][i]) != PHEAP_NONE)
				return 0;
	}
	return PHEAP_BITMAP_BYTES;
}

void *pheap_blocks_spare_give(struct pheap_core *core, void *spare)
{
	struct pheap_lists *lists = core->pages.lists;

	if (!lists || lists->nr_spares >= MAX_GIVEN_SPARES)
		return spare;
	spare_put(lists, spare);
	return NULL;
}

void pheap_blocks_destroy(struct pheap_core *core)
{
	struct pheap_lists *lists = core->pages.lists;
	struct spare *spare, *next;
	u32 page;

	if (!lists)
		return;
	for (page = 0; page < core->nr_pages; page += pheap_page(core, page)->len) {
		const struct pheap_page *desc = pheap_page(core, page);

		if (desc->kind == PHEAP_PAGE_SPAN && !is_inline(desc->class))
			spare_put(lists, (void *)(unsigned long)*pheap_mask(core, page));
	}
	for (spare = lists->spares; spare; spare = next) {
		next = spare->next;
		pheap_meta_free(core, spare, PHEAP_BITMAP_BYTES);
	}
}

/* What the descriptors add up to. */
struct totals {
	u64 allocated_bytes;
	u64 nr_blocks;
	u32 nr_free_runs;
	u32 nr_open_spans;
};

static bool span_is_valid(const struct pheap_core *core, u32 page, struct totals *sum)
{
	const struct pheap_page *desc = pheap_page(core, page);
	u32 blocks, i, free = 0;
	bool is_empty, is_kept;

	if (desc->class >= PHEAP_NR_CLASSES || desc->len > pheap_classes[desc->class].pages)
		return false;
	blocks = nr_blocks_in(desc->len, desc->class);
	if (!blocks || blocks != (desc->len << PAGE_SHIFT) / pheap_classes[desc->class].bytes)
		return false;
	for (i = 1; i < desc->len; i++) {
		const struct pheap_page *part = pheap_page(core, page + i);

		if (part->kind != PHEAP_PAGE_SPAN_PART || part->len != i)
			return false;
	}
	for (i = 0; i < blocks; i++)
		free += (*span_word(core, page, desc->class, i / 64) >> (i % 64)) & 1;
	/* No bit behind the last block, where the search for a free one would find it. */
	if (blocks % 64 && *span_word(core, page, desc->class, blocks / 64) >> (blocks % 64))
		return false;
	if (free != desc->nfree)
		return false;
	is_empty = free == blocks;
	is_kept = core->pages.lists->empty[desc->class] == page;
	if (is_empty != is_kept)
		return false;
	sum->nr_open_spans += free > 0;
	sum->nr_blocks += blocks - free;
	sum->allocated_bytes += (u64)(blocks - free) * pheap_classes[desc->class].bytes;
	return true;
}

/* The run at @page of any kind, free or not; no two free ones may touch. */
static bool run_is_valid(const struct pheap_core *core, u32 page, struct totals *sum, bool was_free)
{
	const struct pheap_page *desc = pheap_page(core, page);
	u32 end = page + desc->len, last = end - 1, i;
	const struct pheap_page *tail = pheap_page(core, last);

	switch (desc->kind) {
	case PHEAP_PAGE_SPAN:
		return span_is_valid(core, page, sum);
	case PHEAP_PAGE_RUN:
		sum->nr_blocks++;
		sum->allocated_bytes += (u64)desc->len << PAGE_SHIFT;
		break;
	case PHEAP_PAGE_FREE:
		if (was_free)
			return false;
		sum->nr_free_runs++;
		if (last == page)
			break;
		if (tail->kind != PHEAP_PAGE_FREE_TAIL || tail->len != desc->len)
			return false;
		end = last;
		break;
	default:
		return false;
	}
	for (i = page + 1; i < end; i++)
		if (pheap_page(core, i)->kind != PHEAP_PAGE_NONE)
			return false;
	return true;
}

/* One list of spans; adds its entries to @nr, which shall not become more than @most. */
static bool span_list_is_valid(const struct pheap_core *core, u32 class, u32 list, u32 *nr,
			       u32 most)
{
	u32 page = core->pages.lists->spans[class][list];
	u32 prev = PHEAP_NONE;

	while (page != PHEAP_NONE) {
		const struct pheap_page *desc;

		if (page >= core->nr_pages || ++*nr > most)
			return false;
		desc = pheap_page(core, page);
		if (desc->kind != PHEAP_PAGE_SPAN || desc->class != class || desc->prev != prev)
			return false;
		if (!desc->nfree || list_number(&pheap_classes[class], desc->nfree) != list)
			return false;
		prev = page;
		page = desc->next;
	}
	return true;
}

static bool span_lists_are_valid(const struct pheap_core *core, u32 nr_open_spans)
{
	const struct pheap_lists *lists = core->pages.lists;
	u32 class, list, nr = 0;

	for (class = 0; class < PHEAP_NR_CLASSES; class++) {
		u32 page = lists->empty[class];

		if (page != PHEAP_NONE) {
			const struct pheap_page *desc;

			/* span_is_valid() saw that empty spans are these; are these spans? */
			if (page >= core->nr_pages)
				return false;
			desc = pheap_page(core, page);
			if (desc->kind != PHEAP_PAGE_SPAN || desc->class != class)
				return false;
		}
		for (list = 0; list < PHEAP_NR_SPAN_LISTS; list++)
			if (!span_list_is_valid(core, class, list, &nr, nr_open_spans))
				return false;
	}
	return nr == nr_open_spans;
}

bool pheap_blocks_are_valid(const struct pheap_core *core)
{
	const struct pheap_lists *lists = core->pages.lists;
	const struct spare *spare;
	struct totals sum = { 0 };
	bool was_free = false;
	u32 page, nr_spares = 0;

	if (!core->nr_pages)
		return !lists && !core->nr_allocs;
	for (page = 0; page < core->nr_pages; page += pheap_page(core, page)->len) {
		const struct pheap_page *desc = pheap_page(core, page);

		if (!desc->len || desc->len > core->nr_pages - page)
			return false;
		if (!run_is_valid(core, page, &sum, was_free))
			return false;
		was_free = desc->kind == PHEAP_PAGE_FREE;
	}
	for (spare = lists->spares; spare && nr_spares <= lists->nr_spares; spare = spare->next)
		nr_spares++;
	return nr_spares == lists->nr_spares &&
	       sum.allocated_bytes == core->allocated_bytes &&
	       sum.nr_blocks == core->nr_allocs - core->nr_frees &&
	       pheap_runs_are_valid(core, sum.nr_free_runs) &&
	       span_lists_are_valid(core, sum.nr_open_spans);
}
