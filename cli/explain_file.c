/* attn explain of a picture or a sound. */
#include "explain_file.h"

#include <errno.h>
#include <string.h>

static int show(const attn_sight *s, const explain_file_settings *o) {
    if (o->json) {
        return attn_sight_write_json(s, stdout) ? EXIT_FAILED : EXIT_DONE;
    }
    (void)printf("%s\t%.6f\n\n", attn_sight_label(s), attn_sight_probability(s));
    return attn_sight_write_terminal(s, o->layer, o->head, o->colour, stdout) ? EXIT_FAILED : EXIT_DONE;
}

int explain_file(const command_usage *usage, const attn_model *model, const char *path, const explain_file_settings *o) {
    attn_sight *s;
    if (attn_explain_file(model, path, o->label, &s)) {
        return command_failed(usage);
    }
    int result = show(s, o);
    if (result != EXIT_DONE) {
        (void)command_failed(usage);
    }
    if (result == EXIT_DONE && o->png) {
        result = attn_sight_write_png(s, o->png) ? command_failed(usage) : EXIT_DONE;
    }
    if (result == EXIT_DONE && o->html) {
        result = attn_sight_write_html(s, o->html) ? command_failed(usage) : EXIT_DONE;
    }
    attn_sight_free(s);
    if (result == EXIT_DONE && fflush(stdout)) {
        (void)fprintf(stderr, "attn explain: standard output cannot be written: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    return result;
}
