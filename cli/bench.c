/* attn bench: how fast, and how exact, the library's parts are on this machine. */
#include <attn/attn.h>
#include <string.h>

#include "commands.h"
#include "options.h"

static const char *const TYPES[] = {"all", "f32", "bf16", "int8", NULL};
static const int TYPE_BITS[] = {ATTN_BENCH_F32 | ATTN_BENCH_BF16 | ATTN_BENCH_INT8, ATTN_BENCH_F32,
                                ATTN_BENCH_BF16, ATTN_BENCH_INT8};

static const command_usage USAGE = {
    "bench", "attention [CASE]... [OPTION]...",
    "Measures the attention operator: for each case the share of what a 2048-cubed matrix product\n"
    "reaches in the same type and run, for decoding the share of the bandwidth of reading, and the\n"
    "workspace. With --check or --random it compares with the f64 reference instead.",
    "A case is batch x heads[/kv heads] x queries[x keys], as the table prints it; --check also knows\n"
    "those of the tests. With --random N, N cases are made from the seeds S, S + 1, ...; a bad one is\n"
    "printed with its seed, and the exit status is 1."};

int command_bench(int argc, char **argv) {
    attn_bench_options options;
    attn_bench_options_defaults(&options);
    int types = 0, threads = 0, check = 0, operands;
    int64_t random = 0, seed = 1;
    option_row rows[] = {
        option_choice("dtype", &types, TYPES, "types to measure; int8: a decoding cache"),
        option_without_default(option_int("threads", &threads, 0, 1024, "N", "threads (default: all processors)")),
        option_double("seconds", &options.seconds, 0.001, 3600, "S", "time for each figure"),
        option_flag("json", &options.json, "a JSON object a line instead of a table"),
        option_flag("check", &check, "errors against the reference instead of speed"),
        option_without_default(option_int64("random", &random, 1, INT64_MAX, "N", "check N random cases")),
        option_int64("seed", &seed, 0, INT64_MAX, "S", "what --check and --random draw from"),
        option_end()};
    const options_result result = options_parse(&USAGE, rows, argc, argv, &operands);
    if (result != OPTIONS_RUN) {
        return result == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands == argc || strcmp(argv[operands], "attention") != 0) {
        return usage_error(&USAGE, "%s%.60s%s, expected attention", operands == argc ? "nothing" : "\"",
                           operands == argc ? "" : argv[operands], operands == argc ? "" : "\"");
    }
    options.cases = (const char *const *)argv + operands + 1;
    options.case_count = argc - operands - 1;
    options.types = TYPE_BITS[types];
    if (random && (check || options.case_count)) {
        return usage_error(&USAGE, "--random makes its own cases: neither --check nor names go with it");
    }
    attn_set_threads(threads);
    const attn_status status =
        random ? attn_check_attention_random(random, (uint64_t)seed, stdout)
        : check ? attn_check_attention(options.cases, options.case_count, (uint64_t)seed, stdout)
                : attn_bench_attention(&options, stdout);
    return status ? command_failed(&USAGE) : fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
