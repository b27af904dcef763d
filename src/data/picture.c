/* libpng's simplified interface reads every kind of PNG; libjpeg-turbo reports errors by a
 * jump, which stays inside decode_jpeg. Both see the bytes of a mapped file. */
#include "data/picture.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include "base/file.h"
#include "base/memory.h"

static attn_status picture_new(int width, int height, int channels, const char *name, picture *made) {
    *made = (picture){0};
    if (width < 1 || height < 1 || width > PICTURE_LARGEST_SIDE || height > PICTURE_LARGEST_SIDE ||
        (size_t)width * (size_t)height > PICTURE_MOST_PIXELS) {
        return fail(ATTN_ERROR_FORMAT, "%s has %d x %d pixels; at most %d a side and %d in all were expected", name, width,
                    height, PICTURE_LARGEST_SIDE, PICTURE_MOST_PIXELS);
    }
    *made = (picture){width, height, channels, memory_allocate((size_t)width * (size_t)height, (size_t)channels)};
    return made->pixels ? ATTN_OK : ATTN_ERROR_MEMORY;
}

void picture_release(picture *p) {
    memory_free(p->pixels);
    *p = (picture){0};
}

/* --- PNG ------------------------------------------------------------------------- */

static attn_status decode_png(const unsigned char *bytes, size_t size, const char *name, int channels, picture *p) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    const png_color white = {255, 255, 255};
    if (!png_image_begin_read_from_memory(&image, bytes, size)) {
        return fail(ATTN_ERROR_FORMAT, "%s is not a whole PNG: %s", name, image.message);
    }
    int too_large = image.width > PICTURE_LARGEST_SIDE || image.height > PICTURE_LARGEST_SIDE;
    attn_status status = picture_new(too_large ? 0 : (int)image.width, too_large ? 0 : (int)image.height, channels, name, p);
    if (too_large) {
        status = fail(ATTN_ERROR_FORMAT, "%s has %u x %u pixels; at most %d a side were expected", name,
                      (unsigned)image.width, (unsigned)image.height, PICTURE_LARGEST_SIDE);
    }
    image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    if (!status && (!png_image_finish_read(&image, &white, p->pixels, 0, NULL) || PNG_IMAGE_FAILED(image))) {
        status = fail(ATTN_ERROR_FORMAT, "%s is not a whole PNG: %s", name, image.message);
    }
    png_image_free(&image);
    return status;
}

/* --- JPEG ------------------------------------------------------------------------ */

typedef struct jpeg_trouble {
    struct jpeg_error_mgr manager; /* first: libjpeg hands out a pointer to it */
    jmp_buf back;
    char message[JMSG_LENGTH_MAX];
} jpeg_trouble;

static void jpeg_failed(j_common_ptr info) {
    jpeg_trouble *trouble = (jpeg_trouble *)(void *)info->err;
    info->err->format_message(info, trouble->message);
    longjmp(trouble->back, 1);
}

/* A damaged file that libjpeg would patch up is refused. */
static void jpeg_warned(j_common_ptr info, int level) {
    if (level < 0) {
        jpeg_failed(info);
    }
}

static attn_status decode_jpeg(const unsigned char *bytes, size_t size, const char *name, int channels, picture *p) {
    struct jpeg_decompress_struct info;
    jpeg_trouble trouble;
    attn_status status = ATTN_OK;
    info.err = jpeg_std_error(&trouble.manager);
    trouble.manager.error_exit = jpeg_failed;
    trouble.manager.emit_message = jpeg_warned;
    jpeg_create_decompress(&info);
    if (setjmp(trouble.back)) {
        status = fail(ATTN_ERROR_FORMAT, "%s is not a whole JPEG: %s", name, trouble.message);
        jpeg_destroy_decompress(&info);
        return status;
    }
    jpeg_mem_src(&info, bytes, size);
    (void)jpeg_read_header(&info, TRUE);
    if (info.num_components == 4) { /* of printing: libjpeg does not turn it into colours */
        status = fail(ATTN_ERROR_FORMAT, "%s is a JPEG in four inks (CMYK); save it in RGB or in grey", name);
    } else {
        info.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
        status = picture_new((int)info.image_width, (int)info.image_height, channels, name, p);
    }
    if (!status) {
        (void)jpeg_start_decompress(&info);
        while (info.output_scanline < info.output_height) {
            JSAMPROW row = p->pixels + (size_t)info.output_scanline * (size_t)p->width * (size_t)channels;
            (void)jpeg_read_scanlines(&info, &row, 1);
        }
        (void)jpeg_finish_decompress(&info);
    }
    jpeg_destroy_decompress(&info);
    return status;
}

/* --- either ---------------------------------------------------------------------- */

attn_status picture_decode(const unsigned char *bytes, size_t size, const char *name, int channels, picture *decoded) {
    static const unsigned char PNG[] = {0x89, 'P', 'N', 'G'}, JPEG[] = {0xFF, 0xD8, 0xFF};
    *decoded = (picture){0};
    attn_status status;
    if (size > sizeof PNG && memcmp(bytes, PNG, sizeof PNG) == 0) {
        status = decode_png(bytes, size, name, channels, decoded);
    } else if (size > sizeof JPEG && memcmp(bytes, JPEG, sizeof JPEG) == 0) {
        status = decode_jpeg(bytes, size, name, channels, decoded);
    } else {
        status = fail(ATTN_ERROR_FORMAT, "%s is neither a PNG nor a JPEG", name);
    }
    if (status) {
        picture_release(decoded);
    }
    return status;
}

attn_status picture_read(const char *path, int channels, picture *read) {
    file_map map;
    *read = (picture){0};
    attn_status status = file_map_open(path, &map);
    if (status) {
        return status;
    }
    status = picture_decode(map.bytes, map.size, path, channels, read);
    file_map_close(&map);
    return status;
}

attn_status picture_encode(const picture *p, unsigned char **bytes, size_t *size) {
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)p->width,
                       .height = (png_uint_32)p->height,
                       .format = p->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t room = 0;
    *bytes = NULL;
    if (!png_image_write_get_memory_size(image, room, 0, p->pixels, 0, NULL)) {
        return fail(ATTN_ERROR_INTERNAL, "libpng: %s", image.message);
    }
    *bytes = memory_allocate_raw(room, 1);
    if (!*bytes) {
        return ATTN_ERROR_MEMORY;
    }
    if (!png_image_write_to_memory(&image, *bytes, &room, 0, p->pixels, 0, NULL)) {
        memory_free(*bytes);
        *bytes = NULL;
        return fail(ATTN_ERROR_INTERNAL, "libpng: %s", image.message);
    }
    *size = room;
    return ATTN_OK;
}

attn_status picture_write(const char *path, const picture *p) {
    unsigned char *bytes;
    size_t size = 0;
    attn_status status = picture_encode(p, &bytes, &size);
    status = status ? status : file_replace(path, bytes, size);
    memory_free(bytes);
    return status;
}
