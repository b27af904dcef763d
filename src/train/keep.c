/* Which checkpoints are kept: the model folders of the last N and of the best N
 * validations, DIR/checkpoints/update-000000042. What is kept follows from the history
 * alone, so a resumed run keeps the same. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "train/trainer.h"

#define KEPT_FOLDER "checkpoints"

double validated_score(const validated *v, attn_watch watch) {
    double score = watch == ATTN_WATCH_LOSS ? -v->loss
                   : watch == ATTN_WATCH_ACCURACY ? v->token_accuracy
                   : watch == ATTN_WATCH_BLEU ? v->bleu : v->chrf;
    return isnan(score) ? -INFINITY : score;
}

size_t history_best(const trainer *t) {
    size_t best = 0;
    for (size_t i = 1; i < t->history_count; i++) {
        if (!t->valid.present ||
            validated_score(&t->history[i], t->options->watch) > validated_score(&t->history[best], t->options->watch)) {
            best = i;
        }
    }
    return best;
}

char *kept_path(const trainer *t, int64_t update) {
    char name[64];
    (void)snprintf(name, sizeof name, KEPT_FOLDER "/update-%09" PRId64, update);
    return file_join(t->options->model, name);
}

/* The validations that are better; of equals the earlier one. */
static size_t better_than(const trainer *t, size_t index) {
    attn_watch watch = t->options->watch;
    double score = validated_score(&t->history[index], watch);
    size_t count = 0;
    for (size_t i = 0; i < t->history_count; i++) {
        double other = validated_score(&t->history[i], watch);
        count += other > score || (other == score && i < index);
    }
    return count;
}

int kept_is_wanted(const trainer *t, size_t index) {
    const attn_train_options *o = t->options;
    return t->history_count - index <= (size_t)o->keep_last ||
           (o->keep_best > 0 && better_than(t, index) < (size_t)o->keep_best);
}

/* Removes a folder of files. */
static attn_status remove_folder(const char *path) {
    DIR *folder = opendir(path);
    const struct dirent *entry;
    attn_status status = folder ? ATTN_OK : fail(ATTN_ERROR_FILE, "cannot read %s: %s", path, strerror(errno));
    while (!status && (entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char *file = file_join(path, entry->d_name);
            status = !file ? ATTN_ERROR_MEMORY
                     : unlink(file) ? fail(ATTN_ERROR_FILE, "cannot remove %s: %s", file, strerror(errno)) : ATTN_OK;
            memory_free(file);
        }
    }
    if (folder) {
        (void)closedir(folder);
    }
    return status     ? status
           : rmdir(path) ? fail(ATTN_ERROR_FILE, "cannot remove %s: %s", path, strerror(errno)) : ATTN_OK;
}

/* 1 for the name of a kept folder that the history does not want. */
static int is_unwanted(const trainer *t, const char *name) {
    char *end;
    if (strncmp(name, "update-", 7) != 0 || name[7] < '0' || name[7] > '9') {
        return 0;
    }
    long long update = strtoll(name + 7, &end, 10);
    for (size_t i = 0; i < t->history_count; i++) {
        if (t->history[i].update == update && kept_is_wanted(t, i)) {
            return 0;
        }
    }
    return *end == '\0';
}

attn_status kept_prune(const trainer *t) {
    char *path = file_join(t->options->model, KEPT_FOLDER);
    DIR *folder = path ? opendir(path) : NULL;
    const struct dirent *entry;
    attn_status status = path ? ATTN_OK : ATTN_ERROR_MEMORY;
    while (folder && !status && (entry = readdir(folder))) {
        if (is_unwanted(t, entry->d_name)) {
            char *unwanted = file_join(path, entry->d_name);
            status = unwanted ? remove_folder(unwanted) : ATTN_ERROR_MEMORY;
            memory_free(unwanted);
        }
    }
    if (folder) {
        (void)closedir(folder);
    }
    memory_free(path);
    return status;
}

attn_status kept_average(const trainer *t) {
    size_t wanted = (size_t)t->options->keep_last, count = 0;
    wanted = wanted < t->history_count ? wanted : t->history_count;
    char **paths = memory_allocate(wanted, sizeof *paths), *output = file_join(t->options->model, "averaged");
    attn_status status = paths && output ? ATTN_OK : ATTN_ERROR_MEMORY;
    for (size_t i = t->history_count - wanted; i < t->history_count && !status; i++, count++) {
        paths[count] = kept_path(t, t->history[i].update);
        status = paths[count] ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    status = status ? status : average_folders((const char *const *)paths, count, output);
    if (!status) {
        trainer_log(t, "averaged: the mean of the last %zu checkpoints is in %s", count, output);
    }
    for (size_t i = 0; paths && i < wanted; i++) {
        memory_free(paths[i]);
    }
    memory_free(paths);
    memory_free(output);
    return status;
}
