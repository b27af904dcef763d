/* A plan: which kernels a call uses, how its work is cut into tasks and how its
 * workspace is laid out. Blocks, and what a task sums, depend on the shape of the own
 * sequence alone, never on threads or on neighbours, and so do all bits.
 *
 * A task is a key/value head of one sequence and a run of its query rows. The heads of
 * a group share their keys, so their queries are folded into one list of rows, query by
 * query: row r is query r / group of head kv_head * group + r % group. */
#ifndef ATTN_ATTENTION_PLAN_H
#define ATTN_ATTENTION_PLAN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "attention/ahead.h"
#include "attention/problem.h"
#include "attention/tile.h"

enum {
    CHUNK_ROWS = 256, /* query rows of a task of the forward pass and of the weights: K and V are */
    MOST_CHUNK_ROWS = 1024, /* packed once for them. The more rows, the larger: plan_chunk_rows() */
    MANY_TASKS = 32, /* enough for the threads to end at about the same time */
    BLOCK_KEYS = 128, /* keys of a block */
    FORWARD_ROWS = 48, /* query rows of a block: scores of 48 x 128 stay in the first cache */
    BACKWARD_ROWS = 96
};

/* See is_huge(); 2^23. */
#define HUGE_LOG_SUM_EXP 8388608.0f

/* Tasks that add to the same bias gradient form a chain and run in order on one thread:
 * all heads of a sequence, a head of all sequences, or everything. */
typedef enum task_chain { CHAIN_NONE, CHAIN_SEQUENCE, CHAIN_HEAD, CHAIN_ALL } task_chain;

typedef struct work_plan {
    const problem_t *problem;
    problem_size size;
    const tile_kernels *tile; /* NULL: the reference */
    score_rule rule;
    int64_t group;    /* query heads of a key/value head */
    int64_t ldq, ldv; /* padded row lengths of d and d_v */
    int packed;
    int hides; /* some existing key may be hidden from some query */
    task_chain chain;
    int pairs; /* products take pairs of bf16 */
    int transforms; /* rows of q and k are normalised or rotated when loaded */
} work_plan;

/* The arrays of a call; those that a pass does not have are NULL. */
typedef struct attention_arrays {
    const void *q, *k, *v, *o, *d_o;
    const attn_attention_cache *cache; /* decoding: where keys and values are */
    void *out;
    float *log_sum_exp;
    const float *saved_log_sum_exp;
    attn_attention_gradients gradients;
} attention_arrays;

typedef struct work_task {
    sequence_view sequence;
    int64_t kv_head;
    int64_t first, count; /* rows */
    /* What the thread will probably do then, or of short sequences the same head of the one after it; NULL: unknown. */
    const struct work_task *next;
} work_task;

/* A task's rows are its queries, and of each the heads that share the key/value head: row r's query and
 * head. */
static inline int64_t row_token(const work_plan *plan, int64_t r) {
    return plan->group == 1 ? r : r / plan->group; /* dividing takes as long as a score's vector */
}
static inline int64_t row_head(const work_plan *plan, const work_task *task, int64_t r) {
    return plan->group == 1 ? task->kv_head : task->kv_head * plan->group + r % plan->group;
}

/* The addresses of the task's rows from .. from + count - 1. */
static inline void task_rows(const work_plan *plan, const work_task *task, const void *base,
                             attn_strides strides, int64_t from, int64_t count, const void **rows) {
    const problem_t *p = plan->problem;
    if (plan->group > 1) {
        for (int64_t n = 0; n < count; n++) {
            rows[n] = query_row(p, &task->sequence, base, strides, row_token(plan, from + n),
                                row_head(plan, task, from + n));
        }
        return;
    }
    const char *row = query_row(p, &task->sequence, base, strides, from, task->kv_head);
    for (int64_t n = 0; n < count; n++) {
        rows[n] = row + n * strides.token * dtype_size(p->dtype);
    }
}

/* The log-sum-exp that the caller saved, of query i of a head of the task's sequence. */
static inline float saved_log_sum_exp(const work_plan *plan, const work_task *task, const attention_arrays *a,
                                      int64_t head, int64_t i) {
    return a->saved_log_sum_exp[head * plan->size.q_tokens + task->sequence.q_first + i];
}
static inline float row_log_sum_exp(const work_plan *plan, const work_task *task, const attention_arrays *a,
                                    int64_t r) {
    return saved_log_sum_exp(plan, task, a, row_head(plan, task, r), row_token(plan, r));
}

/* Whether a saved log-sum-exp is so large that its last bit is worth a factor of the weights: the reference
 * makes them from the scores alone. Scores with a bias are rounded before their differences are taken, so
 * that a row of which all is hidden by -1e9 does not count. */
static inline int is_huge(const work_plan *plan, float log_sum_exp) {
    return fabsf(log_sum_exp) > HUGE_LOG_SUM_EXP && log_sum_exp != -INFINITY &&
           (!plan->rule.modified || plan->rule.softcap < INFINITY);
}
static inline int rows_are_huge(const work_plan *plan, const work_task *task, const attention_arrays *a) {
    int huge = 0;
    for (int64_t r = 0; r < task->count; r++) {
        huge |= is_huge(plan, row_log_sum_exp(plan, task, a, r));
    }
    return huge;
}

attn_status plan_make(work_plan *plan, const problem_t *problem, int caches);

/* Columns of a row of `width` values in whole vectors of the chosen kernels; at most ldq or ldv. */
static inline int plan_columns(const work_plan *plan, int64_t width) {
    return (int)((width + plan->tile->vector - 1) / plan->tile->vector * plan->tile->vector);
}

/* How rows become tasks: all of a head of a sequence in one, chunks of plan_chunk_rows(), or larger
 * ones of plan_joined_rows(). */
typedef enum task_cut { TASK_HEAD, TASK_CHUNK, TASK_JOINED } task_cut;

/* Rows of a chunk where a head of a sequence has `rows`: four chunks or more, if they are large. */
int64_t plan_chunk_rows(int64_t rows);
/* The same, or several chunks together where there are heads enough for all threads: keys are
 * packed once for each task. What this depends on must not reach the results. */
int64_t plan_joined_rows(const work_plan *plan, int64_t rows);

/* Runs work(task, scratch) on every task over OpenMP's threads, each with its own
 * scratch of scratch_size bytes. */
typedef void (*task_function)(const work_plan *plan, const work_task *task, void *context, void *scratch);
attn_status plan_run(const work_plan *plan, task_cut cut, task_function work, void *context,
                     void *workspace, size_t workspace_size, size_t scratch_size);

/* The chain that a gradient of the problem's bias needs. */
task_chain plan_chain(const problem_t *p);
/* Zeroes every element of the bias gradient, once for broadcast axes. */
void plan_clear_bias(const problem_t *p, float *d_bias);

/* ATTN_OK if the workspace can hold `needed` bytes with their alignment. */
attn_status plan_check_workspace(const void *workspace, size_t workspace_size, size_t needed);

/* The threads that a call is worth: one where it takes less than starting others does. */
int64_t plan_threads(const work_plan *plan);

/* Whether the rows of a pass are too many to stay in the caches, so that they are worth asking for. */
int plan_is_large(const work_plan *plan, int backward);

/* Bytes for `threads` scratches with their alignment. */
size_t plan_workspace(size_t scratch_size);

/* A scratch is handed out piece by piece, 64-byte aligned. With base NULL it only
 * counts, which is how sizes are found. */
typedef struct scratch_cursor {
    char *base;
    size_t used;
} scratch_cursor;
void *scratch_take(scratch_cursor *cursor, size_t count, size_t size);

/* Row j of a cache's keys or values, and its scale (1 unless int8). */
const void *cache_row(const attn_attention_cache *cache, const void *base, attn_strides strides,
                      int64_t sequence, int64_t j, int64_t head);
float cache_scale(const attn_attention_cache *cache, const float *scales, attn_strides strides,
                  int64_t sequence, int64_t j, int64_t head);

/* Short sequences: work is so little that waiting for memory would be most of it, and a head's
 * rows are short pieces far apart. A thread mostly takes all heads of a sequence in turn, and before
 * the first reads the sequence's rows from end to end, as the processor's own prefetching likes it. */
enum { SHORT_ROWS = 96, NEIGHBOUR_ROWS = 192 };
static inline int task_is_short(const work_task *task) {
    return task->count <= SHORT_ROWS && task->sequence.length <= SHORT_ROWS;
}

/* Reads the rows of all heads of the task's sequence, or asks for them to be written: queries (as
 * in query_row) or keys. */
void touch_queries(const work_plan *plan, const work_task *task, const void *q, attn_strides strides,
                   int64_t width, int to_write);
void touch_keys(const work_plan *plan, const work_task *task, const void *k, attn_strides strides,
                int64_t width, int to_write);

/* Adds to what is asked for the bias and mask of `rows` rows of the task, from its row `from` on, for keys
 * `key` .. key + keys - 1, and with d_bias (NULL: none) the bias's gradient: where heads are not grouped,
 * keys are adjacent and rows have values of their own. */
void add_pairs(const work_plan *plan, const work_task *task, float *d_bias, int64_t from, int64_t rows,
               int64_t key, int64_t keys, rows_ahead *ahead);

/* The same of a tile at once, of grouped heads too: asks for the biases and masks of a tile, and the
 * gradients of biases where they are wanted: pieces of rows that lie far apart. Asked for before the tile's
 * product is made, they are there after it. */
void ask_for_pairs(const work_plan *plan, const row_tile *tile, const score_row *rows, float *const *d_bias);

/* --- rows ------------------------------------------------------------------------ */

/* What is loaded: q, k, v, o or d_o, a head's rows. */
typedef enum row_kind { ROW_PLAIN, ROW_QUERY, ROW_KEY } row_kind;

/* 1 / |row|, 0 of a row of zeros. */
double row_inverse_norm(const float *row, int width);

/* Loads `count` rows from their addresses into [count][ld], padded with zeros, and for
 * queries and keys normalised and rotated as the problem says (row n at position
 * positions[n]). 1 if all are finite, turned or not. */
int load_rows(const work_plan *plan, const void *const *source, int count, int width, float *rows,
              int64_t ld, row_kind kind, const int32_t *positions);

/* Keys first .. first + keys - 1 (at most BLOCK_KEYS) of the task's sequence and head, loaded into rows
 * [keys][ldq] and their transpose into panels. 1 if all are finite. */
int load_key_rows(const work_plan *plan, const work_task *task, const attention_arrays *a, int64_t first, int keys,
                  float *rows, float *panels);

/* The gradient with respect to a row before it was normalised and rotated, in place;
 * source is the row as the caller gave it. */
void unload_gradient(const work_plan *plan, const void *source, int width, int32_t position, float *row);

/* Tiles of a block whose rows see [low, high) of its keys; rows that see nothing are
 * left out if a whole tile of them does. Returns the number of tiles. */
int cut_tiles(const score_row *rows, int count, row_tile *tiles);
/* The same for the block's transpose: rows are keys, ranges are of query rows. */
int cut_key_tiles(const score_row *rows, int count, int keys, row_tile *tiles);

/* What row r of the task's sequence and head brings into its scores; the key range is
 * relative to first_key and cut to [0, keys). */
void fill_score_row(const work_plan *plan, const work_task *task, int64_t r, int64_t low, int64_t high,
                    int64_t first_key, int keys, score_row *row);

#endif
