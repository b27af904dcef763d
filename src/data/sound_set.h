/* Labelled sounds as log-mel frames, from a TSV of file<TAB>label: the same sound files at any
 * rate; a file that is not absolute is looked for beside the TSV. As a corpus's features they
 * are frames, perhaps with some of them hidden (SpecAugment: Park et al. 2019, 2). */
#ifndef ATTN_DATA_SOUND_SET_H
#define ATTN_DATA_SOUND_SET_H

#include "data/features.h"
#include "data/log_mel.h"
#include "data/text.h"

typedef struct sound_masks {
    int frames; /* most consecutive frames that are hidden, drawn evenly from 0 on; two such masks */
    int bins;   /* and most neighbouring bins; two */
} sound_masks;

typedef struct sound_set {
    int bins;
    int stack;           /* frames that make one row of the features; 0 counts as 1 */
    sound_masks masks;
    size_t count;
    float *frames;       /* [offsets[count], bins] */
    size_t *offsets;     /* [count + 1], in frames */
    text_line *labels;   /* [count], pointing into storage */
    text_line *files;    /* [count], likewise */
    size_t cut;          /* sounds longer than most_frames, which end there */
    parallel_text storage;
} sound_set;

/* ATTN_ERROR_FILE or ATTN_ERROR_FORMAT with the line of a sound that is missing or none. */
attn_status sound_set_read(const char *tsv, const log_mel_options *options, size_t most_frames, sound_set *read);

/* One sound's frames [*count, bins], made like those of a set; release with memory_free.
 * *cut: 1 where it goes on after most_frames. */
attn_status sound_frames(const char *path, const log_mel_options *options, size_t most_frames, float **frames,
                         size_t *count, int *cut);

/* Moves the sounds whose `held` is 1 to `to`, the others keep their order. */
attn_status sound_set_split(sound_set *from, const unsigned char *held, sound_set *to);

/* Rows that so many frames make; the last one is filled up with zeros, the mean. */
size_t sound_rows(size_t frames, int stack);

feature_source sound_set_features(const sound_set *set);
void sound_set_release(sound_set *set);

#endif
