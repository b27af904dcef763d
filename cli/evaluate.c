/* attn evaluate: a model against references. */
#include <attn/attn.h>
#include <math.h>

#include "commands.h"
#include "ensemble.h"
#include "options.h"

static const command_usage USAGE = {
    "evaluate", "--model DIR --source FILE --target FILE [OPTION]...",
    "Measures a model on pairs of sentences: loss and token accuracy of the references,\n"
    "BLEU and chrF2 of the model's own translations, as sacreBLEU computes them. Of a\n"
    "classifier: loss, accuracy, each label's precision, recall and F1, and the confusion, on\n"
    "--corpus: a TSV of label and text; of pictures a folder with a folder for each class, or\n"
    "--images and --labels; of sounds a TSV of file and label. Of a\n"
    "model of speech: word errors, on a TSV of file and text. Of a language model: loss,\n"
    "perplexity, token accuracy, and bits a byte of a plain text.",
    "Pairs with an empty side are left out. Loss is the cross-entropy in nats a target token."};

static void print_warning(void *context, size_t line, const char *sentence) {
    (void)context;
    (void)fprintf(stderr, "attn evaluate: pair %zu: %s\n", line, sentence);
}

static void print_evaluation(const attn_evaluation *e, const attn_evaluate_options *o, const char *tokenizer) {
    (void)printf("pairs %zu\nsource tokens %zu\ntarget tokens %zu\nloss %.4f\nperplexity %.3f\ntoken accuracy %.4f\n",
                 e->pairs, e->source_tokens, e->target_tokens, e->loss, exp(e->loss), e->token_accuracy);
    if (!o->skip_translation) {
        const double *p = e->bleu_precisions;
        (void)printf("BLEU %.2f  %.1f/%.1f/%.1f/%.1f (BP = %.3f ratio = %.3f hyp_len = %zu ref_len = %zu) tok:%s\n",
                     e->bleu, p[0], p[1], p[2], p[3], e->brevity_penalty,
                     e->reference_length ? (double)e->hypothesis_length / (double)e->reference_length : 0,
                     e->hypothesis_length, e->reference_length, tokenizer);
        (void)printf("chrF2 %.2f\n", e->chrf);
    }
}

static void print_share(double share) {
    (void)(isnan(share) ? printf("        -") : printf("   %.4f", share));
}

static void print_classes(const attn_class_evaluation *e) {
    (void)printf("items %zu\nloss %.4f\naccuracy %.4f\nmacro F1 %.4f\n\n", e->texts, e->loss, e->accuracy, e->macro_f1);
    (void)printf("precision   recall       F1    items  label\n");
    for (size_t k = 0; k < e->labels; k++) {
        const attn_label_figures *f = &e->figures[k];
        print_share(f->precision);
        print_share(f->recall);
        print_share(f->f1);
        (void)printf(" %8zu  %s\n", f->there, f->label);
    }
    (void)printf("\nconfusion: a row for each label, a column for what it was called, in the order above\n");
    for (size_t k = 0; k < e->labels; k++) {
        for (size_t j = 0; j < e->labels; j++) {
            (void)printf("%s%6zu", j ? " " : "", e->confusion[k * e->labels + j]);
        }
        (void)printf("  %s\n", e->figures[k].label);
    }
}

typedef struct labelled_files {
    const char *corpus, *images, *labels;
    int skip_invalid;
} labelled_files;

static int evaluate_classes(const ensemble *together, const labelled_files *f) {
    const attn_model *const *models = (const attn_model *const *)together->models, *model = models[0];
    attn_class_evaluation *e;
    attn_status status = attn_model_input(model) == ATTN_INPUT_TEXT
                             ? attn_evaluate_classes_ensemble(models, together->count, f->corpus, f->skip_invalid, &e)
                             : attn_evaluate_files(model, f->images ? f->images : f->corpus, f->images ? f->labels : NULL, &e);
    if (status) {
        return command_failed(&USAGE);
    }
    print_classes(e);
    attn_class_evaluation_free(e);
    return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

/* Of a language model. */
static int evaluate_text(const attn_model *model, const char *path, int block) {
    attn_text_evaluation e;
    if (attn_evaluate_text(model, path, block, &e)) {
        return command_failed(&USAGE);
    }
    (void)printf("bytes %zu\ntokens %zu\nloss %.4f\nperplexity %.3f\ntoken accuracy %.4f\nbits per byte %.4f\n", e.bytes,
                 e.tokens, e.loss, exp(e.loss), e.token_accuracy, e.bits_per_byte);
    return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int evaluate_speech(const attn_model *model, const char *path, const attn_translate_options *o) {
    attn_speech_evaluation e;
    if (attn_evaluate_speech(model, path, o, &e)) {
        return command_failed(&USAGE);
    }
    (void)printf("sounds %zu\nwords %zu\nword errors %zu\nword error rate %.4f\nexact %.4f\n", e.sounds, e.words, e.word_errors,
                 e.word_error_rate, e.exact);
    return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

/* What the model should be given instead; NULL: it is right. */
static const char *check_set(const attn_model *model, const labelled_files *f) {
    attn_input input = attn_model_input(model);
    if (attn_model_generates(model)) {
        return f->corpus ? NULL : "the model is a language model: --corpus FILE, a plain text,";
    }
    if (f->images && input != ATTN_INPUT_PICTURE) {
        return "a TSV with --corpus, as the model does not read pictures,";
    }
    if (f->images || f->corpus) {
        return NULL;
    }
    return input == ATTN_INPUT_TEXT      ? "the model is a classifier: --corpus FILE of label, a tab, text"
           : input == ATTN_INPUT_PICTURE ? "the model reads pictures: --corpus DIR, or --images and --labels,"
                                         : "the model reads sounds: --corpus FILE of file, a tab, label";
}

static const char *const TOKENIZERS[] = {"13a", "none", "zh", NULL};

static int evaluate_with(const ensemble *together, const labelled_files *files, const char *source, const char *target,
                         const attn_evaluate_options *o, int tokenizer, int block) {
    const attn_model *model = together->models[0];
    int classes = attn_model_labels(model) > 0;
    if (together->count > 1 && !(classes && attn_model_input(model) == ATTN_INPUT_TEXT)) {
        return usage_error(&USAGE, "--model was given %d times: classifiers of texts alone are measured together", together->count);
    }
    if (classes || attn_model_generates(model) || attn_model_transcribes(model)) {
        const char *expected = check_set(model, files);
        return expected                         ? usage_error(&USAGE, "%s was expected", expected)
               : attn_model_transcribes(model) ? evaluate_speech(model, files->corpus, &o->translate)
               : classes                        ? evaluate_classes(together, files)
                                                : evaluate_text(model, files->corpus, block);
    }
    if (files->images) {
        return usage_error(&USAGE, "--images are for a classifier of pictures");
    }
    attn_evaluation e;
    if (attn_evaluate(model, files->corpus ? files->corpus : source, target, o, &e)) {
        return command_failed(&USAGE);
    }
    print_evaluation(&e, o, TOKENIZERS[tokenizer]);
    return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

int command_evaluate(int argc, char **argv) {
    const char *folders[MOST_MODELS + 1] = {NULL}, *source = NULL, *target = NULL;
    labelled_files files = {0};
    int threads = 0, tokenizer = 0, block = 0, compute = ATTN_COMPUTE_AUTO, operands;
    attn_evaluate_options o;
    attn_evaluate_options_defaults(&o);
    o.translate.warn = print_warning;
    option_row rows[] = {
        option_strings("model", folders, MOST_MODELS, "DIR",
                       "the model's folder (required); given several times, classifiers of texts answer together, as in attn classify"),
        option_choice("compute-type", &compute, OPTION_COMPUTE_TYPES,
                      "of matrix products; auto: int8 for a model of attn quantize, else f32"),
        option_string("source", &source, "FILE", "source sentences, one a line"),
        option_string("target", &target, "FILE", "their reference translations"),
        option_string("corpus", &files.corpus, "FILE", "both in one: source, a tab, target; a classifier's labelled set; "
                      "of a language model: a plain text"),
        option_string("images", &files.images, "FILE", "an IDX file of pictures"),
        option_string("labels", &files.labels, "FILE", "the IDX file of their labels"),
        option_without_default(option_int("block", &block, 1, 1 << 20, "N", "language model: tokens foretold together, each from "
                                          "those before it (default: the model's positions)")),
        option_choice("bleu", &tokenizer, TOKENIZERS, "how BLEU cuts words; none for text already split"),
        option_flag("no-translation", &o.skip_translation, "loss and accuracy alone"),
        option_flag("skip-invalid", &o.skip_invalid, "leave out pairs that are not UTF-8 instead of failing"),
        option_int("beam", &o.translate.beam, 1, 64, "N", "hypotheses kept at each step"),
        option_double("length-penalty", &o.translate.length_penalty, -10, 10, "X", "as in attn translate"),
        option_double("length-offset", &o.translate.length_offset, 0, 1000, "X", "as in attn translate"),
        option_without_default(option_int("max-length", &o.translate.max_length, 1, 1 << 20, "N",
                                          "longest translation in tokens")),
        option_int("batch-tokens", &o.translate.batch_tokens, 1, 1 << 24, "N",
                   "source tokens that a thread translates at once; changes no result"),
        option_without_default(option_int("threads", &threads, 0, 1024, "N", "threads (default: all processors)")),
        option_end()};
    options_result parsed = options_parse(&USAGE, rows, argc, argv, &operands);
    if (parsed != OPTIONS_RUN) {
        return parsed == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands < argc) {
        return usage_error(&USAGE, "\"%.100s\" is not expected", argv[operands]);
    }
    if (!folders[0]) {
        return usage_error(&USAGE, "--model DIR is missing");
    }
    if (files.images || files.labels) {
        if (!files.images || !files.labels || files.corpus || source || target) {
            return usage_error(&USAGE, "--images FILE and --labels FILE belong together, without other sets");
        }
    } else if (files.corpus ? source || target : !source || !target) {
        return usage_error(&USAGE, "--source FILE and --target FILE, or --corpus FILE alone, were expected");
    }
    files.skip_invalid = o.skip_invalid;
    o.tokenizer = (attn_bleu_tokenizer)tokenizer;
    attn_set_threads(threads);
    ensemble together;
    if (ensemble_load(&together, folders, (attn_compute)compute)) {
        return command_failed(&USAGE);
    }
    int result = evaluate_with(&together, &files, source, target, &o, tokenizer, block);
    ensemble_close(&together);
    return result;
}
