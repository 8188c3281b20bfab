// SPDX-License-Identifier: GPL-2.0
/*
 * The exact number of instructions of one warm alloc and one warm free: the process is stepped
 * through them one by one. A system call is one instruction here; what the kernel does is not seen.
 * The arguments of the call and storing its result are counted too. The block is the only one of
 * its heap.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define WARM_UP		200
/* More than any call takes that does not loop. */
#define MAX_STEPS	1000000

/* The tracer counts between two of these. */
static inline __attribute__((always_inline)) void stop(void)
{
	asm volatile("int3" : : : "memory");
}

static _Noreturn void traced(size_t bytes)
{
	void *heap = bench_create();
	void *volatile p;
	int i;

	for (i = 0; i < WARM_UP; i++)
		heap_free(heap, bench_alloc(heap, bytes));
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		bench_fail("ptrace");
	stop();
	p = heap_alloc(heap, bytes);
	stop();
	heap_free(heap, p);
	stop();
	_exit(0);
}

/* Steps from one stop to the next. */
static long count_steps(pid_t pid)
{
	long steps = 0;
	siginfo_t info;
	int status;

	while (steps < MAX_STEPS) {
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) ||
		    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
		    WSTOPSIG(status) != SIGTRAP ||
		    ptrace(PTRACE_GETSIGINFO, pid, NULL, &info))
			return -1;
		/* The next stop() reports itself, every other instruction a step. */
		if (info.si_code == SI_KERNEL)
			return steps;
		steps++;
	}
	return -1;
}

static void run_step(const struct bench_test *test)
{
	long alloc_steps, free_steps;
	pid_t pid = fork();
	int status;

	if (!pid)
		traced(test->arg);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		bench_fail("tracing");
	alloc_steps = count_steps(pid);
	free_steps = count_steps(pid);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (alloc_steps < 0 || free_steps < 0)
		bench_fail("stepping");
	measure_value(test->name, "alloc_steps", alloc_steps);
	measure_value(test->name, "free_steps", free_steps);
}

#define STEP(size, bytes)	{ "step/" size, run_step, bytes, CAN_MANY | CAN_FREE, false, false }

const struct bench_test step_tests[] = {
	STEP("16", 16), STEP("64", 64), STEP("256", 256), STEP("1K", KIB), STEP("4K", 4 * KIB),
	STEP("32K", 32 * KIB),
	{ NULL, NULL, 0, 0, false, false }
};
