/* The calls of the public library that belong to no model. */
#include <attn/attn.h>

#include "base/threads.h"

const char *attn_version(void) {
    return ATTN_VERSION;
}

void attn_set_threads(int count) {
    threads_set(count);
}
