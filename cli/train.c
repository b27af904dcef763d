/* attn train: the options of attn_train as a command, with a bar on a terminal and plain
 * lines elsewhere. Ctrl-C and SIGTERM save and end; a second one ends at once. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <attn/attn.h>

#include "commands.h"
#include "options.h"
#include "recipe.h"

static volatile sig_atomic_t signals_seen;

static void note_signal(int number) {
    if (++signals_seen > 1) {
        _exit(128 + number);
    }
}

typedef struct console {
    int terminal;         /* a bar is drawn */
    int bar;              /* one stands on the current line */
    int quiet;
    double printed;       /* when the last plain line was */
    double every;         /* seconds between plain lines */
    double average_speed; /* for the bar: smoothed */
} console;

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void clear_bar(console *c) {
    if (c->bar) {
        (void)fputs("\r\033[K", stderr);
        c->bar = 0;
    }
}

static void print_log(void *context, const char *line) {
    console *c = context;
    if (!c->quiet) {
        clear_bar(c);
        (void)fprintf(stderr, "%s\n", line);
    }
}

/* "4m10s" or "1h02m". */
static const char *duration(double seconds, char text[32]) {
    unsigned s = seconds < 1e8 ? (unsigned)seconds : 100000000u;
    if (s >= 3600) {
        (void)snprintf(text, 32, "%uh%02um", s / 3600, s % 3600 / 60);
    } else {
        (void)snprintf(text, 32, "%um%02us", s / 60, s % 60);
    }
    return text;
}

static int terminal_columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* One line that never wraps: the bar takes what the figures leave. */
static void draw_bar(console *c, const attn_progress *p) {
    enum { WIDEST = 24, LINE = 200 };
    char figures[LINE], left[32], bar[WIDEST + 1];
    int columns = terminal_columns() - 1;
    double done = p->updates_planned > 0 ? (double)p->update / (double)p->updates_planned : 0;
    int used = snprintf(figures, sizeof figures, "update %lld/%lld  epoch %lld  loss %.3f  %.0f tokens/s  roof %.2f  %s left",
                        (long long)p->update, (long long)p->updates_planned, (long long)p->epoch, p->loss,
                        c->average_speed, p->share_of_roof, duration(p->seconds_left, left));
    int width = columns - used - 3 < WIDEST ? columns - used - 3 : WIDEST;
    for (int i = 0; i < width; i++) {
        bar[i] = i < (int)(done * width) ? '#' : '.';
    }
    clear_bar(c);
    if (width >= 4) {
        (void)fprintf(stderr, "[%.*s] ", width, bar);
    }
    (void)fprintf(stderr, "%.*s", columns < LINE ? columns : LINE, figures);
    (void)fflush(stderr);
    c->bar = 1;
}

static void print_progress(void *context, const attn_progress *p) {
    console *c = context;
    c->average_speed = c->average_speed > 0 ? 0.7 * c->average_speed + 0.3 * p->target_tokens_per_second
                                            : p->target_tokens_per_second;
    if (c->quiet) {
        return;
    }
    if (c->terminal) {
        draw_bar(c, p);
    } else if (now() - c->printed >= c->every) {
        char left[32];
        (void)fprintf(stderr,
                      "update %lld epoch %lld loss %.4f accuracy %.3f rate %.2e norm %.2f target-tokens/s %.0f roof %.2f left %s\n",
                      (long long)p->update, (long long)p->epoch, p->loss, p->token_accuracy, p->learning_rate, p->gradient_norm,
                      p->target_tokens_per_second, p->share_of_roof, duration(p->seconds_left, left));
        c->printed = now();
    }
}

static void print_validation(void *context, const attn_validation *v) {
    console *c = context;
    clear_bar(c);
    (void)fprintf(stderr, "%s: update %lld epoch %lld loss %.4f perplexity %.2f accuracy %.4f", v->split,
                  (long long)v->update, (long long)v->epoch, v->loss, exp(v->loss), v->token_accuracy);
    if (v->bleu >= 0) {
        (void)fprintf(stderr, " BLEU %.2f chrF %.2f", v->bleu, v->chrf);
    }
    for (int i = 0; i < v->metric_count; i++) {
        (void)fprintf(stderr, " %s %.4f", v->metrics[i].name, v->metrics[i].value);
    }
    (void)fprintf(stderr, "%s\n", v->best ? " (best)" : "");
}

static int should_stop(void *context) {
    (void)context;
    return signals_seen > 0;
}

/* Options that some tasks alone look at. */
static int check_task(const command_usage *usage, const attn_train_options *o, const option_row *rows) {
    enum { TRANSLATE = 1 << ATTN_TASK_TRANSLATE, CLASSIFY = 1 << ATTN_TASK_CLASSIFY, MASKED = 1 << ATTN_TASK_MASKED,
           IMAGE = 1 << ATTN_TASK_IMAGE, SPEECH = 1 << ATTN_TASK_SPEECH, LANGUAGE = 1 << ATTN_TASK_LANGUAGE };
    static const struct {
        const char *option;
        int tasks;
    } OWN[] = {{"architecture", TRANSLATE | LANGUAGE}, {"cell", TRANSLATE}, {"score", TRANSLATE}, {"hidden", TRANSLATE},
               {"pooling", CLASSIFY}, {"word-dropout", CLASSIFY}, {"r-drop", CLASSIFY}, {"convolution", CLASSIFY | MASKED}, {"letters", CLASSIFY | MASKED},
               {"mask-share", MASKED},
               {"family", LANGUAGE}, {"kv-heads", LANGUAGE}, {"block", LANGUAGE},
               {"max-tokens", ~LANGUAGE}, {"skip-invalid", ~LANGUAGE},
               {"images", IMAGE}, {"labels", IMAGE}, {"image-size", IMAGE}, {"patch-size", IMAGE}, {"colour", IMAGE},
               {"rotation", IMAGE}, {"sample-rate", SPEECH}, {"mel-bins", SPEECH}, {"max-frames", SPEECH},
               {"mask-frames", SPEECH}, {"mask-bins", SPEECH}};
    const option_row *task = options_find(rows, "task");
    for (size_t i = 0; i < sizeof OWN / sizeof *OWN; i++) {
        if (options_find(rows, OWN[i].option)->given == OPTION_ON_COMMAND_LINE && !(OWN[i].tasks & 1 << o->task)) {
            return usage_error(usage, "--%s is not an option of --task %s", OWN[i].option, task->choices[*(const int *)task->value]);
        }
    }
    return 0;
}

/* What the library cannot see: options that were given to no purpose. */
static int check_given(const command_usage *usage, const attn_train_options *o, const option_row *rows) {
    static const char *const SHAPE[] = {"tokenizer", "vocabulary", "join-continuation", "layers", "width", "heads",
                                        "feed-forward", "activation", "max-positions", "architecture", "cell",
                                        "score", "hidden", "attention", "convolution", "letters"};
    static const char *const SHAPES_OWN[][6] = {{"heads", "feed-forward", "activation", "attention", "attention-dropout", NULL},
                                                {"cell", "score", "hidden", NULL}}; /* by architecture */
    static const struct {
        const char *option;
        attn_optimizer optimizers[2];
    } OWN[] = {{"beta1", {ATTN_OPTIMIZER_ADAM, ATTN_OPTIMIZER_ADAMW}},
               {"beta2", {ATTN_OPTIMIZER_ADAM, ATTN_OPTIMIZER_ADAMW}},
               {"epsilon", {ATTN_OPTIMIZER_ADAM, ATTN_OPTIMIZER_ADAMW}},
               {"momentum", {ATTN_OPTIMIZER_SGD, ATTN_OPTIMIZER_SGD}},
               {"weight-decay", {ATTN_OPTIMIZER_ADAMW, ATTN_OPTIMIZER_ADAMW}}};
    if (!o->model) {
        return usage_error(usage, "--model DIR is needed: the folder to make");
    }
    for (size_t i = 0; o->init && i < sizeof SHAPE / sizeof *SHAPE; i++) {
        if (options_find(rows, SHAPE[i])->given == OPTION_ON_COMMAND_LINE) {
            return usage_error(usage, "--%s cannot be chosen with --init: the model there has its own", SHAPE[i]);
        }
    }
    const option_row *architecture = options_find(rows, "architecture");
    for (int i = 0; i < 2; i++) {
        for (int j = 0; SHAPES_OWN[i][j]; j++) {
            if (*(const int *)architecture->value != i && options_find(rows, SHAPES_OWN[i][j])->given == OPTION_ON_COMMAND_LINE) {
                return usage_error(usage, "--%s is not an option of --architecture %s", SHAPES_OWN[i][j],
                                   architecture->choices[1 - i]);
            }
        }
    }
    const option_row *kind = options_find(rows, "optimizer");
    for (size_t i = 0; i < sizeof OWN / sizeof *OWN; i++) {
        int chosen = *(const int *)kind->value;
        if (options_find(rows, OWN[i].option)->given == OPTION_ON_COMMAND_LINE &&
            chosen != (int)OWN[i].optimizers[0] && chosen != (int)OWN[i].optimizers[1]) {
            return usage_error(usage, "--%s is not an option of %s; --optimizer %s has it", OWN[i].option,
                               kind->choices[chosen], kind->choices[OWN[i].optimizers[1]]);
        }
    }
    return 0;
}

/* Where nothing was said, a language model has other defaults than a translator. */
static void language_defaults(attn_train_options *o, const option_row *rows, int *tokenizer) {
    if (!options_find(rows, "tokenizer")->given) {
        *tokenizer = ATTN_TOKENIZER_CHARACTERS;
    }
    if (!options_find(rows, "activation")->given) {
        o->activation = "gelu";
    }
    if (!options_find(rows, "label-smoothing")->given) {
        o->label_smoothing = 0;
    }
    if (!options_find(rows, "valid-share")->given) {
        o->valid_share = 0.1;
    }
    if (!options_find(rows, "max-positions")->given) {
        o->max_positions = o->block;
    }
    o->valid_bleu_lines = 0;
}

static int run(const command_usage *usage, attn_train_options *o, console *c) {
    o->progress = print_progress;
    o->validated = print_validation;
    o->log = print_log;
    o->stop = should_stop;
    o->context = c;
    struct sigaction action = {.sa_handler = note_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    attn_status status = attn_train(o);
    clear_bar(c);
    if (status == ATTN_ERROR_INTERRUPTED) {
        (void)fprintf(stderr, "attn train: %s; go on with --resume\n", attn_last_error());
        return EXIT_DONE;
    }
    return status ? command_failed(usage) : EXIT_DONE;
}

int command_train(int argc, char **argv) {
    static const char *const TOKENIZERS[] = {"sentencepiece", "whitespace", "wordpiece", "words", "characters", NULL};
    static const char *const TASKS[] = {"translate", "classify", "masked", "image", "speech", "language", NULL};
    static const char *const POOLINGS[] = {"attention", "cls", NULL};
    static const char *const FAMILIES[] = {"gpt2", "llama", NULL};
    static const char *const ARCHITECTURES[] = {"transformer", "recurrent", NULL};
    static const char *const CELLS[] = {"gru", "lstm", NULL};
    static const char *const SCORES[] = {"additive", "dot", "general", NULL};
    static const char *const SCHEDULES[] = {"inverse-square-root", "constant", "cosine", "linear", NULL};
    static const char *const OPTIMIZERS[] = {"adam", "adamw", "sgd", NULL};
    static const char *const WATCHES[] = {"loss", "accuracy", "bleu", "chrf", NULL};
    static const char *const PRECISIONS[] = {"auto", "f32", "bf16", NULL};
    attn_train_options o;
    attn_train_options_defaults(&o);
    int threads = 0, task = 0, architecture = 0, family = 0, cell = 0, score = 0, pooling = 0, tokenizer = 0;
    int schedule = 0, optimizer = 0, watch = 0, precision = 0;
    int64_t seed = (int64_t)o.seed;
    console c = {.terminal = isatty(STDERR_FILENO), .every = 10};
    option_row rows[] = {
        option_choice("task", &task, TASKS, "what is learned: any sequence from another; a text's label; to guess "
                      "hidden words, for a classifier to begin with; the class of a picture or of a sound; or a text, "
                      "token by token"),
        option_heading("Data"),
        option_string("source", &o.source, "FILE", "source sentences, one a line"),
        option_string("target", &o.target, "FILE", "their translations, line by line"),
        option_string("corpus", &o.corpus, "FILE", "both in one: source, a tab, target; classify: label, a tab, text; masked: a text a line; language: the text"),
        option_string("valid-source", &o.valid_source, "FILE", "for validation; else a share is held out"),
        option_string("valid-target", &o.valid_target, "FILE", ""),
        option_string("valid-corpus", &o.valid_corpus, "FILE", ""),
        option_string("test-source", &o.test_source, "FILE", "for a last loss and accuracy"),
        option_string("test-target", &o.test_target, "FILE", ""),
        option_string("test-corpus", &o.test_corpus, "FILE", ""),
        option_double("valid-share", &o.valid_share, 0, 0.9, "X", "share of the pairs held out, at most 1,000; of a plain text the end"),
        option_int("max-tokens", &o.max_tokens, 2, 65536, "N", "longest side of a pair; longer pairs are left out"),
        option_flag("skip-invalid", &o.skip_invalid, "leave out pairs that are not UTF-8 instead of failing"),
        option_heading("Pictures and sounds (--task image, --task speech)"),
        option_string("images", &o.signal.images, "FILE", "an IDX file of pictures, in place of --corpus, a folder with a folder "
                      "of PNG and JPEG files for each class"),
        option_string("labels", &o.signal.labels, "FILE", "the IDX file of their labels"),
        option_string("valid-images", &o.signal.valid_images, "FILE", "for validation; else a share is held out"),
        option_string("valid-labels", &o.signal.valid_labels, "FILE", ""),
        option_string("test-images", &o.signal.test_images, "FILE", "for a last loss and accuracy"),
        option_string("test-labels", &o.signal.test_labels, "FILE", ""),
        option_without_default(option_int("image-size", &o.signal.image_size, 0, 4096, "N",
                                          "side of the pictures in pixels; others are resized (default: the IDX file's, or 32)")),
        option_int("patch-size", &o.signal.patch_size, 1, 4096, "N", "side of a patch in pixels; divides the picture's"),
        option_flag("colour", &o.signal.colour, "keep red, green and blue instead of grey"),
        option_double("shift", &o.signal.shift, 0, 4096, "X", "shift training pictures by up to so many pixels"),
        option_double("rotation", &o.signal.rotation, 0, 180, "X", "turn them by up to so many degrees"),
        option_int("sample-rate", &o.signal.sample_rate, 1000, 192000, "HZ", "of sounds; others are converted"),
        option_int("mel-bins", &o.signal.mel_bins, 1, 256, "N", "numbers in a frame of sound"),
        option_int("max-frames", &o.signal.max_frames, 4, 1 << 20, "N", "frames, of 10 ms, of the longest sound; longer ones are cut"),
        option_flag("text", &o.signal.text, "speech: the TSV's second column is no label but what is said: learn to write it down"),
        option_int("mask-frames", &o.signal.mask_frames, 0, 1 << 20, "N", "hide up to so many frames in a row of training sounds, twice"),
        option_int("mask-bins", &o.signal.mask_bins, 0, 256, "N", "and up to so many neighbouring bins"),
        option_heading("Model"),
        option_string("model", &o.model, "DIR", "the folder to make (required)"),
        option_flag("resume", &o.resume, "go on from the folder's training state"),
        option_string("init", &o.init, "MODEL", "begin with this model folder's weights, vocabulary and shape"),
        option_string("freeze", &o.freeze, "PARTS", "keep the weights of embeddings, encoder or decoder: one or two "
                      "of them, with a comma between"),
        option_choice("tokenizer", &tokenizer, TOKENIZERS, "how text is cut into tokens; classify and masked: wordpiece (default) or words"),
        option_int("vocabulary", &o.vocabulary, 16, 1000000, "N", "joint vocabulary of both languages"),
        option_flag("join-continuation", &o.join_continuation, "whitespace: join \"wo@@ rd\" to \"word\" in output"),
        option_choice("architecture", &architecture, ARCHITECTURES, "of the network"),
        option_int("layers", &o.layers, 1, 1024, "N", "encoder layers, and decoder layers"),
        option_int("width", &o.width, 2, 65536, "N", "width of the model"),
        option_int("heads", &o.heads, 1, 4096, "N", "Transformer: attention heads; divides the width"),
        option_int("feed-forward", &o.feed_forward, 1, 1 << 18, "N", "Transformer: width of the feed-forward layers"),
        option_choice("family", &family, FAMILIES, "of a language model: gpt2 has learned positions and LayerNorm, llama rotary "
                      "positions, RMSNorm and SwiGLU"),
        option_without_default(option_int("kv-heads", &o.kv_heads, 0, 4096, "N", "llama: heads of keys and values; divides the "
                                          "heads (default: as many)")),
        option_int("block", &o.block, 1, 65536, "N", "language: tokens that are trained on together"),
        option_string("attention", &o.attention, "KIND", "language, classify, masked: full, linear (no softmax), or window:N, where "
                      "a token of a language model sees the last N, of the others N/2 to each side: time and memory for a "
                      "token are then the same at any length"),
        option_string("activation", &o.activation, "NAME", "Transformer: relu, swish or gelu"),
        option_choice("cell", &cell, CELLS, "recurrent: of its layers"),
        option_choice("score", &score, SCORES, "recurrent: of its attention"),
        option_int("hidden", &o.hidden, 2, 16384, "N", "recurrent: units of a decoder layer; half of them in each direction of "
                   "the encoder"),
        option_int("max-positions", &o.max_positions, 2, 1 << 20, "N", "longest sequence in tokens"),
        option_double("dropout", &o.dropout, 0, 0.99, "P", "after embeddings and sub-layers"),
        option_choice("pooling", &pooling, POOLINGS, "classify: what a text's label is read from, a learned attention over its "
                      "words, or the row of [CLS] (opens in transformers)"),
        option_double("r-drop", &o.r_drop, 0, 1000, "X", "classify: each text is read twice with other dropout, and X / 4 of what "
                                                         "the answers differ is added to the loss"),
        option_int("convolution", &o.convolution, 0, 31, "K", "classify, masked: before the layers, a convolution over K words, K "
                                                              "odd; 0: none"),
        option_int("letters", &o.letters, 0, 1 << 22, "N", "classify, masked, tokenizer words: a word's letters, hashed to N numbers, "
                                                            "add to its vector, so that unseen words have one; 0: none"),
        option_double("word-dropout", &o.word_dropout, 0, 0.99, "P", "classify: chance that a word is hidden in training"),
        option_double("mask-share", &o.mask_share, 0.01, 0.9, "X", "masked: share of the words that are to be guessed"),
        option_double("attention-dropout", &o.attention_dropout, 0, 0.99, "P", "Transformer: on attention weights"),
        option_heading("Training"),
        option_without_default(option_int64("updates", &o.max_updates, 0, INT64_MAX / 4, "N", "end after so many updates")),
        option_without_default(option_double("epochs", &o.max_epochs, 0, 1e9, "X", "end after so many passes over the data")),
        option_without_default(option_double("minutes", &o.max_minutes, 0, 1e7, "X", "end after so many minutes")),
        option_int("batch-tokens", &o.batch_tokens, 1, 1 << 24, "N", "target tokens a batch"),
        option_int("accumulate", &o.accumulate, 1, 1 << 20, "N", "batches an update"),
        option_choice("optimizer", &optimizer, OPTIMIZERS, "what turns gradients into updates"),
        option_double("rate", &o.rate, 1e-12, 1000, "X", "peak learning rate"),
        option_choice("schedule", &schedule, SCHEDULES, "of the learning rate after the warm-up; cosine and linear fall to 0 at "
                      "the end, which --updates or --epochs must give"),
        option_int("warmup", &o.warmup, 0, 1000000000, "N", "updates of linear warm-up"),
        option_double("beta1", &o.beta1, 0, 0.999999, "X", "Adam's decay of the first moment"),
        option_double("beta2", &o.beta2, 0, 0.999999, "X", "and of the second"),
        option_double("epsilon", &o.epsilon, 1e-20, 1, "X", "Adam's"),
        option_double("momentum", &o.momentum, 0, 0.999999, "X", "SGD's"),
        option_double("weight-decay", &o.weight_decay, 0, 1, "X", "AdamW's: share of each matrix, times the rate, taken "
                      "off an update; norms and biases keep theirs"),
        option_double("label-smoothing", &o.label_smoothing, 0, 0.99, "X", "share of the target spread evenly"),
        option_double("clip", &o.clip, 0, 1e9, "X", "largest norm of the gradient; 0: none"),
        option_double("average", &o.average, 0, 0.999999, "X", "decay of the average of weights; 0: none"),
        option_without_default(option_int64("validate-every", &o.validate_every, 0, INT64_MAX / 4, "N",
                                            "updates between validations (default: each epoch)")),
        option_int("valid-bleu-lines", &o.valid_bleu_lines, 0, 1000000000, "N", "lines translated at a validation"),
        option_choice("watch", &watch, WATCHES, "which validation is the best"),
        option_without_default(option_int("patience", &o.patience, 0, 1000000000, "N",
                                          "end after so many validations without a better one (default: none)")),
        option_without_default(option_int64("save-every", &o.save_every, 0, INT64_MAX / 4, "N",
                                            "updates between saves of the state (default: at validations)")),
        option_int("keep-last", &o.keep_last, 0, 10000, "N", "validated models kept in checkpoints/: the newest N"),
        option_int("keep-best", &o.keep_best, 0, 10000, "N", "and the best N"),
        option_flag("average-kept", &o.average_kept, "at the end, the mean of the newest kept ones goes to averaged/"),
        option_int64("seed", &seed, 0, INT64_MAX, "N", "of weights, order and dropout"),
        option_choice("precision", &precision, PRECISIONS, "of products and activations"),
        option_without_default(option_int("threads", &threads, 0, 1024, "N", "threads (default: all processors)")),
        option_int64("journal-every", &o.journal_every, 1, INT64_MAX / 4, "N", "updates a line of log.jsonl"),
        option_double("log-every", &c.every, 0, 1e6, "SECONDS", "between lines where there is no terminal"),
        option_flag("profile", &o.profile, "at the end, a table of where the updates' time went, by operation"),
        option_flag("quiet", &c.quiet, "results alone"),
        option_end()};
    command_usage usage = {
        "train", "[RECIPE.json] --source FILE --target FILE --model DIR [OPTION]...",
        "Learns a vocabulary and a translator from parallel sentences.",
        "The folder holds the best model by validation loss, last/ the newest one; both open in\n"
        "transformers (MarianMTModel) and CTranslate2. At least one of --updates, --epochs and\n"
        "--minutes ends the run. Ctrl-C saves and ends; --resume goes on with the same bits.\n"
        "A recipe is a JSON object of these options, {\"rate\": 0.005, ...}; the command line\n"
        "overrides it. The folder's recipe.json holds every option of its run."};
    int operands;
    options_result result = options_parse(&usage, rows, argc, argv, &operands);
    if (result != OPTIONS_RUN) {
        return result == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
    }
    if (operands + 1 < argc) {
        return usage_error(&usage, "\"%s\" was not expected; the texts are given by --source and --target or --corpus",
                           argv[operands + 1]);
    }
    recipe r = {NULL, NULL};
    int status = operands < argc ? recipe_read(&usage, argv[operands], rows, &r) : 0;
    o.task = (attn_task)task;
    o.family = (attn_family)family;
    if (!status && o.task == ATTN_TASK_LANGUAGE) {
        language_defaults(&o, rows, &tokenizer);
    } else if (task != ATTN_TASK_TRANSLATE && !options_find(rows, "tokenizer")->given) {
        tokenizer = ATTN_TOKENIZER_WORDPIECE;
    }
    status = status ? status : check_task(&usage, &o, rows);
    status = status ? status : check_given(&usage, &o, rows);
    status = status ? status : recipe_write(&usage, rows, &r);
    if (!status) {
        o.task = (attn_task)task;
        o.pooling = (attn_pooling)pooling;
        o.tokenizer = (attn_tokenizer_kind)tokenizer;
        o.architecture = (attn_architecture)architecture;
        o.cell = (attn_cell)cell;
        o.score = (attn_recurrent_score)score;
        o.schedule = (attn_schedule)schedule;
        o.optimizer = (attn_optimizer)optimizer;
        o.watch = (attn_watch)watch;
        o.precision = (attn_precision)precision;
        o.seed = (uint64_t)seed;
        o.recipe = r.resolved;
        attn_set_threads(threads);
        status = run(&usage, &o, &c);
    }
    recipe_release(&r);
    return status;
}
