/* What the tasks' texts have in common: what is held out, the corpora and their hash. */
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

attn_status trainer_encode_texts(trainer *t) {
    const struct {
        split *split;
        const char *what;
    } splits[] = {{&t->train, "train"}, {&t->valid, "validation"}, {&t->test, "test"}};
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < sizeof splits / sizeof *splits && !status; i++) {
        status = splits[i].split->present ? t->task->encode(t, splits[i].split, splits[i].what) : ATTN_OK;
    }
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
    text_lines_release(&s->lines);
}
