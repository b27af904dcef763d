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
}
