// SPDX-License-Identifier: GPL-2.0
/*
 * The ABI of /dev/pheap: LIST, and the names of heaps.
 */
#include "abi_env.h"
#include "kselftest_harness.h"

FIXTURE(list)
{
	struct env env;
	int fd;
};

FIXTURE_SETUP(list)
{
	ASSERT_EQ(0, env_setup(&self->env));
	self->fd = self->env.fd;
}

FIXTURE_TEARDOWN(list)
{
	close(self->fd);
}

TEST_F(list, process_without_heaps_lists_none)
{
	__u64 nr = 0;

	ASSERT_EQ(0, raw_destroy(self->fd, self->env.heap));
	EXPECT_EQ(0, raw_list(self->fd, NULL, &nr));
	EXPECT_EQ(0, nr);
	nr = ARRAY_LEN(self->env.entries);
	EXPECT_EQ(0, raw_list(self->fd, self->env.entries, &nr));
	EXPECT_EQ(0, nr);
	EXPECT_TRUE(bytes_are(self->env.entries, POISON_BYTE, sizeof(self->env.entries)));
}

TEST_F(list, list_is_in_order_of_creation)
{
	static const char * const names[] = { "one", "", "three" };
	struct pheap_ioc_create c[3];
	struct pheap_list_entry entries[6];
	__u64 nr = ARRAY_LEN(entries);
	int i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, raw_create(self->fd, i * PAGE, (i + 9) * PAGE, 0, names[i], &c[i]));
	ASSERT_EQ(0, raw_list(self->fd, entries, &nr));
	ASSERT_EQ(4, nr);
	EXPECT_EQ(self->env.heap, entries[0].heap);
	for (i = 0; i < 3; i++) {
		char name[PHEAP_NAME_BYTES] = "";

		memcpy(name, names[i], strlen(names[i]));
		EXPECT_EQ(c[i].heap, entries[i + 1].heap);
		EXPECT_EQ(c[i].base, entries[i + 1].base);
		EXPECT_EQ(c[i].reserved_bytes, entries[i + 1].reserved_bytes);
		EXPECT_EQ(c[i].committed_bytes, entries[i + 1].committed_bytes);
		EXPECT_EQ(0, memcmp(name, entries[i + 1].name, sizeof(name)));
	}
	EXPECT_TRUE(bytes_are(&entries[4], POISON_BYTE, 2 * sizeof(entries[0])));

	ASSERT_EQ(0, raw_destroy(self->fd, c[1].heap));
	nr = ARRAY_LEN(entries);
	ASSERT_EQ(0, raw_list(self->fd, entries, &nr));
	ASSERT_EQ(3, nr);
	EXPECT_EQ(c[0].heap, entries[1].heap);
	EXPECT_EQ(c[2].heap, entries[2].heap);
}

TEST_F(list, list_into_a_short_array_is_EMSGSIZE_with_the_count)
{
	struct pheap_list_entry entries[4];
	struct pheap_ioc_create c;
	__u64 nr = 0;

	ASSERT_EQ(0, raw_create(self->fd, 0, PAGE, 0, NULL, &c));
	EXPECT_EQ(-EMSGSIZE, raw_list(self->fd, NULL, &nr));
	EXPECT_EQ(2, nr);
	memset(entries, POISON_BYTE, sizeof(entries));
	nr = 1;
	EXPECT_EQ(-EMSGSIZE, raw_list(self->fd, entries, &nr));
	EXPECT_EQ(2, nr);
	EXPECT_EQ(self->env.heap, entries[0].heap);
	EXPECT_TRUE(bytes_are(&entries[1], POISON_BYTE, sizeof(entries[0])));
	EXPECT_EQ(0, raw_list(self->fd, entries, &nr));
	EXPECT_EQ(c.heap, entries[1].heap);
}

TEST_F(list, list_keeps_the_callers_distance_of_entries)
{
	static const __u32 good[] = { 64, 65, 72, 128, PAGE };
	struct pheap_ioc_create c;
	char *area = self->env.area;
	unsigned int i;

	ASSERT_EQ(0, raw_create(self->fd, 0, PAGE, 0, "second", &c));
	for (i = 0; i < ARRAY_LEN(good); i++) {
		struct pheap_list_entry e[2];
		struct pheap_ioc_list l = {
			.size = sizeof(l), .entries = ptr_to_u64(area), .nr_entries = 2,
			.entry_bytes = good[i],
		};

		memset(area, POISON_BYTE, AREA_BYTES);
		EXPECT_EQ(0, raw_ioctl(self->fd, PHEAP_IOC_LIST, &l)) {
			TH_LOG("entry_bytes %u", good[i]);
		}
		EXPECT_EQ(2, l.nr_entries);
		memcpy(&e[0], area, sizeof(e[0]));
		memcpy(&e[1], area + good[i], sizeof(e[1]));
		EXPECT_EQ(self->env.heap, e[0].heap);
		EXPECT_EQ(c.heap, e[1].heap);
		EXPECT_STREQ("second", (char *)e[1].name);
		EXPECT_TRUE(bytes_are(area + 64, 0, good[i] - 64));
		EXPECT_TRUE(bytes_are(area + good[i] + 64, 0, good[i] - 64));
		EXPECT_TRUE(bytes_are(area + 2 * good[i], POISON_BYTE, PAGE));
	}
}

TEST_F(list, list_with_a_bad_entry_size_is_EINVAL)
{
	static const __u32 bad[] = { 0, 1, 8, 63, PAGE + 1, UINT32_MAX };
	struct env *e = &self->env;
	struct pheap_ioc_list l;
	unsigned int i;

	memset(e->entries, POISON_BYTE, sizeof(e->entries));
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		fill_valid(e, PHEAP_IOC_LIST, &l);
		l.entry_bytes = bad[i];
		EXPECT_EQ(-EINVAL, raw_ioctl(self->fd, PHEAP_IOC_LIST, &l)) {
			TH_LOG("entry_bytes %u", bad[i]);
		}
	}
	EXPECT_TRUE(bytes_are(e->entries, POISON_BYTE, sizeof(e->entries)));
}

TEST_F(list, list_with_reserved_not_zero_is_EINVAL)
{
	struct env *e = &self->env;
	struct pheap_ioc_list l;
	unsigned int bit;

	memset(e->entries, POISON_BYTE, sizeof(e->entries));
	for (bit = 0; bit < 32; bit += 31) {
		fill_valid(e, PHEAP_IOC_LIST, &l);
		l.reserved = 1U << bit;
		EXPECT_EQ(-EINVAL, raw_ioctl(self->fd, PHEAP_IOC_LIST, &l));
	}
	EXPECT_TRUE(bytes_are(e->entries, POISON_BYTE, sizeof(e->entries)));
}

TEST_F(list, list_into_bad_memory_is_EFAULT)
{
	struct env *e = &self->env;
	struct snapshot before = snapshot_take(e), after;
	struct pheap_ioc_list l;
	__u64 bad[6];
	unsigned int i;

	ASSERT_EQ(0, mprotect(e->area, PAGE, PROT_READ));
	bad[0] = 0;
	bad[1] = ptr_to_u64(e->area);				/* read-only */
	bad[2] = ptr_to_u64(e->area + AREA_BYTES - 8);		/* ends too early */
	bad[3] = 0xffff888000000000ULL;
	bad[4] = 1ULL << 63;
	bad[5] = UINT64_MAX - 7;
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		fill_valid(e, PHEAP_IOC_LIST, &l);
		l.entries = bad[i];
		EXPECT_EQ(-EFAULT, raw_ioctl(self->fd, PHEAP_IOC_LIST, &l)) {
			TH_LOG("entries %#llx", bad[i]);
		}
	}
	after = snapshot_take(e);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(list, list_takes_any_number_of_entries_and_any_address)
{
	struct env *e = &self->env;
	struct pheap_list_entry first;
	struct pheap_ioc_list l;

	fill_valid(e, PHEAP_IOC_LIST, &l);
	l.nr_entries = UINT64_MAX;
	EXPECT_EQ(0, raw_ioctl(self->fd, PHEAP_IOC_LIST, &l));
	EXPECT_EQ(1, l.nr_entries);
	EXPECT_EQ(e->heap, e->entries[0].heap);

	fill_valid(e, PHEAP_IOC_LIST, &l);
	l.nr_entries = 1ULL << 58;
	l.entries = ptr_to_u64(e->area + 1);
	EXPECT_EQ(0, raw_ioctl(self->fd, PHEAP_IOC_LIST, &l));
	EXPECT_EQ(1, l.nr_entries);
	memcpy(&first, e->area + 1, sizeof(first));
	EXPECT_EQ(e->heap, first.heap);
}

TEST_F(list, name_of_one_character_follows_the_rule)
{
	struct snapshot before = snapshot_take(&self->env), after;
	struct pheap_ioc_create c;
	unsigned int ch;

	for (ch = 1; ch < 256; ch++) {
		char name[2] = { ch, 0 };
		bool good = ch >= 0x20 && ch < 0x7f && !strchr("/\\[]", ch);
		int r = raw_create(self->fd, 0, PAGE, 0, name, &c);

		EXPECT_EQ(good ? 0 : -EINVAL, r) {
			TH_LOG("character %#x", ch);
		}
		if (!r)
			EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	}
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

static int create_named_bytes(int fd, const void *name, struct pheap_ioc_create *c)
{
	memset(c, POISON_BYTE, sizeof(*c));
	c->size = sizeof(*c);
	c->flags = 0;
	c->initial_bytes = 0;
	c->maximum_bytes = PAGE;
	memcpy(c->name, name, sizeof(c->name));
	return raw_ioctl(fd, PHEAP_IOC_CREATE, c);
}

TEST_F(list, longest_name_works)
{
	struct pheap_list_entry entries[2];
	struct pheap_ioc_create c;
	__u64 nr = 2;

	ASSERT_EQ(0, raw_create(self->fd, 0, PAGE, 0, "1234567890123456789012345678901", &c));
	ASSERT_EQ(0, raw_list(self->fd, entries, &nr));
	EXPECT_STREQ("1234567890123456789012345678901", (char *)entries[1].name);
}

TEST_F(list, name_without_terminator_is_EINVAL)
{
	struct snapshot before = snapshot_take(&self->env), after;
	char name[PHEAP_NAME_BYTES];
	struct pheap_ioc_create c;

	memset(name, 'a', sizeof(name));
	EXPECT_EQ(-EINVAL, create_named_bytes(self->fd, name, &c));
	EXPECT_EQ(POISON, c.heap);
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(list, name_with_garbage_behind_the_terminator_is_EINVAL)
{
	struct snapshot before = snapshot_take(&self->env), after;
	char name[PHEAP_NAME_BYTES] = "name";
	struct pheap_ioc_create c;

	name[5] = 'x';
	EXPECT_EQ(-EINVAL, create_named_bytes(self->fd, name, &c));
	name[5] = 0;
	name[31] = 'x';
	EXPECT_EQ(-EINVAL, create_named_bytes(self->fd, name, &c));
	memset(name, 0, sizeof(name));
	name[1] = 'x';
	EXPECT_EQ(-EINVAL, create_named_bytes(self->fd, name, &c));
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

struct map_name {
	const char *name;
	int hits;
};

static void map_name_look(const char *line, __u64 start, __u64 end, void *arg)
{
	struct map_name *m = arg;

	(void)start;
	(void)end;
	m->hits += !!strstr(line, m->name);
}

TEST_F(list, name_is_seen_in_the_memory_map)
{
	struct map_name m = { .name = "word index-7" };
	struct pheap_ioc_create c;

	ASSERT_EQ(0, raw_create(self->fd, 0, MIB, 0, m.name, &c));
	EXPECT_EQ(1, smaps_walk(0, c.base, c.reserved_bytes, map_name_look, &m));
	EXPECT_EQ(1, m.hits);
}

TEST_HARNESS_MAIN
