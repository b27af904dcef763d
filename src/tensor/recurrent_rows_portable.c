/* The recurrent kernels for any processor. */
#define RECURRENT_TABLE recurrent_rows_portable
#include "tensor/recurrent_rows_body.h"
