#include "ensemble.h"

int ensemble_load(ensemble *e, const char *const *names, attn_compute compute) {
    *e = (ensemble){.count = 0};
    for (int i = 0; i < MOST_MODELS && names[i]; i++) {
        if (attn_model_load_as(names[i], compute, &e->models[i])) {
            ensemble_close(e);
            return -1;
        }
        e->count++;
    }
    return 0;
}

int ensemble_open(ensemble *e, const char *const *names, attn_compute compute, attn_translate_options *options) {
    if (ensemble_load(e, names, compute)) {
        return -1;
    }
    options->others = (const attn_model *const *)e->models + 1;
    options->other_count = e->count - 1;
    attn_translation *nothing; /* says whether they fit, before there is a text */
    if (attn_translate(e->models[0], NULL, 0, options, &nothing)) {
        ensemble_close(e);
        return -1;
    }
    attn_translation_free(nothing);
    return 0;
}

void ensemble_close(ensemble *e) {
    for (int i = 0; i < e->count; i++) {
        attn_model_free(e->models[i]);
    }
    e->count = 0;
}
