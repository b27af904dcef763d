/* The product kernels compiled for AVX-512 with BF16 and VNNI. */
#define PRODUCT_TABLE product_avx512bf16
#include "tensor/product_body.h"
