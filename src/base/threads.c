#include "base/threads.h"

#include <omp.h>

int threads_get(void) {
    return omp_in_parallel() ? 1 : omp_get_max_threads();
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
