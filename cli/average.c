/* attn average: one model of several, its weights the mean of theirs. */
#include <attn/attn.h>

#include "commands.h"
#include "options.h"

static const command_usage USAGE = {
    "average", "--output DIR MODEL...",
    "Makes a model whose weights are the mean of those of the given model folders.",
    "The models must have one shape and one vocabulary: checkpoints of one run, as\n"
    "attn train --keep-last N leaves them in DIR/checkpoints."};

int command_average(int argc, char **argv) {
    const char *output = NULL;
    int operands;
    option_row rows[] = {option_string("output", &output, "DIR", "the folder to make (required)"), option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (!output) {
        return usage_error(&USAGE, "--output DIR is missing");
    }
    if (operands == argc) {
        return usage_error(&USAGE, "no model folder was named");
    }
    return attn_average((const char *const *)argv + operands, (size_t)(argc - operands), output) ? command_failed(&USAGE)
                                                                                                  : EXIT_DONE;
}
