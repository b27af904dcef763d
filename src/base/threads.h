/* Threads are OpenMP's. Work is cut into parts whose bounds depend on the
 * problem alone, never on the number of threads, and sums across parts are taken
 * in the parts' order: so the bits of every result are the same with 1 thread
 * or 16. */
#ifndef ATTN_BASE_THREADS_H
#define ATTN_BASE_THREADS_H

#include <stdint.h>

/* The number of threads that a parallel region of this thread will use, >= 1. */
int threads_get(void);

/* Sets it for regions started by the calling thread. count <= 0: all processors
 * available to this process. */
void threads_set(int count);

/* The calling thread's index in the current region: 0 .. threads_get() - 1. */
int threads_index(void);

/* Processors available to this process. */
int threads_available(void);

/* Lets the threads of the next parallel region open regions of their own where count, the
 * threads of each of those, is above 1. Not for a region of one thread, which is no level:
 * the teams inside it would open teams. Returns what threads_end_teams wants. */
int threads_allow_teams(int count);
void threads_end_teams(int before);

#endif
