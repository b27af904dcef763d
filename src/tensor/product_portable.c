/* The product kernels compiled for portable C. */
#define PRODUCT_TABLE product_portable
#include "tensor/product_body.h"
