#include "train/step.h"

#include <omp.h>

#include "base/memory.h"
#include "base/threads.h"

enum {
    PARTS = 8,
    LARGEST_MODEL_IN_PARTS = 16 << 20, /* parameters: a block a part is 64 MiB at most */
    SUM_BLOCK = 1 << 13
};

/* What one thread works with. */
typedef struct worker {
    parameters parameters; /* the network's, with the gradients of the part at hand */
    tape tape;
    int32_t *source_offsets, *target_offsets; /* of the part at hand */
    size_t offsets_capacity[2];
} worker;

struct gradient_step {
    network network;
    int parts;
    worker *workers;
    int worker_count;
    float *blocks[PARTS]; /* gradients; the first is the network's own */
};

static attn_status worker_open(worker *w, const network *n) {
    w->parameters = *n->parameters;
    return tape_open(&w->tape, &w->parameters);
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
        attn_status status = worker_open(&more[i], &s->network);
        if (status) {
            s->worker_count = i;
            return status;
        }
    }
    return ATTN_OK;
}

attn_status gradient_step_open(const network *n, gradient_step **made) {
    gradient_step *s = memory_allocate(1, sizeof *s);
    *made = s;
    if (!s) {
        return ATTN_ERROR_MEMORY;
    }
    s->network = *n;
    s->parts = n->parameters->size <= LARGEST_MODEL_IN_PARTS ? PARTS : 1;
    s->blocks[0] = n->parameters->gradients;
    for (int i = 1; i < s->parts; i++) {
        s->blocks[i] = memory_allocate((size_t)n->parameters->size, sizeof(float));
        if (!s->blocks[i]) {
            gradient_step_free(s);
            *made = NULL;
            return ATTN_ERROR_MEMORY;
        }
    }
    attn_status status = need_workers(s, 1);
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
    for (int i = 1; i < PARTS; i++) {
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
        part->source = b->source + b->source_offsets[first];
        part->target_input = b->target_input + b->target_offsets[first];
        part->labels = b->labels + b->target_offsets[first];
        part->source_offsets = w->source_offsets;
        part->target_offsets = w->target_offsets;
        part->tokens_source = (size_t)w->source_offsets[end - first];
        part->tokens_target = (size_t)w->target_offsets[end - first];
    }
    return status;
}

static attn_status run_part(gradient_step *s, worker *w, int part, const batch *b, const gradient_task *task,
                            loss_result *result) {
    batch own;
    size_t first = part_begin(b, part, s->parts), end = part_begin(b, part + 1, s->parts);
    if (part > 0 || !task->adds) {
        memset(s->blocks[part], 0, (size_t)w->parameters.size * sizeof(float));
    }
    if (part + 1 == s->parts) {
        end = b->sequences;
    }
    if (first == end) {
        *result = (loss_result){0};
        return ATTN_OK;
    }
    attn_status status = cut(w, b, first, end, &own);
    w->parameters.gradients = s->blocks[part];
    tape_start(&w->tape, 1, task->seed, task->number * PARTS + (uint64_t)part);
    status = status ? status
                    : s->network.kind->loss(&w->tape, s->network.model, &own, task->smoothing, task->divisor,
                                              result);
    return status ? status : tape_backward(&w->tape);
}

/* blocks[0] += the others, in order. */
static void sum_blocks(gradient_step *s) {
    int64_t size = s->network.parameters->size, count = (size + SUM_BLOCK - 1) / SUM_BLOCK;
#pragma omp parallel for schedule(dynamic, 8)
    for (int64_t block = 0; block < count; block++) {
        int64_t at = block * SUM_BLOCK, n = size - at < SUM_BLOCK ? size - at : SUM_BLOCK;
        for (int i = 1; i < s->parts; i++) {
            s->workers[0].tape.rows->add(s->blocks[0] + at, s->blocks[i] + at, n);
        }
    }
}

attn_status gradient_step_run(gradient_step *s, const batch *b, const gradient_task *task, loss_result *result) {
    loss_result results[PARTS];
    attn_status statuses[PARTS];
    int threads = threads_get() < s->parts ? threads_get() : s->parts;
    attn_status status = need_workers(s, threads);
    if (status) {
        return status;
    }
    if (s->parts == 1) {
        statuses[0] = run_part(s, &s->workers[0], 0, b, task, &results[0]);
    } else {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (int part = 0; part < s->parts; part++) {
            statuses[part] = run_part(s, &s->workers[omp_get_thread_num()], part, b, task, &results[part]);
        }
    }
    *result = (loss_result){0};
    for (int part = 0; part < s->parts; part++) {
        if (statuses[part]) {
            /* The sentence may have been left on another thread. */
            return s->parts == 1 ? statuses[part]
                                 : fail(statuses[part], "gradient %llu could not be computed: %s",
                                        (unsigned long long)task->number + 1, attn_status_text(statuses[part]));
        }
        result->loss += results[part].loss;
        result->likelihood += results[part].likelihood;
        result->correct += results[part].correct;
        result->tokens += results[part].tokens;
    }
    sum_blocks(s);
    return ATTN_OK;
}

double gradient_step_roof(gradient_step *s) {
    return gemm_roof(s->workers[0].tape.gemm, s->workers[0].tape.type);
}

size_t gradient_step_memory(const gradient_step *s) {
    size_t total = (size_t)(s->parts - 1) * (size_t)s->network.parameters->size * sizeof(float);
    for (int i = 0; i < s->worker_count; i++) {
        total += arena_size(s->workers[i].tape.memory);
    }
    return total;
}
