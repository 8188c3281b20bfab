// SPDX-License-Identifier: GPL-2.0
/*
 * Free runs of pages: two-level segregated fit.
 *
 * Owns the free runs of a heap of pages: their descriptors (FREE at the first page, FREE_TAIL at
 * the last), and the lists of runs by length: one list per length below 16 pages, then eight per
 * doubling. A bitmap tells which lists are not empty, so a run that surely fits is found with a few
 * instructions, whatever the size of the heap. Neighbours are joined at once: the page before a
 * freed run tells by its tail descriptor how far back the free run goes, the page behind by its
 * head. No two free runs ever touch.
 *
 * A list of 16 pages or more holds runs of different length, and the list that a request itself
 * belongs to may hold one that fits. It is searched first, for a bounded number of runs: that keeps
 * large runs whole and finds the run that a block of the same size left behind, which plain
 * two-level segregated fit does not. Alignment is served in the same way: lists between the length
 * and the length plus the worst padding may fit, lists above surely do. Last of all the run at the
 * end of the committed part is tried, whatever its place in its list: pheap_core_need() counts on
 * that.
 *
 * Growing a block in place needs nothing that is not here: the page behind a run has kind FREE if
 * there is room, and its length; take that run from its list, and give its rest.
 *
 * Never touches spans or blocks, never looks at the memory it manages.
 */
#include <linux/bitops.h>
#include <linux/kernel.h>
#include <linux/minmax.h>

#include "runs.h"

/* Below this a list has runs of one length. */
#define EXACT_LENS	16U

/* The list that a run of @len pages is in. */
static u32 list_of(u32 len)
{
	u32 shift;

	if (len < 8)
		return len;
	/*
	 * As for size classes: the three bits behind the leading one tell the step inside of the
	 * doubling.
	 */
	shift = fls(len) - 4;
	return shift * 8 + (len >> shift);
}

/* The first list all of whose runs have at least @len pages. */
static u32 list_from(u64 len)
{
	u32 shift;

	if (len > U32_MAX / 2)
		return PHEAP_NR_RUN_LISTS;
	if (len < EXACT_LENS)
		return list_of(len);
	shift = fls(len) - 4;
	return list_of(len) + !!(len & ((1U << shift) - 1));
}

static void run_add(struct pheap_core *core, u32 page, u32 len)
{
	struct pheap_lists *lists = core->pages.lists;
	struct pheap_page *desc = pheap_page(core, page);
	u32 list = list_of(len);

	desc->kind = PHEAP_PAGE_FREE;
	desc->len = len;
	if (len > 1) {
		struct pheap_page *tail = pheap_page(core, page + len - 1);

		tail->kind = PHEAP_PAGE_FREE_TAIL;
		tail->len = len;
	}
	pheap_list_add(core, &lists->runs[list], page);
	lists->runs_used[list / 64] |= 1ULL << (list % 64);
}

/* Afterwards all of its pages are NONE. */
static void run_del(struct pheap_core *core, u32 page)
{
	struct pheap_lists *lists = core->pages.lists;
	struct pheap_page *desc = pheap_page(core, page);
	u32 list = list_of(desc->len);

	pheap_list_del(core, &lists->runs[list], page);
	if (lists->runs[list] == PHEAP_NONE)
		lists->runs_used[list / 64] &= ~(1ULL << (list % 64));
	desc->kind = PHEAP_PAGE_NONE;
	pheap_page(core, page + desc->len - 1)->kind = PHEAP_PAGE_NONE;
}

u64 pheap_run_aligned(const struct pheap_core *core, u32 page, u32 align)
{
	u64 base = core->base >> PAGE_SHIFT;

	return ALIGN(base + page, (u64)align) - base;
}

static bool fits(const struct pheap_core *core, u32 page, u32 nr, u32 align)
{
	return pheap_run_aligned(core, page, align) + nr <= (u64)page + pheap_page(core, page)->len;
}

/* The first list from @list on that is not empty, or PHEAP_NR_RUN_LISTS. */
static u32 used_list(const struct pheap_lists *lists, u32 list)
{
	u32 w = list / 64;
	u64 used;

	if (list >= PHEAP_NR_RUN_LISTS)
		return PHEAP_NR_RUN_LISTS;
	used = lists->runs_used[w] & (~0ULL << (list % 64));
	while (!used) {
		if (++w == ARRAY_SIZE(lists->runs_used))
			return PHEAP_NR_RUN_LISTS;
		used = lists->runs_used[w];
	}
	return w * 64 + __ffs64(used);
}

u32 pheap_run_last(const struct pheap_core *core)
{
	const struct pheap_page *desc;

	if (!core->nr_pages)
		return 0;
	desc = pheap_page(core, core->nr_pages - 1);
	if (desc->kind == PHEAP_PAGE_FREE || desc->kind == PHEAP_PAGE_FREE_TAIL)
		return desc->len;
	return 0;
}

/* First page of a free run with room for the request. */
static u32 find_run(const struct pheap_core *core, u32 nr, u32 align, u32 tries)
{
	const struct pheap_lists *lists = core->pages.lists;
	u32 sure = list_from((u64)nr + align - 1);
	u32 list = used_list(lists, list_of(nr));
	u32 page, last;

	while (list < sure && tries) {
		page = lists->runs[list];
		while (page != PHEAP_NONE && tries--) {
			if (fits(core, page, nr, align))
				return page;
			page = pheap_page(core, page)->next;
		}
		list = used_list(lists, list + 1);
	}
	list = used_list(lists, sure);
	if (list < PHEAP_NR_RUN_LISTS)
		return lists->runs[list];

	last = pheap_run_last(core);
	if (last && fits(core, core->nr_pages - last, nr, align))
		return core->nr_pages - last;
	return PHEAP_NONE;
}

/* Take [@at, @at + @nr) out of the free run at @page. */
static void carve(struct pheap_core *core, u32 page, u32 at, u32 nr)
{
	u32 end = page + pheap_page(core, page)->len;

	run_del(core, page);
	if (at > page)
		run_add(core, page, at - page);
	if (at + nr < end)
		run_add(core, at + nr, end - at - nr);
}

u32 pheap_run_take(struct pheap_core *core, u32 nr, u32 align, u32 tries)
{
	u32 page, at;

	if (nr > core->nr_pages)
		return PHEAP_NONE;
	page = find_run(core, nr, align, tries);
	if (page == PHEAP_NONE)
		return PHEAP_NONE;
	at = (u32)pheap_run_aligned(core, page, align);
	carve(core, page, at, nr);
	return at;
}

u32 pheap_run_take_some(struct pheap_core *core, u32 most, u32 least, u32 *nr)
{
	const struct pheap_lists *lists = core->pages.lists;
	u32 list = used_list(lists, most);
	u32 page;

	static_assert(PHEAP_MAX_SPAN < EXACT_LENS);
	if (!core->nr_pages)
		return PHEAP_NONE;
	*nr = most;
	if (list == PHEAP_NR_RUN_LISTS) {
		/* Nothing that long: the lists below, each of one length, from the longest down. */
		u32 below = lists->runs_used[0] & ((1U << most) - 1);

		if (!below)
			return PHEAP_NONE;
		*nr = list = fls(below) - 1;
		if (list < least)
			return PHEAP_NONE;
	}
	page = lists->runs[list];
	carve(core, page, page, *nr);
	return page;
}

void pheap_run_give(struct pheap_core *core, u32 page, u32 nr)
{
	u32 end = page + nr;

	if (page) {
		const struct pheap_page *before = pheap_page(core, page - 1);

		if (before->kind == PHEAP_PAGE_FREE || before->kind == PHEAP_PAGE_FREE_TAIL) {
			page -= before->len;
			run_del(core, page);
		}
	}
	if (end < core->nr_pages) {
		const struct pheap_page *behind = pheap_page(core, end);

		if (behind->kind == PHEAP_PAGE_FREE) {
			u32 len = behind->len;

			run_del(core, end);
			end += len;
		}
	}
	run_add(core, page, end - page);
}

bool pheap_runs_are_valid(const struct pheap_core *core, u32 nr_free)
{
	const struct pheap_lists *lists = core->pages.lists;
	u32 list, nr = 0;

	for (list = 0; list < PHEAP_NR_RUN_LISTS; list++) {
		bool empty = !((lists->runs_used[list / 64] >> (list % 64)) & 1);
		u32 page = lists->runs[list];
		u32 prev = PHEAP_NONE;

		if (empty ? page != PHEAP_NONE : page == PHEAP_NONE)
			return false;
		while (page != PHEAP_NONE) {
			const struct pheap_page *desc;

			if (page >= core->nr_pages || ++nr > nr_free)
				return false;
			desc = pheap_page(core, page);
			if (desc->kind != PHEAP_PAGE_FREE || desc->prev != prev)
				return false;
			if (list_of(desc->len) != list)
				return false;
			prev = page;
			page = desc->next;
		}
	}
	return nr == nr_free;
}
