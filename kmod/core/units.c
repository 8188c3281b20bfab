// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps of at most 1 MiB: one allocator of 16-byte units, address-ordered first fit.
 *
 * Owns two bitmaps with a bit per unit of the committed part: "busy" (the unit belongs to a live
 * block) and "start" (it is the first unit of one). A block reaches from its start bit to the next
 * start bit or free unit. A free run is a maximal stretch of units that are not busy, so freed
 * neighbours coalesce by themselves, and there is no record anywhere that could grow with the
 * number of blocks: 68 bytes of metadata per page of 4096, whatever lies in it.
 *
 * So that no search looks at all bits, each page has a bound for the length of the free runs that
 * *start* in it (such a run may end in a later page, so that runs longer than a page are found the
 * same way), 16 pages have a bound for all of theirs, and one bit per page tells that it is
 * entirely free. Bounds are raised when units become free, and lowered only by a search that
 * looked and found less: a block allocated and freed again costs no recount, and a search pays at
 * most once for each change. A fit is found with at most 16 + 16 compares and a look at the runs
 * of few pages; the end of a run with at most 4 + 4 + 4 words.
 *
 * First fit by address packs towards low addresses and was chosen over best fit because it needs
 * no lists, and because it fragments least when sizes are mixed. Nothing here rounds sizes beyond
 * the unit: a heap this small cannot afford size classes.
 *
 * Invariants: a start bit lies on a busy unit, and the unit after a free run has one; no free run
 * is longer than the bounds of its page and group; empty is exactly what the bitmap says; bits and
 * bounds behind the committed part are 0.
 *
 * Never looks at the memory it manages, never allocates outside prepare.
 */
#include <linux/types.h>
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <asm/page.h>

#include "units.h"

#define UNIT_SHIFT	4
#define UNITS_SHIFT	(PAGE_SHIFT - UNIT_SHIFT)	/* log2 of units per page */
#define PAGE_UNITS	((u32)(PAGE_SIZE >> UNIT_SHIFT))
#define PAGE_WORDS	(PAGE_UNITS / 64)
#define GROUP_PAGES	PHEAP_UNITS_GROUP_PAGES
#define NONE		U32_MAX
/* Growing in steps of single pages should not copy at every step. */
#define MIN_SLOTS	4U

static u32 nr_units(const struct pheap_core *core)
{
	return core->nr_pages << UNITS_SHIFT;
}

static bool test_bit64(const u64 *map, u32 bit)
{
	return (map[bit / 64] >> (bit % 64)) & 1;
}

/* Bits [bit, 64) of a word. */
static u64 mask_from(u32 bit)
{
	return ~0ULL << bit;
}

/* Bits [0, bit) of a word; 0 < bit <= 64. */
static u64 mask_below(u32 bit)
{
	return ~0ULL >> (64 - bit);
}

static void set_range(u64 *map, u32 first, u32 end)
{
	u32 w = first / 64, last = (end - 1) / 64;
	u64 mask = mask_from(first % 64);

	for (; w < last; w++, mask = ~0ULL)
		map[w] |= mask;
	map[w] |= mask & mask_below(end - last * 64);
}

static void clear_range(u64 *map, u32 first, u32 end)
{
	u32 w = first / 64, last = (end - 1) / 64;
	u64 mask = mask_from(first % 64);

	for (; w < last; w++, mask = ~0ULL)
		map[w] &= ~mask;
	map[w] &= ~(mask & mask_below(end - last * 64));
}

/* First page from @page on that is not entirely free, or the end of the committed part. */
static u32 next_used_page(const struct pheap_core *core, u32 page)
{
	const u64 *empty = core->units.empty;
	u32 w = page / 64;
	u64 used;

	if (page >= core->nr_pages)
		return core->nr_pages;
	used = ~empty[w] & mask_from(page % 64);
	while (!used) {
		if (++w == ARRAY_SIZE(core->units.empty))
			return core->nr_pages;
		used = ~empty[w];
	}
	return min_t(u32, w * 64 + __ffs64(used), core->nr_pages);
}

/* Last page before @page that is not entirely free, or NONE. */
static u32 prev_used_page(const struct pheap_core *core, u32 page)
{
	const u64 *empty = core->units.empty;
	u32 w;
	u64 used;

	if (!page)
		return NONE;
	w = (page - 1) / 64;
	used = ~empty[w] & mask_below(page - w * 64);
	while (!used) {
		if (!w)
			return NONE;
		used = ~empty[--w];
	}
	return w * 64 + fls64(used) - 1;
}

/* First busy unit from @unit on, or the end of the committed part. */
static u32 next_busy(const struct pheap_core *core, u32 unit)
{
	const u64 *busy = core->units.busy;
	u32 w = unit / 64;
	u64 bits = busy[w] & mask_from(unit % 64);

	while (!bits) {
		if (++w % PAGE_WORDS == 0) {
			u32 page = next_used_page(core, w / PAGE_WORDS);

			if (page == core->nr_pages)
				return nr_units(core);
			w = page * PAGE_WORDS;
		}
		bits = busy[w];
	}
	return w * 64 + __ffs64(bits);
}

/* First free unit from @unit on, or @end; @end is the end of a page. */
static u32 next_free(const struct pheap_core *core, u32 unit, u32 end)
{
	const u64 *busy = core->units.busy;
	u32 w = unit / 64;
	u64 bits = ~busy[w] & mask_from(unit % 64);

	while (!bits) {
		if (++w == end / 64)
			return end;
		bits = ~busy[w];
	}
	return w * 64 + __ffs64(bits);
}

/* The lowest unit from which on everything before @unit is free; @unit if nothing is. */
static u32 run_start(const struct pheap_core *core, u32 unit)
{
	const u64 *busy = core->units.busy;
	u32 w;
	u64 bits;

	if (!unit)
		return 0;
	w = (unit - 1) / 64;
	bits = busy[w] & mask_below(unit - w * 64);
	while (!bits) {
		if (w % PAGE_WORDS == 0) {
			u32 page = prev_used_page(core, w / PAGE_WORDS);

			if (page == NONE)
				return 0;
			w = (page + 1) * PAGE_WORDS;
		}
		bits = busy[--w];
	}
	return w * 64 + fls64(bits);
}

/*
 * The first unit of @page that may start a free run: not one in the middle of a run from an
 * earlier page.
 */
static u32 page_first(const struct pheap_core *core, u32 page)
{
	u32 unit = page << UNITS_SHIFT;

	if (unit && !test_bit64(core->units.busy, unit - 1) && !test_bit64(core->units.busy, unit))
		return next_busy(core, unit);
	return unit;
}

/* Free runs that start in @page have up to @length units. */
static void raise_bounds(struct pheap_core *core, u32 page, u32 length)
{
	struct pheap_units *units = &core->units;

	units->longest[page] = max(units->longest[page], length);
	units->group[page / GROUP_PAGES] = max(units->group[page / GROUP_PAGES], length);
}

static bool page_is_empty(const struct pheap_core *core, u32 page)
{
	const u64 *busy = core->units.busy + page * PAGE_WORDS;
	u64 any = 0;
	u32 i;

	for (i = 0; i < PAGE_WORDS; i++)
		any |= busy[i];
	return !any;
}

/* Where a block aligned to @align units begins in a run that begins at @unit. */
static u32 align_unit(const struct pheap_core *core, u32 unit, u64 align)
{
	u64 base = core->base >> UNIT_SHIFT;

	return (u32)min_t(u64, ALIGN(base + unit, align) - base, NONE);
}

/* A place for a block, and the free run that it is in. */
struct fit {
	u32 at;
	u32 first;
	u32 end;
};

/*
 * The lowest place for @n units in a run that starts in @page; if there is none, a closer bound.
 */
static bool fit_in_page(struct pheap_core *core, u32 page, u32 n, u64 align, struct fit *fit)
{
	u32 page_end = (page + 1) << UNITS_SHIFT;
	u32 unit = page_first(core, page);
	u32 longest = 0;

	while (unit < page_end) {
		fit->first = next_free(core, unit, page_end);
		if (fit->first == page_end)
			break;
		fit->end = next_busy(core, fit->first);
		fit->at = align_unit(core, fit->first, align);
		if (fit->at < fit->end && fit->end - fit->at >= n)
			return true;
		longest = max(longest, fit->end - fit->first);
		unit = fit->end;
	}
	core->units.longest[page] = longest;
	return false;
}

/* The lowest place for @n units. */
static bool find_fit(struct pheap_core *core, u32 n, u64 align, struct fit *fit)
{
	struct pheap_units *units = &core->units;
	u32 group, page, end;

	for (group = 0; group * GROUP_PAGES < core->nr_pages; group++) {
		u32 longest = 0;

		if (units->group[group] < n)
			continue;
		page = group * GROUP_PAGES;
		end = min_t(u32, page + GROUP_PAGES, core->nr_pages);
		for (; page < end; page++) {
			if (units->longest[page] >= n && fit_in_page(core, page, n, align, fit))
				return true;
			longest = max(longest, units->longest[page]);
		}
		units->group[group] = longest;
	}
	return false;
}

/* Units [first, end) were made free in the bitmap: bring the rest up to date. */
static void add_free(struct pheap_core *core, u32 first, u32 end)
{
	struct pheap_units *units = &core->units;
	u32 page = first >> UNITS_SHIFT;
	u32 last = (end - 1) >> UNITS_SHIFT;

	for (; page <= last; page++)
		if (page_is_empty(core, page))
			units->empty[page / 64] |= 1ULL << (page % 64);

	first = run_start(core, first);
	if (end < nr_units(core) && !test_bit64(units->busy, end))
		end = next_busy(core, end);
	raise_bounds(core, first >> UNITS_SHIFT, end - first);
}

/* The unit behind the block that starts at @unit. */
static u32 block_end(const struct pheap_core *core, u32 unit)
{
	const struct pheap_units *units = &core->units;
	u32 w = ++unit / 64, end = nr_units(core) / 64;
	u64 bits;

	if (w == end)
		return unit;
	bits = (units->start[w] | ~units->busy[w]) & mask_from(unit % 64);
	while (!bits) {
		if (++w == end)
			return nr_units(core);
		bits = units->start[w] | ~units->busy[w];
	}
	return w * 64 + __ffs64(bits);
}

static bool is_block(const struct pheap_core *core, u64 offset)
{
	return offset % PHEAP_MIN_ALIGN == 0 && test_bit64(core->units.start, offset >> UNIT_SHIFT);
}

static u32 units_of(u64 bytes)
{
	return bytes ? (u32)((bytes + PHEAP_MIN_ALIGN - 1) >> UNIT_SHIFT) : 1;
}

int pheap_units_alloc(struct pheap_core *core, u64 bytes, u64 align, u64 *addr, u64 *usable)
{
	struct pheap_units *units = &core->units;
	u32 n = units_of(bytes);
	struct fit fit;
	u32 end, page;

	if (!find_fit(core, n, align >> UNIT_SHIFT, &fit))
		return -ENOSPC;

	end = fit.at + n;
	set_range(units->busy, fit.at, end);
	units->start[fit.at / 64] |= 1ULL << (fit.at % 64);
	for (page = fit.at >> UNITS_SHIFT; page <= (end - 1) >> UNITS_SHIFT; page++)
		units->empty[page / 64] &= ~(1ULL << (page % 64));
	/* What is left behind the block may now be a run of another page. */
	if (end < fit.end)
		raise_bounds(core, end >> UNITS_SHIFT, fit.end - end);

	*addr = core->base + ((u64)fit.at << UNIT_SHIFT);
	*usable = (u64)n << UNIT_SHIFT;
	return 0;
}

u64 pheap_units_need(const struct pheap_core *core, u64 bytes, u64 align)
{
	u32 at = align_unit(core, run_start(core, nr_units(core)), align >> UNIT_SHIFT);
	u64 pages = ((u64)at + units_of(bytes) + PAGE_UNITS - 1) >> UNITS_SHIFT;

	if (pages > core->reserved_pages)
		return U64_MAX;
	return max_t(u64, pages, core->nr_pages) << PAGE_SHIFT;
}

int pheap_units_size(const struct pheap_core *core, u64 offset, u64 *usable)
{
	u32 unit = (u32)(offset >> UNIT_SHIFT);

	if (!is_block(core, offset))
		return -EINVAL;
	*usable = (u64)(block_end(core, unit) - unit) << UNIT_SHIFT;
	return 0;
}

int pheap_units_free(struct pheap_core *core, u64 offset, u64 *usable)
{
	u32 unit = (u32)(offset >> UNIT_SHIFT);
	u32 end;

	if (!is_block(core, offset))
		return -EINVAL;
	end = block_end(core, unit);
	core->units.start[unit / 64] &= ~(1ULL << (unit % 64));
	clear_range(core->units.busy, unit, end);
	add_free(core, unit, end);
	*usable = (u64)(end - unit) << UNIT_SHIFT;
	return 0;
}

static size_t longest_bytes(u32 slots)
{
	return (size_t)slots * sizeof(u32);
}

void pheap_units_reset(struct pheap_core *core)
{
	struct pheap_units *units = &core->units;
	u32 page = next_used_page(core, 0);

	while (page < core->nr_pages) {
		memset(units->busy + page * PAGE_WORDS, 0, PAGE_WORDS * sizeof(u64));
		memset(units->start + page * PAGE_WORDS, 0, PAGE_WORDS * sizeof(u64));
		page = next_used_page(core, page + 1);
	}
	set_range(units->empty, 0, core->nr_pages);
	/* One free run, which starts in the first page. */
	memset(units->longest, 0, longest_bytes(core->nr_pages));
	memset(units->group, 0, sizeof(units->group));
	raise_bounds(core, 0, nr_units(core));
}

static size_t bits_bytes(u32 slots)
{
	return (size_t)slots * 2 * PAGE_WORDS * sizeof(u64);
}

int pheap_units_prepare(struct pheap_core *core, struct pheap_core_grow *grow)
{
	if (grow->nr_pages <= core->units.slots)
		return 0;
	grow->slots = max_t(u32, roundup_pow_of_two(grow->nr_pages), MIN_SLOTS);
	grow->bits = pheap_meta_alloc(core, bits_bytes(grow->slots));
	grow->longest = pheap_meta_alloc(core, longest_bytes(grow->slots));
	return grow->bits && grow->longest ? 0 : -ENOMEM;
}

void pheap_units_commit(struct pheap_core *core, struct pheap_core_grow *grow)
{
	struct pheap_units *units = &core->units;
	u32 old = nr_units(core);

	if (grow->slots) {
		u64 *bits = units->busy;
		u64 *start = grow->bits + (size_t)grow->slots * PAGE_WORDS;

		if (units->slots) {
			memcpy(grow->bits, units->busy, bits_bytes(core->nr_pages) / 2);
			memcpy(start, units->start, bits_bytes(core->nr_pages) / 2);
			memcpy(grow->longest, units->longest, longest_bytes(core->nr_pages));
		}
		units->busy = grow->bits;
		units->start = start;
		grow->bits = bits;
		swap(units->longest, grow->longest);
		swap(units->slots, grow->slots);
	}
	core->nr_pages = grow->nr_pages;
	add_free(core, old, nr_units(core));
}

void pheap_units_finish(struct pheap_core *core, struct pheap_core_grow *grow)
{
	if (grow->bits)
		pheap_meta_free(core, grow->bits, bits_bytes(grow->slots));
	if (grow->longest)
		pheap_meta_free(core, grow->longest, longest_bytes(grow->slots));
}

void pheap_units_destroy(struct pheap_core *core)
{
	struct pheap_units *units = &core->units;

	if (!units->slots)
		return;
	pheap_meta_free(core, units->busy, bits_bytes(units->slots));
	pheap_meta_free(core, units->longest, longest_bytes(units->slots));
}

/*
 * The bitmaps alone: starts on busy units, one behind each free run, sums that agree with the
 * figures.
 */
static bool bitmaps_are_valid(const struct pheap_core *core)
{
	const struct pheap_units *units = &core->units;
	u64 nr_blocks = 0, nr_busy = 0;
	bool was_free = true;
	u32 unit;

	for (unit = 0; unit < nr_units(core); unit++) {
		bool busy = test_bit64(units->busy, unit);
		bool start = test_bit64(units->start, unit);

		if (start && !busy)
			return false;
		if (busy && was_free && !start)
			return false;
		nr_busy += busy;
		nr_blocks += start;
		was_free = !busy;
	}
	for (; unit < units->slots << UNITS_SHIFT; unit++)
		if (test_bit64(units->busy, unit) || test_bit64(units->start, unit))
			return false;
	return nr_busy << UNIT_SHIFT == core->allocated_bytes &&
	       nr_blocks == core->nr_allocs - core->nr_frees;
}

/*
 * No free run that starts in @page is longer than the bounds. Each is followed with single steps.
 */
static bool bounds_are_valid(const struct pheap_core *core, u32 page)
{
	const struct pheap_units *units = &core->units;
	u32 unit = page << UNITS_SHIFT, page_end = (page + 1) << UNITS_SHIFT;
	u32 first;

	if (units->longest[page] > units->group[page / GROUP_PAGES])
		return false;
	if (unit && !test_bit64(units->busy, unit - 1))
		while (unit < page_end && !test_bit64(units->busy, unit))
			unit++;
	while (unit < page_end) {
		for (first = unit; unit < nr_units(core); unit++)
			if (test_bit64(units->busy, unit))
				break;
		if (unit - first > units->longest[page])
			return false;
		unit++;
	}
	return true;
}

bool pheap_units_is_valid(const struct pheap_core *core)
{
	const struct pheap_units *units = &core->units;
	u32 page;

	if (core->nr_pages > units->slots || !bitmaps_are_valid(core))
		return false;
	for (page = 0; page < PHEAP_UNITS_MAX_PAGES; page++) {
		bool empty = page < core->nr_pages && page_is_empty(core, page);

		if (test_bit64(units->empty, page) != empty)
			return false;
	}
	for (page = 0; page < core->nr_pages; page++)
		if (!bounds_are_valid(core, page))
			return false;
	for (; page < units->slots; page++)
		if (units->longest[page])
			return false;
	return true;
}
