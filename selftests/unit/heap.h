/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A heap for tests: the core, the memory for its metadata, and a shadow of what must be in it.
 *
 * The shadow is a bit per 16 bytes that are allocated, and the number of the block that starts
 * there. Every operation is checked against it: alignment, size, no overlap, inside the committed
 * part, refused frees, figures.
 */
#ifndef _HEAP_H
#define _HEAP_H

#include "core.h"
#include "unit.h"

#include <asm/page.h>

struct block {
	u64 addr;
	u64 bytes;
	u64 usable;
};

/**
 * struct heap - a core under test
 * @core: the core; first, so that the metadata functions find the heap
 * @base: address of the reservation
 * @reserved: size of the reservation
 * @limit: size that the committed part may reach, the size of the shadow
 * @spares: give the core the memory for bitmaps that it asks for
 * @extra: commit up to so many pages more than needed when growing
 * @random: for @extra
 * @busy: shadow: one bit per 16 bytes
 * @start: shadow: per 16 bytes, number of the block that starts there plus one
 * @blocks: live blocks in no order
 * @nr_blocks: live blocks
 * @room: size of @blocks
 * @requested: sum of the sizes that were asked for
 * @usable: sum of the usable sizes
 * @nr_allocs: successful allocations
 * @nr_failures: allocations that failed to the last
 * @meta_bytes: metadata now
 * @nr_meta: pieces of metadata now
 * @fail_in: the allocation of metadata that fails, counted down; 0: none
 */
struct heap {
	struct pheap_core core;
	u64 base;
	u64 reserved;
	u64 limit;
	bool spares;
	u32 extra;
	struct unit_random random;
	u64 *busy;
	u32 *start;
	struct block *blocks;
	u32 nr_blocks;
	u32 room;
	u64 requested;
	u64 usable;
	u64 nr_allocs;
	u64 nr_failures;
	size_t meta_bytes;
	size_t nr_meta;
	u32 fail_in;
};

/* Addresses as the module would choose them: page aligned and no more, and 2 MiB aligned. */
#define HEAP_BASE_ODD	0x7f1234567000ULL
#define HEAP_BASE_EVEN	0x7f1234600000ULL

static inline u64 heap_committed(const struct heap *heap)
{
	return (u64)heap->core.nr_pages << PAGE_SHIFT;
}

/* Base by the rule of the module; the limit is the reservation. */
void heap_create(struct heap *heap, u64 reserved, u64 committed);
/* With a base and a limit of their own. */
void heap_create_at(struct heap *heap, u64 base, u64 reserved, u64 limit, u64 committed);
/* Checks that all metadata is given back. Live blocks are allowed. */
void heap_destroy(struct heap *heap);

/* All three steps. 0 or -ENOMEM, then nothing changed. */
int heap_grow(struct heap *heap, u64 committed);

/* One attempt in the committed part. Number of the block, or -errno. */
int heap_try(struct heap *heap, u64 bytes, u64 align, enum pheap_core_effort effort);
/* As the module does it: easy, need, grow, easy, last. Number of the block, or -ENOSPC. */
int heap_alloc(struct heap *heap, u64 bytes, u64 align);
/* The same for a batch. Blocks allocated, or -errno. */
int heap_try_batch(struct heap *heap, u64 bytes, enum pheap_core_effort effort, u32 nr_blocks,
		   u32 nr_groups);
int heap_alloc_batch(struct heap *heap, u64 bytes, u32 nr_blocks, u32 nr_groups);
/* Free up to 64 numbers by one call: the core must do what the shadow says. */
void heap_free_batch(struct heap *heap, const u64 *addrs, u32 nr);
/* Free block number @nr; the last block takes its number. */
void heap_free(struct heap *heap, u32 nr);
void heap_free_all(struct heap *heap);
/* All three figures of what lives become 0 with the first step; allocates between the steps. */
void heap_reset(struct heap *heap);
/* Free in an order without pattern. */
void heap_free_some(struct heap *heap, struct unit_random *random, u32 percent);
/* Number of the live block at @addr, or -1. */
int heap_find(const struct heap *heap, u64 addr);
/* Free any number: the core must do what the shadow says. */
void heap_free_addr(struct heap *heap, u64 addr);
/* Free and size of an address that is not a block: refused, figures unchanged. */
void heap_refuse(struct heap *heap, u64 addr);
/* The shadow has room for the request in one piece. */
bool heap_has_room(const struct heap *heap, u64 bytes, u64 align);
/* Figures and structure. */
void heap_check(const struct heap *heap);

/* Hundredths of a percent as the percentage to print. */
static inline double heap_percent(u32 hundredths)
{
	return hundredths / 100.0;
}

/*
 * Fill with random sizes until the first failure. Requested bytes in hundredths of a percent of the
 * reservation.
 */
u32 heap_fill(struct heap *heap, struct unit_random *random, u64 most);

/* How full the heap was at its failures in a churn. */
struct churn {
	u64 nr_failures;
	u32 mean;
	u32 worst;
};

/* Allocate and free at random for @nr operations, staying full. In hundredths of a percent. */
struct churn heap_churn(struct heap *heap, struct unit_random *random, u64 most, u32 nr);

#endif /* _HEAP_H */
