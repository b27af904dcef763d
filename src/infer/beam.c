/* The rules of search.h for one sentence. A living hypothesis is a row of ids and of cache
 * places; going on copies rows into the second pair of arrays, then the pairs swap. */
#include "infer/beam.h"

#include <math.h>

attn_status beam_open(beam *b, const search_options *options, int32_t max_length, int32_t eos) {
    size_t size = (size_t)options->beam, cells;
    *b = (beam){.size = options->beam, .alive = 1, .max_length = max_length, .length_penalty = options->length_penalty,
                .eos = eos};
    if (!size_multiply(size, (size_t)max_length, &cells)) {
        return fail(ATTN_ERROR_MEMORY, "%d hypotheses of %d tokens are too many", options->beam, max_length);
    }
    b->log_probability = memory_allocate(size, sizeof *b->log_probability);
    b->ids = memory_allocate(cells, sizeof *b->ids);
    b->places = memory_allocate(cells, sizeof *b->places);
    b->next_ids = memory_allocate(cells, sizeof *b->next_ids);
    b->next_places = memory_allocate(cells, sizeof *b->next_places);
    b->finished.items = memory_allocate(size, sizeof *b->finished.items);
    if (!b->log_probability || !b->ids || !b->places || !b->next_ids || !b->next_places || !b->finished.items) {
        beam_close(b);
        return ATTN_ERROR_MEMORY;
    }
    return ATTN_OK;
}

void beam_close(beam *b) {
    memory_free(b->log_probability);
    memory_free(b->ids);
    memory_free(b->places);
    memory_free(b->next_ids);
    memory_free(b->next_places);
    hypothesis_list_release(&b->finished);
    *b = (beam){0};
}

void hypothesis_list_release(hypothesis_list *list) {
    for (int i = 0; list->items && i < list->count; i++) {
        memory_free(list->items[i].ids);
    }
    memory_free(list->items);
    *list = (hypothesis_list){0};
}

static double score_of(const beam *b, double log_probability, int32_t tokens) {
    return log_probability / pow((double)tokens, b->length_penalty);
}

/* Puts a hypothesis among the finished ones; the worst of too many goes. Of equal
 * scores the earlier one stays in front. */
static attn_status finish(beam *b, candidate c) {
    hypothesis_list *list = &b->finished;
    double score = score_of(b, c.log_probability, b->length + 1);
    int place = list->count;
    while (place > 0 && score > list->items[place - 1].score) {
        place--;
    }
    if (place == b->size) {
        return ATTN_OK;
    }
    int32_t *ids = memory_allocate_raw((size_t)b->length, sizeof *ids);
    if (!ids) {
        return ATTN_ERROR_MEMORY;
    }
    if (b->length) {
        memcpy(ids, b->ids + (int64_t)c.row * b->max_length, (size_t)b->length * sizeof *ids);
    }
    if (list->count == b->size) {
        memory_free(list->items[--list->count].ids);
    }
    memmove(list->items + place + 1, list->items + place, (size_t)(list->count - place) * sizeof *list->items);
    list->items[place] = (hypothesis){ids, b->length, c.log_probability, score};
    list->count++;
    return ATTN_OK;
}

/* Row `to` of the next step is row c.row with c.token. The place of the token that was
 * read in this step is at index `length` of places. */
static void go_on(beam *b, candidate c, int to, double *next_log_probability) {
    int64_t from_row = (int64_t)c.row * b->max_length, to_row = (int64_t)to * b->max_length;
    memcpy(b->next_ids + to_row, b->ids + from_row, (size_t)b->length * sizeof *b->ids);
    memcpy(b->next_places + to_row, b->places + from_row, (size_t)(b->length + 1) * sizeof *b->places);
    b->next_ids[to_row + b->length] = c.token;
    next_log_probability[to] = c.log_probability;
}

static void swap(int32_t **a, int32_t **b) {
    int32_t *kept = *a;
    *a = *b;
    *b = kept;
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
    swap(&b->ids, &b->next_ids);
    swap(&b->places, &b->next_places);
    memcpy(b->log_probability, next, (size_t)alive * sizeof *next);
    b->alive = alive;
    b->length++;
    const hypothesis_list *list = &b->finished;
    b->done = alive == 0 || b->length >= b->max_length ||
              (list->count == b->size && (b->size == 1 || score_of(b, b->log_probability[0], b->length) <=
                                                              list->items[list->count - 1].score));
    if (!status && b->done && list->count == 0) {
        return fail(ATTN_ERROR_NUMERIC, "the model gives no probabilities: a logit is not a finite number");
    }
    return status;
}
