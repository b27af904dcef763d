/* Labelled pictures of one size, held as bytes: from two IDX files, or from a folder with
 * a folder of PNG and JPEG files for each class. As a corpus's features they are patches. */
#ifndef ATTN_DATA_PICTURE_SET_H
#define ATTN_DATA_PICTURE_SET_H

#include "data/features.h"
#include "data/patches.h"
#include "data/vocabulary.h"

typedef struct picture_set {
    patch_shape shape;
    augmentation augmentation;
    size_t count;
    unsigned char *pixels; /* [count, height, width, channels] */
    int32_t *labels;       /* [count], indices of the label names */
    size_t resized;        /* pictures that had another size */
} picture_set;

/* `labels` holds the names; where it is empty it is filled (IDX: the numbers 0 .. the
 * largest; folder: the names of its folders, sorted), else a label that it lacks is
 * refused. shape says what the pictures become; others are resized. ATTN_ERROR_FORMAT for
 * files that do not fit together, a class without a picture, a picture that is damaged (with
 * its path). */
attn_status picture_set_read_idx(const char *images, const char *label_file, const patch_shape *shape,
                                 vocabulary *labels, picture_set *read);
attn_status picture_set_read_folder(const char *directory, const patch_shape *shape, vocabulary *labels,
                                    picture_set *read);

/* The sides of an IDX file's pictures. */
attn_status picture_set_idx_size(const char *images, int *width, int *height);

/* Moves the pictures whose `held` is 1 to `to`, the others keep their order. */
attn_status picture_set_split(picture_set *from, const unsigned char *held, picture_set *to);

/* The set as features: patches_count rows a picture. The set stays where it is. */
feature_source picture_set_features(const picture_set *set);

void picture_set_release(picture_set *set);

#endif
