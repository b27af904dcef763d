/* A user's program on the installed operator: one query that looks at two keys. */
#include <attn/attention.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int fail(const char *sentence); /* names of the library's insides stay free */

int fail(const char *sentence) {
    fprintf(stderr, "%s: %s\n", sentence, attn_last_error());
    return 1;
}

int main(void) {
    const float q[] = {1, 0}, k[] = {1, 0, 0, 1}, v[] = {10, 20, 30, 40};
    const int32_t q_offsets[] = {0, 1}, k_offsets[] = {0, 2};
    float o[2] = {0, 0};
    attn_attention_problem problem;
    attn_attention_defaults(&problem, 1, 1, 2, 2);
    attn_attention_packed(&problem, 1, q_offsets, k_offsets);
    size_t size;
    if (attn_attention_workspace(&problem, ATTN_PASS_FORWARD, &size))
        return fail("workspace");
    void *workspace = malloc(size + 1);
    if (attn_attention_forward(&problem, q, k, v, o, NULL, workspace, size))
        return fail("forward");
    free(workspace);
    const double w = 1 / (1 + exp(-1 / sqrt(2))); /* softmax of (1/sqrt 2, 0) */
    printf("%.4f %.4f\n", o[0], o[1]);
    return fabs(o[0] - (10 * w + 30 * (1 - w))) > 1e-4 || fabs(o[1] - (20 * w + 40 * (1 - w))) > 1e-4;
}
