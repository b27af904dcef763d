/* Speech to text inside the library: a set in memory, for training too. */
#ifndef ATTN_INFER_TRANSCRIBE_H
#define ATTN_INFER_TRANSCRIBE_H

#include "data/sound_set.h"
#include "infer/model.h"
#include "infer/requests.h"

/* Where each sound's rows begin [count + 1]; release with memory_free. */
attn_status speech_offsets(const sound_set *set, size_t **offsets);

attn_status evaluate_speech(const attn_model *model, const sound_set *set, const attn_translate_options *options,
                            attn_speech_evaluation *e);

/* Words, split at white space, to insert, delete or replace so that the text becomes what was
 * expected (Levenshtein 1966); *count: words expected. */
attn_status count_word_errors(const char *text, size_t length, const char *expected, size_t expected_length, size_t *errors,
                              size_t *count);

#endif
