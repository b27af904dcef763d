#include "train/schedule.h"

#include <math.h>

int schedule_has_end(attn_schedule kind) {
    return kind == ATTN_SCHEDULE_COSINE || kind == ATTN_SCHEDULE_LINEAR;
}

double schedule_rate(const schedule *s, int64_t update) {
    static const double PI = 3.14159265358979323846;
    if (s->warmup > 0 && update <= s->warmup) {
        return s->peak * (double)update / (double)s->warmup;
    }
    double share = fmin(1, (double)(update - s->warmup) / (double)(s->end + 1 - s->warmup));
    switch (s->kind) {
    case ATTN_SCHEDULE_CONSTANT: return s->peak;
    case ATTN_SCHEDULE_COSINE: return s->peak * (1 + cos(PI * share)) / 2;
    case ATTN_SCHEDULE_LINEAR: return s->peak * (1 - share);
    default: return s->peak * sqrt((double)(s->warmup > 0 ? s->warmup : 1) / (double)update);
    }
}
