/* The product kernels compiled for AVX-512 F, BW, DQ, VL. */
#define PRODUCT_TABLE product_avx512
#include "tensor/product_body.h"
