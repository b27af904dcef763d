/* The tile kernels for AVX-512 with AVX512-BF16: those of AVX-512, and products of pairs
 * of bf16 by vdpbf16ps; see tile_kernels.h. */
#include "attention/tile_kernels.h"

const tile_kernels tile_avx512bf16 = TILE_KERNELS("avx512bf16");
