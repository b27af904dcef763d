/* A classifier of pictures or sounds at work: files to rows of numbers to probabilities. */
#ifndef ATTN_INFER_SIGNAL_READER_H
#define ATTN_INFER_SIGNAL_READER_H

#include "data/features.h"
#include "model/signal_model.h"
#include "tensor/packed_parameters.h"

typedef struct signal_reader signal_reader;

/* The weights are the model's, f32, packed once. */
attn_status signal_reader_new(const signal_model *model, signal_reader **made);
void signal_reader_free(signal_reader *r); /* NULL is allowed */

/* The encoder's products alone. */
attn_status signal_pack_encoder(packed_parameters *packed, product_type type, const parameters *values,
                                const signal_model *model);

/* A file's rows [*count, signal_row_width], as in training; release with memory_free. `raw`
 * (may be NULL) receives the picture as it was read, before it was resized. *cut: 1 where
 * a sound goes on after the longest that the model reads. */
attn_status signal_read_file(const signal_model *model, const char *path, float **rows, size_t *count, int *cut,
                             picture *raw);

/* Sequence i's rows are offsets[i] .. offsets[i + 1] - 1 -> probabilities [sequences, labels],
 * on all threads. A sequence's figures do not depend on its company. */
attn_status signal_reader_run(const signal_reader *r, const feature_source *source, const size_t *offsets,
                              size_t sequences, float *probabilities);

#endif
