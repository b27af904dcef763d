#include "tensor/profile.h"

#include <time.h>

static const struct {
    const char *name;
    profile_unit unit;
} ROWS[PROFILE_ROWS] = {
    [PROFILE_OTHER] = {"everything else", PROFILE_NO_UNIT},
    [PROFILE_LOADER] = {"next batch", PROFILE_NO_UNIT},
    [PROFILE_EMBEDDING] = {"embedding", PROFILE_BYTES},
    [PROFILE_LINEAR] = {"linear: product, input gradient", PROFILE_OPERATIONS},
    [PROFILE_LINEAR_WEIGHTS] = {"linear: weight gradient", PROFILE_OPERATIONS},
    [PROFILE_LINEAR_ROWS] = {"linear: activation, bias gradient", PROFILE_BYTES},
    [PROFILE_ATTENTION] = {"attention", PROFILE_NO_UNIT},
    [PROFILE_RESIDUAL_NORM] = {"dropout, residual, normalisation", PROFILE_BYTES},
    [PROFILE_DROPOUT] = {"dropout alone", PROFILE_BYTES},
    [PROFILE_LOGITS] = {"logits: product, input gradient", PROFILE_OPERATIONS},
    [PROFILE_LOGITS_WEIGHTS] = {"logits: weight gradient", PROFILE_OPERATIONS},
    [PROFILE_SOFTMAX] = {"softmax, loss and their gradient", PROFILE_BYTES},
    [PROFILE_PACKING] = {"packing weights", PROFILE_BYTES},
    [PROFILE_ZEROING] = {"zeroing gradients", PROFILE_BYTES},
    [PROFILE_SUMS] = {"summing gradients", PROFILE_BYTES},
    [PROFILE_OPTIMIZER] = {"optimizer", PROFILE_BYTES},
};

const char *profile_name(profile_row row) {
    return ROWS[row].name;
}

profile_unit profile_unit_of(profile_row row) {
    return ROWS[row].unit;
}

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Gives the time since the last move to the row that the clock is at. */
static void settle(profile *p) {
    double time = now();
    p->seconds[p->at.row][p->at.direction] += (time - p->since) * p->at.team;
    p->since = time;
}

void profile_start(profile *p) {
    if (p) {
        p->at = (profile_place){PROFILE_OTHER, PROFILE_FORWARD, p->team > 1 ? p->team : 1};
        p->since = now();
    }
}

void profile_stop(profile *p) {
    if (p) {
        settle(p);
        p->since = 0;
    }
}

profile_place profile_enter(profile *p, profile_row row, profile_direction direction, double work) {
    profile_place before = {PROFILE_OTHER, PROFILE_FORWARD, 1};
    if (p && p->since > 0) {
        before = p->at;
        settle(p);
        p->at = (profile_place){row, direction, before.team};
        p->work[row][direction] += work;
    }
    return before;
}

profile_place profile_enter_team(profile *p, profile_row row, double work, int team) {
    profile_place before = profile_enter(p, row, PROFILE_FORWARD, work);
    if (p) {
        p->at.team = team;
    }
    return before;
}

void profile_return(profile *p, profile_place before) {
    if (p && p->since > 0) {
        settle(p);
        p->at = before;
    }
}

void profile_add(profile *total, const profile *p) {
    for (int row = 0; row < PROFILE_ROWS; row++) {
        for (int direction = 0; direction < 2; direction++) {
            total->seconds[row][direction] += p->seconds[row][direction];
            total->work[row][direction] += p->work[row][direction];
        }
    }
}
