/* The public options of translating: their defaults, their ranges, and what the search
 * makes of them. */
#include "infer/translate.h"

#include <math.h>

void attn_translate_options_defaults(attn_translate_options *options) {
    *options = (attn_translate_options){.beam = 4, .n_best = 1, .length_penalty = 1.0, .batch_tokens = 4096,
                                        .repetition_penalty = 1.0, .temperature = 1.0, .top_p = 1.0, .seed = 1,
                                        .alignment_layer = -1, .alignment_head = -1};
}

static attn_status check_whole(const char *name, int64_t found, int64_t least, int64_t most) {
    return found >= least && found <= most
               ? ATTN_OK
               : fail(ATTN_ERROR_ARGUMENT, "%s is %lld, %lld to %lld was expected", name, (long long)found,
                      (long long)least, (long long)most);
}

static attn_status check_number(const char *name, double found, double least, double most) {
    return found >= least && found <= most
               ? ATTN_OK
               : fail(ATTN_ERROR_ARGUMENT, "%s is %g, %g to %g was expected", name, found, least, most);
}

static attn_status check_ranges(const attn_translate_options *o) {
    int most_results = o->sample ? MOST_HYPOTHESES : o->beam;
    attn_status status = check_whole("beam", o->beam, 1, MOST_HYPOTHESES);
    status = status ? status : check_whole("n_best", o->n_best, 1, most_results);
    status = status ? status : check_number("length_penalty", o->length_penalty, -10, 10);
    status = status ? status : check_number("length_offset", o->length_offset, 0, 1000);
    status = status ? status : check_whole("max_length", o->max_length, 0, INT32_MAX);
    status = status ? status
                    : check_whole("min_length", o->min_length, 0, o->max_length > 0 ? o->max_length : INT32_MAX);
    status = status ? status : check_whole("batch_tokens", o->batch_tokens, 1, INT32_MAX);
    status = status ? status : check_number("coverage_penalty", o->coverage_penalty, 0, 10);
    status = status ? status : check_number("repetition_penalty", o->repetition_penalty, 0.1, 10);
    status = status ? status : check_whole("no_repeat_ngram", o->no_repeat_ngram, 0, INT32_MAX);
    status = status ? status : check_number("temperature", o->temperature, 0.01, 100);
    status = status ? status : check_whole("top_k", o->top_k, 0, INT32_MAX);
    if (!status && o->sample && o->required) {
        status = fail(ATTN_ERROR_ARGUMENT, "required phrases are placed by searching: sample has to be 0");
    }
    if (!status && !(o->top_p > 0 && o->top_p <= 1)) {
        status = fail(ATTN_ERROR_ARGUMENT, "top_p is %g, above 0 and at most 1 was expected", o->top_p);
    }
    return status;
}

attn_status prepare_search(const attn_translate_options *o, prepared_search *out) {
    attn_status status = check_ranges(o);
    if (status) {
        return status;
    }
    out->steering = (steering){
        .repetition_penalty = o->repetition_penalty, .no_repeat_ngram = o->no_repeat_ngram,
        .coverage_penalty = o->coverage_penalty,
        .sampling = {.on = o->sample != 0, .temperature = o->temperature, .top_k = o->top_k, .top_p = o->top_p,
                     .seed = o->seed}};
    int steered = o->coverage_penalty > 0 || o->repetition_penalty != 1 || o->no_repeat_ngram > 0 || o->sample;
    out->options = (search_options){.beam = o->sample ? o->n_best : o->beam, .length_penalty = o->length_penalty, .length_offset = o->length_offset,
                                    .max_length = o->max_length, .min_length = o->min_length, .batch_tokens = o->batch_tokens,
                                    .steering = steered ? &out->steering : NULL};
    return ATTN_OK;
}

void prepare_requests(prepared_search *prepared, const sentence_request *requests) {
    prepared->steering.requests = requests;
    prepared->options.steering = &prepared->steering;
}
