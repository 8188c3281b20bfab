// SPDX-License-Identifier: GPL-2.0
/*
 * Heap memory is used like any other memory: whatever takes a user address (read, write, direct
 * I/O, pipes, sockets, futexes, debuggers, io_uring) takes one in a heap. Each rule is tested in
 * each kind of heap memory.
 */
#include "kselftest_harness.h"
#include "pheap_test.h"

#include <linux/futex.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define SCRATCH_FILE	"/scratch/memory"
#define TMP_FILE	"/tmp/memory"
#define TIMEOUT		120

FIXTURE(memory) {
	int fd;
	struct pheap_ioc_create c;
	unsigned char *mem;
	__u64 bytes;
	struct pheap_counters before;
	bool gone;
};

FIXTURE_VARIANT(memory) {
	struct memory_kind kind;
};

FIXTURE_VARIANT_ADD(memory, small) { .kind = MEMORY_SMALL };
FIXTURE_VARIANT_ADD(memory, front) { .kind = MEMORY_FRONT };
FIXTURE_VARIANT_ADD(memory, tail) { .kind = MEMORY_TAIL };

FIXTURE_SETUP(memory)
{
	self->before = counters_get();
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, memory_create(self->fd, &variant->kind, &self->c, &self->mem));
	self->bytes = variant->kind.bytes;
}

FIXTURE_TEARDOWN(memory)
{
	EXPECT_EQ(self->gone ? -ENOENT : 0, raw_destroy(self->fd, self->c.heap));
	close(self->fd);
	EXPECT_TRUE(counters_settle(self->before));
}

/* Moves all of [p, p + bytes) with a function like read() or write(). */
#define move_all(fn, fd, p, bytes) ({						\
	unsigned char *_p = (p);						\
	size_t _left = (bytes);							\
										\
	while (_left) {								\
		ssize_t _n = fn(fd, _p, _left);					\
										\
		if (_n <= 0)							\
			break;							\
		_p += _n;							\
		_left -= _n;							\
	}									\
	_left;									\
})

TEST_F_TIMEOUT(memory, write_and_read_a_file, TIMEOUT)
{
	const __u64 half = self->bytes / 2;
	int fd = open(TMP_FILE, O_RDWR | O_CREAT | O_TRUNC, 0600);

	ASSERT_LE(0, fd);
	unlink(TMP_FILE);
	pattern_fill(self->mem, half, 1);
	ASSERT_EQ(0, move_all(write, fd, self->mem, half));
	ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
	/* The target was never touched: the kernel takes the page faults. */
	ASSERT_EQ(0, move_all(read, fd, self->mem + half, half));
	EXPECT_TRUE(pattern_ok(self->mem + half, half, 1));
	EXPECT_TRUE(pattern_ok(self->mem, half, 1));
}

TEST_F_TIMEOUT(memory, direct_io, TIMEOUT)
{
	const __u64 half = self->bytes / 2;
	int fd = open(SCRATCH_FILE, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);

	if (fd < 0)
		SKIP(return, "no file system for direct I/O at /scratch: %s", strerror(errno));
	unlink(SCRATCH_FILE);
	pattern_fill(self->mem, half, 2);
	ASSERT_EQ(half, write(fd, self->mem, half));
	ASSERT_EQ(half, pread(fd, self->mem + half, half, 0));
	EXPECT_TRUE(pattern_ok(self->mem + half, half, 2));
	EXPECT_TRUE(pattern_ok(self->mem, half, 2));
	close(fd);
}

TEST_F_TIMEOUT(memory, direct_io_at_a_sector_inside_a_page, TIMEOUT)
{
	int fd = open(SCRATCH_FILE, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);

	if (fd < 0)
		SKIP(return, "no file system for direct I/O at /scratch: %s", strerror(errno));
	unlink(SCRATCH_FILE);
	pattern_fill(self->mem + 512, 64 * KIB, 3);
	ASSERT_EQ(64 * KIB, write(fd, self->mem + 512, 64 * KIB));
	ASSERT_EQ(64 * KIB, pread(fd, self->mem + MIB + 1536, 64 * KIB, 0));
	EXPECT_TRUE(pattern_ok(self->mem + MIB + 1536, 64 * KIB, 3));
	EXPECT_EQ(0, self->mem[MIB + 1535]);
	EXPECT_EQ(0, self->mem[MIB + 1536 + 64 * KIB]);
	close(fd);
}

TEST_F_TIMEOUT(memory, write_and_read_a_pipe, TIMEOUT)
{
	int p[2];

	ASSERT_EQ(0, pipe(p));
	for (__u64 i = 0; i < MIB; i += 32 * KIB) {
		pattern_fill(self->mem + i, 32 * KIB, i);
		ASSERT_EQ(32 * KIB, write(p[1], self->mem + i, 32 * KIB));
		ASSERT_EQ(0, move_all(read, p[0], self->mem + 2 * MIB + i, 32 * KIB));
		ASSERT_TRUE(pattern_ok(self->mem + 2 * MIB + i, 32 * KIB, i));
	}
}

TEST_F_TIMEOUT(memory, send_and_receive_on_a_socket, TIMEOUT)
{
	int s[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	for (__u64 i = 0; i < MIB; i += 32 * KIB) {
		struct iovec out[2] = {
			{ self->mem + i, 20 * KIB }, { self->mem + i + 20 * KIB, 12 * KIB },
		};

		pattern_fill(self->mem + i, 32 * KIB, i + 1);
		ASSERT_EQ(32 * KIB, writev(s[0], out, 2));
		ASSERT_EQ(0, move_all(read, s[1], self->mem + 2 * MIB + i, 32 * KIB));
		ASSERT_TRUE(pattern_ok(self->mem + 2 * MIB + i, 32 * KIB, i + 1));
	}
}

TEST_F_TIMEOUT(memory, sendfile_into_it, TIMEOUT)
{
	int fd = open(TMP_FILE, O_RDWR | O_CREAT | O_TRUNC, 0600);
	off_t at = 0;
	int s[2];

	ASSERT_LE(0, fd);
	unlink(TMP_FILE);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pattern_fill(self->mem, 32 * KIB, 4);
	ASSERT_EQ(0, move_all(write, fd, self->mem, 32 * KIB));
	ASSERT_EQ(32 * KIB, sendfile(s[0], fd, &at, 32 * KIB));
	ASSERT_EQ(0, move_all(read, s[1], self->mem + MIB, 32 * KIB));
	EXPECT_TRUE(pattern_ok(self->mem + MIB, 32 * KIB, 4));
}

TEST_F_TIMEOUT(memory, vmsplice_then_splice_to_a_file, TIMEOUT)
{
	int fd = open(TMP_FILE, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct iovec v = { self->mem, 32 * KIB };
	int p[2];

	ASSERT_LE(0, fd);
	unlink(TMP_FILE);
	ASSERT_EQ(0, pipe(p));
	pattern_fill(self->mem, 32 * KIB, 5);
	ASSERT_EQ(32 * KIB, vmsplice(p[1], &v, 1, 0));
	for (size_t left = 32 * KIB; left;) {
		ssize_t n = splice(p[0], NULL, fd, NULL, left, 0);

		ASSERT_LT(0, n);
		left -= n;
	}
	ASSERT_EQ(32 * KIB, pread(fd, self->mem + MIB, 32 * KIB, 0));
	EXPECT_TRUE(pattern_ok(self->mem + MIB, 32 * KIB, 5));
}

/* A pipe that holds heap pages keeps them, and what is in them, beyond the end of the heap. */
static void check_pipe_after_reuse(struct __test_metadata *_metadata, int fd, int pipe_fd,
				   unsigned int seed)
{
	static unsigned char buf[32 * KIB];
	struct pheap_ioc_create other;

	/* Take memory of all kinds and overwrite it: what the pipe holds must not be among it. */
	ASSERT_EQ(0, raw_create(fd, 40 * MIB, 128 * MIB, PHEAP_COMMIT_POPULATE, NULL, &other));
	memset(u64_to_ptr(other.base), 0x5A, 40 * MIB);
	ASSERT_EQ(0, move_all(read, pipe_fd, buf, sizeof(buf)));
	EXPECT_TRUE(pattern_ok(buf, sizeof(buf), seed));
	EXPECT_EQ(0, raw_destroy(fd, other.heap));
}

TEST_F_TIMEOUT(memory, pages_in_a_pipe_outlive_destroy, TIMEOUT)
{
	struct iovec v = { self->mem + 8 * PAGE, 32 * KIB };
	int p[2];

	ASSERT_EQ(0, pipe(p));
	pattern_fill(self->mem + 8 * PAGE, 32 * KIB, 6);
	ASSERT_EQ(32 * KIB, vmsplice(p[1], &v, 1, SPLICE_F_GIFT));
	ASSERT_EQ(0, raw_destroy(self->fd, self->c.heap));
	self->gone = true;
	check_pipe_after_reuse(_metadata, self->fd, p[0], 6);
	close(p[0]);
	close(p[1]);
}

TEST_F_TIMEOUT(memory, pages_in_a_pipe_outlive_the_process, TIMEOUT)
{
	int p[2], status;
	pid_t child;

	ASSERT_EQ(0, pipe(p));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct pheap_ioc_create c;
		unsigned char *mem;
		struct iovec v;

		if (memory_create(self->fd, &variant->kind, &c, &mem))
			_exit(1);
		pattern_fill(mem, 32 * KIB, 7);
		v = (struct iovec){ mem, 32 * KIB };
		if (vmsplice(p[1], &v, 1, 0) != 32 * KIB)
			_exit(2);
		raise(SIGKILL);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
	ASSERT_EQ(SIGKILL, WTERMSIG(status));
	check_pipe_after_reuse(_metadata, self->fd, p[0], 7);
}

TEST_F_TIMEOUT(memory, process_vm_readv_and_writev, TIMEOUT)
{
	int status;
	pid_t child;

	pattern_fill(self->mem, 64 * KIB, 8);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		static unsigned char buf[64 * KIB];
		struct iovec local = { buf, sizeof(buf) };
		struct iovec remote = { self->mem, sizeof(buf) };

		EXPECT_EQ(sizeof(buf), process_vm_readv(getppid(), &local, 1, &remote, 1, 0));
		EXPECT_TRUE(pattern_ok(buf, sizeof(buf), 8));
		pattern_fill(buf, sizeof(buf), 9);
		remote.iov_base = self->mem + MIB;
		EXPECT_EQ(sizeof(buf), process_vm_writev(getppid(), &local, 1, &remote, 1, 0));
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_TRUE(pattern_ok(self->mem + MIB, 64 * KIB, 9));
}

TEST_F_TIMEOUT(memory, ptrace_peek_and_poke, TIMEOUT)
{
	struct {
		__u64 addr;
		int r;
	} msg = { 0, -1 };
	int status, p[2];
	pid_t child;
	long word;

	ASSERT_EQ(0, pipe(p));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct pheap_ioc_create c;
		unsigned char *mem;

		msg.r = memory_create(self->fd, &variant->kind, &c, &mem);
		if (!msg.r) {
			msg.addr = ptr_to_u64(mem);
			*(volatile long *)mem = 0x1122334455667788;
		}
		if (write(p[1], &msg, sizeof(msg)) != sizeof(msg) ||
		    ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(1);
		raise(SIGSTOP);
		_exit(*(volatile long *)mem == 0x0102030405060708 &&
		      *(volatile long *)(mem + PAGE) == 0x1112131415161718 ? 0 : 2);
	}
	ASSERT_EQ(sizeof(msg), read(p[0], &msg, sizeof(msg)));
	ASSERT_EQ(0, msg.r);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, child, msg.addr, 0);
	EXPECT_EQ(0, errno);
	EXPECT_EQ(0x1122334455667788, word);
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, child, msg.addr, 0x0102030405060708));
	/* A page that nobody touched before the debugger. */
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, child, msg.addr + PAGE, 0x1112131415161718));
	EXPECT_EQ(0, ptrace(PTRACE_CONT, child, 0, 0));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F_TIMEOUT(memory, proc_self_mem, TIMEOUT)
{
	static unsigned char buf[64 * KIB];
	int fd = open("/proc/self/mem", O_RDWR);

	ASSERT_LE(0, fd);
	pattern_fill(self->mem, sizeof(buf), 10);
	ASSERT_EQ(sizeof(buf), pread(fd, buf, sizeof(buf), ptr_to_u64(self->mem)));
	EXPECT_TRUE(pattern_ok(buf, sizeof(buf), 10));
	pattern_fill(buf, sizeof(buf), 11);
	ASSERT_EQ(sizeof(buf), pwrite(fd, buf, sizeof(buf), ptr_to_u64(self->mem + MIB)));
	EXPECT_TRUE(pattern_ok(self->mem + MIB, sizeof(buf), 11));
	close(fd);
}

/*
 * Futexes
 */

static long futex(volatile void *word, int op, unsigned int value, const struct timespec *timeout)
{
	long r = syscall(SYS_futex, word, op, value, timeout, NULL, 0);

	return r < 0 ? -errno : r;
}

struct futex_wait {
	volatile unsigned int *word;
	int op;
	long r;
};

static void *futex_waiter(void *arg)
{
	const struct timespec hang = { .tv_sec = 30 };
	struct futex_wait *w = arg;

	w->r = futex(w->word, w->op, 1, &hang);
	return NULL;
}

static void check_futex(struct __test_metadata *_metadata, volatile unsigned int *word, int private)
{
	struct futex_wait w = { .word = word, .op = FUTEX_WAIT | private, .r = POISON };
	pthread_t thread;
	long woken = 0;

	EXPECT_EQ(-EAGAIN, futex(word, FUTEX_WAIT | private, 7, NULL));
	*word = 1;
	ASSERT_EQ(0, pthread_create(&thread, NULL, futex_waiter, &w));
	/* The word stays 1: the waiter sleeps until a wake finds it. */
	while (!woken) {
		woken = futex(word, FUTEX_WAKE | private, 1, NULL);
		sched_yield();
	}
	EXPECT_EQ(1, woken);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, w.r);
}

TEST_F_TIMEOUT(memory, private_futex, TIMEOUT)
{
	check_futex(_metadata, (volatile unsigned int *)(self->mem + 64), FUTEX_PRIVATE_FLAG);
}

TEST_F_TIMEOUT(memory, shared_futex, TIMEOUT)
{
	check_futex(_metadata, (volatile unsigned int *)(self->mem + 3 * PAGE + 64), 0);
}

TEST_F_TIMEOUT(memory, shared_futexes_at_different_words_do_not_meet, TIMEOUT)
{
	volatile unsigned int *words = (volatile unsigned int *)self->mem;
	struct futex_wait w = { .word = &words[0], .op = FUTEX_WAIT, .r = POISON };
	pthread_t thread;
	long woken = 0;

	words[0] = 1;
	words[1024] = 1;
	ASSERT_EQ(0, pthread_create(&thread, NULL, futex_waiter, &w));
	while (!woken) {
		/* The same offset in other pages, near and far. */
		EXPECT_EQ(0, futex(&words[1024], FUTEX_WAKE, 1, NULL));
		EXPECT_EQ(0, futex(&words[2 * MIB / 4], FUTEX_WAKE, 1, NULL));
		woken = futex(&words[0], FUTEX_WAKE, 1, NULL);
		sched_yield();
	}
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, w.r);
}

/*
 * io_uring, by plain system calls
 */

struct ring {
	int fd;
	struct io_uring_params params;
	unsigned char *rings;
	struct io_uring_sqe *sqes;
};

static int ring_start(struct ring *r)
{
	size_t bytes;

	memset(r, 0, sizeof(*r));
	r->fd = syscall(SYS_io_uring_setup, 4, &r->params);
	if (r->fd < 0)
		return -errno;
	/* Both rings are one mapping since 5.4 (IORING_FEAT_SINGLE_MMAP). */
	bytes = r->params.cq_off.cqes + r->params.cq_entries * sizeof(struct io_uring_cqe);
	if (bytes < r->params.sq_off.array + r->params.sq_entries * sizeof(__u32))
		bytes = r->params.sq_off.array + r->params.sq_entries * sizeof(__u32);
	r->rings = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
			IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, r->params.sq_entries * sizeof(*r->sqes), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	return r->rings == MAP_FAILED || (void *)r->sqes == MAP_FAILED ? -errno : 0;
}

/* One operation from start to end; returns its result. */
static int ring_do(struct ring *r, int op, int fd, void *p, unsigned int bytes)
{
	unsigned int *sq_tail = (unsigned int *)(r->rings + r->params.sq_off.tail);
	unsigned int *sq_mask = (unsigned int *)(r->rings + r->params.sq_off.ring_mask);
	unsigned int *sq_array = (unsigned int *)(r->rings + r->params.sq_off.array);
	unsigned int *cq_head = (unsigned int *)(r->rings + r->params.cq_off.head);
	unsigned int *cq_mask = (unsigned int *)(r->rings + r->params.cq_off.ring_mask);
	struct io_uring_cqe *cqes = (struct io_uring_cqe *)(r->rings + r->params.cq_off.cqes);
	unsigned int at = *sq_tail & *sq_mask;
	int res;

	memset(&r->sqes[at], 0, sizeof(r->sqes[at]));
	r->sqes[at].opcode = op;
	r->sqes[at].fd = fd;
	r->sqes[at].addr = ptr_to_u64(p);
	r->sqes[at].len = bytes;
	sq_array[at] = at;
	__atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	res = cqes[*cq_head & *cq_mask].res;
	__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
	return res;
}

TEST_F_TIMEOUT(memory, io_uring_read_and_write, TIMEOUT)
{
	int fd = open(TMP_FILE, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct ring ring;
	int r;

	ASSERT_LE(0, fd);
	unlink(TMP_FILE);
	r = ring_start(&ring);
	if (r)
		SKIP(return, "no io_uring: %s", strerror(-r));
	pattern_fill(self->mem, 64 * KIB, 12);
	EXPECT_EQ(64 * KIB, ring_do(&ring, IORING_OP_WRITE, fd, self->mem, 64 * KIB));
	EXPECT_EQ(64 * KIB, ring_do(&ring, IORING_OP_READ, fd, self->mem + MIB, 64 * KIB));
	EXPECT_TRUE(pattern_ok(self->mem + MIB, 64 * KIB, 12));
	close(ring.fd);
}

TEST_F_TIMEOUT(memory, io_uring_registered_buffers, TIMEOUT)
{
	struct iovec v = { self->mem, 2 * MIB };
	struct ring ring;
	int fd, r;

	r = ring_start(&ring);
	if (r)
		SKIP(return, "no io_uring: %s", strerror(-r));
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &v, 1)) {
		ASSERT_EQ(EOPNOTSUPP, errno);
		SKIP(return, "this kernel registers no buffers in mappings of files (before 6.5)");
	}
	fd = open(SCRATCH_FILE, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	if (fd < 0)
		fd = open(TMP_FILE, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_LE(0, fd);
	pattern_fill(self->mem, 64 * KIB, 13);
	EXPECT_EQ(64 * KIB, ring_do(&ring, IORING_OP_WRITE_FIXED, fd, self->mem, 64 * KIB));
	EXPECT_EQ(64 * KIB, ring_do(&ring, IORING_OP_READ_FIXED, fd, self->mem + MIB, 64 * KIB));
	EXPECT_TRUE(pattern_ok(self->mem + MIB, 64 * KIB, 13));
	/*
	 * The kernel holds the pages for as long as the
	 * buffer is registered, also without the heap.
	 */
	ASSERT_EQ(0, raw_destroy(self->fd, self->c.heap));
	self->gone = true;
	EXPECT_EQ(0, syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
	close(ring.fd);
	close(fd);
	unlink(SCRATCH_FILE);
	unlink(TMP_FILE);
}

/*
 * Residence
 */

TEST_F_TIMEOUT(memory, mincore_tells_touched_pages, TIMEOUT)
{
	unsigned char vec[16];

	memset(self->mem, 1, 16 * PAGE);
	memset(vec, POISON_BYTE, sizeof(vec));
	ASSERT_EQ(0, mincore(self->mem, 16 * PAGE, vec));
	for (unsigned int i = 0; i < 16; i++)
		EXPECT_EQ(1, vec[i] & 1);
}

TEST_F_TIMEOUT(memory, mlock_and_munlock, TIMEOUT)
{
	struct pheap_ioc_stat st;
	__u64 committed;

	pattern_fill(self->mem, 16 * PAGE, 14);
	/*
	 * A part: flags may change only for a whole mapping. Nothing
	 * is lost by asking: heap memory is always locked.
	 */
	mlock(self->mem, 16 * PAGE);
	munlock(self->mem, 16 * PAGE);
	EXPECT_TRUE(pattern_ok(self->mem, 16 * PAGE, 14));
	ASSERT_EQ(0, raw_stat(self->fd, self->c.heap, &st));
	EXPECT_EQ(0, raw_commit(self->fd, self->c.heap, st.committed_bytes + PAGE, 0, &committed));
	EXPECT_LE(st.committed_bytes + PAGE, committed);
	EXPECT_EQ(0, touch(self->mem, true));
}

/*
 * Across the mappings that one large heap consists of
 */

TEST(transfers_cross_the_borders_of_mappings)
{
	const __u64 borders[] = { 16 * MIB, 32 * MIB };
	int dev = device_open(), fd = open(TMP_FILE, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct pheap_ioc_create c;
	unsigned char *base;

	ASSERT_LE(0, dev);
	ASSERT_LE(0, fd);
	unlink(TMP_FILE);
	ASSERT_EQ(0, raw_create(dev, 40 * MIB, 128 * MIB, 0, NULL, &c));
	base = u64_to_ptr(c.base);
	for (unsigned int i = 0; i < ARRAY_LEN(borders); i++) {
		unsigned char *p = base + borders[i] - 96 * KIB;

		pattern_fill(p, 192 * KIB, 15 + i);
		ASSERT_EQ(192 * KIB, pwrite(fd, p, 192 * KIB, 0));
		memset(p, 0, 192 * KIB);
		ASSERT_EQ(192 * KIB, pread(fd, p, 192 * KIB, 0));
		EXPECT_TRUE(pattern_ok(p, 192 * KIB, 15 + i));
	}
	EXPECT_EQ(0, raw_destroy(dev, c.heap));
}

TEST(direct_io_crosses_the_borders_of_mappings)
{
	const __u64 borders[] = { 16 * MIB, 32 * MIB };
	int dev = device_open(),
	    fd = open(SCRATCH_FILE, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	struct pheap_ioc_create c;
	unsigned char *base;

	ASSERT_LE(0, dev);
	if (fd < 0)
		SKIP(return, "no file system for direct I/O at /scratch: %s", strerror(errno));
	unlink(SCRATCH_FILE);
	ASSERT_EQ(0, raw_create(dev, 40 * MIB, 128 * MIB, 0, NULL, &c));
	base = u64_to_ptr(c.base);
	for (unsigned int i = 0; i < ARRAY_LEN(borders); i++) {
		unsigned char *p = base + borders[i] - 96 * KIB;

		pattern_fill(p, 192 * KIB, 17 + i);
		ASSERT_EQ(192 * KIB, pwrite(fd, p, 192 * KIB, 0));
		memset(p, 0, 192 * KIB);
		ASSERT_EQ(192 * KIB, pread(fd, p, 192 * KIB, 0));
		EXPECT_TRUE(pattern_ok(p, 192 * KIB, 17 + i));
	}
	EXPECT_EQ(0, raw_destroy(dev, c.heap));
}

/*
 * The kernel's own access to what is not committed fails as the program's does, and harms nothing.
 */
TEST(transfers_to_uncommitted_memory_are_efault)
{
	int dev = device_open(), p[2];
	struct pheap_ioc_create c;
	unsigned char *beyond;

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, raw_create(dev, MIB, 128 * MIB, 0, NULL, &c));
	beyond = u64_to_ptr(c.base + c.committed_bytes);
	EXPECT_EQ(-1, write(p[1], beyond, 16));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(16, write(p[1], "0123456789abcdef", 16));
	EXPECT_EQ(-1, read(p[0], u64_to_ptr(c.base + 64 * MIB), 16));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, touch(beyond - 1, true));
	EXPECT_EQ(0, raw_destroy(dev, c.heap));
}

TEST_HARNESS_MAIN
