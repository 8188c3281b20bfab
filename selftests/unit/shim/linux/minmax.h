/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Comparisons of the kernel in user space. Each argument is evaluated once. The kernel's demand for
 * equal types is kept: comparing the addresses warns where they differ.
 */
#ifndef _SHIM_LINUX_MINMAX_H
#define _SHIM_LINUX_MINMAX_H

#define min(x, y) ({				\
	__typeof__(x) __x = (x);		\
	__typeof__(y) __y = (y);		\
	(void)(&__x == &__y);			\
	__x < __y ? __x : __y; })
#define max(x, y) ({				\
	__typeof__(x) __x = (x);		\
	__typeof__(y) __y = (y);		\
	(void)(&__x == &__y);			\
	__x > __y ? __x : __y; })
#define min_t(type, x, y)		min((type)(x), (type)(y))
#define max_t(type, x, y)		max((type)(x), (type)(y))
#define clamp_t(type, val, lo, hi)	min_t(type, max_t(type, val, lo), hi)

#define swap(a, b) do {				\
	__typeof__(a) *__a = &(a);		\
	__typeof__(b) *__b = &(b);		\
	__typeof__(a) __tmp = *__a;		\
						\
	*__a = *__b;				\
	*__b = __tmp;				\
} while (0)

#endif /* _SHIM_LINUX_MINMAX_H */
