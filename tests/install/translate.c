/* A user's program on the installed library: translates its second argument with the
 * model in the folder of its first. */
#include <attn/attn.h>
#include <stdio.h>

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, attn_last_error());
    return 1;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: translate MODEL TEXT\n");
        return 2;
    }
    attn_model *model;
    if (attn_model_load(arguments[1], &model))
        return failed("loading");
    const char *texts[] = {arguments[2]};
    attn_translation *translation;
    if (attn_translate(model, texts, 1, NULL, &translation)) {
        attn_model_free(model);
        return failed("translating");
    }
    puts(attn_translation_text(translation, 0));
    attn_translation_free(translation);
    attn_model_free(model);
    return 0;
}
