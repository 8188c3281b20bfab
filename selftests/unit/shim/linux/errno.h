/* SPDX-License-Identifier: GPL-2.0 */
/* The error numbers are the same in user space. */
#include_next <linux/errno.h>
