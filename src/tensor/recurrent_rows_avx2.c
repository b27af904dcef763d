/* The recurrent kernels compiled for AVX2 and FMA. */
#define RECURRENT_TABLE recurrent_rows_avx2
#include "tensor/recurrent_rows_body.h"
