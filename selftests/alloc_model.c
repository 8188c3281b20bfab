// SPDX-License-Identifier: GPL-2.0
/*
 * The model test: random operations on several heaps at once, compared with what a plain list of
 * blocks says must be the case.
 *
 * The model knows every live block, its size and its contents, and a map of the 16-byte granules
 * that live blocks cover, so that an overlap is seen when the block is handed out, before its
 * contents are written. The figures of STAT are compared every few thousand operations, everything
 * at the end.
 *
 * PHEAP_TEST_SCALE=n runs an n-th of the operations, PHEAP_TEST_SEED=n others.
 */
#include "alloc_block.h"
#include <sys/mman.h>
#include "kselftest_harness.h"

#define NR_OPERATIONS	1500000
#define NR_HEAPS	5
#define CHECK_EVERY	4096
#define GRANULE		16
/* The part of a growable heap that the map covers; its blocks never come to lie above. */
#define MAP_BYTES	(256 * MIB)

struct model {
	struct test_heap h;
	struct block *b;	/* live blocks, in no order */
	unsigned int nr;
	unsigned int max_nr;	/* blocks that the test wants at most */
	__u64 max_bytes;	/* largest size that the test asks for */
	__u64 usable;		/* of all live blocks */
	__u64 nr_allocs, nr_frees, nr_failures, nr_bad;
	__u64 committed;	/* at the last look */
	unsigned char *map;	/* a bit per granule */
};

static const struct {
	__u64 maximum;
	unsigned int max_nr;
	__u64 max_bytes;
} kinds[NR_HEAPS] = {
	{ 64 * KIB, 600, 2000 },	/* often full */
	{ MIB, 3000, 4000 },		/* sometimes full */
	{ MIB + PAGE, 3000, 20000 },	/* the smallest heap with size classes, often full */
	{ 24 * MIB, 20000, 100000 },
	{ 0, 20000, 3000000 },
};

static bool map_range_is(const struct model *m, const struct block *b, bool set)
{
	__u64 g = (ptr_to_u64(b->p) - m->h.base) / GRANULE;
	__u64 end = g + (b->usable + GRANULE - 1) / GRANULE;

	for (; g < end; g++) {
		/* Whole bytes at a time where possible. */
		if (g % 8 == 0 && end - g >= 8) {
			if (m->map[g / 8] != (set ? 0xff : 0))
				return false;
			g += 7;
		} else if (!!(m->map[g / 8] & 1 << g % 8) != set) {
			return false;
		}
	}
	return true;
}

static void map_range_mark(struct model *m, const struct block *b, bool set)
{
	__u64 g = (ptr_to_u64(b->p) - m->h.base) / GRANULE;
	__u64 end = g + (b->usable + GRANULE - 1) / GRANULE;

	for (; g < end; g++) {
		if (g % 8 == 0 && end - g >= 8) {
			m->map[g / 8] = set ? 0xff : 0;
			g += 7;
		} else if (set) {
			m->map[g / 8] |= 1 << g % 8;
		} else {
			m->map[g / 8] &= ~(1 << g % 8);
		}
	}
}

/* Small sizes mostly, now and then one of any size up to the largest. */
static __u64 random_size(struct model *m, struct rng *rng)
{
	__u64 kind = rng_below(rng, 1000);

	if (kind < 700)
		return rng_below(rng, 130);
	if (kind < 950)
		return rng_below(rng, m->max_bytes < 1100 ? m->max_bytes : 1100);
	if (kind < 995)
		return rng_below(rng, m->max_bytes < 9000 ? m->max_bytes : 9000);
	return rng_below(rng, m->max_bytes);
}

/* The steps return NULL, or what is wrong. */

static const char *model_alloc(struct model *m, struct rng *rng)
{
	struct block *b = &m->b[m->nr];
	__u64 bytes = random_size(m, rng), align = 0;
	__u32 flags = 0;
	int r;

	if (rng_below(rng, 16) == 0)
		align = 1ULL << rng_below(rng, rng_below(rng, 16) ? 10 : 22);
	if (rng_below(rng, 16) == 0)
		flags = PHEAP_ALLOC_ZERO;
	b->tag = rng_next(rng);
	r = block_alloc_aligned(&m->h, b, bytes, align, flags);
	if (r == -ENOSPC) {
		m->nr_failures++;
		/* A heap of which at most half is in use has room for anything small. */
		if (m->usable + bytes < m->h.reserved / 2 && bytes <= 128 && align <= 64)
			return "ENOSPC of a heap that is half empty";
		return NULL;
	}
	if (r)
		return "alloc failed, or broke a promise about address or size";
	if (ptr_to_u64(b->p) + b->usable - m->h.base > MAP_BYTES)
		return "the block lies high above all that was ever in use";
	if (!map_range_is(m, b, false))
		return "the block overlaps a live one";
	if (flags & PHEAP_ALLOC_ZERO && bytes &&
	    (b->p[0] || b->p[bytes / 2] || b->p[bytes - 1] || b->p[b->usable - 1]))
		return "the block is not clear";
	map_range_mark(m, b, true);
	block_fill(b, false);
	m->usable += b->usable;
	m->nr_allocs++;
	m->nr++;
	return NULL;
}

static const char *model_free(struct model *m, struct rng *rng)
{
	unsigned int i = rng_below(rng, m->nr);
	struct block *b = &m->b[i];

	if (!block_intact(b, false))
		return "contents changed";
	if (block_free(&m->h, b))
		return "a live block cannot be freed";
	if (rng_below(rng, 64) == 0) {
		if (block_free(&m->h, b) != -EINVAL)
			return "a double free was not refused";
		m->nr_bad++;
	}
	map_range_mark(m, b, false);
	m->usable -= b->usable;
	m->nr_frees++;
	m->b[i] = m->b[--m->nr];
	return NULL;
}

static const char *model_size(struct model *m, struct rng *rng)
{
	struct block *b = &m->b[rng_below(rng, m->nr)];
	__u64 usable, inside;

	if (raw_size(m->h.fd, m->h.id, b->p, &usable) || usable != b->usable)
		return "SIZE is not what ALLOC said";
	inside = b->usable > 1 ? 1 + rng_below(rng, b->usable - 1) : 0;
	if (inside && raw_size(m->h.fd, m->h.id, b->p + inside, &usable) != -EINVAL)
		return "SIZE of an address inside a block";
	return block_intact(b, false) ? NULL : "contents changed";
}

static const char *model_stat(struct model *m)
{
	struct pheap_ioc_stat st;

	if (raw_stat(m->h.fd, m->h.id, &st))
		return "STAT failed";
	if (st.nr_blocks != m->nr || st.allocated_bytes != m->usable)
		return "STAT counts other blocks";
	if (st.nr_allocs != m->nr_allocs || st.nr_frees != m->nr_frees)
		return "STAT counts other calls";
	if (st.nr_failures != m->nr_failures || st.bad_frees != m->nr_bad)
		return "STAT counts other failures";
	if (st.committed_bytes < m->committed || st.committed_bytes < m->usable ||
	    st.committed_bytes > st.reserved_bytes || st.peak_committed_bytes != st.committed_bytes)
		return "STAT tells an impossible commit";
	m->committed = st.committed_bytes;
	return NULL;
}

/* Fills and empties in waves, so that every degree of fullness comes up. */
static const char *model_step(struct model *m, struct rng *rng, unsigned long step)
{
	bool grow = step / 40000 % 2 == 0;
	__u64 dice = rng_below(rng, 100);

	if (dice < 10 && m->nr)
		return model_size(m, rng);
	if (m->nr == m->max_nr)
		return model_free(m, rng);
	if (!m->nr || dice < (grow ? 62 : 48))
		return model_alloc(m, rng);
	return model_free(m, rng);
}

static void *zero_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

FIXTURE(model)
{
	struct rng rng;
};

FIXTURE_SETUP(model)
{
	rng_start(&self->rng);
}

FIXTURE_TEARDOWN(model)
{
}

TEST_F_TIMEOUT(model, random_operations_agree_with_a_shadow_copy, 280)
{
	unsigned long nr_operations = test_scaled(NR_OPERATIONS), step;
	static struct model models[NR_HEAPS];
	struct pheap_counters start = counters_get();
	const char *wrong = NULL;
	struct model *m = NULL;
	unsigned int i;

	for (i = 0; i < NR_HEAPS; i++) {
		m = &models[i];
		m->max_nr = kinds[i].max_nr;
		m->max_bytes = kinds[i].max_bytes;
		m->b = zero_pages((m->max_nr + 1) * sizeof(*m->b));
		m->map = zero_pages(MAP_BYTES / GRANULE / 8);
		ASSERT_NE(NULL, m->b);
		ASSERT_NE(NULL, m->map);
		ASSERT_EQ(0, heap_open(&m->h, 0, kinds[i].maximum));
	}
	for (step = 0; step < nr_operations && !wrong; step++) {
		m = &models[rng_below(&self->rng, NR_HEAPS)];
		wrong = model_step(m, &self->rng, step);
		if (!wrong && step % CHECK_EVERY == 0)
			wrong = model_stat(m);
	}
	ASSERT_EQ(NULL, wrong) {
		TH_LOG("operation %lu, heap %td: %s", step - 1, m - models, wrong);
	}
	for (i = 0; i < NR_HEAPS; i++) {
		m = &models[i];
		EXPECT_EQ(NULL, model_stat(m));
		EXPECT_TRUE(blocks_disjoint(m->b, m->nr));
		TH_LOG("heap %u: %llu allocations, %llu when full, %llu bad frees, %llu KiB", i,
		       m->nr_allocs, m->nr_failures, m->nr_bad, m->committed / 1024);
		/* One half is freed block by block, the other with the heap. */
		while (i % 2 == 0 && m->nr) {
			wrong = model_free(m, &self->rng);
			ASSERT_EQ(NULL, wrong) {
				TH_LOG("at the end, heap %u: %s", i, wrong);
			}
		}
		EXPECT_EQ(NULL, model_stat(m));
		EXPECT_EQ(0, heap_close(&m->h));
	}
	EXPECT_TRUE(counters_equal(start, counters_get()));
}

TEST_HARNESS_MAIN
