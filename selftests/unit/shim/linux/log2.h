/* SPDX-License-Identifier: GPL-2.0 */
/* Powers of two as in the kernel, in user space. */
#ifndef _SHIM_LINUX_LOG2_H
#define _SHIM_LINUX_LOG2_H

/* Not for 0. */
static inline unsigned long roundup_pow_of_two(unsigned long n)
{
	return n == 1 ? 1 : 1UL << (64 - __builtin_clzl(n - 1));
}

#endif /* _SHIM_LINUX_LOG2_H */
