#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const NAMES[] = {"portable", "avx2", "avx512", "avx512bf16"};

cpu_level cpu_detected(void) {
#if defined(__x86_64__)
    /* These checks of the compiler's include the system's XCR0 bits. */
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return CPU_PORTABLE;
    }
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
        return CPU_AVX2;
    }
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") ? CPU_AVX512_BF16 : CPU_AVX512;
#else
    return CPU_PORTABLE;
#endif
}

cpu_level cpu_selected(void) {
    cpu_level level = cpu_detected();
    const char *name = getenv("ATTN_KERNEL");
    if (name && strcmp(name, "reference") == 0) {
        return CPU_PORTABLE;
    }
    for (int i = 0; name && i <= (int)level; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            return (cpu_level)i;
        }
    }
    return level;
}

const char *cpu_level_name(cpu_level level) {
    return NAMES[level];
}
