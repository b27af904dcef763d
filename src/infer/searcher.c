/* What all searches with a model share: its weights, packed once, and tapes that wait
 * to be used again, since their compiled products are costly to make. */
#include <pthread.h>

#include "infer/search.h"

struct searcher {
    translator translator;
    parameters view; /* the model's, f32 alone */
    packed_parameters *packed;
    product_type type;
    pthread_mutex_t lock; /* of the idle tapes */
    tape **idle;
    size_t idle_count, idle_capacity;
};

static tape *new_tape(searcher *s) {
    tape *t = memory_allocate(1, sizeof *t);
    if (t && tape_open(t, &s->view)) {
        memory_free(t);
        return NULL;
    }
    if (t) {
        t->packed = s->packed;
    }
    return t;
}

static void free_tape(tape *t) {
    tape_close(t);
    memory_free(t);
}

tape *searcher_borrow_tape(searcher *s) {
    tape *t = NULL;
    (void)pthread_mutex_lock(&s->lock);
    if (s->idle_count) {
        t = s->idle[--s->idle_count];
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!t) {
        t = new_tape(s);
    }
    if (t) {
        tape_start(t, 0, 0, 0);
    }
    return t;
}

void searcher_return_tape(searcher *s, tape *t) {
    if (!t) {
        return;
    }
    tape_reset(t);
    (void)pthread_mutex_lock(&s->lock);
    attn_status status = memory_grow(&s->idle, &s->idle_capacity, s->idle_count + 1, sizeof(tape *));
    if (!status) {
        s->idle[s->idle_count++] = t;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (status) {
        free_tape(t);
    }
}

static attn_status pack_all(searcher *s) {
    attn_status status = s->packed ? ATTN_OK : ATTN_ERROR_MEMORY;
    status = status ? status : s->translator.kind->pack(s->packed, s->type, &s->view, s->translator.model);
    return status ? status : packed_parameters_add(s->packed, s->type, &s->view, s->translator.embedding);
}

attn_status searcher_new(const translator *from, product_type type, searcher **made) {
    *made = NULL;
    searcher *s = memory_allocate(1, sizeof *s);
    if (!s) {
        return ATTN_ERROR_MEMORY;
    }
    *s = (searcher){.translator = *from, .view = *from->parameters, .packed = packed_parameters_new(), .type = type};
    s->view.copies = NULL;
    s->view.gradients = NULL;
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        packed_parameters_free(s->packed);
        memory_free(s);
        return fail(ATTN_ERROR_MEMORY, "a lock could not be made");
    }
    attn_status status = pack_all(s);
    if (status) {
        searcher_free(s);
        return status;
    }
    *made = s;
    return ATTN_OK;
}

void searcher_free(searcher *s) {
    if (s) {
        for (size_t i = 0; i < s->idle_count; i++) {
            free_tape(s->idle[i]);
        }
        memory_free(s->idle);
        packed_parameters_free(s->packed);
        (void)pthread_mutex_destroy(&s->lock);
        memory_free(s);
    }
}

const translator *searcher_translator(const searcher *s) {
    return &s->translator;
}
