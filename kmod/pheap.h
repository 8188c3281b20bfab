/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Private header of the module: the objects, who owns them, and the lock order.
 *
 * Objects
 *
 *   pheap_user   one per uid with heaps; counts against the limits of that user (limits.c)
 * pheap_ctx    process context, one per mm with heaps or with a descriptor that made one
 * (context.c)
 * pheap        a heap (heap.c); its VMAs are its region (region.c), its pages its commit
 * (commit.c), its blocks its
 *                core (core/)
 *
 * Lock order, outermost first
 *
 * pheap.grow_lock      mutex     commits and the core's metadata of one heap; held over page
 * allocation
 *   pheap_ctx.map_lock   mutex     one vm_mmap() at a time on the files of a context
 *   mm->mmap_lock        rwsem     the kernel's; page faults hold it or the lock of one VMA
 *   pheap_ctx.lock       spinlock  the list of heaps
 *   pheap.lock           spinlock  the core of one heap
 *
 * The page fault handler takes none of them: it reads under RCU. User memory is accessed under
 * none of them. References to heaps and contexts may be dropped under all of them except the
 * spinlocks.
 */
#ifndef _PHEAP_H
#define _PHEAP_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#include <linux/xarray.h>

#include <uapi/linux/pheap.h>

#include "core.h"

/*
 * Flags for our own allocations: charged to the caller's memory cgroup, and an error instead
 * of an OOM kill.
 */
#define PHEAP_GFP	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* Reservations up to this are one VMA; in larger ones the first PHEAP_FRONT_BYTES are. */
#define PHEAP_ONE_VMA_BYTES	(64UL << 20)
#define PHEAP_FRONT_BYTES	(16UL << 20)

/* The smallest reservation of a growable heap. */
#define PHEAP_GROWABLE_MIN_BYTES	(64UL << 20)

/**
 * struct pheap_user - what all processes of one user have
 * @node: in the table of users; lock pheap_user_lock
 * @uid: immutable
 * @ref: number of contexts of this user; lock pheap_user_lock
 * @pages: charged pages; atomic, because heaps charge in parallel
 * @metadata_bytes: kernel memory of the heaps; atomic, likewise
 * @nr_heaps: heaps; atomic, likewise
 */
struct pheap_user {
	struct hlist_node node;
	kuid_t uid;
	unsigned int ref;
	atomic_long_t pages;
	atomic_long_t metadata_bytes;
	atomic_long_t nr_heaps;
};

/**
 * struct pheap_ctx - process context
 * @mm: the address space, held by mmgrab(); immutable
 * @user: who pays; immutable
 * @ref: one for each heap, for each descriptor that made one here, and for each call in progress
 * @node: in the table of contexts; lock pheap_ctx_table_lock, read under RCU
 * @rcu: delays the free
 * @pages: charged pages; atomic, because heaps charge in parallel
 * @metadata_bytes: kernel memory of the heaps; atomic, likewise
 * @map_lock: see the lock order
 * @file: the file that unnamed heaps are mappings of; made by the first of them, lock map_lock
 * @mapper: the task inside vm_mmap() for @mapping; written under map_lock, compared with
 *	current only
 * @mapping: what it maps, and how; @room is the whole reservation while its front is mapped; lock
 *	map_lock
 * @lock: see the lock order
 * @heaps: heaps in order of creation; lock @lock
 * @nr_heaps: their number; lock @lock
 * @table: slot number to heap; its own lock, read under RCU
 */
struct pheap_ctx {
	struct mm_struct *mm;
	struct pheap_user *user;
	refcount_t ref;
	struct hlist_node node;
	struct rcu_head rcu;
	atomic_long_t pages;
	atomic_long_t metadata_bytes;

	struct mutex map_lock;
	struct file *file;
	struct task_struct *mapper;
	struct {
		struct pheap *heap;
		unsigned long room;
		bool windowed;
		bool dump;
	} mapping;

	spinlock_t lock;
	struct list_head heaps;
	unsigned long nr_heaps;
	struct xarray table;
};

/**
 * struct pheap_backing_chunk - the pages of 2 MiB of a heap that are not one folio of 2 MiB
 * @slot: for each 64 KiB a folio of order 4 (tagged PHEAP_FOLIO), or the address of an array of
 *	16 pages, or 0
 */
struct pheap_backing_chunk {
	unsigned long slot[32];
};

#define PHEAP_FOLIO	1UL
#define PHEAP_BACKING_SHIFT	(21 - PAGE_SHIFT)
#define PHEAP_BACKING_PAGES	BIT(PHEAP_BACKING_SHIFT)
#define PHEAP_SLOT_ORDER	4
#define PHEAP_SLOT_PAGES	BIT(PHEAP_SLOT_ORDER)

/**
 * struct pheap_backing - the pages of a heap
 * @rcu: delays the free: the fault handler may still read a table that was replaced by a larger one
 * @nr: number of entries
 * @entry: for each 2 MiB a folio of that size (tagged PHEAP_FOLIO), or the address of a struct
 *	pheap_backing_chunk, or 0
 *
 * An entry is written before heap->committed passes the pages it tells, and not changed after.
 */
struct pheap_backing {
	struct rcu_head rcu;
	unsigned long nr;
	unsigned long entry[];
};

/**
 * struct pheap_request - what an allocation asks for, and its answer
 * @bytes: size wanted
 * @align: power of two, 16 at least
 * @addr: answer: address, if there is no @batch
 * @usable: answer: usable size, if there is no @batch
 * @nr_blocks: with @batch: blocks wanted; @align is 16 then
 * @nr_groups: with @batch: groups wanted at most
 * @batch: answer: the blocks; NULL for one block
 */
struct pheap_request {
	u64 bytes;
	u64 align;
	u64 addr;
	u64 usable;
	u32 nr_blocks;
	u32 nr_groups;
	struct pheap_core_batch *batch;
};

/**
 * enum pheap_state - bits of struct pheap.state
 * @PHEAP_DEAD: a part of the range was unmapped: nothing works any more but destroy
 * @PHEAP_DESTROYING: one thread is in destroy
 * @PHEAP_TORN: laying a VMA failed half-way: there may be a hole in the tail, never touched
 */
enum pheap_state {
	PHEAP_DEAD,
	PHEAP_DESTROYING,
	PHEAP_TORN,
};

/**
 * struct pheap - a heap
 * @id: a number that is never used again, and the slot in its low bits; immutable after publishing
 * @slot: place in the context's table, 0 when not in it; lock ctx->lock once published
 * @base: first address of the region; immutable after the region was mapped
 * @reserved: size of the region in bytes; likewise
 * @ctx: owner, referenced; immutable
 * @file: the file the region maps, referenced; immutable
 * @ref: one for the context's table, one for each VMA, one for each call in progress
 * @nr_pieces: VMAs of the region; atomic, because tests look at it outside mmap_lock, under
 *	which it changes
 * @state: bits of enum pheap_state
 * @committed: bytes committed; written with release under grow_lock, read with acquire by the
 *	fault handler
 * @backing: table of pages; written under grow_lock, read under RCU
 * @first_chunk: the chunk of the first 2 MiB, embedded because every heap has it
 * @first_pages: the array of its first slot, for heaps that begin with less than 64 KiB
 * @nr_faults: page faults; atomic
 * @metadata_bytes: kernel memory of the heap; atomic, because tables and core count it
 * @nr_failures: allocations and commits that failed; atomic
 * @bad_frees: refused frees; lock @lock
 * @grow_lock: see the lock order
 * @grower: the task that maps pages it has not published yet; written under grow_lock, compared
 *	with current only
 * @growing: what @grower may see as committed, in bytes; only read by @grower
 * @border: up to here the region is dumpable; lock grow_lock
 * @list: in the context's list; lock ctx->lock
 * @rcu: delays the free
 * @name: immutable
 * @lock: see the lock order
 * @core: the allocator; lock @lock
 *
 * Published in the context's table when it is complete. Ends when the last reference goes; the
 * table's is dropped by destroy or when the last VMA closes, so pages go back at the latest
 * when the last call in progress returns.
 */
struct pheap {
	u64 id;
	u32 slot;
	unsigned long base;
	unsigned long reserved;
	struct pheap_ctx *ctx;
	struct file *file;
	refcount_t ref;
	atomic_t nr_pieces;
	unsigned long state;
	unsigned long committed;
	struct pheap_backing __rcu *backing;
	struct pheap_backing_chunk first_chunk;
	struct page *first_pages[PHEAP_SLOT_PAGES];
	atomic_long_t nr_faults;
	atomic_long_t metadata_bytes;
	atomic_long_t nr_failures;
	u64 bad_frees;

	struct mutex grow_lock;
	struct task_struct *grower;
	unsigned long growing;
	unsigned long border;

	struct list_head list;
	struct rcu_head rcu;
	char name[PHEAP_NAME_BYTES];

	spinlock_t lock;
	struct pheap_core core;
};

static inline bool pheap_is_dead(const struct pheap *heap)
{
	return test_bit(PHEAP_DEAD, &heap->state);
}

/* limits.c */
void pheap_limits_init(void);
struct pheap_user *pheap_user_get(kuid_t uid);
void pheap_user_put(struct pheap_user *user);
int pheap_charge_heap(struct pheap_ctx *ctx);
void pheap_uncharge_heap(struct pheap_ctx *ctx);
int pheap_charge_pages(struct pheap_ctx *ctx, unsigned long nr);
void pheap_uncharge_pages(struct pheap_ctx *ctx, unsigned long nr);
int pheap_memory_claim(unsigned long nr);
void pheap_memory_unclaim(unsigned long nr);
void pheap_metadata_count(struct pheap *heap, long bytes);
void pheap_limits_info(struct pheap_ioc_info *info);

/* context.c */
struct pheap_ctx *pheap_ctx_find(struct file *dev);
struct pheap_ctx *pheap_ctx_make(struct file *dev);
void pheap_ctx_put(struct pheap_ctx *ctx);
struct pheap *pheap_find(struct file *dev, u64 id);
int pheap_ctx_add(struct pheap_ctx *ctx, struct pheap *heap);
bool pheap_ctx_publish(struct pheap_ctx *ctx, struct pheap *heap);
void pheap_ctx_unlist(struct pheap_ctx *ctx, struct pheap *heap);
void pheap_ctx_remove(struct pheap_ctx *ctx, struct pheap *heap);

/* heap.c */
int pheap_heap_init(void);
void pheap_heap_exit(void);
struct pheap *pheap_create(struct pheap_ctx *ctx, u64 initial, u64 maximum, const char *name,
			   bool populate);
void pheap_abandon(struct pheap *heap);
int pheap_destroy(struct pheap *heap);
void pheap_get(struct pheap *heap);
void pheap_put(struct pheap *heap);
void pheap_count_failure(struct pheap *heap, int ret);
int pheap_block_alloc(struct pheap *heap, struct pheap_request *req);
int pheap_block_free(struct pheap *heap, u64 addr);
u64 pheap_block_free_some(struct pheap *heap, const u64 *addrs, u32 nr);
void pheap_batch_free(struct pheap *heap, const struct pheap_core_batch *batch);
int pheap_reset(struct pheap *heap);

/* region.c */
int pheap_region_file(struct pheap *heap);
void pheap_region_file_put(struct pheap *heap);
void pheap_region_ctx_put(struct pheap_ctx *ctx);
int pheap_region_map(struct pheap *heap, unsigned long reserved);
int pheap_region_unmap(struct pheap *heap);
int pheap_region_extend_dump(struct pheap *heap, unsigned long committed);
int pheap_region_populate(struct pheap *heap, unsigned long from, unsigned long to, bool all);
void pheap_region_zap(struct pheap *heap, unsigned long from, unsigned long to);

/* commit.c */
int pheap_commit(struct pheap *heap, unsigned long bytes, bool populate);
int pheap_grow(struct pheap *heap, unsigned long need);
void pheap_commit_release(struct pheap *heap);
struct page *pheap_backing_page(struct pheap *heap, unsigned long index);

/* ioctl.c */
long pheap_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

#endif /* _PHEAP_H */
