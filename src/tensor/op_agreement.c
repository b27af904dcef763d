/* R-Drop (Wu et al. 2021, 3): each text is read twice with other dropout, p and q are the two answers:
 *
 *   loss = (CE(p, y) + CE(q, y)) / 2 + weight / 4 (KL(p|q) + KL(q|p))
 *
 * which is the paper's, halved: without the second part it is the mean of the two cross-entropies.
 * Rows i and n + i of z are the two readings of text i. With t the smoothed target,
 *
 *   d loss / d z_p = (p - t) / 2 + weight / 4 (p (log p - log q - KL(p|q)) + p - q)
 *
 * Being the last operation, it computes the gradients on the way forward. */
#include "tensor/ops.h"

#include <math.h>

/* log softmax(row); returns the place of the largest. */
static int64_t log_softmax(const float *row, float *log_p, int64_t n) {
    double sum = 0;
    int64_t best = 0;
    for (int64_t k = 1; k < n; k++) {
        best = row[k] > row[best] ? k : best;
    }
    for (int64_t k = 0; k < n; k++) {
        sum += exp((double)(row[k] - row[best]));
    }
    for (int64_t k = 0; k < n; k++) {
        log_p[k] = row[k] - row[best] - (float)log(sum);
    }
    return best;
}

/* (CE(p, target) + weight / 2 KL(p|q)) / 2 and what it and KL(q|p) give to the logits of p. */
static double half_loss(const float *log_p, const float *log_q, int64_t n, int32_t label, float smoothing, float weight,
                        float scale, float *gradient) {
    double divergence = 0, cross_entropy = 0;
    for (int64_t k = 0; k < n; k++) {
        float target = smoothing / (float)n + (k == label ? 1 - smoothing : 0);
        divergence += exp((double)log_p[k]) * (double)(log_p[k] - log_q[k]);
        cross_entropy -= (double)target * (double)log_p[k];
    }
    for (int64_t k = 0; k < n; k++) {
        float target = smoothing / (float)n + (k == label ? 1 - smoothing : 0), p = expf(log_p[k]), q = expf(log_q[k]);
        float apart = p * (log_p[k] - log_q[k] - (float)divergence) + p - q;
        gradient[k] = scale * ((p - target) / 2 + weight / 4 * apart);
    }
    return cross_entropy / 2 + (double)weight / 4 * divergence;
}

attn_status op_agreement(tape *t, tensor *z, const int32_t *labels, float smoothing, float weight, double divisor,
                         loss_result *result) {
    int accumulate;
    *result = (loss_result){0};
    if (!z || t->status || (t->recording && !tape_gradient(t, z, &accumulate))) {
        return t->status;
    }
    int64_t texts = z->rows / 2, n = z->columns;
    for (int64_t i = 0; i < texts; i++) {
        float room[n + 16], log_p[2][n + 16], gradient[n + 16];
        int64_t best = 0;
        for (int reading = 2; reading-- > 0;) {
            best = log_softmax(row_read(t, z->type, tensor_row(z, reading * texts + i), room, n), log_p[reading], n);
        }
        for (int reading = 0; reading < 2; reading++) {
            result->loss += half_loss(log_p[reading], log_p[!reading], n, labels[i], smoothing, weight, (float)(1 / divisor), gradient);
            result->likelihood += (double)log_p[reading][labels[i]] / 2;
            if (t->recording) {
                row_give(t, z->type, gradient_row(z, z->gradient, reading * texts + i), gradient, room, n, accumulate);
            }
        }
        result->correct += best == labels[i];
    }
    result->tokens = texts;
    return ATTN_OK;
}
