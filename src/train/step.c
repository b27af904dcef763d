#include "train/step.h"

#include <omp.h>

#include "base/memory.h"
#include "base/threads.h"

enum {
    LARGE_MODEL = 16 << 20, /* parameters: more than that make FEW_BLOCKS, of more than 64 MiB each */
    FEW_BLOCKS = 2,
    PART_TOKENS = 2048, /* of both sides, at most: it is what activations take memory for */
    LARGE_MODEL_PART_TOKENS = 512,
    MOST_PARTS = 1 << 16, /* of one batch */
    SUM_BLOCK = 1 << 13
};

/* What one thread works with. */
typedef struct worker {
    parameters parameters; /* the network's, with the gradients of the part at hand */
    tape tape;
    int32_t *source_offsets, *target_offsets; /* of the part at hand */
    size_t offsets_capacity[2];
    profile profile;
} worker;

struct gradient_step {
    network network;
    worker *workers;
    int worker_count;
    float *blocks[GRADIENT_BLOCKS]; /* gradients; the first is the network's own */
    int block_count;
    packed_weights *weights;
};

static attn_status worker_open(worker *w, const gradient_step *s) {
    w->parameters = *s->network.parameters;
    attn_status status = tape_open(&w->tape, &w->parameters);
    w->tape.weights = s->weights;
    return status;
}

/* As many workers as threads, made when first needed: a worker's tape compiles its own
 * kernels. */
static attn_status need_workers(gradient_step *s, int count) {
    if (count <= s->worker_count) {
        return ATTN_OK;
    }
    worker *more = memory_allocate((size_t)count, sizeof *more);
    if (!more) {
        return ATTN_ERROR_MEMORY;
    }
    /* A tape points at its worker's parameters, so workers that move are opened anew. */
    for (int i = 0; i < s->worker_count; i++) {
        tape_close(&s->workers[i].tape);
        memory_free(s->workers[i].source_offsets);
        memory_free(s->workers[i].target_offsets);
    }
    memory_free(s->workers);
    s->workers = more;
    s->worker_count = count;
    for (int i = 0; i < count; i++) {
        attn_status status = worker_open(&more[i], s);
        if (status) {
            s->worker_count = i;
            return status;
        }
    }
    return ATTN_OK;
}

attn_status gradient_step_open(const network *n, int blocks, gradient_step **made) {
    gradient_step *s = memory_allocate(1, sizeof *s);
    *made = s;
    if (!s) {
        return ATTN_ERROR_MEMORY;
    }
    s->network = *n;
    s->block_count = blocks > 0 ? blocks : n->parameters->size <= LARGE_MODEL ? GRADIENT_BLOCKS : FEW_BLOCKS;
    s->blocks[0] = n->parameters->gradients;
    for (int i = 1; i < s->block_count; i++) {
        s->blocks[i] = memory_allocate((size_t)n->parameters->size, sizeof(float));
        if (!s->blocks[i]) {
            gradient_step_free(s);
            *made = NULL;
            return ATTN_ERROR_MEMORY;
        }
    }
    s->weights = packed_weights_new(n->parameters);
    attn_status status = s->weights ? need_workers(s, 1) : ATTN_ERROR_MEMORY;
    if (status) {
        gradient_step_free(s);
        *made = NULL;
    }
    return status;
}

void gradient_step_free(gradient_step *s) {
    if (!s) {
        return;
    }
    for (int i = 0; i < s->worker_count; i++) {
        tape_close(&s->workers[i].tape);
        memory_free(s->workers[i].source_offsets);
        memory_free(s->workers[i].target_offsets);
    }
    memory_free(s->workers);
    packed_weights_free(s->weights);
    for (int i = 1; i < GRADIENT_BLOCKS; i++) {
        memory_free(s->blocks[i]);
    }
    memory_free(s);
}

/* Sequence at which part `part` begins: parts hold about the same number of tokens. */
static size_t part_begin(const batch *b, int part, int parts) {
    size_t wanted = (b->tokens_source + b->tokens_target) * (size_t)part / (size_t)parts, low = 0, high = b->sequences;
    while (low < high) {
        size_t middle = (low + high) / 2;
        size_t before = (size_t)b->source_offsets[middle] + (size_t)b->target_offsets[middle];
        if (before < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static attn_status shift_offsets(int32_t **offsets, size_t *capacity, const int32_t *from, size_t sequences) {
    attn_status status = memory_grow(offsets, capacity, sequences + 1, sizeof **offsets);
    for (size_t i = 0; i <= sequences && !status; i++) {
        (*offsets)[i] = from[i] - from[0];
    }
    return status;
}

/* Sequences first .. end - 1 of the batch. */
static attn_status cut(worker *w, const batch *b, size_t first, size_t end, batch *part) {
    *part = *b;
    part->sequences = end - first;
    attn_status status = shift_offsets(&w->source_offsets, &w->offsets_capacity[0], b->source_offsets + first, end - first);
    status = status ? status
                    : shift_offsets(&w->target_offsets, &w->offsets_capacity[1], b->target_offsets + first, end - first);
    if (!status) {
        size_t source_at = (size_t)b->source_offsets[first];
        part->source = b->source ? b->source + source_at : NULL;
        part->features = b->features ? b->features + source_at * b->feature_width : NULL;
        part->target_input = b->target_input + b->target_offsets[first];
        part->labels = b->labels + b->target_offsets[first];
        part->source_offsets = w->source_offsets;
        part->target_offsets = w->target_offsets;
        part->tokens_source = (size_t)w->source_offsets[end - first];
        part->tokens_target = (size_t)w->target_offsets[end - first];
    }
    return status;
}

/* Parts that go into each block: by the batch alone. */
static int parts_of_block(const gradient_step *s, const batch *b) {
    size_t tokens = s->network.parameters->size <= LARGE_MODEL ? PART_TOKENS : LARGE_MODEL_PART_TOKENS;
    size_t room = (size_t)s->block_count * tokens, most = MOST_PARTS / GRADIENT_BLOCKS;
    size_t parts = (b->tokens_source + b->tokens_target + room - 1) / room;
    return (int)(parts < 1 ? 1 : parts > most ? most : parts);
}

/* Blocks that have a sequence: long ones may leave some without. */
static int blocks_in_use(const gradient_step *s, const batch *b) {
    int each = parts_of_block(s, b), parts = s->block_count * each, used = 0;
    for (int block = 0; block < s->block_count; block++) {
        size_t end = block + 1 == s->block_count ? b->sequences : part_begin(b, (block + 1) * each, parts);
        used += part_begin(b, block * each, parts) < end;
    }
    return used > 0 ? used : 1;
}

static void add_result(loss_result *total, const loss_result *part) {
    total->loss += part->loss;
    total->likelihood += part->likelihood;
    total->correct += part->correct;
    total->tokens += part->tokens;
}

/* Adds the gradient of part `part` of `parts` to the worker's block. */
static attn_status run_part(gradient_step *s, worker *w, int part, int parts, const batch *b, const gradient_task *task,
                            loss_result *total) {
    batch own;
    loss_result result;
    size_t first = part_begin(b, part, parts), end = part + 1 == parts ? b->sequences : part_begin(b, part + 1, parts);
    if (first == end) {
        return ATTN_OK;
    }
    attn_status status = cut(w, b, first, end, &own);
    tape_start(&w->tape, 1, task->seed, task->number * MOST_PARTS + (uint64_t)part);
    status = status ? status
                    : s->network.kind->loss(&w->tape, s->network.model, &own, task->smoothing, task->divisor, &result);
    if (!status) {
        add_result(total, &result);
    }
    return status ? status : tape_backward(&w->tape);
}

/* All parts of a block, one after the other. */
static attn_status run_block(gradient_step *s, worker *w, int block, const batch *b, const gradient_task *task,
                             loss_result *result) {
    int each = parts_of_block(s, b);
    attn_status status = ATTN_OK;
    *result = (loss_result){0};
    w->tape.profile = task->profile ? &w->profile : NULL;
    profile_start(w->tape.profile);
    if (block > 0 || !task->adds) {
        size_t bytes = (size_t)w->parameters.size * sizeof(float);
        profile_place before = profile_enter(w->tape.profile, PROFILE_ZEROING, PROFILE_FORWARD, (double)bytes);
        memset(s->blocks[block], 0, bytes);
        profile_return(w->tape.profile, before);
    }
    w->parameters.gradients = s->blocks[block];
    for (int part = block * each; part < (block + 1) * each && !status; part++) {
        status = run_part(s, w, part, s->block_count * each, b, task, result);
    }
    profile_stop(w->tape.profile);
    return status;
}

/* blocks[0] += the others, in order. */
static void sum_blocks(gradient_step *s) {
    int64_t size = s->network.parameters->size, count = (size + SUM_BLOCK - 1) / SUM_BLOCK;
#pragma omp parallel for schedule(dynamic, 8)
    for (int64_t block = 0; block < count; block++) {
        int64_t at = block * SUM_BLOCK, n = size - at < SUM_BLOCK ? size - at : SUM_BLOCK;
        for (int i = 1; i < s->block_count; i++) {
            s->workers[0].tape.rows->add(s->blocks[0] + at, s->blocks[i] + at, n);
        }
    }
}

/* Each block on a thread of its own; threads beyond the blocks work inside operations. */
static attn_status run_blocks(gradient_step *s, const batch *b, const gradient_task *task, loss_result *results) {
    attn_status statuses[GRADIENT_BLOCKS];
    int threads = threads_get(), used = blocks_in_use(s, b), workers = threads < used ? threads : used;
    attn_status status = need_workers(s, workers);
    if (status) {
        return status;
    }
    int inside = threads / workers;
    int before = threads_allow_teams(workers > 1 ? inside : 1); /* a region of one thread is no level */
#pragma omp parallel for schedule(dynamic, 1) num_threads(workers)
    for (int block = 0; block < s->block_count; block++) {
        worker *w = &s->workers[omp_get_thread_num()];
        threads_set(inside);
        w->profile.team = inside;
        statuses[block] = run_block(s, w, block, b, task, &results[block]);
    }
    threads_set(threads);
    threads_end_teams(before);
    for (int block = 0; block < s->block_count; block++) {
        if (statuses[block]) {
            /* The sentence may have been left on another thread. */
            return workers == 1 ? statuses[block] : fail(statuses[block], "gradient %llu could not be computed: %s", (unsigned long long)task->number + 1,
                        attn_status_text(statuses[block]));
        }
    }
    return ATTN_OK;
}

/* An update begins: the optimizer has been at the weights. */
static attn_status renew_weights(gradient_step *s, profile *p) {
    double bytes = 2 * (double)packed_weights_bytes(s->weights);
    profile_place before = profile_enter_team(p, PROFILE_PACKING, bytes, threads_get());
    attn_status status = packed_weights_renew(s->weights);
    profile_return(p, before);
    return status;
}

attn_status gradient_step_run(gradient_step *s, const batch *b, const gradient_task *task, loss_result *result) {
    loss_result results[GRADIENT_BLOCKS];
    attn_status status = task->adds ? ATTN_OK : renew_weights(s, task->profile);
    profile_stop(task->profile);
    status = status ? status : run_blocks(s, b, task, results);
    profile_start(task->profile);
    for (int i = 0; task->profile && i < s->worker_count; i++) {
        profile_add(task->profile, &s->workers[i].profile);
        s->workers[i].profile = (profile){0};
    }
    if (status) {
        return status;
    }
    *result = (loss_result){0};
    for (int block = 0; block < s->block_count; block++) {
        add_result(result, &results[block]);
    }
    double bytes = (double)(s->block_count + 1) * (double)s->network.parameters->size * sizeof(float);
    profile_place before = profile_enter_team(task->profile, PROFILE_SUMS, bytes, threads_get());
    sum_blocks(s);
    profile_return(task->profile, before);
    return ATTN_OK;
}

double gradient_step_roof(gradient_step *s) {
    return gemm_roof(s->workers[0].tape.gemm, s->workers[0].tape.type);
}

size_t gradient_step_memory(const gradient_step *s) {
    size_t total = packed_weights_bytes(s->weights) + (size_t)(s->block_count - 1) * (size_t)s->network.parameters->size * sizeof(float);
    for (int i = 0; i < s->worker_count; i++) {
        total += arena_size(s->workers[i].tape.memory);
    }
    return total;
}
