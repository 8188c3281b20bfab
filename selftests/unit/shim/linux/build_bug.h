/* SPDX-License-Identifier: GPL-2.0 */
/* static_assert(); its message is optional, as in the kernel. */
#include <assert.h>
