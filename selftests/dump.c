// SPDX-License-Identifier: GPL-2.0
/*
 * Core dumps hold what is in heaps, and their length goes by what is committed, not by what is
 * reserved: the kernel walks every page of a dumpable mapping, so a terabyte of it would not end.
 */
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <elf.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define TIMEOUT		240
#define PATTERN_FILE	"/proc/sys/kernel/core_pattern"
#define CORE_FORMAT	"/tmp/pheap-core.%d"
#define MAX_SEGMENTS	256
#define DATA_SEED	91
#define TIB		(1024 * GIB)

/* The child's heap, as it tells before it crashes. */
struct facts {
	struct pheap_ioc_create c;
	int r;
};

struct core {
	int fd;
	Elf64_Phdr segments[MAX_SEGMENTS];
	unsigned int nr;
	__u64 size;
	__u64 on_disk;
};

FIXTURE(dump) {
	char pattern[256];
	struct facts *facts;
	struct core core;
	struct pheap_counters before;
};

FIXTURE_VARIANT(dump) {
	__u64 maximum;
	__u64 commit;
};

FIXTURE_VARIANT_ADD(dump, tiny) { .maximum = 256 * KIB, .commit = 100 * KIB };
FIXTURE_VARIANT_ADD(dump, small) { .maximum = 8 * MIB, .commit = 6 * MIB };
FIXTURE_VARIANT_ADD(dump, one_mapping) { .maximum = 64 * MIB, .commit = 40 * MIB };
FIXTURE_VARIANT_ADD(dump, large) { .maximum = 128 * MIB, .commit = 40 * MIB };
FIXTURE_VARIANT_ADD(dump, one_tebibyte) { .maximum = TIB, .commit = 40 * MIB };
FIXTURE_VARIANT_ADD(dump, one_tebibyte_one_page) { .maximum = TIB, .commit = PAGE };
FIXTURE_VARIANT_ADD(dump, growable) { .maximum = 0, .commit = 20 * MIB };

FIXTURE_SETUP(dump)
{
	ASSERT_LT(0, file_read(PATTERN_FILE, self->pattern, sizeof(self->pattern)));
	ASSERT_EQ(0, file_write(PATTERN_FILE, "/tmp/pheap-core.%p"));
	self->facts = mmap(NULL, sizeof(*self->facts), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->facts);
	self->core.fd = -1;
	self->before = counters_get();
}

FIXTURE_TEARDOWN(dump)
{
	if (self->core.fd >= 0)
		close(self->core.fd);
	EXPECT_EQ(0, file_write(PATTERN_FILE, self->pattern));
	EXPECT_TRUE(counters_settle(self->before));
}

/* Reads the headers of a core and unlinks it. */
static int core_open(struct core *core, const char *path)
{
	Elf64_Ehdr head;
	struct stat st;
	ssize_t bytes;

	core->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (core->fd < 0)
		return -errno;
	unlink(path);
	if (fstat(core->fd, &st) || pread(core->fd, &head, sizeof(head), 0) != sizeof(head))
		return -EIO;
	core->size = st.st_size;
	core->on_disk = st.st_blocks * 512ULL;
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_type != ET_CORE ||
	    head.e_phnum > MAX_SEGMENTS)
		return -EINVAL;
	core->nr = head.e_phnum;
	bytes = core->nr * sizeof(core->segments[0]);
	return pread(core->fd, core->segments, bytes, head.e_phoff) == bytes ? 0 : -EIO;
}

/*
 * Memory of the dead process, as the core tells it. Returns
 * the bytes that were there, up to a border of segments.
 */
static size_t core_read(const struct core *core, __u64 addr, void *buf, size_t bytes)
{
	for (unsigned int i = 0; i < core->nr; i++) {
		const Elf64_Phdr *s = &core->segments[i];
		ssize_t n;

		if (s->p_type != PT_LOAD || addr < s->p_vaddr || addr >= s->p_vaddr + s->p_filesz)
			continue;
		if (bytes > s->p_vaddr + s->p_filesz - addr)
			bytes = s->p_vaddr + s->p_filesz - addr;
		n = pread(core->fd, buf, bytes, s->p_offset + (addr - s->p_vaddr));
		return n == (ssize_t)bytes ? bytes : 0;
	}
	return 0;
}

/* Bytes of a range of addresses that are in the file, as data or as holes. */
static __u64 core_bytes(const struct core *core, __u64 start, __u64 bytes)
{
	__u64 sum = 0;

	for (unsigned int i = 0; i < core->nr; i++)
		if (core->segments[i].p_type == PT_LOAD && core->segments[i].p_vaddr >= start &&
		    core->segments[i].p_vaddr < start + bytes)
			sum += core->segments[i].p_filesz;
	return sum;
}

static void crash(struct facts *facts, __u64 maximum, __u64 commit, int fd)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	facts->r = raw_create(fd, 0, maximum, 0, NULL, &facts->c);
	if (!facts->r)
		facts->r = raw_commit(fd, facts->c.heap, commit, 0, NULL);
	if (facts->r || setrlimit(RLIMIT_CORE, &limit))
		_exit(1);
	pattern_fill(u64_to_ptr(facts->c.base), commit, DATA_SEED);
	/* A handler, or a debugger's idea of a crash, must not stand between. */
	signal(SIGSEGV, SIG_DFL);
	*(volatile char *)u64_to_ptr(facts->c.base + commit) = 1;
	_exit(2);
}

TEST_F_TIMEOUT(dump, holds_the_data_and_goes_by_commit, TIMEOUT)
{
	int fd = device_open(), status;
	static __u64 buf[64 * KIB / 8];
	char path[64];
	pid_t child;

	ASSERT_LE(0, fd);
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		crash(self->facts, variant->maximum, variant->commit, fd);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, self->facts->r);
	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
	EXPECT_TRUE(WCOREDUMP(status));
	snprintf(path, sizeof(path), CORE_FORMAT, child);
	ASSERT_EQ(0, core_open(&self->core, path));

	/* Every word of the heap. */
	for (__u64 at = 0; at < variant->commit;) {
		__u64 left = variant->commit - at;
		__u64 want = left < sizeof(buf) ? left : sizeof(buf);
		size_t n = core_read(&self->core, self->facts->c.base + at, buf, want);

		ASSERT_LT(0, n)
			TH_LOG("nothing at offset %llu", at);
		for (size_t i = 0; i < n / 8; i++)
			ASSERT_EQ(pattern_word(DATA_SEED, at + i * 8), buf[i]);
		at += n;
	}
	TH_LOG("%llu MiB reserved, %llu KiB committed: %llu KiB dumped, core takes %llu KiB",
	       self->facts->c.reserved_bytes / MIB, variant->commit / KIB,
	       core_bytes(&self->core, self->facts->c.base, self->facts->c.reserved_bytes) / KIB,
	       self->core.on_disk / KIB);
	/*
	 * Dumpable are 64 MiB at least, and otherwise less than
	 * twice what is committed, whatever is reserved.
	 */
	EXPECT_GE(64 * MIB,
		  core_bytes(&self->core, self->facts->c.base, self->facts->c.reserved_bytes));
	EXPECT_GE(variant->commit + 4 * MIB, self->core.on_disk);
}

/* MADV_DONTDUMP is the program's to give: secrets stay out, and growth does not bring them back. */
TEST(dontdump_keeps_a_small_heap_out)
{
	struct facts *facts = mmap(NULL, sizeof(*facts), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = device_open(), status;
	static struct core core;
	char path[64], pattern[256];
	pid_t child;
	__u64 word;

	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, facts);
	ASSERT_LT(0, file_read(PATTERN_FILE, pattern, sizeof(pattern)));
	ASSERT_EQ(0, file_write(PATTERN_FILE, "/tmp/pheap-core.%p"));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

		facts->r = raw_create(fd, MIB, 8 * MIB, 0, NULL, &facts->c);
		if (!facts->r)
			facts->r = madvise(u64_to_ptr(facts->c.base), 8 * MIB, MADV_DONTDUMP);
		if (!facts->r)
			facts->r = raw_commit(fd, facts->c.heap, 2 * MIB, 0, NULL);
		pattern_fill(u64_to_ptr(facts->c.base), 2 * MIB, DATA_SEED);
		setrlimit(RLIMIT_CORE, &limit);
		abort();
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, file_write(PATTERN_FILE, pattern));
	ASSERT_EQ(0, facts->r);
	EXPECT_TRUE(WCOREDUMP(status));
	snprintf(path, sizeof(path), CORE_FORMAT, child);
	ASSERT_EQ(0, core_open(&core, path));
	EXPECT_EQ(0, core_read(&core, facts->c.base, &word, sizeof(word)));
	EXPECT_EQ(0, core_bytes(&core, facts->c.base, 8 * MIB));
}

TEST_HARNESS_MAIN
