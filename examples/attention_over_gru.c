/* Attention over a GRU (Bahdanau et al. 2015): a GRU (Cho et al. 2014) reads five vectors; a state
 * asks what it has read, each score being v tanh(W query + U state_j):
 *     r, z = sigmoid(Wx + Uh),   n = tanh(Wx + r * Uh),   h' = (1 - z) n + z h
 *     cc attention_over_gru.c $(pkg-config --cflags --libs attn-attention) -lm -o gru && ./gru */
#include <attn/attention.h>
#include <math.h>
#include <stdio.h>

enum { TOKENS = 5, INPUT = 3, HIDDEN = 4, WIDTH = 6 };
static float room[1 << 18];

/* Numbers that look random and that any program can make again. */
static void fill(float *x, int count, int first) {
    for (int i = 0; i < count; i++)
        x[i] = (float)sin(12.9898 * (first + i) * (first + i) + 78.233 * (first + i));
}

static float row(const float *w, const float *x, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += w[i] * x[i];
    return sum;
}

static float sigmoid(float x) {
    return 1 / (1 + expf(-x));
}

/* next = GRU(x, h); w [3 HIDDEN, INPUT] and u [3 HIDDEN, HIDDEN] hold r, z, n one below the other. */
static void gru(const float *w, const float *u, const float *x, const float *h, float *next) {
    for (int i = 0; i < HIDDEN; i++) {
        float a[3], b[3];
        for (int gate = 0; gate < 3; gate++) {
            a[gate] = row(w + (gate * HIDDEN + i) * INPUT, x, INPUT);
            b[gate] = row(u + (gate * HIDDEN + i) * HIDDEN, h, HIDDEN);
        }
        float r = sigmoid(a[0] + b[0]), z = sigmoid(a[1] + b[1]), n = tanhf(a[2] + r * b[2]);
        next[i] = (1 - z) * n + z * h[i];
    }
}

static void print_rows(const char *name, const float *x, int rows, int columns) {
    printf("%s\n", name);
    for (int i = 0; i < rows * columns; i++)
        printf("%8.4f%s", (double)x[i], (i + 1) % columns ? "" : "\n");
}

int main(void) {
    float x[TOKENS * INPUT], w[3 * HIDDEN * INPUT], u[3 * HIDDEN * HIDDEN], states[(TOKENS + 1) * HIDDEN] = {0};
    float query_weights[WIDTH * HIDDEN], state_weights[WIDTH * HIDDEN], energy[WIDTH];
    fill(x, TOKENS * INPUT, 0);
    fill(w, 3 * HIDDEN * INPUT, 100);
    fill(u, 3 * HIDDEN * HIDDEN, 200);
    fill(query_weights, WIDTH * HIDDEN, 300);
    fill(state_weights, WIDTH * HIDDEN, 400);
    fill(energy, WIDTH, 500);
    for (int t = 0; t < TOKENS; t++)
        gru(w, u, x + t * INPUT, states + t * HIDDEN, states + (t + 1) * HIDDEN);
    const float *memory = states + HIDDEN, *query = states + TOKENS * HIDDEN; /* the last state asks */
    print_rows("states of the GRU", memory, TOKENS, HIDDEN);

    attn_attention_problem p;
    attn_attention_defaults(&p, 1, 1, HIDDEN, HIDDEN);
    attn_attention_batch(&p, 1, 1, TOKENS);
    const attn_additive_parameters score = {.width = WIDTH, .w = query_weights, .u = state_weights, .v = energy};
    float weights[TOKENS], context[HIDDEN];
    if (attn_additive_weights(&p, &score, query, memory, weights, room, sizeof room) ||
        attn_additive_forward(&p, &score, query, memory, memory, context, NULL, room, sizeof room))
        return 1;
    print_rows("weights of the last state's question", weights, 1, TOKENS);
    print_rows("what it gets", context, 1, HIDDEN);
    return 0;
}
