/* The table of `attn train --profile`: a line for each row of the profile (tensor/profile.h).
 *
 * Times are of all threads together, for one update; shares are of what the threads had, which is
 * the clock's time times their number. What is missing from 100 % was spent waiting: for
 * another thread, or for a processor that another program used. */
#include <stdio.h>

#include "base/threads.h"
#include "train/trainer.h"

/* "123.4 GF/s" of one thread; empty where there is nothing to count. */
static const char *speed(char text[24], profile_row row, double work, double seconds) {
    text[0] = '\0';
    if (profile_unit_of(row) != PROFILE_NO_UNIT && work > 0 && seconds > 0) {
        const char *unit = profile_unit_of(row) == PROFILE_BYTES ? "GB/s" : "GF/s";
        (void)snprintf(text, 24, "%.1f %s", work / seconds / 1e9, unit);
    }
    return text;
}

static double row_seconds(const profile *p, int row) {
    return p->seconds[row][PROFILE_FORWARD] + p->seconds[row][PROFILE_BACKWARD];
}

static void log_row(const trainer *t, profile_row row, int64_t updates, double all) {
    const profile *p = &t->profile;
    char there[24], back[24];
    double forward = p->seconds[row][PROFILE_FORWARD], backward = p->seconds[row][PROFILE_BACKWARD];
    trainer_log(t, "  %-34s %9.2f %12s %9.2f %12s %6.1f", profile_name(row), 1e3 * forward / (double)updates,
                speed(there, row, p->work[row][PROFILE_FORWARD], forward), 1e3 * backward / (double)updates,
                speed(back, row, p->work[row][PROFILE_BACKWARD], backward), 100 * (forward + backward) / all);
}

void trainer_log_profile(const trainer *t, int64_t updates, double seconds) {
    int threads = threads_get();
    double all = seconds * threads, counted = 0;
    if (updates <= 0) {
        return;
    }
    trainer_log(t, "profile: %lld updates of %.2f ms; milliseconds of %d thread%s an update, speeds of one",
                (long long)updates, 1e3 * seconds / (double)updates, threads, threads > 1 ? "s" : "");
    trainer_log(t, "  %-34s %9s %12s %9s %12s %6s", "", "forward", "", "backward", "", "share");
    for (int row = 1; row <= PROFILE_ROWS; row++) {
        int shown = row % PROFILE_ROWS; /* the nameless last */
        counted += row_seconds(&t->profile, shown);
        if (row_seconds(&t->profile, shown) > 0) {
            log_row(t, (profile_row)shown, updates, all);
        }
    }
    double rest = all > counted ? all - counted : 0;
    trainer_log(t, "  %-34s %9.2f %12s %9s %12s %6.1f", "waiting", 1e3 * rest / (double)updates, "", "", "", 100 * rest / all);
}
