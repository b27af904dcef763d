/* Where the time of an update goes. A profile is one thread's: its clock is always at one
 * row, and profile_enter moves it to another, so that rows hold their own time and not that
 * of what they call. It is the thread's processor time that is counted, so other programs
 * on the machine do not show; where a team shares the work, its first thread's time counts
 * for all. Everything here does nothing when given NULL. */
#ifndef ATTN_TENSOR_PROFILE_H
#define ATTN_TENSOR_PROFILE_H

#include <stdint.h>

typedef enum profile_row {
    PROFILE_OTHER, /* what no other row names */
    PROFILE_LOADER,
    PROFILE_EMBEDDING,
    PROFILE_LINEAR,
    PROFILE_LINEAR_WEIGHTS,
    PROFILE_LINEAR_ROWS,
    PROFILE_ATTENTION,
    PROFILE_RESIDUAL_NORM,
    PROFILE_DROPOUT,
    PROFILE_LOGITS,
    PROFILE_LOGITS_WEIGHTS,
    PROFILE_SOFTMAX,
    PROFILE_PACKING,
    PROFILE_ZEROING,
    PROFILE_SUMS,
    PROFILE_OPTIMIZER,
    PROFILE_ROWS
} profile_row;

typedef enum profile_direction { PROFILE_FORWARD, PROFILE_BACKWARD } profile_direction;

/* What a row's work is counted in. */
typedef enum profile_unit { PROFILE_NO_UNIT, PROFILE_OPERATIONS, PROFILE_BYTES } profile_unit;

typedef struct profile_place {
    profile_row row;
    profile_direction direction;
    int team;
} profile_place;

typedef struct profile {
    double seconds[PROFILE_ROWS][2]; /* [row][direction] */
    double work[PROFILE_ROWS][2];    /* in the row's unit */
    profile_place at;
    double since; /* 0: the clock stands still */
    int team;     /* threads that do the work which this one's clock is to stand for */
} profile;

const char *profile_name(profile_row row);
profile_unit profile_unit_of(profile_row row);

/* Between start and stop the clock runs; it starts at PROFILE_OTHER. Start and stop are called by
 * the thread whose time is taken. */
void profile_start(profile *p);
void profile_stop(profile *p);

/* Time goes to this row from here on, and `work` is added to it. Returns where it went
 * before, for profile_return. */
profile_place profile_enter(profile *p, profile_row row, profile_direction direction, double work);
/* The same, forward, for work that a team of so many threads shares until profile_return. */
profile_place profile_enter_team(profile *p, profile_row row, double work, int team);
void profile_return(profile *p, profile_place before);

/* total += p */
void profile_add(profile *total, const profile *p);

#endif
