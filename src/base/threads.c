#include "base/threads.h"

#include <omp.h>

int threads_get(void) {
    return omp_get_active_level() < omp_get_max_active_levels() ? omp_get_max_threads() : 1;
}

void threads_set(int count) {
    omp_set_num_threads(count > 0 ? count : threads_available());
}

int threads_index(void) {
    return omp_get_thread_num();
}

int threads_available(void) {
    return omp_get_num_procs();
}

int threads_allow_teams(int count) {
    int levels = omp_get_max_active_levels();
    if (count > 1) {
        omp_set_max_active_levels(omp_get_active_level() + 2);
    }
    return levels;
}

void threads_end_teams(int levels) {
    omp_set_max_active_levels(levels);
}
