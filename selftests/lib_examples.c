// SPDX-License-Identifier: GPL-2.0
/*
 * The C program that README.md prints, compiled into this one and run: it says what README.md says
 * that it says. (tools/check-readme compares the texts.)
 */
#include "pheap_test.h"
#include <sys/mman.h>

#define main minimal_main
#include "../libheapuser/examples/minimal.c"
#undef main

#include "kselftest_harness.h"

TEST(minimal)
{
	int fd = memfd_create("output", 0), saved = dup(STDOUT_FILENO), status;
	char output[200] = "";

	ASSERT_GE(fd, 0);
	ASSERT_GE(saved, 0);
	fflush(stdout);
	ASSERT_EQ(STDOUT_FILENO, dup2(fd, STDOUT_FILENO));
	status = minimal_main();
	fflush(stdout);
	ASSERT_EQ(STDOUT_FILENO, dup2(saved, STDOUT_FILENO));
	EXPECT_EQ(0, status);
	ASSERT_LT(0, pread(fd, output, sizeof(output) - 1, 0));
	EXPECT_STREQ("Hello from a private heap.\n"
		     "65 MiB more? No: the heap has reached its maximum size.\n", output);
	EXPECT_EQ(0, pheap_process_heaps(NULL, 0));
}

TEST_HARNESS_MAIN
