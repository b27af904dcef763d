/* The recurrent kernels compiled for AVX-512. */
#define RECURRENT_TABLE recurrent_rows_avx512
#include "tensor/recurrent_rows_body.h"
