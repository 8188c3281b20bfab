/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A test program: named tests, run one after the other, told as TAP. A test ends at its first
 * failed CHECK().
 */
#ifndef _UNIT_H
#define _UNIT_H

#include <stdio.h>
#include <stdnoreturn.h>
#include <linux/types.h>

struct unit_test {
	const char *name;
	void (*fn)(void);
};

#define UNIT_TEST(fn)	{ #fn, fn }

/* Ends the test (or, where there is none, the program) if @cond is false. */
#define CHECK(cond) do {						\
	if (!(cond))							\
		unit_fail(__FILE__, __LINE__, #cond);			\
} while (0)

/* The same for two numbers, which are told. */
#define CHECK_CMP(a, op, b) do {					\
	unsigned long long __a = (a), __b = (b);			\
									\
	if (!(__a op __b)) {						\
		printf("# %s = %llu, %s = %llu\n", #a, __a, #b, __b);	\
		unit_fail(__FILE__, __LINE__, #a " " #op " " #b);	\
	}								\
} while (0)

noreturn void unit_fail(const char *file, int line, const char *cond);

/* A generator of random numbers with a state of its own, so that tests can be repeated. */
struct unit_random {
	u64 state;
};

/* What tests draw from. Seeded with PHEAP_SEED of the environment, or 1. */
extern struct unit_random unit_rng;

u64 unit_random(struct unit_random *random);

/* Runs the tests. Exit code of main(): 0 if all passed. */
int unit_run(const struct unit_test *tests, size_t nr);

/* A number from @first to @last. */
static inline u64 unit_between(struct unit_random *random, u64 first, u64 last)
{
	return first + unit_random(random) % (last - first + 1);
}

#endif /* _UNIT_H */
