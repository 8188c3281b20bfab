/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences between the kernels the module is built for (6.1 and later). The only place with
 * version checks.
 */
#ifndef _PHEAP_COMPAT_H
#define _PHEAP_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}
#endif

#endif /* _PHEAP_COMPAT_H */
