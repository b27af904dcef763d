/* The tile kernels for AVX2 and FMA; see tile_kernels.h. */
#include "attention/tile_kernels.h"

const tile_kernels tile_avx2 = TILE_KERNELS("avx2");
