/* The row kernels compiled for AVX2 and FMA. */
#define ROWS_TABLE rows_avx2
#include "tensor/rows_body.h"
