// SPDX-License-Identifier: GPL-2.0
/*
 * Measurements.
 *
 * Instructions are counted from outside, by a plugin of the emulator (count.c), which sees three
 * instructions that do nothing else: the markers below. It writes one line of counts per
 * measurement, in order; the rows printed here are in the same order, and bench/report joins the
 * two. Time is measured here.
 *
 * Rows are kept until the test has ended: a line that a serial port still sends while the next
 * measurement runs would be part of it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "marker.h"

static uint64_t begin_ns, lap_ns, worst_ns;
static bool has_laps;

/* More than any test has. */
static char rows[16 * KIB];
static size_t rows_bytes;

static __attribute__((format(printf, 1, 2))) void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	rows_bytes += vsnprintf(rows + rows_bytes, sizeof(rows) - rows_bytes, format, args);
	va_end(args);
	if (rows_bytes >= sizeof(rows))
		bench_fail("room for rows");
}

void measure_flush(void)
{
	fwrite(rows, 1, rows_bytes, stdout);
	fflush(stdout);
	/* Does nothing where it is no terminal. */
	tcdrain(STDOUT_FILENO);
}

uint64_t measure_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

void measure_begin(void)
{
	has_laps = false;
	worst_ns = 0;
	begin_ns = measure_clock();
	lap_ns = begin_ns;
	marker(MARKER_BEGIN);
}

void measure_lap(void)
{
	uint64_t now;

	marker(MARKER_LAP);
	has_laps = true;
	/* Reading the clock would be counted. */
	if (!bench_native)
		return;
	now = measure_clock();
	if (now - lap_ns > worst_ns)
		worst_ns = now - lap_ns;
	lap_ns = measure_clock();
}

static void print_row(const char *row, unsigned long ops, uint64_t ns)
{
	print("@row\t%s\t%s\t%lu\t%llu\t%d\t%llu\n", row, HEAP_NAME, ops,
	      (unsigned long long)ns, has_laps, (unsigned long long)worst_ns);
}

void measure_end(const char *row, unsigned long ops)
{
	uint64_t ns;

	marker(MARKER_END);
	ns = measure_clock() - begin_ns;
	print_row(row, ops, ns);
}

void measure_row(const char *row, unsigned long ops, uint64_t ns)
{
	has_laps = false;
	worst_ns = 0;
	print_row(row, ops, ns);
}

void measure_value(const char *row, const char *metric, double value)
{
	print("@value\t%s\t%s\t%s\t%.4g\n", row, HEAP_NAME, metric, value);
}
