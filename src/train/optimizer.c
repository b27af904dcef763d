#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { BLOCK = 1 << 14 }; /* elements of one task: fits the inner cache five times */

static int is_frozen(const optimizer_settings *settings, const char *name) {
    for (const char *const *part = settings->frozen; part && *part; part++) {
        if (strncmp(name, *part, strlen(*part)) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Neighbours that are treated alike are one run; a run is cut into tasks. */
static attn_status add_run(optimizer *o, size_t *capacity, stretch run) {
    for (int64_t done = 0; done < run.n; done += BLOCK) {
        attn_status status = memory_grow(&o->stretches, capacity, o->stretch_count + 1, sizeof *o->stretches);
        if (status) {
            return status;
        }
        int64_t left = run.n - done;
        o->stretches[o->stretch_count++] = (stretch){run.at + done, left < BLOCK ? left : BLOCK, run.decays};
    }
    return ATTN_OK;
}

static attn_status find_stretches(optimizer *o) {
    const parameters *set = o->parameters;
    size_t capacity = 0;
    stretch run = {0};
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < set->count && !status; i++) {
        named_parameter *p = &set->list[i];
        int64_t end = p->where.offset + p->where.rows * p->where.columns;
        int decays = o->settings.kind == ATTN_OPTIMIZER_ADAMW && p->rank >= 2;
        p->frozen = is_frozen(&o->settings, p->name);
        if (run.n > 0 && (p->frozen || decays != run.decays)) {
            status = add_run(o, &capacity, run);
            run.n = 0;
        }
        if (!p->frozen) {
            run = run.n > 0 ? (stretch){run.at, end - run.at, decays}
                            : (stretch){p->where.offset, end - p->where.offset, decays};
        }
    }
    return status ? status : add_run(o, &capacity, run);
}

attn_status optimizer_open(optimizer *o, parameters *set, const optimizer_settings *settings) {
    size_t size = (size_t)set->size;
    *o = (optimizer){.settings = *settings, .parameters = set, .rows = rows_select()};
    int two = settings->kind != ATTN_OPTIMIZER_SGD, averages = settings->average_decay > 0;
    attn_status status = find_stretches(o);
    o->first = memory_allocate(size, sizeof(float));
    o->second = two ? memory_allocate(size, sizeof(float)) : NULL;
    o->average = averages ? memory_allocate(size, sizeof(float)) : NULL;
    o->sums = memory_allocate(o->stretch_count, sizeof *o->sums);
    if (status || !o->sums || !o->first || (two && !o->second) || (averages && !o->average)) {
        optimizer_close(o);
        return status ? status : ATTN_ERROR_MEMORY;
    }
    if (o->average) {
        memcpy(o->average, set->values, size * sizeof(float));
    }
    return ATTN_OK;
}

void optimizer_close(optimizer *o) {
    memory_free(o->first);
    memory_free(o->second);
    memory_free(o->average);
    memory_free(o->stretches);
    memory_free(o->sums);
    *o = (optimizer){0};
}

/* The 2-norm: each stretch's sum on its own, then the stretches' in order. */
static double gradient_norm(const optimizer *o) {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < o->stretch_count; i++) {
        o->sums[i] = o->rows->sum_of_squares(o->parameters->gradients + o->stretches[i].at, o->stretches[i].n);
    }
    double total = 0;
    for (size_t i = 0; i < o->stretch_count; i++) {
        total += o->sums[i];
    }
    return sqrt(total);
}

/* The element that is not finite, or -1. */
static int64_t first_not_finite(const float *values, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) {
            return i;
        }
    }
    return -1;
}

static attn_status name_what_is_not_finite(const optimizer *o) {
    const parameters *set = o->parameters;
    const named_parameter *named = NULL;
    int64_t element = 0;
    size_t others = 0;
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        int64_t at = p->frozen ? -1
                         : first_not_finite(parameter_gradients(set, p->where), p->where.rows * p->where.columns);
        others += at >= 0 && named;
        if (at >= 0 && !named) {
            named = p;
            element = at;
        }
    }
    if (!named) {
        return fail(ATTN_ERROR_NUMERIC, "the gradient's norm is too large for a number");
    }
    double value = (double)parameter_gradients(set, named->where)[element];
    return fail(ATTN_ERROR_NUMERIC, "the gradient of %s is not finite (%g at element %lld), nor are %zu others",
                named->name, value, (long long)element, others);
}

static void sgd(const optimizer *o, const stretch *s, float rate, float scale) {
    float *values = o->parameters->values + s->at, *velocity = o->first + s->at;
    const float *gradients = o->parameters->gradients + s->at;
    const float momentum = (float)o->settings.momentum;
    for (int64_t i = 0; i < s->n; i++) {
        velocity[i] = momentum * velocity[i] + scale * gradients[i];
        values[i] -= rate * velocity[i];
    }
    if (o->parameters->copies) {
        o->rows->narrow(o->parameters->copies + s->at, values, s->n);
    }
}

attn_status optimizer_update(optimizer *o, double rate, double scale, double *norm) {
    const parameters *set = o->parameters;
    const optimizer_settings *settings = &o->settings;
    *norm = scale * gradient_norm(o);
    if (!isfinite(*norm)) {
        o->skipped++;
        o->skipped_in_a_row++;
        return name_what_is_not_finite(o);
    }
    o->skipped_in_a_row = 0;
    double t = (double)++o->updates;
    adam_step step = {(float)rate, (float)settings->beta1, (float)settings->beta2, (float)settings->epsilon,
                      (float)(1 - pow(settings->beta1, t)), (float)(1 - pow(settings->beta2, t)), 0, (float)scale};
    if (settings->clip > 0 && *norm > settings->clip) {
        step.gradient_scale = (float)(scale * settings->clip / *norm);
    }
    /* The average follows faster while it is young. */
    double decay = fmin(settings->average_decay, (1 + t) / (10 + t));
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < o->stretch_count; i++) {
        const stretch *s = &o->stretches[i];
        int64_t at = s->at;
        if (settings->kind == ATTN_OPTIMIZER_SGD) {
            sgd(o, s, (float)rate, step.gradient_scale);
        } else {
            adam_step own = step;
            own.decay = s->decays ? (float)(rate * settings->weight_decay) : 0;
            o->rows->adam(set->values + at, o->first + at, o->second + at, set->gradients + at,
                          set->copies ? set->copies + at : NULL, s->n, &own);
        }
        if (o->average) {
            o->rows->blend(o->average + at, set->values + at, s->n, (float)(1 - decay));
        }
    }
    return ATTN_OK;
}

double optimizer_bytes(const optimizer *o) {
    /* Gradients twice (the norm), values and moments each way. */
    int copies = o->parameters->copies != NULL;
    double each = 4.0 * (2 + 2 + 2 + 2 * (o->second != NULL) + 2 * (o->average != NULL)) + 2.0 * copies, n = 0;
    for (size_t i = 0; i < o->stretch_count; i++) {
        n += (double)o->stretches[i].n;
    }
    return each * n;
}
