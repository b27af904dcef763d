/* The row kernels for any processor. */
#define ROWS_TABLE rows_portable
#include "tensor/rows_body.h"
