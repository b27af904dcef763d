/* A search: the sentences wait in a queue, longest first; each thread takes some, encodes
 * them together and steps all its living hypotheses at once. When half of its sentences
 * have left it takes more, so steps stay wide. Nothing that a thread computes for one
 * sentence depends on the others: rows of packed products, of normalisation and of
 * attention are independent (tests/infer/test_search.c holds this to the bit). */
#include "infer/search.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "infer/beam.h"
#include "infer/candidates.h"
#include "infer/constraint.h"
#include "infer/continuations.h"
#include "infer/greedy.h"
#include "infer/sampling.h"
#include "infer/step.h"

/* Rows of a step, and rows whose logits exist at a time: many, so that weights are read seldom, but of a small model,
 * whose weights stay in cache, few, so that keys and logits stay there too. */
enum { MOST_ROWS = 192, LOGIT_BLOCK = 96, SMALL_WIDTH = 256, MOST_SMALL_ROWS = 24, SMALL_LOGIT_BLOCK = 24 };
/* Rows of a greedy step up to which a shortlist is faster than the whole output layer. */
enum { FEW_ROWS = 4 };
enum { SENTENCE_ROOM = 512 };

/* --- one search: sentences waiting, and the threads that take them -------------- */

typedef struct waiting_sentences {
    searcher *s;
    const int32_t *ids;
    const size_t *offsets;
    const search_options *options;
    hypothesis_list *results;
    size_t *order; /* the indices as they are taken, longest first: what takes long starts early */
    size_t next, count;
    double working; /* what is left to do of those that were taken: unfinished_work() of all threads */
    int threads;
    attn_status status; /* of the first that failed, and its sentence */
    char sentence[SENTENCE_ROOM];
} waiting_sentences;

typedef struct live_sentence {
    size_t index;
    beam beam;
    int32_t *cross_places; /* [length] */
    int32_t length;        /* source tokens */
} live_sentence;

/* A model of the search and a thread's working memory with it. */
typedef struct member {
    searcher *s;
    const translator *model;
    search_room *room;
} member;

/* A thread's own: its models' memory and living sentences. The first model's tape and caches
 * lead: the others' caches have the same places. */
typedef struct worker {
    waiting_sentences *queue;
    const translator *model;
    const search_options *options;
    member members[MOST_MODELS];
    int member_count;
    tape *t;
    cache *self, *cross;
    live_sentence *alive;
    size_t alive_count, most_sentences;
    int64_t alive_tokens;
    double unfinished; /* its part of what is in work */
    unscored_tokens unscored; /* greedy search alone */
} worker;

static int is_small(const translator *model) {
    return model->config->d_model <= SMALL_WIDTH;
}

/* Rows whose logits exist at a time. */
static int64_t logit_block(const translator *model) {
    return is_small(model) ? SMALL_LOGIT_BLOCK : LOGIT_BLOCK;
}

/* A token that is never produced. */
static int32_t never_produced(const model_config *c) {
    return c->pad_token_id == c->eos_token_id ? TOKEN_NONE : c->pad_token_id;
}

static size_t length_of(const waiting_sentences *q, size_t sentence) {
    return q->offsets[sentence + 1] - q->offsets[sentence];
}

static const sentence_request *request_of(const search_options *options, size_t sentence) {
    const sentence_request *all = options->steering ? options->steering->requests : NULL;
    return all ? &all[sentence] : NULL;
}

static int32_t longest_translation(const model_config *c, const search_options *options, const sentence_request *request,
                                   size_t source_tokens) {
    int64_t most = c->max_position_embeddings;
    if (options->max_length > 0) {
        most = options->max_length < most ? options->max_length : most;
    } else {
        int64_t by_source = 2 * (int64_t)source_tokens + 32;
        most = c->max_length > 1 && c->max_length - 1 < most ? c->max_length - 1 : most;
        most = by_source < most ? by_source : most;
    }
    if (request && request->prefix_count >= most) {
        most = request->prefix_count + 1;
    }
    return (int32_t)most;
}

/* What is left to do of a thread's living sentences, in sentences: a translation is taken to become as long
 * as its source, or what is asked for, and one that is longer already to have an eighth of that before it. */
static double unfinished_work(const worker *w) {
    double sum = 0;
    for (size_t i = 0; i < w->alive_count; i++) {
        const beam *b = &w->alive[i].beam;
        const int32_t likely = w->alive[i].length > b->min_length ? w->alive[i].length : b->min_length;
        const int32_t expected = likely < b->max_length ? likely : b->max_length;
        const double left = (double)(expected - b->length) / (double)expected;
        sum += left > 0 ? left : 0.125;
    }
    return sum;
}

static void report_work(worker *w) {
    const double unfinished = unfinished_work(w);
#pragma omp critical(attn_search_queue)
    { w->queue->working += unfinished - w->unfinished; }
    w->unfinished = unfinished;
}

/* Takes sentences for this thread from the queue: as many as there is room for, but not
 * more than make up its share of all that wait or are in work, and the few that would be left over. */
static size_t take_sentences(worker *w, size_t *first) {
    waiting_sentences *q = w->queue;
    size_t taken = 0;
#pragma omp critical(attn_search_queue)
    {
        *first = q->next;
        const size_t left = q->status ? 0 : q->count - q->next;
        double share = ((double)left + q->working) / q->threads;
        if ((double)left + w->unfinished < 1.125 * share) { /* a few left over would cost a narrow step each time */
            share = (double)left + w->unfinished;
        }
        int64_t tokens = w->alive_tokens;
        while (taken < left && w->alive_count + taken < w->most_sentences &&
               w->unfinished + (double)taken < share) {
            tokens += (int64_t)length_of(q, q->order[q->next + taken]);
            if (tokens > w->options->batch_tokens && taken + w->alive_count > 0) {
                break;
            }
            taken++;
        }
        q->next += taken;
        q->working += (double)taken;
    }
    w->unfinished += (double)taken;
    return taken;
}

static void drop_sentence(worker *w, size_t place) {
    live_sentence *sentence = &w->alive[place];
    for (int32_t i = 0; i < sentence->length && sentence->cross_places; i++) {
        cache_give_back(w->cross, sentence->cross_places[i]);
    }
    w->alive_tokens -= sentence->length;
    memory_free(sentence->cross_places);
    beam_close(&sentence->beam);
    for (size_t i = place + 1; i < w->alive_count; i++) {
        w->alive[i - 1] = w->alive[i];
    }
    w->alive_count--;
}

/* Makes a taken sentence a living one. */
static attn_status start_sentence(worker *w, size_t index, int32_t *places) {
    waiting_sentences *q = w->queue;
    size_t length = length_of(q, index);
    live_sentence *sentence = &w->alive[w->alive_count];
    *sentence = (live_sentence){.index = index, .length = (int32_t)length};
    const sentence_request *request = request_of(w->options, index);
    attn_status status = beam_open(&sentence->beam, w->options, request, q->ids + q->offsets[index], (int32_t)length,
                                   longest_translation(w->model->config, w->options, request, length),
                                   w->model->config->eos_token_id);
    if (status) {
        return status;
    }
    sentence->cross_places = memory_allocate_raw(length, sizeof *sentence->cross_places);
    if (!sentence->cross_places) {
        beam_close(&sentence->beam);
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < length; i++) {
        sentence->cross_places[i] = places[i] = cache_take(w->cross);
    }
    w->alive_count++;
    w->alive_tokens += (int64_t)length;
    return ATTN_OK;
}

/* Readies a model for the next pass: the caches of those behind the first grow with its. Nobody takes
 * their places one by one. */
static attn_status follow(worker *w, int index) {
    search_room *room = w->members[index].room;
    if (index == 0) {
        return ATTN_OK;
    }
    tape_reset(&room->tape);
    attn_status status = cache_grow(&room->self, w->self->places);
    return status ? status : cache_grow(&room->cross, w->cross->places);
}

/* Encodes sentences that wait and lets them join. */
static attn_status admit(worker *w) {
    waiting_sentences *q = w->queue;
    size_t first, count = take_sentences(w, &first), tokens = 0;
    if (count == 0) {
        return ATTN_OK;
    }
    tape *t = w->t;
    tape_reset(t);
    int32_t *offsets = tape_memory(t, (int64_t)count + 1, sizeof *offsets);
    for (size_t i = 0; i < count; i++) {
        tokens += length_of(q, q->order[first + i]);
    }
    int32_t *ids = tape_memory(t, (int64_t)tokens, sizeof *ids), *places = tape_memory(t, (int64_t)tokens, sizeof *places);
    size_t wide = q->options->features ? (size_t)w->model->feature_width : 0;
    float *rows = wide ? tape_memory(t, (int64_t)(tokens * wide), sizeof *rows) : NULL;
    attn_status status = t->status ? t->status : cache_grow(w->cross, (int64_t)tokens);
    tokens = 0;
    for (size_t i = 0; i < count && !status; i++) {
        size_t index = q->order[first + i], length = length_of(q, index);
        memcpy(ids + tokens, q->ids + q->offsets[index], length * sizeof *ids);
        if (wide) {
            memcpy(rows + tokens * wide, q->options->features + q->offsets[index] * wide, length * wide * sizeof *rows);
        }
        offsets[i] = (int32_t)tokens;
        status = start_sentence(w, index, places + tokens);
        tokens += length;
    }
    if (status) {
        return status;
    }
    offsets[count] = (int32_t)tokens;
    for (int m = 0; m < w->member_count && !status; m++) {
        const member *from = &w->members[m];
        status = follow(w, m);
        status = status ? status
                        : from->model->kind->encode(&from->room->tape, from->model->model, (source_rows){ids, rows},
                                                    (packing){offsets, (int64_t)count}, places, &from->room->cross);
    }
    return status;
}

/* Room for `rows` more keys and values: first those that no hypothesis needs. */
static attn_status make_room(worker *w, int64_t rows) {
    cache *c = w->self;
    if (cache_has_room(c, rows)) {
        return ATTN_OK;
    }
    if (c->places) {
        cache_mark_begin(c);
        for (size_t i = 0; i < w->alive_count; i++) {
            const beam *b = &w->alive[i].beam;
            for (int row = 0; row < b->alive; row++) {
                cache_mark(c, b->places + (int64_t)row * b->max_length, b->length);
            }
        }
        cache_sweep(c);
    }
    return c->unused_count >= rows && c->unused_count >= c->places / 2 ? ATTN_OK : cache_grow(c, rows + c->places / 2);
}

/* What the decoder reads in this step. Lists of places are gathered row by row. */
static attn_status gather_step(worker *w, step_input *in) {
    tape *t = w->t;
    int64_t rows = 0, row = 0, self_stride = 1, cross_stride = 1;
    for (size_t i = 0; i < w->alive_count; i++) {
        const live_sentence *sentence = &w->alive[i];
        rows += sentence->beam.alive;
        self_stride = sentence->beam.length + 1 > self_stride ? sentence->beam.length + 1 : self_stride;
        cross_stride = sentence->length > cross_stride ? sentence->length : cross_stride;
    }
    attn_status status = make_room(w, rows);
    int32_t *ids = tape_memory(t, 5 * rows, sizeof *ids);
    int32_t *self_table = tape_memory(t, rows * self_stride, sizeof *self_table);
    int32_t *cross_table = tape_memory(t, rows * cross_stride, sizeof *cross_table);
    if (status || t->status) {
        return status ? status : t->status;
    }
    int32_t *positions = ids + rows, *places = positions + rows, *lengths = places + rows, *cross_lengths = lengths + rows;
    memset(self_table, 0, (size_t)(rows * self_stride) * sizeof *self_table);
    memset(cross_table, 0, (size_t)(rows * cross_stride) * sizeof *cross_table);
    for (size_t i = 0; i < w->alive_count; i++) {
        const live_sentence *sentence = &w->alive[i];
        const beam *b = &sentence->beam;
        for (int k = 0; k < b->alive; k++, row++) {
            const int64_t at = (int64_t)k * b->max_length;
            ids[row] = b->length ? b->ids[at + b->length - 1] : w->model->config->decoder_start_token_id;
            positions[row] = b->length;
            places[row] = b->places[at + b->length] = cache_take(w->self);
            lengths[row] = b->length + 1;
            cross_lengths[row] = sentence->length;
            memcpy(self_table + row * self_stride, b->places + at, (size_t)lengths[row] * sizeof *self_table);
            memcpy(cross_table + row * cross_stride, sentence->cross_places, (size_t)sentence->length * sizeof *cross_table);
        }
    }
    *in = (step_input){.rows = rows, .ids = ids, .positions = positions, .places = places,
                       .self = {self_table, self_stride, lengths}, .cross = {cross_table, cross_stride, cross_lengths}};
    if (w->options->steering && w->options->steering->coverage_penalty > 0) {
        in->cross_weights = tape_memory(t, rows * cross_stride, sizeof *in->cross_weights);
        return t->status;
    }
    return ATTN_OK;
}

/* Logits of `count` rows from `first` on: of one model, or the mean of all. */
static void find_logits(worker *w, tensor *const *x, int64_t first, int64_t count, float *logits, float *room) {
    tape *t = w->t;
    const int64_t vocabulary = w->model->config->vocab_size;
    for (int m = 0; m < w->member_count; m++) {
        const translator *model = w->members[m].model;
        tape *own = &w->members[m].room->tape;
        float *to = m ? room : logits;
        tape_fail(t, multiply_packed(own, matrix_of(to, count, vocabulary, ELEMENT_F32),
                                     matrix_rows(tensor_matrix(x[m]), first, count),
                                     packed_parameters_find(own->packed, model->embedding),
                                     (gemm_options){.bias = parameter_values(own->parameters, model->logits_bias)}));
        if (m) {
            t->rows->add(logits, room, count * vocabulary);
        }
    }
    for (int64_t i = 0; i < count * vocabulary && w->member_count > 1; i++) {
        logits[i] /= (float)w->member_count;
    }
}

/* Each row's likeliest continuations: list[row * wanted], counts[row]. x: of each model. Logits
 * exist for a block of rows at a time. */
static attn_status find_candidates(worker *w, tensor *const *x, int64_t rows, candidate *list, int wanted, int *counts) {
    tape *t = w->t;
    const model_config *c = w->model->config;
    const int64_t block_rows = logit_block(w->model), block = block_rows * (int64_t)c->vocab_size;
    float *logits = tape_memory(t, w->member_count > 1 ? 2 * block : block, sizeof *logits);
    int sampling = w->options->steering && w->options->steering->sampling.on;
    const continuation_context context = {
        .rows = t->rows,
        .vocabulary = c->vocab_size,
        .never = never_produced(c),
        .ranked = w->options->steering ? tape_memory(t, c->vocab_size, sizeof(float)) : NULL,
        .sampled = sampling ? tape_memory(t, c->vocab_size, sizeof(sampled_token)) : NULL};
    size_t sentence = 0;
    int k = 0;
    for (int64_t first = 0; first < rows && !t->status; first += block_rows) {
        int64_t left = x[0]->rows - first, count = left < block_rows ? left : block_rows;
        find_logits(w, x, first, count, logits, logits + block);
        for (int64_t i = 0; i < count && first + i < rows && !t->status; i++) {
            int64_t row = first + i;
            while (k == w->alive[sentence].beam.alive) {
                sentence++;
                k = 0;
            }
            const beam *b = &w->alive[sentence].beam;
            counts[row] = continuations_of_row(&context, b, k, logits + i * c->vocab_size, list + row * wanted);
            k++;
        }
    }
    return t->status;
}

/* The same for greedy search with nothing that steers it, where the step is narrow. */
static int find_greedily(worker *w, const tensor *x, int64_t rows, candidate *list, int wanted, int *counts) {
    const int plain = w->options->beam == 1 && !w->options->steering && w->member_count == 1;
    if (!plain || w->t->status) {
        return 0;
    }
    beam *beams[FEW_ROWS];
    const output_layer layer = {packed_parameters_find(w->t->packed, w->model->embedding),
                                parameter_values(w->t->parameters, w->model->logits_bias),
                                never_produced(w->model->config)};
    const shortlist *likely = rows <= FEW_ROWS ? searcher_shortlist(w->queue->s, rows) : NULL;
    for (int64_t row = 0; row < rows && likely; row++) {
        beams[row] = &w->alive[row].beam;
    }
    if (likely &&
        greedy_step(w->t, &w->unscored, &layer, likely, x->data, rows, beams, list, wanted, counts)) {
        return 1;
    }
    unscored_settle(w->t, &w->unscored, &layer);
    return 0;
}

/* A constrained beam chooses among all that its rows' lists hold; lists and counts are the sentence's. */
static int choose_constrained(beam *b, const candidate *list, int wanted, const int *counts, candidate *chosen) {
    candidate merged[64 * MOST_ROW_CANDIDATES];
    int count = 0;
    for (int k = 0; k < b->alive; k++) {
        memcpy(merged + count, list + k * wanted, (size_t)counts[k] * sizeof *merged);
        count += counts[k];
    }
    candidates_sort(merged, count);
    constraint_order(b, merged, count, chosen);
    return count < beam_candidates(b) ? count : beam_candidates(b);
}

/* Every living sentence goes one token on; those that are done leave. */
static attn_status advance(worker *w, const candidate *list, int wanted, const int *counts) {
    candidate chosen[64 * MOST_ROW_CANDIDATES];
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < w->alive_count && !status; i++) {
        beam *b = &w->alive[i].beam;
        const int rows = b->alive;
        int count = 0;
        if (beam_is_constrained(b)) {
            count = choose_constrained(b, list, wanted, counts, chosen);
        }
        for (int k = 0; k < rows && !beam_is_constrained(b); k++) {
            count = candidates_merge(chosen, count, beam_candidates(b), list + k * wanted, counts[k]);
        }
        status = beam_advance(b, chosen, count);
        list += rows * wanted;
        counts += rows;
    }
    for (size_t i = w->alive_count; i-- > 0 && !status;) {
        if (w->alive[i].beam.done) {
            hypothesis_list *finished = &w->alive[i].beam.finished;
            w->queue->results[w->alive[i].index] = *finished;
            *finished = (hypothesis_list){0};
            drop_sentence(w, i);
        }
    }
    return status;
}

static void add_coverage(worker *w, const step_input *in) {
    const float *weights = in->cross_weights;
    for (size_t i = 0; i < w->alive_count; i++) {
        beam_add_coverage(&w->alive[i].beam, weights, in->cross.stride);
        weights += w->alive[i].beam.alive * in->cross.stride;
    }
}

static attn_status step(worker *w) {
    step_input in;
    tape_reset(w->t);
    attn_status status = gather_step(w, &in);
    if (status) {
        return status;
    }
    int wanted = 2 * w->options->beam + (w->options->steering && w->options->steering->requests ? MOST_PHRASES : 0);
    candidate *list = tape_memory(w->t, in.rows * wanted, sizeof *list);
    int *counts = tape_memory(w->t, in.rows, sizeof *counts);
    tensor *x[MOST_MODELS];
    for (int m = 0; m < w->member_count && !status; m++) {
        const member *from = &w->members[m];
        status = follow(w, m);
        x[m] = status ? NULL
                      : from->model->kind->step(&from->room->tape, from->model->model, &in, &from->room->self, &from->room->cross);
        status = status ? status : from->room->tape.status;
        if (in.cross_weights && !status) { /* the first model's */
            add_coverage(w, &in);
            in.cross_weights = NULL;
        }
    }
    if (!status && !find_greedily(w, x[0], in.rows, list, wanted, counts)) {
        status = find_candidates(w, x, in.rows, list, wanted, counts);
    }
    status = status ? status : w->t->status;
    return status ? status : advance(w, list, wanted, counts);
}

static attn_status work(worker *w) {
    attn_status status = ATTN_OK;
    while (!status) {
        if (w->alive_count <= w->most_sentences / 2) {
            status = admit(w);
        }
        if (status || w->alive_count == 0) {
            break;
        }
        status = step(w);
        report_work(w);
    }
    return status;
}

static attn_status borrow_rooms(worker *w) {
    w->member_count = 1 + w->options->other_count;
    for (int m = 0; m < w->member_count; m++) {
        searcher *s = m ? w->options->others[m - 1] : w->queue->s;
        w->members[m] = (member){s, searcher_translator(s), searcher_borrow(s)};
        if (!w->members[m].room) {
            w->member_count = m;
            return ATTN_ERROR_MEMORY;
        }
    }
    w->t = &w->members[0].room->tape;
    w->self = &w->members[0].room->self;
    w->cross = &w->members[0].room->cross;
    return ATTN_OK;
}

static attn_status run_worker(waiting_sentences *q) {
    const translator *model = searcher_translator(q->s);
    size_t most = (size_t)((is_small(model) ? MOST_SMALL_ROWS : MOST_ROWS) / q->options->beam);
    worker w = {.queue = q, .model = model, .options = q->options, .most_sentences = most ? most : 1};
    w.alive = memory_allocate(w.most_sentences, sizeof *w.alive);
    attn_status status = borrow_rooms(&w);
    status = status ? status : w.alive ? ATTN_OK : ATTN_ERROR_MEMORY;
    status = status ? status : unscored_open(&w.unscored, logit_block(model), model->embedding.columns);
    status = status ? status : work(&w);
    unscored_close(&w.unscored);
    while (w.alive_count) {
        drop_sentence(&w, w.alive_count - 1);
    }
    memory_free(w.alive);
    for (int m = 0; m < w.member_count; m++) {
        searcher_return(w.members[m].s, w.members[m].room);
    }
    return status;
}

typedef struct sortable_length {
    size_t length, index;
} sortable_length;

static int compare_lengths(const void *a, const void *b) {
    const sortable_length *x = a, *y = b;
    if (x->length != y->length) {
        return x->length < y->length ? 1 : -1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

/* The indices of the sentences that are not empty, longest first, dealt to as many hands as there
 * are threads, one hand behind the other: threads that share a few have as much to do. */
static attn_status sort_sentences(waiting_sentences *q, size_t sentences) {
    sortable_length *list = memory_allocate_raw(sentences, sizeof *list);
    q->order = memory_allocate_raw(sentences, sizeof *q->order);
    if (!list || !q->order) {
        memory_free(list);
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < sentences; i++) {
        if (length_of(q, i)) {
            list[q->count++] = (sortable_length){length_of(q, i), i};
        }
    }
    qsort(list, q->count, sizeof *list, compare_lengths);
    const size_t hands = (size_t)q->threads;
    size_t place = 0;
    for (size_t hand = 0; hand < hands; hand++) {
        for (size_t i = hand; i < q->count; i += hands) {
            q->order[place++] = list[i].index;
        }
    }
    memory_free(list);
    return ATTN_OK;
}

/* The empty translation of an empty sentence. */
static attn_status give_empty_results(const waiting_sentences *q, size_t sentences) {
    for (size_t i = 0; i < sentences; i++) {
        q->results[i] = (hypothesis_list){0};
    }
    for (size_t i = 0; i < sentences; i++) {
        if (length_of(q, i) == 0) {
            q->results[i].items = memory_allocate(1, sizeof *q->results[i].items);
            if (!q->results[i].items) {
                return ATTN_ERROR_MEMORY;
            }
            q->results[i].count = 1;
        }
    }
    return ATTN_OK;
}

attn_status search(searcher *s, const int32_t *ids, const size_t *offsets, size_t sentences,
                   const search_options *options, hypothesis_list *results) {
    const int threads = omp_get_max_threads();
    waiting_sentences q = {.s = s, .ids = ids, .offsets = offsets, .options = options, .results = results,
                           .threads = omp_in_parallel() ? 1 : threads};
    attn_status status = give_empty_results(&q, sentences);
    status = status ? status : sort_sentences(&q, sentences);
    if (!status && q.count) {
        q.threads = (size_t)q.threads < q.count ? q.threads : (int)q.count;
        if (q.threads == 1) { /* a step's products are too small to be shared */
            omp_set_num_threads(1);
        }
#pragma omp parallel num_threads(q.threads) if (q.threads > 1)
        {
            attn_status mine = run_worker(&q);
            if (mine) {
#pragma omp critical(attn_search_queue)
                if (!q.status) {
                    q.status = mine;
                    (void)snprintf(q.sentence, sizeof q.sentence, "%s", attn_last_error());
                }
            }
        }
        omp_set_num_threads(threads);
        status = q.status ? fail(q.status, "%s", q.sentence) : ATTN_OK;
    }
    memory_free(q.order);
    return status;
}
