/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * heapuser.h - private heaps: the library interface to the pheap kernel module.
 *
 * A private heap is a contiguous range of the calling process's address space that is *reserved*
 * as a whole when the heap is created, and *committed* (backed by physical pages that exist and
 * are charged) as far as it was asked for or as blocks need it. Committed memory can always be
 * touched: no signal, no OOM kill. The structure of the heap lies in the kernel, so that no
 * overflow, double free or wild write can damage it. Destroying a heap gives everything back in
 * one call, and so does the end of the process.
 *
 * Rules for every function below, unless it says otherwise:
 *
 * - Sizes are in bytes.
 * - It may be called from any thread at any time (MT-Safe), on the same or on different heaps.
 *   It is not async-signal-safe, and longjmp() out of it is undefined.
 * - It does not call malloc() or any other allocator.
 * - errno is set on failure and left alone on success.
 * - A handle is checked before use. One that is stale (the heap was destroyed), of another process
 *   (a parent's, after fork), NULL or plain garbage is EINVAL, never a crash, and handles are not
 *   reissued.
 * - A call that needs the module can fail with
 *     ENODEV   the module is not loaded: there is no /dev/pheap
 *     EACCES   no permission to open /dev/pheap
 *     EMFILE, ENFILE  no file descriptor is free to open /dev/pheap
 *   The library opens /dev/pheap on first use, and again if somebody closed its descriptor; no heap
 *   is lost by that.
 *
 * A child of fork() starts without heaps: the memory of its parent's heaps is not there (access
 * raises SIGSEGV) and their handles are EINVAL; it may create heaps of its own. A vfork() child
 * is still its parent in this respect. exec() drops everything.
 *
 * Heap memory is used like any other memory. Changing its *mapping* (munmap, mprotect, mremap) is
 * refused or ends the heap; docs/pheap.rst has the table.
 */
#ifndef HEAPUSER_H
#define HEAPUSER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* A heap: an opaque handle that points to nothing. */
struct pheap;

/*
 * Flags of pheap_create() and pheap_create_named(). Those marked (refused) have their value
 * already but not yet a meaning: creating a heap with one of them fails with EINVAL in this
 * version.
 */
/* The caller promises to use the heap from one thread at a time. */
#define PHEAP_NO_SERIALIZE	0x01u
/* (refused) Exact sizes are kept and every bad free is refused at once. */
#define PHEAP_CHECKED		0x02u
/* Every allocation and free goes to the kernel, which checks it; in this version always so. */
#define PHEAP_UNCACHED		0x04u
/* Map what is committed now, so that touching it causes no page fault. */
#define PHEAP_POPULATE		0x08u
/* (refused) Write a pattern behind each block and check it. */
#define PHEAP_TAIL_CHECK	0x10u
/* (refused) Fill freed blocks with a pattern and check it. */
#define PHEAP_FREE_CHECK	0x20u
/* (refused) Failures call the failure handler. */
#define PHEAP_RAISE		0x40u

/* Longest name of a heap with its terminating zero. */
#define PHEAP_NAME_MAX		32

/**
 * struct pheap_stat - figures of a heap
 * @reserved_bytes: size of the reservation, the maximum of the heap
 * @committed_bytes: size of the committed part
 * @allocated_bytes: sum of the usable sizes of all live blocks
 * @cached_bytes: free memory that the library keeps at hand for threads; zero in this version
 * @nr_blocks: live blocks
 * @peak_committed_bytes: largest value that @committed_bytes ever had
 * @nr_failures: allocations and commits that failed for want of space or memory
 * @corruptions: pointers that were refused by pheap_free() because they were no live block
 * @base: address of the first byte of the reservation
 * @metadata_bytes: kernel memory that describes the heap, without page tables
 * @nr_allocs: blocks allocated since the heap was created
 * @nr_frees: blocks freed since the heap was created
 * @nr_faults: page faults in the heap since it was created
 * @library_bytes: memory that the library uses for all heaps of the process together
 *
 * Later versions add fields at the end.
 */
struct pheap_stat {
	uint64_t reserved_bytes;
	uint64_t committed_bytes;
	uint64_t allocated_bytes;
	uint64_t cached_bytes;
	uint64_t nr_blocks;
	uint64_t peak_committed_bytes;
	uint64_t nr_failures;
	uint64_t corruptions;
	uint64_t base;
	uint64_t metadata_bytes;
	uint64_t nr_allocs;
	uint64_t nr_frees;
	uint64_t nr_faults;
	uint64_t library_bytes;
};

/**
 * pheap_create() - create a heap
 * @initial: bytes to commit now, rounded up to pages; 0 commits one page; clamped to @maximum
 * @maximum: bytes to reserve, rounded up to pages: the heap never grows beyond this. 0: growable,
 *	with a reservation as large as the machine could ever fill
 * @flags: 0 or any of PHEAP_NO_SERIALIZE, PHEAP_UNCACHED, PHEAP_POPULATE
 *
 * On success the process *has* the initial memory: it exists and is charged to the memory cgroup,
 * and touching it cannot fail. On failure nothing is left behind. No failure involves an OOM
 * killer.
 *
 * Win32: HeapCreate. Unlike there, a block may be as large as the maximum of its heap.
 *
 * Return: a handle, or NULL with errno set:
 *   EINVAL  unknown or refused flag
 *   ENOMEM  not enough physical memory for @initial, the memory cgroup refuses it, or no free range
 *           of addresses is large enough for @maximum (also RLIMIT_AS, or more than 8 TiB)
 *   EDQUOT  a limit of the module for pages or heaps, or 131,072 heaps in this process
 *   and ENODEV, EACCES, EMFILE, ENFILE.
 */
__attribute__((warn_unused_result))
struct pheap *pheap_create(size_t initial, size_t maximum, unsigned int flags);

/**
 * pheap_create_named() - create a heap that has a name
 * @initial: as for pheap_create()
 * @maximum: as for pheap_create()
 * @flags: as for pheap_create()
 * @name: shown by tools and in /proc/PID/maps: printable ASCII without any of / \ [ ], shorter than
 *	PHEAP_NAME_MAX; NULL or "" gives no name. Names need not be unique.
 *
 * Return: as pheap_create(); EINVAL also for a bad name.
 */
__attribute__((warn_unused_result))
struct pheap *pheap_create_named(size_t initial, size_t maximum, unsigned int flags,
				 const char *name);

/**
 * pheap_destroy() - give a heap back, with all its blocks
 * @h: heap
 *
 * Live blocks need not be freed before; every pointer into the heap is dead afterwards. Any
 * thread may destroy a heap. When several do at once, one of them succeeds.
 *
 * Win32: HeapDestroy.
 *
 * Return: 0, or -1 with errno set:
 *   EINVAL  @h is not a heap of this process, or not any more
 *   EPERM   the range was sealed with mseal(2): the heap stays until the process ends
 *   and ENODEV, EACCES, EMFILE, ENFILE.
 */
int pheap_destroy(struct pheap *h);

/**
 * pheap_commit() - commit memory of a heap ahead of need
 * @h: heap
 * @bytes: the committed part shall be at least this large, rounded up to pages
 * @flags: 0, or PHEAP_POPULATE to map the first @bytes as well
 *
 * Does nothing where that much is committed already. On failure the heap is what it was.
 *
 * Win32: none; VirtualAlloc(MEM_COMMIT) is the nearest.
 *
 * Return: 0, or -1 with errno set:
 *   EINVAL  bad handle or unknown flag
 *   ENOSPC  @bytes is more than the maximum of the heap
 *   ENOMEM  not enough physical memory, or the memory cgroup refuses
 *   EDQUOT  a limit of the module
 *   and ENODEV, EACCES, EMFILE, ENFILE.
 */
int pheap_commit(struct pheap *h, size_t bytes, unsigned int flags);

/**
 * pheap_free() - free a block
 * @h: heap that the block was allocated from
 * @p: the block, or NULL, which does nothing
 *
 * A pointer that is not a live block of this heap (freed already, into the middle of a block, of
 * another heap, garbage) is refused, counted in struct pheap_stat, and changes nothing. Freed
 * memory stays committed: it serves later allocations of the same heap.
 *
 * Win32: HeapFree.
 *
 * Return: 0, or -1 with errno set:
 *   EINVAL  bad handle, or @p is not a live block of @h
 *   and ENODEV, EACCES, EMFILE, ENFILE.
 */
int pheap_free(struct pheap *h, void *p);

/**
 * pheap_alloc() - allocate a block
 * @h: heap
 * @n: size; 0 gives a block of its own, too
 *
 * The block is aligned to 16 bytes and never moves. If the committed part has no room, it grows.
 * The contents are undefined, but never stem from another process or heap.
 *
 * Win32: HeapAlloc.
 *
 * Return: the block, or NULL with errno set:
 *   EINVAL  bad handle
 *   ENOSPC  the heap has reached its maximum, or @n is larger than that
 *   ENOMEM  not enough physical memory, or the memory cgroup refuses
 *   EDQUOT  a limit of the module
 *   and ENODEV, EACCES, EMFILE, ENFILE.
 */
__attribute__((malloc, alloc_size(2), assume_aligned(16), warn_unused_result))
void *pheap_alloc(struct pheap *h, size_t n);

/**
 * pheap_zalloc() - allocate a block filled with zeroes
 * @h: heap
 * @n: size
 *
 * Win32: HeapAlloc with HEAP_ZERO_MEMORY.
 *
 * Return: as pheap_alloc(); all usable bytes of the block are zero.
 */
__attribute__((malloc, alloc_size(2), assume_aligned(16), warn_unused_result))
void *pheap_zalloc(struct pheap *h, size_t n);

/**
 * pheap_calloc() - allocate an array filled with zeroes
 * @h: heap
 * @nmemb: number of elements
 * @n: size of an element
 *
 * Win32: HeapAlloc with HEAP_ZERO_MEMORY; the product is checked here.
 *
 * Return: as pheap_zalloc(); ENOSPC also when @nmemb times @n overflows.
 */
__attribute__((malloc, alloc_size(2, 3), assume_aligned(16), warn_unused_result))
void *pheap_calloc(struct pheap *h, size_t nmemb, size_t n);

/**
 * pheap_aligned_alloc() - allocate a block with a given alignment
 * @h: heap
 * @align: a power of two up to 2 MiB; less than 16 is 16
 * @n: size; it need not be a multiple of @align
 *
 * Win32: none.
 *
 * Return: as pheap_alloc(); EINVAL also for an alignment that is no power of two or above 2 MiB.
 */
__attribute__((malloc, alloc_size(3), alloc_align(2), warn_unused_result))
void *pheap_aligned_alloc(struct pheap *h, size_t align, size_t n);

/**
 * pheap_usable_size() - bytes that may be used in a block
 * @h: heap
 * @p: a live block of it
 *
 * Win32: HeapSize, which tells the requested size instead.
 *
 * Return: the usable size, at least what was asked for, or (size_t)-1 with errno set:
 *   EINVAL  bad handle, or @p is not a live block of @h
 *   and ENODEV, EACCES, EMFILE, ENFILE.
 */
size_t pheap_usable_size(struct pheap *h, const void *p);

/**
 * pheap_size() - size of a block
 * @h: heap
 * @p: a live block of it
 *
 * Only heaps created with PHEAP_CHECKED know the size that was asked for, and this version has
 * none of them: on all others the size is the usable size.
 *
 * Win32: HeapSize.
 *
 * Return: as pheap_usable_size().
 */
size_t pheap_size(struct pheap *h, const void *p);

/**
 * pheap_stat() - figures of a heap
 * @h: heap
 * @st: where to store them
 * @st_size: sizeof(*st)
 *
 * A program and a library of different versions agree by @st_size: fields that the program does
 * not know are not stored, fields that the library does not know are zero.
 *
 * Win32: HeapSummary.
 *
 * Return: 0, or -1 with errno set:
 *   EINVAL  bad handle, @st is NULL, or @st_size does not reach up to and including corruptions
 *   and ENODEV, EACCES, EMFILE, ENFILE.
 */
int pheap_stat(struct pheap *h, struct pheap_stat *st, size_t st_size);

/**
 * pheap_process_heaps() - the heaps of this process
 * @out: array for the handles, in order of creation; may be NULL if @n is 0
 * @n: handles that @out has room for
 *
 * Tells the heaps created through this library, including those whose range was unmapped by the
 * program but that were not destroyed. Heaps made by plain ioctls are not among them.
 *
 * Win32: GetProcessHeaps.
 *
 * Return: the number of heaps, which may be more than @n. Never fails; does not need the module.
 */
size_t pheap_process_heaps(struct pheap **out, size_t n);

/**
 * pheap_strerror() - what an errno of this library means
 * @err: value of errno
 *
 * Where strerror() speaks of files and quotas, this speaks of heaps: it tells apart that the
 * module is not loaded, that the device may not be opened, that the heap is full, and that memory
 * is short.
 *
 * Return: a constant text without a line end; never NULL. Async-signal-safe.
 */
__attribute__((const))
const char *pheap_strerror(int err);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* HEAPUSER_H */
