// SPDX-License-Identifier: GPL-2.0
/*
 * The module without the library: what one ioctl costs that does nothing, and one that allocates or
 * frees a block of a warm heap.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/pheap.h>

#include "bench.h"

#define NR_BLOCKS	1000
#define COMMIT_BYTES	(8 * MIB)
#define REPEATS		3

static uint64_t blocks[NR_BLOCKS];

static void alloc_all(int fd, uint64_t heap, size_t bytes)
{
	struct pheap_ioc_alloc arg = { .size = sizeof(arg), .heap = heap, .bytes = bytes };
	size_t i;

	for (i = 0; i < NR_BLOCKS; i++) {
		if (ioctl(fd, PHEAP_IOC_ALLOC, &arg))
			bench_fail("ALLOC");
		blocks[i] = arg.addr;
	}
}

static void free_all(int fd, uint64_t heap)
{
	struct pheap_ioc_free arg = { .size = sizeof(arg), .heap = heap };
	size_t i;

	for (i = 0; i < NR_BLOCKS; i++) {
		arg.addr = blocks[i];
		if (ioctl(fd, PHEAP_IOC_FREE, &arg))
			bench_fail("FREE");
	}
}

static void run_ioctl(const struct bench_test *test)
{
	struct pheap_ioc_create create = {
		.size = sizeof(create),
		.flags = PHEAP_COMMIT_POPULATE,
		.initial_bytes = COMMIT_BYTES,
		.maximum_bytes = COMMIT_BYTES,
	};
	int fd = open("/dev/pheap", O_RDWR | O_CLOEXEC), k;
	size_t i;

	/* The stub has no device. */
	if (fd < 0)
		return;
	if (ioctl(fd, PHEAP_IOC_CREATE, &create))
		bench_fail("CREATE");
	alloc_all(fd, create.heap, test->arg);
	free_all(fd, create.heap);
	for (k = 0; k < REPEATS; k++) {
		measure_begin();
		for (i = 0; i < NR_BLOCKS; i++)
			ioctl(fd, _IO(PHEAP_IOC_TYPE, 0xff), NULL);
		measure_end("ioctl/empty", NR_BLOCKS);
		measure_begin();
		alloc_all(fd, create.heap, test->arg);
		measure_end("ioctl/alloc", NR_BLOCKS);
		measure_begin();
		free_all(fd, create.heap);
		measure_end("ioctl/free", NR_BLOCKS);
	}
}

const struct bench_test ioctl_tests[] = {
	{ "ioctl", run_ioctl, 64, CAN_IOCTL, false, false },
	{ NULL, NULL, 0, 0, false, false }
};
