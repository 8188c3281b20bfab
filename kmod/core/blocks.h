/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Blocks and runs handed out to callers, in heaps of pages: what core.c calls of blocks.c. All
 * functions are called under the lock unless told otherwise.
 */
#ifndef _PHEAP_BLOCKS_H
#define _PHEAP_BLOCKS_H

#include "pages.h"

/**
 * pheap_blocks_alloc() - allocate a block of a class, or a run of pages
 * @core: a pages heap with something committed
 * @bytes: size, not above the reservation
 * @align: power of two, at least 16
 * @effort: see enum pheap_core_effort
 * @addr: where to put the address
 * @usable: where to put the size
 *
 * Context: Locked.
 * Return: 0, -EAGAIN or -ENOSPC.
 */
int pheap_blocks_alloc(struct pheap_core *core, u64 bytes, u64 align, enum pheap_core_effort effort,
		       u64 *addr, u64 *usable);

/**
 * pheap_blocks_alloc_batch() - allocate blocks of a class, as far as that is easy
 * @core: a pages heap with something committed
 * @bytes: size, at most PHEAP_MAX_BLOCK
 * @nr_blocks: blocks wanted
 * @nr_groups: groups there is room for
 * @batch: an empty batch
 *
 * Context: Locked.
 */
void pheap_blocks_alloc_batch(struct pheap_core *core, u64 bytes, u32 nr_blocks, u32 nr_groups,
			      struct pheap_core_batch *batch);

/**
 * pheap_blocks_need() - see pheap_core_need()
 * @core: a pages heap
 * @bytes: size, not above the reservation
 * @align: power of two, at least 16
 *
 * Context: Locked.
 * Return: Committed bytes needed, or U64_MAX.
 */
u64 pheap_blocks_need(const struct pheap_core *core, u64 bytes, u64 align);

/**
 * pheap_blocks_free() - free a block or run
 * @core: a pages heap
 * @offset: distance from the base, less than the committed size
 * @usable: where to put the size it had
 *
 * Context: Locked.
 * Return: 0 or -EINVAL.
 */
int pheap_blocks_free(struct pheap_core *core, u64 offset, u64 *usable);

/**
 * pheap_blocks_free_batch() - free blocks and runs, fast if successive ones are of one span
 * @core: a pages heap
 * @addrs: any numbers; 0 is skipped
 * @nr: how many, at most 64
 * @nr_freed: where to put how many were freed
 * @freed_bytes: where to put the sum of their sizes
 *
 * Context: Locked.
 * Return: One bit for each of @addrs that was refused.
 */
u64 pheap_blocks_free_batch(struct pheap_core *core, const u64 *addrs, u32 nr, u32 *nr_freed,
			    u64 *freed_bytes);

/**
 * pheap_blocks_reset() - forget all blocks and free runs
 * @core: a pages heap with no page that counts as committed; its lists are those of before
 *
 * Context: Locked. To be followed by pheap_blocks_reset_step().
 */
void pheap_blocks_reset(struct pheap_core *core);

/**
 * pheap_blocks_reset_step() - make some pages free memory, whatever they were
 * @core: a pages heap in which the pages from nr_pages on are in no list
 * @end: pages there are
 *
 * Context: Locked. Looks at a bounded number of descriptors.
 * Return: true if not all pages are free memory yet.
 */
bool pheap_blocks_reset_step(struct pheap_core *core, u32 end);

/**
 * pheap_blocks_size() - usable size of a block or run
 * @core: a pages heap
 * @offset: distance from the base, less than the committed size
 * @usable: where to put the size
 *
 * Context: Locked.
 * Return: 0 or -EINVAL.
 */
int pheap_blocks_size(const struct pheap_core *core, u64 offset, u64 *usable);

/**
 * pheap_blocks_spare_bytes() - see pheap_core_spare_bytes()
 * @core: a pages heap
 * @bytes: size that will be asked for
 *
 * Context: Not locked.
 * Return: Bytes to provide, or 0.
 */
size_t pheap_blocks_spare_bytes(const struct pheap_core *core, u64 bytes);

/**
 * pheap_blocks_spare_give() - see pheap_core_spare_give()
 * @core: a pages heap
 * @spare: the memory
 *
 * Context: Locked.
 * Return: NULL or @spare.
 */
void *pheap_blocks_spare_give(struct pheap_core *core, void *spare);

/**
 * pheap_blocks_destroy() - free the bitmaps of all spans, and the spares
 * @core: a pages heap
 *
 * Context: May sleep.
 */
void pheap_blocks_destroy(struct pheap_core *core);

/**
 * pheap_blocks_are_valid() - check every descriptor, bitmap and list
 * @core: a pages heap
 *
 * Context: Locked.
 * Return: false if one is broken.
 */
bool pheap_blocks_are_valid(const struct pheap_core *core);

#endif /* _PHEAP_BLOCKS_H */
