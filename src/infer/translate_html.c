/* HTML translated with its markup in place: segments (data/html_segments.h) are split into sentences, translated
 * a thousand at a time, and written with their tags where the cross-attention has their words
 * (data/html_place.h). */
#include <string.h>

#include "base/memory.h"
#include "infer/html_links.h"

enum { SENTENCES_AT_ONCE = 1024 };

struct attn_html {
    html_buffer out;
};

typedef struct page_sentence {
    attn_sentence at; /* in its segment's text */
    size_t segment;
} page_sentence;

/* Sentences that are translated together, of whole segments. */
typedef struct page {
    const attn_model *model;
    const attn_translate_options *asked;
    attn_translate_options options;
    html_document document;
    html_buffer *out;
    size_t written; /* the document's bytes before here are in `out` */
    page_sentence *sentences;
    size_t count, capacity;
    char **texts; /* [count] */
    size_t text_capacity;
} page;

static void tell_line(void *context, size_t line, const char *sentence) {
    const page *p = context;
    p->asked->warn(p->asked->context, p->document.segments[p->sentences[line - 1].segment].line, sentence);
}

static attn_status add_segment(page *p, size_t segment) {
    const html_segment *s = &p->document.segments[segment];
    const char *text = p->document.texts + s->text;
    size_t count = attn_split_sentences(text, NULL, 0);
    attn_sentence *sentences = memory_allocate(count, sizeof *sentences);
    attn_status status = sentences ? memory_grow(&p->sentences, &p->capacity, p->count + count, sizeof *p->sentences)
                                   : ATTN_ERROR_MEMORY;
    status = status ? status : memory_grow(&p->texts, &p->text_capacity, p->count + count, sizeof *p->texts);
    if (!status) {
        (void)attn_split_sentences(text, sentences, count);
    }
    for (size_t i = 0; i < count && !status; i++) {
        char *copy = memory_copy_bytes(text + sentences[i].begin, sentences[i].end - sentences[i].begin);
        if (copy) {
            p->texts[p->count] = copy;
            p->sentences[p->count++] = (page_sentence){sentences[i], segment};
        }
        status = copy ? ATTN_OK : ATTN_ERROR_MEMORY;
    }
    memory_free(sentences);
    return status;
}

static void forget_sentences(page *p) {
    while (p->count > 0) {
        memory_free(p->texts[--p->count]);
    }
}

/* Sentences first .. end - 1, a segment, laid end to end, with the units of both sides. */
static attn_status join_sentences(const page *p, const attn_translation *r, size_t first, size_t end, html_buffer *joined,
                                  html_alignment *a, html_sentence *places) {
    const char *text = p->document.texts + p->document.segments[p->sentences[first].segment].text;
    attn_status status = html_append(joined, "", 0);
    for (size_t i = first; i < end && !status; i++) {
        const attn_sentence *at = &p->sentences[i].at;
        if (i > first && p->sentences[i - 1].at.end < at->begin) {
            status = html_append(joined, " ", 1);
        }
        places[i - first] = (html_sentence){p->texts[i], at->end - at->begin, at->begin, joined->count,
                                            a->source.count, a->target.count};
        const char *found = attn_translation_text(r, i);
        status = status ? status : html_units_add(&a->source, text, at->begin, at->end, i - first);
        status = status ? status : html_append(joined, found ? found : "", found ? strlen(found) : 0);
        status = status ? status : html_units_add(&a->target, joined->bytes, places[i - first].target_begin, joined->count, i - first);
    }
    return status;
}

/* html_link of each sentence, as if its units were the last. */
static attn_status link_sentences(const page *p, const attn_translation *r, size_t first, size_t end, const html_buffer *joined,
                                  html_alignment *a, const html_sentence *places) {
    const char *text = p->document.texts + p->document.segments[p->sentences[first].segment].text;
    const size_t sources = a->source.count, targets = a->target.count;
    attn_status status = ATTN_OK;
    for (size_t i = first; i < end && !status; i++) {
        const html_sentence *next = i + 1 < end ? &places[i + 1 - first] : NULL;
        a->source.count = next ? next->source_first : sources;
        a->target.count = next ? next->target_first : targets;
        status = html_link(r, i, &places[i - first], text, joined->bytes, a);
    }
    a->source.count = sources;
    a->target.count = targets;
    return status;
}

static attn_status write_segment(page *p, const attn_translation *r, size_t first, size_t end) {
    const html_segment *s = &p->document.segments[p->sentences[first].segment];
    html_alignment a = {0};
    html_buffer joined = {0};
    html_sentence *places = memory_allocate(end - first, sizeof *places);
    attn_status status = places ? join_sentences(p, r, first, end, &joined, &a, places) : ATTN_ERROR_MEMORY;
    if (!status) {
        a.source_of = memory_allocate(a.target.count, sizeof *a.source_of);
        a.target_of = memory_allocate(a.source.count, sizeof *a.target_of);
        status = a.source_of && a.target_of ? link_sentences(p, r, first, end, &joined, &a, places) : ATTN_ERROR_MEMORY;
    }
    status = status ? status : html_append(p->out, p->document.bytes + p->written, s->begin - p->written);
    status = status ? status : html_place(&p->document, s, joined.bytes, &a, p->out);
    p->written = s->end;
    memory_free(a.source.units);
    memory_free(a.target.units);
    memory_free(a.source_of);
    memory_free(a.target_of);
    memory_free(joined.bytes);
    memory_free(places);
    return status;
}

static attn_status translate_sentences(page *p) {
    attn_translation *r = NULL;
    attn_status status = attn_translate(p->model, (const char *const *)p->texts, p->count, &p->options, &r);
    for (size_t first = 0, end; first < p->count && !status; first = end) {
        end = first + 1;
        while (end < p->count && p->sentences[end].segment == p->sentences[first].segment) {
            end++;
        }
        status = write_segment(p, r, first, end);
    }
    attn_translation_free(r);
    forget_sentences(p);
    return status;
}

static attn_status translate_page(page *p) {
    const html_document *d = &p->document;
    attn_status status = ATTN_OK;
    for (size_t i = 0; i < d->count && !status; i++) {
        status = add_segment(p, i);
        if (!status && (p->count >= SENTENCES_AT_ONCE || i + 1 == d->count)) {
            status = translate_sentences(p);
        }
    }
    status = status ? status : html_append(p->out, d->bytes + p->written, d->length - p->written);
    if (!status) {
        p->out->bytes[p->out->count] = '\0';
    }
    if (!status && d->unreadable && p->asked->warn) {
        char sentence[96];
        (void)snprintf(sentence, sizeof sentence, "%zu %s as %s: not UTF-8, or with a NUL", d->unreadable,
                       d->unreadable == 1 ? "text is left" : "texts from here on are left", d->unreadable == 1 ? "it is" : "they are");
        p->asked->warn(p->asked->context, d->unreadable_line, sentence);
    }
    return status;
}

attn_status attn_translate_html(const attn_model *model, const char *html, size_t length, const attn_translate_options *options,
                                attn_html **translated) {
    attn_translate_options standard;
    if (!translated || !model || (length && !html)) {
        return fail(ATTN_ERROR_ARGUMENT, "a model, HTML and a place for the translation were expected");
    }
    *translated = NULL;
    attn_translate_options_defaults(&standard);
    options = options ? options : &standard;
    if (options->n_best != 1 || options->prefixes || options->required || options->alignment || options->replace_unknown) {
        return fail(ATTN_ERROR_ARGUMENT, "n_best 1 was expected, and neither prefixes, required phrases, alignments nor "
                                         "unknown words' replacement: HTML has no lines to give them for");
    }
    attn_html *made = memory_allocate(1, sizeof *made);
    if (!made) {
        return ATTN_ERROR_MEMORY;
    }
    page p = {.model = model, .asked = options, .options = *options, .out = &made->out};
    p.options.alignment = 1;
    p.options.warn = options->warn ? tell_line : NULL;
    p.options.context = &p;
    attn_status status = html_document_parse(html, length, &p.document);
    status = status ? status : translate_page(&p);
    forget_sentences(&p);
    memory_free(p.sentences);
    memory_free(p.texts);
    html_document_release(&p.document);
    if (status) {
        attn_html_free(made);
        return status;
    }
    *translated = made;
    return ATTN_OK;
}

const char *attn_html_bytes(const attn_html *html) {
    return html ? html->out.bytes : NULL;
}

size_t attn_html_length(const attn_html *html) {
    return html ? html->out.count : 0;
}

void attn_html_free(attn_html *html) {
    if (html) {
        memory_free(html->out.bytes);
        memory_free(html);
    }
}
