/* The learning rate of each update (formulas at attn_schedule in attn.h). */
#ifndef ATTN_TRAIN_SCHEDULE_H
#define ATTN_TRAIN_SCHEDULE_H

#include <attn/attn.h>

typedef struct schedule {
    attn_schedule kind;
    double peak;
    int64_t warmup;
    int64_t end; /* the run's last update; where schedule_has_end alone */
} schedule;

/* 1 if the rate depends on where the run ends. */
int schedule_has_end(attn_schedule kind);

/* The rate of update `update` >= 1. Behind the end it is 0. */
double schedule_rate(const schedule *s, int64_t update);

#endif
