/* attn prune: a model without its least important heads, or with its smallest weights 0. */
#include <attn/attn.h>

#include "commands.h"
#include "options.h"

static const command_usage USAGE = {
    "prune", "--model DIR --output DIR (--heads N | --sparsity X) [OPTION]...",
    "Makes a smaller model of a translator: attention heads that it can do without are cut out\n"
    "(Michel et al. 2019). Or, of any model, a sparser one: the smallest weights of its layers become 0.",
    "--heads: the importance of a head is the mean over the given pairs of |dL/dxi|, where L is\n"
    "-log p(target | source) and xi = 1 a factor on the head's output; then each layer's are divided\n"
    "by their l2 norm. The least important of all go, but every attention keeps one head. Without\n"
    "--output the table alone is printed. Some hundred pairs will do.\n"
    "--sparsity: one threshold for all matrices of the layers; embeddings, vectors and the file's size\n"
    "stay.\n"
    "What is lost with heads is mostly won back by training on, attn train --init OUTPUT; weights that\n"
    "are 0 do not stay so in training. A folder with fewer heads is for attn alone: transformers and\n"
    "CTranslate2 have no place for layers of different numbers of heads."};

static const char *const NAMES[] = {"encoder_self", "decoder_self", "cross"};

typedef struct quality_set {
    const char *source, *target, *corpus;
    attn_evaluate_options options;
    int bleu;
} quality_set;

static int has_set(const quality_set *q) {
    return q->source || q->target || q->corpus;
}

static attn_status measure(const char *folder, const quality_set *q, attn_evaluation *e) {
    attn_model *model;
    attn_status status = attn_model_load(folder, &model);
    if (!status) {
        status = attn_evaluate(model, q->corpus ? q->corpus : q->source, q->target, &q->options, e);
        attn_model_free(model);
    }
    return status;
}

static void print_quality(const char *name, const attn_evaluation *e, int json) {
    (void)printf(json ? ", \"%s\": {\"loss\": %.6f, \"token_accuracy\": %.6f, \"bleu\": %.4f, \"chrf\": %.4f}"
                      : "%-8s loss %.4f, token accuracy %.4f, BLEU %.2f, chrF2 %.2f\n",
                 name, e->loss, e->token_accuracy, e->bleu, e->chrf);
}

/* A row for each layer of each attention; what goes stands in brackets. */
static void print_table(const attn_head *list, size_t count) {
    (void)printf("importance of each head, in its layer; [ ] goes");
    for (size_t i = 0; i < count; i++) {
        if (list[i].head == 0) {
            (void)printf("\n%-13s %2d ", NAMES[list[i].kind], list[i].layer);
        }
        (void)printf(list[i].removed ? " [%.3f]" : "  %.3f ", list[i].importance);
    }
    (void)printf("\n");
}

static void print_json(const attn_head *list, size_t count) {
    (void)printf("{\"heads\": [");
    for (size_t i = 0; i < count; i++) {
        (void)printf("%s{\"attention\": \"%s\", \"layer\": %d, \"head\": %d, \"gradient\": %.9g, \"importance\": %.9g, "
                     "\"removed\": %s}", i ? ", " : "", NAMES[list[i].kind], list[i].layer, list[i].head, list[i].gradient,
                     list[i].importance, list[i].removed ? "true" : "false");
    }
    (void)printf("]");
}

typedef struct pruning {
    const char *model, *output, *source, *target, *corpus;
    int heads, json;
    double sparsity;
} pruning;

static attn_status prune_heads(const pruning *p) {
    attn_head *list;
    size_t count;
    attn_status status = attn_prune_heads(p->model, p->corpus ? p->corpus : p->source, p->target, p->heads, p->output, &list,
                                          &count);
    if (!status) {
        (p->json ? print_json : print_table)(list, count);
        if (!p->json) {
            (void)printf("heads    %zu of %zu %s\n", count - (size_t)p->heads, count, p->output ? "kept" : "would be kept");
        }
        attn_heads_free(list);
    }
    return status;
}

static attn_status prune_weights(const pruning *p) {
    attn_sparsity s;
    attn_status status = attn_prune_weights(p->model, p->sparsity, p->output, &s);
    if (!status) {
        (void)printf(p->json ? "{\"weights\": %zu, \"zeros_before\": %zu, \"zeros\": %zu, \"threshold\": %.9g"
                             : "weights  %zu in the layers' matrices; %zu were 0, %zu are 0; up to %.4g in magnitude\n",
                     s.weights, s.zeros_before, s.zeros, s.threshold);
    }
    return status;
}

static int run(const pruning *p, int by_heads, const quality_set *quality) {
    attn_evaluation before, after;
    attn_status status = has_set(quality) ? measure(p->model, quality, &before) : ATTN_OK;
    status = status ? status : by_heads ? prune_heads(p) : prune_weights(p);
    if (!status && has_set(quality)) {
        status = measure(p->output, quality, &after);
    }
    if (status) {
        return command_failed(&USAGE);
    }
    if (has_set(quality)) {
        print_quality("before", &before, p->json);
        print_quality("after", &after, p->json);
    }
    if (p->json) {
        (void)printf("}\n");
    }
    return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int is_pair_of_files(const char *source, const char *target, const char *corpus) {
    return corpus ? !source && !target : source && target;
}

/* What is wrong with the options together; NULL: nothing. */
static const char *check(const pruning *p, int heads_given, int sparsity_given, const quality_set *q) {
    int pairs_given = p->source || p->target || p->corpus;
    return !p->model                          ? "--model DIR is missing"
           : heads_given && sparsity_given    ? "--heads and --sparsity were given; one of them was expected"
           : !heads_given && !sparsity_given && !pairs_given
                                              ? "--heads N or --sparsity X is missing"
           : sparsity_given && pairs_given    ? "--sparsity looks at no pairs; --test-source and --test-target measure the result"
           : sparsity_given && !p->output     ? "--output DIR is missing"
           : !sparsity_given && !is_pair_of_files(p->source, p->target, p->corpus)
                                              ? "--source FILE and --target FILE, or --corpus FILE alone, were expected"
           : has_set(q) && !is_pair_of_files(q->source, q->target, q->corpus)
                                              ? "--test-source FILE and --test-target FILE, or --test-corpus FILE alone, were expected"
           : has_set(q) && !p->output         ? "--output DIR is missing: there is nothing to measure"
                                              : NULL;
}

int command_prune(int argc, char **argv) {
    static const char *const TOKENIZERS[] = {"13a", "none", "zh", NULL};
    pruning p = {0};
    quality_set q = {0};
    int threads = 0, operands;
    attn_evaluate_options_defaults(&q.options);
    option_row rows[] = {
        option_string("model", &p.model, "DIR", "the model's folder (required)"),
        option_string("output", &p.output, "DIR", "the folder to make"),
        option_without_default(option_int("heads", &p.heads, 0, 1 << 24, "N", "how many heads go")),
        option_without_default(option_double("sparsity", &p.sparsity, 0, 0x1.fffffep-1, "X",
                                             "the share of the layers' weights that becomes 0: 0 <= X < 1")),
        option_string("source", &p.source, "FILE", "--heads: source sentences, one a line"),
        option_string("target", &p.target, "FILE", "their translations"),
        option_string("corpus", &p.corpus, "FILE", "both in one: source, a tab, target"),
        option_heading("Quality, before and after"),
        option_string("test-source", &q.source, "FILE", "source sentences, one a line"),
        option_string("test-target", &q.target, "FILE", "their reference translations"),
        option_string("test-corpus", &q.corpus, "FILE", "both in one: source, a tab, target"),
        option_choice("bleu", &q.bleu, TOKENIZERS, "how BLEU cuts words; none for text already split"),
        option_int("beam", &q.options.translate.beam, 1, 64, "N", "hypotheses kept at each step"),
        option_heading("Other"),
        option_flag("json", &p.json, "print a JSON object"),
        option_without_default(option_int("threads", &threads, 0, 1024, "N", "threads (default: all processors)")),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands < argc) {
        return usage_error(&USAGE, "\"%.100s\" is not expected", argv[operands]);
    }
    int heads_given = options_find(rows, "heads")->given, sparsity_given = options_find(rows, "sparsity")->given;
    const char *problem = check(&p, heads_given, sparsity_given, &q);
    if (problem || (!heads_given && !sparsity_given && p.output)) {
        return usage_error(&USAGE, "%s", problem ? problem : "--heads N or --sparsity X is missing");
    }
    q.options.tokenizer = (attn_bleu_tokenizer)q.bleu;
    attn_set_threads(threads);
    return run(&p, !sparsity_given, &q);
}
