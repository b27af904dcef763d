/* The int8 matrices of a model folder's weights (folder.h), for folder.c. */
#ifndef ATTN_MODEL_FOLDER_INT8_H
#define ATTN_MODEL_FOLDER_INT8_H

#include "model/folder.h"

/* values = scale q. Refused: scales that are missing or no finite numbers of at least 0. */
attn_status folder_read_int8(const safetensors *file, const safetensors_tensor *stored, float *values);

/* 1 if this is the name of an I8 matrix's scales. */
int folder_is_scale(const safetensors *file, const char *name);

#endif
