/* cmocka with the headers that it wants first, and without its macro fail(), a name
 * that base/error.h needs (tests have fail_msg). Include before everything else. */
#ifndef ATTN_TESTS_TEST_H
#define ATTN_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#undef fail
#undef fail_msg
#define fail_msg(...) (print_error(__VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__))

#include "base/error.h"

/* The last failure's sentence must hold this text. */
static inline void assert_sentence_has(const char *part) {
    if (!strstr(attn_last_error(), part)) {
        fail_msg("\"%s\" was expected in \"%s\"", part, attn_last_error());
    }
}

#endif
