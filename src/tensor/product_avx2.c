/* The product kernels compiled for AVX2 and FMA. */
#define PRODUCT_TABLE product_avx2
#include "tensor/product_body.h"
