/* Attention on three vectors, by hand (Vaswani et al. 2017, 3.2.1):
 *     weights = softmax(Q K^T / sqrt(d)),    output = weights V
 * Each of three queries asks three keys; what comes out is a mixture of three values.
 *     cc attention_three_vectors.c $(pkg-config --cflags --libs attn-attention) -o three && ./three */
#include <attn/attention.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 3, D = 2, D_VALUE = 1 };

static void print_rows(const char *name, const float *x, int rows, int columns) {
    printf("%s\n", name);
    for (int i = 0; i < rows * columns; i++)
        printf("%8.4f%s", (double)x[i], (i + 1) % columns ? "" : "\n");
}

int main(void) {
    const float queries[TOKENS * D] = {2, 0, 0, 2, 1, 1};
    const float keys[TOKENS * D] = {1, 0, 0, 1, 1, 1};
    const float values[TOKENS * D_VALUE] = {10, 20, 30};
    float weights[TOKENS * TOKENS], output[TOKENS * D_VALUE];

    attn_attention_problem problem; /* scale 1 / sqrt(D), no mask */
    attn_attention_defaults(&problem, 1, 1, D, D_VALUE);
    attn_attention_batch(&problem, 1, TOKENS, TOKENS);

    size_t size;
    if (attn_attention_workspace(&problem, ATTN_PASS_WEIGHTS, &size))
        return 1;
    void *room = malloc(size);
    if (!room || attn_attention_weights(&problem, queries, keys, weights, room, size))
        return 1;
    free(room);
    print_rows("weights: a row for each query, a column for each key", weights, TOKENS, TOKENS);

    if (attn_attention_workspace(&problem, ATTN_PASS_FORWARD, &size))
        return 1;
    room = malloc(size);
    if (!room || attn_attention_forward(&problem, queries, keys, values, output, NULL, room, size))
        return 1;
    free(room);
    print_rows("output: each query's mixture of the values 10, 20, 30", output, TOKENS, D_VALUE);

    problem.causal = ATTN_CAUSAL_TOP_LEFT; /* now a query sees its own key and those before it */
    if (attn_attention_workspace(&problem, ATTN_PASS_WEIGHTS, &size))
        return 1;
    room = malloc(size);
    if (!room || attn_attention_weights(&problem, queries, keys, weights, room, size))
        return 1;
    free(room);
    print_rows("weights with a causal mask", weights, TOKENS, TOKENS);
    return 0;
}
