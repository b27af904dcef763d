/* attn: finds the command in its table and runs it. */
#include <attn/attn.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "options.h"

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} command;

static const command COMMANDS[] = {
    {"train", command_train, "make a translator, a classifier, a language model, or a model of hidden words"},
    {"quantize", command_quantize, "a translator with int8 weights"},
    {"prune", command_prune, "a translator with fewer heads, or any model with fewer weights"},
    {"average", command_average, "the mean of several models' weights, as one model"},
    {"translate", command_translate, "translate standard input, line by line"},
    {"classify", command_classify, "name the class of lines, pictures or sounds"},
    {"transcribe", command_transcribe, "write down what is said in sound files"},
    {"generate", command_generate, "go on with a text, token by token"},
    {"evaluate", command_evaluate, "a model against references: loss, accuracy, BLEU, F1, bits a byte"},
    {"score", command_score, "how likely a model finds given translations"},
    {"explain", command_explain, "show where a model looked: every layer, every head"},
    {"info", command_info, "what a model folder holds"},
    {"attention", command_attention, "the attention operator alone, on .npy arrays"},
    {"additive", command_additive, "attention with additive scores, on .npy arrays"},
    {"bench", command_bench, "how fast and how exact the attention operator is here"},
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static void print_help(FILE *out) {
    (void)fputs("Usage: attn COMMAND [OPTION]...\n"
                "Attention in C: train a translator on your own sentences, use it, look inside.\n"
                "\nCommands:\n", out);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        (void)fprintf(out, "  %-12s%s\n", COMMANDS[i].name, COMMANDS[i].summary);
    }
    (void)fputs("\n'attn COMMAND --help' tells a command's options; 'attn --version' the version.\n"
                "Results go to standard output, progress and messages to standard error.\n"
                "Exit status: 0 done, 1 failed, 2 wrong usage.\n", out);
}

static int unknown_command(const char *word) {
    const char *nearest = NULL;
    int best = 4;
    for (int i = 0; i < COMMAND_COUNT; i++) {
        int distance = edit_distance(word, COMMANDS[i].name, best);
        if (distance < best) {
            best = distance;
            nearest = COMMANDS[i].name;
        }
    }
    (void)fprintf(stderr, "attn: unknown command \"%.100s\"", word);
    (void)(nearest ? fprintf(stderr, "; did you mean %s?", nearest) : 0);
    (void)fputs("\nTry 'attn --help'.\n", stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "help") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(word, "--version") == 0) {
        (void)printf("attn %s\n", attn_version());
        return EXIT_DONE;
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(word, COMMANDS[i].name) == 0) {
            return COMMANDS[i].run(argc - 1, argv + 1);
        }
    }
    return unknown_command(word);
}
