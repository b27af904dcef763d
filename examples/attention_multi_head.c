/* Multi-head attention (Vaswani et al. 2017, 3.2.2): queries, keys and values are projected, each
 * head attends within its own columns, and the heads' results are projected once more:
 *     head_h = attention(X Wq_h, X Wk_h, X Wv_h),    output = [head_1 .. head_H] Wo
 *     cc attention_multi_head.c $(pkg-config --cflags --libs attn-attention) -lm -o heads && ./heads */
#include <attn/attention.h>
#include <math.h>
#include <stdio.h>

enum { TOKENS = 4, WIDTH = 8, HEADS = 2, D = WIDTH / HEADS };
static float room[1 << 18];

/* Numbers that look random and that any program can make again. */
static void fill(float *x, int count, int first, float scale) {
    for (int i = 0; i < count; i++)
        x[i] = scale * (float)sin(12.9898 * (first + i) * (first + i) + 78.233 * (first + i));
}

/* y [rows, out] = x [rows, in] W^T, W [out, in]. */
static void linear(const float *x, const float *w, float *y, int rows, int in, int out) {
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < out; i++) {
            y[r * out + i] = 0;
            for (int j = 0; j < in; j++)
                y[r * out + i] += x[r * in + j] * w[i * in + j];
        }
}

static void print_rows(const char *name, int number, const float *x, int rows, int columns) {
    printf("%s %d\n", name, number);
    for (int i = 0; i < rows * columns; i++)
        printf("%8.4f%s", (double)x[i], (i + 1) % columns ? "" : "\n");
}

int main(void) {
    float x[TOKENS * WIDTH], w[3 * WIDTH * WIDTH], wo[WIDTH * WIDTH];
    fill(x, TOKENS * WIDTH, 0, 1);
    fill(w, 3 * WIDTH * WIDTH, 100, 1); /* Wq, Wk and Wv, one below the other: one product gives all */
    fill(wo, WIDTH * WIDTH, 1000, 1);

    float qkv[TOKENS * 3 * WIDTH], joined[TOKENS * WIDTH], output[TOKENS * WIDTH];
    linear(x, w, qkv, TOKENS, WIDTH, 3 * WIDTH);

    attn_attention_problem p;
    attn_attention_defaults(&p, HEADS, HEADS, D, D);
    attn_attention_batch(&p, 1, TOKENS, TOKENS);
    p.q.token = p.k.token = p.v.token = 3 * WIDTH; /* they are read where they lie, through strides */
    const float *q = qkv, *k = qkv + WIDTH, *v = qkv + 2 * WIDTH;
    float weights[HEADS * TOKENS * TOKENS];
    if (attn_attention_forward(&p, q, k, v, joined, NULL, room, sizeof room) ||
        attn_attention_weights(&p, q, k, weights, room, sizeof room)) {
        fprintf(stderr, "%s\n", attn_last_error());
        return 1;
    }
    linear(joined, wo, output, TOKENS, WIDTH, WIDTH);
    for (int head = 0; head < HEADS; head++)
        print_rows("weights of head", head, weights + head * TOKENS * TOKENS, TOKENS, TOKENS);
    print_rows("output of width", WIDTH, output, TOKENS, WIDTH);
    return 0;
}
