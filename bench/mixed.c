// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks of many sizes and lifetimes in one heap: its speed, and how much memory it has for what is
 * live at the peak. The memory of pheap is what is committed; that of the peers is the growth of
 * the peak resident set. Every page of a block is touched.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define NR_SLOTS	20000

static struct {
	void *p;
	size_t bytes;
} slots[NR_SLOTS];

static size_t live, peak;

/* 70 % up to 256 bytes, 20 % to 2 KiB, 8 % to 16 KiB, 2 % to 128 KiB. */
static size_t choose_bytes(uint64_t *random)
{
	uint32_t kind = bench_random(random) % 100, r = bench_random(random);

	if (kind < 70)
		return 16 + r % 241;
	if (kind < 90)
		return 257 + r % 1792;
	if (kind < 98)
		return 2049 + r % (14 * KIB);
	return 16 * KIB + r % (112 * KIB);
}

/* The product of two numbers: slots at the low end live shortly, those at the high end for long. */
static size_t choose_slot(uint64_t *random)
{
	uint64_t a = bench_random(random) % NR_SLOTS, b = bench_random(random) % NR_SLOTS;

	return a * b / NR_SLOTS;
}

static void churn(void *heap, unsigned long n, uint64_t *random)
{
	while (n--) {
		size_t s = choose_slot(random), i;

		if (slots[s].p) {
			heap_free(heap, slots[s].p);
			live -= slots[s].bytes;
			slots[s].p = NULL;
			continue;
		}
		slots[s].bytes = choose_bytes(random);
		slots[s].p = bench_alloc(heap, slots[s].bytes);
		for (i = PAGE; i < slots[s].bytes; i += PAGE)
			((volatile char *)slots[s].p)[i] = 1;
		live += slots[s].bytes;
		if (live > peak)
			peak = live;
	}
}

/* A line of /proc/self/status, in bytes. */
static size_t status_bytes(const char *key)
{
	char text[4096], *line;
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	size_t kib = 0;

	close(fd);
	if (n <= 0)
		bench_fail("reading /proc/self/status");
	text[n] = 0;
	line = strstr(text, key);
	if (!line || sscanf(line + strlen(key), "%zu", &kib) != 1)
		bench_fail(key);
	return kib * KIB;
}

/* The peak of the resident set starts anew. */
static void reset_peak(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);

	if (fd < 0 || write(fd, "5", 1) != 1)
		bench_fail("/proc/self/clear_refs");
	close(fd);
}

static void run_mixed(const struct bench_test *test)
{
	unsigned long n = rounds(200000, 400000);
	void *heap = bench_create();
	uint64_t random = 3;
	size_t base, bytes;

	memset(slots, 1, sizeof(slots));
	memset(slots, 0, sizeof(slots));
	reset_peak();
	base = status_bytes("VmRSS:");
	measure_begin();
	churn(heap, n, &random);
	measure_end(test->name, n);
	bytes = heap_committed(heap);
	if (!bytes)
		bytes = status_bytes("VmHWM:") - base;
	measure_value(test->name, "committed_per_live", (double)bytes / peak);
}

const struct bench_test mixed_tests[] = {
	{ "mixed", run_mixed, 0, CAN_MANY | CAN_FREE, false, false },
	{ NULL, NULL, 0, 0, false, false }
};
