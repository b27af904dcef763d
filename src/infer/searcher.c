/* What all searches with a model share: its weights, packed once, and working memory that waits
 * to be used again: clearing new pages would cost more than a small model's products. */
#include <pthread.h>
#include <stdatomic.h>

#include "infer/search.h"

/* Rows of narrow steps after which a shortlist has paid for itself. */
enum { SHORTLIST_WORTH = 256 };

struct searcher {
    translator translator;
    parameters view; /* the model's, f32 alone */
    packed_parameters *packed;
    product_type type;
    pthread_mutex_t lock; /* of the idle rooms */
    search_room **idle;
    size_t idle_count, idle_capacity;
    _Atomic int64_t narrow_rows;
    _Atomic(shortlist *) list; /* NULL: not yet, or not for this model */
};

static void free_room(search_room *room) {
    if (room) {
        tape_close(&room->tape);
        cache_close(&room->self);
        cache_close(&room->cross);
        memory_free(room);
    }
}

static search_room *new_room(searcher *s) {
    search_room *room = memory_allocate(1, sizeof *room);
    if (!room || tape_open(&room->tape, &s->view)) {
        memory_free(room);
        return NULL;
    }
    room->tape.packed = s->packed;
    if (s->translator.kind->open_caches(s->translator.model, &room->self, &room->cross)) {
        free_room(room);
        return NULL;
    }
    return room;
}

search_room *searcher_borrow(searcher *s) {
    search_room *room = NULL;
    (void)pthread_mutex_lock(&s->lock);
    if (s->idle_count) {
        room = s->idle[--s->idle_count];
    }
    (void)pthread_mutex_unlock(&s->lock);
    room = room ? room : new_room(s);
    if (room) {
        tape_start(&room->tape, 0, 0, 0);
    }
    return room;
}

void searcher_return(searcher *s, search_room *room) {
    if (!room) {
        return;
    }
    tape_reset(&room->tape);
    cache_empty(&room->self);
    cache_empty(&room->cross);
    (void)pthread_mutex_lock(&s->lock);
    attn_status status = memory_grow(&s->idle, &s->idle_capacity, s->idle_count + 1, sizeof *s->idle);
    if (!status) {
        s->idle[s->idle_count++] = room;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (status) {
        free_room(room);
    }
}

const shortlist *searcher_shortlist(searcher *s, int64_t rows) {
    const translator *from = &s->translator;
    const int64_t before = s->type == PRODUCT_F32 ? atomic_fetch_add(&s->narrow_rows, rows) : SHORTLIST_WORTH;
    if (before < SHORTLIST_WORTH && before + rows >= SHORTLIST_WORTH) { /* this thread alone makes it */
        shortlist *made;
        (void)shortlist_new(parameter_values(&s->view, from->embedding),
                            parameter_values(&s->view, from->logits_bias), from->embedding.rows,
                            from->embedding.columns, &made);
        atomic_store(&s->list, made);
    }
    return atomic_load(&s->list);
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
            free_room(s->idle[i]);
        }
        memory_free(s->idle);
        shortlist_free(atomic_load(&s->list));
        packed_parameters_free(s->packed);
        (void)pthread_mutex_destroy(&s->lock);
        memory_free(s);
    }
}

const translator *searcher_translator(const searcher *s) {
    return &s->translator;
}
