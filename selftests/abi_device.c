// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/pheap as a file: what is no command of it, and that neither the device nor a heap can be had
 * as a file in any other way than by the commands.
 */
#include "abi_env.h"
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define NR_COMMANDS	12

#ifndef __NR_mseal
#define __NR_mseal 462
#endif

FIXTURE(device)
{
	struct env env;
	int fd;
};

FIXTURE_SETUP(device)
{
	ASSERT_EQ(0, env_setup(&self->env));
	self->fd = self->env.fd;
}

FIXTURE_TEARDOWN(device)
{
	close(self->fd);
}

TEST_F(device, unknown_command_is_ENOTTY)
{
	struct pheap_ioc_info info = { .size = sizeof(info) };
	struct snapshot before = snapshot_take(&self->env), after;
	unsigned int nr;

	for (nr = NR_COMMANDS; nr < 256; nr++) {
		EXPECT_EQ(-ENOTTY, raw_ioctl(self->fd, _IO(PHEAP_IOC_TYPE, nr), &info)) {
			TH_LOG("command %u", nr);
		}
		EXPECT_EQ(-ENOTTY, raw_ioctl(self->fd, _IO(PHEAP_IOC_TYPE, nr), NULL));
	}
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(device, wrong_type_byte_or_encoding_is_ENOTTY)
{
	struct snapshot before = snapshot_take(&self->env), after;
	struct pheap_ioc_info info = { .size = sizeof(info) };
	unsigned int nr;

	for (nr = 0; nr < NR_COMMANDS; nr++) {
		EXPECT_EQ(-ENOTTY, raw_ioctl(self->fd, _IO(PHEAP_IOC_TYPE - 1, nr), &info));
		EXPECT_EQ(-ENOTTY, raw_ioctl(self->fd, _IO(PHEAP_IOC_TYPE + 1, nr), &info));
		EXPECT_EQ(-ENOTTY, raw_ioctl(self->fd, _IOW(PHEAP_IOC_TYPE, nr, info), &info));
		EXPECT_EQ(-ENOTTY, raw_ioctl(self->fd, _IOWR(PHEAP_IOC_TYPE, nr, info), &info));
	}
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(device, device_cannot_be_read_written_or_positioned)
{
	struct snapshot before = snapshot_take(&self->env), after;
	char buf[16] = "";

	EXPECT_EQ(-1, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, pread(self->fd, buf, sizeof(buf), 4096));
	EXPECT_EQ(-1, pwrite(self->fd, buf, sizeof(buf), 4096));
	EXPECT_EQ(-1, ftruncate(self->fd, 4096));
	/* Refused or without effect, as the kernel has it for devices without a position. */
	EXPECT_GE(0, lseek(self->fd, 4096, SEEK_SET));
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
}

TEST_F(device, device_poll_returns_at_once)
{
	struct pollfd p = { .fd = self->fd, .events = POLLIN | POLLOUT };

	EXPECT_LE(0, poll(&p, 1, 0));
	EXPECT_EQ(0, p.revents & (POLLNVAL | POLLERR | POLLHUP));
}

TEST_F(device, device_cannot_be_mapped)
{
	struct snapshot before = snapshot_take(&self->env), after;
	static const int prot[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_EXEC };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(prot); i++) {
		EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, prot[i], MAP_SHARED, self->fd, 0));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, prot[i], MAP_PRIVATE, self->fd, 0));
		EXPECT_EQ(MAP_FAILED,
			  mmap(NULL, PAGE, prot[i], MAP_SHARED, self->fd, self->env.base));
		EXPECT_EQ(MAP_FAILED, mmap(u64_to_ptr(self->env.base), PAGE, prot[i],
					   MAP_SHARED | MAP_FIXED, self->fd, self->env.base));
	}
	after = snapshot_take(&self->env);
	EXPECT_TRUE(snapshot_equal(&before, &after));
	memset(self->env.block, 1, 100);
}

TEST_F(device, device_opened_read_only_serves_as_well)
{
	int fd = open(PHEAP_DEVICE, O_RDONLY);
	struct pheap_ioc_stat st;
	void *p;

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, raw_stat(fd, self->env.heap, &st));
	EXPECT_EQ(0, raw_alloc(fd, self->env.heap, 10, &p));
	EXPECT_EQ(0, raw_free(self->fd, self->env.heap, p));
	close(fd);
}

TEST_F(device, heap_lives_without_any_descriptor)
{
	struct pheap_ioc_stat st;

	memset(self->env.block, 7, 100);
	close(self->fd);
	EXPECT_TRUE(bytes_are(self->env.block, 7, 100));
	memset(self->env.block, 8, 100);
	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, raw_stat(self->fd, self->env.heap, &st));
	EXPECT_EQ(1, st.nr_blocks);
	EXPECT_EQ(0, raw_free(self->fd, self->env.heap, self->env.block));
}

struct map_range {
	__u64 start, end;
};

static void map_range_take(const char *line, __u64 start, __u64 end, void *arg)
{
	struct map_range *r = arg;

	(void)line;
	r->start = start;
	r->end = end;
}

TEST_F(device, heap_file_cannot_be_had_through_map_files)
{
	struct map_range r = { 0 };
	char path[96];
	int fd;

	ASSERT_EQ(1, smaps_walk(0, self->env.base, PAGE, map_range_take, &r));
	snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx", r.start, r.end);
	fd = open(path, O_RDWR);
	if (fd >= 0) {
		EXPECT_EQ(MAP_FAILED, mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
					   self->env.base));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, MIB, PROT_READ, MAP_PRIVATE, fd, self->env.base));
		EXPECT_NE(0, ftruncate(fd, 0));
		EXPECT_EQ(-ENOTTY, raw_ioctl(fd, PHEAP_IOC_INFO, self->env.area));
		close(fd);
	}
	memset(self->env.block, 1, 100);
	EXPECT_EQ(0, raw_free(self->fd, self->env.heap, self->env.block));
}

TEST_F(device, sealed_heap_cannot_be_destroyed_and_ends_with_the_process)
{
	struct pheap_counters start;
	int status;
	pid_t pid;

	ASSERT_EQ(0, raw_destroy(self->fd, self->env.heap));
	start = counters_get();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct pheap_ioc_create c;
		struct pheap_ioc_stat st;
		void *p;

		if (raw_create(self->fd, 0, 64 * KIB, 0, NULL, &c))
			_exit(1);
		if (syscall(__NR_mseal, (long)c.base, (long)c.reserved_bytes, 0L))
			_exit(KSFT_SKIP);
		if (raw_destroy(self->fd, c.heap) != -EPERM)
			_exit(3);
		if (raw_stat(self->fd, c.heap, &st) || st.nr_blocks)
			_exit(4);
		if (raw_alloc(self->fd, c.heap, 1000, &p))
			_exit(5);
		memset(p, 1, 1000);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_TRUE(counters_settle(start));
	if (WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "this kernel has no mseal");
	EXPECT_EQ(0, WEXITSTATUS(status));
}

TEST_HARNESS_MAIN
