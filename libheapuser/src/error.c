// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * error.c - what went wrong, in words for the user of a program.
 *
 * Owns constant texts and nothing else.
 */
#include "internal.h"

const char *pheap_strerror(int err)
{
	switch (err) {
	case 0:
		return "no error";
	case ENODEV:
		return "the pheap kernel module is not loaded (no /dev/pheap)";
	case EACCES:
		return "no permission to open /dev/pheap";
	case EMFILE:
	case ENFILE:
		return "no file descriptor is free to open /dev/pheap";
	case ENOSPC:
		return "the heap has reached its maximum size";
	case ENOMEM:
		return "not enough physical memory (machine or memory cgroup), or address space";
	case EDQUOT:
		return "a limit of the pheap module is reached (for process, user or system)";
	case EINVAL:
		return "bad argument, no such heap (any more), or no such block in it";
	case EPERM:
		return "the heap's memory is sealed and stays until the process ends";
	default:
		return "unexpected error of the pheap module";
	}
}
