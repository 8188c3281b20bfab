/* SPDX-License-Identifier: GPL-2.0 */
/* Accesses and hints of the kernel in user space. */
#ifndef _SHIM_LINUX_COMPILER_H
#define _SHIM_LINUX_COMPILER_H

/* Has __always_inline. */
#include <sys/cdefs.h>

/* Only a hint. */
#define noinline

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, val)	__atomic_store_n(&(x), val, __ATOMIC_RELAXED)

#endif /* _SHIM_LINUX_COMPILER_H */
