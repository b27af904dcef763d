/* A Transformer learns to reverse strings, and every layer's weights are shown: the decoder's
 * cross-attention walks from the end of the word to its beginning.
 *     cc attention_reverse.c $(pkg-config --cflags --libs attn) -o reverse && ./reverse FOLDER WORD */
#include <attn/attn.h>
#include <string.h>

enum { PAIRS = 4000, LONGEST = 7 };

static int failed(void) {
    fprintf(stderr, "reverse: %s\n", attn_last_error());
    return 1;
}

/* Lines of letters, a tab, and the same letters backwards. */
static int write_pairs(const char *path) {
    FILE *out = fopen(path, "w");
    unsigned state = 1;
    for (int i = 0; out && i < PAIRS; i++) {
        char letters[LONGEST];
        int length = 1 + (int)((state = state * 1664525u + 1013904223u) >> 16) % LONGEST;
        for (int j = 0; j < length; j++)
            fprintf(out, "%s%c", j ? " " : "", letters[j] = (char)('a' + ((state = state * 1664525u + 1013904223u) >> 16) % 6));
        for (int j = length - 1; j >= 0; j--)
            fprintf(out, "%s%c", j < length - 1 ? " " : "\t", letters[j]);
        fprintf(out, "\n");
    }
    return !out || fclose(out);
}

static int show(const attn_model *model, const char *word) {
    static const char *const KINDS[] = {"encoder", "decoder", "decoder to encoder"};
    attn_explanation *e;
    if (attn_explain(model, word, NULL, NULL, &e))
        return failed();
    printf("%s -> %s\n", word, attn_explanation_text(e));
    for (int kind = 0; kind < 3; kind++)
        for (int layer = 0; layer < attn_explanation_layers(e, (attn_attention_kind)kind); layer++) {
            const float *w;
            int64_t heads, queries, keys;
            if (attn_explanation_weights(e, (attn_attention_kind)kind, layer, &w, &heads, &queries, &keys))
                return failed();
            for (int64_t i = 0; i < heads * queries * keys; i++) {
                if (i % (queries * keys) == 0)
                    printf("%s, layer %d, head %d\n", KINDS[kind], layer, (int)(i / (queries * keys)));
                printf("%6.3f%s", (double)w[i], (i + 1) % keys ? "" : "\n");
            }
        }
    attn_explanation_free(e);
    return 0;
}

int main(int count, char **arguments) {
    char pairs[4096];
    attn_train_options o;
    attn_model *model;
    if (count != 3 || snprintf(pairs, sizeof pairs, "%s.tsv", arguments[1]) >= (int)sizeof pairs || write_pairs(pairs))
        return 2;
    attn_train_options_defaults(&o);
    o.corpus = pairs;
    o.model = arguments[1];
    o.tokenizer = ATTN_TOKENIZER_WHITESPACE;
    o.layers = 2, o.width = 64, o.heads = 2, o.feed_forward = 128;
    o.dropout = 0, o.label_smoothing = 0;
    o.rate = 0.004, o.warmup = 50, o.average = 0.98, o.batch_tokens = 1024;
    o.max_updates = o.validate_every = 400;
    if (attn_train(&o) || attn_model_load(arguments[1], &model))
        return failed();
    int status = show(model, arguments[2]);
    attn_model_free(model);
    return status;
}
