/* The calls of the public library that belong to no model. */
#include <attn/attn.h>

#include "base/threads.h"

const char *attn_version(void) {
    return ATTN_VERSION;
}

int attn_abi_version(void) {
    return ATTN_ABI_VERSION;
}

void attn_set_threads(int count) {
    threads_set(count);
}
