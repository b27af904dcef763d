/* The tile kernels for AVX-512 F, BW, DQ, VL; see tile_kernels.h. */
#include "attention/tile_kernels.h"

const tile_kernels tile_avx512 = TILE_KERNELS("avx512");
