/* One encoder layer (Vaswani et al. 2017, 3.1): y = norm(x + attention(x)), z = norm(y + ffn(y)),
 * with two heads, a feed-forward of twice the width, and LayerNorm with gain 1.
 *     cc attention_encoder_layer.c $(pkg-config --cflags --libs attn-attention) -lm -o layer && ./layer */
#include <attn/attention.h>
#include <math.h>
#include <stdio.h>

enum { TOKENS = 3, WIDTH = 4, HEADS = 2, HIDDEN = 2 * WIDTH };
static float room[1 << 18];

/* Numbers that look random and that any program can make again. */
static void fill(float *x, int count, int first) {
    for (int i = 0; i < count; i++)
        x[i] = (float)sin(12.9898 * (first + i) * (first + i) + 78.233 * (first + i));
}

/* y [rows, out] = x [rows, in] W^T, W [out, in]. */
static void linear(const float *x, const float *w, float *y, int in, int out) {
    for (int r = 0; r < TOKENS; r++)
        for (int i = 0; i < out; i++) {
            y[r * out + i] = 0;
            for (int j = 0; j < in; j++)
                y[r * out + i] += x[r * in + j] * w[i * in + j];
        }
}

/* x = LayerNorm(x + f), row by row (Ba et al. 2016). */
static void add_and_norm(float *x, const float *f) {
    for (int r = 0; r < TOKENS; r++, x += WIDTH, f += WIDTH) {
        float mean = 0, variance = 0;
        for (int i = 0; i < WIDTH; i++)
            mean += (x[i] += f[i]) / WIDTH;
        for (int i = 0; i < WIDTH; i++)
            variance += (x[i] - mean) * (x[i] - mean) / WIDTH;
        for (int i = 0; i < WIDTH; i++)
            x[i] = (x[i] - mean) / sqrtf(variance + 1e-5f);
    }
}

static void print_rows(const char *name, const float *x, int rows, int columns) {
    printf("%s\n", name);
    for (int i = 0; i < rows * columns; i++)
        printf("%8.4f%s", (double)x[i], (i + 1) % columns ? "" : "\n");
}

int main(void) {
    float x[TOKENS * WIDTH], w[3 * WIDTH * WIDTH], wo[WIDTH * WIDTH], inner[HIDDEN * WIDTH], outer[WIDTH * HIDDEN];
    float qkv[TOKENS * 3 * WIDTH], joined[TOKENS * WIDTH], f[TOKENS * WIDTH], hidden[TOKENS * HIDDEN];
    fill(x, TOKENS * WIDTH, 0);
    fill(w, 3 * WIDTH * WIDTH, 100);
    fill(wo, WIDTH * WIDTH, 200);
    fill(inner, HIDDEN * WIDTH, 300);
    fill(outer, WIDTH * HIDDEN, 400);

    attn_attention_problem p;
    attn_attention_defaults(&p, HEADS, HEADS, WIDTH / HEADS, WIDTH / HEADS);
    attn_attention_batch(&p, 1, TOKENS, TOKENS);
    p.q.token = p.k.token = p.v.token = 3 * WIDTH;
    linear(x, w, qkv, WIDTH, 3 * WIDTH);
    if (attn_attention_forward(&p, qkv, qkv + WIDTH, qkv + 2 * WIDTH, joined, NULL, room, sizeof room))
        return 1;
    linear(joined, wo, f, WIDTH, WIDTH);
    add_and_norm(x, f);
    print_rows("after self-attention", x, TOKENS, WIDTH);

    linear(x, inner, hidden, WIDTH, HIDDEN);
    for (int i = 0; i < TOKENS * HIDDEN; i++)
        hidden[i] = fmaxf(hidden[i], 0); /* relu */
    linear(hidden, outer, f, HIDDEN, WIDTH);
    add_and_norm(x, f);
    print_rows("after the feed-forward", x, TOKENS, WIDTH);
    return 0;
}
