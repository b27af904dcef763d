/* The rules of search.h for one sentence. A living hypothesis is a row of ids and of cache
 * places; going on copies rows into the second pair of arrays, then the pairs swap. */
#include "infer/beam.h"

#include <math.h>
#include <string.h>

#include "infer/constraint.h"
#include "infer/coverage.h"
#include "infer/sampling.h"

/* One row; in sampling one a sample, all of them empty. */
static void begin_rows(beam *b, const int32_t *source, int32_t source_count) {
    const sampling_options *sampling = b->steering ? &b->steering->sampling : NULL;
    b->alive = 1;
    if (sampling && sampling->on) {
        b->alive = b->size;
        for (int k = 0; k < b->size; k++) {
            b->states[k].key = sampling_key(sampling->seed, source, source_count, k);
        }
    }
}

attn_status beam_open(beam *b, const search_options *options, const sentence_request *request, const int32_t *source,
                      int32_t source_count, int32_t max_length, int32_t eos) {
    size_t size = (size_t)options->beam, cells;
    *b = (beam){.size = options->beam, .max_length = max_length, .min_length = options->min_length,
                .length_penalty = options->length_penalty,
                .length_offset = options->length_offset, .eos = eos,
                .steering = options->steering, .request = request, .source_count = source_count};
    if (!size_multiply(size, (size_t)max_length, &cells)) {
        return fail(ATTN_ERROR_MEMORY, "%d hypotheses of %d tokens are too many", options->beam, max_length);
    }
    b->log_probability = memory_allocate(size, sizeof *b->log_probability);
    b->ids = memory_allocate(cells, sizeof *b->ids);
    b->places = memory_allocate(cells, sizeof *b->places);
    b->token_log_probabilities = memory_allocate(cells, sizeof *b->token_log_probabilities);
    b->states = memory_allocate(size, sizeof *b->states);
    b->next_ids = memory_allocate(cells, sizeof *b->next_ids);
    b->next_places = memory_allocate(cells, sizeof *b->next_places);
    b->next_token_log_probabilities = memory_allocate(cells, sizeof *b->next_token_log_probabilities);
    b->next_states = memory_allocate(size, sizeof *b->next_states);
    b->finished.items = memory_allocate(size, sizeof *b->finished.items);
    if (!b->log_probability || !b->ids || !b->places || !b->token_log_probabilities || !b->states || !b->next_ids ||
        !b->next_places || !b->next_token_log_probabilities || !b->next_states || !b->finished.items) {
        beam_close(b);
        return ATTN_ERROR_MEMORY;
    }
    if (options->steering && options->steering->coverage_penalty > 0) {
        b->coverage = memory_allocate(size * (size_t)source_count, sizeof *b->coverage);
        b->next_coverage = memory_allocate(size * (size_t)source_count, sizeof *b->next_coverage);
        if (!b->coverage || !b->next_coverage) {
            beam_close(b);
            return ATTN_ERROR_MEMORY;
        }
    }
    begin_rows(b, source, source_count);
    return ATTN_OK;
}

void beam_close(beam *b) {
    memory_free(b->log_probability);
    memory_free(b->ids);
    memory_free(b->places);
    memory_free(b->next_ids);
    memory_free(b->next_places);
    memory_free(b->token_log_probabilities);
    memory_free(b->next_token_log_probabilities);
    memory_free(b->coverage);
    memory_free(b->next_coverage);
    memory_free(b->states);
    memory_free(b->next_states);
    hypothesis_list_release(&b->finished);
    *b = (beam){0};
}

void hypothesis_release(hypothesis *h) {
    memory_free(h->ids);
    memory_free(h->token_log_probabilities);
    memory_free(h->alignment);
}

void hypothesis_list_release(hypothesis_list *list) {
    for (int i = 0; list->items && i < list->count; i++) {
        hypothesis_release(&list->items[i]);
    }
    memory_free(list->items);
    *list = (hypothesis_list){0};
}

static double score_of(const beam *b, double log_probability, int32_t tokens) {
    return log_probability / pow((b->length_offset + (double)tokens) / (b->length_offset + 1), b->length_penalty);
}

/* Row c.row and then </s>. */
static attn_status end_hypothesis(const beam *b, candidate c, hypothesis *made) {
    int64_t from = (int64_t)c.row * b->max_length;
    hypothesis h = {.count = b->length, .score = score_of(b, c.log_probability, b->length + 1)};
    h.ids = memory_allocate_raw((size_t)b->length, sizeof *h.ids);
    h.token_log_probabilities = memory_allocate_raw((size_t)b->length + 1, sizeof *h.token_log_probabilities);
    if (!h.ids || !h.token_log_probabilities) {
        hypothesis_release(&h);
        return ATTN_ERROR_MEMORY;
    }
    for (int32_t i = 0; i < b->length; i++) {
        h.ids[i] = b->ids[from + i];
        h.token_log_probabilities[i] = b->token_log_probabilities[from + i];
        h.log_probability += (double)h.token_log_probabilities[i];
    }
    h.token_log_probabilities[b->length] = c.token_log_probability;
    h.log_probability += (double)c.token_log_probability;
    if (b->coverage) {
        h.score += b->steering->coverage_penalty *
                   coverage_of(b->coverage + (int64_t)c.row * (b->source_count - 1), b->source_count - 1);
    }
    if (beam_is_constrained(b)) {
        h.missing = constraint_missing(&b->request->required, b->states[c.row].met, h.ids, h.count);
    }
    *made = h;
    return ATTN_OK;
}

static int is_better(const hypothesis *a, const hypothesis *b) {
    return a->missing != b->missing ? a->missing < b->missing : a->score > b->score;
}

/* Puts a hypothesis among the finished ones; the worst of too many goes. Of equal
 * scores the earlier one stays in front. */
static attn_status finish(beam *b, candidate c) {
    hypothesis_list *list = &b->finished;
    hypothesis made;
    attn_status status = end_hypothesis(b, c, &made);
    if (status) {
        return status;
    }
    int place = list->count;
    while (place > 0 && is_better(&made, &list->items[place - 1])) {
        place--;
    }
    if (place == b->size) {
        hypothesis_release(&made);
        return ATTN_OK;
    }
    if (list->count == b->size) {
        hypothesis_release(&list->items[--list->count]);
    }
    memmove(list->items + place + 1, list->items + place, (size_t)(list->count - place) * sizeof *list->items);
    list->items[place] = made;
    list->count++;
    return ATTN_OK;
}

/* Row `to` of the next step is row c.row with c.token. The place of the token that was
 * read in this step is at index `length` of places. */
static void go_on(beam *b, candidate c, int to, double *next_log_probability) {
    int64_t from_row = (int64_t)c.row * b->max_length, to_row = (int64_t)to * b->max_length;
    memcpy(b->next_ids + to_row, b->ids + from_row, (size_t)b->length * sizeof *b->ids);
    memcpy(b->next_places + to_row, b->places + from_row, (size_t)(b->length + 1) * sizeof *b->places);
    memcpy(b->next_token_log_probabilities + to_row, b->token_log_probabilities + from_row,
           (size_t)b->length * sizeof *b->token_log_probabilities);
    b->next_ids[to_row + b->length] = c.token;
    b->next_token_log_probabilities[to_row + b->length] = c.token_log_probability;
    if (b->coverage) {
        int64_t count = b->source_count - 1;
        memcpy(b->next_coverage + to * count, b->coverage + c.row * count, (size_t)count * sizeof *b->coverage);
    }
    b->next_states[to] = b->states[c.row];
    if (beam_is_constrained(b)) {
        b->next_states[to].met =
            constraint_met(&b->request->required, b->states[c.row].met, b->next_ids + to_row, b->length + 1);
    }
    next_log_probability[to] = c.log_probability;
}

#define SWAP(type, a, b) do { type *kept = a; a = b; b = kept; } while (0)

static void take_next_rows(beam *b) {
    SWAP(int32_t, b->ids, b->next_ids);
    SWAP(int32_t, b->places, b->next_places);
    SWAP(float, b->token_log_probabilities, b->next_token_log_probabilities);
    SWAP(float, b->coverage, b->next_coverage);
    SWAP(row_state, b->states, b->next_states);
}

/* Those that lack more than the best one go: they were kept in case nothing better came. */
static void drop_incomplete(hypothesis_list *list) {
    while (list->count && list->items[list->count - 1].missing > list->items[0].missing) {
        hypothesis_release(&list->items[--list->count]);
    }
}

/* No living hypothesis, scored at its present length, is better than the worst finished one. */
static int none_is_better(const beam *b) {
    double best = b->log_probability[0];
    for (int i = 1; i < b->alive; i++) {
        best = b->log_probability[i] > best ? b->log_probability[i] : best;
    }
    return score_of(b, best, b->length) <= b->finished.items[b->finished.count - 1].score;
}

void beam_add_coverage(beam *b, const float *weights, int64_t stride) {
    int64_t count = b->source_count - 1;
    for (int k = 0; k < b->alive && b->coverage; k++) {
        for (int64_t i = 0; i < count; i++) {
            b->coverage[k * count + i] += weights[k * stride + i];
        }
    }
}

attn_status beam_advance(beam *b, const candidate *candidates, int count) {
    double next[64];
    int alive = 0;
    attn_status status = ATTN_OK;
    for (int i = 0; i < count && !status; i++) {
        if (candidates[i].token == b->eos) {
            if (i < b->size) {
                status = finish(b, candidates[i]);
                if (b->size == 1) { /* greedy: the likeliest token is </s> */
                    break;
                }
            }
        } else if (alive < b->size) {
            go_on(b, candidates[i], alive++, next);
        }
    }
    take_next_rows(b);
    memcpy(b->log_probability, next, (size_t)alive * sizeof *next);
    b->alive = alive;
    b->length++;
    const hypothesis_list *list = &b->finished;
    b->done = alive == 0 || b->length >= b->max_length ||
              (list->count == b->size && (b->size == 1 || none_is_better(b)));
    if (b->done) {
        drop_incomplete(&b->finished);
    }
    if (!status && b->done && list->count == 0) {
        return fail(ATTN_ERROR_NUMERIC, "the model gives no probabilities: a logit is not a finite number");
    }
    return status;
}
