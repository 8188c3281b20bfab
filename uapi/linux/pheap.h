/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * pheap: private heaps managed by the kernel - the user space ABI of /dev/pheap.
 *
 * A heap is a contiguous *reserved* range of the address space of one process. A prefix of it
 * is *committed*: backed by physical pages that exist and are charged. Blocks are allocated
 * inside the committed part, which grows up to the reservation and never shrinks before the
 * heap is destroyed or the process ends. All structure of the allocator lies in the kernel; the
 * range holds nothing but the contents of blocks.
 *
 * Every command takes a pointer to one struct whose first field is its own size and whose
 * second field is a set of flags. Sizes are in bytes everywhere. A program built against a
 * newer header passes a larger struct: it is accepted if all bytes the module does not know are
 * zero (E2BIG otherwise), and unknown output bytes come back as zero. A program built against
 * an older header passes a smaller struct: fields it does not know are taken as zero and not
 * written. A struct shorter than its first released version is EINVAL. Command numbers are
 * never reused.
 *
 * A heap belongs to the address space (mm) that created it. It is reached through any open
 * descriptor of /dev/pheap in that process; threads and vfork or CLONE_VM children share it. In
 * any other process, whatever descriptor it holds, the same identifier is ENOENT. Closing
 * descriptors ends no heap; exec, exit, and unmapping any part of the range do.
 *
 * Errors common to all commands:
 *
 * =========== ==================================================================================
 * ENOTTY      unknown command
 * EINVAL      malformed struct: too short, reserved field not zero, argument out of its domain
 * E2BIG       struct longer than the module knows, with bytes that are not zero beyond that
 * EOPNOTSUPP  a flag that this module does not support
 * EFAULT      the struct, or memory it points to, cannot be read or written; no block is
 *             allocated and no heap made then, but what was committed on the way stays
 * ENOENT      no such heap in this process (never created, destroyed, killed by munmap, or
 *             another process's)
 * EPERM       the caller has no address space of its own (a kernel thread)
 * EINTR       a fatal signal ended the call; nothing was changed that the caller could still see
 * =========== ==================================================================================
 *
 * All commands are safe to call from any thread at any time.
 */
#ifndef _UAPI_LINUX_PHEAP_H
#define _UAPI_LINUX_PHEAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The type byte of all commands. */
#define PHEAP_IOC_TYPE 0xB9

/* Longest heap name with its terminating zero byte. */
#define PHEAP_NAME_BYTES 32

/* The ABI version that this header describes, as told by PHEAP_IOC_INFO. */
#define PHEAP_ABI_VERSION 1

/**
 * struct pheap_ioc_info - PHEAP_IOC_INFO: what this module is and what it allows
 * @size: in: sizeof(struct pheap_ioc_info)
 * @flags: in: must be zero
 * @abi_version: out: PHEAP_ABI_VERSION of the module
 * @page_bytes: out: granularity of reservations and commits
 * @features: out: set of PHEAP_FEATURE_*; commands without a bit are always there
 * @max_reserve_bytes: out: largest maximum that PHEAP_IOC_CREATE accepts
 * @max_align_bytes: out: largest alignment that PHEAP_IOC_ALLOC accepts
 * @small_heap_bytes: out: heaps with a maximum up to this are managed in units of 16 bytes
 *	instead of size classes
 * @system_limit_bytes: out: committed bytes and metadata that all heaps together may have
 * @user_limit_bytes: out: the same for all heaps of one user
 * @process_limit_bytes: out: the same for all heaps of one process
 * @reserve_bytes: out: available memory of the machine below which no heap grows
 * @user_limit_heaps: out: heaps that one user may have
 * @reserved: out: zero
 * @process_charged_bytes: out: committed bytes and metadata of the calling process's heaps
 * @process_nr_heaps: out: heaps of the calling process
 *
 * The limits are those in force now; they are set in /sys/module/pheap/parameters.
 *
 * Errors: only the common ones.
 */
struct pheap_ioc_info {
	__u32 size;
	__u32 flags;
	__u32 abi_version;
	__u32 page_bytes;
	__aligned_u64 features;
	__aligned_u64 max_reserve_bytes;
	__aligned_u64 max_align_bytes;
	__aligned_u64 small_heap_bytes;
	__aligned_u64 system_limit_bytes;
	__aligned_u64 user_limit_bytes;
	__aligned_u64 process_limit_bytes;
	__aligned_u64 reserve_bytes;
	__u32 user_limit_heaps;
	__u32 reserved;
	__aligned_u64 process_charged_bytes;
	__aligned_u64 process_nr_heaps;
};

/* Feature bits: PHEAP_IOC_CREATE takes a name. */
#define PHEAP_FEATURE_NAMES (1ULL << 0)
/* PHEAP_IOC_RESET is there. */
#define PHEAP_FEATURE_RESET (1ULL << 1)
/* PHEAP_IOC_ALLOC_BATCH and PHEAP_IOC_FREE_BATCH are there. */
#define PHEAP_FEATURE_BATCH (1ULL << 2)

/* PHEAP_IOC_CREATE and PHEAP_IOC_COMMIT: map the committed pages now, not at first touch. */
#define PHEAP_COMMIT_POPULATE (1U << 0)

/**
 * struct pheap_ioc_create - PHEAP_IOC_CREATE: make a heap
 * @size: in: sizeof(struct pheap_ioc_create)
 * @flags: in: 0 or PHEAP_COMMIT_POPULATE
 * @initial_bytes: in: bytes to commit now, rounded up to pages; 0 commits one page; clamped to
 *	the maximum
 * @maximum_bytes: in: bytes to reserve, rounded up to pages; 0: growable, see below
 * @name: in: zero-terminated name for tools and /proc/PID/maps, or all zero for none; printable
 *	ASCII without any of / \ [ ] and zero-filled behind the terminator
 * @heap: out: identifier of the heap, never reissued
 * @base: out: address of the first byte of the reservation, page aligned; 2 MiB aligned if it
 *	spans 2 MiB or more
 * @reserved_bytes: out: size of the reservation
 * @committed_bytes: out: size of the committed part
 *
 * When this returns 0 the committed part is backed by pages that exist and are charged to the
 * caller's memory cgroup: touching it cannot fail. The reservation costs address space (it
 * counts against RLIMIT_AS) and nothing else. On failure nothing is left behind. No failure
 * involves an OOM killer.
 *
 * A growable heap (@maximum_bytes 0) reserves the machine's memory rounded up to a power of
 * two, at most a quarter of what RLIMIT_AS leaves and 1/(32 * k) of the address space when it
 * is the process's k-th heap; that is halved until a free range is found, down to 64 MiB.
 *
 * The initial size is a rule of Win32 HeapCreate, and so is the meaning of a maximum of 0; the
 * largest initial size of a growable heap is its reservation.
 *
 * Errors: EINVAL also for a bad name; ENOMEM: not enough physical memory, or the memory cgroup
 * refuses, or no free address range, or RLIMIT_AS, or RLIMIT_MEMLOCK after mlockall(MCL_FUTURE);
 * EDQUOT: a limit of the module for heaps or pages.
 */
struct pheap_ioc_create {
	__u32 size;
	__u32 flags;
	__aligned_u64 initial_bytes;
	__aligned_u64 maximum_bytes;
	__u8 name[PHEAP_NAME_BYTES];
	__aligned_u64 heap;
	__aligned_u64 base;
	__aligned_u64 reserved_bytes;
	__aligned_u64 committed_bytes;
};

/**
 * struct pheap_ioc_destroy - PHEAP_IOC_DESTROY: end a heap
 * @size: in: sizeof(struct pheap_ioc_destroy)
 * @flags: in: must be zero
 * @heap: in: identifier
 *
 * Unmaps the reservation and gives every page back at once; live blocks need not be freed.
 * Pages that a device or pipe still holds a reference to are freed when that reference goes. Of
 * several threads destroying one heap, one gets 0.
 *
 * Errors: EPERM also when the range was sealed with mseal(2): the heap then stays until the
 * process ends.
 */
struct pheap_ioc_destroy {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
};

/* PHEAP_IOC_ALLOC: clear the block. */
#define PHEAP_ALLOC_ZERO (1U << 0)

/**
 * struct pheap_ioc_alloc - PHEAP_IOC_ALLOC: allocate a block
 * @size: in: sizeof(struct pheap_ioc_alloc)
 * @flags: in: 0 or PHEAP_ALLOC_ZERO
 * @heap: in: identifier
 * @bytes: in: size wanted; 0 gives a unique block
 * @align: in: alignment, a power of two up to 2 MiB; 0 means 16; less than 16 is 16
 * @addr: out: address of the block, inside the reservation; the block is never moved
 * @usable_bytes: out: bytes that may be used there, at least @bytes
 *
 * Commits more pages if the committed part has no room. Without PHEAP_ALLOC_ZERO the contents
 * are undefined, but never stem from another process or from another heap.
 *
 * Errors: EINVAL: bad alignment; ENOSPC: the maximum of the heap is reached, or @bytes is
 * larger than it; ENOMEM: not enough physical memory, or the memory cgroup refuses; EDQUOT: a
 * limit of the module; EPERM: the range was sealed with mseal(2) and would have to change.
 */
struct pheap_ioc_alloc {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
	__aligned_u64 bytes;
	__aligned_u64 align;
	__aligned_u64 addr;
	__aligned_u64 usable_bytes;
};

/**
 * struct pheap_ioc_free - PHEAP_IOC_FREE: free a block
 * @size: in: sizeof(struct pheap_ioc_free)
 * @flags: in: must be zero
 * @heap: in: identifier
 * @addr: in: address that PHEAP_IOC_ALLOC returned for this heap; 0 is allowed and does nothing
 *
 * Every pointer is checked against the heap's structure. One that is not a live block of this
 * heap (freed already, inside a block, outside the heap) is refused, counted in @bad_frees of
 * struct pheap_ioc_stat, and changes nothing.
 *
 * Errors: EINVAL: @addr is not a live block of this heap.
 */
struct pheap_ioc_free {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
	__aligned_u64 addr;
};

/**
 * struct pheap_ioc_size - PHEAP_IOC_SIZE: usable size of a block
 * @size: in: sizeof(struct pheap_ioc_size)
 * @flags: in: must be zero
 * @heap: in: identifier
 * @addr: in: address of a live block
 * @usable_bytes: out: bytes that may be used there
 *
 * Errors: EINVAL: @addr is not a live block of this heap.
 */
struct pheap_ioc_size {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
	__aligned_u64 addr;
	__aligned_u64 usable_bytes;
};

/**
 * struct pheap_ioc_stat - PHEAP_IOC_STAT: figures of a heap
 * @size: in: sizeof(struct pheap_ioc_stat)
 * @flags: in: must be zero
 * @heap: in: identifier
 * @base: out: address of the first byte of the reservation
 * @reserved_bytes: out: size of the reservation
 * @committed_bytes: out: size of the committed part
 * @allocated_bytes: out: sum of the usable sizes of all live blocks
 * @nr_blocks: out: live blocks
 * @peak_committed_bytes: out: largest value that @committed_bytes ever had
 * @nr_failures: out: allocations and commits that failed with ENOSPC, ENOMEM or EDQUOT
 * @bad_frees: out: frees that were refused because the pointer was not a live block
 * @metadata_bytes: out: kernel memory that describes the heap, without page tables
 * @nr_allocs: out: blocks allocated since create
 * @nr_frees: out: blocks freed since create
 * @nr_faults: out: page faults in the range since create
 *
 * @nr_blocks, @allocated_bytes, @nr_allocs and @nr_frees are taken at one instant.
 *
 * Errors: only the common ones.
 */
struct pheap_ioc_stat {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
	__aligned_u64 base;
	__aligned_u64 reserved_bytes;
	__aligned_u64 committed_bytes;
	__aligned_u64 allocated_bytes;
	__aligned_u64 nr_blocks;
	__aligned_u64 peak_committed_bytes;
	__aligned_u64 nr_failures;
	__aligned_u64 bad_frees;
	__aligned_u64 metadata_bytes;
	__aligned_u64 nr_allocs;
	__aligned_u64 nr_frees;
	__aligned_u64 nr_faults;
};

/**
 * struct pheap_ioc_commit - PHEAP_IOC_COMMIT: grow the committed part now
 * @size: in: sizeof(struct pheap_ioc_commit)
 * @flags: in: 0 or PHEAP_COMMIT_POPULATE
 * @heap: in: identifier
 * @bytes: in: the committed part shall be at least this large, rounded up to pages
 * @committed_bytes: out: size of the committed part now
 *
 * Does nothing if that much is committed already. With PHEAP_COMMIT_POPULATE the first @bytes are
 * also mapped, so that no access to them causes a page fault (MADV_DONTNEED can undo the mapping,
 * and on kernels that do so its page tables, but never the commit). On failure the committed part
 * is what it was.
 *
 * Errors: ENOSPC: @bytes is larger than the maximum; ENOMEM: not enough physical memory, or the
 * memory cgroup refuses; EDQUOT: a limit of the module; EPERM: the range was sealed with mseal(2)
 * and would have to change.
 */
struct pheap_ioc_commit {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
	__aligned_u64 bytes;
	__aligned_u64 committed_bytes;
};

/**
 * struct pheap_list_entry - one heap, as PHEAP_IOC_LIST tells it
 * @heap: identifier
 * @base: address of the first byte of the reservation
 * @reserved_bytes: size of the reservation
 * @committed_bytes: size of the committed part
 * @name: name given at create, zero-terminated and zero-filled
 */
struct pheap_list_entry {
	__aligned_u64 heap;
	__aligned_u64 base;
	__aligned_u64 reserved_bytes;
	__aligned_u64 committed_bytes;
	__u8 name[PHEAP_NAME_BYTES];
};

/**
 * struct pheap_ioc_list - PHEAP_IOC_LIST: the heaps of the calling process
 * @size: in: sizeof(struct pheap_ioc_list)
 * @flags: in: must be zero
 * @entries: in: address of an array of @nr_entries entries; may be 0 if @nr_entries is 0
 * @nr_entries: in: entries the array has room for; out: heaps that the process has
 * @entry_bytes: in: sizeof(struct pheap_list_entry) of the caller: the distance of the entries;
 *	a module that knows less of an entry fills its rest with zeroes
 * @reserved: in: must be zero
 *
 * Entries come in order of creation. Heaps made or destroyed meanwhile may or may not be among
 * them.
 *
 * Errors: EINVAL also for @entry_bytes shorter than the first released entry or longer than a
 * page; EMSGSIZE: the array is too small: it is filled, and @nr_entries tells how many are
 * needed; ENOMEM.
 */
struct pheap_ioc_list {
	__u32 size;
	__u32 flags;
	__aligned_u64 entries;
	__aligned_u64 nr_entries;
	__u32 entry_bytes;
	__u32 reserved;
};

/**
 * struct pheap_ioc_reset - PHEAP_IOC_RESET: free all blocks of a heap
 * @size: in: sizeof(struct pheap_ioc_reset)
 * @flags: in: must be zero
 * @heap: in: identifier
 *
 * All blocks that are live when the command takes effect are freed at once; their addresses are
 * refused from then on like those of any freed block. The committed part stays as it is, with its
 * mapping. Blocks that other threads allocate meanwhile were allocated either before that instant,
 * and are freed, or after it, and stay. Takes time by what the blocks covered, not by what is
 * committed.
 *
 * There if INFO has PHEAP_FEATURE_RESET.
 *
 * Errors: only the common ones.
 */
struct pheap_ioc_reset {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
};

/* Blocks that one batch has at most, and groups that PHEAP_IOC_ALLOC_BATCH fills at most. */
#define PHEAP_BATCH_BLOCKS 512
#define PHEAP_BATCH_GROUPS 64

/**
 * struct pheap_group - up to 64 blocks of a batch
 * @addr: address that the block of bit 0 has, or would have if it belonged to the batch
 * @mask: the blocks of the batch: bit i is the block at @addr + i * usable_bytes
 */
struct pheap_group {
	__aligned_u64 addr;
	__aligned_u64 mask;
};

/**
 * struct pheap_ioc_alloc_batch - PHEAP_IOC_ALLOC_BATCH: allocate blocks of one size
 * @size: in: sizeof(struct pheap_ioc_alloc_batch)
 * @flags: in: must be zero
 * @heap: in: identifier
 * @bytes: in: size wanted; 0 gives unique blocks
 * @groups: in: address of an array of struct pheap_group
 * @nr_groups: in: groups the array has room for, at least 1; out: groups filled, at most
 *	PHEAP_BATCH_GROUPS
 * @nr_blocks: in: blocks wanted, from 1 to PHEAP_BATCH_BLOCKS; out: blocks allocated, at least 1
 * @usable_bytes: out: bytes that may be used in each of the blocks, at least @bytes
 *
 * The blocks are like those of PHEAP_IOC_ALLOC with an alignment of 16 and contents undefined, and
 * are freed one by one in whatever way. All have the same usable size.
 *
 * There may be fewer than wanted: when the array is full, or when the committed part has no more
 * blocks of the same usable size at hand. Only if it has not a single one is more committed. So
 * success tells how many there are, and failure that there is none; nothing was allocated then,
 * also if the array or the struct cannot be written (EFAULT).
 *
 * There if INFO has PHEAP_FEATURE_BATCH.
 *
 * Errors: EINVAL: @nr_groups or @nr_blocks is out of its domain; ENOSPC, ENOMEM, EDQUOT, EPERM: as
 * for PHEAP_IOC_ALLOC.
 */
struct pheap_ioc_alloc_batch {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
	__aligned_u64 bytes;
	__aligned_u64 groups;
	__u32 nr_groups;
	__u32 nr_blocks;
	__aligned_u64 usable_bytes;
};

/**
 * struct pheap_ioc_free_batch - PHEAP_IOC_FREE_BATCH: free blocks
 * @size: in: sizeof(struct pheap_ioc_free_batch)
 * @flags: in: must be zero
 * @heap: in: identifier
 * @addrs: in: address of an array of addresses (__u64) of blocks of any size; an address of 0 is
 *	allowed and does nothing
 * @nr_addrs: in: entries of the array, from 1 to PHEAP_BATCH_BLOCKS; out: entries dealt with
 * @nr_refused: out: entries that were refused
 * @refused: out: bit i % 64 of word i / 64 is set if entry i was refused
 *
 * Each address is checked as by PHEAP_IOC_FREE. One that is not a live block of this heap is
 * refused, counted in @bad_frees of struct pheap_ioc_stat, and changes nothing; the others are
 * freed. That is a success: @nr_refused tells. Of an address that is there twice the second is
 * refused.
 *
 * @nr_addrs comes back smaller only if the array cannot be read to its end: so many entries from
 * the first on were dealt with, the others not at all. Nothing is freed if the struct cannot be
 * written, or nothing of the array can be read (EFAULT).
 *
 * There if INFO has PHEAP_FEATURE_BATCH.
 *
 * Errors: EINVAL: @nr_addrs is out of its domain.
 */
struct pheap_ioc_free_batch {
	__u32 size;
	__u32 flags;
	__aligned_u64 heap;
	__aligned_u64 addrs;
	__u32 nr_addrs;
	__u32 nr_refused;
	__aligned_u64 refused[PHEAP_BATCH_BLOCKS / 64];
};

#define PHEAP_IOC_INFO		_IO(PHEAP_IOC_TYPE, 0x00)
#define PHEAP_IOC_CREATE	_IO(PHEAP_IOC_TYPE, 0x01)
#define PHEAP_IOC_DESTROY	_IO(PHEAP_IOC_TYPE, 0x02)
#define PHEAP_IOC_ALLOC		_IO(PHEAP_IOC_TYPE, 0x03)
#define PHEAP_IOC_FREE		_IO(PHEAP_IOC_TYPE, 0x04)
#define PHEAP_IOC_SIZE		_IO(PHEAP_IOC_TYPE, 0x05)
#define PHEAP_IOC_STAT		_IO(PHEAP_IOC_TYPE, 0x06)
#define PHEAP_IOC_COMMIT	_IO(PHEAP_IOC_TYPE, 0x07)
#define PHEAP_IOC_LIST		_IO(PHEAP_IOC_TYPE, 0x08)
#define PHEAP_IOC_RESET		_IO(PHEAP_IOC_TYPE, 0x09)
#define PHEAP_IOC_ALLOC_BATCH	_IO(PHEAP_IOC_TYPE, 0x0a)
#define PHEAP_IOC_FREE_BATCH	_IO(PHEAP_IOC_TYPE, 0x0b)

#endif /* _UAPI_LINUX_PHEAP_H */
