/* SPDX-License-Identifier: GPL-2.0 */
/* Bit searches of the kernel in user space. */
#ifndef _SHIM_LINUX_BITOPS_H
#define _SHIM_LINUX_BITOPS_H

/* Number of the lowest set bit; not for 0. */
static inline unsigned long __ffs64(unsigned long long word)
{
	return (unsigned long)__builtin_ctzll(word);
}

/* Number of the highest set bit plus one; 0 for 0. */
static inline int fls(unsigned int word)
{
	return word ? 32 - __builtin_clz(word) : 0;
}

static inline int fls64(unsigned long long word)
{
	return word ? 64 - __builtin_clzll(word) : 0;
}

static inline unsigned int hweight64(unsigned long long word)
{
	return __builtin_popcountll(word);
}

#endif /* _SHIM_LINUX_BITOPS_H */
