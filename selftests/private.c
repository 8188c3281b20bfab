// SPDX-License-Identifier: GPL-2.0
/*
 * A heap belongs to the process that created it. Children of fork, receivers of a descriptor, and
 * the program after exec have no part in it, whatever they hold and whatever they call; nothing
 * they do or leave undone reaches the owner's heap. Processes that share the address space are the
 * same process. A debugger reads heaps as any memory.
 */
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define TIMEOUT		120
#define DATA_SEED	55
#define MAX_PIECES	16

/*
 * The program run by exec: gets a descriptor, a heap and an
 * address, and tells by its exit status that they are void.
 */
#define EXEC_CHILD	"exec-child"

FIXTURE(private) {
	int fd;
	struct pheap_ioc_create c;
	unsigned char *mem;
	__u64 bytes;
	void *block;
	struct pheap_counters before;
};

FIXTURE_VARIANT(private) {
	struct memory_kind kind;
};

FIXTURE_VARIANT_ADD(private, small) { .kind = MEMORY_SMALL };
FIXTURE_VARIANT_ADD(private, front) { .kind = MEMORY_FRONT };
FIXTURE_VARIANT_ADD(private, tail) { .kind = MEMORY_TAIL };

FIXTURE_SETUP(private)
{
	self->before = counters_get();
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, memory_create(self->fd, &variant->kind, &self->c, &self->mem));
	self->bytes = variant->kind.bytes;
	ASSERT_EQ(0, raw_alloc(self->fd, self->c.heap, 100, &self->block));
	pattern_fill(self->mem + PAGE, self->bytes - PAGE, DATA_SEED);
}

FIXTURE_TEARDOWN(private)
{
	EXPECT_EQ(0, raw_destroy(self->fd, self->c.heap));
	EXPECT_EQ(0, nr_heaps_own(self->fd));
	close(self->fd);
	EXPECT_TRUE(counters_settle(self->before));
}

/* The owner's view: everything is there. */
static void check_owner(struct __test_metadata *_metadata, struct _test_data_private *self)
{
	struct pheap_ioc_stat st;
	void *p;

	EXPECT_TRUE(pattern_ok(self->mem + PAGE, self->bytes - PAGE, DATA_SEED));
	ASSERT_EQ(0, raw_stat(self->fd, self->c.heap, &st));
	EXPECT_EQ(1, st.nr_blocks);
	EXPECT_EQ(0, st.bad_frees);
	EXPECT_EQ(1, nr_heaps_own(self->fd));
	EXPECT_EQ(0, raw_alloc(self->fd, self->c.heap, 5000, &p));
	EXPECT_EQ(0, touch(p, true));
	EXPECT_EQ(0, raw_free(self->fd, self->c.heap, p));
}

/* A stranger's view: no command reaches the heap through @fd, and its memory is not there. */
static void check_stranger(struct __test_metadata *_metadata, const struct _test_data_private *self,
			   int fd, bool mapped)
{
	struct pheap_list_entry entries[2];
	struct pheap_ioc_stat st;
	__u64 usable, nr = 2;
	void *p;

	EXPECT_EQ(-ENOENT, raw_stat(fd, self->c.heap, &st));
	EXPECT_EQ(-ENOENT, raw_alloc(fd, self->c.heap, 16, &p));
	EXPECT_EQ(-ENOENT, raw_free(fd, self->c.heap, self->block));
	EXPECT_EQ(-ENOENT, raw_size(fd, self->c.heap, self->block, &usable));
	EXPECT_EQ(-ENOENT, raw_commit(fd, self->c.heap, self->c.reserved_bytes, 0, NULL));
	EXPECT_EQ(-ENOENT, raw_destroy(fd, self->c.heap));
	EXPECT_EQ(0, raw_list(fd, entries, &nr));
	EXPECT_EQ(0, nr);
	EXPECT_EQ(0, nr_heaps_own(fd));
	EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(self->c.base), false));
	EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(self->c.base), true));
	EXPECT_EQ(SIGSEGV, touch(self->mem + PAGE, false));
	EXPECT_EQ(SIGSEGV, touch(self->mem + self->bytes - 1, true));
	EXPECT_EQ(SIGSEGV, touch(u64_to_ptr(self->c.base + self->c.reserved_bytes - 1), true));
	if (!mapped)
		EXPECT_EQ(0, pieces_get(self->c.base, self->c.reserved_bytes, NULL, 0));
}

/* A stranger may have heaps of its own, through the same descriptor. */
static void check_own_heap(struct __test_metadata *_metadata, int fd)
{
	struct pheap_ioc_create c;
	void *p;

	ASSERT_EQ(0, raw_create(fd, MIB, 128 * MIB, 0, NULL, &c));
	EXPECT_EQ(0, raw_alloc(fd, c.heap, 70000, &p));
	memset(p, 1, 70000);
	EXPECT_EQ(1, nr_heaps_own(fd));
	EXPECT_EQ(0, raw_destroy(fd, c.heap));
	EXPECT_EQ(0, nr_heaps_own(fd));
}

#define wait_for(child) ({						\
	int _status;							\
									\
	ASSERT_EQ(child, waitpid(child, &_status, 0));			\
	ASSERT_EQ(0, _status);						\
})

/*
 * fork
 */

TEST_F_TIMEOUT(private, a_forked_child_has_no_part_in_it, TIMEOUT)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		check_stranger(_metadata, self, self->fd, false);
		check_own_heap(_metadata, self->fd);
		_exit(0);
	}
	wait_for(child);
	check_owner(_metadata, self);
}

TEST_F_TIMEOUT(private, nor_has_a_child_of_the_child, TIMEOUT)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		pid_t grandchild = fork();

		ASSERT_LE(0, grandchild);
		if (!grandchild) {
			check_stranger(_metadata, self, self->fd, false);
			_exit(0);
		}
		wait_for(grandchild);
		check_stranger(_metadata, self, self->fd, false);
		_exit(0);
	}
	wait_for(child);
	check_owner(_metadata, self);
}

TEST_F_TIMEOUT(private, madvise_dofork_gives_the_child_nothing, TIMEOUT)
{
	struct piece pieces[MAX_PIECES];
	pid_t child;
	int nr;

	nr = pieces_get(self->c.base, self->c.reserved_bytes, pieces, MAX_PIECES);
	ASSERT_LE(1, nr);
	for (int i = 0; i < nr; i++)
		if (madvise(u64_to_ptr(pieces[i].start), pieces[i].end - pieces[i].start,
			    MADV_DOFORK))
			EXPECT_EQ(EINVAL, errno);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		pid_t grandchild;

		check_stranger(_metadata, self, self->fd, true);
		grandchild = fork();
		ASSERT_LE(0, grandchild);
		if (!grandchild) {
			check_stranger(_metadata, self, self->fd, true);
			_exit(0);
		}
		wait_for(grandchild);
		/* What the child has of it, it may unmap; that is not the owner's. */
		EXPECT_EQ(0, munmap(u64_to_ptr(self->c.base), self->c.reserved_bytes));
		check_own_heap(_metadata, self->fd);
		_exit(0);
	}
	wait_for(child);
	check_owner(_metadata, self);
	/* Growth still lays mappings over the tail. */
	EXPECT_EQ(0, raw_commit(self->fd, self->c.heap, self->c.committed_bytes + MIB, 0, NULL));
}

TEST_F_TIMEOUT(private, a_child_that_lives_on_after_destroy_holds_nothing, TIMEOUT)
{
	int go[2];
	pid_t child;
	char byte;

	for (unsigned int i = 0; i < 2; i++) {
		struct pheap_counters with_heap = counters_get();
		struct piece pieces[MAX_PIECES];
		struct pheap_ioc_create c;
		unsigned char *mem;
		int nr;

		ASSERT_EQ(0, memory_create(self->fd, &variant->kind, &c, &mem));
		memset(u64_to_ptr(c.base), 1, variant->kind.commit);
		nr = pieces_get(c.base, c.reserved_bytes, pieces, MAX_PIECES);
		for (int j = 0; i && j < nr; j++)
			madvise(u64_to_ptr(pieces[j].start), pieces[j].end - pieces[j].start,
				MADV_DOFORK);
		ASSERT_EQ(0, pipe(go));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			close(go[1]);
			_exit(read(go[0], &byte, 1) ? 1 : 0);
		}
		EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
		EXPECT_TRUE(counters_settle(with_heap));
		close(go[1]);
		close(go[0]);
		wait_for(child);
	}
	check_owner(_metadata, self);
}

/* The owner ends while a child still holds the descriptor through which the heap was made. */
TEST_F_TIMEOUT(private, pages_go_back_at_exit_whoever_holds_the_descriptor, TIMEOUT)
{
	struct pheap_counters with_heap = counters_get();
	int go[2], done[2];
	pid_t owner;
	char byte;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner) {
		struct pheap_ioc_create c;
		unsigned char *mem;
		pid_t child;

		close(go[1]);
		if (memory_create(self->fd, &variant->kind, &c, &mem))
			_exit(1);
		memset(u64_to_ptr(c.base), 1, variant->kind.commit);
		child = fork();
		if (!child) {
			struct pheap_ioc_stat st;

			if (read(go[0], &byte, 1))
				_exit(1);
			/* The descriptor still works. */
			byte = raw_stat(self->fd, c.heap, &st) == -ENOENT;
			_exit(write(done[1], &byte, 1) == 1 ? 0 : 1);
		}
		_exit(child < 0);
	}
	wait_for(owner);
	EXPECT_TRUE(counters_settle(with_heap));
	close(go[1]);
	close(done[1]);
	ASSERT_EQ(1, read(done[0], &byte, 1));
	EXPECT_EQ(1, byte);
	check_owner(_metadata, self);
}

/*
 * A passed descriptor
 */

TEST_F_TIMEOUT(private, a_passed_descriptor_gives_no_power, TIMEOUT)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct {
		struct pheap_ioc_create c;
		unsigned char *mem;
		void *block;
	} facts;
	struct iovec v = { &facts, sizeof(facts) };
	struct msghdr msg = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct _test_data_private other;
	struct cmsghdr *cmsg;
	pid_t stranger;
	int s[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	stranger = fork();
	ASSERT_LE(0, stranger);
	if (!stranger) {
		int fd;

		/* It was here before the heap of which it hears now, and opened nothing. */
		close(self->fd);
		ASSERT_EQ(sizeof(facts), recvmsg(s[1], &msg, 0));
		cmsg = CMSG_FIRSTHDR(&msg);
		ASSERT_NE(NULL, cmsg);
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
		memcpy(&other, self, sizeof(other));
		other.c = facts.c;
		other.mem = facts.mem;
		other.block = facts.block;
		check_stranger(_metadata, &other, fd, false);
		check_own_heap(_metadata, fd);
		_exit(0);
	}
	memcpy(&other, self, sizeof(other));
	other.fd = device_open();
	ASSERT_LE(0, other.fd);
	ASSERT_EQ(0, memory_create(other.fd, &variant->kind, &other.c, &other.mem));
	ASSERT_EQ(0, raw_alloc(other.fd, other.c.heap, 100, &other.block));
	memset(&facts, 0, sizeof(facts));
	facts.c = other.c;
	facts.mem = other.mem;
	facts.block = other.block;
	memset(&control, 0, sizeof(control));
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &other.fd, sizeof(int));
	ASSERT_EQ(sizeof(facts), sendmsg(s[0], &msg, 0));
	wait_for(stranger);
	/* Still the owner's, who has no descriptor to it any more and opens another. */
	close(other.fd);
	EXPECT_EQ(0, raw_free(self->fd, other.c.heap, other.block));
	EXPECT_EQ(0, raw_destroy(self->fd, other.c.heap));
	check_owner(_metadata, self);
}

/*
 * The same address space
 */

struct sharer {
	struct _test_data_private *self;
	struct pheap_ioc_create made;
	int r;
	void *p;
};

static int share_and_exit(void *arg)
{
	struct sharer *s = arg;

	s->r = raw_free(s->self->fd, s->self->c.heap, s->self->block) ||
	       raw_alloc(s->self->fd, s->self->c.heap, 3000, &s->p) ||
	       raw_create(s->self->fd, MIB, 8 * MIB, 0, NULL, &s->made);
	if (!s->r) {
		memset(s->p, 7, 3000);
		*(volatile char *)u64_to_ptr(s->made.base) = 8;
	}
	_exit(0);
}

static void check_sharer(struct __test_metadata *_metadata, struct _test_data_private *self,
			 int flags)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	struct sharer s = { .self = self, .r = -1 };
	pid_t child = clone(share_and_exit, stack + sizeof(stack), flags | SIGCHLD, &s);

	ASSERT_LT(0, child);
	wait_for(child);
	ASSERT_EQ(0, s.r);
	/* What it did, it did to our heap; what it made is ours, and its end ended nothing. */
	EXPECT_EQ(7, ((unsigned char *)s.p)[2999]);
	EXPECT_EQ(8, *(unsigned char *)u64_to_ptr(s.made.base));
	EXPECT_EQ(2, nr_heaps_own(self->fd));
	EXPECT_EQ(0, raw_destroy(self->fd, s.made.heap));
	EXPECT_EQ(0, raw_free(self->fd, self->c.heap, s.p));
	EXPECT_EQ(0, raw_alloc(self->fd, self->c.heap, 100, &self->block));
	check_owner(_metadata, self);
}

TEST_F_TIMEOUT(private, a_vfork_child_is_the_same_process, TIMEOUT)
{
	check_sharer(_metadata, self, CLONE_VM | CLONE_VFORK);
}

TEST_F_TIMEOUT(private, a_clone_vm_child_is_the_same_process, TIMEOUT)
{
	check_sharer(_metadata, self, CLONE_VM);
}

TEST_F_TIMEOUT(private, a_clone_vm_child_that_shares_files_is_the_same_process, TIMEOUT)
{
	check_sharer(_metadata, self, CLONE_VM | CLONE_FILES);
}

/*
 * exec
 */

static int exec_child(char **argv)
{
	int fd = atoi(argv[0]), go = atoi(argv[3]);
	__u64 heap = strtoull(argv[1], NULL, 0);
	void *addr = u64_to_ptr(strtoull(argv[2], NULL, 0));
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;
	char byte;

	/* Tell that exec has happened; then wait until the parent has looked. */
	if (write(go, "", 1) != 1 || read(go, &byte, 1))
		return 10;
	if (raw_stat(fd, heap, &st) != -ENOENT || raw_destroy(fd, heap) != -ENOENT)
		return 11;
	if (nr_heaps_own(fd) != 0)
		return 12;
	if (touch(addr, false) != SIGSEGV)
		return 13;
	if (raw_create(fd, MIB, 128 * MIB, 0, NULL, &c) || c.heap == heap)
		return 14;
	return raw_destroy(fd, c.heap) ? 15 : 0;
}

TEST_F_TIMEOUT(private, exec_drops_everything, TIMEOUT)
{
	struct pheap_counters with_heap = counters_get();
	pid_t child;
	char byte;
	int s[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char texts[4][32], *argv[7] = { "private", EXEC_CHILD };
		struct pheap_ioc_create c;
		unsigned char *mem;

		if (memory_create(self->fd, &variant->kind, &c, &mem) ||
		    fcntl(self->fd, F_SETFD, 0))
			_exit(1);
		memset(u64_to_ptr(c.base), 1, variant->kind.commit);
		close(s[0]);
		snprintf(texts[0], sizeof(texts[0]), "%d", self->fd);
		snprintf(texts[1], sizeof(texts[1]), "%llu", c.heap);
		snprintf(texts[2], sizeof(texts[2]), "%llu", (unsigned long long)ptr_to_u64(mem));
		snprintf(texts[3], sizeof(texts[3]), "%d", s[1]);
		for (unsigned int i = 0; i < 4; i++)
			argv[2 + i] = texts[i];
		execv("/proc/self/exe", argv);
		_exit(2);
	}
	close(s[1]);
	ASSERT_EQ(1, read(s[0], &byte, 1));
	EXPECT_TRUE(counters_settle(with_heap));
	shutdown(s[0], SHUT_WR);
	wait_for(child);
	check_owner(_metadata, self);
}

/*
 * Closed descriptors
 */

TEST_F_TIMEOUT(private, closing_all_descriptors_loses_nothing, TIMEOUT)
{
	const __u64 heap = self->c.heap;
	struct pheap_ioc_stat st;

	ASSERT_EQ(0, syscall(SYS_close_range, 3, ~0U, 0));
	EXPECT_EQ(-EBADF, raw_stat(self->fd, heap, &st));
	EXPECT_TRUE(pattern_ok(self->mem + PAGE, self->bytes - PAGE, DATA_SEED));
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, raw_stat(self->fd, heap, &st));
	check_owner(_metadata, self);
}

TEST_F_TIMEOUT(private, any_descriptor_reaches_every_heap_of_the_process, TIMEOUT)
{
	int second = device_open();
	struct pheap_ioc_create c;
	struct pheap_ioc_stat st;

	ASSERT_LE(0, second);
	EXPECT_EQ(0, raw_stat(second, self->c.heap, &st));
	ASSERT_EQ(0, raw_create(second, 0, MIB, 0, NULL, &c));
	close(second);
	EXPECT_EQ(2, nr_heaps_own(self->fd));
	EXPECT_EQ(0, raw_destroy(self->fd, c.heap));
	check_owner(_metadata, self);
}

TEST_F_TIMEOUT(private, a_heap_without_any_descriptor_goes_with_its_process, TIMEOUT)
{
	struct pheap_counters with_heap = counters_get();
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		struct pheap_ioc_create c;
		unsigned char *mem;

		if (memory_create(self->fd, &variant->kind, &c, &mem))
			_exit(1);
		syscall(SYS_close_range, 3, ~0U, 0);
		memset(u64_to_ptr(c.base), 1, variant->kind.commit);
		_exit(0);
	}
	wait_for(child);
	EXPECT_TRUE(counters_settle(with_heap));
	check_owner(_metadata, self);
}

/*
 * Debuggers, and those that are not
 */

TEST_F_TIMEOUT(private, a_debugger_reads_and_writes_through_proc_pid_mem, TIMEOUT)
{
	static unsigned char buf[64 * KIB];
	char path[64];
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
		fd = open(path, O_RDWR);
		ASSERT_LE(0, fd);
		ASSERT_EQ(sizeof(buf), pread(fd, buf, sizeof(buf), ptr_to_u64(self->mem + PAGE)));
		EXPECT_TRUE(pattern_ok(buf, sizeof(buf), DATA_SEED));
		EXPECT_EQ(5, pwrite(fd, "hello", 5, ptr_to_u64(self->mem + 16)));
		/* What is not committed is not there for debuggers, either. */
		EXPECT_EQ(-1, pread(fd, buf, 1, self->c.base + self->c.reserved_bytes - PAGE));
		_exit(0);
	}
	wait_for(child);
	EXPECT_EQ(0, memcmp(self->mem + 16, "hello", 5));
	check_owner(_metadata, self);
}

TEST_F_TIMEOUT(private, an_ordinary_user_cannot_read_another_users_heap, TIMEOUT)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		static char buf[16];
		struct iovec local = { buf, sizeof(buf) };
		struct iovec remote = { self->mem + PAGE, sizeof(buf) };

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		EXPECT_EQ(-1, process_vm_readv(getppid(), &local, 1, &remote, 1, 0));
		EXPECT_EQ(EPERM, errno);
		check_stranger(_metadata, self, self->fd, false);
		_exit(0);
	}
	wait_for(child);
	check_owner(_metadata, self);
}

/*
 * /proc/PID/map_files leads to the files behind mappings;
 * behind those of a heap there is nothing to open.
 */
static void check_map_files(struct __test_metadata *_metadata, const struct piece *pieces, int nr,
			    pid_t pid)
{
	const int modes[] = { O_RDONLY, O_RDWR };

	for (unsigned int m = 0; m < ARRAY_LEN(modes); m++) {
		for (int i = 0; i < nr; i++) {
			char path[128];
			int fd;

			snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid,
				 pieces[i].start, pieces[i].end);
			EXPECT_EQ(0, faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))
				TH_LOG("%s", path);
			fd = open(path, modes[m]);
			EXPECT_GT(0, fd);
			if (fd >= 0) {
				void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd,
					       pieces[i].start);

				EXPECT_EQ(MAP_FAILED, p);
				close(fd);
			}
		}
	}
}

TEST_F_TIMEOUT(private, map_files_opens_nothing, TIMEOUT)
{
	struct piece pieces[MAX_PIECES];
	int nr = pieces_get(self->c.base, self->c.reserved_bytes, pieces, MAX_PIECES);
	pid_t child;

	ASSERT_LE(1, nr);
	ASSERT_GE(MAX_PIECES, nr);
	check_map_files(_metadata, pieces, nr, getpid());
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		check_map_files(_metadata, pieces, nr, getppid());
		_exit(0);
	}
	wait_for(child);
	check_owner(_metadata, self);
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], EXEC_CHILD))
		return exec_child(argv + 2);
	return test_harness_run(argc, argv);
}
