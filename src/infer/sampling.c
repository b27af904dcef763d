#include "infer/sampling.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"

enum { USE_SAMPLE = 0x73616d70 }; /* "samp" */

uint64_t sampling_key(uint64_t seed, const int32_t *source, int32_t count, int sample) {
    uint64_t key = random_key(seed, USE_SAMPLE, (uint64_t)sample);
    for (int32_t i = 0; i < count; i++) {
        key = random_key(key, (uint64_t)source[i], USE_SAMPLE);
    }
    return key;
}

static int likelier_first(const void *a, const void *b) {
    const sampled_token *x = a, *y = b;
    if (x->value != y->value) {
        return x->value > y->value ? -1 : 1;
    }
    return x->token < y->token ? -1 : x->token > y->token;
}

/* Probability of each kept token, not normalised. */
static double weight(const sampled_token *kept, int64_t i) {
    return exp((double)kept[i].value - (double)kept[0].value);
}

int64_t sampling_filter(const float *logits, int64_t vocabulary, const sampling_options *options, sampled_token *kept) {
    int64_t count = 0;
    for (int64_t i = 0; i < vocabulary; i++) {
        float value = (float)((double)logits[i] / options->temperature);
        if (value > -INFINITY) { /* NaN is not either */
            kept[count++] = (sampled_token){value, (int32_t)i};
        }
    }
    qsort(kept, (size_t)count, sizeof *kept, likelier_first);
    if (options->top_k > 0 && options->top_k < count) { /* equals of the last one stay */
        int64_t most = options->top_k;
        while (most < count && kept[most].value == kept[options->top_k - 1].value) {
            most++;
        }
        count = most;
    }
    double all = 0, sum = 0;
    for (int64_t i = 0; i < count; i++) {
        all += weight(kept, i);
    }
    for (int64_t i = 0; i < count && options->top_p < 1; i++) {
        sum += weight(kept, i);
        if (sum >= options->top_p * all) {
            return i + 1;
        }
    }
    return count;
}

int32_t sampling_draw(const sampled_token *kept, int64_t count, uint64_t key, int32_t step) {
    uint64_t high = random_bits(key, 2 * (uint64_t)step), low = random_bits(key, 2 * (uint64_t)step + 1);
    double all = 0, sum = 0, uniform = (double)((high << 32 | low) >> 11) * 0x1p-53;
    for (int64_t i = 0; i < count; i++) {
        all += weight(kept, i);
    }
    for (int64_t i = 0; i < count; i++) {
        sum += weight(kept, i);
        if (uniform * all < sum) {
            return kept[i].token;
        }
    }
    return kept[count - 1].token;
}
