/* attn info: what a model folder holds. */
#include <attn/attn.h>

#include "commands.h"
#include "options.h"

static const command_usage USAGE = {"info", "--model DIR",
                                    "Prints a model's architecture, parameters by part, vocabulary and how it was trained.",
                                    NULL};

int command_info(int argc, char **argv) {
    const char *folder = NULL;
    int operands;
    option_row rows[] = {option_string("model", &folder, "DIR", "the model's folder (or as an operand)"), option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (!folder && operands < argc) {
        folder = argv[operands++];
    }
    if (operands < argc) {
        return usage_error(&USAGE, "\"%.100s\" is not expected", argv[operands]);
    }
    if (!folder) {
        return usage_error(&USAGE, "--model DIR is missing");
    }
    attn_model *model;
    if (attn_model_load(folder, &model)) {
        return command_failed(&USAGE);
    }
    attn_status status = attn_model_describe(model, stdout);
    attn_model_free(model);
    return status ? command_failed(&USAGE) : fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
