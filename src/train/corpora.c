/* The texts of a run: train, validation and test. */
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "train/trainer.h"

enum { MOST_HELD_OUT = 1000 };

static attn_status read_split(const trainer *t, const char *source, const char *target, const char *tsv, split *s,
                              const char *what) {
    text_options options;
    text_options_defaults(&options);
    options.invalid = t->options->skip_invalid ? INVALID_SKIP : INVALID_REFUSE;
    if (!source && !target && !tsv) {
        return ATTN_OK;
    }
    if (tsv && (source || target)) {
        return fail(ATTN_ERROR_ARGUMENT, "the %s text is given twice: as two files and as a TSV of pairs", what);
    }
    if (!tsv && (!source || !target)) {
        return fail(ATTN_ERROR_ARGUMENT, "the %s text needs both a source and a target file", what);
    }
    attn_status status = tsv ? parallel_text_read_tsv(tsv, &options, &s->text)
                             : parallel_text_read(source, target, &options, &s->text);
    if (status) {
        return status;
    }
    s->present = 1;
    trainer_log(t, "%s: %zu pairs%s", what, s->text.pairs, "");
    if (s->text.blank || s->text.invalid) {
        trainer_log(t, "%s: left out %zu pairs with an empty side and %zu that are not UTF-8", what, s->text.blank,
                    s->text.invalid);
    }
    return ATTN_OK;
}

/* Moves `count` pairs, drawn by the seed, from the training text to the validation's,
 * each keeping the order that it had. Both go on pointing into the training storage. */
static attn_status hold_out(trainer *t, size_t count) {
    parallel_text *all = &t->train.text, *held = &t->valid.text;
    held->source = memory_allocate(count, sizeof *held->source);
    held->target = memory_allocate(count, sizeof *held->target);
    if (!held->source || !held->target) {
        return ATTN_ERROR_MEMORY;
    }
    uint64_t key = random_key(t->options->seed, 0, 0x73706c74); /* "splt" */
    size_t kept = 0, pairs = all->pairs;
    for (size_t i = 0; i < pairs; i++) {
        /* Selection sampling: Knuth, The Art of Computer Programming, 3.4.2, S. */
        size_t wanted = count - held->pairs;
        int take = (uint64_t)random_below(key, i, (uint32_t)(pairs - i)) < wanted;
        if (take) {
            held->source[held->pairs] = all->source[i];
            held->target[held->pairs++] = all->target[i];
        } else {
            all->source[kept] = all->source[i];
            all->target[kept++] = all->target[i];
        }
    }
    all->pairs = kept;
    t->valid.present = 1;
    trainer_log(t, "validation: %zu pairs held out of the training text", held->pairs);
    return ATTN_OK;
}

attn_status trainer_read_texts(trainer *t) {
    const attn_train_options *o = t->options;
    if (!o->corpus && !o->source && !o->target) {
        return fail(ATTN_ERROR_ARGUMENT, "no training text: give a source and a target file, or a TSV of pairs");
    }
    attn_status status = read_split(t, o->source, o->target, o->corpus, &t->train, "train");
    status = status ? status : read_split(t, o->valid_source, o->valid_target, o->valid_corpus, &t->valid, "validation");
    status = status ? status : read_split(t, o->test_source, o->test_target, o->test_corpus, &t->test, "test");
    if (!status && !t->valid.present && o->valid_share > 0) {
        size_t count = (size_t)((double)t->train.text.pairs * o->valid_share);
        count = count > MOST_HELD_OUT ? MOST_HELD_OUT : count;
        if (count > 0) {
            status = hold_out(t, count);
        }
    }
    return status;
}

/* FNV-1a over the ids. */
static uint64_t hash_ids(uint64_t hash, const int32_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ (uint32_t)ids[i]) * 1099511628211u;
    }
    return hash;
}

static attn_status encode_split(trainer *t, split *s, const char *what) {
    if (!s->present) {
        return ATTN_OK;
    }
    corpus_options options;
    corpus_options_defaults(&options);
    options.max_source_tokens = options.max_target_tokens = (size_t)t->options->max_tokens;
    attn_status status = corpus_encode(&s->text, t->tokenizer, &options, &s->corpus);
    if (status) {
        return fail_within(status, "%s text", what);
    }
    const corpus *c = &s->corpus;
    trainer_log(t, "%s: %zu source and %zu target tokens%s", what, c->source_offsets[c->pairs], c->target_offsets[c->pairs],
                "");
    if (c->skipped_long) {
        trainer_log(t, "%s: left out %zu pairs longer than %d tokens", what, c->skipped_long, t->options->max_tokens);
    }
    return ATTN_OK;
}

attn_status trainer_encode_texts(trainer *t) {
    attn_status status = encode_split(t, &t->train, "train");
    status = status ? status : encode_split(t, &t->valid, "validation");
    status = status ? status : encode_split(t, &t->test, "test");
    if (!status) {
        const corpus *c = &t->train.corpus;
        t->data_hash = hash_ids(14695981039346656037u, c->source, c->source_offsets[c->pairs]);
        t->data_hash = hash_ids(t->data_hash, c->target, c->target_offsets[c->pairs]);
    }
    return status;
}

void split_release(split *s) {
    corpus_release(&s->corpus);
    parallel_text_release(&s->text);
}
