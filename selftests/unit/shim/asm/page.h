/* SPDX-License-Identifier: GPL-2.0 */
/* The page size that the core is tested with. */
#ifndef _SHIM_ASM_PAGE_H
#define _SHIM_ASM_PAGE_H

#define PAGE_SHIFT	12
#define PAGE_SIZE	4096UL

#endif /* _SHIM_ASM_PAGE_H */
