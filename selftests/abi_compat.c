// SPDX-License-Identifier: GPL-2.0
/*
 * The whole life of heaps in a program of either word size: this is built as a 64-bit and as a
 * 32-bit program, whose commands come in by the kernel's compat path.
 *
 * Invariant: everything the kernel tells is an address of this program, and no half of a 64-bit
 * field is ignored because the program's pointers are shorter.
 */
#include "abi_env.h"
#include "kselftest_harness.h"

/* More address space than the program has. */
#define TOO_MUCH	(sizeof(void *) == 8 ? 1ULL << 47 : 1ULL << 32)
/* A bit that no address of the program has. */
#define HIGH_BIT	(sizeof(void *) == 8 ? 1ULL << 62 : 1ULL << 32)

FIXTURE(compat)
{
	int fd;
};

FIXTURE_SETUP(compat)
{
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(compat)
{
	close(self->fd);
}

static bool is_own_address(__u64 addr, __u64 bytes)
{
	return addr && addr == ptr_to_u64(u64_to_ptr(addr)) && addr + bytes - 1 <= UINTPTR_MAX;
}

TEST_F(compat, life_of_a_heap)
{
	static const __u64 maxima[] = { 64 * KIB, 16 * MIB, 128 * MIB, 0 };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(maxima); i++) {
		struct pheap_list_entry entry;
		struct pheap_ioc_create c;
		struct pheap_ioc_stat st;
		__u64 usable, committed, nr = 1;
		unsigned char *p;
		void *v;

		ASSERT_EQ(0, raw_create(self->fd, 8 * KIB, maxima[i], PHEAP_COMMIT_POPULATE,
					"compat", &c)) {
			TH_LOG("maximum %llu", maxima[i]);
		}
		EXPECT_TRUE(is_own_address(c.base, c.reserved_bytes));
		EXPECT_LE(maxima[i], c.reserved_bytes);
		EXPECT_EQ(8 * KIB, c.committed_bytes);

		ASSERT_EQ(0, raw_alloc_full(self->fd, c.heap, 5000, 64, PHEAP_ALLOC_ZERO, &v,
					    &usable));
		p = v;
		EXPECT_TRUE(is_own_address(ptr_to_u64(p), usable));
		EXPECT_LE(c.base, ptr_to_u64(p));
		EXPECT_EQ(0, ptr_to_u64(p) % 64);
		EXPECT_LE(5000, usable);
		EXPECT_TRUE(bytes_are(p, 0, usable));
		memset(p, 0x33, usable);
		EXPECT_EQ(0, raw_size(self->fd, c.heap, p, &usable));
		EXPECT_LE(5000, usable);

		EXPECT_EQ(0, raw_commit(self->fd, c.heap, 60 * KIB, 0, &committed));
		EXPECT_LE(60 * KIB, committed);
		EXPECT_TRUE(bytes_are(p, 0x33, usable));

		ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
		EXPECT_EQ(c.base, st.base);
		EXPECT_EQ(c.reserved_bytes, st.reserved_bytes);
		EXPECT_EQ(committed, st.committed_bytes);
		EXPECT_EQ(usable, st.allocated_bytes);
		EXPECT_EQ(1, st.nr_blocks);

		EXPECT_EQ(0, raw_list(self->fd, &entry, &nr));
		EXPECT_EQ(1, nr);
		EXPECT_EQ(c.heap, entry.heap);
		EXPECT_EQ(c.base, entry.base);
		EXPECT_STREQ("compat", (char *)entry.name);

		EXPECT_EQ(0, raw_free(self->fd, c.heap, p));
		EXPECT_EQ(-EINVAL, raw_free(self->fd, c.heap, p));
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
		EXPECT_EQ(-ENOENT, raw_stat(self->fd, c.heap, &st));
		EXPECT_EQ(0, smaps_walk(0, c.base, c.reserved_bytes, NULL, NULL));
	}
}

TEST_F(compat, large_heap_is_touched_from_end_to_end)
{
	struct pheap_ioc_create c;
	__u64 off, usable;
	unsigned char *p;
	void *v;

	ASSERT_EQ(0, raw_create(self->fd, 0, 128 * MIB, 0, NULL, &c));
	EXPECT_EQ(0, c.base % (2 * MIB));
	ASSERT_EQ(0, raw_alloc_full(self->fd, c.heap, 48 * MIB, 0, 0, &v, &usable));
	p = v;
	EXPECT_TRUE(is_own_address(ptr_to_u64(p), usable));
	for (off = 0; off < 48 * MIB; off += PAGE)
		p[off] = off / PAGE;
	for (off = 0; off < 48 * MIB; off += PAGE)
		ASSERT_EQ((unsigned char)(off / PAGE), p[off]);
	EXPECT_EQ(0, raw_free(self->fd, c.heap, p));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
}

TEST_F(compat, sixteen_growable_heaps_have_room)
{
	struct pheap_ioc_create c;
	unsigned int i;
	void *p;

	for (i = 0; i < 16; i++) {
		ASSERT_EQ(0, raw_create(self->fd, 0, 0, 0, NULL, &c)) {
			TH_LOG("heap %u", i);
		}
		EXPECT_LE(64 * MIB, c.reserved_bytes);
		EXPECT_TRUE(is_own_address(c.base, c.reserved_bytes));
		ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 3 * MIB, &p));
		memset(p, i, 3 * MIB);
	}
	EXPECT_EQ(16, nr_heaps_own(self->fd));
}

TEST_F(compat, heap_larger_than_the_address_space_is_ENOMEM)
{
	struct pheap_ioc_create c;

	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, TOO_MUCH, 0, NULL, &c));
	EXPECT_EQ(POISON, c.heap);
	EXPECT_EQ(-ENOMEM, raw_create(self->fd, 0, TOO_MUCH + MIB, 0, NULL, &c));
	EXPECT_EQ(0, nr_heaps_own(self->fd));
}

TEST_F(compat, no_half_of_a_64_bit_field_is_ignored)
{
	struct pheap_ioc_create c;
	struct pheap_ioc_free f = { .size = sizeof(f) };
	struct pheap_ioc_size s = { .size = sizeof(s) };
	struct pheap_list_entry entry;
	struct pheap_ioc_list l = {
		.size = sizeof(l), .entries = ptr_to_u64(&entry) | HIGH_BIT, .nr_entries = 1,
		.entry_bytes = sizeof(entry),
	};
	struct pheap_group group;
	struct pheap_ioc_alloc_batch ab = {
		.size = sizeof(ab), .bytes = 40, .groups = ptr_to_u64(&group) | HIGH_BIT,
		.nr_groups = 1, .nr_blocks = 1,
	};
	__u64 addr;
	struct pheap_ioc_free_batch fb = {
		.size = sizeof(fb), .addrs = ptr_to_u64(&addr) | HIGH_BIT, .nr_addrs = 1,
	};
	struct pheap_ioc_stat st;
	void *p;

	ASSERT_EQ(0, raw_create(self->fd, 0, MIB, 0, NULL, &c));
	ASSERT_EQ(0, raw_alloc(self->fd, c.heap, 100, &p));
	addr = ptr_to_u64(p) | HIGH_BIT;
	ab.heap = c.heap;
	EXPECT_EQ(-EFAULT, raw_ioctl(self->fd, PHEAP_IOC_ALLOC_BATCH, &ab));
	fb.heap = c.heap;
	EXPECT_EQ(-EFAULT, raw_ioctl(self->fd, PHEAP_IOC_FREE_BATCH, &fb));
	fb.addrs = ptr_to_u64(&addr);
	EXPECT_EQ(0, raw_ioctl(self->fd, PHEAP_IOC_FREE_BATCH, &fb));
	EXPECT_EQ(1, fb.nr_refused);
	f.heap = c.heap;
	f.addr = ptr_to_u64(p) | HIGH_BIT;
	EXPECT_EQ(-EINVAL, raw_ioctl(self->fd, PHEAP_IOC_FREE, &f));
	s.heap = c.heap;
	s.addr = ptr_to_u64(p) | HIGH_BIT;
	EXPECT_EQ(-EINVAL, raw_ioctl(self->fd, PHEAP_IOC_SIZE, &s));
	EXPECT_EQ(-EFAULT, raw_ioctl(self->fd, PHEAP_IOC_LIST, &l));
	EXPECT_EQ(-ENOENT, raw_stat(self->fd, c.heap ^ 1ULL << 32, &st));
	EXPECT_EQ(-ENOSPC, raw_alloc(self->fd, c.heap, (1ULL << 32) + 100, &p));
	EXPECT_EQ(-ENOSPC, raw_commit(self->fd, c.heap, (1ULL << 32) + PAGE, 0, NULL));
	EXPECT_EQ(-EINVAL, raw_alloc_full(self->fd, c.heap, 100, (1ULL << 32) + 16, 0, &p, NULL));
	ASSERT_EQ(0, raw_stat(self->fd, c.heap, &st));
	EXPECT_EQ(1, st.nr_blocks);
}

TEST_HARNESS_MAIN
