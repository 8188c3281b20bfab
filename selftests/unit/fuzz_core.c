// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer target: the input is the shape of a heap and a sequence of operations on it, each
 * checked against the shadow.
 */
#include "heap.h"

/* The name that libFuzzer calls. */
int fuzz_one_input(const u8 *data, size_t size) __asm__("LLVMFuzzerTestOneInput");

#define KIB	1024ULL
#define MIB	(1024 * KIB)

struct input {
	const u8 *data;
	size_t left;
};

/* The next @bytes as a number; zeroes when the input is at its end. */
static u64 next(struct input *in, u32 bytes)
{
	u64 number = 0;

	while (bytes-- && in->left) {
		number = number << 8 | *in->data++;
		in->left--;
	}
	return number;
}

static u64 next_size(struct input *in)
{
	u64 kind = next(in, 1);

	if (kind < 128)
		return next(in, 1) << (kind & 3);
	if (kind < 224)
		return next(in, 2);
	return next(in, 3 + (kind & 1) * 4);
}

static u64 next_align(struct input *in)
{
	u64 kind = next(in, 1);

	return PHEAP_MIN_ALIGN << (kind < 192 ? 0 : kind % 18);
}

static u64 next_addr(struct input *in, const struct heap *heap)
{
	u64 kind = next(in, 1);

	if (kind < 128 && heap->nr_blocks) {
		u64 addr = heap->blocks[next(in, 2) % heap->nr_blocks].addr;

		return addr + next(in, kind < 64 ? 1 : 2) * PHEAP_MIN_ALIGN;
	}
	if (kind < 250)
		return heap->base + next(in, 3);
	return next(in, 8);
}

static void operate(struct heap *heap, struct input *in)
{
	u64 op = next(in, 1), addrs[64];
	u32 repeat, i;

	switch (op % 10) {
	case 0:
	case 1:
		heap_alloc(heap, next_size(in), next_align(in));
		break;
	case 2:
	case 3:
		if (heap->nr_blocks)
			heap_free(heap, next(in, 2) % heap->nr_blocks);
		break;
	case 4:
		heap_free_addr(heap, next_addr(in, heap));
		break;
	case 5: {
		/* Many alike, as programs do. */
		u64 bytes = next_size(in);

		for (repeat = op / 8; repeat; repeat--)
			if (heap_alloc(heap, bytes, PHEAP_MIN_ALIGN) < 0)
				break;
		break;
	}
	case 6:
		for (repeat = op / 8 * 4; repeat && heap->nr_blocks; repeat--)
			heap_free(heap, repeat * op % heap->nr_blocks);
		break;
	case 7: {
		u64 pages = heap->core.nr_pages + op / 8;

		heap->fail_in = next(in, 1) % 8;
		if (pages << PAGE_SHIFT <= heap->limit)
			heap_grow(heap, pages << PAGE_SHIFT);
		heap->fail_in = 0;
		heap->spares = op & 8;
		if (op / 8 == 31)
			heap_reset(heap);
		break;
	}
	case 8: {
		u64 bytes = next_size(in);
		u32 nr = next(in, 2) % 512 + 1;

		heap_alloc_batch(heap, bytes, nr, next(in, 1) % 64 + 1);
		break;
	}
	case 9:
		for (i = 0; i < 1 + op / 10 * 2; i++)
			addrs[i] = next(in, 1) ? next_addr(in, heap) : 0;
		heap_free_batch(heap, addrs, i);
		break;
	}
}

int fuzz_one_input(const u8 *data, size_t size)
{
	static const u64 reservations[] = {
		PAGE_SIZE, 20 * KIB, 256 * KIB, MIB, MIB + PAGE_SIZE, 3 * MIB, 8 * MIB
	};
	struct input in = { data, size };
	struct heap heap;
	u64 shape = next(&in, 1);
	u64 reserved = reservations[shape % 7];
	u64 limit = reserved;

	/* Growth that the machine refuses. */
	if (shape & 128 && limit > 2 * MIB)
		limit /= 2;
	heap_create_at(&heap, shape & 64 ? HEAP_BASE_ODD : HEAP_BASE_EVEN, reserved, limit,
		       PAGE_SIZE);
	heap.extra = shape / 7 % 4;
	while (in.left)
		operate(&heap, &in);
	heap_check(&heap);
	heap_free_all(&heap);
	heap_check(&heap);
	CHECK(heap_alloc(&heap, heap_committed(&heap), PHEAP_MIN_ALIGN) >= 0);
	heap_destroy(&heap);
	return 0;
}
