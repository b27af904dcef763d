#include "infer/measure.h"

enum { MEASURED_TOKENS = 2048 }; /* a batch; bounds memory alone */

attn_status measure_corpus(tape *t, const network *n, const corpus *c, batch_counted counts, loss_result *sum) {
    batch_options order;
    batcher *batches = NULL;
    batch_options_defaults(&order);
    order.shuffle = false;
    order.counts = counts;
    order.target_tokens = MEASURED_TOKENS;
    *sum = (loss_result){0};
    attn_status status = batcher_new(c, &order, &batches);
    for (bool last = false; !status && !last;) {
        batch b;
        loss_result part;
        status = batcher_next(batches, &b);
        if (!status) {
            last = b.last_of_epoch;
            tape_start(t, 0, 0, 0);
            status = n->kind->loss(t, n->model, &b, 0, 1, &part);
        }
        if (!status) {
            sum->loss += part.loss;
            sum->likelihood += part.likelihood;
            sum->correct += part.correct;
            sum->tokens += part.tokens;
        }
    }
    batcher_free(batches);
    return status;
}

attn_status measure_weights(parameters *weights, const network *n, const corpus *c, batch_counted counts,
                            loss_result *sum) {
    tape t;
    attn_status status = tape_open(&t, weights);
    status = status ? status : measure_corpus(&t, n, c, counts, sum);
    tape_close(&t);
    return status;
}
