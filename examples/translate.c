/* Translates standard input line by line with the model in the folder of its argument:
 *     cc translate.c $(pkg-config --cflags --libs attn) -o translate
 *     ./translate en-de <letters.en >letters.de */
#define _POSIX_C_SOURCE 200809L
#include <attn/attn.h>
#include <stdlib.h>
#include <string.h>

static int failed(void) {
    fprintf(stderr, "translate: %s\n", attn_last_error());
    return 1;
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: translate MODEL <IN >OUT\n");
        return 2;
    }
    attn_model *model;
    if (attn_model_load(arguments[1], &model))
        return failed();
    char *line = NULL;
    size_t room = 0;
    int status = 0;
    while (!status && getline(&line, &room, stdin) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        const char *texts[] = {line};
        attn_translation *translation;
        if (attn_translate(model, texts, 1, NULL, &translation)) {
            status = failed();
        } else {
            puts(attn_translation_text(translation, 0));
            attn_translation_free(translation);
        }
    }
    free(line);
    attn_model_free(model);
    return status;
}
