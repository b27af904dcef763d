#include "infer/constraint.h"

#include <string.h>

/* The longest beginning of the phrase that ids end with. */
static int32_t begun(phrase p, const int32_t *ids, int32_t count) {
    int32_t length = p.count < count ? p.count : count;
    while (length > 0 && memcmp(ids + count - length, p.ids, (size_t)length * sizeof *ids) != 0) {
        length--;
    }
    return length;
}

uint64_t constraint_met(const phrase_list *list, uint64_t met, const int32_t *ids, int32_t count) {
    for (int i = 0; i < list->count; i++) {
        if (begun(list->items[i], ids, count) == list->items[i].count) {
            met |= (uint64_t)1 << i;
        }
    }
    return met;
}

static int is_met(uint64_t met, int i) {
    return (int)(met >> i & 1);
}

int32_t constraint_missing(const phrase_list *list, uint64_t met, const int32_t *ids, int32_t count) {
    int32_t missing = 0, most_begun = 0;
    for (int i = 0; i < list->count; i++) {
        if (!is_met(met, i)) {
            int32_t length = begun(list->items[i], ids, count);
            missing += list->items[i].count;
            most_begun = length > most_begun ? length : most_begun;
        }
    }
    return missing - most_begun;
}

int constraint_next(const phrase_list *list, uint64_t met, const int32_t *ids, int32_t count, int32_t *tokens) {
    int found = 0;
    for (int i = 0; i < list->count; i++) {
        if (!is_met(met, i)) {
            int32_t token = list->items[i].ids[begun(list->items[i], ids, count)];
            int known = 0;
            for (int j = 0; j < found; j++) {
                known |= tokens[j] == token;
            }
            if (!known) {
                tokens[found++] = token;
            }
        }
    }
    return found;
}

/* --- banks ----------------------------------------------------------------------- */

/* The phrase tokens that are met after a candidate. */
static int32_t bank_of(beam *b, const candidate *c, int32_t banks) {
    const phrase_list *list = &b->request->required;
    int32_t *ids = b->ids + (int64_t)c->row * b->max_length, count = b->length;
    uint64_t met = b->states[c->row].met;
    if (c->token != b->eos) {
        ids[count++] = c->token; /* the row has room for one more */
        met = constraint_met(list, met, ids, count);
    }
    return banks - 1 - constraint_missing(list, met, ids, count);
}

/* The beam's rows shared out among the banks: evenly, the remainder to the fullest; what a
 * bank has no candidates for goes to the next lower one, and at last upwards. */
static void share_out(int size, const int *available, int *rows, int32_t banks) {
    int spare = 0;
    for (int32_t i = banks - 1; i >= 0; i--) {
        int share = size / banks + (banks - 1 - i < size % banks) + spare;
        rows[i] = share < available[i] ? share : available[i];
        spare = share - rows[i];
    }
    for (int32_t i = 0; i < banks; i++) {
        int more = available[i] - rows[i] < spare ? available[i] - rows[i] : spare;
        rows[i] += more;
        spare -= more;
    }
}

void constraint_order(beam *b, const candidate *candidates, int count, candidate *ordered) {
    int available[MOST_PHRASE_TOKENS + 1] = {0}, rows[MOST_PHRASE_TOKENS + 1];
    int32_t banks = 1 + constraint_missing(&b->request->required, 0, NULL, 0);
    int placed = 0;
    for (int i = 0; i < count; i++) {
        available[bank_of(b, &candidates[i], banks)]++;
    }
    share_out(b->size, available, rows, banks);
    for (int pass = 0; pass < 2; pass++) {
        memcpy(available, rows, sizeof rows);
        for (int i = 0; i < count; i++) {
            int chosen = available[bank_of(b, &candidates[i], banks)]-- > 0;
            if (chosen == (pass == 0)) {
                ordered[placed++] = candidates[i];
            }
        }
    }
}
