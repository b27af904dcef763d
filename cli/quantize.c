/* attn quantize: a model with int8 weights of another one. */
#include <attn/attn.h>

#include "commands.h"
#include "options.h"

static const command_usage USAGE = {
    "quantize", "--model DIR --output DIR",
    "Makes a translator with int8 weights: about a quarter of the size, and faster.",
    "Every matrix has one scale for each output channel; what is multiplied with it is rounded\n"
    "for each token while translating. attn translate --model OUTPUT then computes in int8;\n"
    "attn evaluate says what it costs in BLEU and chrF."};

int command_quantize(int argc, char **argv) {
    const char *model = NULL, *output = NULL;
    int operands;
    option_row rows[] = {option_string("model", &model, "DIR", "the model's folder (required)"),
                         option_string("output", &output, "DIR", "the folder to make (required)"), option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands < argc) {
        return usage_error(&USAGE, "\"%.100s\" is not expected", argv[operands]);
    }
    if (!model || !output) {
        return usage_error(&USAGE, model ? "--output DIR is missing" : "--model DIR is missing");
    }
    return attn_quantize(model, output) ? command_failed(&USAGE) : EXIT_DONE;
}
