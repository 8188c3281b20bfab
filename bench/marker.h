/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Markers: instructions that do nothing, and that the counting plugin knows by their bytes. A
 * marker is a no-operation of eight bytes, "nopl NUMBER(%rax,%rax,1)", with a number that no
 * compiler uses.
 */
#ifndef BENCH_MARKER_H
#define BENCH_MARKER_H

#define MARKER_BYTES	8
#define MARKER_BEGIN	0x6b6d7001
#define MARKER_LAP	0x6b6d7002
#define MARKER_END	0x6b6d7003

static inline __attribute__((always_inline)) void marker(int number)
{
	asm volatile(".byte 0x0f, 0x1f, 0x84, 0x00\n\t.long %c0" : : "i" (number) : "memory");
}

#endif /* BENCH_MARKER_H */
