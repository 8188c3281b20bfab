// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * handle.c - handles and the table of this process's heaps.
 *
 * A handle is not an address. It encodes the number of a slot in a table and the generation in
 * which that slot was filled:
 *
 *	 63  62                         17 16             0
 *	+---+-----------------------------+----------------+
 *	| 1 |         generation          |      slot      |
 *	+---+-----------------------------+----------------+
 *
 * Bit 63 makes it an address that no program can have, so a program that follows one by mistake
 * fails at once. Generations come from one counter that never goes back: a handle is never given
 * out twice (at 100,000 creates a second the counter lasts 22 years).
 *
 * Invariant: a slot's generation is nonzero exactly while its handle is valid, and its heap is
 * constant during that time. Lookup takes no lock: it reads the generation before and after the
 * heap. Slots are taken, filled and emptied under the lock.
 *
 * The table is reserved once and grows in place, so a slot never moves. It lies in memory that a
 * fork wipes: the child finds nr_ready == 0 and refuses every handle it inherited. The table
 * never touches the device.
 */
#include "internal.h"
#include "lock.h"

#include <assert.h>
#include <stdatomic.h>

#define TAG		0x8000000000000000ULL
#define SLOT_BITS	17
#define MAX_SLOTS	0x20000U
#define SLOT_MASK	(MAX_SLOTS - 1)

struct slot {
	/* Atomic, because lookup reads it without the lock; 0: no valid handle leads here. */
	atomic_ullong generation;
	/* Atomic for the same reason: the kernel's identifier. */
	atomic_ullong heap;
	/*
	 * Under the lock: neighbours in the list of live heaps, as slot + 1, 0 at the ends; next
	 * also links the unused slots.
	 */
	uint32_t prev;
	uint32_t next;
};

/* All zeroes is the empty table. */
struct table {
	struct heapuser_lock lock;
	/* Slots in accessible memory; only grows; atomic, because lookup takes no lock. */
	atomic_uint nr_ready;
	/* The rest under the lock. Slots that were ever used: those behind are fresh. */
	uint32_t nr_used;
	uint32_t nr_live;
	/* Slot + 1, or 0: unused slots, and the live heaps in order of creation. */
	uint32_t free;
	uint32_t first;
	uint32_t last;
	struct slot slots[];
};

static_assert(sizeof(void *) == 8, "handles need 64-bit pointers");
static_assert(MAX_SLOTS >> SLOT_BITS == 1, "a slot fits its bits");

/* Inherited by a fork: see internal.h. */
static atomic_uintptr_t table_word;
static atomic_ullong last_generation;

static size_t table_bytes(size_t nr_slots)
{
	size_t page = heapuser_page_bytes();

	return (sizeof(struct table) + nr_slots * sizeof(struct slot) + page - 1) / page * page;
}

/* Return: the table, or NULL if there is none yet. */
static struct table *table_peek(void)
{
	return (struct table *)atomic_load_explicit(&table_word, memory_order_acquire);
}

/* Return: the table, made on first use, or NULL. */
static struct table *table_get(void)
{
	struct table *t = table_peek();
	uintptr_t seen = 0;

	if (t)
		return t;
	t = heapuser_memory_reserve(table_bytes(MAX_SLOTS));
	if (!t)
		return NULL;
	if (heapuser_memory_commit(t, table_bytes(1))) {
		heapuser_memory_release(t, table_bytes(MAX_SLOTS));
		return NULL;
	}
	if (!atomic_compare_exchange_strong(&table_word, &seen, (uintptr_t)t)) {
		heapuser_memory_release(t, table_bytes(MAX_SLOTS));
		t = (struct table *)seen;
	}
	return t;
}

/* Makes room for more slots: a page the first time, then twice as much each time. */
static int table_grow(struct table *t, uint32_t nr_ready)
{
	size_t nr_slots = nr_ready ? 2 * (size_t)nr_ready : 1;
	size_t bytes = table_bytes(nr_slots < MAX_SLOTS ? nr_slots : MAX_SLOTS);
	int err = heapuser_memory_commit(t, bytes);

	if (err)
		return err;
	/* All that fit: the page is not quite full otherwise. */
	nr_slots = (bytes - sizeof(*t)) / sizeof(struct slot);
	atomic_store_explicit(&t->nr_ready, nr_slots < MAX_SLOTS ? nr_slots : MAX_SLOTS,
			      memory_order_release);
	return 0;
}

/**
 * heapuser_handle_reserve() - take a slot for a heap that is about to be made
 * @slot: out: the slot
 *
 * All memory that the handle needs exists afterwards: heapuser_handle_publish() cannot fail.
 *
 * Return: 0, -ENOMEM, or -EDQUOT if the table is full.
 */
int heapuser_handle_reserve(uint32_t *slot)
{
	struct table *t = table_get();
	uint32_t nr_ready;
	int err = 0;

	if (!t)
		return -ENOMEM;
	heapuser_lock(&t->lock);
	nr_ready = atomic_load_explicit(&t->nr_ready, memory_order_relaxed);
	if (t->free) {
		*slot = t->free - 1;
		t->free = t->slots[*slot].next;
	} else if (t->nr_used == MAX_SLOTS) {
		err = -EDQUOT;
	} else {
		if (t->nr_used == nr_ready)
			err = table_grow(t, nr_ready);
		if (!err) {
			*slot = t->nr_used++;
			/* Brings the page into being before the heap takes what memory there is. */
			t->slots[*slot].next = 0;
		}
	}
	heapuser_unlock(&t->lock);
	return err;
}

static void slot_free_locked(struct table *t, uint32_t slot)
{
	t->slots[slot].next = t->free;
	t->free = slot + 1;
}

/**
 * heapuser_handle_cancel() - give back a slot that was reserved
 * @slot: what heapuser_handle_reserve() told
 */
void heapuser_handle_cancel(uint32_t slot)
{
	struct table *t = table_get();

	heapuser_lock(&t->lock);
	slot_free_locked(t, slot);
	heapuser_unlock(&t->lock);
}

/**
 * heapuser_handle_publish() - make a heap known
 * @slot: what heapuser_handle_reserve() told
 * @heap: the kernel's identifier
 *
 * Return: the handle.
 */
struct pheap *heapuser_handle_publish(uint32_t slot, uint64_t heap)
{
	struct table *t = table_get();
	struct slot *s = &t->slots[slot];
	uint64_t generation;

	heapuser_lock(&t->lock);
	/* Under the lock, so that generations rise along the list of live heaps. */
	generation = atomic_fetch_add_explicit(&last_generation, 1, memory_order_relaxed) + 1;
	s->prev = t->last;
	s->next = 0;
	if (t->last)
		t->slots[t->last - 1].next = slot + 1;
	else
		t->first = slot + 1;
	t->last = slot + 1;
	t->nr_live++;
	/* Pairs with the fence in heapuser_handle_lookup(): who sees the heap misses the old. */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&s->heap, heap, memory_order_relaxed);
	atomic_store_explicit(&s->generation, generation, memory_order_release);
	heapuser_unlock(&t->lock);
	return (struct pheap *)(TAG | generation << SLOT_BITS | slot);
}

/* Return: the slot that @h names, if @h is valid now, else NULL. */
static struct slot *slot_find(struct table *t, const struct pheap *h, uint64_t *generation)
{
	uint64_t value = (uintptr_t)h;
	uint32_t slot = value & SLOT_MASK;

	*generation = (value & ~TAG) >> SLOT_BITS;
	if (!t || !(value & TAG) || !*generation)
		return NULL;
	if (slot >= atomic_load_explicit(&t->nr_ready, memory_order_acquire))
		return NULL;
	if (atomic_load_explicit(&t->slots[slot].generation, memory_order_acquire) != *generation)
		return NULL;
	return &t->slots[slot];
}

/**
 * heapuser_handle_lookup() - the heap behind a handle
 * @h: any value
 * @heap: out: the kernel's identifier
 *
 * The heap may be destroyed by another thread right after this. The kernel does not reissue
 * identifiers either, so the caller's ioctl then fails and hits no other heap.
 *
 * Return: 0, or -EINVAL if @h is not a valid handle.
 */
int heapuser_handle_lookup(const struct pheap *h, __u64 *heap)
{
	struct table *t = table_peek();
	uint64_t generation;
	struct slot *s = slot_find(t, h, &generation);

	if (!s)
		return -EINVAL;
	*heap = atomic_load_explicit(&s->heap, memory_order_relaxed);
	/* The slot may have been emptied and filled again in between. */
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&s->generation, memory_order_relaxed) != generation)
		return -EINVAL;
	return 0;
}

/**
 * heapuser_handle_retire() - end a handle
 * @h: handle; nothing happens if it is not valid any more
 */
void heapuser_handle_retire(const struct pheap *h)
{
	struct table *t = table_peek();
	uint64_t generation;
	struct slot *s;

	if (!t)
		return;
	heapuser_lock(&t->lock);
	s = slot_find(t, h, &generation);
	if (s) {
		atomic_store_explicit(&s->generation, 0, memory_order_relaxed);
		if (s->prev)
			t->slots[s->prev - 1].next = s->next;
		else
			t->first = s->next;
		if (s->next)
			t->slots[s->next - 1].prev = s->prev;
		else
			t->last = s->prev;
		t->nr_live--;
		slot_free_locked(t, s - t->slots);
	}
	heapuser_unlock(&t->lock);
}

/**
 * heapuser_handle_list() - all valid handles in order of creation
 * @out: array
 * @n: its length
 *
 * Return: how many there are.
 */
size_t heapuser_handle_list(struct pheap **out, size_t n)
{
	struct table *t = table_peek();
	size_t total, i = 0;
	uint32_t link;

	if (!t)
		return 0;
	heapuser_lock(&t->lock);
	for (link = t->first; link && i < n; link = t->slots[link - 1].next) {
		uint64_t generation = atomic_load_explicit(&t->slots[link - 1].generation,
							   memory_order_relaxed);

		out[i++] = (struct pheap *)(TAG | generation << SLOT_BITS | (link - 1));
	}
	total = t->nr_live;
	heapuser_unlock(&t->lock);
	return total;
}

/**
 * heapuser_handle_bytes() - memory of the table
 *
 * Return: its accessible bytes.
 */
size_t heapuser_handle_bytes(void)
{
	struct table *t = table_peek();

	return t ? table_bytes(atomic_load_explicit(&t->nr_ready, memory_order_relaxed)) : 0;
}
