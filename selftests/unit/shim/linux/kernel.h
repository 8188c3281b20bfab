/* SPDX-License-Identifier: GPL-2.0 */
/* What the core takes from <linux/kernel.h>. */
#ifndef _SHIM_LINUX_KERNEL_H
#define _SHIM_LINUX_KERNEL_H

#include <linux/build_bug.h>
#include <linux/minmax.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
/* @a: a power of two, of the type of @x */
#define ALIGN(x, a) ({				\
	__typeof__(x) __mask = (a) - 1;		\
	((x) + __mask) & ~__mask; })

#endif /* _SHIM_LINUX_KERNEL_H */
