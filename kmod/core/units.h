/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Heaps of 16-byte units: what core.c calls of units.c. Locks as for the function of core.h that
 * leads here.
 */
#ifndef _PHEAP_UNITS_H
#define _PHEAP_UNITS_H

#include "core.h"

/**
 * pheap_units_destroy() - free all metadata
 * @core: a units heap
 *
 * Context: May sleep.
 */
void pheap_units_destroy(struct pheap_core *core);

/**
 * pheap_units_prepare() - allocate larger arrays for @grow->nr_pages
 * @core: a units heap
 * @grow: zeroed but for nr_pages
 *
 * Context: Not locked, may sleep.
 * Return: 0 or -ENOMEM; what was allocated is left to pheap_units_finish() in both cases.
 */
int pheap_units_prepare(struct pheap_core *core, struct pheap_core_grow *grow);

/**
 * pheap_units_commit() - switch to the larger arrays and free the new units
 * @core: a units heap
 * @grow: as prepared
 *
 * Context: Locked.
 */
void pheap_units_commit(struct pheap_core *core, struct pheap_core_grow *grow);

/**
 * pheap_units_finish() - free the arrays that @grow still holds
 * @core: a units heap
 * @grow: as prepared
 *
 * Context: Not locked, may sleep.
 */
void pheap_units_finish(struct pheap_core *core, struct pheap_core_grow *grow);

/**
 * pheap_units_alloc() - allocate by address-ordered first fit
 * @core: a units heap
 * @bytes: size, not above the reservation
 * @align: power of two, at least 16
 * @addr: where to put the address
 * @usable: where to put the size
 *
 * Context: Locked.
 * Return: 0, or -ENOSPC if no free run fits: the search is exact.
 */
int pheap_units_alloc(struct pheap_core *core, u64 bytes, u64 align, u64 *addr, u64 *usable);

/**
 * pheap_units_need() - see pheap_core_need()
 * @core: a units heap
 * @bytes: size, not above the reservation
 * @align: power of two, at least 16
 *
 * Context: Locked.
 * Return: Committed bytes needed, or U64_MAX.
 */
u64 pheap_units_need(const struct pheap_core *core, u64 bytes, u64 align);

/**
 * pheap_units_free() - free a block
 * @core: a units heap
 * @offset: distance from the base, less than the committed size
 * @usable: where to put the size it had
 *
 * Context: Locked.
 * Return: 0 or -EINVAL.
 */
int pheap_units_free(struct pheap_core *core, u64 offset, u64 *usable);

/**
 * pheap_units_reset() - free all blocks
 * @core: a units heap with something committed
 *
 * Context: Locked. Clears at most 17 KiB.
 */
void pheap_units_reset(struct pheap_core *core);

/**
 * pheap_units_size() - usable size of a block
 * @core: a units heap
 * @offset: distance from the base, less than the committed size
 * @usable: where to put the size
 *
 * Context: Locked.
 * Return: 0 or -EINVAL.
 */
int pheap_units_size(const struct pheap_core *core, u64 offset, u64 *usable);

/**
 * pheap_units_is_valid() - check every invariant
 * @core: a units heap
 *
 * Context: Locked.
 * Return: false if one is broken.
 */
bool pheap_units_is_valid(const struct pheap_core *core);

#endif /* _PHEAP_UNITS_H */
