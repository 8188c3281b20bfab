// SPDX-License-Identifier: GPL-2.0
/*
 * The descriptor of libheapuser: out of the way, not inherited by exec, opened anew when somebody
 * closed it, never mistaken for another file that took its number, and what is said when there is
 * none to be had.
 */
#include "lib_env.h"
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include "kselftest_harness.h"

static int set_nofile(rlim_t n)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return -errno;
	r.rlim_cur = n;
	if (r.rlim_max < n)
		r.rlim_max = n;
	return setrlimit(RLIMIT_NOFILE, &r) ? -errno : 0;
}

FIXTURE(descriptor)
{
	struct pheap *heap;
	unsigned char *block;
	int fd;
};

FIXTURE_SETUP(descriptor)
{
	ASSERT_EQ(0, set_nofile(1024));
	self->heap = pheap_create(0, MIB, 0);
	ASSERT_NE(NULL, self->heap)
		TH_LOG("%s", pheap_strerror(errno));
	self->block = pheap_alloc(self->heap, 500);
	ASSERT_NE(NULL, self->block);
	pattern_fill(self->block, 500, 1);
	ASSERT_EQ(1, device_descriptors(&self->fd));
}

/* Nothing was lost, and nothing leaked. */
FIXTURE_TEARDOWN(descriptor)
{
	EXPECT_TRUE(pattern_ok(self->block, 500, 1));
	EXPECT_TRUE(handle_serves(self->heap));
	EXPECT_EQ(0, pheap_free(self->heap, self->block));
	EXPECT_EQ(0, pheap_destroy(self->heap));
}

TEST_F(descriptor, high_number)
{
	EXPECT_GE(self->fd, 512);
	EXPECT_LT(self->fd, 1024);
}

TEST_F(descriptor, close_on_exec)
{
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->fd, F_GETFD));
}

TEST_F(descriptor, one_for_all_calls)
{
	struct pheap *h = pheap_create(0, MIB, 0);

	ASSERT_NE(NULL, h);
	EXPECT_TRUE(handle_serves(h));
	EXPECT_EQ(0, pheap_destroy(h));
	EXPECT_EQ(1, device_descriptors(NULL));
}

TEST_F(descriptor, closed)
{
	ASSERT_EQ(0, close(self->fd));
	EXPECT_TRUE(handle_serves(self->heap));
	EXPECT_EQ(1, device_descriptors(NULL));
}

TEST_F(descriptor, closefrom)
{
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, syscall(SYS_close_range, 3, ~0U, 0));
		EXPECT_TRUE(handle_serves(self->heap));
		EXPECT_TRUE(pattern_ok(self->block, 500, 1));
		EXPECT_EQ(1, device_descriptors(NULL));
	}
}

TEST_F(descriptor, every_call_reopens)
{
	struct pheap_stat st;
	struct pheap *h;
	void *p;

	close(self->fd);
	h = pheap_create(0, MIB, 0);
	ASSERT_NE(NULL, h);
	syscall(SYS_close_range, 3, ~0U, 0);
	p = pheap_alloc(h, 1);
	ASSERT_NE(NULL, p);
	syscall(SYS_close_range, 3, ~0U, 0);
	EXPECT_LE(1, pheap_usable_size(h, p));
	syscall(SYS_close_range, 3, ~0U, 0);
	EXPECT_EQ(0, pheap_stat(h, &st, sizeof(st)));
	syscall(SYS_close_range, 3, ~0U, 0);
	EXPECT_EQ(0, pheap_commit(h, 8192, 0));
	syscall(SYS_close_range, 3, ~0U, 0);
	EXPECT_EQ(0, pheap_free(h, p));
	syscall(SYS_close_range, 3, ~0U, 0);
	EXPECT_EQ(0, pheap_destroy(h));
}

/*
 * Another file takes the number: the library must leave it alone. Character devices and files
 * that answer strange ioctls with other errors than ENOTTY are among them.
 */
static int other_file(int kind)
{
	int pair[2];

	switch (kind) {
	case 0:
		return memfd_create("other", 0);
	case 1:
		return open("/dev/null", O_RDWR);
	case 2:
		return open("/dev/zero", O_RDWR);
	case 3:
		return epoll_create1(0);
	case 4:
		return socket(AF_UNIX, SOCK_DGRAM, 0);
	case 5:
		if (pipe(pair))
			return -1;
		close(pair[0]);
		return pair[1];
	case 6:
		return open("/", O_RDONLY | O_DIRECTORY);
	case 7:
		return open("/proc/self/maps", O_RDONLY);
	case 8:
		return open("/", O_PATH);
	default:
		return -2;
	}
}

TEST_F(descriptor, number_taken_by_another_file)
{
	struct stat mine, now;
	int kind, fd, lib;

	for (kind = 0; ; kind++) {
		ASSERT_EQ(1, device_descriptors(&lib));
		fd = other_file(kind);
		if (fd == -2)
			break;
		ASSERT_GE(fd, 0);
		ASSERT_EQ(lib, dup2(fd, lib));
		ASSERT_EQ(0, fstat(fd, &mine));
		EXPECT_TRUE(handle_serves(self->heap))
			TH_LOG("kind %d", kind);
		EXPECT_TRUE(pattern_ok(self->block, 500, 1));
		ASSERT_EQ(0, fstat(lib, &now))
			TH_LOG("kind %d: the file was closed", kind);
		EXPECT_EQ(mine.st_ino, now.st_ino);
		EXPECT_EQ(mine.st_dev, now.st_dev);
		EXPECT_EQ(mine.st_size, now.st_size);
		EXPECT_EQ(0, fcntl(lib, F_GETFD));
		close(lib);
		close(fd);
	}
	EXPECT_EQ(9, kind);
}

/* An error of the other file is not one of the heap; the heap's own are still told. */
TEST_F(descriptor, errors_come_from_the_device)
{
	int fd = open("/dev/null", O_RDWR);

	ASSERT_EQ(self->fd, dup2(fd, self->fd));
	errno = 0;
	EXPECT_EQ(NULL, pheap_alloc(self->heap, 2 * MIB));
	EXPECT_EQ(ENOSPC, errno);
	errno = 0;
	EXPECT_EQ(-1, pheap_free(self->heap, self->block + 16));
	EXPECT_EQ(EINVAL, errno);
	close(fd);
}

/* The program's own descriptor of the device takes the number: it serves, and stays. */
TEST_F(descriptor, number_taken_by_the_same_device)
{
	int own = device_open();

	ASSERT_GE(own, 0);
	ASSERT_EQ(self->fd, dup2(own, self->fd));
	EXPECT_TRUE(handle_serves(self->heap));
	EXPECT_EQ(2, device_descriptors(NULL));
	close(own);
}

TEST_F(descriptor, closed_by_another_thread_of_control)
{
	pid_t pid;
	int status, i;

	/* A child that shares the table of descriptors, but not the memory. */
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	ASSERT_GE(pid, 0);
	if (!pid) {
		for (i = 0; i < 200; i++)
			syscall(SYS_close_range, 512, ~0U, 0);
		_exit(0);
	}
	for (i = 0; i < 200; i++)
		ASSERT_TRUE(handle_serves(self->heap));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST(low_limit)
{
	struct pheap *h;
	int fd, n;

	for (n = 5; n < 40; n++) {
		ASSERT_EQ(0, set_nofile(n));
		h = pheap_create(0, MIB, 0);
		ASSERT_NE(NULL, h)
			TH_LOG("limit %d: %s", n, pheap_strerror(errno));
		EXPECT_TRUE(handle_serves(h));
		ASSERT_EQ(1, device_descriptors(&fd));
		EXPECT_GE(fd, 3);
		EXPECT_LT(fd, n);
		EXPECT_EQ(0, pheap_destroy(h));
		close(fd);
	}
}

TEST(standard_descriptors_closed)
{
	int saved[3], i, lib = -1, open_low = 0;
	struct pheap *h;

	for (i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
		close(i);
	}
	h = pheap_create(0, MIB, 0);
	for (i = 0; i < 3; i++)
		open_low += fcntl(i, F_GETFD) >= 0;
	for (i = 0; i < 3; i++)
		if (saved[i] >= 0)
			dup2(saved[i], i);
	ASSERT_NE(NULL, h);
	EXPECT_EQ(0, open_low);
	EXPECT_EQ(1, device_descriptors(&lib));
	EXPECT_GE(lib, 3);
	EXPECT_TRUE(handle_serves(h));
}

TEST(no_descriptor_free)
{
	struct pheap *h;
	int fd, next;

	next = open("/dev/null", O_RDONLY);
	ASSERT_GE(next, 0);
	ASSERT_EQ(0, set_nofile(next + 1));
	fd = next;
	while (fd >= 0)
		fd = open("/dev/null", O_RDONLY);
	ASSERT_EQ(EMFILE, errno);
	errno = 0;
	EXPECT_EQ(NULL, pheap_create(0, MIB, 0));
	EXPECT_EQ(EMFILE, errno);
	EXPECT_EQ(0, pheap_process_heaps(NULL, 0));
	/* One is enough, and it need not be a high one. */
	close(next);
	h = pheap_create(0, MIB, 0);
	ASSERT_NE(NULL, h);
	EXPECT_TRUE(handle_serves(h));
}

/* A /dev of our own, in which the device is what a test makes of it. */
FIXTURE(dev)
{
	dev_t device;
};

FIXTURE_SETUP(dev)
{
	struct stat st;

	if (geteuid())
		SKIP(return, "needs root for a mount namespace");
	ASSERT_EQ(0, stat(PHEAP_DEVICE, &st));
	self->device = st.st_rdev;
	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ASSERT_EQ(0, mount("tmpfs", "/dev", "tmpfs", 0, "mode=755"));
}

FIXTURE_TEARDOWN(dev)
{
}

static int create_errno(void)
{
	errno = 0;
	return pheap_create(0, MIB, 0) ? 0 : errno;
}

TEST_F(dev, missing)
{
	EXPECT_EQ(ENODEV, create_errno());
	EXPECT_EQ(0, pheap_process_heaps(NULL, 0));
	/* It comes later: no restart is needed. */
	ASSERT_EQ(0, mknod(PHEAP_DEVICE, S_IFCHR | 0666, self->device));
	EXPECT_EQ(0, create_errno());
	EXPECT_EQ(1, pheap_process_heaps(NULL, 0));
}

TEST_F(dev, node_without_a_driver)
{
	ASSERT_EQ(0, mknod(PHEAP_DEVICE, S_IFCHR | 0666, makedev(4000, 0)));
	EXPECT_EQ(ENODEV, create_errno());
}

TEST_F(dev, another_device)
{
	ASSERT_EQ(0, mknod(PHEAP_DEVICE, S_IFCHR | 0666, makedev(1, 3)));
	EXPECT_EQ(ENODEV, create_errno());
}

TEST_F(dev, regular_file)
{
	int fd = open(PHEAP_DEVICE, O_CREAT | O_WRONLY, 0666);
	struct stat st;

	ASSERT_EQ(4, write(fd, "data", 4));
	close(fd);
	EXPECT_EQ(ENODEV, create_errno());
	ASSERT_EQ(0, stat(PHEAP_DEVICE, &st));
	EXPECT_EQ(4, st.st_size);
}

TEST_F(dev, no_permission)
{
	umask(0);
	ASSERT_EQ(0, mknod(PHEAP_DEVICE, S_IFCHR | 0600, self->device));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	EXPECT_EQ(EACCES, create_errno());
}

TEST_F(dev, permission_by_mode)
{
	umask(0);
	ASSERT_EQ(0, mknod(PHEAP_DEVICE, S_IFCHR | 0666, self->device));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	EXPECT_EQ(0, create_errno());
}

/* Descriptor gone, device gone: errors, but no heap is lost. */
TEST_F(dev, gone_and_back)
{
	struct pheap *h;
	void *p;

	ASSERT_EQ(0, mknod(PHEAP_DEVICE, S_IFCHR | 0666, self->device));
	h = pheap_create(0, MIB, 0);
	ASSERT_NE(NULL, h);
	p = pheap_zalloc(h, 100);
	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, unlink(PHEAP_DEVICE));
	/* The open descriptor serves. */
	EXPECT_TRUE(handle_serves(h));
	syscall(SYS_close_range, 3, ~0U, 0);
	errno = 0;
	EXPECT_EQ(NULL, pheap_alloc(h, 1));
	EXPECT_EQ(ENODEV, errno);
	errno = 0;
	EXPECT_EQ(-1, pheap_free(h, p));
	EXPECT_EQ(ENODEV, errno);
	errno = 0;
	EXPECT_EQ(-1, pheap_destroy(h));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(1, pheap_process_heaps(NULL, 0));
	ASSERT_EQ(0, mknod(PHEAP_DEVICE, S_IFCHR | 0666, self->device));
	EXPECT_TRUE(handle_serves(h));
	EXPECT_EQ(0, pheap_free(h, p));
	EXPECT_EQ(0, pheap_destroy(h));
}

TEST_HARNESS_MAIN
