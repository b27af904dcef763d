/* What a run may be told beyond its sizes: schedules, optimizers, accumulation, patience,
 * kept checkpoints, beginning from another model, frozen parts. Each gives the same bits
 * and the same journal when the run was stopped and resumed. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>

#include "test.h"

#include "model/safetensors.h"
#include "train/small_run.h"

static int updates_left; /* until stop_when_due says so; < 0: never */

static int stop_when_due(void *context) {
    (void)context;
    return updates_left >= 0 && --updates_left < 0;
}

static attn_train_options course_run(const char *model) {
    attn_train_options o = small_run(model);
    o.max_updates = 13;
    o.warmup = 4;
    o.width = 16;
    o.feed_forward = 24;
    o.validate_every = 3;
    o.journal_every = 2;
    o.valid_bleu_lines = 5;
    o.stop = stop_when_due;
    return o;
}

/* The journal without what a clock or the memory decides; to be freed. */
static char *journal_of(const char *model) {
    char path[256], *bytes, *all;
    size_t size, used = 0;
    (void)snprintf(path, sizeof path, "%s/%s/log.jsonl", work, model);
    assert_int_equal(file_read(path, &bytes, &size), ATTN_OK);
    all = memory_allocate(size + 1, 2);
    for (char *line = strtok(bytes, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        (void)json_object_del(object, "seconds");
        (void)json_object_del(object, "tokens_per_second");
        (void)json_object_del(object, "memory");
        char *text = json_dumps(object, JSON_COMPACT);
        used += (size_t)snprintf(all + used, 2 * size + 2 - used, "%s\n", text);
        free(text);
        json_decref(object);
    }
    memory_free(bytes);
    return all;
}

static void assert_same_journal(const char *a, const char *b) {
    char *one = journal_of(a), *other = journal_of(b);
    assert_string_equal(one, other);
    memory_free(one);
    memory_free(other);
}

static size_t count_in(const char *text, const char *part) {
    size_t count = 0;
    for (; (text = strstr(text, part)); text++) {
        count++;
    }
    return count;
}

/* --- variants of a run --- */

static void cosine(attn_train_options *o) {
    o->schedule = ATTN_SCHEDULE_COSINE;
}
static void linear_by_epochs(attn_train_options *o) {
    o->schedule = ATTN_SCHEDULE_LINEAR;
    o->max_updates = 0;
    o->max_epochs = 2.5;
}
static void constant(attn_train_options *o) {
    o->schedule = ATTN_SCHEDULE_CONSTANT;
}
static void adamw(attn_train_options *o) {
    o->optimizer = ATTN_OPTIMIZER_ADAMW;
    o->weight_decay = 0.1;
}
static void sgd(attn_train_options *o) {
    o->optimizer = ATTN_OPTIMIZER_SGD;
    o->rate = 0.5;
}
static void accumulating(attn_train_options *o) {
    o->batch_tokens = 70;
    o->accumulate = 3;
}
static void watching_bleu(attn_train_options *o) {
    o->watch = ATTN_WATCH_BLEU;
    o->keep_last = 2;
    o->keep_best = 1;
    o->average_kept = 1;
}
static void freezing(attn_train_options *o) {
    o->freeze = "encoder,embeddings";
    o->average = 0;
}
static void in_f32(attn_train_options *o) {
    o->precision = ATTN_PRECISION_F32;
    o->save_every = 2;
}

static const struct {
    const char *name;
    void (*change)(attn_train_options *o);
} VARIANTS[] = {{"cosine", cosine}, {"linear-epochs", linear_by_epochs}, {"constant", constant}, {"adamw", adamw},
                {"sgd", sgd}, {"accumulating", accumulating}, {"bleu", watching_bleu}, {"freezing", freezing},
                {"f32", in_f32}};

static void every_course_resumes_with_the_same_bits_and_journal(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++) {
        char whole[64], parts[64];
        (void)snprintf(whole, sizeof whole, "whole-%s", VARIANTS[i].name);
        (void)snprintf(parts, sizeof parts, "parts-%s", VARIANTS[i].name);
        attn_train_options o = course_run(whole), p = course_run(parts);
        VARIANTS[i].change(&o);
        VARIANTS[i].change(&p);
        updates_left = -1;
        train_or_fail(&o);
        /* In a place of its own for each: before, at and behind a validation. */
        updates_left = 1 + (int)(i % 3);
        assert_int_equal(attn_train(&p), ATTN_ERROR_INTERRUPTED);
        p.resume = 1;
        updates_left = 4;
        assert_int_equal(attn_train(&p), ATTN_ERROR_INTERRUPTED);
        updates_left = -1;
        train_or_fail(&p);
        assert_same_file(whole, parts, "model.safetensors");
        assert_same_file(whole, parts, "last/model.safetensors");
        assert_same_journal(whole, parts);
        if (o.average_kept) {
            assert_same_file(whole, parts, "averaged/model.safetensors");
        }
        free_run(&o);
        free_run(&p);
    }
}

/* Lines that a killed run wrote behind its last save are done, and noted, again. */
static void a_journal_ahead_of_the_state_is_cut(void **state) {
    (void)state;
    attn_train_options o = course_run("ahead"), p = course_run("whole-ahead");
    updates_left = -1;
    train_or_fail(&p);
    updates_left = 7;
    assert_int_equal(attn_train(&o), ATTN_ERROR_INTERRUPTED);
    char *path = in_work("ahead/log.jsonl");
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    (void)fputs("{\"type\":\"update\",\"update\":10}\n{\"type\":\"update\",\"upd", file);
    (void)fclose(file);
    o.resume = 1;
    updates_left = -1;
    train_or_fail(&o);
    assert_same_journal("whole-ahead", "ahead");
    memory_free(path);
    free_run(&o);
    free_run(&p);
}

static void resuming_where_nothing_was_saved_begins(void **state) {
    (void)state;
    attn_train_options o = course_run("begun"), p = course_run("whole-begun");
    updates_left = -1;
    train_or_fail(&p);
    o.resume = 1;
    train_or_fail(&o);
    assert_same_file("begun", "whole-begun", "model.safetensors");
    char *state_file = in_work("begun/training.safetensors");
    assert_int_equal(unlink(state_file), 0);
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("no training state");
    memory_free(state_file);
    free_run(&o);
    free_run(&p);
}

static void patience_ends_a_run_that_gets_no_better(void **state) {
    (void)state;
    attn_train_options o = course_run("patience");
    o.rate = 1e-12; /* nothing moves: each validation has the first one's accuracy */
    o.average = 0;
    o.watch = ATTN_WATCH_ACCURACY;
    o.validate_every = 1;
    o.patience = 3;
    updates_left = 1;
    assert_int_equal(attn_train(&o), ATTN_ERROR_INTERRUPTED);
    updates_left = -1;
    o.resume = 1;
    train_or_fail(&o);
    char *journal = journal_of("patience");
    assert_int_equal(count_in(journal, "\"type\":\"validation\""), 4);
    memory_free(journal);
    train_or_fail(&o); /* it stays ended */
    journal = journal_of("patience");
    assert_int_equal(count_in(journal, "\"type\":\"validation\""), 4);
    memory_free(journal);
    free_run(&o);
}

/* --- kept checkpoints and their mean --- */

static size_t folders_in(const char *model, const char *folder) {
    char path[256];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s/%s", work, model, folder);
    DIR *list = opendir(path);
    assert_non_null(list);
    for (const struct dirent *entry; (entry = readdir(list));) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(list);
    return count;
}

static float *weights_of(const char *path, const char *name, size_t *count) {
    char file_path[300];
    safetensors *file;
    (void)snprintf(file_path, sizeof file_path, "%s/%s/model.safetensors", work, path);
    assert_int_equal(safetensors_open(file_path, &file), ATTN_OK);
    const safetensors_tensor *tensor = safetensors_find(file, name);
    assert_non_null(tensor);
    *count = safetensors_elements(tensor);
    float *values = memory_allocate(*count, sizeof *values);
    assert_int_equal(safetensors_to_f32(file, tensor, values), ATTN_OK);
    safetensors_close(file);
    return values;
}

static void the_last_ones_are_kept_and_averaged(void **state) {
    (void)state;
    attn_train_options o = course_run("kept");
    o.max_updates = 12;
    o.keep_last = 3;
    o.average_kept = 1;
    updates_left = -1;
    train_or_fail(&o);
    assert_int_equal(folders_in("kept", "checkpoints"), 3);
    static const char *const KEPT[] = {"kept/checkpoints/update-000000006", "kept/checkpoints/update-000000009",
                                       "kept/checkpoints/update-000000012"};
    size_t count;
    float *mean = weights_of("kept/averaged", "model.shared.weight", &count);
    double *sum = memory_allocate(count, sizeof *sum);
    char *paths[3];
    for (int k = 0; k < 3; k++) {
        float *one = weights_of(KEPT[k], "model.shared.weight", &count);
        for (size_t i = 0; i < count; i++) {
            sum[i] += (double)one[i];
        }
        memory_free(one);
        paths[k] = in_work(KEPT[k]);
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(mean[i] == (float)(sum[i] / 3));
    }
    char *output = in_work("mean");
    assert_int_equal(attn_average((const char *const *)paths, 3, output), ATTN_OK);
    assert_same_file("kept/averaged", "mean", "model.safetensors");
    attn_model *model;
    assert_int_equal(attn_model_load(output, &model), ATTN_OK);
    attn_model_free(model);
    assert_int_equal(attn_average((const char *const *)paths, 3, output), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("already holds a model");
    memory_free(output);
    output = in_work("mean-of-unlike");
    attn_train_options wide = course_run("wide");
    wide.width = 32;
    wide.max_updates = 1;
    train_or_fail(&wide);
    const char *const different[] = {paths[0], wide.model};
    assert_int_equal(attn_average(different, 2, output), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("another shape");
    memory_free(mean);
    memory_free(sum);
    memory_free(output);
    for (int k = 0; k < 3; k++) {
        memory_free(paths[k]);
    }
    free_run(&wide);
    free_run(&o);
}

/* An epoch in one batch, and the same epoch in many that are gathered, end at one place. */
static void gathered_batches_are_one_update(void **state) {
    (void)state;
    static const char *const NAMES[] = {"at-once", "gathered"};
    for (int k = 0; k < 2; k++) {
        attn_train_options o = course_run(NAMES[k]);
        o.batch_tokens = k == 0 ? 1 << 20 : 70;
        o.accumulate = k == 0 ? 1 : 1000;
        o.optimizer = ATTN_OPTIMIZER_SGD; /* linear in the gradient */
        o.schedule = ATTN_SCHEDULE_CONSTANT;
        o.precision = ATTN_PRECISION_F32;
        o.dropout = o.attention_dropout = o.average = o.clip = 0;
        o.rate = 0.1;
        o.warmup = 0;
        o.max_updates = 0;
        o.max_epochs = 3;
        updates_left = -1;
        train_or_fail(&o);
        char *journal = journal_of(NAMES[k]);
        assert_non_null(strstr(journal, "\"update\":3,\"epoch\":3"));
        memory_free(journal);
        free_run(&o);
    }
    size_t count;
    double largest = 0;
    float *once = weights_of("at-once/last", "model.decoder.layers.0.fc1.weight", &count);
    float *gathered = weights_of("gathered/last", "model.decoder.layers.0.fc1.weight", &count);
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)once[i] - (double)gathered[i]));
    }
    if (!(largest < 1e-5)) {
        fail_msg("weights differ by %g", largest);
    }
    memory_free(once);
    memory_free(gathered);
}

/* --- beginning from another model --- */

static int same_weights(const char *a, const char *b, const char *name) {
    size_t count, other_count;
    float *one = weights_of(a, name, &count), *other = weights_of(b, name, &other_count);
    int same = count == other_count && memcmp(one, other, count * sizeof *one) == 0;
    memory_free(one);
    memory_free(other);
    return same;
}

static void fine_tuning_starts_from_the_model_and_leaves_frozen_parts(void **state) {
    (void)state;
    attn_train_options base = course_run("base"), o = course_run("tuned");
    updates_left = -1;
    train_or_fail(&base);
    o.init = base.model;
    o.freeze = "encoder,embeddings";
    o.average = 0;
    o.width = 999; /* not looked at */
    o.max_updates = 4;
    updates_left = 1;
    assert_int_equal(attn_train(&o), ATTN_ERROR_INTERRUPTED);
    o.resume = 1;
    updates_left = -1;
    train_or_fail(&o);
    assert_same_file("base", "tuned", "vocab.json");
    assert_true(same_weights("base", "tuned/last", "model.shared.weight"));
    assert_true(same_weights("base", "tuned/last", "model.encoder.layers.0.fc1.weight"));
    assert_false(same_weights("base", "tuned/last", "model.decoder.layers.0.fc1.weight"));
    free_run(&o);
    free_run(&base);
}

/* --- sentences --- */

typedef struct wrong_option {
    const char *sentence;
    void (*change)(attn_train_options *o);
} wrong_option;

static void by_minutes_alone(attn_train_options *o) {
    o->schedule = ATTN_SCHEDULE_COSINE;
    o->max_updates = 0;
    o->max_minutes = 1;
}
static void warmed_up_to_the_end(attn_train_options *o) {
    o->schedule = ATTN_SCHEDULE_LINEAR;
    o->warmup = 13;
}
static void untranslated(attn_train_options *o) {
    o->watch = ATTN_WATCH_BLEU;
    o->valid_bleu_lines = 0;
}
static void unvalidated(attn_train_options *o) {
    o->patience = 2;
    o->valid_share = 0;
}
static void unkept(attn_train_options *o) {
    o->average_kept = 1;
}
static void unknown_part(attn_train_options *o) {
    o->freeze = "encoder,attention";
}
static void all_parts(attn_train_options *o) {
    o->freeze = "encoder,decoder,embeddings";
}
static void no_batches(attn_train_options *o) {
    o->accumulate = 0;
}
static void no_model_there(attn_train_options *o) {
    o->init = "/nowhere/model";
}
static void heavy_momentum(attn_train_options *o) {
    o->momentum = 1;
}

static void what_cannot_be_is_said(void **state) {
    (void)state;
    static const wrong_option WRONG[] = {{"the cosine schedule needs the run's end", by_minutes_alone},
                                         {"warmup is 13 updates, but the run ends after 13", warmed_up_to_the_end},
                                         {"valid-bleu-lines is 0", untranslated},
                                         {"patience needs validation pairs", unvalidated},
                                         {"needs keep-last", unkept},
                                         {"\"attention\"", unknown_part},
                                         {"every part", all_parts},
                                         {"accumulate is 0", no_batches},
                                         {"/nowhere/model", no_model_there},
                                         {"momentum is 1", heavy_momentum}};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        attn_train_options o = course_run("wrong");
        WRONG[i].change(&o);
        assert_true(attn_train(&o) < 0);
        assert_sentence_has(WRONG[i].sentence);
        free_run(&o);
    }
}

static void resuming_with_another_optimizer_or_dropout_is_refused(void **state) {
    (void)state;
    attn_train_options o = course_run("changed");
    updates_left = 2;
    assert_int_equal(attn_train(&o), ATTN_ERROR_INTERRUPTED);
    o.resume = 1;
    o.optimizer = ATTN_OPTIMIZER_SGD;
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("optimizer was \"adam\" there and is \"sgd\" now");
    o.optimizer = ATTN_OPTIMIZER_ADAM;
    o.dropout = 0.2;
    assert_int_equal(attn_train(&o), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("dropout was");
    free_run(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_course_resumes_with_the_same_bits_and_journal),
        cmocka_unit_test(a_journal_ahead_of_the_state_is_cut),
        cmocka_unit_test(resuming_where_nothing_was_saved_begins),
        cmocka_unit_test(patience_ends_a_run_that_gets_no_better),
        cmocka_unit_test(the_last_ones_are_kept_and_averaged),
        cmocka_unit_test(gathered_batches_are_one_update),
        cmocka_unit_test(fine_tuning_starts_from_the_model_and_leaves_frozen_parts),
        cmocka_unit_test(what_cannot_be_is_said),
        cmocka_unit_test(resuming_with_another_optimizer_or_dropout_is_refused),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
