/* Which table of row kernels serves this processor. */
#include "tensor/rows.h"

#include "base/cpu.h"

extern const row_kernels rows_portable, rows_avx2, rows_avx512;

const row_kernels *rows_select(void) {
    switch (cpu_selected()) {
    case CPU_AVX512_BF16:
    case CPU_AVX512:
        return &rows_avx512;
    case CPU_AVX2:
        return &rows_avx2;
    case CPU_PORTABLE:
        break;
    }
    return &rows_portable;
}
