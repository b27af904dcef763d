/* How likely a network finds what a corpus expects of it, whatever its architecture. */
#ifndef ATTN_INFER_MEASURE_H
#define ATTN_INFER_MEASURE_H

#include "model/network.h"

/* Sums over the whole corpus, in its order, without dropout. The tape uses the weights that
 * are measured; `counts` as in training. */
attn_status measure_corpus(tape *t, const network *n, const corpus *c, batch_counted counts, loss_result *sum);

/* The same with a tape of its own over `weights`. */
attn_status measure_weights(parameters *weights, const network *n, const corpus *c, batch_counted counts,
                            loss_result *sum);

#endif
