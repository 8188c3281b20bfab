// SPDX-License-Identifier: LGPL-2.1-only OR MIT
#include <errno.h>
#include <heapuser.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	struct pheap *heap = pheap_create(1 << 20, 64 << 20, 0); /* 1 MiB now, 64 MiB at most */
	char *text = heap ? pheap_alloc(heap, 100) : NULL;

	if (!text) {
		printf("no memory: %s\n", pheap_strerror(errno));
		return 1;
	}
	strcpy(text, "Hello from a private heap.");
	printf("%s\n", text);
	if (!pheap_alloc(heap, 65 << 20))
		printf("65 MiB more? No: %s.\n", pheap_strerror(errno));
	return pheap_destroy(heap); /* gives everything back */
}
