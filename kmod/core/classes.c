// SPDX-License-Identifier: GPL-2.0
/*
 * The table of size classes; classes.h tells how they were chosen.
 */
#include "classes.h"

#define SPAN_BLOCKS(bytes, pages)	((pages) * 4096UL / (bytes))
#define CLASS(size, usual, small) {						\
	.bytes = (size),							\
	.fullness = 3 * 65536UL / (SPAN_BLOCKS(size, usual) + 1),		\
	.pages = (usual),							\
	.small_pages = (small),							\
	.reciprocal = (1ULL << 32) / (size) + 1,				\
}

const struct pheap_class pheap_classes[PHEAP_NR_CLASSES] = {
	CLASS(16, 4, 1), CLASS(32, 8, 1), CLASS(48, 8, 1), CLASS(64, 4, 1),
	CLASS(80, 4, 1), CLASS(96, 4, 1), CLASS(112, 4, 1), CLASS(128, 4, 1),
	CLASS(144, 4, 1), CLASS(160, 4, 1), CLASS(176, 4, 1), CLASS(192, 4, 1),
	CLASS(208, 5, 1), CLASS(224, 4, 1), CLASS(240, 4, 1), CLASS(256, 4, 1),
	CLASS(288, 5, 1), CLASS(320, 4, 1), CLASS(352, 5, 1), CLASS(384, 5, 1),
	CLASS(416, 5, 1), CLASS(448, 7, 1), CLASS(480, 4, 1), CLASS(512, 4, 1),
	CLASS(576, 4, 1), CLASS(640, 5, 1), CLASS(704, 5, 2), CLASS(768, 6, 1),
	CLASS(832, 8, 2), CLASS(896, 7, 1), CLASS(960, 4, 1), CLASS(1024, 4, 1),
	CLASS(1152, 9, 2), CLASS(1280, 5, 1), CLASS(1408, 9, 3), CLASS(1536, 6, 2),
	CLASS(1664, 9, 3), CLASS(1792, 7, 1), CLASS(1920, 8, 1), CLASS(2048, 4, 1),
	CLASS(2304, 9, 3), CLASS(2560, 5, 2), CLASS(2816, 9, 3), CLASS(3072, 6, 3),
	CLASS(3328, 9, 5), CLASS(3584, 7, 1), CLASS(3840, 15, 1), CLASS(4096, 4, 1),
	CLASS(4608, 9, 5), CLASS(5120, 5, 4), CLASS(5632, 11, 3), CLASS(6144, 6, 3),
	CLASS(6656, 13, 5), CLASS(7168, 7, 2), CLASS(7680, 15, 2), CLASS(8192, 8, 2),
	CLASS(9216, 9, 5), CLASS(10240, 10, 5), CLASS(11264, 11, 3), CLASS(12288, 12, 3),
	CLASS(13312, 13, 7), CLASS(14336, 14, 4), CLASS(15360, 15, 4),
};
