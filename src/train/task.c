#include "train/task.h"

#include "base/memory.h"

const task *task_of(const attn_train_options *o) {
    static const task *const TASKS[] = {[ATTN_TASK_TRANSLATE] = &task_translate,
                                        [ATTN_TASK_CLASSIFY] = &task_classify,
                                        [ATTN_TASK_MASKED] = &task_masked,
                                        [ATTN_TASK_IMAGE] = &task_image,
                                        [ATTN_TASK_SPEECH] = &task_speech,
                                        [ATTN_TASK_LANGUAGE] = &task_language};
    if (o->task == ATTN_TASK_SPEECH && o->signal.text) {
        return &task_transcribe;
    }
    return (size_t)o->task < sizeof TASKS / sizeof *TASKS ? TASKS[o->task] : NULL;
}

attn_status samples_add(samples *s, const char *source, const char *reference, const char *result) {
    journal_sample copy = {memory_copy_string(source), memory_copy_string(reference), memory_copy_string(result)};
    s->list[s->count++] = copy;
    return copy.source && copy.reference && copy.translation ? ATTN_OK : ATTN_ERROR_MEMORY;
}

void samples_release(samples *s) {
    for (size_t i = 0; i < s->count; i++) {
        memory_free((void *)(uintptr_t)s->list[i].source);
        memory_free((void *)(uintptr_t)s->list[i].reference);
        memory_free((void *)(uintptr_t)s->list[i].translation);
    }
    s->count = 0;
}
