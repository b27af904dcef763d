/* The attention operator: softmax(scores + masks) V and its gradient, on the CPU,
 * usable alone (libattn-attention, which needs libm and OpenMP and nothing else).
 *
 * For every sequence b, query head h, query i and key j that i may attend to
 *
 *     s_ij = cap * tanh(scale * <q_i, k_j> / cap) - slope_h * |i + shift - j| + bias_ij
 *     l_i  = log( exp(sink_h) + sum_j exp(s_ij) )             log-sum-exp
 *     w_ij = exp(s_ij - l_i) * keep_ij / (1 - dropout)        weights
 *     o_i  = sum_j w_ij v_j                                   output
 *
 * where every part beyond the product can be left out and is by default. The matrix
 * of scores is never made, forward or backward (online softmax: Milakov & Gimelshein
 * 2018; blocks and the backward from the log-sum-exp: Dao et al. 2022).
 *
 * A call takes a problem (what is computed, on which shapes), the arrays, and a
 * workspace that the caller owns, of the size that attn_attention_workspace() gives.
 * Nothing is allocated inside, nothing is global, and several threads may call at
 * once. A call uses the threads that OpenMP would give a parallel region; its bits
 * are the same for every number of threads, and for a sequence alone or in any batch.
 *
 * Every function returns ATTN_OK or, having written to none of its outputs,
 * ATTN_ERROR_ARGUMENT (null pointers, sizes, ranges) or ATTN_ERROR_UNSUPPORTED, with
 * a sentence in attn_last_error(). */
#ifndef ATTN_ATTENTION_H
#define ATTN_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include <attn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum attn_dtype {
    ATTN_F32 = 0,
    ATTN_BF16 = 1, /* the upper half of an f32, as uint16_t */
    ATTN_I8 = 2    /* with f32 scales; keys and values of a decoding cache alone */
} attn_dtype;

typedef enum attn_score {
    ATTN_SCORE_SCALED_DOT = 0, /* scale * <q, k>; Vaswani et al. 2017 */
    ATTN_SCORE_DOT = 1,        /* <q, k>, scale is not used; Luong et al. 2015 */
    ATTN_SCORE_COSINE = 2,     /* scale * <q, k> / (|q| |k|), scale = 1 / temperature */
    ATTN_SCORE_LINEAR = 3      /* weights f(q).f(k) / sum, f(x) = elu(x) + 1; no softmax;
                                * Katharopoulos et al. 2020. The log-sum-exp is the log
                                * of that sum. Composes with key lengths and causal. */
} attn_score;

/* Which keys a query may see when Nq and Nk differ: with top-left query i sees keys
 * j <= i; with bottom-right j <= i + Nk - Nq, so that the last query sees them all. */
typedef enum attn_causal {
    ATTN_CAUSAL_NONE = 0,
    ATTN_CAUSAL_TOP_LEFT = 1,
    ATTN_CAUSAL_BOTTOM_RIGHT = 2
} attn_causal;

typedef enum attn_rotary {
    ATTN_ROTARY_NONE = 0,
    ATTN_ROTARY_HALVES = 1,     /* pairs (x_c, x_{c + r/2}): Llama, GPT-NeoX */
    ATTN_ROTARY_INTERLEAVED = 2 /* pairs (x_2c, x_2c+1): Su et al. 2021 */
} attn_rotary;

typedef enum attn_kernel {
    ATTN_KERNEL_AUTO = 0, /* the best that the processor has; ATTN_KERNEL in the
                           * environment (reference, portable, ...) lowers it */
    ATTN_KERNEL_REFERENCE = 1, /* slow, readable, in f64 */
    ATTN_KERNEL_PORTABLE = 2,
    ATTN_KERNEL_AVX2 = 3,
    ATTN_KERNEL_AVX512 = 4,
    ATTN_KERNEL_AVX512_BF16 = 5
} attn_kernel;

/* Sets a window's side free. */
#define ATTN_WINDOW_UNLIMITED INT64_MAX

/* Indices in either width: set one pointer, leave the other NULL. */
typedef struct attn_indices {
    const int32_t *i32;
    const int64_t *i64;
} attn_indices;

/* Distances in elements; the elements of one row (token, head) are adjacent.
 * `sequence` is used by plain batches alone: packed tokens follow from offsets. */
typedef struct attn_strides {
    int64_t token;
    int64_t head;
    int64_t sequence;
} attn_strides;

/* Distances in elements of a mask or bias; 0 broadcasts. query and key count from
 * the sequence's first. */
typedef struct attn_score_strides {
    int64_t sequence;
    int64_t head;
    int64_t query;
    int64_t key;
} attn_score_strides;

/* What is to be computed. Fill it with attn_attention_defaults(), then change what
 * is different. Pointers are borrowed for the length of a call. */
typedef struct attn_attention_problem {
    attn_dtype dtype;   /* of q, k, v, o and their gradients: ATTN_F32 or ATTN_BF16 */
    attn_kernel kernel; /* ATTN_KERNEL_AUTO */

    /* Sequences: packed when the offsets are set, a plain batch when they are not. */
    int64_t sequences; /* >= 0 */
    int64_t queries;   /* plain batch: queries of each sequence */
    int64_t keys;      /* plain batch: keys of each sequence */
    /* Packed: sequences + 1 values, not falling, the first >= 0: sequence b has the
     * query tokens q_offsets[b] .. q_offsets[b+1]-1, and likewise keys. Both or none. */
    attn_indices q_offsets;
    attn_indices k_offsets;
    attn_indices key_lengths; /* optional, [sequences]: only the first so many keys of
                               * a sequence exist; 0 .. its keys */

    int64_t heads;    /* query heads, >= 1 */
    int64_t kv_heads; /* divides heads: query head h reads key head h / (heads / kv_heads) */
    int64_t d;        /* width of a query and key row, 1 .. 256 */
    int64_t d_v;      /* width of a value and output row, 1 .. 256 */
    attn_strides q, k, v, o;
    attn_strides d_o, d_q, d_k, d_v_; /* of the gradients (d_v_: of V) */

    attn_score score; /* ATTN_SCORE_SCALED_DOT */
    float scale;      /* 1 / sqrt(d); any finite value */
    float softcap;    /* > 0; INFINITY: none */

    attn_causal causal; /* ATTN_CAUSAL_NONE */
    /* Query i sees keys i + shift - window_left .. i + shift + window_right, where
     * shift is Nk - Nq with ATTN_CAUSAL_BOTTOM_RIGHT and 0 otherwise; >= 0.
     * Nk is the sequence's key length if key_lengths are given. */
    int64_t window_left;  /* ATTN_WINDOW_UNLIMITED */
    int64_t window_right; /* ATTN_WINDOW_UNLIMITED */

    const uint8_t *mask; /* optional: nonzero = may attend */
    attn_score_strides mask_strides;
    const float *bias; /* optional: added to the scores; -inf forbids */
    attn_score_strides bias_strides;
    const float *alibi; /* optional: slopes [heads]; Press et al. 2022 */
    const float *sinks; /* optional: a logit per head [heads] that takes part in the
                         * sum and has no value; Xiao et al. 2023 */

    /* Dropout on the weights. Whether a weight is kept depends on (dropout_seed,
     * dropout_first_sequence + b, h, i, j) alone, where b is the sequence's index in
     * this call. The probability is rounded to a multiple of 2^-16. */
    float dropout; /* 0 <= dropout < 1 */
    uint64_t dropout_seed;
    int64_t dropout_first_sequence; /* 0 */

    /* Rotary positions, applied to Q and K on the fly: token i of the keys is at
     * position i, of the queries at i + shift. Tables are [rotary_positions, r/2],
     * r = rotary_d even and <= d; elements from r on are left alone. Su et al. 2021. */
    attn_rotary rotary;
    int64_t rotary_d;
    int64_t rotary_positions; /* >= every position used */
    const float *rotary_cos;
    const float *rotary_sin;
} attn_attention_problem;

/* Fills the problem: f32, one empty sequence, scale 1/sqrt(d), no masks, and rows that
 * lie densely: [tokens, heads, d] for queries, [tokens, kv_heads, d] for keys and so on.
 * The sequence strides of a plain batch are set by attn_attention_batch(). */
ATTN_PUBLIC void attn_attention_defaults(attn_attention_problem *problem, int64_t heads,
                                         int64_t kv_heads, int64_t d, int64_t d_v);

/* A plain batch of dense arrays [sequences, queries, heads, d] and so on: sets the
 * sizes, and every sequence stride to tokens * token stride. */
ATTN_PUBLIC void attn_attention_batch(attn_attention_problem *problem, int64_t sequences,
                                      int64_t queries, int64_t keys);

/* Packed sequences: sets the offsets, int32 values. */
ATTN_PUBLIC void attn_attention_packed(attn_attention_problem *problem, int64_t sequences,
                                       const int32_t *q_offsets, const int32_t *k_offsets);

typedef enum attn_attention_pass {
    ATTN_PASS_FORWARD = 0,
    ATTN_PASS_BACKWARD = 1,
    ATTN_PASS_WEIGHTS = 2,
    ATTN_PASS_COLUMN_SUMS = 3,
    ATTN_PASS_DECODE = 4
} attn_attention_pass;

/* *size: bytes of workspace that a pass needs with the present number of threads.
 * Linear in the number of tokens, whatever Nq x Nk. A pass given less runs on fewer
 * threads as long as one fits. */
ATTN_PUBLIC attn_status attn_attention_workspace(const attn_attention_problem *problem,
                                                 attn_attention_pass pass, size_t *size);

/* o: the output [tokens_q, heads, d_v] by problem->o. log_sum_exp: f32 [heads, tokens_q],
 * token t of a packed batch at its place t in Q, of a plain batch at b * queries + i
 * (tokens_q is q_offsets[sequences] or sequences * queries); NULL if not wanted. Rows
 * with nothing to attend to give 0 and -inf (with a sink, the sink).
 * workspace: any alignment. */
ATTN_PUBLIC attn_status attn_attention_forward(const attn_attention_problem *problem,
                                               const void *q, const void *k, const void *v,
                                               void *o, float *log_sum_exp,
                                               void *workspace, size_t workspace_size);

/* Where the gradients go; overwritten; NULL ones are not computed. */
typedef struct attn_attention_gradients {
    void *q, *k, *v; /* by problem->d_q, d_k, d_v_; dtype of the problem */
    float *bias;     /* by problem->bias_strides: summed over broadcast axes */
    float *sinks;    /* [heads] */
} attn_attention_gradients;

/* The gradient of sum(d_o * o). o and log_sum_exp are the forward's. d_o by
 * problem->d_o. Keys and values beyond a key length get zeros. */
ATTN_PUBLIC attn_status attn_attention_backward(const attn_attention_problem *problem,
                                                const void *q, const void *k, const void *v,
                                                const void *o, const float *log_sum_exp,
                                                const void *d_o,
                                                const attn_attention_gradients *gradients,
                                                void *workspace, size_t workspace_size);

/* weights: f32, for each sequence in turn a dense [heads, Nq, Nk] (Nk without regard to
 * key lengths: what may not be attended to is 0), dropout included. Sequence b begins
 * at heads * sum over the sequences before it of Nq Nk. */
ATTN_PUBLIC attn_status attn_attention_weights(const attn_attention_problem *problem,
                                               const void *q, const void *k, float *weights,
                                               void *workspace, size_t workspace_size);

/* sums: f32 [heads, tokens_k]: the weight (before dropout) that each key receives from all the
 * queries of its sequence, without making the weights. log_sum_exp is the forward's. */
ATTN_PUBLIC attn_status attn_attention_column_sums(const attn_attention_problem *problem,
                                                   const void *q, const void *k,
                                                   const float *log_sum_exp, float *sums,
                                                   void *workspace, size_t workspace_size);

/* A decoding cache: keys and values of each sequence, contiguous or in pages.
 * Contiguous (page_table NULL): key j of sequence b, head h is the row at
 *     k + b * k_strides.sequence + j * k_strides.token + h * k_strides.head.
 * Paged: with page = page_table[b * page_table_stride + j / page_size] it is at
 *     k + page * k_strides.sequence + (j % page_size) * k_strides.token + h * k_strides.head.
 * page_size 1 makes the table a list of rows: reordering a beam moves indices alone.
 * The same for v. The scales of ATTN_I8 are f32, one a row: at the same place with
 * k_scale_strides, v_scale_strides. */
typedef struct attn_attention_cache {
    attn_dtype dtype; /* ATTN_F32, ATTN_BF16 or ATTN_I8 */
    const void *k, *v;
    attn_strides k_strides, v_strides;
    const float *k_scales, *v_scales;
    attn_strides k_scale_strides, v_scale_strides;
    const int32_t *page_table;
    int64_t page_table_stride;
    int64_t page_size; /* >= 1 */
    int64_t pages;     /* entries of the table are checked to be in 0 .. pages-1 */
} attn_attention_cache;

/* Attention of 1 .. 16 queries a sequence to a cache; work is split over keys as well,
 * in parts that depend on the key length alone. The problem gives q, o and everything
 * else (problem->dtype is that of q and o; k and v strides and k_offsets are not used);
 * keys: problem->key_lengths, or problem->keys for all; the workspace's size follows
 * from problem->keys, so that it stays while the lengths grow. No dropout. With rotary, the
 * queries are rotated here and the keys were before they entered the cache
 * (attn_rotary_apply). log_sum_exp may be NULL. */
ATTN_PUBLIC attn_status attn_attention_decode(const attn_attention_problem *problem,
                                              const attn_attention_cache *cache, const void *q,
                                              void *o, float *log_sum_exp, void *workspace,
                                              size_t workspace_size);

/* Rotates rows in place: x [tokens, heads, d] by strides, row t at position
 * first_position + t, with the tables of problem->rotary_*; inverse nonzero turns back
 * (which is also the gradient). */
ATTN_PUBLIC attn_status attn_rotary_apply(const attn_attention_problem *problem, void *x,
                                          int64_t tokens, int64_t heads, attn_strides strides,
                                          int64_t first_position, int inverse);

/* Additive scores (Bahdanau et al. 2015): in place of the product,
 *     s_ij = sum_c v_c tanh( (W q_i)_c + (U k_j)_c + b_c ),
 * each head with parameters of its own; the [queries, keys, width] tensor is never
 * made. The problem gives shapes, dtype and masks; score, scale and rotary are not used.
 * Parameters and their gradients are f32. */
typedef struct attn_additive_parameters {
    int64_t width;
    const float *w; /* [heads, width, d] */
    const float *u; /* [heads, width, d] */
    const float *b; /* [heads, width], NULL: none */
    const float *v; /* [heads, width] */
} attn_additive_parameters;

typedef struct attn_additive_gradients {
    void *q, *k, *v;            /* as in attn_attention_gradients */
    float *w, *u, *b, *score_v; /* shaped as the parameters; score_v: of their v */
    float *bias, *sinks;        /* as in attn_attention_gradients */
} attn_additive_gradients;

/* width: of the parameters. The passes are forward, backward and weights. */
ATTN_PUBLIC attn_status attn_additive_workspace(const attn_attention_problem *problem,
                                                int64_t width, attn_attention_pass pass,
                                                size_t *size);
ATTN_PUBLIC attn_status attn_additive_forward(const attn_attention_problem *problem,
                                              const attn_additive_parameters *parameters,
                                              const void *q, const void *k, const void *v,
                                              void *o, float *log_sum_exp, void *workspace,
                                              size_t workspace_size);
ATTN_PUBLIC attn_status attn_additive_backward(const attn_attention_problem *problem,
                                               const attn_additive_parameters *parameters,
                                               const void *q, const void *k, const void *v,
                                               const void *o, const float *log_sum_exp,
                                               const void *d_o,
                                               const attn_additive_gradients *gradients,
                                               void *workspace, size_t workspace_size);
ATTN_PUBLIC attn_status attn_additive_weights(const attn_attention_problem *problem,
                                              const attn_additive_parameters *parameters,
                                              const void *q, const void *k, float *weights,
                                              void *workspace, size_t workspace_size);

#ifdef __cplusplus
}
#endif
#endif
