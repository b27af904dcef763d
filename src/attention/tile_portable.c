/* The tile kernels in vectors of 16 bytes, which every compiler target can do; see tile_kernels.h. */
#include "attention/tile_kernels.h"

const tile_kernels tile_portable = TILE_KERNELS("portable");
