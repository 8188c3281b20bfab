// SPDX-License-Identifier: GPL-2.0
/*
 * Runs the tests of a program and tells the results as TAP.
 */
#include <setjmp.h>
#include <stdlib.h>

#include "unit.h"

struct unit_random unit_rng = { .state = 1 };

static jmp_buf test_end;
static bool in_test;

noreturn void unit_fail(const char *file, int line, const char *cond)
{
	printf("# %s:%d: failed: %s\n", file, line, cond);
	fflush(stdout);
	if (!in_test)
		abort();
	longjmp(test_end, 1);
}

static bool passes(const struct unit_test *test)
{
	if (setjmp(test_end)) {
		in_test = false;
		return false;
	}
	in_test = true;
	test->fn();
	in_test = false;
	return true;
}

int unit_run(const struct unit_test *tests, size_t nr)
{
	const char *seed = getenv("PHEAP_SEED");
	size_t i, nr_failed = 0;

	if (seed)
		unit_rng.state = strtoull(seed, NULL, 0);
	printf("TAP version 13\n1..%zu\n# seed %llu\n", nr, (unsigned long long)unit_rng.state);
	for (i = 0; i < nr; i++) {
		bool ok = passes(&tests[i]);

		printf("%sok %zu %s\n", ok ? "" : "not ", i + 1, tests[i].name);
		fflush(stdout);
		nr_failed += !ok;
	}
	/* A test that failed left its heap behind: do not search for leaks. */
	if (nr_failed)
		quick_exit(EXIT_FAILURE);
	return EXIT_SUCCESS;
}

/* splitmix64: any seed is good, also small ones. */
u64 unit_random(struct unit_random *random)
{
	u64 z = random->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}
