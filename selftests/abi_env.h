/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the ABI share: a heap with one block, a valid request for every command, and
 * snapshots of all that a command could change, so that a test can say that a refused call changed
 * nothing.
 */
#ifndef _PHEAP_ABI_ENV_H
#define _PHEAP_ABI_ENV_H

#include "pheap_test.h"
#include <sys/mman.h>

#define AREA_BYTES	(4 * PAGE)

/* One heap with one block, and an area that ends at a page which cannot be accessed. */
struct env {
	int fd;
	__u64 heap;
	__u64 base;
	void *block;
	char *area;
	struct pheap_list_entry entries[4];
	struct pheap_group groups[8];
	__u64 addrs[2];
};

/* Everything a command could change. */
struct snapshot {
	long long nr_heaps;
	int stat_result;
	struct pheap_ioc_stat stat;
};

static inline struct snapshot snapshot_take(const struct env *e)
{
	struct snapshot s;

	memset(&s, 0, sizeof(s));
	s.nr_heaps = nr_heaps_own(e->fd);
	s.stat_result = raw_stat(e->fd, e->heap, &s.stat);
	return s;
}

static inline bool snapshot_equal(const struct snapshot *a, const struct snapshot *b)
{
	return a->nr_heaps == b->nr_heaps && a->stat_result == b->stat_result &&
	       !memcmp(&a->stat, &b->stat, sizeof(a->stat));
}

/* A valid request of the first released size, at any address; outputs are poisoned. */
static inline void fill_valid(struct env *e, unsigned int cmd, void *buf)
{
	union {
		struct pheap_ioc_info info;
		struct pheap_ioc_create create;
		struct pheap_ioc_destroy destroy;
		struct pheap_ioc_alloc alloc;
		struct pheap_ioc_free free;
		struct pheap_ioc_size size;
		struct pheap_ioc_stat stat;
		struct pheap_ioc_commit commit;
		struct pheap_ioc_list list;
		struct pheap_ioc_reset reset;
		struct pheap_ioc_alloc_batch alloc_batch;
		struct pheap_ioc_free_batch free_batch;
	} u;
	__u32 size = 0;

	memset(&u, POISON_BYTE, sizeof(u));
	switch (cmd) {
	case PHEAP_IOC_INFO:
		size = sizeof(u.info);
		break;
	case PHEAP_IOC_CREATE:
		size = sizeof(u.create);
		u.create.initial_bytes = PAGE;
		u.create.maximum_bytes = 64 * KIB;
		memset(u.create.name, 0, sizeof(u.create.name));
		break;
	case PHEAP_IOC_DESTROY:
		size = sizeof(u.destroy);
		u.destroy.heap = e->heap;
		break;
	case PHEAP_IOC_ALLOC:
		size = sizeof(u.alloc);
		u.alloc.heap = e->heap;
		u.alloc.bytes = 40;
		u.alloc.align = 16;
		break;
	case PHEAP_IOC_FREE:
		size = sizeof(u.free);
		u.free.heap = e->heap;
		u.free.addr = ptr_to_u64(e->block);
		break;
	case PHEAP_IOC_SIZE:
		size = sizeof(u.size);
		u.size.heap = e->heap;
		u.size.addr = ptr_to_u64(e->block);
		break;
	case PHEAP_IOC_STAT:
		size = sizeof(u.stat);
		u.stat.heap = e->heap;
		break;
	case PHEAP_IOC_COMMIT:
		size = sizeof(u.commit);
		u.commit.heap = e->heap;
		u.commit.bytes = 512 * KIB;
		break;
	case PHEAP_IOC_LIST:
		size = sizeof(u.list);
		u.list.entries = ptr_to_u64(e->entries);
		u.list.nr_entries = ARRAY_LEN(e->entries);
		u.list.entry_bytes = sizeof(e->entries[0]);
		u.list.reserved = 0;
		break;
	case PHEAP_IOC_RESET:
		size = sizeof(u.reset);
		u.reset.heap = e->heap;
		break;
	case PHEAP_IOC_ALLOC_BATCH:
		size = sizeof(u.alloc_batch);
		u.alloc_batch.heap = e->heap;
		u.alloc_batch.bytes = 40;
		u.alloc_batch.groups = ptr_to_u64(e->groups);
		u.alloc_batch.nr_groups = ARRAY_LEN(e->groups);
		u.alloc_batch.nr_blocks = 5;
		break;
	case PHEAP_IOC_FREE_BATCH:
		size = sizeof(u.free_batch);
		e->addrs[0] = ptr_to_u64(e->block);
		e->addrs[1] = 0;
		u.free_batch.heap = e->heap;
		u.free_batch.addrs = ptr_to_u64(e->addrs);
		u.free_batch.nr_addrs = ARRAY_LEN(e->addrs);
		break;
	}
	u.info.size = size;
	u.info.flags = 0;
	memcpy(buf, &u, size);
}

static inline bool bytes_are(const void *p, int byte, size_t len)
{
	const unsigned char *c = p;
	size_t i;

	for (i = 0; i < len; i++)
		if (c[i] != byte)
			return false;
	return true;
}

static inline int env_setup(struct env *e)
{
	struct pheap_ioc_create c;
	int r;

	e->fd = device_open();
	if (e->fd < 0)
		return e->fd;
	r = raw_create(e->fd, 64 * KIB, MIB, 0, NULL, &c);
	if (r)
		return r;
	e->heap = c.heap;
	e->base = c.base;
	r = raw_alloc(e->fd, e->heap, 100, &e->block);
	if (r)
		return r;
	e->area = mmap(NULL, AREA_BYTES + PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->area == MAP_FAILED)
		return -errno;
	return mprotect(e->area + AREA_BYTES, PAGE, PROT_NONE) ? -errno : 0;
}

#endif /* _PHEAP_ABI_ENV_H */
