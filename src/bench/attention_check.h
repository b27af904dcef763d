/* Whether a case is right: in every kernel that the processor has, against the f64 reference, the
 * error may be at most twice that of plain f32, three times for gradients. */
#ifndef ATTN_BENCH_ATTENTION_CHECK_H
#define ATTN_BENCH_ATTENTION_CHECK_H

#include <stdio.h>

#include "bench/attention_cases.h"

/* *bad: how many arrays are worse than their bound, each with a line in `out`. */
attn_status attention_check_case(const attention_case *c, uint64_t seed, FILE *out, int *bad);

#endif
