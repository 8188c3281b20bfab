/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Size classes of blocks.
 *
 * 16-byte steps up to 128 bytes, then eight classes per doubling up to 15 KiB: a block is at most
 * 12.5 % larger than what was asked for (above 128 bytes; 4 % on average), and all sizes are
 * multiples of 16. Larger blocks are runs of pages, and so are those of just below 16 KiB: four
 * blocks of the next class would be a span of 16 pages. Between 8 and 15 KiB rounding to pages
 * would waste up to a third: with classes there, heaps filled with sizes up to 20,000 bytes hold 3
 * to 4 % more at the first failure.
 *
 * A class has two lengths of span. The usual one wastes at most a 64th at its end and has four
 * blocks or more, but not many more than that makes necessary, so that a heap which uses many
 * classes does not commit much for each. The small one is the shortest that wastes at most an
 * eighth; a heap which lacks free runs of the usual length may use any length from there on.
 *
 * Classes below PHEAP_INLINE_BYTES have more than 64 blocks per page, so their bitmap does not fit
 * into the mask words of the span's pages and is allocated: their spans are as long as makes it
 * PHEAP_BITMAP_BYTES.
 */
#ifndef _PHEAP_CLASSES_H
#define _PHEAP_CLASSES_H

#include <linux/bitops.h>
#include <linux/types.h>

#define PHEAP_NR_CLASSES	63
/* Size of the largest class. */
#define PHEAP_MAX_BLOCK		15360U
/* Longest span of any class in pages. */
#define PHEAP_MAX_SPAN		15U
/* The smallest class whose bitmap lies in the mask words, and its number. */
#define PHEAP_INLINE_BYTES	64U
#define PHEAP_INLINE_CLASS	3U
/* A bitmap of a span of a smaller class. */
#define PHEAP_BITMAP_BYTES	128U

/**
 * struct pheap_class - one size class
 * @bytes: size of its blocks
 * @fullness: free blocks times this, divided by 65536, is the number of the list that a span
 *	belongs to
 * @pages: usual length of its spans
 * @small_pages: shortest length that does not waste much
 * @reciprocal: offset times this, divided by 2^32, is offset divided by @bytes; exact for all
 *	offsets in a span
 */
struct pheap_class {
	u16 bytes;
	u16 fullness;
	u8 pages;
	u8 small_pages;
	u32 reciprocal;
};

extern const struct pheap_class pheap_classes[PHEAP_NR_CLASSES];

/**
 * pheap_class_of() - the smallest class for a size
 * @bytes: size, at most PHEAP_MAX_BLOCK
 *
 * Return: Number of the class.
 */
static inline u32 pheap_class_of(u32 bytes)
{
	u32 shift;

	if (bytes <= 128)
		return bytes ? (bytes - 1) / 16 : 0;
	/*
	 * The three bits behind the leading one of bytes - 1 tell the step inside of the doubling.
	 */
	shift = fls(bytes - 1) - 4;
	return (shift - 4) * 8 + ((bytes - 1) >> shift);
}

#endif /* _PHEAP_CLASSES_H */
