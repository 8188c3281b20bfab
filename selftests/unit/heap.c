// SPDX-License-Identifier: GPL-2.0
/*
 * The heap that tests work on, and its shadow.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/limits.h>

#include "heap.h"

#define UNIT	PHEAP_MIN_ALIGN

/*
 * In front of each piece of metadata: to see that it is given back with the size it was asked with.
 */
struct meta {
	size_t bytes;
	size_t magic;
};

#define META_MAGIC	0x6d657461UL

void *pheap_meta_alloc(struct pheap_core *core, size_t bytes)
{
	struct heap *heap = (struct heap *)core;
	struct meta *meta;

	CHECK(bytes > 0);
	if (heap->fail_in && !--heap->fail_in)
		return NULL;
	meta = calloc(1, sizeof(*meta) + bytes);
	CHECK(meta);
	meta->bytes = bytes;
	meta->magic = META_MAGIC;
	heap->meta_bytes += bytes;
	heap->nr_meta++;
	return meta + 1;
}

void pheap_meta_free(struct pheap_core *core, void *mem, size_t bytes)
{
	struct heap *heap = (struct heap *)core;
	struct meta *meta = (struct meta *)mem - 1;

	CHECK(mem);
	CHECK(meta->magic == META_MAGIC);
	CHECK_CMP(meta->bytes, ==, bytes);
	heap->meta_bytes -= bytes;
	heap->nr_meta--;
	free(meta);
}

void heap_create_at(struct heap *heap, u64 base, u64 reserved, u64 limit, u64 committed)
{
	memset(heap, 0, sizeof(*heap));
	heap->base = base;
	heap->reserved = reserved;
	heap->limit = limit;
	heap->spares = true;
	heap->busy = calloc(limit / UNIT / 64 + 1, sizeof(*heap->busy));
	heap->start = calloc(limit / UNIT, sizeof(*heap->start));
	CHECK(heap->busy && heap->start);
	pheap_core_init(&heap->core, base, reserved);
	CHECK_CMP(heap->nr_meta, ==, 0);
	CHECK(heap_grow(heap, committed) == 0);
}

void heap_create(struct heap *heap, u64 reserved, u64 committed)
{
	u64 base = reserved < PHEAP_MAX_ALIGN ? HEAP_BASE_ODD : HEAP_BASE_EVEN;

	heap_create_at(heap, base, reserved, reserved, committed);
}

void heap_destroy(struct heap *heap)
{
	pheap_core_destroy(&heap->core);
	CHECK_CMP(heap->nr_meta, ==, 0);
	CHECK_CMP(heap->meta_bytes, ==, 0);
	free(heap->busy);
	free(heap->start);
	free(heap->blocks);
}

int heap_grow(struct heap *heap, u64 committed)
{
	struct pheap_core_grow grow;
	size_t nr_meta = heap->nr_meta;
	u64 old = heap_committed(heap);
	int ret;

	CHECK_CMP(committed, <=, heap->limit);
	ret = pheap_core_grow_prepare(&heap->core, &grow, committed);
	CHECK_CMP(heap_committed(heap), ==, old);
	if (ret) {
		CHECK(ret == -ENOMEM);
		CHECK_CMP(heap->nr_meta, ==, nr_meta);
		return ret;
	}
	pheap_core_grow_commit(&heap->core, &grow);
	pheap_core_grow_finish(&heap->core, &grow);
	CHECK_CMP(heap_committed(heap), ==, committed > old ? committed : old);
	return 0;
}

static u32 unit_of(const struct heap *heap, u64 addr)
{
	return (addr - heap->base) / UNIT;
}

static bool is_busy(const struct heap *heap, u32 unit)
{
	return (heap->busy[unit / 64] >> (unit % 64)) & 1;
}

/* Mark a range in the shadow, which must be the other way round entirely. */
static void mark(struct heap *heap, u64 addr, u64 bytes, bool busy)
{
	u32 unit = unit_of(heap, addr), end = unit + bytes / UNIT;

	while (unit < end) {
		u32 bits = 64 - unit % 64;
		u64 mask;

		if (bits > end - unit)
			bits = end - unit;
		mask = (~0ULL >> (64 - bits)) << (unit % 64);
		CHECK((heap->busy[unit / 64] & mask) == (busy ? 0 : mask));
		heap->busy[unit / 64] ^= mask;
		unit += bits;
	}
}

static void give_spare(struct heap *heap, u64 bytes)
{
	size_t size = pheap_core_spare_bytes(&heap->core, bytes);
	void *spare;

	if (!size || !heap->spares)
		return;
	spare = pheap_meta_alloc(&heap->core, size);
	if (!spare)
		return;
	spare = pheap_core_spare_give(&heap->core, spare);
	if (spare)
		pheap_meta_free(&heap->core, spare, size);
}

static int block_add(struct heap *heap, u64 addr, u64 bytes, u64 usable)
{
	struct block *block;

	if (heap->nr_blocks == heap->room) {
		heap->room = heap->room ? 2 * heap->room : 64;
		heap->blocks = realloc(heap->blocks, heap->room * sizeof(*heap->blocks));
		CHECK(heap->blocks);
	}
	block = &heap->blocks[heap->nr_blocks];
	block->addr = addr;
	block->bytes = bytes;
	block->usable = usable;
	heap->start[unit_of(heap, addr)] = ++heap->nr_blocks;
	heap->requested += bytes;
	heap->usable += usable;
	heap->nr_allocs++;
	return heap->nr_blocks - 1;
}

/* The core says that there is a block: it must be one, and no other may be there. */
static int block_got(struct heap *heap, u64 addr, u64 bytes, u64 align, u64 usable)
{
	u64 size;

	CHECK_CMP(addr % align, ==, 0);
	CHECK_CMP(addr, >=, heap->base);
	CHECK_CMP(usable, >=, bytes);
	CHECK_CMP(usable % UNIT, ==, 0);
	CHECK_CMP(usable, <=, heap_committed(heap));
	CHECK_CMP(addr - heap->base, <=, heap_committed(heap) - usable);
	mark(heap, addr, usable, true);
	CHECK(pheap_core_size(&heap->core, addr, &size) == 0);
	CHECK_CMP(size, ==, usable);
	return block_add(heap, addr, bytes, usable);
}

int heap_try(struct heap *heap, u64 bytes, u64 align, enum pheap_core_effort effort)
{
	u64 addr = 0xdead, usable = 0xdead;
	int ret;

	give_spare(heap, bytes);
	ret = pheap_core_alloc(&heap->core, bytes, align, effort, &addr, &usable);
	if (ret) {
		CHECK(ret == (effort == PHEAP_CORE_EASY ? -EAGAIN : -ENOSPC));
		return ret;
	}
	return block_got(heap, addr, bytes, align, usable);
}

int heap_try_batch(struct heap *heap, u64 bytes, enum pheap_core_effort effort, u32 nr_blocks,
		   u32 nr_groups)
{
	struct pheap_core_batch batch;
	u32 i, nr = 0;
	int ret;

	memset(&batch, 0xa5, sizeof(batch));
	give_spare(heap, bytes);
	ret = pheap_core_alloc_batch(&heap->core, bytes, effort, nr_blocks, nr_groups, &batch);
	if (ret) {
		CHECK(ret == (effort == PHEAP_CORE_EASY ? -EAGAIN : -ENOSPC));
		return ret;
	}
	CHECK_CMP(batch.nr_groups, >, 0);
	CHECK_CMP(batch.nr_groups, <=, nr_groups);
	for (i = 0; i < batch.nr_groups; i++) {
		const struct pheap_core_group *group = &batch.groups[i];
		u32 bit;

		CHECK(group->mask);
		for (bit = 0; bit < 64; bit++) {
			if (!((group->mask >> bit) & 1))
				continue;
			block_got(heap, group->addr + bit * batch.usable, bytes, PHEAP_MIN_ALIGN,
				  batch.usable);
			nr++;
		}
	}
	CHECK_CMP(batch.nr_blocks, ==, nr);
	CHECK_CMP(nr, >, 0);
	CHECK_CMP(nr, <=, nr_blocks);
	return nr;
}

/* What an allocation asks for. */
struct want {
	u64 bytes;
	u64 align;
	u32 nr_blocks;		/* of a batch, or 0 */
	u32 nr_groups;
};

static int attempt(struct heap *heap, const struct want *want, enum pheap_core_effort effort)
{
	if (want->nr_blocks)
		return heap_try_batch(heap, want->bytes, effort, want->nr_blocks, want->nr_groups);
	return heap_try(heap, want->bytes, want->align, effort);
}

static int alloc(struct heap *heap, const struct want *want)
{
	u64 need, target;
	int nr = attempt(heap, want, PHEAP_CORE_EASY);

	if (nr >= 0)
		return nr;
	need = pheap_core_need(&heap->core, want->bytes, want->align);
	CHECK(need == U64_MAX || need >= heap_committed(heap));
	CHECK(need == U64_MAX || need % PAGE_SIZE == 0);
	CHECK(need == U64_MAX || need <= heap->reserved);
	if (need <= heap->limit && need > heap_committed(heap)) {
		target = need;
		if (heap->extra)
			target += unit_between(&heap->random, 0, heap->extra) << PAGE_SHIFT;
		if (target > heap->limit)
			target = heap->limit;
		/* Metadata may be made to fail; then the committed part must do. */
		if (heap_grow(heap, target) == 0) {
			nr = attempt(heap, want, PHEAP_CORE_EASY);
			if (nr >= 0)
				return nr;
			/* Only a span shortened by the end of the reservation is not easy. */
			CHECK_CMP(need, ==, heap->reserved);
			nr = attempt(heap, want, PHEAP_CORE_LAST);
			CHECK(nr >= 0);
			return nr;
		}
	}
	nr = attempt(heap, want, PHEAP_CORE_LAST);
	if (nr < 0)
		heap->nr_failures++;
	return nr;
}

int heap_alloc(struct heap *heap, u64 bytes, u64 align)
{
	struct want want = { .bytes = bytes, .align = align };

	return alloc(heap, &want);
}

int heap_alloc_batch(struct heap *heap, u64 bytes, u32 nr_blocks, u32 nr_groups)
{
	struct want want = { bytes, PHEAP_MIN_ALIGN, nr_blocks, nr_groups };

	return alloc(heap, &want);
}

/* Block number @nr was freed. */
static void block_gone(struct heap *heap, u32 nr)
{
	struct block block = heap->blocks[nr], *last = &heap->blocks[heap->nr_blocks - 1];

	mark(heap, block.addr, block.usable, false);
	heap->start[unit_of(heap, last->addr)] = nr + 1;
	heap->start[unit_of(heap, block.addr)] = 0;
	heap->blocks[nr] = *last;
	heap->nr_blocks--;
	heap->requested -= block.bytes;
	heap->usable -= block.usable;
}

void heap_free(struct heap *heap, u32 nr)
{
	const struct block *block = &heap->blocks[nr];
	u64 size;

	CHECK(pheap_core_size(&heap->core, block->addr, &size) == 0);
	CHECK_CMP(size, ==, block->usable);
	CHECK(pheap_core_free(&heap->core, block->addr) == 0);
	block_gone(heap, nr);
}

void heap_free_batch(struct heap *heap, const u64 *addrs, u32 nr)
{
	u64 refused = pheap_core_free_batch(&heap->core, addrs, nr);
	u32 i;

	for (i = 0; i < nr; i++) {
		int block = addrs[i] ? heap_find(heap, addrs[i]) : -1;

		CHECK_CMP((refused >> i) & 1, ==, addrs[i] && block < 0);
		if (block >= 0)
			block_gone(heap, block);
	}
	CHECK(nr == 64 || !(refused >> nr));
}

void heap_free_all(struct heap *heap)
{
	while (heap->nr_blocks)
		heap_free(heap, heap->nr_blocks - 1);
}

/* The core has no live block any more: neither has the shadow. */
static void forget_blocks(struct heap *heap)
{
	memset(heap->busy, 0, (heap->limit / UNIT / 64 + 1) * sizeof(*heap->busy));
	memset(heap->start, 0, heap->limit / UNIT * sizeof(*heap->start));
	heap->nr_blocks = 0;
	heap->requested = 0;
	heap->usable = 0;
}

void heap_reset(struct heap *heap)
{
	u64 committed = heap_committed(heap);
	u64 last = heap->nr_blocks ? heap->blocks[heap->nr_blocks - 1].addr : 0;
	u64 bytes = 16;
	u32 end = 0;
	bool more;

	more = pheap_core_reset(&heap->core, &end);
	forget_blocks(heap);
	heap_refuse(heap, last);
	while (more) {
		CHECK_CMP(heap_committed(heap), <, committed);
		heap_check(heap);
		heap_try(heap, bytes, PHEAP_MIN_ALIGN, PHEAP_CORE_EASY);
		bytes = bytes * 3 % 50000;
		more = pheap_core_reset(&heap->core, &end);
	}
	CHECK_CMP(heap_committed(heap), ==, committed);
}

void heap_free_some(struct heap *heap, struct unit_random *random, u32 percent)
{
	u32 left = heap->nr_blocks - (u64)heap->nr_blocks * percent / 100;

	while (heap->nr_blocks > left)
		heap_free(heap, unit_between(random, 0, heap->nr_blocks - 1));
}

int heap_find(const struct heap *heap, u64 addr)
{
	if (addr - heap->base >= heap_committed(heap) || addr % UNIT)
		return -1;
	return (int)heap->start[unit_of(heap, addr)] - 1;
}

void heap_refuse(struct heap *heap, u64 addr)
{
	u64 size = 0xdead;

	CHECK(pheap_core_size(&heap->core, addr, &size) == -EINVAL);
	CHECK(pheap_core_free(&heap->core, addr) == -EINVAL);
	CHECK_CMP(size, ==, 0xdead);
}

void heap_free_addr(struct heap *heap, u64 addr)
{
	int nr = heap_find(heap, addr);

	if (nr < 0)
		heap_refuse(heap, addr);
	else
		heap_free(heap, nr);
}

bool heap_has_room(const struct heap *heap, u64 bytes, u64 align)
{
	u32 unit, end = heap_committed(heap) / UNIT, start = 0;
	u64 size = bytes ? (bytes + UNIT - 1) / UNIT * UNIT : UNIT;

	for (unit = 0; unit <= end; unit++) {
		u64 addr, stop = heap->base + (u64)unit * UNIT;

		if (unit < end && !is_busy(heap, unit))
			continue;
		addr = (heap->base + (u64)start * UNIT + align - 1) & ~(align - 1);
		if (addr <= stop && stop - addr >= size)
			return true;
		start = unit + 1;
	}
	return false;
}

void heap_check(const struct heap *heap)
{
	struct pheap_core_stats st;

	memset(&st, 0xa5, sizeof(st));
	pheap_core_stats(&heap->core, &st);
	CHECK_CMP(st.allocated_bytes, ==, heap->usable);
	CHECK_CMP(st.nr_blocks, ==, heap->nr_blocks);
	CHECK_CMP(st.nr_allocs, ==, heap->nr_allocs);
	CHECK_CMP(st.nr_frees, ==, heap->nr_allocs - heap->nr_blocks);
	CHECK(pheap_core_is_valid(&heap->core));
}

static u32 fullness(const struct heap *heap)
{
	return heap->requested * 10000 / heap->reserved;
}

u32 heap_fill(struct heap *heap, struct unit_random *random, u64 most)
{
	while (heap_alloc(heap, unit_between(random, 1, most), PHEAP_MIN_ALIGN) >= 0)
		;
	return fullness(heap);
}

struct churn heap_churn(struct heap *heap, struct unit_random *random, u64 most, u32 nr)
{
	struct churn churn = { .worst = 10000 };
	u64 sum = 0;

	while (nr--) {
		u32 now;

		if (heap->nr_blocks && unit_between(random, 1, 100) <= 48) {
			heap_free(heap, unit_between(random, 0, heap->nr_blocks - 1));
			continue;
		}
		if (heap_alloc(heap, unit_between(random, 1, most), PHEAP_MIN_ALIGN) >= 0)
			continue;
		now = fullness(heap);
		sum += now;
		churn.nr_failures++;
		if (now < churn.worst)
			churn.worst = now;
	}
	CHECK(churn.nr_failures > 0);
	churn.mean = sum / churn.nr_failures;
	return churn;
}
