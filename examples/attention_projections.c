/* Learned projections d_model -> d_key, d_value: q = Wq x, k = Wk x, v = Wv x. Among five vectors
 * one is marked; gradient descent through the operator's backward pass learns to look at it,
 * and to say its first two numbers.
 *     cc attention_projections.c $(pkg-config --cflags --libs attn-attention) -lm -o projections && ./projections */
#include <attn/attention.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 5, D_MODEL = 4, D_KEY = 3, D_VALUE = 2, TEXTS = 40, ROUNDS = 600 };
static float wq[D_KEY * D_MODEL], wk[D_KEY * D_MODEL], wv[D_VALUE * D_MODEL], room[1 << 18];

/* Numbers that look random and that any program can make again. */
static float noise(int i) {
    return (float)sin(12.9898 * i * i + 78.233 * i);
}

/* y[t] = W x[t], or (dW != NULL) dW += dy[t] x[t]^T. */
static void project(const float *w, int out, const float *x, float *y, float *dw) {
    for (int t = 0; t < TOKENS; t++)
        for (int i = 0; i < out; i++)
            for (int j = 0; j < D_MODEL; j++) {
                if (dw)
                    dw[i * D_MODEL + j] += y[t * out + i] * x[t * D_MODEL + j];
                else
                    y[t * out + i] = (j ? y[t * out + i] : 0) + w[i * D_MODEL + j] * x[t * D_MODEL + j];
            }
}

int main(void) {
    attn_attention_problem p;
    attn_attention_defaults(&p, 1, 1, D_KEY, D_VALUE);
    attn_attention_batch(&p, 1, TOKENS, TOKENS);
    float *all[] = {wq, wk, wv};
    const int rows[] = {D_KEY, D_KEY, D_VALUE};
    for (int a = 0; a < 3; a++)
        for (int i = 0; i < rows[a] * D_MODEL; i++)
            all[a][i] = 0.5f * noise(1000 * (a + 1) + i);
    for (int round = 0; round <= ROUNDS; round++) {
        float loss = 0, d[3][D_KEY * D_MODEL] = {{0}}, weights[TOKENS * TOKENS];
        for (int text = 0; text < TEXTS; text++) {
            float x[TOKENS * D_MODEL], q[TOKENS * D_KEY], k[TOKENS * D_KEY], v[TOKENS * D_VALUE], lse[TOKENS];
            float o[TOKENS * D_VALUE], d_o[TOKENS * D_VALUE], dq[TOKENS * D_KEY], dk[TOKENS * D_KEY], dv[TOKENS * D_VALUE];
            for (int i = 0; i < TOKENS * D_MODEL; i++) /* the last two numbers: the mark, and 1 */
                x[i] = i % D_MODEL < 2 ? noise(100 * text + i) : i % D_MODEL == 2 ? i / D_MODEL == text % TOKENS : 1;
            project(wq, D_KEY, x, q, NULL);
            project(wk, D_KEY, x, k, NULL);
            project(wv, D_VALUE, x, v, NULL);
            if (attn_attention_forward(&p, q, k, v, o, lse, room, sizeof room) ||
                attn_attention_weights(&p, q, k, weights, room, sizeof room))
                return 1;
            for (int i = 0; i < TOKENS * D_VALUE; i++) { /* every token is to say what the marked one holds */
                d_o[i] = (o[i] - x[text % TOKENS * D_MODEL + i % D_VALUE]) / (TEXTS * TOKENS);
                loss += d_o[i] * d_o[i] * TEXTS * TOKENS / 2;
            }
            attn_attention_gradients g = {.q = dq, .k = dk, .v = dv};
            if (attn_attention_backward(&p, q, k, v, o, lse, d_o, &g, room, sizeof room))
                return 1;
            project(wq, D_KEY, x, dq, d[0]);
            project(wk, D_KEY, x, dk, d[1]);
            project(wv, D_VALUE, x, dv, d[2]);
        }
        if (round % 200 == 0)
            printf("round %3d  loss %.4f  weight on the marked vector %.4f\n", round, (double)loss, (double)weights[TOKENS - 1]);
        for (int a = 0; a < 3; a++)
            for (int i = 0; i < rows[a] * D_MODEL; i++)
                all[a][i] -= 0.5f * d[a][i];
    }
    return 0;
}
