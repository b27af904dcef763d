/* What the processor has, and the instruction set that kernels are chosen by.
 * ATTN_KERNEL in the environment (reference, portable, avx2, avx512, avx512bf16)
 * lowers the choice, so that each path can be tested on one machine. */
#ifndef ATTN_BASE_CPU_H
#define ATTN_BASE_CPU_H

typedef enum cpu_level {
    CPU_PORTABLE = 0, /* C with compiler vectors alone */
    CPU_AVX2,         /* AVX2 and FMA, F16C */
    CPU_AVX512,       /* AVX-512 F, BW, DQ, VL */
    CPU_AVX512_BF16   /* the same with AVX512-BF16 and VNNI */
} cpu_level;

/* The highest level of this processor whose registers the system saves (XCR0). */
cpu_level cpu_detected(void);

/* The level in use: the detected one, lowered by ATTN_KERNEL. An unknown or too
 * high name leaves the detected level. */
cpu_level cpu_selected(void);

const char *cpu_level_name(cpu_level level); /* "portable", "avx2", ... */

#endif
