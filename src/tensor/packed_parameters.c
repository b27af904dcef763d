/* A sorted list by (offset, rows): a fused projection and its first part begin at the
 * same place. */
#include "tensor/packed_parameters.h"

#include "base/memory.h"

typedef struct packed_parameter {
    parameter where;
    packed_weight *packed;
} packed_parameter;

struct packed_parameters {
    arena *room; /* the packed arrays: in one block, so that a model of many small matrices has large pages too */
    packed_parameter *list;
    size_t count, capacity;
};

packed_parameters *packed_parameters_new(void) {
    packed_parameters *set = memory_allocate(1, sizeof *set);
    arena *room = set ? arena_new() : NULL;
    if (!room) {
        memory_free(set);
        return NULL;
    }
    set->room = room;
    return set;
}

void packed_parameters_free(packed_parameters *set) {
    if (set) {
        for (size_t i = 0; i < set->count; i++) {
            packed_weight_free(set->list[i].packed);
        }
        arena_free(set->room);
        memory_free(set->list);
        memory_free(set);
    }
}

static int comes_before(parameter a, parameter b) {
    return a.offset != b.offset ? a.offset < b.offset : a.rows < b.rows;
}

/* The first place whose array does not come before `weight`. */
static size_t place_of(const packed_parameters *set, parameter weight) {
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (comes_before(set->list[middle].where, weight)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const packed_weight *packed_parameters_find(const packed_parameters *set, parameter weight) {
    size_t place = place_of(set, weight);
    const packed_parameter *found = place < set->count ? &set->list[place] : NULL;
    return found && found->where.offset == weight.offset && found->where.rows == weight.rows ? found->packed : NULL;
}

/* The name of the array that begins there. */
static const char *name_of(const parameters *values, parameter weight) {
    for (size_t i = 0; i < values->count; i++) {
        if (values->list[i].where.offset == weight.offset) {
            return values->list[i].name;
        }
    }
    return "?";
}

attn_status packed_parameters_add(packed_parameters *set, product_type type, const parameters *values, parameter weight) {
    if (packed_parameters_find(set, weight)) {
        return ATTN_OK;
    }
    attn_status status = memory_grow(&set->list, &set->capacity, set->count + 1, sizeof *set->list);
    packed_weight *made = NULL;
    const size_t bytes = type == PRODUCT_F32 ? 4 : type == PRODUCT_BF16 ? 2 : 1;
    status = status ? status : arena_reserve(set->room, (size_t)values->size * bytes / 16 * 17);
    status = status ? status : product_pack(parameter_values(values, weight), weight.rows, weight.columns, type,
                                            name_of(values, weight), set->room, &made);
    if (status) {
        return status;
    }
    size_t place = place_of(set, weight);
    for (size_t i = set->count; i > place; i--) {
        set->list[i] = set->list[i - 1];
    }
    set->list[place] = (packed_parameter){weight, made};
    set->count++;
    return ATTN_OK;
}
