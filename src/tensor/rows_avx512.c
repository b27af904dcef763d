/* The row kernels compiled for AVX-512 F, BW, DQ, VL. */
#define ROWS_TABLE rows_avx512
#include "tensor/rows_body.h"
