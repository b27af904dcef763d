/* Attention, rollout and gradient times input of a text. The forward pass is that of training
 * without dropout, from a copy of the model's struct whose chances are 0, so that its gradient
 * is at hand; each answer takes a pass. */
#include "infer/attribution.h"

#include <math.h>
#include <string.h>

#include "infer/classify.h"
#include "infer/rollout.h"
#include "infer/translate.h"
#include "model/bert.h"
#include "model/language_model.h"
#include "model/recurrent.h"
#include "model/transformer.h"

/* What all passes share. */
typedef struct passes {
    attn_attribution *out;
    const attn_model *model;
    parameters view; /* the model's, with gradients that nobody reads */
    tape t;
    input_watch watch;
    id_buffer ids;    /* the text's */
    spelling more;    /* a classifier's words outside the vocabulary */
    id_buffer target; /* of a translation */
    int32_t *inputs;  /* the decoder's: the start, then the target without its end */
    int64_t wanted;   /* a label; -1: the likeliest */
    union {           /* the model without dropout */
        bert bert;
        language_model language;
        transformer transformer;
        recurrent recurrent;
    } still;
} passes;

/* What the answer is read from: one row, and the table and bias that make logits of it. */
typedef struct reading {
    tensor *row;
    parameter table, bias;
} reading;

/* --- weights ------------------------------------------------------------------------ */

static attn_status keep(float **to, const float *weights, int64_t count) {
    memory_free(*to);
    *to = memory_allocate_raw((size_t)count, sizeof **to);
    if (!*to) {
        return ATTN_ERROR_MEMORY;
    }
    memcpy(*to, weights, (size_t)count * sizeof **to);
    return ATTN_OK;
}

static attn_status take(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries, int64_t keys,
                        const float *weights) {
    static const char *const FORMATS[ATTENTION_KINDS] = {"encoder.%d.self", "decoder.%d.self", "decoder.%d.cross"};
    attn_attribution *a = context;
    (void)sequence;
    if (strcmp(part, "pool") == 0) {
        return keep(&a->pooling, weights, keys);
    }
    int alone = a->layers[ATTN_DECODER_CROSS] == 0; /* a language model's decoder reads the text itself */
    for (int kind = 0; kind < ATTENTION_KINDS; kind++) {
        for (int layer = 0; layer < a->layers[kind]; layer++) {
            char name[32];
            (void)snprintf(name, sizeof name, FORMATS[kind], layer);
            if (strcmp(name, part) == 0 || (alone && strncmp(part, "decoder.", 8) == 0 && strcmp(name + 8, part + 8) == 0)) {
                layer_weights *w = &a->attention[kind][layer];
                *w = (layer_weights){heads, queries, keys, w->values};
                return keep(&w->values, weights, heads * queries * keys);
            }
        }
    }
    return ATTN_OK;
}

/* --- a pass ---------------------------------------------------------------------------- */

static int is_classifier(const attn_model *model) {
    return model->network.kind == &bert_kind && ((const bert *)model->network.model)->config.head == BERT_CLASSIFY;
}

static reading read_label(passes *p, packing text) {
    const bert *m = &p->still.bert;
    return (reading){bert_pool(&p->t, m, bert_encode(&p->t, m, p->ids.ids, text), text), m->classifier.weight,
                     m->classifier.bias};
}

static reading read_next_token(passes *p, packing text) {
    const language_model *m = &p->still.language;
    int32_t *last = tape_memory(&p->t, 1, sizeof *last);
    if (last) {
        *last = text.offsets[1] - 1;
    }
    tensor *x = language_forward(&p->t, m, p->ids.ids, text);
    return (reading){x && last ? op_select_rows(&p->t, x, last, 1) : NULL, m->logits, (parameter){0}};
}

static reading read_translated(passes *p, packing text, size_t answer) {
    const translator *m = &p->model->translator;
    int32_t *row = tape_memory(&p->t, 1, sizeof *row), *offsets = tape_memory(&p->t, 2, sizeof *offsets);
    if (!row || !offsets) {
        return (reading){0};
    }
    *row = (int32_t)answer;
    offsets[0] = 0;
    offsets[1] = (int32_t)p->target.count;
    tensor *x = m->kind->decode(&p->t, &p->still, (source_rows){p->ids.ids, NULL}, text, p->inputs, (packing){offsets, 1});
    return (reading){x ? op_select_rows(&p->t, x, row, 1) : NULL, m->embedding, m->logits_bias};
}

/* The likeliest answer of a row. */
static int32_t likeliest(tape *t, const reading *r) {
    t->recording = 0;
    tensor *logits = op_linear(t, r->row, r->table, r->bias, ACTIVATION_NONE);
    t->recording = 1;
    int32_t best = 0;
    for (int32_t i = 1; logits && i < r->table.rows; i++) {
        best = ((const float *)logits->data)[i] > ((const float *)logits->data)[best] ? i : best;
    }
    return best;
}

/* Row `answer` of the gradients, and its log-probability. *id: what was answered. */
static attn_status run_pass(passes *p, size_t answer, int32_t *id) {
    attn_attribution *a = p->out;
    size_t tokens = p->ids.count;
    const int32_t offsets[] = {0, (int32_t)tokens};
    packing text = {offsets, 1};
    loss_result result;
    p->watch = (input_watch){0};
    tape_start(&p->t, 1, 0, 0);
    p->t.watch = &p->watch;
    p->t.probe = answer == 0 ? (attention_probe){take, a} : (attention_probe){0};
    reading r = p->target.count ? read_translated(p, text, answer)
                : is_classifier(p->model) ? read_label(p, text) : read_next_token(p, text);
    if (p->t.status) {
        return p->t.status;
    }
    *id = p->target.count ? p->target.ids[answer] : p->wanted >= 0 ? (int32_t)p->wanted : likeliest(&p->t, &r);
    attn_status status = op_cross_entropy(&p->t, r.row, r.table, r.bias, id, 0, 1, &result, NULL);
    status = status ? status : tape_backward(&p->t);
    if (status || !p->watch.rows) {
        return status ? status : fail(ATTN_ERROR_INTERNAL, "the model's input has no gradient");
    }
    a->log_probabilities[answer] = -result.loss;
    int64_t width = p->watch.rows->columns;
    for (size_t i = 0; i < tokens; i++) {
        const float *x = tensor_row(p->watch.rows, (int64_t)i), *g = p->watch.gradient + (int64_t)i * width;
        double sum = 0;
        for (int64_t j = 0; j < width; j++) {
            sum -= (double)x[j] * (double)g[j]; /* the loss is -log p */
        }
        a->gradient[answer * tokens + i] = (float)sum;
    }
    return ATTN_OK;
}

/* --- rollout ------------------------------------------------------------------------------- */

static attn_status roll_text(const attn_attribution *a, const float *looks, float *out) {
    const float *layers[1024];
    int heads[1024];
    int count = a->layers[0] < 1024 ? a->layers[0] : 1024;
    for (int i = 0; i < count; i++) {
        layers[i] = a->attention[0][i].values;
        heads[i] = (int)a->attention[0][i].heads;
    }
    return attention_rollout(layers, count, heads, (int64_t)a->tokens.count, looks, out);
}

/* y = (x + W z) / 2, W [heads, n, m] the mean of its heads. */
static void mix(const layer_weights *w, const float *x, const float *z, int64_t columns, float *y) {
    for (int64_t i = 0; i < w->queries; i++) {
        for (int64_t c = 0; c < columns; c++) {
            double sum = 0;
            for (int64_t j = 0; j < w->keys; j++) {
                double weight = 0;
                for (int64_t h = 0; h < w->heads; h++) {
                    weight += (double)w->values[(h * w->queries + i) * w->keys + j] / (double)w->heads;
                }
                sum += weight * (double)z[j * columns + c];
            }
            y[i * columns + c] = (float)(((double)x[i * columns + c] + sum) / 2);
        }
    }
}

/* seen [target, source]: the shares of the source in the decoder's rows, layer by layer: those that
 * other rows bring (self-attention), then those that the encoder's rows do. */
static attn_status roll_translation(attn_attribution *a) {
    size_t source = a->tokens.count, target = a->answers.count;
    float *encoded = memory_allocate(source, source * sizeof *encoded), *looks = memory_allocate(source, sizeof *looks);
    float *seen = memory_allocate(target, source * sizeof *seen), *next = memory_allocate(target, source * sizeof *next);
    attn_status status = encoded && looks && seen && next ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < source && !status; i++) {
        looks[i] = 1;
        status = roll_text(a, looks, encoded + i * source);
        looks[i] = 0;
    }
    for (int l = 0; l < a->layers[ATTN_DECODER_CROSS] && !status; l++) {
        if (l < a->layers[ATTN_DECODER_SELF]) {
            mix(&a->attention[ATTN_DECODER_SELF][l], seen, seen, (int64_t)source, next);
            memcpy(seen, next, target * source * sizeof *seen);
        }
        mix(&a->attention[ATTN_DECODER_CROSS][l], seen, encoded, (int64_t)source, next);
        memcpy(seen, next, target * source * sizeof *seen);
    }
    for (size_t i = 0; i < target && !status; i++) {
        double sum = 0;
        for (size_t j = 0; j < source; j++) {
            sum += (double)seen[i * source + j];
        }
        for (size_t j = 0; j < source; j++) {
            a->rollout[i * source + j] = (float)((double)seen[i * source + j] / sum);
        }
    }
    memory_free(encoded);
    memory_free(looks);
    memory_free(seen);
    memory_free(next);
    return status;
}

static attn_status roll(const passes *p) {
    attn_attribution *a = p->out;
    size_t tokens = a->tokens.count;
    if (p->target.count) {
        return roll_translation(a);
    }
    float *looks = memory_allocate(tokens, sizeof *looks);
    if (!looks) {
        return ATTN_ERROR_MEMORY;
    }
    if (a->pooling) {
        memcpy(looks, a->pooling, tokens * sizeof *looks);
    } else {
        looks[is_classifier(p->model) ? 0 : tokens - 1] = 1; /* [CLS], or the newest token */
    }
    attn_status status = roll_text(a, looks, a->rollout);
    memory_free(looks);
    return status;
}

/* --- the text and the answers ---------------------------------------------------------------- */

static void say(const attn_translate_options *options, const char *sentence) {
    if (*sentence && options->warn) {
        options->warn(options->context, 1, sentence);
    }
}

static attn_status prepare_classifier(passes *p, const char *text, const char *answer, const attn_translate_options *o) {
    const bert *m = p->model->network.model;
    char changed[CHANGE_ROOM] = "";
    p->still.bert = encoder_with_words(m, &p->more, &p->ids);
    p->still.bert.config.hidden_dropout = p->still.bert.config.attention_dropout = 0;
    p->out->layers[0] = m->config.layers;
    p->wanted = answer ? vocabulary_find(&m->config.labels, answer, strlen(answer)) : -1;
    if (answer && p->wanted < 0) {
        return fail(ATTN_ERROR_ARGUMENT, "the label \"%.100s\" is none of the model's %zu", answer, m->config.labels.size);
    }
    attn_status status = encode_for_bert(p->model->tokenizer, (size_t)m->config.max_position_embeddings, text, &p->ids, changed);
    say(o, changed);
    return status;
}

static attn_status prepare_language(passes *p, const char *text, const char *answer, const attn_translate_options *o) {
    const language_model *m = p->model->network.model;
    char changed[CHANGE_ROOM];
    p->still.language = *m;
    p->still.language.config.dropout = p->still.language.config.attention_dropout = 0;
    p->out->layers[0] = m->config.layers;
    p->wanted = -1;
    if (answer) {
        return fail(ATTN_ERROR_ARGUMENT, "a language model's next token is explained; no answer of one's own was expected");
    }
    attn_status status = prompt_encode(p->model, text, &p->ids, changed);
    say(o, changed);
    size_t positions = (size_t)m->config.positions;
    if (!status && p->ids.count > positions) {
        memmove(p->ids.ids, p->ids.ids + p->ids.count - positions, positions * sizeof *p->ids.ids);
        p->ids.count = positions;
    }
    return status;
}

static attn_status prepare_translator(passes *p, const char *text, const char *answer, const attn_translate_options *o) {
    const attn_model *model = p->model;
    const model_config *c = model->translator.config;
    char changed[CHANGE_ROOM] = "";
    prepared_search searching;
    if (c->type == MODEL_RECURRENT) {
        p->still.recurrent = *(const recurrent *)model->network.model;
        p->still.recurrent.config.dropout = 0;
    } else {
        model_config *still = &p->still.transformer.config;
        p->still.transformer = *(const transformer *)model->network.model;
        still->dropout = still->attention_dropout = still->activation_dropout = 0;
    }
    model->translator.kind->attention_layers(model->translator.model, p->out->layers);
    attn_status status = prepare_search(o, &searching);
    status = status ? status : encode_text(model->tokenizer, TOKENIZER_SOURCE, (size_t)c->max_position_embeddings, text, &p->ids, changed);
    say(o, changed);
    if (!status && p->ids.count == 0) {
        status = fail(ATTN_ERROR_ARGUMENT, "the text is blank: there is nothing to look at");
    }
    status = status ? status : explanation_target(model, &p->ids, answer, &searching.options, &p->target);
    p->inputs = status ? NULL : memory_allocate(p->target.count, sizeof *p->inputs);
    if (p->inputs) {
        p->inputs[0] = c->decoder_start_token_id;
        memcpy(p->inputs + 1, p->target.ids, (p->target.count - 1) * sizeof *p->inputs);
    }
    return status ? status : p->inputs ? ATTN_OK : ATTN_ERROR_MEMORY;
}

static attn_status name_answers(passes *p, const int32_t *answers, size_t count) {
    token_list *list = &p->out->answers;
    if (!is_classifier(p->model)) {
        return token_list_fill(list, p->model->tokenizer, answers, count);
    }
    list->texts = memory_allocate(1, sizeof *list->texts);
    if (list->texts) {
        list->texts[0] = memory_copy_string(attn_model_label(p->model, (size_t)answers[0]));
        list->count = list->texts[0] != NULL;
    }
    return list->count ? ATTN_OK : ATTN_ERROR_MEMORY;
}

static attn_status run_passes(passes *p) {
    attn_attribution *a = p->out;
    size_t count = p->target.count ? p->target.count : 1, tokens = p->ids.count;
    int32_t *answers = memory_allocate(count, sizeof *answers);
    a->log_probabilities = memory_allocate(count, sizeof *a->log_probabilities);
    a->rollout = memory_allocate(count, tokens * sizeof *a->rollout);
    a->gradient = memory_allocate(count, tokens * sizeof *a->gradient);
    attn_status status = answers && a->log_probabilities && a->rollout && a->gradient ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (int kind = 0; kind < ATTENTION_KINDS && !status; kind++) {
        a->attention[kind] = memory_allocate((size_t)a->layers[kind], sizeof *a->attention[kind]);
        status = a->attention[kind] ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    p->view = *p->model->network.parameters;
    p->view.copies = NULL;
    p->view.gradients = memory_allocate((size_t)p->view.size, sizeof *p->view.gradients);
    status = status ? status : p->view.gradients ? tape_open(&p->t, &p->view) : ATTN_ERROR_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        status = run_pass(p, i, &answers[i]);
    }
    for (size_t i = 0; p->more.count > 0 && i < tokens; i++) { /* shown as [UNK] */
        p->ids.ids[i] = p->ids.ids[i] < p->more.first ? p->ids.ids[i] : tokenizer_unk(p->model->tokenizer);
    }
    status = status ? status : token_list_fill(&a->tokens, p->model->tokenizer, p->ids.ids, tokens);
    status = status ? status : name_answers(p, answers, count);
    status = status ? status : roll(p);
    tape_close(&p->t);
    memory_free(p->view.gradients);
    memory_free(answers);
    return status;
}

attn_status attn_attribute(const attn_model *model, const char *text, const char *answer,
                           const attn_translate_options *options, attn_attribution **attribution) {
    attn_translate_options standard;
    if (!model || !text || !attribution) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, a text and a place for the attribution were expected");
    }
    *attribution = NULL;
    attn_translate_options_defaults(&standard);
    options = options ? options : &standard;
    passes *p = memory_allocate(1, sizeof *p);
    attn_attribution *a = memory_allocate(1, sizeof *a);
    attn_status status = p && a ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        p->out = a;
        p->model = model;
        status = is_classifier(model)             ? prepare_classifier(p, text, answer, options)
                 : attn_model_generates(model)    ? prepare_language(p, text, answer, options)
                 : model->translator.kind != NULL ? prepare_translator(p, text, answer, options)
                     : fail(ATTN_ERROR_UNSUPPORTED, "%s holds a model that gives no answer to a text (its architecture is %s)",
                            model->directory, model->network.kind->name);
        status = status ? status : run_passes(p);
        id_buffer_release(&p->ids);
        spelling_release(&p->more);
        id_buffer_release(&p->target);
        memory_free(p->inputs);
    }
    memory_free(p);
    if (status) {
        attn_attribution_free(a);
        return status;
    }
    *attribution = a;
    return ATTN_OK;
}

void attn_attribution_free(attn_attribution *a) {
    if (!a) {
        return;
    }
    for (int kind = 0; kind < ATTENTION_KINDS; kind++) {
        for (int layer = 0; a->attention[kind] && layer < a->layers[kind]; layer++) {
            memory_free(a->attention[kind][layer].values);
        }
        memory_free(a->attention[kind]);
    }
    token_list_release(&a->tokens);
    token_list_release(&a->answers);
    memory_free(a->log_probabilities);
    memory_free(a->pooling);
    memory_free(a->rollout);
    memory_free(a->gradient);
    memory_free(a);
}
