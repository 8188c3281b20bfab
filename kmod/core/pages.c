// SPDX-License-Identifier: GPL-2.0
/*
 * The array of page descriptors of a heap of pages: chunks of 256 pages, and a table of chunks.
 *
 * Owns the memory of descriptors, mask words and list heads, and their growth; knows nothing of
 * what they say. The cost follows what is committed, never the reservation: the last chunk has room
 * for a power of two of pages from 8 up, the table begins with one embedded entry and doubles.
 *
 * Growing must not cost time under the lock. Entries of the table behind the last chunk in use are
 * nobody's but the growing task's, so new chunks go there at once; only a last chunk that is too
 * short, and a table that is too short, are replaced at commit. The copy of the table is made
 * before: its used entries change in commit only, and one growth follows the other.
 *
 * Invariants: all chunks but the last have 256 slots; entries behind nr_chunks are zero;
 * descriptors and masks behind the committed part are zero.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "pages.h"

#define MIN_SLOTS	8U

void pheap_list_add(struct pheap_core *core, u32 *head, u32 page)
{
	struct pheap_page *desc = pheap_page(core, page);
	u32 first = *head;

	if (first == PHEAP_NONE || page < first) {
		desc->prev = PHEAP_NONE;
		desc->next = first;
		*head = page;
	} else {
		struct pheap_page *front = pheap_page(core, first);

		desc->prev = first;
		desc->next = front->next;
		front->next = page;
	}
	if (desc->next != PHEAP_NONE)
		pheap_page(core, desc->next)->prev = page;
}

void pheap_list_del(struct pheap_core *core, u32 *head, u32 page)
{
	const struct pheap_page *desc = pheap_page(core, page);

	if (desc->prev == PHEAP_NONE)
		*head = desc->next;
	else
		pheap_page(core, desc->prev)->next = desc->next;
	if (desc->next != PHEAP_NONE)
		pheap_page(core, desc->next)->prev = desc->prev;
}

void pheap_lists_clear(struct pheap_lists *lists)
{
	/* All heads PHEAP_NONE. */
	memset(lists->runs, 0xff, sizeof(lists->runs));
	memset(lists->spans, 0xff, sizeof(lists->spans));
	memset(lists->empty, 0xff, sizeof(lists->empty));
	memset(lists->runs_used, 0, sizeof(lists->runs_used));
}

static size_t table_bytes(u32 slots)
{
	return (size_t)slots * sizeof(struct pheap_chunk);
}

static void chunk_free(struct pheap_core *core, struct pheap_chunk *chunk, u32 slots)
{
	if (chunk->pages)
		pheap_meta_free(core, chunk->pages, slots * sizeof(*chunk->pages));
	if (chunk->masks)
		pheap_meta_free(core, chunk->masks, slots * sizeof(*chunk->masks));
	memset(chunk, 0, sizeof(*chunk));
}

/* On failure @chunk may be half filled. */
static int chunk_alloc(struct pheap_core *core, struct pheap_chunk *chunk, u32 slots)
{
	chunk->pages = pheap_meta_alloc(core, slots * sizeof(*chunk->pages));
	if (chunk->pages)
		chunk->masks = pheap_meta_alloc(core, slots * sizeof(*chunk->masks));
	return chunk->masks ? 0 : -ENOMEM;
}

/* Room that chunk number @i of a heap with @grow->nr_chunks gets. */
static u32 chunk_slots(const struct pheap_core_grow *grow, u32 i)
{
	return i + 1 < grow->nr_chunks ? PHEAP_CHUNK_PAGES : grow->last_slots;
}

int pheap_pages_prepare(struct pheap_core *core, struct pheap_core_grow *grow)
{
	struct pheap_pages *pages = &core->pages;
	struct pheap_chunk *table = pages->table ? pages->table : &pages->first;
	u32 room = pages->table ? pages->table_slots : 1;
	u32 slots, i;
	int ret;

	grow->nr_chunks = ((grow->nr_pages - 1) >> PHEAP_CHUNK_SHIFT) + 1;
	slots = grow->nr_pages - ((grow->nr_chunks - 1) << PHEAP_CHUNK_SHIFT);
	grow->last_slots = max_t(u32, roundup_pow_of_two(slots), MIN_SLOTS);
	if (grow->nr_chunks == pages->nr_chunks)
		grow->last_slots = max(grow->last_slots, pages->last_slots);

	if (!pages->lists) {
		grow->lists = pheap_meta_alloc(core, PHEAP_LISTS_BYTES);
		if (!grow->lists)
			return -ENOMEM;
	}
	if (grow->nr_chunks > room) {
		grow->table_slots = roundup_pow_of_two(grow->nr_chunks);
		grow->table = pheap_meta_alloc(core, table_bytes(grow->table_slots));
		if (!grow->table)
			return -ENOMEM;
		memcpy(grow->table, table, table_bytes(pages->nr_chunks));
		table = grow->table;
	}
	if (pages->nr_chunks && chunk_slots(grow, pages->nr_chunks - 1) > pages->last_slots) {
		grow->slots = chunk_slots(grow, pages->nr_chunks - 1);
		ret = chunk_alloc(core, &grow->last, grow->slots);
		if (ret)
			return ret;
	}
	for (i = pages->nr_chunks; i < grow->nr_chunks; i++) {
		ret = chunk_alloc(core, &table[i], chunk_slots(grow, i));
		if (ret)
			return ret;
	}
	return 0;
}

void pheap_pages_commit(struct pheap_core *core, struct pheap_core_grow *grow)
{
	struct pheap_pages *pages = &core->pages;

	if (grow->lists) {
		pheap_lists_clear(grow->lists);
		pages->lists = grow->lists;
		pages->table = &pages->first;
		pages->table_slots = 1;
	}
	if (grow->table_slots) {
		swap(pages->table, grow->table);
		swap(pages->table_slots, grow->table_slots);
	}
	if (grow->slots) {
		struct pheap_chunk *last = &pages->table[pages->nr_chunks - 1];

		memcpy(grow->last.pages, last->pages, pages->last_slots * sizeof(*last->pages));
		memcpy(grow->last.masks, last->masks, pages->last_slots * sizeof(*last->masks));
		swap(*last, grow->last);
		grow->slots = pages->last_slots;
	}
	pages->nr_chunks = grow->nr_chunks;
	pages->last_slots = grow->last_slots;
	core->nr_pages = grow->nr_pages;
}

void pheap_pages_finish(struct pheap_core *core, struct pheap_core_grow *grow)
{
	struct pheap_pages *pages = &core->pages;

	if (!grow->committed) {
		struct pheap_chunk *table = pages->table ? pages->table : &pages->first;
		u32 room = pages->table ? pages->table_slots : 1;
		u32 i, end;

		if (grow->table) {
			table = grow->table;
			room = grow->table_slots;
		}
		end = min(grow->nr_chunks, room);
		for (i = pages->nr_chunks; i < end; i++)
			chunk_free(core, &table[i], chunk_slots(grow, i));
		if (grow->lists)
			pheap_meta_free(core, grow->lists, PHEAP_LISTS_BYTES);
	}
	if (grow->table && grow->table != &pages->first)
		pheap_meta_free(core, grow->table, table_bytes(grow->table_slots));
	chunk_free(core, &grow->last, grow->slots);
}

void pheap_pages_destroy(struct pheap_core *core)
{
	struct pheap_pages *pages = &core->pages;
	u32 i;

	for (i = 0; i < pages->nr_chunks; i++)
		chunk_free(core, &pages->table[i],
			   i + 1 < pages->nr_chunks ? PHEAP_CHUNK_PAGES : pages->last_slots);
	if (pages->table && pages->table != &pages->first)
		pheap_meta_free(core, pages->table, table_bytes(pages->table_slots));
	if (pages->lists)
		pheap_meta_free(core, pages->lists, PHEAP_LISTS_BYTES);
}
