/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the allocator share: a heap and its blocks as the test knows them, and patterns
 * that prove that a block's contents are its own.
 *
 * Rule: block_alloc() returns 0 only for a block that keeps every promise about its address and
 * size; -EBADMSG says that the kernel returned success but broke one.
 */
#ifndef _PHEAP_ALLOC_BLOCK_H
#define _PHEAP_ALLOC_BLOCK_H

#include "pheap_test.h"

#define MIN_ALIGN	16

struct test_heap {
	int fd;
	__u64 id;
	__u64 base;
	__u64 reserved;
};

struct block {
	unsigned char *p;
	__u64 bytes;	/* requested */
	__u64 usable;
	__u64 tag;	/* what its contents are made of */
};

static inline int heap_open(struct test_heap *h, __u64 initial, __u64 maximum)
{
	struct pheap_ioc_create c;
	int r;

	h->fd = device_open();
	if (h->fd < 0)
		return h->fd;
	r = raw_create(h->fd, initial, maximum, 0, NULL, &c);
	h->id = c.heap;
	h->base = c.base;
	h->reserved = c.reserved_bytes;
	return r;
}

static inline int heap_close(struct test_heap *h)
{
	int r = raw_destroy(h->fd, h->id);

	close(h->fd);
	return r;
}

static inline __u64 block_word(__u64 tag, __u64 offset)
{
	return (tag + offset) * 0x9E3779B97F4A7C15ULL;
}

/*
 * Offset behind @offset of the next word of the pattern. Dense: every word. Sparse: every word of
 * the first 128 bytes, one in 512 after that; the last word always comes, the end of a block is
 * where neighbours meet.
 */
static inline __u64 block_next_word(const struct block *b, __u64 offset, bool dense)
{
	__u64 next = dense || offset < 128 ? offset + 8 : offset + 512;
	__u64 last = b->bytes - 8;

	if (next > last && offset < last)
		return last;
	return next;
}

static inline void block_fill(const struct block *b, bool dense)
{
	__u64 off, word;

	if (b->bytes < 8) {
		memset(b->p, b->tag & 0xff, b->bytes);
		return;
	}
	for (off = 0; off <= b->bytes - 8; off = block_next_word(b, off, dense)) {
		word = block_word(b->tag, off);
		memcpy(b->p + off, &word, sizeof(word));
	}
	/* The last word may have covered part of the one before it. */
	word = block_word(b->tag, b->bytes - 8);
	memcpy(b->p + b->bytes - 8, &word, sizeof(word));
}

static inline bool block_intact(const struct block *b, bool dense)
{
	__u64 off, word, i;

	if (b->bytes < 8) {
		for (i = 0; i < b->bytes; i++)
			if (b->p[i] != (b->tag & 0xff))
				return false;
		return true;
	}
	for (off = 0; off <= b->bytes - 8; off = block_next_word(b, off, dense)) {
		/* Words that the last one overlaps cannot be compared whole. */
		if (off != b->bytes - 8 && off + 8 > b->bytes - 8)
			continue;
		memcpy(&word, b->p + off, sizeof(word));
		if (word != block_word(b->tag, off))
			return false;
	}
	return true;
}

static inline bool block_promises_kept(const struct test_heap *h, const struct block *b,
				       __u64 align)
{
	__u64 addr = ptr_to_u64(b->p);

	if (align < MIN_ALIGN)
		align = MIN_ALIGN;
	return addr && addr % align == 0 && addr >= h->base && b->usable >= b->bytes &&
	       b->usable <= h->reserved && addr - h->base <= h->reserved - b->usable;
}

static inline int block_alloc_aligned(const struct test_heap *h, struct block *b, __u64 bytes,
				      __u64 align, __u32 flags)
{
	void *p;
	int r;

	b->bytes = bytes;
	r = raw_alloc_full(h->fd, h->id, bytes, align, flags, &p, &b->usable);
	b->p = p;
	if (!r && !block_promises_kept(h, b, align))
		return -EBADMSG;
	return r;
}

static inline int block_alloc(const struct test_heap *h, struct block *b, __u64 bytes)
{
	return block_alloc_aligned(h, b, bytes, 0, 0);
}

static inline int block_free(const struct test_heap *h, const struct block *b)
{
	return raw_free(h->fd, h->id, b->p);
}

static inline int block_by_address(const void *x, const void *y)
{
	const struct block *a = x, *b = y;

	return a->p < b->p ? -1 : a->p > b->p;
}

/* Sorts the blocks by address; a block of size 0 takes at least a byte of its own. */
static inline bool blocks_disjoint(struct block *b, size_t nr)
{
	size_t i;

	qsort(b, nr, sizeof(*b), block_by_address);
	for (i = 1; i < nr; i++)
		if (b[i - 1].p + (b[i - 1].usable ?: 1) > b[i].p)
			return false;
	return true;
}

/* What STAT must say when exactly these blocks live. */
static inline bool stat_agrees(const struct test_heap *h, __u64 nr_blocks, __u64 usable)
{
	struct pheap_ioc_stat st;

	return !raw_stat(h->fd, h->id, &st) && st.nr_blocks == nr_blocks &&
	       st.allocated_bytes == usable && st.nr_allocs - st.nr_frees == nr_blocks &&
	       st.allocated_bytes <= st.committed_bytes &&
	       st.committed_bytes <= st.reserved_bytes &&
	       st.peak_committed_bytes == st.committed_bytes;
}

#endif /* _PHEAP_ALLOC_BLOCK_H */
