/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Runs of pages: what core.c and blocks.c call of runs.c. All functions are called under the lock.
 */
#ifndef _PHEAP_RUNS_H
#define _PHEAP_RUNS_H

#include "pages.h"

/*
 * How many free runs that may be too short, or out of line, are looked at before taking one that
 * surely fits.
 */
#define PHEAP_RUN_TRIES_EASY	32U
#define PHEAP_RUN_TRIES_LAST	4096U

/**
 * pheap_run_take() - take pages from the free runs
 * @core: a pages heap
 * @nr: pages wanted
 * @align: alignment in pages, a power of two
 * @tries: how many runs of the lists that may hold too short ones are looked at
 *
 * The caller says what the pages are: their descriptors are all NONE.
 *
 * Context: Locked.
 * Return: First page, or PHEAP_NONE.
 */
u32 pheap_run_take(struct pheap_core *core, u32 nr, u32 align, u32 tries);

/**
 * pheap_run_take_some() - take a free run of a few pages, the longer the better
 * @core: a pages heap
 * @most: pages wanted at most, below 16
 * @least: pages wanted at least
 * @nr: where to put how many it became
 *
 * Context: Locked.
 * Return: First page, or PHEAP_NONE.
 */
u32 pheap_run_take_some(struct pheap_core *core, u32 most, u32 least, u32 *nr);

/**
 * pheap_run_give() - make pages a free run, joined with free neighbours
 * @core: a pages heap
 * @page: first page
 * @nr: pages; their descriptors are all NONE
 *
 * Context: Locked.
 */
void pheap_run_give(struct pheap_core *core, u32 page, u32 nr);

/**
 * pheap_run_last() - length of the free run at the end of the committed part
 * @core: a pages heap
 *
 * Context: Locked.
 * Return: Pages, 0 if the last page is not free.
 */
u32 pheap_run_last(const struct pheap_core *core);

/**
 * pheap_run_aligned() - first page at or behind another that has an alignment
 * @core: a pages heap
 * @page: first page that comes into question
 * @align: alignment in pages, a power of two; the address counts, not the place in the heap
 *
 * Return: Page number, perhaps not of the heap any more.
 */
u64 pheap_run_aligned(const struct pheap_core *core, u32 page, u32 align);

/**
 * pheap_runs_are_valid() - check the lists of free runs
 * @core: a pages heap
 * @nr_free: number of free runs, as counted by the caller
 *
 * Context: Locked.
 * Return: false if the lists are not what the descriptors say.
 */
bool pheap_runs_are_valid(const struct pheap_core *core, u32 nr_free);

#endif /* _PHEAP_RUNS_H */
