// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * device.c - the descriptor of /dev/pheap, and every ioctl of the library.
 *
 * Owns one descriptor per process, opened on first use, close-on-exec, and moved to a high number
 * where programs that count on low numbers do not meet it. Programs close descriptors that are
 * not theirs (closefrom(), loops over all numbers) and then open others, which may get our
 * number. So an *error* of an ioctl is believed only after fstat() has told that the number still
 * leads to our device; if it does not, the number is forgotten and the device opened again. No
 * heap is lost by that: heaps belong to the address space, and any descriptor of the device
 * reaches them.
 *
 * Never closes a number that it did not open in the same call, because by then it may be somebody
 * else's.
 */
#include "internal.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE_PATH	"/dev/pheap"

/* How often a call opens the device before it gives up against a thread that keeps closing it. */
#define MAX_REOPENS	256

/*
 * The device number in the upper half, descriptor + 1 in the lower; 0: none. One word, so that a
 * number is never compared with the device of another. Device numbers have 32 bits in the kernel.
 * Inherited by a fork: see internal.h.
 */
static atomic_ullong device_word;

static uint64_t device_encode(int fd, dev_t rdev)
{
	return (uint64_t)(uint32_t)rdev << 32 | (uint32_t)(fd + 1);
}

static int device_fd(uint64_t word)
{
	return (int)(uint32_t)word - 1;
}

/* Does the number in @word still lead to the device that it was opened for? */
static int device_is_ours(uint64_t word)
{
	struct stat st;

	return !fstat(device_fd(word), &st) && S_ISCHR(st.st_mode) &&
	       (uint32_t)st.st_rdev == word >> 32;
}

/*
 * Moves a fresh descriptor to a high number: just below 1024, or below the limit of the process
 * where that is less. Not higher, because the kernel's table of descriptors is as long as the
 * highest number. A descriptor stays where it is if there is no room above, but never at 0, 1 or
 * 2.
 *
 * Return: the descriptor, or a negative errno value and @fd is closed.
 */
static int device_move_up(int fd)
{
	struct rlimit limit;
	int min = 1024, moved;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < (rlim_t)min)
		min = (int)limit.rlim_cur;
	min -= min / 8;
	if (fd >= min)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, min);
	if (moved < 0 && fd <= STDERR_FILENO)
		moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (moved < 0 && fd > STDERR_FILENO)
		return fd;
	close(fd);
	return moved < 0 ? -EMFILE : moved;
}

static int open_error(int err)
{
	switch (err) {
	case ENOENT:
	case ENXIO:
		return -ENODEV;
	case EPERM:
		return -EACCES;
	default:
		return -err;
	}
}

/*
 * Opens the device and publishes it, unless another thread was faster.
 *
 * Return: 0 or a negative errno value; -EBADF if somebody closed it right away.
 */
static int device_open(unsigned long long *word)
{
	struct pheap_ioc_info info = { .size = sizeof(info) };
	unsigned long long seen = 0;
	struct stat st;
	int fd;

	fd = open(DEVICE_PATH, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return open_error(errno);
	/* Something else may lie at that path: only the module answers this. */
	if (fstat(fd, &st) || ioctl(fd, PHEAP_IOC_INFO, &info)) {
		if (errno == EBADF)
			return -EBADF;
		close(fd);
		return -ENODEV;
	}
	fd = device_move_up(fd);
	if (fd < 0)
		return fd;
	*word = device_encode(fd, st.st_rdev);
	if (!atomic_compare_exchange_strong(&device_word, &seen, *word)) {
		close(fd);
		*word = seen;
	}
	return 0;
}

/**
 * heapuser_device_call() - one ioctl on the device
 * @cmd: PHEAP_IOC_*
 * @arg: its struct
 *
 * Return: 0, or a negative errno value in the terms of the library: a heap that the module does
 * not know is
 * -EINVAL, a module that is not there -ENODEV.
 */
int heapuser_device_call(unsigned int cmd, void *arg)
{
	unsigned long long word;
	int err, i;

	for (i = 0; i < MAX_REOPENS; i++) {
		word = atomic_load_explicit(&device_word, memory_order_relaxed);
		if (!word) {
			err = device_open(&word);
			if (err == -EBADF)
				continue;
			if (err)
				return err;
		}
		if (!ioctl(device_fd(word), cmd, arg))
			return 0;
		err = errno;
		if (device_is_ours(word))
			return err == ENOENT ? -EINVAL : -err;
		atomic_compare_exchange_strong(&device_word, &word, 0);
	}
	return -ENODEV;
}
