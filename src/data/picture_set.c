#include "data/picture_set.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/idx.h"

static const size_t MOST_BYTES = (size_t)1 << 33; /* of an unpacked IDX file */

static size_t picture_bytes(const patch_shape *s) {
    return (size_t)s->width * (size_t)s->height * (size_t)s->channels;
}

static unsigned char *picture_at(const picture_set *set, size_t i) {
    return set->pixels + i * picture_bytes(&set->shape);
}

void picture_set_release(picture_set *set) {
    memory_free(set->pixels);
    memory_free(set->labels);
    *set = (picture_set){0};
}

/* Puts a picture of any size in place i. */
static attn_status put(picture_set *set, size_t i, const picture *p) {
    const patch_shape *s = &set->shape;
    if (p->width == s->width && p->height == s->height) {
        memcpy(picture_at(set, i), p->pixels, picture_bytes(s));
        return ATTN_OK;
    }
    picture resized;
    attn_status status = picture_resize(p, s->width, s->height, &resized);
    if (!status) {
        memcpy(picture_at(set, i), resized.pixels, picture_bytes(s));
        set->resized++;
        picture_release(&resized);
    }
    return status;
}

static attn_status make_room(picture_set *set, const patch_shape *shape, size_t count) {
    *set = (picture_set){.shape = *shape, .count = count};
    set->pixels = memory_allocate(count, picture_bytes(shape));
    set->labels = memory_allocate(count, sizeof *set->labels);
    return set->pixels && set->labels ? ATTN_OK : ATTN_ERROR_MEMORY;
}

/* --- IDX -------------------------------------------------------------------------- */

attn_status picture_set_idx_size(const char *images, int *width, int *height) {
    idx_array array;
    attn_status status = idx_read(images, 3, MOST_BYTES, &array);
    if (!status && (array.shape[1] < 1 || array.shape[2] < 1 || array.shape[1] > PICTURE_LARGEST_SIDE ||
                    array.shape[2] > PICTURE_LARGEST_SIDE)) {
        status = fail(ATTN_ERROR_FORMAT, "%s: its pictures have %zu x %zu pixels; 1 to %d a side were expected", images,
                      array.shape[2], array.shape[1], PICTURE_LARGEST_SIDE);
    }
    if (!status) {
        *height = (int)array.shape[1];
        *width = (int)array.shape[2];
    }
    idx_release(&array);
    return status;
}

static attn_status name_numbers(const idx_array *numbers, vocabulary *labels) {
    char names[256][4];
    text_line lines[256];
    size_t count = 0;
    for (size_t i = 0; i < numbers->count; i++) {
        count = numbers->values[i] >= count ? (size_t)numbers->values[i] + 1 : count;
    }
    for (size_t i = 0; i < count; i++) {
        int length = snprintf(names[i], sizeof names[i], "%d", (int)(unsigned char)i);
        lines[i] = (text_line){names[i], (size_t)length};
    }
    return vocabulary_build(lines, count, labels);
}

static attn_status find_number(const char *path, size_t i, int number, const vocabulary *labels, int32_t *label) {
    char name[8];
    int length = snprintf(name, sizeof name, "%d", number);
    *label = vocabulary_find(labels, name, (size_t)length);
    return *label >= 0 ? ATTN_OK
                       : fail(ATTN_ERROR_FORMAT, "%s: label %zu is %d, which is none of the %zu of the training set", path,
                              i, number, labels->size);
}

static attn_status take_idx(const idx_array *pictures, const idx_array *numbers, const char *images,
                            const char *label_file, vocabulary *labels, picture_set *set) {
    size_t height = pictures->shape[1], width = pictures->shape[2], count = pictures->shape[0];
    if (count != numbers->count || count == 0) {
        return fail(ATTN_ERROR_FORMAT, "%s holds %zu pictures and %s %zu labels; as many, and at least one, were expected",
                    images, count, label_file, numbers->count);
    }
    if (height < 1 || width < 1 || height > PICTURE_LARGEST_SIDE || width > PICTURE_LARGEST_SIDE) {
        return fail(ATTN_ERROR_FORMAT, "%s: its pictures have %zu x %zu pixels; 1 to %d a side were expected", images, width,
                    height, PICTURE_LARGEST_SIDE);
    }
    attn_status status = labels->size == 0 ? name_numbers(numbers, labels) : ATTN_OK;
    patch_shape shape = set->shape;
    status = status ? status : make_room(set, &shape, count);
    for (size_t i = 0; i < count && !status; i++) {
        picture p = {(int)width, (int)height, 1, pictures->values + i * width * height};
        status = put(set, i, &p);
        status = status ? status : find_number(label_file, i, numbers->values[i], labels, &set->labels[i]);
    }
    return status;
}

attn_status picture_set_read_idx(const char *images, const char *label_file, const patch_shape *shape,
                                 vocabulary *labels, picture_set *read) {
    idx_array pictures = {0}, numbers = {0};
    *read = (picture_set){.shape = *shape};
    attn_status status = shape->channels == 1 ? ATTN_OK
                                              : fail(ATTN_ERROR_ARGUMENT, "%s: IDX pictures are grey, 1 channel, not %d",
                                                     images, shape->channels);
    status = status ? status : idx_read(images, 3, MOST_BYTES, &pictures);
    status = status ? status : idx_read(label_file, 1, MOST_BYTES, &numbers);
    status = status ? status : take_idx(&pictures, &numbers, images, label_file, labels, read);
    idx_release(&pictures);
    idx_release(&numbers);
    if (status) {
        picture_set_release(read);
    }
    return status;
}

/* --- a folder --------------------------------------------------------------------- */

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* The pictures of all classes. */
typedef struct path_list {
    char **paths;
    int32_t *labels;
    size_t count, path_capacity, label_capacity;
} path_list;

static void path_list_release(path_list *l) {
    for (size_t i = 0; i < l->count; i++) {
        memory_free(l->paths[i]);
    }
    memory_free(l->paths);
    memory_free(l->labels);
}

static attn_status add_path(path_list *l, const char *directory, const char *name, int32_t label) {
    attn_status status = memory_grow(&l->paths, &l->path_capacity, l->count + 1, sizeof *l->paths);
    status = status ? status : memory_grow(&l->labels, &l->label_capacity, l->count + 1, sizeof *l->labels);
    char *path = status ? NULL : file_join(directory, name);
    if (!path) {
        return status ? status : ATTN_ERROR_MEMORY;
    }
    l->labels[l->count] = label;
    l->paths[l->count++] = path;
    return ATTN_OK;
}

static attn_status list_class(const char *directory, int32_t label, path_list *list) {
    struct dirent **entries;
    size_t before = list->count;
    int count = scandir(directory, &entries, is_visible, by_bytes);
    if (count < 0) {
        return fail(ATTN_ERROR_FILE, "the folder %s cannot be read", directory);
    }
    attn_status status = ATTN_OK;
    for (int i = 0; i < count; i++) {
        status = status ? status : add_path(list, directory, entries[i]->d_name, label);
        free(entries[i]);
    }
    free(entries);
    return status || list->count > before
               ? status
               : fail(ATTN_ERROR_FORMAT, "the class folder %s holds no picture", directory);
}

static attn_status name_folders(char *const *names, size_t count, vocabulary *labels) {
    text_line *lines = memory_allocate(count, sizeof *lines);
    for (size_t i = 0; i < count && lines; i++) {
        lines[i] = (text_line){names[i], strlen(names[i])};
    }
    attn_status status = lines ? vocabulary_build(lines, count, labels) : ATTN_ERROR_MEMORY;
    memory_free(lines);
    return status;
}

/* The names of the folders in a folder, in order, as a list of paths without labels. */
static attn_status list_folders(const char *directory, path_list *names) {
    struct dirent **entries;
    int count = scandir(directory, &entries, is_visible, by_bytes);
    if (count < 0) {
        return fail(ATTN_ERROR_FILE, "the folder %s cannot be read", directory);
    }
    attn_status status = ATTN_OK;
    for (int i = 0; i < count; i++) {
        char *path = status ? NULL : file_join(directory, entries[i]->d_name);
        if (path && is_folder(path)) {
            char *name = memory_copy_string(entries[i]->d_name);
            status = memory_grow(&names->paths, &names->path_capacity, names->count + 1, sizeof *names->paths);
            if (!status && name) {
                names->paths[names->count++] = name;
            }
            status = status ? status : name ? ATTN_OK : ATTN_ERROR_MEMORY;
        }
        memory_free(path);
        free(entries[i]);
    }
    free(entries);
    return status || names->count > 0
               ? status
               : fail(ATTN_ERROR_FORMAT, "%s holds no class: a folder of PNG or JPEG files for each was expected", directory);
}

static attn_status list_classes(const char *directory, vocabulary *labels, path_list *list) {
    path_list names = {0};
    attn_status status = list_folders(directory, &names);
    if (!status && labels->size == 0) {
        status = name_folders(names.paths, names.count, labels);
    }
    for (size_t i = 0; i < names.count && !status; i++) {
        int32_t label = vocabulary_find(labels, names.paths[i], strlen(names.paths[i]));
        char *path = file_join(directory, names.paths[i]);
        status = !path       ? ATTN_ERROR_MEMORY
                 : label < 0 ? fail(ATTN_ERROR_FORMAT, "%s: the class \"%s\" is none of the %zu of the training set",
                                    directory, names.paths[i], labels->size)
                             : list_class(path, label, list);
        memory_free(path);
    }
    path_list_release(&names);
    return status;
}

attn_status picture_set_read_folder(const char *directory, const patch_shape *shape, vocabulary *labels,
                                    picture_set *read) {
    path_list list = {0};
    *read = (picture_set){0};
    attn_status status = list_classes(directory, labels, &list);
    status = status ? status : make_room(read, shape, list.count);
    for (size_t i = 0; i < list.count && !status; i++) {
        picture p;
        status = picture_read(list.paths[i], shape->channels, &p);
        if (!status) {
            status = put(read, i, &p);
            read->labels[i] = list.labels[i];
            picture_release(&p);
        }
    }
    path_list_release(&list);
    if (status) {
        picture_set_release(read);
    }
    return status;
}

/* --- splitting, and as features --------------------------------------------------- */

attn_status picture_set_split(picture_set *from, const unsigned char *held, picture_set *to) {
    size_t count = 0, kept = 0, bytes = picture_bytes(&from->shape);
    for (size_t i = 0; i < from->count; i++) {
        count += held[i];
    }
    attn_status status = make_room(to, &from->shape, count);
    for (size_t i = 0, moved = 0; i < from->count && !status; i++) {
        if (held[i]) {
            memcpy(picture_at(to, moved), picture_at(from, i), bytes);
            to->labels[moved++] = from->labels[i];
        } else {
            memmove(picture_at(from, kept), picture_at(from, i), bytes);
            from->labels[kept++] = from->labels[i];
        }
    }
    from->count = status ? from->count : kept;
    return status;
}

static void read_picture(const void *context, size_t i, uint64_t draw, float *out) {
    const picture_set *set = context;
    if (draw && (set->augmentation.shift > 0 || set->augmentation.rotation > 0)) {
        patches_cut_augmented(&set->shape, picture_at(set, i), &set->augmentation, draw, 0, out);
    } else {
        patches_cut(&set->shape, picture_at(set, i), out);
    }
}

feature_source picture_set_features(const picture_set *set) {
    return (feature_source){(size_t)patches_width(&set->shape), read_picture, set};
}
