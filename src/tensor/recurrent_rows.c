/* Which table of recurrent kernels serves this processor. */
#include "tensor/recurrent_rows.h"

#include "base/cpu.h"

extern const recurrent_kernels recurrent_rows_portable, recurrent_rows_avx2, recurrent_rows_avx512;

const recurrent_kernels *recurrent_rows_select(void) {
    switch (cpu_selected()) {
    case CPU_AVX512_BF16:
    case CPU_AVX512:
        return &recurrent_rows_avx512;
    case CPU_AVX2:
        return &recurrent_rows_avx2;
    case CPU_PORTABLE:
        break;
    }
    return &recurrent_rows_portable;
}
