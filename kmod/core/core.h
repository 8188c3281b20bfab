/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The allocator core: which bytes of the committed part of a heap are live blocks.
 *
 * Pure C: it knows addresses as numbers, never touches the memory it manages, takes no lock, never
 * sleeps except where a function says so, and includes nothing beyond types, bit operations and
 * strings. The same files are compiled into the module and into user space tests (selftests/unit).
 *
 * Two kinds of heap behind one interface:
 *
 *   units   reservations up to PHEAP_SMALL_HEAP_BYTES: one allocator of 16-byte units (units.c)
 *   pages   larger ones: runs of pages (runs.c), and spans of blocks of one size class above them
 *           (blocks.c); pages.c keeps the array of page descriptors that both use
 *
 * Rules for every caller:
 *
 * - Functions marked "Locked" are called under one lock that serialises them for this core.
 * - pheap_core_grow_prepare(), pheap_core_grow_finish() and pheap_core_destroy() allocate or free
 *   memory and may sleep; one prepare, commit, finish sequence, or one reset with all its steps, is
 *   serialised by the caller against the next (in the module: the heap's grow mutex), and prepare
 *   and finish run without the lock.
 * - All errors are negative errno values. After an error the core is what it was.
 * - A core is not moved in memory once it is set up.
 *
 * All structures are private to the core; they are here only so that a heap can embed them.
 */
#ifndef _PHEAP_CORE_H
#define _PHEAP_CORE_H

#include <linux/types.h>

/* Heaps with a reservation up to this are managed in 16-byte units. */
#define PHEAP_SMALL_HEAP_BYTES	(1024UL * 1024)
/* Smallest alignment of a block, and the size of a unit. */
#define PHEAP_MIN_ALIGN		16UL
/* Largest alignment of a block. */
#define PHEAP_MAX_ALIGN		(2048UL * 1024)
/* Largest reservation: page numbers are 32 bits wide. */
#define PHEAP_MAX_RESERVE	(8ULL << 40)

/* A units heap has at most this many pages, looked at in groups of so many. */
#define PHEAP_UNITS_MAX_PAGES	256
#define PHEAP_UNITS_GROUP_PAGES	16

struct pheap_page;
struct pheap_lists;

/**
 * struct pheap_units - state of a heap of units
 * @busy: one bit per unit of the committed part: it belongs to a live block
 * @start: one bit per unit: it is the first of a live block; lies behind @busy in the same memory
 * @longest: per page, a bound for the length in units of the free runs that start in it (and may
 *	end in a later one)
 * @slots: pages that the arrays have room for; a power of two, or 0
 * @group: per PHEAP_UNITS_GROUP_PAGES pages, a bound for theirs
 * @empty: one bit per page: no unit of it is busy; 0 for pages that are not committed
 */
struct pheap_units {
	u64 *busy;
	u64 *start;
	u32 *longest;
	u32 slots;
	u32 group[PHEAP_UNITS_MAX_PAGES / PHEAP_UNITS_GROUP_PAGES];
	u64 empty[PHEAP_UNITS_MAX_PAGES / 64];
};

/**
 * struct pheap_chunk - metadata of 256 successive pages (the last chunk may have room for fewer)
 * @pages: one descriptor per page
 * @masks: one word per page, used by the span that the page belongs to
 */
struct pheap_chunk {
	struct pheap_page *pages;
	u64 *masks;
};

/**
 * struct pheap_pages - state of a heap of pages
 * @table: the chunks; points to @first as long as one is enough
 * @first: embedded table of one chunk
 * @table_slots: chunks that @table has room for; entries from @nr_chunks on are zero
 * @nr_chunks: chunks in use
 * @last_slots: pages that the last chunk has room for; a power of two; all others have 256
 * @lists: heads of all lists; NULL before the first commit
 */
struct pheap_pages {
	struct pheap_chunk *table;
	struct pheap_chunk first;
	u32 table_slots;
	u32 nr_chunks;
	u32 last_slots;
	struct pheap_lists *lists;
};

/**
 * struct pheap_core - the allocator of one heap
 * @base: address of the reservation, page aligned
 * @reserved_pages: size of the reservation
 * @nr_pages: size of the committed part; less during pheap_core_reset()
 * @allocated_bytes: sum of the usable sizes of all live blocks
 * @nr_allocs: blocks allocated since init
 * @nr_frees: blocks freed since init
 * @units: for reservations up to PHEAP_SMALL_HEAP_BYTES
 * @pages: for larger ones
 *
 * Everything is changed under the lock only, except @base and @reserved_pages, which never change,
 * and what pheap_core_grow_prepare() writes into parts of the tables that nobody else looks at
 * yet.
 */
struct pheap_core {
	u64 base;
	u32 reserved_pages;
	u32 nr_pages;
	u64 allocated_bytes;
	u64 nr_allocs;
	u64 nr_frees;
	union {
		struct pheap_units units;
		struct pheap_pages pages;
	};
};

/**
 * struct pheap_core_grow - one growth on its way
 * @nr_pages: size of the committed part when it is done; 0 if there is nothing to do
 * @committed: pheap_core_grow_commit() was called
 * @slots: room of @bits and @longest (units), or of @last (pages)
 * @bits: units: larger bitmaps; after commit the ones they replaced
 * @longest: units: the same for the array of that name
 * @lists: pages: list heads, for the first growth
 * @table: pages: larger table of chunks; after commit the one it replaced
 * @table_slots: room of @table
 * @last: pages: larger replacement of the last chunk; after commit the chunk that it replaced
 * @nr_chunks: pages: chunks when it is done
 * @last_slots: pages: room of the then last chunk
 */
struct pheap_core_grow {
	u32 nr_pages;
	bool committed;
	u32 slots;
	union {
		struct {
			u64 *bits;
			u32 *longest;
		};
		struct {
			struct pheap_lists *lists;
			struct pheap_chunk *table;
			u32 table_slots;
			struct pheap_chunk last;
			u32 nr_chunks;
			u32 last_slots;
		};
	};
};

/**
 * pheap_meta_alloc() - zeroed memory for metadata
 * @core: the core that wants it
 * @bytes: size
 *
 * Supplied by whoever embeds the core. Nearly all requests are powers of two up to 4096; only the
 * table of chunks of a heap with more than 256 MiB committed and the bitmaps of a units heap with
 * more than 256 KiB are larger.
 *
 * Context: May sleep.
 * Return: The memory, or NULL.
 */
void *pheap_meta_alloc(struct pheap_core *core, size_t bytes);

/**
 * pheap_meta_free() - give back what pheap_meta_alloc() returned
 * @core: the core that had it
 * @mem: the memory; not NULL
 * @bytes: the size it was asked with, so that the owner can account without asking the allocator
 *
 * Context: May sleep.
 */
void pheap_meta_free(struct pheap_core *core, void *mem, size_t bytes);

/**
 * struct pheap_core_stats - figures of a core
 * @allocated_bytes: sum of the usable sizes of all live blocks
 * @nr_blocks: live blocks
 * @nr_allocs: blocks allocated since init
 * @nr_frees: blocks freed since init
 */
struct pheap_core_stats {
	u64 allocated_bytes;
	u64 nr_blocks;
	u64 nr_allocs;
	u64 nr_frees;
};

/* Blocks and groups that one batch has at most. */
#define PHEAP_CORE_MAX_BLOCKS	512U
#define PHEAP_CORE_MAX_GROUPS	64U

/**
 * struct pheap_core_group - up to 64 blocks of a batch
 * @addr: address that the block of bit 0 has or would have; block i is i usable sizes behind it
 * @mask: the blocks that belong to the batch; not 0
 */
struct pheap_core_group {
	u64 addr;
	u64 mask;
};

/**
 * struct pheap_core_batch - blocks of one size
 * @usable: usable size of each
 * @nr_blocks: blocks in the groups
 * @nr_groups: entries of @groups that are used
 * @groups: the blocks
 */
struct pheap_core_batch {
	u64 usable;
	u32 nr_blocks;
	u32 nr_groups;
	struct pheap_core_group groups[PHEAP_CORE_MAX_GROUPS];
};

/**
 * enum pheap_core_effort - how hard pheap_core_alloc() shall try inside the committed part
 * @PHEAP_CORE_EASY: what keeps the heap tidy; -EAGAIN means that growing is better than the
 *	alternatives left
 * @PHEAP_CORE_LAST: everything: shorter spans, blocks borrowed from larger classes, a long search
 *	of the runs; -ENOSPC means that the committed part cannot serve the request
 */
enum pheap_core_effort {
	PHEAP_CORE_EASY,
	PHEAP_CORE_LAST,
};

/**
 * pheap_core_init() - set up a core with nothing committed
 * @core: memory that the caller zeroed
 * @base: address of the reservation, page aligned
 * @reserved_bytes: its size, a multiple of the page size up to PHEAP_MAX_RESERVE
 *
 * Allocates nothing.
 *
 * Context: Nobody else uses @core yet.
 */
void pheap_core_init(struct pheap_core *core, u64 base, u64 reserved_bytes);

/**
 * pheap_core_destroy() - free all metadata
 * @core: the core; no growth is on its way
 *
 * Context: May sleep. Nobody may use @core any more.
 */
void pheap_core_destroy(struct pheap_core *core);

/**
 * pheap_core_grow_prepare() - collect the metadata for a larger committed part
 * @core: the core
 * @grow: set up by this function, whatever it returns
 * @committed_bytes: new size of the committed part, a multiple of the page size and not above the
 *	reservation; if the committed part is that large already the whole growth does nothing
 *
 * Context: Not locked. May sleep. Serialised by the caller against itself until
 * pheap_core_grow_finish().
 * Return: 0 or -ENOMEM. After an error there is nothing to commit or finish.
 */
int pheap_core_grow_prepare(struct pheap_core *core, struct pheap_core_grow *grow,
			    u64 committed_bytes);

/**
 * pheap_core_grow_commit() - install the metadata, and make the new pages free memory
 * @core: the core
 * @grow: as prepared
 *
 * Context: Locked. Copies at most 16 KiB, whatever the growth.
 */
void pheap_core_grow_commit(struct pheap_core *core, struct pheap_core_grow *grow);

/**
 * pheap_core_grow_finish() - free what was replaced, or undo prepare if there was no commit
 * @core: the core
 * @grow: as prepared
 *
 * Context: Not locked. May sleep.
 */
void pheap_core_grow_finish(struct pheap_core *core, struct pheap_core_grow *grow);

/**
 * pheap_core_alloc() - allocate a block
 * @core: the core
 * @bytes: size wanted; 0 gives a block too
 * @align: alignment wanted, a power of two from PHEAP_MIN_ALIGN to PHEAP_MAX_ALIGN
 * @effort: how hard to try
 * @addr: where to put the address
 * @usable: where to put the usable size, at least @bytes
 *
 * Context: Locked.
 * Return: 0; -EAGAIN (@effort PHEAP_CORE_EASY) or -ENOSPC (PHEAP_CORE_LAST).
 */
int pheap_core_alloc(struct pheap_core *core, u64 bytes, u64 align, enum pheap_core_effort effort,
		     u64 *addr, u64 *usable);

/**
 * pheap_core_alloc_batch() - allocate blocks of one size
 * @core: the core
 * @bytes: size wanted; 0 gives blocks too
 * @effort: how hard to try for the first block; the others come only if that is easy
 * @nr_blocks: blocks wanted, from 1 to PHEAP_CORE_MAX_BLOCKS
 * @nr_groups: groups wanted at most, from 1 to PHEAP_CORE_MAX_GROUPS
 * @batch: where to put them; nothing of it is read
 *
 * The blocks are aligned to PHEAP_MIN_ALIGN and have all the same usable size. Ends early if there
 * is no other block of that size, or no room for another group.
 *
 * Context: Locked.
 * Return: 0 if there is at least one block; else as for pheap_core_alloc().
 */
int pheap_core_alloc_batch(struct pheap_core *core, u64 bytes, enum pheap_core_effort effort,
			   u32 nr_blocks, u32 nr_groups, struct pheap_core_batch *batch);

/**
 * pheap_core_need() - how far the heap must grow for a request
 * @core: the core
 * @bytes: as for pheap_core_alloc()
 * @align: as for pheap_core_alloc()
 *
 * Meant to be asked after PHEAP_CORE_EASY failed. The answer takes the free memory at the end of
 * the committed part into account and is the least that makes the request succeed, except that it
 * has room for a span of sensible length where that is needed. It is not above the committed size
 * if growing is not what the request needs: PHEAP_CORE_LAST will serve it from there.
 *
 * Context: Locked.
 * Return: The committed size with which the same pheap_core_alloc() is sure to succeed
 * (PHEAP_CORE_EASY, or PHEAP_CORE_LAST if the reservation has no room for more than a short span),
 * or U64_MAX if no growth within the reservation makes it so (PHEAP_CORE_LAST may still find
 * something).
 */
u64 pheap_core_need(const struct pheap_core *core, u64 bytes, u64 align);

/**
 * pheap_core_free() - free a block
 * @core: the core
 * @addr: any number
 *
 * Context: Locked.
 * Return: 0, or -EINVAL, and nothing changed, if @addr is not the start of a live block.
 */
int pheap_core_free(struct pheap_core *core, u64 addr);

/**
 * pheap_core_free_batch() - free blocks
 * @core: the core
 * @addrs: any numbers; 0 is skipped
 * @nr: how many, at most 64
 *
 * One after the other: of two that are equal, the second is refused.
 *
 * Context: Locked.
 * Return: One bit for each of @addrs that is not the start of a live block: as pheap_core_free()
 * would refuse it.
 */
u64 pheap_core_free_batch(struct pheap_core *core, const u64 *addrs, u32 nr);

/**
 * pheap_core_free_groups() - free all blocks of a batch
 * @core: the core
 * @batch: blocks of this core; what is no live block any more is passed over
 *
 * Context: Locked.
 */
void pheap_core_free_groups(struct pheap_core *core, const struct pheap_core_batch *batch);

/**
 * pheap_core_reset() - free all blocks
 * @core: the core
 * @end: 0 at first; kept by the caller from step to step
 *
 * With the first step there is no live block any more, and no page either: as far as the core knows
 * nothing is committed. Each step then gives some pages back to it as free memory, from the lowest
 * up, as growing does, until it has them all; what is allocated in between lies below and stays. So
 * a step is short, and still all blocks are freed at one instant. It costs time by what was in use,
 * not by what is committed. There must be no growth from the first to the last step.
 *
 * Context: Locked; the lock may be dropped between two steps.
 * Return: true if another step is needed.
 */
bool pheap_core_reset(struct pheap_core *core, u32 *end);

/**
 * pheap_core_size() - usable size of a block
 * @core: the core
 * @addr: any number
 * @usable: where to put the size
 *
 * Context: Locked.
 * Return: 0, or -EINVAL if @addr is not the start of a live block.
 */
int pheap_core_size(const struct pheap_core *core, u64 addr, u64 *usable);

/**
 * pheap_core_stats() - figures of a core, all of one instant
 * @core: the core
 * @st: where to put them
 *
 * Context: Locked.
 */
void pheap_core_stats(const struct pheap_core *core, struct pheap_core_stats *st);

/**
 * pheap_core_spare_bytes() - must memory for a bitmap be at hand before an allocation?
 * @core: the core
 * @bytes: size that will be asked for
 *
 * Spans of the smallest classes need a bitmap of their own. The caller allocates it outside the
 * lock: if this is not 0, that much with pheap_meta_alloc(), handed over with
 * pheap_core_spare_give(). Without a spare the core serves the request from a larger class: an
 * allocation never fails for want of metadata.
 *
 * Context: Not locked; a hint that may be outdated at once.
 * Return: Bytes to provide, or 0.
 */
size_t pheap_core_spare_bytes(const struct pheap_core *core, u64 bytes);

/**
 * pheap_core_spare_give() - hand over memory for a bitmap
 * @core: the core
 * @spare: memory from pheap_meta_alloc() of the size that pheap_core_spare_bytes() told; not NULL
 *
 * Context: Locked.
 * Return: NULL, or @spare if the core has enough: to be freed with pheap_meta_free() and the same
 * size.
 */
void *pheap_core_spare_give(struct pheap_core *core, void *spare);

/**
 * pheap_core_is_valid() - check every invariant of the core's structure
 * @core: the core
 *
 * For tests: takes time proportional to the committed part.
 *
 * Context: Locked.
 * Return: false if one is broken.
 */
bool pheap_core_is_valid(const struct pheap_core *core);

#endif /* _PHEAP_CORE_H */
