/* A prompt becomes ids, ids become tokens, tokens become text again, piece by piece. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "data/plain_text.h"
#include "infer/generator.h"
#include "infer/translate.h"

typedef struct produced_token {
    int32_t id;
    double log_probability;
} produced_token;

struct attn_generation {
    const attn_model *model;
    produced_token *tokens;
    size_t count, capacity;
    char *text; /* 0-terminated */
    size_t length, text_capacity;
    int ended;
};

void attn_generate_options_defaults(attn_generate_options *options) {
    *options = (attn_generate_options){.max_tokens = 256, .temperature = 1, .top_p = 1, .seed = 1};
}

static attn_status check_options(const attn_generate_options *o) {
    const struct {
        const char *name;
        double value, least, most;
    } ranges[] = {{"max-tokens", o->max_tokens, 1, 1 << 24},
                  {"top-k", o->top_k, 0, 1 << 30},
                  {"sample", o->sample, 0, 1 << 24}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (!(ranges[i].value >= ranges[i].least && ranges[i].value <= ranges[i].most)) {
            return fail(ATTN_ERROR_ARGUMENT, "%s is %.0f, %.0f to %.0f was expected", ranges[i].name, ranges[i].value,
                        ranges[i].least, ranges[i].most);
        }
    }
    if (!(o->temperature == 0 || (o->temperature >= 0.01 && o->temperature <= 100))) {
        return fail(ATTN_ERROR_ARGUMENT, "temperature is %g, 0.01 to 100 was expected, or 0 for the likeliest token",
                    o->temperature);
    }
    if (!(o->top_p > 0 && o->top_p <= 1)) {
        return fail(ATTN_ERROR_ARGUMENT, "top-p is %g, above 0 and at most 1 was expected", o->top_p);
    }
    return ATTN_OK;
}

int attn_model_generates(const attn_model *model) {
    return model && model->generator;
}

static attn_status check_model(const attn_model *model) {
    return attn_model_generates(model)
               ? ATTN_OK : fail(ATTN_ERROR_UNSUPPORTED, "%s is no language model (its architecture is %s)", model->directory,
                                model->network.kind->name);
}

/* --- the prompt --------------------------------------------------------------------- */

/* What an empty prompt is begun with. */
static int32_t start_token(const attn_model *model) {
    const language_config *c = &((const language_model *)model->network.model)->config;
    int32_t line_end = tokenizer_takes_lines(model->tokenizer) ? tokenizer_find(model->tokenizer, "\n", 1) : -1;
    return c->bos != TOKEN_NONE ? c->bos : line_end >= 0 ? line_end : tokenizer_eos(model->tokenizer);
}

attn_status prompt_encode(const attn_model *model, const char *prompt, id_buffer *ids, char changed[CHANGE_ROOM]) {
    char *repaired;
    size_t length, replaced, unknown = 0, said = 0;
    attn_status status = utf8_repair(prompt, strlen(prompt), &repaired, &length, &replaced);
    status = status ? status : plain_text_encode(model->tokenizer, (text_line){repaired, length}, ids);
    memory_free(repaired);
    if (!status && ids->count == 0) {
        status = memory_grow(&ids->ids, &ids->capacity, 1, sizeof *ids->ids);
        if (!status) {
            ids->ids[ids->count++] = start_token(model);
        }
    }
    if (!status && ids->count > 1 << 30) {
        status = fail(ATTN_ERROR_ARGUMENT, "the prompt has %zu tokens, at most 2^30 were expected", ids->count);
    }
    changed[0] = '\0';
    if (status) {
        return status;
    }
    for (size_t i = 0; i < ids->count; i++) {
        unknown += ids->ids[i] == tokenizer_unk(model->tokenizer);
    }
    int positions = model->network.kind->limits(model->network.model).positions;
    if (replaced) {
        said += (size_t)snprintf(changed, CHANGE_ROOM, "%zu invalid UTF-8 %s read as U+FFFD", replaced,
                                 replaced == 1 ? "sequence is" : "sequences are");
    }
    if (unknown && said < CHANGE_ROOM) {
        said += (size_t)snprintf(changed + said, CHANGE_ROOM - said, "%s%zu of %zu tokens are unknown to the vocabulary",
                                 said ? "; " : "", unknown, ids->count);
    }
    if (ids->count > (size_t)positions && said < CHANGE_ROOM) {
        (void)snprintf(changed + said, CHANGE_ROOM - said,
                       "%s%zu tokens are more than the model's %d positions hold: the last ones count", said ? "; " : "",
                       ids->count, positions);
    }
    return ATTN_OK;
}

static attn_status encode_prompt(const attn_model *model, const char *prompt, const attn_generate_options *o,
                                 id_buffer *ids) {
    char changed[CHANGE_ROOM], said[CHANGE_ROOM + 16];
    attn_status status = prompt_encode(model, prompt, ids, changed);
    if (!status && changed[0] && o->warn) {
        (void)snprintf(said, sizeof said, "the prompt: %s", changed);
        o->warn(o->context, said);
    }
    return status;
}

/* --- the text ------------------------------------------------------------------------ */

/* Tokens are shown when their bytes are whole characters. What a token looks like depends on
 * those before it (a space), so some that were shown are decoded once more in front. */
typedef struct shower {
    attn_generation *made;
    const attn_generate_options *options;
    const attn_model *model;
    id_buffer ids; /* the prompt's last ones and the produced ones */
    size_t from, shown; /* ids[from .. shown - 1] are decoded in front */
    attn_status status;
} shower;

static attn_status add_text(shower *s, const char *text, size_t length, int *stop) {
    attn_generation *made = s->made;
    attn_status status = memory_grow(&made->text, &made->text_capacity, made->length + length + 1, 1);
    if (!status) {
        memcpy(made->text + made->length, text, length);
        made->length += length;
        made->text[made->length] = '\0';
        *stop = s->options->text && length ? s->options->text(s->options->context, text, length) : 0;
    }
    return status;
}

/* Shows what is new; all: also bytes that are no whole character. */
static attn_status show(shower *s, int all, int *stop) {
    static const char BROKEN[] = "\xEF\xBF\xBD";
    char *before = NULL, *now = NULL;
    size_t count = s->ids.count - s->from;
    attn_status status = tokenizer_decode(s->model->tokenizer, s->ids.ids + s->from, s->shown - s->from, &before);
    status = status ? status : tokenizer_decode(s->model->tokenizer, s->ids.ids + s->from, count, &now);
    size_t old = before ? strlen(before) : 0, length = now ? strlen(now) : 0;
    int broken = length >= 3 && memcmp(now + length - 3, BROKEN, 3) == 0;
    if (!status && (all || !broken) && length >= old) {
        status = add_text(s, now + old, length - old, stop);
        s->from = s->shown;
        s->shown = s->ids.count;
    }
    memory_free(before);
    memory_free(now);
    return status;
}

static int take_token(void *context, int32_t id, double log_probability) {
    shower *s = context;
    attn_generation *made = s->made;
    int stop = 0;
    s->status = memory_grow(&made->tokens, &made->capacity, made->count + 1, sizeof *made->tokens);
    s->status = s->status ? s->status : memory_grow(&s->ids.ids, &s->ids.capacity, s->ids.count + 1, sizeof *s->ids.ids);
    if (s->status) {
        return 1;
    }
    made->tokens[made->count++] = (produced_token){id, log_probability};
    s->ids.ids[s->ids.count++] = id;
    made->ended = id == tokenizer_eos(s->model->tokenizer);
    s->status = show(s, made->ended, &stop);
    return s->status || stop;
}

/* Tokens that are no text: padding, the unknown one, and rows that the tokenizer does not name. */
static unsigned char *barred_tokens(const attn_model *model) {
    const tokenizer *t = model->tokenizer;
    size_t vocabulary = (size_t)((const language_model *)model->network.model)->config.vocab_size;
    unsigned char *barred = memory_allocate(vocabulary, 1);
    for (size_t i = 0; i < vocabulary && barred; i++) {
        int32_t id = (int32_t)i, eos = tokenizer_eos(t);
        barred[i] = i >= tokenizer_vocabulary_size(t) || (id != eos && (id == tokenizer_pad(t) || id == tokenizer_unk(t)));
    }
    return barred;
}

static attn_status generate(const attn_model *model, const attn_generate_options *o, const id_buffer *prompt, shower *s) {
    size_t context = prompt->count < 8 ? prompt->count : 8;
    unsigned char *barred = barred_tokens(model);
    attn_status status = barred ? memory_grow(&s->ids.ids, &s->ids.capacity, context, sizeof *s->ids.ids) : ATTN_ERROR_MEMORY;
    if (!status) {
        memcpy(s->ids.ids, prompt->ids + prompt->count - context, context * sizeof *s->ids.ids);
        s->ids.count = s->shown = context;
        const generation_request request = {
            .prompt = prompt->ids,
            .count = (int64_t)prompt->count,
            .max_tokens = o->max_tokens,
            .eos = tokenizer_eos(model->tokenizer),
            .barred = barred,
            .sampling = {.on = o->temperature > 0, .temperature = o->temperature, .top_k = o->top_k, .top_p = o->top_p},
            .key = sampling_key(o->seed, prompt->ids, (int32_t)prompt->count, o->sample),
            .produced = take_token,
            .context = s};
        status = generator_run(model->generator, &request);
        status = status ? status : s->status;
    }
    int stop;
    status = status ? status : show(s, 1, &stop);
    memory_free(barred);
    return status;
}

attn_status attn_generate(const attn_model *model, const char *prompt, const attn_generate_options *options,
                          attn_generation **generation) {
    attn_generate_options standard;
    if (!model || !prompt || !generation) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, a prompt and a place for the text were expected");
    }
    *generation = NULL;
    attn_generate_options_defaults(&standard);
    options = options ? options : &standard;
    attn_status status = check_model(model);
    status = status ? status : check_options(options);
    if (status) {
        return status;
    }
    attn_generation *made = memory_allocate(1, sizeof *made);
    id_buffer ids = {0};
    shower s = {.made = made, .options = options, .model = model};
    status = made ? memory_grow(&made->text, &made->text_capacity, 1, 1) : ATTN_ERROR_MEMORY;
    if (!status) {
        made->model = model;
        made->text[0] = '\0';
        status = encode_prompt(model, prompt, options, &ids);
    }
    status = status ? status : generate(model, options, &ids, &s);
    id_buffer_release(&ids);
    id_buffer_release(&s.ids);
    if (status) {
        attn_generation_free(made);
        return status;
    }
    *generation = made;
    return ATTN_OK;
}

void attn_generation_free(attn_generation *g) {
    if (g) {
        memory_free(g->tokens);
        memory_free(g->text);
        memory_free(g);
    }
}

const char *attn_generation_text(const attn_generation *g) {
    return g->text;
}

int attn_generation_ended(const attn_generation *g) {
    return g->ended;
}

size_t attn_generation_tokens(const attn_generation *g) {
    return g->count;
}

const char *attn_generation_token(const attn_generation *g, size_t token) {
    return token < g->count ? tokenizer_piece(g->model->tokenizer, g->tokens[token].id) : NULL;
}

double attn_generation_log_probability(const attn_generation *g, size_t token) {
    return token < g->count ? g->tokens[token].log_probability : NAN;
}
