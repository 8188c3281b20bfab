// SPDX-License-Identifier: GPL-2.0
/*
 * The allocator core's front: decides by the reservation which of the two allocators a heap has,
 * keeps the figures that both have, and checks what needs no knowledge of either.
 *
 * Invariant: allocated_bytes, nr_allocs and nr_frees change together, after a call of the allocator
 * below succeeded.
 */
#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/page.h>

#include "blocks.h"
#include "core.h"
#include "pages.h"
#include "runs.h"
#include "units.h"

static u64 reserved_bytes(const struct pheap_core *core)
{
	return (u64)core->reserved_pages << PAGE_SHIFT;
}

static bool is_units(const struct pheap_core *core)
{
	return core->reserved_pages <= PHEAP_SMALL_HEAP_BYTES >> PAGE_SHIFT;
}

/* Not an address of the committed part, where the allocators below may look it up? */
static bool is_outside(const struct pheap_core *core, u64 addr)
{
	return addr - core->base >= (u64)core->nr_pages << PAGE_SHIFT;
}

void pheap_core_init(struct pheap_core *core, u64 base, u64 reserved_bytes)
{
	static_assert(PHEAP_SMALL_HEAP_BYTES >> PAGE_SHIFT <= PHEAP_UNITS_MAX_PAGES);

	core->base = base;
	core->reserved_pages = (u32)(reserved_bytes >> PAGE_SHIFT);
}

void pheap_core_destroy(struct pheap_core *core)
{
	if (is_units(core)) {
		pheap_units_destroy(core);
	} else {
		pheap_blocks_destroy(core);
		pheap_pages_destroy(core);
	}
}

int pheap_core_grow_prepare(struct pheap_core *core, struct pheap_core_grow *grow,
			    u64 committed_bytes)
{
	u32 nr_pages = (u32)(committed_bytes >> PAGE_SHIFT);
	int ret;

	memset(grow, 0, sizeof(*grow));
	if (nr_pages <= core->nr_pages)
		return 0;
	grow->nr_pages = nr_pages;
	ret = is_units(core) ? pheap_units_prepare(core, grow) : pheap_pages_prepare(core, grow);
	if (ret) {
		pheap_core_grow_finish(core, grow);
		memset(grow, 0, sizeof(*grow));
	}
	return ret;
}

void pheap_core_grow_commit(struct pheap_core *core, struct pheap_core_grow *grow)
{
	u32 old = core->nr_pages;

	if (!grow->nr_pages)
		return;
	grow->committed = true;
	if (is_units(core)) {
		pheap_units_commit(core, grow);
	} else {
		pheap_pages_commit(core, grow);
		pheap_run_give(core, old, core->nr_pages - old);
	}
}

void pheap_core_grow_finish(struct pheap_core *core, struct pheap_core_grow *grow)
{
	if (!grow->nr_pages)
		return;
	if (is_units(core))
		pheap_units_finish(core, grow);
	else
		pheap_pages_finish(core, grow);
}

int pheap_core_alloc(struct pheap_core *core, u64 bytes, u64 align, enum pheap_core_effort effort,
		     u64 *addr, u64 *usable)
{
	int ret = -ENOSPC;

	if (bytes <= reserved_bytes(core) && core->nr_pages) {
		if (is_units(core))
			ret = pheap_units_alloc(core, bytes, align, addr, usable);
		else
			ret = pheap_blocks_alloc(core, bytes, align, effort, addr, usable);
	}
	if (ret)
		return effort == PHEAP_CORE_EASY ? -EAGAIN : -ENOSPC;
	core->allocated_bytes += *usable;
	core->nr_allocs++;
	return 0;
}

/* Add a block: to the last group if it lies right behind that, else as a new one. */
static void batch_add(struct pheap_core_batch *batch, u64 addr)
{
	struct pheap_core_group *group = &batch->groups[batch->nr_groups];

	batch->nr_blocks++;
	if (batch->nr_groups) {
		u32 next = fls64(group[-1].mask);

		if (next < 64 && addr == group[-1].addr + next * batch->usable) {
			group[-1].mask |= 1ULL << next;
			return;
		}
	}
	group->addr = addr;
	group->mask = 1;
	batch->nr_groups++;
}

/* Blocks one by one, until a group more would be needed than there is room for. */
static int alloc_each(struct pheap_core *core, u64 bytes, enum pheap_core_effort effort,
		      u32 nr_blocks, u32 nr_groups, struct pheap_core_batch *batch)
{
	do {
		u64 addr, usable;
		int ret = pheap_core_alloc(core, bytes, PHEAP_MIN_ALIGN, effort, &addr, &usable);

		if (ret)
			return batch->nr_blocks ? 0 : ret;
		/* Of a run, or in units: all of one size. */
		batch->usable = usable;
		batch_add(batch, addr);
	} while (effort == PHEAP_CORE_EASY && batch->nr_blocks < nr_blocks &&
		 batch->nr_groups < nr_groups);
	return 0;
}

int pheap_core_alloc_batch(struct pheap_core *core, u64 bytes, enum pheap_core_effort effort,
			   u32 nr_blocks, u32 nr_groups, struct pheap_core_batch *batch)
{
	batch->nr_blocks = 0;
	batch->nr_groups = 0;
	/* What is not easy is done for one block only: the others would take long. */
	if (effort != PHEAP_CORE_EASY || is_units(core) || bytes > PHEAP_MAX_BLOCK)
		return alloc_each(core, bytes, effort, nr_blocks, nr_groups, batch);
	if (!core->nr_pages)
		return -EAGAIN;
	pheap_blocks_alloc_batch(core, bytes, nr_blocks, nr_groups, batch);
	core->allocated_bytes += batch->nr_blocks * batch->usable;
	core->nr_allocs += batch->nr_blocks;
	return batch->nr_blocks ? 0 : -EAGAIN;
}

u64 pheap_core_need(const struct pheap_core *core, u64 bytes, u64 align)
{
	if (bytes > reserved_bytes(core))
		return U64_MAX;
	if (is_units(core))
		return pheap_units_need(core, bytes, align);
	return pheap_blocks_need(core, bytes, align);
}

int pheap_core_free(struct pheap_core *core, u64 addr)
{
	u64 usable;
	int ret;

	if (is_outside(core, addr))
		return -EINVAL;
	if (is_units(core))
		ret = pheap_units_free(core, addr - core->base, &usable);
	else
		ret = pheap_blocks_free(core, addr - core->base, &usable);
	if (ret)
		return ret;
	core->allocated_bytes -= usable;
	core->nr_frees++;
	return 0;
}

u64 pheap_core_free_batch(struct pheap_core *core, const u64 *addrs, u32 nr)
{
	u64 refused = 0, bytes;
	u32 i;

	if (!is_units(core)) {
		refused = pheap_blocks_free_batch(core, addrs, nr, &i, &bytes);
		core->allocated_bytes -= bytes;
		core->nr_frees += i;
		return refused;
	}
	for (i = 0; i < nr; i++)
		if (addrs[i] && unlikely(pheap_core_free(core, addrs[i])))
			refused |= 1ULL << i;
	return refused;
}

void pheap_core_free_groups(struct pheap_core *core, const struct pheap_core_batch *batch)
{
	u32 i;

	for (i = 0; i < batch->nr_groups; i++) {
		u64 mask = batch->groups[i].mask;

		for (; mask; mask &= mask - 1)
			pheap_core_free(core,
					batch->groups[i].addr + __ffs64(mask) * batch->usable);
	}
}

bool pheap_core_reset(struct pheap_core *core, u32 *end)
{
	if (!*end) {
		*end = core->nr_pages;
		core->nr_frees = core->nr_allocs;
		core->allocated_bytes = 0;
		if (!*end)
			return false;
		if (is_units(core)) {
			pheap_units_reset(core);
			return false;
		}
		core->nr_pages = 0;
		pheap_blocks_reset(core);
	}
	return pheap_blocks_reset_step(core, *end);
}

int pheap_core_size(const struct pheap_core *core, u64 addr, u64 *usable)
{
	if (is_outside(core, addr))
		return -EINVAL;
	if (is_units(core))
		return pheap_units_size(core, addr - core->base, usable);
	return pheap_blocks_size(core, addr - core->base, usable);
}

void pheap_core_stats(const struct pheap_core *core, struct pheap_core_stats *st)
{
	st->allocated_bytes = core->allocated_bytes;
	st->nr_blocks = core->nr_allocs - core->nr_frees;
	st->nr_allocs = core->nr_allocs;
	st->nr_frees = core->nr_frees;
}

size_t pheap_core_spare_bytes(const struct pheap_core *core, u64 bytes)
{
	return is_units(core) ? 0 : pheap_blocks_spare_bytes(core, bytes);
}

void *pheap_core_spare_give(struct pheap_core *core, void *spare)
{
	return is_units(core) ? spare : pheap_blocks_spare_give(core, spare);
}

bool pheap_core_is_valid(const struct pheap_core *core)
{
	if (core->nr_pages > core->reserved_pages)
		return false;
	return is_units(core) ? pheap_units_is_valid(core) : pheap_blocks_are_valid(core);
}
