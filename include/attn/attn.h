/* attn: models. Load one, translate, score, look at its attention, train one.
 *
 *     attn_model *model;
 *     attn_model_load("model", &model);
 *     attn_translation *result;
 *     attn_translate(model, lines, count, NULL, &result);
 *     puts(attn_translation_text(result, 0));
 *     attn_translation_free(result);
 *     attn_model_free(model);
 *
 * Functions return ATTN_OK or a negative status and leave a sentence in
 * attn_last_error(); they never print, exit or abort on input. Texts are UTF-8 and
 * 0-terminated. A loaded model does not change: several threads may use it at once.
 * Option structs are filled by their ..._defaults() and then changed. */
#ifndef ATTN_ATTN_H
#define ATTN_ATTN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <attn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, e.g. "0.1.0". */
ATTN_PUBLIC const char *attn_version(void);

/* Counts the changes that a compiled program notices: of structs, enums and functions. One that
 * loads the library at run time (ctypes, dlopen) compares attn_abi_version() with the
 * ATTN_ABI_VERSION of the header that it was written to. */
#define ATTN_ABI_VERSION 1
ATTN_PUBLIC int attn_abi_version(void);

/* Threads for the calls that this thread makes; count <= 0: all processors. Results
 * have the same bits for every number. */
ATTN_PUBLIC void attn_set_threads(int count);

/* --- a model ------------------------------------------------------------------- */

typedef struct attn_model attn_model;

/* Opens a model folder in Hugging Face's layout (config.json, model.safetensors and the
 * tokenizer's files). ATTN_ERROR_FILE, ATTN_ERROR_FORMAT, ATTN_ERROR_UNSUPPORTED. */
ATTN_PUBLIC attn_status attn_model_load(const char *directory, attn_model **model);

/* The type of a translator's matrix products. Everything else (softmax, normalisation, attention)
 * is f32 throughout. */
typedef enum attn_compute {
    ATTN_COMPUTE_AUTO = 0, /* int8 for a folder that attn_quantize made, f32 for others */
    ATTN_COMPUTE_F32 = 1,
    ATTN_COMPUTE_BF16 = 2, /* weights and inputs rounded to bf16, sums in f32 */
    ATTN_COMPUTE_INT8 = 3  /* weights rounded for each output channel, inputs for each row */
} attn_compute;

/* attn_model_load with another type than ATTN_COMPUTE_AUTO. ATTN_ERROR_NUMERIC: weights that
 * int8 cannot hold. ATTN_ERROR_UNSUPPORTED: a network that does not translate. */
ATTN_PUBLIC attn_status attn_model_load_as(const char *directory, attn_compute compute, attn_model **model);

/* Makes the folder `output` of a model whose matrices are int8 with one scale for each output
 * channel (for the embedding: each token): w = scale q, scale = max |w| / 127. Vectors stay f32.
 * ATTN_ERROR_NUMERIC, with the tensor's name, where a matrix would collapse: values that are
 * not finite, or scales that are no numbers above 0. ATTN_ERROR_ARGUMENT where output holds
 * a model already. */
ATTN_PUBLIC attn_status attn_quantize(const char *model, const char *output);
ATTN_PUBLIC void attn_model_free(attn_model *model); /* NULL is allowed */

/* Opens a model from memory: the same files under the same names, "config.json" and so on. The
 * bytes stay the caller's, unchanged until the model is freed; the list itself may go after
 * the call. Errors as above, with "(memory)" for the folder. */
typedef struct attn_file {
    const char *name;
    const void *bytes; /* [size] */
    size_t size;
} attn_file;
ATTN_PUBLIC attn_status attn_model_load_memory(const attn_file *files, size_t count, attn_model **model);

/* Architecture, parameters by part, vocabulary, how it was trained: text for a person. */
ATTN_PUBLIC attn_status attn_model_describe(const attn_model *model, FILE *out);

/* --- translating --------------------------------------------------------------- */

typedef struct attn_translate_options {
    int beam;              /* 4; hypotheses kept, 1 .. 64; 1 is greedy */
    int n_best;            /* 1; translations returned a sentence, 1 .. beam */
    double length_penalty; /* 1.0; a hypothesis of L tokens scores log p / ((offset + L) / (offset + 1))^penalty, */
    double length_offset;  /* 0: log p / L^penalty, as transformers and CTranslate2 do; 5: as Wu et al. (2016),
                            * whose penalty is 0.6 to 0.7; 0 .. 1000 */
    int max_length;        /* longest translation in tokens, </s> counted; 0: the least of what
                            * the model's generation_config.json and positions allow, and
                            * 2 * source tokens + 32 */
    int min_length;        /* 0; shortest one in tokens, </s> counted: </s> is left out before,
                            * and the other probabilities stay what they are; at most max_length
                            * where that is given. The model's limits come first */
    int batch_tokens;      /* 4096; source tokens that a thread translates at once. Changes no
                            * result */

    double coverage_penalty; /* 0; 0 .. 10; beta of Wu et al. (2016): adds beta * sum_i log(min(sum_j p_ij, 1)) to
                              * the score of a finished hypothesis, p the last layer's cross-attention */

    /* Against repeating. As in transformers, the penalty works on logits with beam 1 and in
     * sampling, on log-probabilities in beam search, where it counts in the score. */
    double repetition_penalty; /* 1.0: none; 0.1 .. 10; what was produced before: a negative value
                                * times this, a positive one divided by it (Keskar et al. 2019) */
    int no_repeat_ngram;       /* 0: none; no n-gram of so many tokens comes twice
                                * (Paulus et al. 2018) */

    /* Drawing tokens instead of searching; beam is not looked at, n_best (1 .. 64) is the number of
     * independent samples, best score first. A text's samples depend on it and the seed alone. */
    int sample;            /* 0 */
    double temperature;    /* 1.0; 0.01 .. 100; logits are divided by it */
    int top_k;             /* 0: all; only the k likeliest tokens (Fan et al. 2018) */
    double top_p;          /* 1.0; above 0; only the fewest likeliest tokens whose probabilities
                            * reach it (Holtzman et al. 2020) */
    uint64_t seed;         /* 1 */

    /* NULL, or one for each text: what its translation begins with (NULL or "": anything). Its
     * tokens count in the score, and find room whatever max_length is. */
    const char *const *prefixes;

    /* NULL, or one for each text: phrases that its translation has to hold, with tabs between
     * (NULL or "": none); at most 32, of 256 tokens together. Constrained beam search (Post & Vilar 2018)
     * over the phrases' own tokens; not with sample. A beam above the number of their tokens
     * is good; a phrase that max_length has no room for is told of by warn. */
    const char *const *required;

    /* Words or phrases that no translation may hold as words of their own, however their tokens
     * are cut; upper and lower case differ. */
    const char *const *forbidden;
    size_t forbidden_count; /* 0 */

    /* Where each token looked: kept when nonzero, from one more pass over each translation. */
    int alignment;         /* 0 */
    int alignment_layer;   /* -1: the decoder's last; else 0 .. */
    int alignment_head;    /* -1: the mean of all; else 0 .. */
    int replace_unknown;   /* 0; 1: <unk> becomes the source text that it looked at most (Luong et al.
                            * 2015) */

    /* Told of each input line that was changed (too long: cut); may be NULL. line
     * counts from 1. */
    void (*warn)(void *context, size_t line, const char *sentence);
    void *context;

    /* An ensemble: further models of the same vocabulary (at most 7), whose logits are averaged with the
     * model's at each step, so that a token's probability is the models' geometric mean, normalised. Coverage,
     * alignments and the limits of length are the model's own. attn_explain does without them. */
    const attn_model *const *others; /* NULL */
    int other_count;                 /* 0 */
} attn_translate_options;

ATTN_PUBLIC void attn_translate_options_defaults(attn_translate_options *options);

typedef struct attn_translation attn_translation;

/* The sentences of a text, for models that were trained on sentences: sentence i is text[begin] ..
 * text[end - 1], with white space between it and text[next], where the following one begins. By closing
 * marks and a list of abbreviations. Writes the first `room` and returns their number; sentences may be
 * NULL with room 0. */
typedef struct attn_sentence {
    size_t begin, end, next;
} attn_sentence;
ATTN_PUBLIC size_t attn_split_sentences(const char *text, attn_sentence *sentences, size_t room);

/* Translates `count` texts; an empty or blank one gives an empty one. options may be
 * NULL. Invalid UTF-8 is read as U+FFFD. */
ATTN_PUBLIC attn_status attn_translate(const attn_model *model, const char *const *texts, size_t count,
                                       const attn_translate_options *options, attn_translation **translation);

/* The best translation of text i, or the rank-th best (0 = best). Lives as long as the
 * result. NULL if there is none of that rank. */
ATTN_PUBLIC const char *attn_translation_text(const attn_translation *translation, size_t i);
ATTN_PUBLIC const char *attn_translation_ranked(const attn_translation *translation, size_t i, int rank);

/* Its score as the options define it, and the model's log p (sum over tokens, </s> included). */
ATTN_PUBLIC double attn_translation_score(const attn_translation *translation, size_t i, int rank);
ATTN_PUBLIC double attn_translation_log_probability(const attn_translation *translation, size_t i, int rank);

/* Its tokens, </s> last (0 for an empty text); each as the vocabulary has it ("\u2581" marks a
 * word's start; lives as long as the model), with the model's log-probability. */
ATTN_PUBLIC size_t attn_translation_tokens(const attn_translation *translation, size_t i, int rank);
ATTN_PUBLIC const char *attn_translation_token(const attn_translation *translation, size_t i, int rank, size_t token);
ATTN_PUBLIC double attn_translation_token_log_probability(const attn_translation *translation, size_t i, int rank,
                                                          size_t token);

/* The source's tokens, </s> last. */
ATTN_PUBLIC size_t attn_translation_source_length(const attn_translation *translation, size_t i);
ATTN_PUBLIC const char *attn_translation_source_token(const attn_translation *translation, size_t i, size_t token);

/* Cross-attention [tokens, source tokens] of a translation, rows summing to 1, of the layer and
 * head that the options chose; lives as long as the result. NULL if none was kept. */
ATTN_PUBLIC const float *attn_translation_alignment(const attn_translation *translation, size_t i, int rank);

/* Links from source to target, by what each target token (or word, words nonzero) looked at most
 * beside </s>; words are what stands between spaces. Counted from 0, in the target's order. Writes the first
 * `room` and returns their number; links may be NULL with room 0. */
typedef struct attn_link {
    size_t source, target;
} attn_link;
ATTN_PUBLIC size_t attn_translation_links(const attn_translation *translation, size_t i, int rank, int words,
                                          attn_link *links, size_t room);

/* Totals, for speeds: tokens of all sources and of all best translations. */
ATTN_PUBLIC size_t attn_translation_source_tokens(const attn_translation *translation);
ATTN_PUBLIC size_t attn_translation_target_tokens(const attn_translation *translation);
ATTN_PUBLIC void attn_translation_free(attn_translation *translation); /* NULL is allowed */

/* Translates an HTML document or fragment of `length` bytes. Texts between block tags are split into sentences
 * and translated; inline tags (a, b, span ...), with what stands between words (br, img, comments, code),
 * are put back by the cross-attention, each exactly once and pairs well nested. All other bytes stay: tags with
 * their attributes, script, style, pre and textarea with their content, elements with translate="no" or the
 * class notranslate, white space between blocks, and texts without a letter, or not in UTF-8 (warn is told).
 * Bytes of any kind are taken; lines that warn is told of are the document's. Of the options n_best has to
 * be 1, and prefixes, required, alignment and replace_unknown 0: ATTN_ERROR_ARGUMENT. */
typedef struct attn_html attn_html;
ATTN_PUBLIC attn_status attn_translate_html(const attn_model *model, const char *html, size_t length,
                                            const attn_translate_options *options, attn_html **translated);

/* Its bytes, 0-terminated (it may hold others), and their number; live as long as the result. */
ATTN_PUBLIC const char *attn_html_bytes(const attn_html *html);
ATTN_PUBLIC size_t attn_html_length(const attn_html *html);
ATTN_PUBLIC void attn_html_free(attn_html *html); /* NULL is allowed */

/* How likely the model finds each target as the translation of its source: *scored holds the
 * targets as the tokenizer reads them, with their scores (length_penalty, batch_tokens
 * and alignment of the options count; NULL: the defaults). The bits are those that translating gives where it
 * ends in the same tokens. A blank source or target has the score 0 and no tokens. */
ATTN_PUBLIC attn_status attn_score_pairs(const attn_model *model, const char *const *sources, const char *const *targets,
                                   size_t count, const attn_translate_options *options, attn_translation **scored);

/* --- evaluating ---------------------------------------------------------------- */

typedef enum attn_bleu_tokenizer {
    ATTN_BLEU_13A = 0, /* mteval-v13a, sacreBLEU's default */
    ATTN_BLEU_NONE = 1, /* text that is tokenised already */
    ATTN_BLEU_ZH = 2   /* Chinese characters apart */
} attn_bleu_tokenizer;

typedef struct attn_evaluate_options {
    attn_translate_options translate;
    attn_bleu_tokenizer tokenizer; /* ATTN_BLEU_13A */
    int skip_translation;          /* 0; 1: loss and accuracy alone */
    int skip_invalid;              /* 0; 1: drop pairs that are not UTF-8 */
} attn_evaluate_options;

ATTN_PUBLIC void attn_evaluate_options_defaults(attn_evaluate_options *options);

typedef struct attn_evaluation {
    size_t pairs, source_tokens, target_tokens;
    double loss;           /* mean cross-entropy a target token, nats, no smoothing */
    double token_accuracy; /* share of target tokens that are likeliest, 0 .. 1 */
    double bleu, chrf;     /* 0 .. 100, as sacreBLEU; chrF2 */
    double bleu_precisions[4], brevity_penalty;
    size_t hypothesis_length, reference_length; /* in BLEU's tokens */
} attn_evaluation;

/* Two files of equal line count, or `source` alone with target NULL: a TSV of pairs. */
ATTN_PUBLIC attn_status attn_evaluate(const attn_model *model, const char *source, const char *target,
                                      const attn_evaluate_options *options, attn_evaluation *evaluation);

/* --- classifying --------------------------------------------------------------- */

/* A classifier's labels; 0 for a model of another kind. Names live as long as the model;
 * NULL for an index out of range. */
ATTN_PUBLIC size_t attn_model_labels(const attn_model *model);
ATTN_PUBLIC const char *attn_model_label(const attn_model *model, size_t label);

typedef struct attn_classification attn_classification;

/* Probabilities of every label for `count` texts, and each token's weight. Invalid UTF-8 is
 * read as U+FFFD, a text longer than the model's positions is cut, and an empty one gets
 * the label of [CLS] [SEP]; `warn` (may be NULL) is told, line counting from 1. A text's
 * figures do not depend on its company. ATTN_ERROR_UNSUPPORTED: the model is no classifier. */
ATTN_PUBLIC attn_status attn_classify(const attn_model *model, const char *const *texts, size_t count,
                                      void (*warn)(void *context, size_t line, const char *sentence), void *context,
                                      attn_classification **classification);
ATTN_PUBLIC void attn_classification_free(attn_classification *classification); /* NULL is allowed */

enum { ATTN_MOST_CLASSIFIERS = 64 };

/* Several classifiers together: each label's probability is the mean of theirs. Each has its own
 * tokenizer; their labels are the same in any order, else ATTN_ERROR_ARGUMENT. A token's share is the
 * mean too where all cut the text into the same words (one that a vocabulary lacks counts as the same); a
 * text that they cut differently has no tokens. */
ATTN_PUBLIC attn_status attn_classify_ensemble(const attn_model *const *models, int model_count, const char *const *texts,
                                               size_t count,
                                               void (*warn)(void *context, size_t line, const char *sentence), void *context,
                                               attn_classification **classification);

/* The likeliest label of text i, the first of equals; and any label's probability. */
ATTN_PUBLIC size_t attn_classification_best(const attn_classification *classification, size_t i);
ATTN_PUBLIC double attn_classification_probability(const attn_classification *classification, size_t i, size_t label);

/* The tokens of text i, [CLS] and [SEP] included, and what share of the pooling's attention
 * each had (with the pooling of [CLS]: of what [CLS] attends to in the last layer, the mean
 * of its heads). The shares sum to 1. They say where the model looked, which is not yet why
 * it decided so (Jain & Wallace 2019): attn_attribute sets gradients beside them. */
ATTN_PUBLIC size_t attn_classification_tokens(const attn_classification *classification, size_t i);
ATTN_PUBLIC const char *attn_classification_token(const attn_classification *classification, size_t i, size_t token);
ATTN_PUBLIC double attn_classification_weight(const attn_classification *classification, size_t i, size_t token);

/* What a model is given. */
typedef enum attn_input {
    ATTN_INPUT_TEXT = 0,
    ATTN_INPUT_PICTURE = 1, /* attn train --task image */
    ATTN_INPUT_SOUND = 2    /* attn train --task speech */
} attn_input;

ATTN_PUBLIC attn_input attn_model_input(const attn_model *model);

/* Told of item `number`, from 1. */
typedef void (*attn_warning)(void *context, size_t number, const char *sentence);

/* Probabilities of every label for pictures (PNG, JPEG of any size: they are resized) or
 * sounds (WAV, FLAC, OGG at any rate, mono or more; `warn`, which may be NULL, is told where one
 * is longer than the model reads and was cut). Such a classification has no tokens. A file that
 * cannot be read: ATTN_ERROR_FILE or ATTN_ERROR_FORMAT, with its path.
 * ATTN_ERROR_UNSUPPORTED: a model of texts. */
ATTN_PUBLIC attn_status attn_classify_files(const attn_model *model, const char *const *paths, size_t count,
                                            attn_warning warn, void *context, attn_classification **classification);

typedef struct attn_label_figures {
    const char *label; /* lives as long as the model */
    size_t there, given, right; /* texts of this label; called so; both */
    double precision, recall, f1; /* NAN where nothing can be divided by */
} attn_label_figures;

typedef struct attn_class_evaluation {
    size_t texts, labels;
    double loss;               /* mean cross-entropy a text, nats */
    double accuracy, macro_f1; /* macro: the mean over labels that are there or given */
    attn_label_figures *figures; /* [labels] */
    size_t *confusion;           /* [labels, labels]: texts of label `row` called `column` */
} attn_class_evaluation;

/* On a TSV of label and text. A label that the model lacks is refused with its name. */
ATTN_PUBLIC attn_status attn_evaluate_classes(const attn_model *model, const char *corpus, int skip_invalid,
                                              attn_class_evaluation **evaluation);
/* Of several classifiers together, as attn_classify_ensemble. */
ATTN_PUBLIC attn_status attn_evaluate_classes_ensemble(const attn_model *const *models, int model_count, const char *corpus,
                                                       int skip_invalid, attn_class_evaluation **evaluation);
/* On pictures (an IDX file with `labels`, its IDX file of labels; or with labels NULL a folder
 * with a folder of PNG and JPEG files for each class) or sounds (a TSV of file and label). */
ATTN_PUBLIC attn_status attn_evaluate_files(const attn_model *model, const char *corpus, const char *labels,
                                            attn_class_evaluation **evaluation);
ATTN_PUBLIC void attn_class_evaluation_free(attn_class_evaluation *evaluation); /* NULL is allowed */

/* --- generating ---------------------------------------------------------------- */

/* 1 for a language model: attn_generate and attn_evaluate_text take it. */
ATTN_PUBLIC int attn_model_generates(const attn_model *model);

typedef struct attn_generate_options {
    int max_tokens;     /* 256; tokens produced at most, 1 .. 2^24 */
    double temperature; /* 1.0; 0.01 .. 100: logits are divided by it; 0, its limit: the likeliest token
                         * each time, the first of equals, and nothing is drawn */
    int top_k;          /* 0: all; only the k likeliest tokens (Fan et al. 2018) */
    double top_p;       /* 1.0; above 0; only the fewest likeliest tokens whose probabilities reach it
                         * (Holtzman et al. 2020); top_k comes first */
    uint64_t seed;      /* 1; with the prompt it says what is drawn */
    int sample;         /* 0; 0 .. 2^24: which of the seed's independent texts */

    /* Told of the text as it comes, in pieces of whole characters, not 0-terminated; nonzero
     * ends it. May be NULL. */
    int (*text)(void *context, const char *piece, size_t length);
    void (*warn)(void *context, const char *sentence); /* told where the prompt was changed; may be NULL */
    void *context;
} attn_generate_options;

ATTN_PUBLIC void attn_generate_options_defaults(attn_generate_options *options);

typedef struct attn_generation attn_generation;

/* Goes on with a prompt until the model ends the text (its end token) or max_tokens are there;
 * options may be NULL. Of a prompt longer than the model's positions the end counts; when the
 * positions are full, the older half of what was read is forgotten and the rest is read anew
 * from position 0. An empty prompt is begun with the model's start token, or the end of a line.
 * Invalid UTF-8 is read as U+FFFD, characters that the vocabulary lacks as unknown; warn is told
 * of each. Padding and the unknown token are never produced. ATTN_ERROR_ARGUMENT: an option out
 * of its range; ATTN_ERROR_UNSUPPORTED: no language model; ATTN_ERROR_NUMERIC: logits that are
 * not finite. */
ATTN_PUBLIC attn_status attn_generate(const attn_model *model, const char *prompt,
                                      const attn_generate_options *options, attn_generation **generation);
ATTN_PUBLIC void attn_generation_free(attn_generation *generation); /* NULL is allowed */

/* What was produced, without the prompt; lives as long as the result. */
ATTN_PUBLIC const char *attn_generation_text(const attn_generation *generation);
/* 1: the model ended the text. */
ATTN_PUBLIC int attn_generation_ended(const attn_generation *generation);
/* Its tokens, the end token included, as the vocabulary has them (they live as long as the model),
 * with the model's log-probability of each before temperature, top_k and top_p. */
ATTN_PUBLIC size_t attn_generation_tokens(const attn_generation *generation);
ATTN_PUBLIC const char *attn_generation_token(const attn_generation *generation, size_t token);
ATTN_PUBLIC double attn_generation_log_probability(const attn_generation *generation, size_t token);

typedef struct attn_text_evaluation {
    size_t bytes, tokens;  /* tokens that were foretold: all but the first */
    double loss;           /* mean cross-entropy a token, nats; perplexity is exp(loss) */
    double token_accuracy; /* share of tokens that are likeliest, 0 .. 1 */
    double bits_per_byte;  /* all cross-entropy, in bits, over the text's bytes */
} attn_text_evaluation;

/* How well a language model foretells a plain text (UTF-8), cut into blocks of at most `block`
 * tokens, each foretold from those before it in its block; 0: of the model's positions. */
ATTN_PUBLIC attn_status attn_evaluate_text(const attn_model *model, const char *path, int block,
                                           attn_text_evaluation *evaluation);

/* --- speech --------------------------------------------------------------------- */

/* 1: a model of attn train --task speech --text, which writes down what it hears. */
ATTN_PUBLIC int attn_model_transcribes(const attn_model *model);

/* Writes down what is said in sounds (WAV, FLAC, OGG at any rate). All of the options' search;
 * alignment and replace_unknown are refused. Read the result as a translation's. A sound longer
 * than the model reads is cut, and warn told. */
ATTN_PUBLIC attn_status attn_transcribe(const attn_model *model, const char *const *paths, size_t count,
                                        const attn_translate_options *options, attn_translation **transcription);

typedef struct attn_speech_evaluation {
    size_t sounds, words, word_errors; /* errors: words inserted, left out or replaced */
    double word_error_rate;            /* word_errors / words */
    double exact;                      /* share of sounds without an error */
} attn_speech_evaluation;

/* On a TSV of sound file and text; a file that is not absolute is looked for beside it. */
ATTN_PUBLIC attn_status attn_evaluate_speech(const attn_model *model, const char *path, const attn_translate_options *options,
                                             attn_speech_evaluation *evaluation);

/* --- explaining ---------------------------------------------------------------- */

typedef struct attn_explanation attn_explanation;

/* Translates one text (or, with target not NULL, reads that translation) and keeps the
 * weights of every layer and head: encoder self-, decoder self- and cross-attention. */
ATTN_PUBLIC attn_status attn_explain(const attn_model *model, const char *text, const char *target,
                                     const attn_translate_options *options, attn_explanation **explanation);
ATTN_PUBLIC void attn_explanation_free(attn_explanation *explanation); /* NULL is allowed */

/* The same of a sound: its source tokens are places in time, named by the second at which they
 * begin. */
ATTN_PUBLIC attn_status attn_explain_speech(const attn_model *model, const char *path, const char *target,
                                            const attn_translate_options *options, attn_explanation **explanation);

typedef enum attn_attention_kind {
    ATTN_ENCODER_SELF = 0,
    ATTN_DECODER_SELF = 1,
    ATTN_DECODER_CROSS = 2
} attn_attention_kind;

/* Weights [heads, queries, keys] of one layer: rows sum to 1. Tokens: attn_explanation_
 * token with source nonzero for the source's. The queries of decoder attention are the
 * steps that produced target tokens 0, 1, ..; its self-attention keys are the inputs of
 * these steps (a start token, then tokens 0, 1, ..). */
ATTN_PUBLIC attn_status attn_explanation_weights(const attn_explanation *explanation, attn_attention_kind kind,
                                                 int layer, const float **weights, int64_t *heads,
                                                 int64_t *queries, int64_t *keys);
ATTN_PUBLIC int attn_explanation_layers(const attn_explanation *explanation, attn_attention_kind kind);
ATTN_PUBLIC size_t attn_explanation_tokens(const attn_explanation *explanation, int source);
ATTN_PUBLIC const char *attn_explanation_token(const attn_explanation *explanation, int source, size_t i);
ATTN_PUBLIC const char *attn_explanation_text(const attn_explanation *explanation); /* the translation */

/* Cross-attention (mean over the heads of the last layer, or layer and head >= 0) as a
 * table of shaded cells; colour: ANSI sequences. Wide characters keep their columns. */
ATTN_PUBLIC attn_status attn_explanation_write_terminal(const attn_explanation *explanation, int layer, int head,
                                                        int colour, FILE *out);
/* One self-contained page with every layer and head. */
ATTN_PUBLIC attn_status attn_explanation_write_html(const attn_explanation *explanation, const char *path);
/* Cross-attention as a picture: a row of maps for each layer, a column for each head, in each map a
 * row for each produced token; of speech with the spectrogram above, on the same axis of time. */
ATTN_PUBLIC attn_status attn_explanation_write_png(const attn_explanation *explanation, const char *path);
/* {"source": [...], "target": [...], "translation": "...", "encoder_self":
 * [layer][head][query][key], "decoder_self": ..., "cross": ...} */
ATTN_PUBLIC attn_status attn_explanation_write_json(const attn_explanation *explanation, FILE *out);

/* Where a model of pictures or sounds looked, and what it answered to. */
typedef struct attn_sight attn_sight;

/* Reads a file and keeps, for the likeliest label (or `label`, one of the model's): what the
 * class token of a picture attended to in each layer and head, or the frames of a sound, each
 * as the pooling weighs it; the same rolled out over all layers (Abnar & Zuidema 2020, 3.1);
 * and the gradient of the label's log-probability times the input. A sound of more than
 * 4,096 places (a place is four frames): ATTN_ERROR_UNSUPPORTED. The model must outlive it. */
ATTN_PUBLIC attn_status attn_explain_file(const attn_model *model, const char *path, const char *label, attn_sight **sight);
ATTN_PUBLIC void attn_sight_free(attn_sight *sight); /* NULL is allowed */
ATTN_PUBLIC const char *attn_sight_label(const attn_sight *sight);
ATTN_PUBLIC double attn_sight_probability(const attn_sight *sight);

/* Places lie in a grid [rows, columns]: a picture's patches; a sound's quarters of frames in one
 * row. Attention of layer and head: [rows, columns], NULL out of range; rollout likewise.
 * Gradient times input, summed over the numbers of a place: [*count], of a sound one for each
 * frame. */
ATTN_PUBLIC void attn_sight_size(const attn_sight *sight, int *layers, int *heads, int64_t *rows, int64_t *columns);
ATTN_PUBLIC const float *attn_sight_attention(const attn_sight *sight, int layer, int head);
ATTN_PUBLIC const float *attn_sight_rollout(const attn_sight *sight);
ATTN_PUBLIC const float *attn_sight_gradient(const attn_sight *sight, int64_t *count);

/* A sheet of maps over the picture or the spectrogram: the first row the input itself, the
 * rollout, gradient times input (red for the label, blue against it), and a sound's pooling;
 * below a row for each layer, a column for each head. Each is scaled to its largest value. */
ATTN_PUBLIC attn_status attn_sight_write_png(const attn_sight *sight, const char *path);
/* The same as one self-contained page. */
ATTN_PUBLIC attn_status attn_sight_write_html(const attn_sight *sight, const char *path);
ATTN_PUBLIC attn_status attn_sight_write_json(const attn_sight *sight, FILE *out);
/* The rollout (layer -1) or a head's map as shaded cells; colour: ANSI sequences. */
ATTN_PUBLIC attn_status attn_sight_write_terminal(const attn_sight *sight, int layer, int head, int colour, FILE *out);

typedef struct attn_attribution attn_attribution;

/* What a model's answer rests on in a text, in three ways side by side, since they differ: where
 * attention went is not yet why the answer came out (Jain & Wallace 2019).
 *   attention  weights of each layer and head between the text's tokens, and a classifier's pooling;
 *   rollout    attention through all layers, residuals counting alike (Abnar & Zuidema 2020): shares of
 *              the text's tokens, summing to 1. Of a translation's token: through the decoder's
 *              self- and cross-attention and the encoder, without what came from the translation itself;
 *   gradient   d log p(answer) / d x . x, x the token's embedded row (Denil et al. 2014): signed.
 * The answers: a classifier's label, a language model's next token, or every token of a
 * translation. `answer` names a label or gives the translation; NULL: the model's own (of a language
 * model always). ATTN_ERROR_UNSUPPORTED for models of pictures, sounds and hidden words. */
ATTN_PUBLIC attn_status attn_attribute(const attn_model *model, const char *text, const char *answer,
                                       const attn_translate_options *options, attn_attribution **attribution);
ATTN_PUBLIC void attn_attribution_free(attn_attribution *attribution); /* NULL is allowed */

ATTN_PUBLIC size_t attn_attribution_tokens(const attn_attribution *attribution);
ATTN_PUBLIC const char *attn_attribution_token(const attn_attribution *attribution, size_t token);
ATTN_PUBLIC size_t attn_attribution_answers(const attn_attribution *attribution);
ATTN_PUBLIC const char *attn_attribution_answer(const attn_attribution *attribution, size_t answer);
ATTN_PUBLIC double attn_attribution_log_probability(const attn_attribution *attribution, size_t answer);

/* [answers, tokens]; they live as long as the result. */
ATTN_PUBLIC const float *attn_attribution_rollout(const attn_attribution *attribution);
ATTN_PUBLIC const float *attn_attribution_gradient(const attn_attribution *attribution);
/* [tokens]; NULL where there is no learned pooling. */
ATTN_PUBLIC const float *attn_attribution_pooling(const attn_attribution *attribution);
/* [heads, tokens, tokens] of a layer between the text's tokens; NULL out of range. */
ATTN_PUBLIC int attn_attribution_layers(const attn_attribution *attribution);
ATTN_PUBLIC const float *attn_attribution_attention(const attn_attribution *attribution, int layer, int *heads);

/* A table for each answer, a line a token: how much attention the token got (mean over the queries of
 * layer and head, -1: the last, the mean of all), pooling, rollout, gradient; or JSON. */
ATTN_PUBLIC attn_status attn_attribution_write_terminal(const attn_attribution *attribution, int layer, int head, FILE *out);
ATTN_PUBLIC attn_status attn_attribution_write_json(const attn_attribution *attribution, FILE *out);
/* One self-contained page: every answer's numbers for each token, every layer and head. */
ATTN_PUBLIC attn_status attn_attribution_write_html(const attn_attribution *attribution, const char *path);

/* --- training ------------------------------------------------------------------ */

/* The learning rate of update u >= 1: it rises linearly to the peak over W = `warmup`
 * updates, and then, E being the run's last update, */
typedef enum attn_schedule {
    ATTN_SCHEDULE_INVERSE_SQUARE_ROOT = 0, /* peak sqrt(W / u) (Vaswani et al. 2017, 5.3) */
    ATTN_SCHEDULE_CONSTANT = 1,            /* peak */
    ATTN_SCHEDULE_COSINE = 2,  /* peak (1 + cos(pi s)) / 2, s = (u - W) / (E + 1 - W)
                                * (Loshchilov & Hutter 2017, without restarts) */
    ATTN_SCHEDULE_LINEAR = 3   /* peak (1 - s) */
} attn_schedule;

typedef enum attn_optimizer {
    ATTN_OPTIMIZER_ADAM = 0,  /* Kingma & Ba 2015 */
    ATTN_OPTIMIZER_ADAMW = 1, /* Loshchilov & Hutter 2019: matrices also lose rate * weight_decay
                               * of themselves an update; norms and biases do not */
    ATTN_OPTIMIZER_SGD = 2    /* v = momentum v + g, w -= rate v */
} attn_optimizer;

/* What says which validation was the best, for model.safetensors, patience and keep_best. */
typedef enum attn_watch {
    ATTN_WATCH_LOSS = 0,     /* lowest */
    ATTN_WATCH_ACCURACY = 1, /* highest, as the two below */
    ATTN_WATCH_BLEU = 2,
    ATTN_WATCH_CHRF = 3
} attn_watch;

/* What a model is trained for. */
typedef enum attn_task {
    ATTN_TASK_TRANSLATE = 0, /* from pairs of sentences: any sequence to any other */
    ATTN_TASK_CLASSIFY = 1,  /* from a TSV of label and text: the label (attn_classify) */
    ATTN_TASK_MASKED = 2,    /* from plain text, a line each: guesses hidden words (Devlin et al.
                              * 2019, 3.1); a classifier may begin with it (init) */
    ATTN_TASK_IMAGE = 3,     /* from labelled pictures: their class (attn_classify_files) */
    ATTN_TASK_SPEECH = 4,    /* from sounds: their class (attn_classify_files), or with signal.text what
                              * is said in them (attn_transcribe) */
    ATTN_TASK_LANGUAGE = 5,  /* from one plain text: each token from those before it (attn_generate) */
    ATTN_TASK_LAST = ATTN_TASK_LANGUAGE
} attn_task;

typedef enum attn_architecture {
    ATTN_ARCHITECTURE_TRANSFORMER = 0,
    ATTN_ARCHITECTURE_RECURRENT = 1 /* a bidirectional encoder, and a decoder that attends to it
                                     * and is fed its last result (Bahdanau et al. 2015; Luong
                                     * et al. 2015, 3.3) */
} attn_architecture;

/* The family of a language model. */
typedef enum attn_family {
    ATTN_FAMILY_GPT2 = 0, /* learned positions, LayerNorm, biases (Radford et al. 2019) */
    ATTN_FAMILY_LLAMA = 1 /* rotary positions, RMSNorm, SwiGLU, grouped heads (Touvron et al. 2023) */
} attn_family;

typedef enum attn_cell {
    ATTN_CELL_GRU = 0, /* Cho et al. 2014 */
    ATTN_CELL_LSTM = 1 /* Hochreiter & Schmidhuber 1997 */
} attn_cell;

/* How a recurrent decoder's state h scores a source token's m. */
typedef enum attn_recurrent_score {
    ATTN_RECURRENT_SCORE_ADDITIVE = 0, /* v tanh(W h + U m); Bahdanau et al. 2015 */
    ATTN_RECURRENT_SCORE_DOT = 1,      /* h m; Luong et al. 2015 */
    ATTN_RECURRENT_SCORE_GENERAL = 2   /* h W m; the same */
} attn_recurrent_score;

typedef enum attn_tokenizer_kind {
    ATTN_TOKENIZER_SENTENCEPIECE = 0,
    ATTN_TOKENIZER_WHITESPACE = 1,
    ATTN_TOKENIZER_WORDPIECE = 2, /* BERT's: for classifying and guessing words */
    ATTN_TOKENIZER_WORDS = 3,     /* BERT's rules, but words that the vocabulary lacks are unknown */
    ATTN_TOKENIZER_CHARACTERS = 4 /* a language model's: also the ends of lines */
} attn_tokenizer_kind;

/* How a text becomes one vector, of which its class is read. */
typedef enum attn_pooling {
    ATTN_POOLING_ATTENTION = 0, /* a learned attention over its tokens (Yang et al. 2016, 2.2) */
    ATTN_POOLING_CLS = 1        /* the row of [CLS], as BERT has it: opens in transformers */
} attn_pooling;

typedef enum attn_precision {
    ATTN_PRECISION_AUTO = 0, /* bf16 where the processor multiplies it, else f32 */
    ATTN_PRECISION_F32 = 1,
    ATTN_PRECISION_BF16 = 2
} attn_precision;

/* What a training run says while it goes. */
typedef struct attn_progress {
    int64_t update, updates_planned; /* planned: an estimate where the end is by time */
    int64_t epoch;
    double loss;                     /* mean since the last report, nats a token, smoothed target */
    double token_accuracy;           /* the same tokens, with dropout: share likeliest, 0 .. 1 */
    double learning_rate, gradient_norm;
    double target_tokens_per_second; /* since the last report */
    double share_of_roof;            /* of the products' peak of these threads, 0 .. 1 */
    double seconds, seconds_left;
    int64_t skipped;       /* updates left out so far: their gradient was not finite */
    int64_t memory;        /* largest resident size of this process so far, bytes */
} attn_progress;

/* A figure under its name, "bits_per_byte". */
typedef struct attn_metric {
    const char *name;
    double value;
} attn_metric;

typedef struct attn_validation {
    const char *split;     /* "validation", "test", "train" */
    int64_t update, epoch;
    double loss, token_accuracy;
    double bleu, chrf;     /* < 0: not computed */
    attn_metric metrics[4]; /* what else the task measures */
    int metric_count;
    int best;              /* 1: the best so far, saved */
} attn_validation;

/* Pictures (ATTN_TASK_IMAGE) and sounds (ATTN_TASK_SPEECH). */
typedef struct attn_signal_options {
    /* pictures: IDX files of images and of labels, in place of corpus; plain or gzip */
    const char *images, *labels;
    const char *valid_images, *valid_labels, *test_images, *test_labels;
    int image_size;            /* 0: the IDX file's larger side, 32 for a folder of files; else pixels
                                * a side, 1 .. 4096; pictures of another size are resized */
    int patch_size;            /* 4; pixels a side, divides image_size */
    int colour;                /* 0: pictures become grey; 1: red, green, blue (files alone) */
    double shift, rotation;    /* 0; training pictures are shifted by up to so many pixels each way, and
                                * turned by up to so many degrees */
    int sample_rate;           /* 16000; Hz, sounds of another rate are converted; 1000 .. 192000 */
    int mel_bins;              /* 40; 1 .. 256; frames are of 25 ms, one each 10 ms */
    int max_frames;            /* 1000; longer sounds are cut, 4 .. 2^20 */
    int text;                  /* 0: a sound's label is learned; 1: speech, whose text is written down
                                * token by token (attn_transcribe) */
    int mask_frames, mask_bins; /* 0; training sounds have up to so many frames, or bins, hidden in a
                                 * row, twice each (Park et al. 2019) */
} attn_signal_options;

typedef struct attn_train_options {
    attn_task task;                 /* ATTN_TASK_TRANSLATE */
    attn_architecture architecture; /* ATTN_ARCHITECTURE_TRANSFORMER */

    /* data: source and target files of equal line count, or corpus, a TSV of pairs; for a
     * language model corpus alone, a plain text */
    const char *source, *target, *corpus;
    const char *valid_source, *valid_target, *valid_corpus; /* NULL: valid_share is held out */
    const char *test_source, *test_target, *test_corpus;    /* NULL: none */
    double valid_share;        /* 0.01 (at most 1,000 pairs); used where no validation is given;
                                * 0: none */
    int skip_invalid;          /* 0 */
    int max_tokens;            /* 256; longest side of a pair, in tokens; longer pairs are left out */

    const char *model;         /* the folder to be made */
    int resume;                /* 0; 1: go on from the folder's training state, or begin
                                * where it holds neither a state nor weights */
    const char *init;          /* NULL; a model folder whose weights, vocabulary and shape the
                                * run begins with (fine-tuning): the options of tokenizer and
                                * shape, other than dropout, are not looked at then */
    const char *freeze;        /* NULL; parts that keep their weights, with commas between:
                                * "embeddings" (with the output's bias), "encoder", "decoder" */
    const char *recipe;        /* NULL; text kept as recipe.json in the folder */

    attn_signal_options signal; /* of pictures and sounds */

    attn_tokenizer_kind tokenizer; /* ATTN_TOKENIZER_SENTENCEPIECE */
    int vocabulary;            /* 8000 */
    attn_pooling pooling;      /* ATTN_POOLING_ATTENTION; of a classifier */
    int convolution;           /* 0 (none) or odd; classifying and guessing: words that a convolution before the layers sees */
    int letters;               /* 0 (none), at most 2^22; classifying and guessing, tokenizer words: numbers that words' 3 to
                                * 5 letters in a row are hashed to; a word's vector is its own plus the mean of theirs, so
                                * that words outside the vocabulary have one too (Bojanowski et al. 2017) */
    double r_drop;             /* 0, at most 1000; classifying: two readings of a text ought to agree (Wu et al. 2021) */
    double word_dropout;       /* 0.1; classifying: the chance that a token is hidden in training */
    double mask_share;         /* 0.15; guessing: the share of tokens that are to be guessed */
    int join_continuation;     /* 0; 1: whitespace text in "wo@@ rd" form: joined on output */

    int layers;                /* 4; encoder and decoder each */
    int width;                 /* 256 */
    int heads;                 /* 4 */
    int feed_forward;          /* 1024 */
    attn_family family;        /* ATTN_FAMILY_GPT2; of a language model, with the next two */
    int kv_heads;              /* 0: as many as heads; else divides them (Llama) */
    int block;                 /* 128; tokens that are trained on together, at most max_positions */
    const char *attention;     /* "full"; of a language model and of a classifier or model of hidden
                                * words also "linear" (Katharopoulos et al. 2020; attention_dropout
                                * must be 0) and "window:N": a token of a language model sees the last
                                * N tokens, itself included; one of the others N / 2 to each side */
    double dropout;            /* 0.1 */
    double attention_dropout;  /* 0 */
    const char *activation;    /* "relu"; swish, gelu */
    int max_positions;         /* 512 */
    /* of a recurrent network, in place of heads, feed_forward, attention_dropout (which must
     * be 0) and activation */
    attn_cell cell;             /* ATTN_CELL_GRU */
    attn_recurrent_score score; /* ATTN_RECURRENT_SCORE_ADDITIVE */
    int hidden;                 /* 256; units of a decoder's layer, even: the encoder has half of
                                 * them in each direction; layers is at most 16 */

    double rate;               /* 0.002; peak learning rate */
    attn_schedule schedule;    /* cosine and linear need max_updates or max_epochs (whose
                                * updates are counted beforehand) */
    int warmup;                /* 400 updates */
    attn_optimizer optimizer;
    double beta1, beta2, epsilon; /* 0.9, 0.98, 1e-9: Adam's */
    double momentum;           /* 0.9: SGD's */
    double weight_decay;       /* 0.01: AdamW's */
    double label_smoothing;    /* 0.1 */
    double clip;               /* 1.0; the gradient's norm; 0: none */
    int batch_tokens;          /* 4096 target tokens a batch */
    int accumulate;            /* 1; batches an update: its gradient is that of one batch of
                                * all their tokens. The last update of an epoch may have fewer */
    double average;            /* 0.995; decay of the moving average of weights that is
                                * validated and published; 0: the weights themselves */

    int64_t max_updates;       /* 0: none; the run ends at the first limit reached */
    double max_epochs;         /* 0: none */
    double max_minutes;        /* 0: none; counted over all resumed parts */
    int64_t validate_every;    /* 0: after each epoch; else updates. Also at the end */
    int valid_bleu_lines;      /* 200; greedy BLEU on the first so many pairs; 0: none */
    attn_watch watch;          /* which validation is the best one */
    int patience;              /* 0: none; ends after so many validations without a new best */
    int64_t save_every;        /* 0: the state is saved at validations; else every N updates too */
    int keep_last, keep_best;  /* 0; model folders of the last N and the best N validations,
                                * under MODEL/checkpoints/update-U */
    int profile;               /* 0; 1: where the updates' time went is logged at the end, by operation */
    int average_kept;          /* 0; 1: at the end, the mean of the kept last ones goes to
                                * MODEL/averaged */
    int64_t journal_every;     /* 20; updates a line in MODEL/log.jsonl */

    uint64_t seed;             /* 1 */
    attn_precision precision;

    /* Called from the training thread; may be NULL. */
    void (*progress)(void *context, const attn_progress *progress);
    void (*validated)(void *context, const attn_validation *validation);
    void (*log)(void *context, const char *line);
    /* Looked at between updates: nonzero saves and ends the run (ATTN_ERROR_INTERRUPTED). */
    int (*stop)(void *context);
    void *context;
} attn_train_options;

ATTN_PUBLIC void attn_train_options_defaults(attn_train_options *options);

/* Trains a model into a folder, which then holds the best validated model; last/, the
 * newest one; training.safetensors, from which a run goes on with the same bits however it
 * ended; checkpoints/ and averaged/ on request; log.jsonl, one JSON object a line for every
 * journal_every updates and every validation; events/ for TensorBoard; recipe.json.
 * An update whose gradient is not finite is left out and counted; after three in a row the
 * run ends with ATTN_ERROR_NUMERIC and the name of a tensor. ATTN_ERROR_INTERRUPTED:
 * stopped on request, everything saved. ATTN_ERROR_FILE: what was saved before stays. */
ATTN_PUBLIC attn_status attn_train(const attn_train_options *options);

/* Makes the folder `output` of a model whose weights are the mean of those of `count`
 * model folders of one shape and vocabulary, summed in double in the order given.
 * ATTN_ERROR_ARGUMENT where they differ or output holds a model already. */
ATTN_PUBLIC attn_status attn_average(const char *const *models, size_t count, const char *output);

/* --- pruning ----------------------------------------------------------------------------- */

/* One attention head of a translator, and how much it matters (Michel, Levy & Neubig 2019, 4.1). */
typedef struct attn_head {
    attn_attention_kind kind;
    int layer, head;   /* from 0, among those that the model has */
    double gradient;   /* mean over the pairs of |dL / dxi|: L = -log p(target | source), xi = 1 a factor on
                        * the head's output; nats */
    double importance; /* gradient divided by the l2 norm of those in its layer's attention, 0 .. 1 */
    int removed;       /* 1: not in the model that was made */
} attn_head;

/* Measures every head of a Transformer that translates on pairs (two files of equal line count, or
 * `source` alone with target NULL: a TSV), and makes the folder `output` of the same model without
 * the `heads` least important ones: their rows of the query, key and value projections and their columns of the
 * output projection are not in the file any more, and config.json's "attn_heads" says how many each layer
 * has. Every attention keeps its most important head. output NULL: nothing is made, `removed` says what
 * would go. *list [*count]: the encoder's self-attention layer by layer, the decoder's, the
 * cross-attention; release with attn_heads_free. Pairs longer than the model's positions are left out.
 * ATTN_ERROR_ARGUMENT: more heads than can go, or output holds a model already.
 * ATTN_ERROR_UNSUPPORTED: a model of another kind, or with int8 weights. */
ATTN_PUBLIC attn_status attn_prune_heads(const char *model, const char *source, const char *target, int heads,
                                         const char *output, attn_head **list, size_t *count);
ATTN_PUBLIC void attn_heads_free(attn_head *list); /* NULL is allowed */

typedef struct attn_sparsity {
    size_t weights;      /* in the matrices that are pruned */
    size_t zeros_before; /* of these, in the model given */
    size_t zeros;        /* and in the one that was made */
    double threshold;    /* the largest magnitude that was set to 0 */
} attn_sparsity;

/* Makes the folder `output` of the same model (of any kind) with round(sparsity * weights) of its layers'
 * weights 0: those of least magnitude in all matrices together (Han et al. 2015; "class-blind" in See,
 * Luong & Manning 2016). Embeddings, output layers on a vocabulary, biases and normalisation stay.
 * sparsity: [0, 1). The file's size stays. ATTN_ERROR_ARGUMENT: sparsity is out of range, or
 * output holds a model already; ATTN_ERROR_UNSUPPORTED: int8 weights. */
ATTN_PUBLIC attn_status attn_prune_weights(const char *model, double sparsity, const char *output, attn_sparsity *result);

/* --- measuring -------------------------------------------------------------------------- */

enum { ATTN_BENCH_F32 = 1, ATTN_BENCH_BF16 = 2, ATTN_BENCH_INT8 = 4 };

typedef struct attn_bench_options {
    double seconds;            /* for each figure; 0.3 */
    int types;                 /* ATTN_BENCH_F32 | ...; all. int8: decoding alone */
    int json;                  /* a JSON object a line instead of a table */
    const char *const *cases;  /* names, [case_count]; NULL and 0: the table's */
    int64_t case_count;
} attn_bench_options;

ATTN_PUBLIC void attn_bench_options_defaults(attn_bench_options *options);

/* The attention operator's speed, case by case, on the calling thread's OpenMP threads: the share of
 * what a 2048-cubed matrix product of the same type reaches in the same run, forward and backward, for
 * the visible scores alone; for decoding the share of the bandwidth of plain reading; and the
 * workspace. ATTN_ERROR_ARGUMENT: an unknown case; ATTN_ERROR_MEMORY. */
ATTN_PUBLIC attn_status attn_bench_attention(const attn_bench_options *options, FILE *out);

/* Runs cases in every kernel that the processor has, and compares output, log-sum-exp, weights,
 * column sums and all gradients with the f64 reference: an error may be at most twice that of the
 * same precision computed plainly, three times for gradients. Bad ones are printed; then
 * ATTN_ERROR_INTERNAL. Either named cases (NULL and 0: all small ones) on numbers from the seed ... */
ATTN_PUBLIC attn_status attn_check_attention(const char *const *cases, int64_t case_count, uint64_t seed,
                                             FILE *out);
/* ... or `count` cases of any kind, made from the seeds seed, seed + 1, ... */
ATTN_PUBLIC attn_status attn_check_attention_random(int64_t count, uint64_t seed, FILE *out);

#ifdef __cplusplus
}
#endif
#endif
