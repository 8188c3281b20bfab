// SPDX-License-Identifier: GPL-2.0
/*
 * The ABI of /dev/pheap, rules that hold for every command: how structs of every length are taken
 * (programs built against older and newer headers), unknown flags, bad memory, and that a refused
 * call changes nothing.
 *
 * Every rule runs for every command, as variants of one fixture. What is particular to a command is
 * in abi_calls.c. Like all tests of the ABI this is also built as a 32-bit program.
 */
#include "abi_env.h"
#include <assert.h>
#include "kselftest_harness.h"

/* Sizes of the first released version: what a program built against it will pass forever. */
static_assert(sizeof(struct pheap_ioc_info) == 104, "info");
static_assert(sizeof(struct pheap_ioc_create) == 88, "create");
static_assert(sizeof(struct pheap_ioc_destroy) == 16, "destroy");
static_assert(sizeof(struct pheap_ioc_alloc) == 48, "alloc");
static_assert(sizeof(struct pheap_ioc_free) == 24, "free");
static_assert(sizeof(struct pheap_ioc_size) == 32, "size");
static_assert(sizeof(struct pheap_ioc_stat) == 112, "stat");
static_assert(sizeof(struct pheap_ioc_commit) == 32, "commit");
static_assert(sizeof(struct pheap_ioc_list) == 32, "list");
static_assert(sizeof(struct pheap_ioc_reset) == 16, "reset");
static_assert(sizeof(struct pheap_ioc_alloc_batch) == 48, "alloc batch");
static_assert(sizeof(struct pheap_ioc_free_batch) == 96, "free batch");
static_assert(sizeof(struct pheap_group) == 16, "group");
static_assert(sizeof(struct pheap_list_entry) == 64, "list entry");

/* Whether the command did what fill_valid() asked for, and nothing else. */
static bool command_took_effect(unsigned int cmd, const struct snapshot *a,
				const struct snapshot *b)
{
	switch (cmd) {
	case PHEAP_IOC_CREATE:
		return b->nr_heaps == a->nr_heaps + 1;
	case PHEAP_IOC_DESTROY:
		return b->nr_heaps == a->nr_heaps - 1 && b->stat_result == -ENOENT;
	case PHEAP_IOC_ALLOC:
		return b->stat.nr_blocks == a->stat.nr_blocks + 1;
	case PHEAP_IOC_RESET:
		return a->stat.nr_blocks == 1 && b->stat.nr_blocks == 0;
	case PHEAP_IOC_ALLOC_BATCH:
		return b->stat.nr_blocks == a->stat.nr_blocks + 5;
	case PHEAP_IOC_FREE:
	case PHEAP_IOC_FREE_BATCH:
		return b->stat.nr_blocks == a->stat.nr_blocks - 1;
	case PHEAP_IOC_COMMIT:
		return b->stat.committed_bytes > a->stat.committed_bytes;
	default:
		return snapshot_equal(a, b);
	}
}

static void set_size(void *buf, __u32 size)
{
	memcpy(buf, &size, sizeof(size));
}

static void set_flags(void *buf, __u32 flags)
{
	memcpy((char *)buf + sizeof(__u32), &flags, sizeof(flags));
}

FIXTURE(command)
{
	struct env env;
};

FIXTURE_VARIANT(command)
{
	unsigned int cmd;
	__u32 bytes;	/* first released size */
	__u32 flags;	/* every flag the command knows */
	bool writes;	/* has outputs */
};

FIXTURE_VARIANT_ADD(command, info)
{
	.cmd = PHEAP_IOC_INFO, .bytes = 104, .writes = true,
};

FIXTURE_VARIANT_ADD(command, create)
{
	.cmd = PHEAP_IOC_CREATE, .bytes = 88, .flags = PHEAP_COMMIT_POPULATE, .writes = true,
};

FIXTURE_VARIANT_ADD(command, destroy)
{
	.cmd = PHEAP_IOC_DESTROY, .bytes = 16,
};

FIXTURE_VARIANT_ADD(command, alloc)
{
	.cmd = PHEAP_IOC_ALLOC, .bytes = 48, .flags = PHEAP_ALLOC_ZERO, .writes = true,
};

FIXTURE_VARIANT_ADD(command, free)
{
	.cmd = PHEAP_IOC_FREE, .bytes = 24,
};

FIXTURE_VARIANT_ADD(command, size)
{
	.cmd = PHEAP_IOC_SIZE, .bytes = 32, .writes = true,
};

FIXTURE_VARIANT_ADD(command, stat)
{
	.cmd = PHEAP_IOC_STAT, .bytes = 112, .writes = true,
};

FIXTURE_VARIANT_ADD(command, commit)
{
	.cmd = PHEAP_IOC_COMMIT, .bytes = 32, .flags = PHEAP_COMMIT_POPULATE, .writes = true,
};

FIXTURE_VARIANT_ADD(command, list)
{
	.cmd = PHEAP_IOC_LIST, .bytes = 32, .writes = true,
};

FIXTURE_VARIANT_ADD(command, reset)
{
	.cmd = PHEAP_IOC_RESET, .bytes = 16,
};

FIXTURE_VARIANT_ADD(command, alloc_batch)
{
	.cmd = PHEAP_IOC_ALLOC_BATCH, .bytes = 48, .writes = true,
};

FIXTURE_VARIANT_ADD(command, free_batch)
{
	.cmd = PHEAP_IOC_FREE_BATCH, .bytes = 96, .writes = true,
};

FIXTURE_SETUP(command)
{
	ASSERT_EQ(0, env_setup(&self->env));
}

FIXTURE_TEARDOWN(command)
{
	close(self->env.fd);
}

TEST_F(command, shorter_than_first_version_is_EINVAL)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	__u32 size;

	for (size = 0; size < variant->bytes; size++) {
		fill_valid(e, variant->cmd, e->area);
		set_size(e->area, size);
		EXPECT_EQ(-EINVAL, raw_ioctl(e->fd, variant->cmd, e->area)) {
			TH_LOG("size %u", size);
		}
	}
	after = snapshot_take(e);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(command, first_version_works_and_nothing_beyond_it_is_accessed)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	/* The byte behind the struct is in the page that cannot be read. */
	char *p = e->area + AREA_BYTES - variant->bytes;

	memset(e->area, POISON_BYTE, AREA_BYTES);
	fill_valid(e, variant->cmd, p);
	EXPECT_EQ(0, raw_ioctl(e->fd, variant->cmd, p));
	after = snapshot_take(e);
	EXPECT_TRUE(command_took_effect(variant->cmd, &before, &after));
	EXPECT_TRUE(bytes_are(e->area, POISON_BYTE, p - e->area));
}

static int longer_call(struct env *e, unsigned int cmd, __u32 known, __u32 size, long nonzero_at)
{
	memset(e->area, 0, size);
	memset(e->area + size, POISON_BYTE, AREA_BYTES - size);
	fill_valid(e, cmd, e->area);
	memset(e->area + known, 0, size - known);
	set_size(e->area, size);
	if (nonzero_at >= 0)
		e->area[nonzero_at] = 1;
	return raw_ioctl(e->fd, cmd, e->area);
}

TEST_F(command, newer_struct_with_zero_tail_works_and_tail_stays_zero)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	__u32 size = variant->bytes + 24;

	EXPECT_EQ(0, longer_call(e, variant->cmd, variant->bytes, size, -1));
	after = snapshot_take(e);
	EXPECT_TRUE(command_took_effect(variant->cmd, &before, &after));
	EXPECT_TRUE(bytes_are(e->area + variant->bytes, 0, size - variant->bytes));
	EXPECT_TRUE(bytes_are(e->area + size, POISON_BYTE, AREA_BYTES - size));
}

TEST_F(command, struct_one_byte_longer_works)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;

	EXPECT_EQ(0, longer_call(e, variant->cmd, variant->bytes, variant->bytes + 1, -1));
	after = snapshot_take(e);
	EXPECT_TRUE(command_took_effect(variant->cmd, &before, &after));
	EXPECT_EQ(0, e->area[variant->bytes]);
}

TEST_F(command, struct_of_a_page_works)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;

	EXPECT_EQ(0, longer_call(e, variant->cmd, variant->bytes, PAGE, -1));
	after = snapshot_take(e);
	EXPECT_TRUE(command_took_effect(variant->cmd, &before, &after));
	EXPECT_TRUE(bytes_are(e->area + variant->bytes, 0, PAGE - variant->bytes));
	EXPECT_TRUE(bytes_are(e->area + PAGE, POISON_BYTE, AREA_BYTES - PAGE));
}

TEST_F(command, nonzero_tail_is_E2BIG_wherever_it_is)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	__u32 b = variant->bytes;

	EXPECT_EQ(-E2BIG, longer_call(e, variant->cmd, b, b + 1, b));
	EXPECT_EQ(-E2BIG, longer_call(e, variant->cmd, b, b + 8, b));
	EXPECT_EQ(-E2BIG, longer_call(e, variant->cmd, b, b + 8, b + 7));
	EXPECT_EQ(-E2BIG, longer_call(e, variant->cmd, b, PAGE, b + 1));
	EXPECT_EQ(-E2BIG, longer_call(e, variant->cmd, b, PAGE, PAGE - 1));
	after = snapshot_take(e);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(command, longer_than_a_page_is_E2BIG)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;

	EXPECT_EQ(-E2BIG, longer_call(e, variant->cmd, variant->bytes, PAGE + 1, -1));
	EXPECT_EQ(-E2BIG, longer_call(e, variant->cmd, variant->bytes, 2 * PAGE, -1));
	fill_valid(e, variant->cmd, e->area);
	set_size(e->area, UINT32_MAX);
	EXPECT_EQ(-E2BIG, raw_ioctl(e->fd, variant->cmd, e->area));
	after = snapshot_take(e);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(command, every_unknown_flag_is_EOPNOTSUPP)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		if (variant->flags & (1U << bit))
			continue;
		fill_valid(e, variant->cmd, e->area);
		set_flags(e->area, variant->flags | 1U << bit);
		EXPECT_EQ(-EOPNOTSUPP, raw_ioctl(e->fd, variant->cmd, e->area)) {
			TH_LOG("flag bit %u", bit);
		}
	}
	after = snapshot_take(e);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(command, known_flags_work)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;

	fill_valid(e, variant->cmd, e->area);
	set_flags(e->area, variant->flags);
	EXPECT_EQ(0, raw_ioctl(e->fd, variant->cmd, e->area));
	after = snapshot_take(e);
	EXPECT_TRUE(command_took_effect(variant->cmd, &before, &after));
}

TEST_F(command, unaligned_struct_works)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;

	memset(e->area, POISON_BYTE, AREA_BYTES);
	fill_valid(e, variant->cmd, e->area + 3);
	EXPECT_EQ(0, raw_ioctl(e->fd, variant->cmd, e->area + 3));
	after = snapshot_take(e);
	EXPECT_TRUE(command_took_effect(variant->cmd, &before, &after));
	EXPECT_TRUE(bytes_are(e->area, POISON_BYTE, 3));
	EXPECT_TRUE(bytes_are(e->area + 3 + variant->bytes, POISON_BYTE, 64));
}

TEST_F(command, unreadable_struct_is_EFAULT)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	void *bad[] = {
		NULL,
		(void *)1,
		e->area + AREA_BYTES,			/* no access */
		u64_to_ptr(0xffff888000000000),		/* the kernel's */
		u64_to_ptr(0x8000000000000000),		/* not an address at all */
		(void *)-1L,
	};
	unsigned int i;
	char *p;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		EXPECT_EQ(-EFAULT, raw_ioctl(e->fd, variant->cmd, bad[i])) {
			TH_LOG("pointer %p", bad[i]);
		}
	}
	/* Its size can be read, its last eight bytes cannot. */
	p = e->area + AREA_BYTES - variant->bytes + 8;
	fill_valid(e, variant->cmd, e->area);
	memmove(p, e->area, variant->bytes - 8);
	EXPECT_EQ(-EFAULT, raw_ioctl(e->fd, variant->cmd, p));
	after = snapshot_take(e);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(command, unreadable_tail_of_newer_struct_is_EFAULT)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	char *p = e->area + AREA_BYTES - variant->bytes;

	fill_valid(e, variant->cmd, p);
	set_size(p, variant->bytes + 8);
	EXPECT_EQ(-EFAULT, raw_ioctl(e->fd, variant->cmd, p));
	after = snapshot_take(e);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(command, read_only_struct_is_EFAULT_and_leaves_nothing_or_works_without_outputs)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	int r;

	fill_valid(e, variant->cmd, e->area);
	ASSERT_EQ(0, mprotect(e->area, PAGE, PROT_READ));
	r = raw_ioctl(e->fd, variant->cmd, e->area);
	after = snapshot_take(e);
	if (!variant->writes) {
		EXPECT_EQ(0, r);
		EXPECT_TRUE(command_took_effect(variant->cmd, &before, &after));
		return;
	}
	EXPECT_EQ(-EFAULT, r);
	EXPECT_EQ(before.nr_heaps, after.nr_heaps);
	EXPECT_EQ(0, after.stat_result);
	EXPECT_EQ(before.stat.nr_blocks, after.stat.nr_blocks);
	EXPECT_EQ(before.stat.allocated_bytes, after.stat.allocated_bytes);
	EXPECT_EQ(before.stat.bad_frees, after.stat.bad_frees);
	EXPECT_EQ(before.stat.nr_failures, after.stat.nr_failures);
}

TEST_HARNESS_MAIN
