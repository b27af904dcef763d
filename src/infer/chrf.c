#include "infer/chrf.h"

#include "base/utf8.h"
#include "infer/ngram.h"

/* The codepoints of a text without white space. */
static attn_status characters(const char *text, symbols *s) {
    s->count = 0;
    attn_status status = symbols_append_text(s, text);
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++)
        if (!utf8_is_space(s->values[i]))
            s->values[kept++] = s->values[i];
    s->count = kept;
    return status;
}

static attn_status add_segment(const symbols *hypothesis, const symbols *reference, chrf_score *out) {
    size_t matched[CHRF_ORDER];
    attn_status status = ngram_matches(hypothesis, reference, CHRF_ORDER, matched);
    for (size_t n = 1; n <= CHRF_ORDER && !status; n++) {
        /* A reference too short for an n-gram leaves the hypothesis's out too. */
        if (reference->count >= n && hypothesis->count >= n)
            out->hypothesis[n - 1] += hypothesis->count - n + 1;
        if (reference->count >= n)
            out->reference[n - 1] += reference->count - n + 1;
        out->matched[n - 1] += matched[n - 1];
    }
    return status;
}

/* F = (1 + b^2) P R / (b^2 P + R) with b = 2, P and R averaged over n. */
static double f_score(const chrf_score *s) {
    const double factor = 4.0;
    double precision = 0.0, recall = 0.0;
    int orders = 0;
    for (size_t n = 0; n < CHRF_ORDER; n++)
        if (s->hypothesis[n] > 0 && s->reference[n] > 0) {
            precision += (double)s->matched[n] / (double)s->hypothesis[n];
            recall += (double)s->matched[n] / (double)s->reference[n];
            orders++;
        }
    if (orders == 0 || precision + recall == 0.0)
        return 0.0;
    precision /= orders;
    recall /= orders;
    return 100.0 * ((1.0 + factor) * precision * recall / (factor * precision + recall));
}

attn_status chrf_corpus(const char *const *hypotheses, const char *const *references, size_t count,
                        chrf_score *out) {
    *out = (chrf_score){0};
    symbols hypothesis = {0}, reference = {0};
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = characters(hypotheses[i], &hypothesis);
        if (!status)
            status = characters(references[i], &reference);
        if (!status)
            status = add_segment(&hypothesis, &reference, out);
    }
    symbols_release(&hypothesis);
    symbols_release(&reference);
    out->score = status ? 0.0 : f_score(out);
    return status;
}
