/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the selftests: the commands of /dev/pheap as plain functions, and readers of what the
 * system says about memory.
 *
 * Every command function fills its outputs with POISON before the call, so that an output which the
 * kernel did not write is told from one it wrote, and returns 0 or -errno. Readers return what they
 * read, or -errno. Nothing here depends on a test harness or on the library, and nothing prints but
 * rng_start().
 */
#ifndef _PHEAP_SELFTEST_H
#define _PHEAP_SELFTEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#include <linux/pheap.h>

#define PHEAP_DEVICE	"/dev/pheap"
#define PARAM_DIR	"/sys/module/pheap/parameters"
#define CGROUP_DIR	"/sys/fs/cgroup"
#define MEMINFO		"/proc/meminfo"
#define TEST_UID	1000

#define KIB		1024ULL
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)
#define PAGE		4096ULL

#define POISON_BYTE	0xA5
#define POISON		0xA5A5A5A5A5A5A5A5ULL

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))

/* Pointers travel as 64-bit numbers; a 32-bit program must not sign-extend them. */
static inline __u64 ptr_to_u64(const void *p)
{
	return (uintptr_t)p;
}

static inline void *u64_to_ptr(__u64 v)
{
	return (void *)(uintptr_t)v;
}

/*
 * Commands
 */

static inline int device_open(void)
{
	int fd = open(PHEAP_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline int raw_ioctl(int fd, unsigned long cmd, void *arg)
{
	int r = ioctl(fd, cmd, arg);

	/* No command returns anything but 0 on success: a positive value is a failure too. */
	if (r < 0)
		return -errno;
	return r ? -EBADE : 0;
}

static inline int raw_info(int fd, struct pheap_ioc_info *info)
{
	memset(info, POISON_BYTE, sizeof(*info));
	info->size = sizeof(*info);
	info->flags = 0;
	return raw_ioctl(fd, PHEAP_IOC_INFO, info);
}

/* @name may be NULL. */
static inline int raw_create(int fd, __u64 initial, __u64 maximum, __u32 flags, const char *name,
			     struct pheap_ioc_create *c)
{
	memset(c, POISON_BYTE, sizeof(*c));
	memset(c->name, 0, sizeof(c->name));
	c->size = sizeof(*c);
	c->flags = flags;
	c->initial_bytes = initial;
	c->maximum_bytes = maximum;
	if (name)
		memcpy(c->name, name, strnlen(name, sizeof(c->name)));
	return raw_ioctl(fd, PHEAP_IOC_CREATE, c);
}

static inline int raw_destroy(int fd, __u64 heap)
{
	struct pheap_ioc_destroy d = { .size = sizeof(d), .heap = heap };

	return raw_ioctl(fd, PHEAP_IOC_DESTROY, &d);
}

/* On failure *@p is NULL if the kernel left the output alone. @usable may be NULL. */
static inline int raw_alloc_full(int fd, __u64 heap, __u64 bytes, __u64 align, __u32 flags,
				 void **p, __u64 *usable)
{
	struct pheap_ioc_alloc a = {
		.size = sizeof(a), .flags = flags, .heap = heap, .bytes = bytes, .align = align,
		.addr = POISON, .usable_bytes = POISON,
	};
	int r = raw_ioctl(fd, PHEAP_IOC_ALLOC, &a);

	*p = r && a.addr == POISON ? NULL : u64_to_ptr(a.addr);
	if (usable)
		*usable = a.usable_bytes;
	return r;
}

static inline int raw_alloc(int fd, __u64 heap, __u64 bytes, void **p)
{
	return raw_alloc_full(fd, heap, bytes, 0, 0, p, NULL);
}

static inline int raw_free(int fd, __u64 heap, const void *p)
{
	struct pheap_ioc_free f = { .size = sizeof(f), .heap = heap, .addr = ptr_to_u64(p) };

	return raw_ioctl(fd, PHEAP_IOC_FREE, &f);
}

/* *@nr_groups: room in @groups, then groups filled; *@nr: blocks wanted, then got. */
static inline int raw_alloc_batch(int fd, __u64 heap, __u64 bytes, struct pheap_group *groups,
				  __u32 *nr_groups, __u32 *nr, __u64 *usable)
{
	struct pheap_ioc_alloc_batch a = {
		.size = sizeof(a), .heap = heap, .bytes = bytes, .groups = ptr_to_u64(groups),
		.nr_groups = *nr_groups, .nr_blocks = *nr, .usable_bytes = POISON,
	};
	int r = raw_ioctl(fd, PHEAP_IOC_ALLOC_BATCH, &a);

	*nr_groups = a.nr_groups;
	*nr = a.nr_blocks;
	*usable = a.usable_bytes;
	return r;
}

static inline int raw_free_batch(int fd, __u64 heap, const __u64 *addrs, __u32 nr,
				 struct pheap_ioc_free_batch *f)
{
	memset(f, POISON_BYTE, sizeof(*f));
	f->size = sizeof(*f);
	f->flags = 0;
	f->heap = heap;
	f->addrs = ptr_to_u64(addrs);
	f->nr_addrs = nr;
	return raw_ioctl(fd, PHEAP_IOC_FREE_BATCH, f);
}

static inline int raw_reset(int fd, __u64 heap)
{
	struct pheap_ioc_reset r = { .size = sizeof(r), .heap = heap };

	return raw_ioctl(fd, PHEAP_IOC_RESET, &r);
}

static inline int raw_size(int fd, __u64 heap, const void *p, __u64 *usable)
{
	struct pheap_ioc_size s = {
		.size = sizeof(s), .heap = heap, .addr = ptr_to_u64(p), .usable_bytes = POISON,
	};
	int r = raw_ioctl(fd, PHEAP_IOC_SIZE, &s);

	*usable = s.usable_bytes;
	return r;
}

static inline int raw_stat(int fd, __u64 heap, struct pheap_ioc_stat *st)
{
	memset(st, POISON_BYTE, sizeof(*st));
	st->size = sizeof(*st);
	st->flags = 0;
	st->heap = heap;
	return raw_ioctl(fd, PHEAP_IOC_STAT, st);
}

/* @committed may be NULL. */
static inline int raw_commit(int fd, __u64 heap, __u64 bytes, __u32 flags, __u64 *committed)
{
	struct pheap_ioc_commit c = {
		.size = sizeof(c), .flags = flags, .heap = heap, .bytes = bytes,
		.committed_bytes = POISON,
	};
	int r = raw_ioctl(fd, PHEAP_IOC_COMMIT, &c);

	if (committed)
		*committed = c.committed_bytes;
	return r;
}

/* *@nr: room in @entries, then the number of heaps. */
static inline int raw_list(int fd, struct pheap_list_entry *entries, __u64 *nr)
{
	struct pheap_ioc_list l = {
		.size = sizeof(l), .entries = ptr_to_u64(entries), .nr_entries = *nr,
		.entry_bytes = sizeof(*entries),
	};
	int r;

	if (*nr)
		memset(entries, POISON_BYTE, *nr * sizeof(*entries));
	r = raw_ioctl(fd, PHEAP_IOC_LIST, &l);
	*nr = l.nr_entries;
	return r;
}

/* Heaps of this process, or -errno. */
static inline long long nr_heaps_own(int fd)
{
	struct pheap_ioc_info info;
	int r = raw_info(fd, &info);

	return r ? r : (long long)info.process_nr_heaps;
}

/*
 * Files of the system
 */

static inline int file_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		n = read(fd, buf + len, size - 1 - len);
		if (n < 0) {
			n = -errno;
			close(fd);
			return n;
		}
		if (!n)
			break;
		len += n;
	}
	close(fd);
	buf[len] = 0;
	return len;
}

static inline int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* The number behind @key at the start of a line of the file ("MemFree:  12 kB", "oom_kill 3"). */
static inline long long file_key(const char *path, const char *key)
{
	size_t len = strlen(key);
	long long value = -ENOENT;
	char line[512];
	FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, len) && strchr(": \t", line[len])) {
			value = strtoll(line + len + strspn(line + len, ": \t"), NULL, 10);
			break;
		}
	}
	fclose(f);
	return value;
}

static inline long long file_number(const char *path)
{
	char buf[64];
	int r = file_read(path, buf, sizeof(buf));

	return r < 0 ? r : strtoll(buf, NULL, 10);
}

/* A field of /proc/meminfo, in bytes. */
static inline long long meminfo(const char *field)
{
	long long v = file_key(MEMINFO, field);

	return v < 0 ? v : v * 1024;
}

static inline long long param_get(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), PARAM_DIR "/%s", name);
	return file_number(path);
}

static inline int param_set(const char *name, long long value)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), PARAM_DIR "/%s", name);
	snprintf(text, sizeof(text), "%lld", value);
	return file_write(path, text);
}

/* What all heaps of the machine together hold: equal before and after means that nothing leaked. */
struct pheap_counters {
	long long committed_pages;
	long long metadata_bytes;
	long long nr_heaps;
};

static inline struct pheap_counters counters_get(void)
{
	return (struct pheap_counters){
		.committed_pages = param_get("committed_pages"),
		.metadata_bytes = param_get("metadata_bytes"),
		.nr_heaps = param_get("nr_heaps"),
	};
}

static inline bool counters_equal(struct pheap_counters a, struct pheap_counters b)
{
	return a.committed_pages == b.committed_pages && a.metadata_bytes == b.metadata_bytes &&
	       a.nr_heaps == b.nr_heaps;
}

/*
 * /proc/PID/smaps: calls @fn for every line of every mapping that overlaps [base, base + bytes);
 * the line that tells the addresses comes first. Returns the number of mappings. @pid 0: this
 * process.
 */
static inline int smaps_walk(pid_t pid, __u64 base, __u64 bytes,
			     void (*fn)(const char *line, __u64 start, __u64 end, void *arg),
			     void *arg)
{
	unsigned long long start = 0, end = 0, s, e;
	bool inside = false;
	char path[64], line[512], perms[8];
	int nr = 0;
	FILE *f;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	else
		snprintf(path, sizeof(path), "/proc/self/smaps");
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx %7s", &s, &e, perms) == 3) {
			start = s;
			end = e;
			inside = start < base + bytes && end > base;
			nr += inside;
		}
		if (inside && fn)
			fn(line, start, end, arg);
	}
	fclose(f);
	return nr;
}

struct smaps_sum {
	const char *field;
	long long total;
};

static inline void smaps_add(const char *line, __u64 start, __u64 end, void *arg)
{
	struct smaps_sum *sum = arg;
	size_t len = strlen(sum->field);

	(void)start;
	(void)end;
	if (!strncmp(line, sum->field, len) && line[len] == ':')
		sum->total += strtoll(line + len + 1, NULL, 10) * 1024;
}

/* Sum of a field ("Rss", "Size", ...) over the mappings of a range, in bytes. */
static inline long long smaps_field(__u64 base, __u64 bytes, const char *field)
{
	struct smaps_sum sum = { .field = field };
	int r = smaps_walk(0, base, bytes, smaps_add, &sum);

	return r < 0 ? r : sum.total;
}

/*
 * Control groups (version 2). @name is a folder under the root; the memory controller is switched
 * on for it.
 */

static inline int cgroup_write(const char *name, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), CGROUP_DIR "/%s/%s", name, file);
	return file_write(path, text);
}

/* @max_bytes 0: no limit. */
static inline int cgroup_create(const char *name, long long max_bytes)
{
	char path[256], text[32];
	int r;

	r = file_write(CGROUP_DIR "/cgroup.subtree_control", "+memory");
	if (r)
		return r;
	snprintf(path, sizeof(path), CGROUP_DIR "/%s", name);
	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	if (!max_bytes)
		return cgroup_write(name, "memory.max", "max");
	snprintf(text, sizeof(text), "%lld", max_bytes);
	return cgroup_write(name, "memory.max", text);
}

/* Moves the calling process; "." is the root group. */
static inline int cgroup_enter(const char *name)
{
	return cgroup_write(name, "cgroup.procs", "0");
}

static inline int cgroup_remove(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), CGROUP_DIR "/%s", name);
	return rmdir(path) ? -errno : 0;
}

/* A number of the group: memory.current, or with @key memory.events oom_kill, and so on. */
static inline long long cgroup_value(const char *name, const char *file, const char *key)
{
	char path[256];

	snprintf(path, sizeof(path), CGROUP_DIR "/%s/%s", name, file);
	return key ? file_key(path, key) : file_number(path);
}

/*
 * Heap memory
 */

/*
 * The three ways in which the memory of a heap can be mapped: a small heap is one mapping of small
 * pages; a large one has a front of small pages and a tail of huge ones, over which further
 * mappings are laid as the commit grows. A test that creates a heap of @maximum bytes, commits
 * @commit of them and uses @bytes at @offset has met that kind of memory.
 */
struct memory_kind {
	const char *name;
	__u64 maximum;
	__u64 commit;
	__u64 offset;
	__u64 bytes;
};

#define MEMORY_SMALL	{ \
	.name = "small", .maximum = 8 * MIB, .commit = 6 * MIB, .offset = MIB, .bytes = 4 * MIB, \
}

#define MEMORY_FRONT	{ \
	.name = "front", .maximum = 128 * MIB, .commit = 40 * MIB, .offset = 4 * MIB, \
	.bytes = 4 * MIB, \
}

#define MEMORY_TAIL	{ \
	.name = "tail", .maximum = 128 * MIB, .commit = 40 * MIB, .offset = 34 * MIB, \
	.bytes = 4 * MIB, \
}

/* Creates a heap with memory of this kind, and tells where. A failure leaves nothing behind. */
static inline int memory_create(int fd, const struct memory_kind *kind, struct pheap_ioc_create *c,
				unsigned char **mem)
{
	int r = raw_create(fd, 0, kind->maximum, 0, NULL, c);

	if (r)
		return r;
	r = raw_commit(fd, c->heap, kind->commit, 0, NULL);
	if (r)
		raw_destroy(fd, c->heap);
	*mem = (unsigned char *)u64_to_ptr(c->base + kind->offset);
	return r;
}

/* A pattern in which no two words are alike; @bytes is a multiple of 8. */
static inline __u64 pattern_word(unsigned int seed, __u64 i)
{
	return (i + 1) * 0x9E3779B97F4A7C15ULL + seed;
}

static inline void pattern_fill(void *p, __u64 bytes, unsigned int seed)
{
	for (__u64 i = 0; i < bytes; i += 8) {
		__u64 word = pattern_word(seed, i);

		memcpy((char *)p + i, &word, 8);
	}
}

static inline bool pattern_ok(const void *p, __u64 bytes, unsigned int seed)
{
	for (__u64 i = 0; i < bytes; i += 8) {
		__u64 word;

		memcpy(&word, (const char *)p + i, 8);
		if (word != pattern_word(seed, i))
			return false;
	}
	return true;
}

static __thread sigjmp_buf *volatile touch_env;

static inline void touch_handler(int sig)
{
	if (touch_env)
		siglongjmp(*touch_env, sig);
	/* Not ours: the access is repeated and kills. */
	signal(sig, SIG_DFL);
}

/* Reads, or reads and writes back, one byte. Returns 0, or the signal that the access raised. */
static inline int touch(const volatile void *p, bool write)
{
	struct sigaction sa = { .sa_handler = touch_handler, .sa_flags = SA_NODEFER };
	volatile unsigned char *byte = (volatile unsigned char *)p;
	sigjmp_buf env;
	int sig;

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sig = sigsetjmp(env, 0);
	if (!sig) {
		touch_env = &env;
		if (write)
			*byte = *byte;
		else
			(void)*byte;
	}
	touch_env = NULL;
	return sig;
}

/* A mapping of this process; see pieces_get(). */
struct piece {
	__u64 start;
	__u64 end;
	bool heap;		/* a mapping of the module */
};

/* The mappings that overlap a range, in order. Returns their number, even above @max. */
static inline int pieces_get(__u64 base, __u64 bytes, struct piece *pieces, int max)
{
	unsigned long long start, end;
	char line[512];
	int nr = 0;
	FILE *f = fopen("/proc/self/maps", "re");

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		if (start >= base + bytes || end <= base)
			continue;
		if (nr < max)
			pieces[nr] = (struct piece){
				.start = start, .end = end, .heap = strstr(line, "pheap"),
			};
		nr++;
	}
	fclose(f);
	return nr;
}

/*
 * What a dying process gives back may come a little after its parent learnt of its death: waits up
 * to ten seconds until the counters are what they were.
 */
static inline bool counters_settle(struct pheap_counters before)
{
	const struct timespec ms = { .tv_nsec = 1000 * 1000 };

	for (int i = 0; i < 10000; i++) {
		if (counters_equal(before, counters_get()))
			return true;
		nanosleep(&ms, NULL);
	}
	return false;
}

/*
 * The process
 */

/* Becomes an ordinary user without capabilities, who can still read its own /proc files. */
static inline int drop_privileges(uid_t uid)
{
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		return -errno;
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) ? -errno : 0;
}

/* Divides the length of long tests: PHEAP_TEST_SCALE=10 runs a tenth. */
static inline unsigned long test_scaled(unsigned long count)
{
	const char *s = getenv("PHEAP_TEST_SCALE");
	unsigned long scale = s ? strtoul(s, NULL, 10) : 1;

	count /= scale ? scale : 1;
	return count ? count : 1;
}

/*
 * Whether this is a kernel like that of make check-debug: what its checkers add to every object
 * would be measured as ours.
 */
static inline bool kernel_is_debug(void)
{
	return !access("/sys/kernel/debug/kmemleak", F_OK);
}

/* xorshift64*: the same numbers on every machine; PHEAP_TEST_SEED=n chooses others. */
struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 0x2545F4914F6CDD1DULL;
}

/* 0 .. n - 1 */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return (rng_next(r) >> 11) % n;
}

static inline void rng_start(struct rng *r)
{
	const char *s = getenv("PHEAP_TEST_SEED");

	r->state = s ? strtoull(s, NULL, 0) : 88172645463325252ULL;
	if (!r->state)
		r->state = 1;
	printf("# PHEAP_TEST_SEED=%llu\n", (unsigned long long)r->state);
	fflush(stdout);
}

#endif /* _PHEAP_SELFTEST_H */
