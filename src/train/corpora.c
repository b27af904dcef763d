/* What the tasks' texts have in common: what is held out, the corpora and their hash. */
#include "base/memory.h"
#include "base/random.h"
#include "train/task.h"

enum { MOST_HELD_OUT = 1000 };

size_t held_out_count(const attn_train_options *o, size_t all) {
    size_t count = (size_t)((double)all * o->valid_share);
    return count > MOST_HELD_OUT ? MOST_HELD_OUT : count;
}

/* Selection sampling: Knuth, The Art of Computer Programming, 3.4.2, S. */
int held_out(const trainer *t, size_t i, size_t all, size_t count, size_t taken) {
    uint64_t key = random_key(t->options->seed, 0, 0x73706c74); /* "splt" */
    return (uint64_t)random_below(key, i, (uint32_t)(all - i)) < count - taken;
}

attn_status trainer_read_pairs(const trainer *t, const char *source, const char *target, const char *tsv, split *s,
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

attn_status trainer_hold_out_pairs(trainer *t, size_t count) {
    parallel_text *all = &t->train.text, *held = &t->valid.text;
    held->source = memory_allocate(count, sizeof *held->source);
    held->target = memory_allocate(count, sizeof *held->target);
    if (!held->source || !held->target) {
        return ATTN_ERROR_MEMORY;
    }
    size_t kept = 0, pairs = all->pairs;
    for (size_t i = 0; i < pairs; i++) {
        if (held_out(t, i, pairs, count, held->pairs)) {
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

/* FNV-1a over the ids. */
static uint64_t hash_ids(uint64_t hash, const int32_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ (uint32_t)ids[i]) * 1099511628211u;
    }
    return hash;
}

/* Of features as they are, each sequence's in turn. */
static attn_status hash_features(const corpus *c, uint64_t *hash) {
    size_t longest = 0;
    for (size_t i = 0; i < c->pairs; i++) {
        size_t rows = c->source_offsets[i + 1] - c->source_offsets[i];
        longest = rows > longest ? rows : longest;
    }
    float *values = memory_allocate(longest * c->features->width, sizeof *values);
    if (!values) {
        return ATTN_ERROR_MEMORY;
    }
    for (size_t i = 0; i < c->pairs; i++) {
        size_t rows = c->source_offsets[i + 1] - c->source_offsets[i];
        c->features->read(c->features->context, i, 0, values);
        *hash = hash_ids(*hash, (const int32_t *)(const void *)values, rows * c->features->width);
    }
    memory_free(values);
    return ATTN_OK;
}

static attn_status hash_corpus(const corpus *c, uint64_t *hash) {
    *hash = 14695981039346656037u;
    attn_status status = ATTN_OK;
    if (c->features) {
        status = hash_features(c, hash);
    } else {
        *hash = hash_ids(*hash, c->source, c->source_offsets[c->pairs]);
    }
    *hash = hash_ids(*hash, c->target, c->target_offsets[c->pairs]);
    return status;
}

attn_status trainer_encode_texts(trainer *t) {
    const struct {
        split *split;
        const char *what;
    } splits[] = {{&t->train, "train"}, {&t->valid, "validation"}, {&t->test, "test"}};
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < sizeof splits / sizeof *splits && !status; i++) {
        status = splits[i].split->present ? t->task->encode(t, splits[i].split, splits[i].what) : ATTN_OK;
    }
    return status ? status : hash_corpus(&t->train.corpus, &t->data_hash);
}

void split_release(split *s) {
    corpus_release(&s->corpus);
    parallel_text_release(&s->text);
    text_lines_release(&s->lines);
    memory_free(s->owned);
    picture_set_release(&s->pictures);
    sound_set_release(&s->sounds);
}
