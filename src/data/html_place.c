#include "data/html_place.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/html_references.h"
#include "data/html_token.h"

#define NONE ((size_t)-1)

/* An element, or what is kept whole; node 0 is the segment itself. Nodes stand in the source's order, so a
 * node's descendants are those from it up to `end`. */
typedef struct node {
    size_t open, close;        /* items; a kept one has no close (NONE) */
    size_t parent, end;
    size_t from, to;           /* units of the source: [from, to) that it holds, or between which it stands (from == to) */
    size_t first, last;        /* units of the target: [first, last), or a gap (first == last) */
    size_t words, words_end;   /* those that translate its own, in the slots */
} node;

typedef struct written_node {
    size_t first, node;
    bool words;
} written_node;

typedef struct placing {
    const html_document *document;
    const html_segment *segment;
    const html_alignment *alignment;
    const char *text;
    node *nodes; /* [count] */
    size_t count;
    size_t *owner;  /* [source units] the deepest element that holds each */
    size_t *slots;  /* [target units] by the element that owns their source */
    size_t *sorted; /* [target units] those of the element at hand, in the text's order */
    size_t *claims; /* [target units] the deepest element so far that goes round each */
    written_node *order; /* [count] siblings that are being written, an element's behind those of its parent */
    size_t ordered;
    html_buffer *out;
    size_t written; /* the gap before this unit is written */
    bool owed;      /* white space before what comes next */
} placing;

attn_status html_append(html_buffer *b, const char *bytes, size_t length) {
    attn_status status = memory_grow(&b->bytes, &b->capacity, b->count + length + 1, 1);
    if (!status && length) {
        memcpy(b->bytes + b->count, bytes, length);
        b->count += length;
    }
    return status;
}

static const html_item *item_of(const placing *p, size_t item) {
    return &p->document->items[p->segment->items + item];
}

/* --- the tree ----------------------------------------------------------------------- */

/* The first source unit from `from` on that ends behind `position`: the one that holds it or follows it. */
static size_t unit_at(const placing *p, size_t from, size_t position) {
    const html_unit_list *s = &p->alignment->source;
    while (from < s->count && s->units[from].end <= position) {
        from++;
    }
    return from;
}

static void make_tree(placing *p) {
    const html_unit_list *s = &p->alignment->source;
    size_t parent = 0, unit = 0;
    p->nodes[0] = (node){.open = NONE, .close = NONE, .from = 0, .to = s->count, .last = p->alignment->target.count};
    p->count = 1;
    for (size_t i = 0; i < p->segment->item_count; i++) {
        const html_item *item = item_of(p, i);
        unit = unit_at(p, unit, item->position);
        if (item->kind == HTML_ITEM_CLOSE) {
            node *closed = &p->nodes[parent];
            closed->end = p->count;
            /* a unit that the tag cuts belongs to the element too */
            closed->to = unit + (unit < s->count && s->units[unit].begin < item->position);
            parent = closed->parent;
            continue;
        }
        p->nodes[p->count] = (node){.open = i, .close = NONE, .parent = parent, .end = p->count + 1, .from = unit, .to = unit};
        if (item->kind == HTML_ITEM_OPEN) {
            p->nodes[p->count].close = item->partner;
            parent = p->count;
        }
        p->count++;
    }
    p->nodes[0].end = p->count;
}

static bool is_element(const node *n) {
    return n->close != NONE;
}

static void find_owners(placing *p) {
    for (size_t i = 1; i < p->count; i++) {
        const node *n = &p->nodes[i];
        for (size_t s = n->from; is_element(n) && s < n->to; s++) {
            p->owner[s] = p->owner[s] == n->parent ? i : p->owner[s];
        }
    }
}

static size_t owner_of_target(const placing *p, size_t t) {
    size_t s = p->alignment->source_of[t];
    return s == HTML_NO_UNIT ? 0 : p->owner[s];
}

/* The target's units in the order of the elements that own them (a counting sort): those of an element and of
 * what is in it lie side by side. */
static void sort_by_owner(placing *p) {
    const size_t units = p->alignment->target.count;
    for (size_t t = 0; t < units; t++) {
        p->nodes[owner_of_target(p, t)].words_end++;
    }
    for (size_t i = 0, at = 0; i < p->count; i++) {
        size_t owned = p->nodes[i].words_end;
        p->nodes[i].words = p->nodes[i].words_end = at;
        at += owned;
    }
    for (size_t t = 0; t < units; t++) {
        p->slots[p->nodes[owner_of_target(p, t)].words_end++] = t;
    }
    for (size_t i = p->count; i-- > 1;) { /* children come behind their parent */
        node *n = &p->nodes[i], *parent = &p->nodes[n->parent];
        parent->words_end = n->words_end > parent->words_end ? n->words_end : parent->words_end;
    }
}

static int by_number(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* --- elements ------------------------------------------------------------------------- */

static bool all_free(const placing *p, size_t from, size_t to, size_t parent) {
    for (size_t t = from; t < to; t++) {
        if (p->claims[t] != parent) {
            return false;
        }
    }
    return true;
}

static void claim(placing *p, size_t i, size_t first, size_t last) {
    p->nodes[i].first = first;
    p->nodes[i].last = last;
    for (size_t t = first; t < last; t++) {
        p->claims[t] = i;
    }
}

/* The stretch of free units with the most of the element's own less those of others; of equals the longer. */
static bool claim_best(placing *p, size_t i) {
    const node *n = &p->nodes[i];
    const size_t count = n->words_end - n->words, *words = p->slots + n->words;
    size_t first = 0, previous = 0, best_first = 0, best_last = 0, sum = 0, best = 0;
    if (count > 1 && n->end > i + 1) { /* of several owners: no longer in the text's order */
        memcpy(p->sorted, words, count * sizeof *words);
        qsort(p->sorted, count, sizeof *p->sorted, by_number);
        words = p->sorted;
    }
    for (size_t k = 0; k < count; k++) {
        const size_t t = words[k];
        if (p->claims[t] != n->parent) {
            continue;
        }
        const size_t others = sum ? t - previous - 1 : 0;
        if (sum && sum >= others && all_free(p, previous + 1, t, n->parent)) {
            sum = sum + 1 - others;
        } else {
            sum = 1;
            first = t;
        }
        previous = t;
        if (sum > best || (sum == best && t - first > best_last - best_first)) {
            best = sum;
            best_first = first;
            best_last = t;
        }
    }
    if (best) {
        claim(p, i, best_first, best_last + 1);
    }
    return best > 0;
}

/* Nothing translates its words first of all: the word that translates one of them best. */
static bool claim_any(placing *p, size_t i) {
    const node *n = &p->nodes[i];
    for (size_t s = n->from; s < n->to; s++) {
        size_t t = p->alignment->target_of[s];
        if (t != HTML_NO_UNIT && p->claims[t] == n->parent) {
            claim(p, i, t, t + 1);
            return true;
        }
    }
    return false;
}

/* --- gaps ----------------------------------------------------------------------------- */

/* Where the translation of the sentence begins that source unit s belongs to. */
static size_t sentence_begin(const placing *p, size_t s) {
    const html_unit_list *source = &p->alignment->source, *target = &p->alignment->target;
    size_t low = 0, high = target->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (target->units[middle].sentence < source->units[s].sentence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The gap of the target at which something stands that has no words. */
static size_t find_gap(const placing *p, const node *n) {
    const node *around = &p->nodes[n->parent];
    const html_alignment *a = p->alignment;
    const html_item *open = item_of(p, n->open), *close = is_element(n) ? item_of(p, n->close) : open;
    const html_unit *units = a->source.units;
    /* the units before it are those below left, those behind begin at right; within a word it comes behind that */
    const bool inside = n->from < a->source.count && units[n->from].begin < open->position;
    const size_t left = n->from + inside, right = n->to > left ? n->to : left;
    if (left <= around->from) {
        return around->first;
    }
    if (right >= around->to) {
        return around->last;
    }
    if (units[left - 1].sentence != units[right].sentence) {
        return sentence_begin(p, right);
    }
    const bool touches_left = inside || (!open->space_before && (close->space_after || !units[right].letters));
    size_t before = a->target_of[left - 1], behind = a->target_of[right];
    if (before != HTML_NO_UNIT && (touches_left || behind == HTML_NO_UNIT)) {
        return before + 1;
    }
    return behind != HTML_NO_UNIT ? behind : around->first;
}

/* Moves a gap into the element around it, and out of the siblings. */
static void set_gap(placing *p, size_t i, size_t gap) {
    node *n = &p->nodes[i];
    const node *around = &p->nodes[n->parent];
    gap = gap < around->first ? around->first : gap > around->last ? around->last : gap;
    if (gap > around->first && gap < around->last && p->claims[gap - 1] == p->claims[gap] && p->claims[gap] != n->parent) {
        const node *sibling = &p->nodes[p->claims[gap]];
        gap = sibling->open < n->open ? sibling->last : sibling->first;
    }
    n->first = n->last = gap;
}

/* Places the children of node i, which is placed. */
static void place_children(placing *p, size_t i) {
    for (size_t c = i + 1; c < p->nodes[i].end; c = p->nodes[c].end) {
        p->nodes[c].first = p->nodes[c].last = NONE;
        if (is_element(&p->nodes[c])) {
            (void)claim_best(p, c);
        }
    }
    for (size_t c = i + 1; c < p->nodes[i].end; c = p->nodes[c].end) {
        if (p->nodes[c].first == NONE && is_element(&p->nodes[c])) {
            (void)claim_any(p, c);
        }
    }
    for (size_t c = i + 1; c < p->nodes[i].end; c = p->nodes[c].end) {
        if (p->nodes[c].first == NONE) {
            set_gap(p, c, find_gap(p, &p->nodes[c]));
        }
    }
}

/* --- writing ---------------------------------------------------------------------------- */

static bool ends_in_space(const placing *p) {
    return p->out->count == 0 || html_is_space(p->out->bytes[p->out->count - 1]);
}

static attn_status write_text(placing *p, const char *text, size_t length) {
    attn_status status = ATTN_OK;
    for (size_t i = 0, size; i < length && !status; i += size) {
        const char *escaped = html_escape(text + i, length - i, &size);
        status = escaped ? html_append(p->out, escaped, strlen(escaped)) : html_append(p->out, text + i, 1);
    }
    return status;
}

/* The white space before unit t, or what is owed instead. */
static attn_status write_gap(placing *p, size_t t) {
    const html_unit_list *target = &p->alignment->target;
    attn_status status = ATTN_OK;
    if (t > p->written && t > 0 && t < target->count) {
        size_t begin = target->units[t - 1].end, end = target->units[t].begin;
        status = write_text(p, p->text + begin, end - begin);
    }
    p->written = t > p->written ? t : p->written;
    if (!status && p->owed && !ends_in_space(p)) {
        status = html_append(p->out, " ", 1);
    }
    p->owed = false;
    return status;
}

static bool has_gap(const placing *p, size_t t) {
    const html_unit_list *target = &p->alignment->target;
    return t > p->written && t > 0 && t < target->count && target->units[t - 1].end < target->units[t].begin;
}

static attn_status write_units(placing *p, size_t from, size_t to) {
    attn_status status = ATTN_OK;
    for (size_t t = from; t < to && !status; t++) {
        const html_unit *u = &p->alignment->target.units[t];
        status = write_gap(p, t);
        status = status ? status : write_text(p, p->text + u->begin, u->end - u->begin);
    }
    return status;
}

static attn_status write_item(placing *p, const html_item *item) {
    return html_append(p->out, p->document->bytes + item->begin, item->end - item->begin);
}

/* White space before and behind something without words at gap t stays what it was. */
static attn_status begin_between(placing *p, size_t t, const html_item *first, const html_item *last) {
    attn_status status = ATTN_OK;
    if (first->space_before && has_gap(p, t)) {
        status = write_gap(p, t);
    } else if ((first->space_before || p->owed) && !ends_in_space(p)) {
        status = html_append(p->out, " ", 1);
    } else if (!first->space_before && !last->space_after && first->separates && has_gap(p, t) &&
               p->text[p->alignment->target.units[t - 1].end] == ' ' &&
               p->alignment->target.units[t - 1].end + 1 == p->alignment->target.units[t].begin) {
        p->written = t; /* a space that stood for the item alone */
    }
    p->owed = false;
    return status;
}

/* Siblings by where they begin; at one place those without words first; then as in the source. */
static int by_place(const void *a, const void *b) {
    const written_node *x = a, *y = b;
    if (x->first != y->first) {
        return x->first > y->first ? 1 : -1;
    }
    return x->words != y->words ? x->words - y->words : (x->node > y->node) - (x->node < y->node);
}

static attn_status write_node(placing *p, size_t i);

/* The children of node i and the words between them. */
static attn_status write_content(placing *p, size_t i) {
    written_node *children = p->order + p->ordered;
    size_t count = 0, at = p->nodes[i].first;
    for (size_t c = i + 1; c < p->nodes[i].end; c = p->nodes[c].end) {
        const node *n = &p->nodes[c];
        children[count++] = (written_node){n->first, c, n->first < n->last};
    }
    p->ordered += count;
    qsort(children, count, sizeof *children, by_place);
    attn_status status = ATTN_OK;
    for (size_t k = 0; k < count && !status; k++) {
        status = write_units(p, at, children[k].first);
        at = p->nodes[children[k].node].last;
        status = status ? status : write_node(p, children[k].node);
    }
    p->ordered -= count;
    return status ? status : write_units(p, at, p->nodes[i].last);
}

static attn_status write_node(placing *p, size_t i) {
    const node *n = &p->nodes[i];
    const html_item *open = item_of(p, n->open), *close = is_element(n) ? item_of(p, n->close) : open;
    attn_status status = n->first < n->last ? write_gap(p, n->first) : begin_between(p, n->first, open, close);
    status = status ? status : write_item(p, open);
    if (!status && is_element(n)) {
        status = write_content(p, i);
        status = status ? status : write_item(p, close);
    }
    p->owed |= n->first == n->last && close->space_after;
    return status;
}

static attn_status write_all(placing *p) {
    const html_unit_list *source = &p->alignment->source;
    const char *text = p->document->texts + p->segment->text;
    const size_t first = source->count ? source->units[0].begin : 0;
    const size_t end = source->count ? source->units[source->count - 1].end : p->segment->text_length;
    attn_status status = p->segment->space_first ? html_append(p->out, " ", 1) : ATTN_OK;
    status = status ? status : write_text(p, text, first); /* &nbsp; and the like at the ends */
    status = status ? status : write_content(p, 0);
    status = status ? status : write_text(p, text + end, p->segment->text_length - end);
    if (!status && (p->segment->space_last || p->owed) && !ends_in_space(p)) {
        status = html_append(p->out, " ", 1);
    }
    return status;
}

attn_status html_place(const html_document *document, const html_segment *segment, const char *translation,
                       const html_alignment *alignment, html_buffer *out) {
    placing p = {.document = document, .segment = segment, .alignment = alignment, .text = translation, .out = out};
    const size_t nodes = segment->item_count + 1, sources = alignment->source.count, targets = alignment->target.count;
    p.nodes = memory_allocate(nodes, sizeof *p.nodes);
    p.order = memory_allocate(nodes, sizeof *p.order);
    p.owner = memory_allocate(sources, sizeof *p.owner);
    p.slots = memory_allocate(targets, sizeof *p.slots);
    p.sorted = memory_allocate(targets, sizeof *p.sorted);
    p.claims = memory_allocate(targets, sizeof *p.claims);
    attn_status status = p.nodes && p.order && p.owner && p.slots && p.sorted && p.claims ? ATTN_OK : ATTN_ERROR_MEMORY;
    if (!status) {
        make_tree(&p);
        find_owners(&p);
        sort_by_owner(&p);
        for (size_t i = 0; i < p.count; i++) {
            place_children(&p, i);
        }
        status = write_all(&p);
    }
    memory_free(p.nodes);
    memory_free(p.order);
    memory_free(p.owner);
    memory_free(p.slots);
    memory_free(p.sorted);
    memory_free(p.claims);
    return status;
}
