#include "infer/continuations.h"

#include <math.h>
#include <string.h>

#include "infer/candidates.h"
#include "infer/constraint.h"
#include "infer/forbidden.h"
#include "infer/repetition.h"
#include "infer/sampling.h"

/* The one token that can come next, or TOKEN_NONE where there is a choice. */
static int32_t only_token(const beam *b) {
    const sentence_request *request = b->request;
    if (request && b->length < request->prefix_count) {
        return request->prefix[b->length];
    }
    return beam_must_end(b) || (request && request->whole) ? b->eos : TOKEN_NONE;
}

/* Applies what forbids and penalises to the values of row k. */
static void steer(const beam *b, int k, float *values) {
    const steering *s = b->steering;
    const int32_t *ids = b->ids + (int64_t)k * b->max_length;
    if (s->repetition_penalty != 1) {
        repetition_penalise(values, ids, b->length, s->repetition_penalty);
    }
    if (s->forbidden) {
        forbidden_words_block(s->forbidden, ids, b->length, values);
    }
    if (s->no_repeat_ngram > 0) {
        repetition_block(values, ids, b->length, s->no_repeat_ngram);
    }
}

/* logits become log-probabilities, `ranked` what the search looks at. */
static void rank(const continuation_context *c, const beam *b, int k, float *logits) {
    size_t bytes = (size_t)c->vocabulary * sizeof *logits;
    int by_logits = b->size == 1 || b->steering->sampling.on;
    if (by_logits) {
        memcpy(c->ranked, logits, bytes);
    }
    c->rows->log_softmax(logits, c->vocabulary);
    if (!by_logits) {
        memcpy(c->ranked, logits, bytes);
    }
    if (c->never >= 0) {
        c->ranked[c->never] = -INFINITY;
    }
    int unmet = beam_is_constrained(b) &&
                constraint_missing(&b->request->required, b->states[k].met, b->ids + (int64_t)k * b->max_length, b->length);
    if (beam_must_go_on(b) || unmet) {
        c->ranked[b->eos] = -INFINITY;
    }
    steer(b, k, c->ranked);
}

static int best_of(const continuation_context *c, const beam *b, double base, int k, const float *logits,
                   candidate *out) {
    float best[MOST_CANDIDATES];
    int32_t tokens[MOST_CANDIDATES];
    int greedy = b->size == 1, count = 0;
    int found = likeliest(c->rows, c->ranked, c->vocabulary, c->never, greedy ? 1 : beam_candidates(b), best,
                          tokens);
    for (int i = 0; i < found && best[i] > -INFINITY; i++) {
        float own = logits[tokens[i]];
        out[count++] = (candidate){base + (double)(greedy ? own : best[i]), k, tokens[i], own};
    }
    return count;
}

/* Adds the tokens that missing phrases need to the `count` candidates; where there is room for
 * nothing else they are the only ones. The model's word counts, even where something else
 * forbids them. */
static int demand(const beam *b, double base, int k, const float *logits, candidate *out, int count) {
    const phrase_list *required = &b->request->required;
    const int32_t *ids = b->ids + (int64_t)k * b->max_length;
    int32_t tokens[MOST_PHRASES];
    uint64_t met = b->states[k].met;
    int32_t missing = constraint_missing(required, met, ids, b->length);
    if (missing > 0 && missing >= b->max_length - 1 - b->length) {
        count = 0;
    }
    int plain = count, wanted = constraint_next(required, met, ids, b->length, tokens);
    for (int i = 0; i < wanted; i++) {
        int known = 0;
        for (int j = 0; j < plain; j++) {
            known |= out[j].token == tokens[i];
        }
        float own = logits[tokens[i]];
        if (!known && own == own) {
            out[count++] = (candidate){base + (double)own, k, tokens[i], own};
        }
    }
    return count;
}

static int draw(const continuation_context *c, const beam *b, double base, int k, const float *logits, candidate *out) {
    int64_t kept = sampling_filter(c->ranked, c->vocabulary, &b->steering->sampling, c->sampled);
    if (kept) {
        int32_t token = sampling_draw(c->sampled, kept, b->states[k].key, b->length);
        out[0] = (candidate){base + (double)logits[token], k, token, logits[token]};
    }
    return kept > 0;
}

int continuations_of_row(const continuation_context *c, const beam *b, int k, float *logits, candidate *out) {
    double base = b->length ? b->log_probability[k] : 0;
    int32_t only = only_token(b);
    if (only != TOKEN_NONE) {
        out[0] = candidate_of_token(c->rows, logits, c->vocabulary, only, base, k);
        return out[0].log_probability == out[0].log_probability;
    }
    if (!b->steering) {
        /* greedily the largest logit alone: another's log probability may round to the same */
        return candidates_of_row(c->rows, logits, c->vocabulary, c->never,
                                 beam_must_go_on(b) ? b->eos : TOKEN_NONE, base, k,
                                 b->size == 1 ? 1 : beam_candidates(b), out);
    }
    rank(c, b, k, logits);
    int count = b->steering->sampling.on ? draw(c, b, base, k, logits, out) : best_of(c, b, base, k, logits, out);
    if (beam_is_constrained(b)) {
        count = demand(b, base, k, logits, out, count);
    }
    if (count == 0 && logits[b->eos] == logits[b->eos]) { /* everything is forbidden: it ends */
        out[0] = (candidate){base + (double)logits[b->eos], k, b->eos, logits[b->eos]};
        count = 1;
    }
    return count;
}
