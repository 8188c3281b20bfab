/* SPDX-License-Identifier: GPL-2.0 */
/* memcpy() and memset(). */
#include <string.h>
