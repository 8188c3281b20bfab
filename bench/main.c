// SPDX-License-Identifier: GPL-2.0
/*
 * The benchmark driver of one heap: runs each test in a process of its own, so that none finds
 * what another left. Prints rows (measure.c); exit status 4: the heap is not available here.
 *
 *   bench-HEAP [-n] [TEST...]
 *
 * -n: measure time. A TEST is the beginning of the names of the tests to run; default: all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* No test takes nearly as long. */
#define TEST_SECONDS	120
#define EXIT_SKIP	4

bool bench_native;

static const struct bench_test *const all_tests[] = {
	pair_tests, life_tests, page_tests, mixed_tests, thread_tests, ioctl_tests,
	step_tests,
};

_Noreturn void bench_fail(const char *what)
{
	fprintf(stderr, "bench: %s: %s failed\n", HEAP_NAME, what);
	_exit(EXIT_FAILURE);
}

void *bench_create(void)
{
	void *heap = heap_create();

	if (!heap)
		bench_fail("create");
	return heap;
}

static bool is_wanted(const struct bench_test *test, int argc, char **argv)
{
	int i;

	for (i = 0; i < argc; i++) {
		if (!strncmp(test->name, argv[i], strlen(argv[i])))
			return true;
	}
	return !argc;
}

/* Huge pages come without being asked for. */
static bool has_thp(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
	char line[64] = "";

	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = 0;
		fclose(f);
	}
	return strstr(line, "[always]");
}

static bool can_run(const struct bench_test *test)
{
	return !(test->needs & ~HEAP_CAPS) && (!test->native || bench_native) &&
	       (!test->thp || has_thp());
}

/* Return: exit status of the test. */
static int run_test(const struct bench_test *test)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return EXIT_FAILURE;
	if (!pid) {
		alarm(TEST_SECONDS);
		prctl(PR_SET_THP_DISABLE, !test->thp, 0, 0, 0);
		if (!heap_init())
			_exit(EXIT_SKIP);
		test->run(test);
		measure_flush();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return EXIT_FAILURE;
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "bench: %s: %s: signal %d\n", HEAP_NAME, test->name,
			WTERMSIG(status));
		return EXIT_FAILURE;
	}
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	const struct bench_test *test;
	int status, worst = 0;
	size_t i;

	if (argc > 1 && !strcmp(argv[1], "-n")) {
		bench_native = true;
		argc--;
		argv++;
	}
	for (i = 0; i < ARRAY_LEN(all_tests); i++) {
		for (test = all_tests[i]; test->name; test++) {
			if (!can_run(test) || !is_wanted(test, argc - 1, argv + 1))
				continue;
			status = run_test(test);
			if (status == EXIT_SKIP)
				return EXIT_SKIP;
			if (status) {
				fprintf(stderr, "bench: %s: %s failed\n", HEAP_NAME, test->name);
				worst = EXIT_FAILURE;
			}
		}
	}
	return worst;
}
