/* How much workspace a pass needs. */
#include "attention/passes.h"

attn_status attn_attention_workspace(const attn_attention_problem *p, attn_attention_pass pass,
                                     size_t *size) {
    work_plan plan;
    attn_attention_problem own;
    if (p && pass == ATTN_PASS_DECODE) { /* keys come from the cache */
        own = *p;
        own.k_offsets = (attn_indices){0};
        p = &own;
    }
    attn_status status = plan_make(&plan, p, pass == ATTN_PASS_DECODE);
    if (status) {
        return status;
    }
    if (!size) {
        return fail(ATTN_ERROR_ARGUMENT, "attention: size is NULL");
    }
    switch (pass) {
    case ATTN_PASS_FORWARD:
        *size = forward_workspace(&plan);
        return ATTN_OK;
    case ATTN_PASS_BACKWARD:
        *size = backward_workspace(&plan);
        return ATTN_OK;
    case ATTN_PASS_WEIGHTS:
        *size = weights_workspace(&plan);
        return ATTN_OK;
    case ATTN_PASS_COLUMN_SUMS:
        *size = column_sums_workspace(&plan);
        return ATTN_OK;
    case ATTN_PASS_DECODE:
        if ((status = decode_check_size(&plan))) {
            return status;
        }
        *size = decode_workspace(&plan);
        return ATTN_OK;
    }
    return fail(ATTN_ERROR_ARGUMENT, "attention: unknown pass %d", (int)pass);
}
