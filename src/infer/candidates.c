/* Only values that reach a floor under the wanted ones, and then the worst one kept, are looked at; the row
 * kernels skip the others by whole vectors. Log-probabilities are made of the chosen ones alone. */
#include "infer/candidates.h"

#include <math.h>
#include <stdlib.h>

int likeliest(const row_kernels *rows, const float *values, int64_t n, int32_t never, int wanted, float *best,
              int32_t *tokens) {
    int count = 0;
    const float reached = rows->floor_of(values, n, wanted + 1); /* one of them may be `never` */
    const float bound = nextafterf(reached, -INFINITY);
    for (int64_t i = 0; i < n; i++) {
        if (count == wanted || reached > -INFINITY) {
            i = rows->next_above(values, i, n, count == wanted ? best[count - 1] : bound);
            if (i == n) {
                break;
            }
        }
        float value = values[i];
        if (i == never || value != value) {
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
    return count;
}

int candidates_of_row(const row_kernels *rows, float *logits, int64_t vocabulary, int32_t never,
                      int32_t not_yet, double base, int32_t row, int wanted, candidate *out) {
    float best[MOST_CANDIDATES], log_sum = rows->log_sum_exp(logits, vocabulary);
    int32_t tokens[MOST_CANDIDATES];
    if (log_sum != log_sum) {
        return 0;
    }
    if (not_yet >= 0) {
        logits[not_yet] = NAN;
    }
    int count = likeliest(rows, logits, vocabulary, never, wanted, best, tokens);
    for (int i = 0; i < count; i++) {
        float own = best[i] - log_sum;
        out[i] = (candidate){base + (double)own, row, tokens[i], own};
    }
    return count;
}

candidate candidate_of_token(const row_kernels *rows, float *logits, int64_t vocabulary, int32_t token, double base,
                             int32_t row) {
    float own = logits[token] - rows->log_sum_exp(logits, vocabulary);
    return (candidate){base + (double)own, row, token, own};
}

int candidates_merge(candidate *best, int count, int most, const candidate *list, int n) {
    for (int i = 0; i < n; i++) {
        if (count == most && !candidate_precedes(list[i], best[most - 1])) {
            continue;
        }
        int place = count < most ? count++ : most - 1;
        for (; place > 0 && candidate_precedes(list[i], best[place - 1]); place--) {
            best[place] = best[place - 1];
        }
        best[place] = list[i];
    }
    return count;
}

static int compare(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return candidate_precedes(*x, *y) ? -1 : candidate_precedes(*y, *x);
}

void candidates_sort(candidate *list, int count) {
    qsort(list, (size_t)count, sizeof *list, compare);
}
