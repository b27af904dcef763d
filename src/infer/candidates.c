/* Blocks of 64 logits are first counted against the worst one kept, which the
 * compiler does with vectors; few blocks hold one that is better. */
#include "infer/candidates.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 64 };

/* How many of n logits are above the bound. */
static int count_above(const float *logits, int64_t n, float bound) {
    int count = 0;
    for (int64_t i = 0; i < n; i++) {
        count += logits[i] > bound;
    }
    return count;
}

int likeliest(const float *values, int64_t n, int32_t never, int wanted, float *best, int32_t *tokens) {
    int count = 0;
    for (int64_t first = 0; first < n; first += BLOCK) {
        int64_t some = n - first < BLOCK ? n - first : BLOCK;
        if (count == wanted && !count_above(values + first, some, best[count - 1])) {
            continue;
        }
        for (int64_t i = first; i < first + some; i++) {
            float value = values[i];
            if (i == never || value != value || (count == wanted && !(value > best[count - 1]))) {
                continue;
            }
            int place = count < wanted ? count++ : count - 1;
            while (place > 0 && value > best[place - 1]) {
                best[place] = best[place - 1];
                tokens[place] = tokens[place - 1];
                place--;
            }
            best[place] = value;
            tokens[place] = (int32_t)i;
        }
    }
    return count;
}

int candidates_of_row(const row_kernels *rows, float *logits, int64_t vocabulary, int32_t never,
                      int32_t not_yet, double base, int32_t row, int wanted, candidate *out) {
    float best[MOST_CANDIDATES];
    int32_t tokens[MOST_CANDIDATES];
    rows->log_softmax(logits, vocabulary);
    if (not_yet >= 0) {
        logits[not_yet] = NAN;
    }
    int count = likeliest(logits, vocabulary, never, wanted, best, tokens);
    for (int i = 0; i < count; i++) {
        out[i] = (candidate){base + (double)best[i], row, tokens[i], best[i]};
    }
    return count;
}

candidate candidate_of_token(const row_kernels *rows, float *logits, int64_t vocabulary, int32_t token, double base,
                             int32_t row) {
    rows->log_softmax(logits, vocabulary);
    return (candidate){base + (double)logits[token], row, token, logits[token]};
}

static int compare(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return candidate_precedes(*x, *y) ? -1 : candidate_precedes(*y, *x);
}

void candidates_sort(candidate *list, int count) {
    qsort(list, (size_t)count, sizeof *list, compare);
}
