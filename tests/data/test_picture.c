/* PNG and JPEG files read, whole and damaged; resizing. */
#include "test.h"
#include "temporary.h"

#include <math.h>

#include <jpeglib.h>
#include <png.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/picture.h"

static char folder[256];

static int make_folder(void **state) {
    (void)state;
    return temporary_make(folder);
}

static int remove_folder(void **state) {
    (void)state;
    temporary_remove(folder);
    return 0;
}

/* A smooth picture, which JPEG keeps nearly as it is. */
static picture gradient(int width, int height, int channels) {
    picture p = {width, height, channels, memory_allocate((size_t)(width * height), (size_t)channels)};
    for (int i = 0; i < width * height * channels; i++) {
        int x = i / channels % width, y = i / channels / width, c = i % channels;
        p.pixels[i] = (unsigned char)(30 + 150 * x / width + 50 * y / height + 10 * c);
    }
    return p;
}

static void assert_near(const picture *a, const picture *b, int bound) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    for (int i = 0; i < a->width * a->height * a->channels; i++) {
        if (abs(a->pixels[i] - b->pixels[i]) > bound) {
            fail_msg("byte %d is %d, not %d", i, a->pixels[i], b->pixels[i]);
        }
    }
}

static void a_png_is_read_as_it_was_written(void **state) {
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        picture p = gradient(37, 23, channels), read;
        const char *path = temporary_path(folder, "a.png");
        assert_int_equal(picture_write(path, &p), ATTN_OK);
        assert_int_equal(picture_read(path, channels, &read), ATTN_OK);
        assert_near(&p, &read, 0);
        picture_release(&read);
        assert_int_equal(picture_read(path, 4 - channels, &read), ATTN_OK); /* grey <-> colour */
        assert_int_equal(read.channels, 4 - channels);
        picture_release(&read);
        picture_release(&p);
    }
}

static void transparency_lies_on_white(void **state) {
    (void)state;
    const unsigned char pixels[] = {0, 0, 0, 0, 0, 0, 0, 255}; /* RGBA: nothing, black */
    png_image image = {.version = PNG_IMAGE_VERSION, .width = 2, .height = 1, .format = PNG_FORMAT_RGBA};
    unsigned char bytes[4096];
    png_alloc_size_t size = sizeof bytes;
    assert_true(png_image_write_to_memory(&image, bytes, &size, 0, pixels, 0, NULL));
    picture read;
    assert_int_equal(picture_decode(bytes, size, "here", 1, &read), ATTN_OK);
    assert_int_equal(read.pixels[0], 255);
    assert_int_equal(read.pixels[1], 0);
    picture_release(&read);
}

static unsigned char *jpeg_of(const picture *p, unsigned long *size) {
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    *size = 0;
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &bytes, size);
    info.image_width = (JDIMENSION)p->width;
    info.image_height = (JDIMENSION)p->height;
    info.input_components = p->channels;
    info.in_color_space = p->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 98, TRUE);
    jpeg_start_compress(&info, TRUE);
    for (int y = 0; y < p->height; y++) {
        JSAMPROW row = p->pixels + y * p->width * p->channels;
        (void)jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    return bytes;
}

static void a_jpeg_is_read(void **state) {
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        picture p = gradient(64, 40, channels), read;
        unsigned long size;
        unsigned char *bytes = jpeg_of(&p, &size);
        assert_int_equal(picture_decode(bytes, size, "a.jpg", channels, &read), ATTN_OK);
        assert_near(&p, &read, 6);
        picture_release(&read);
        for (unsigned long cut = 0; cut < size - 2; cut += 7) {
            assert_int_equal(picture_decode(bytes, cut, "a.jpg", channels, &read), ATTN_ERROR_FORMAT);
            assert_null(read.pixels);
        }
        free(bytes);
        picture_release(&p);
    }
}

static void a_damaged_png_is_refused(void **state) {
    (void)state;
    picture p = gradient(20, 20, 3), read;
    const char *path = temporary_path(folder, "b.png");
    char *bytes;
    size_t size;
    assert_int_equal(picture_write(path, &p), ATTN_OK);
    assert_int_equal(file_read(path, &bytes, &size), ATTN_OK);
    for (size_t cut = 0; cut + 16 < size; cut++) { /* without the last chunk it is whole enough */
        assert_int_equal(picture_decode((unsigned char *)bytes, cut, "b.png", 3, &read), ATTN_ERROR_FORMAT);
        assert_null(read.pixels);
    }
    memcpy(bytes + 16, "\x7F\xFF\xFF\xFF\x7F\xFF\xFF\xFF", 8); /* its sides */
    assert_int_equal(picture_decode((unsigned char *)bytes, size, "b.png", 3, &read), ATTN_ERROR_FORMAT);
    memory_free(bytes);
    assert_int_equal(picture_decode((const unsigned char *)"GIF89a....", 10, "c.gif", 3, &read), ATTN_ERROR_FORMAT);
    assert_sentence_has("c.gif is neither a PNG nor a JPEG");
    assert_int_equal(picture_read(temporary_path(folder, "none.png"), 3, &read), ATTN_ERROR_FILE);
    picture_release(&p);
}

static void a_resized_plane_stays_a_plane(void **state) {
    (void)state;
    picture plane = gradient(90, 60, 1), to;
    for (int i = 0; i < 90 * 60; i++) {
        plane.pixels[i] = (unsigned char)(2 * (i % 90) + i / 90);
    }
    static const int SIZES[][2] = {{30, 20}, {45, 60}, {90, 60}, {180, 120}, {90, 7}};
    for (size_t s = 0; s < sizeof SIZES / sizeof *SIZES; s++) {
        int width = SIZES[s][0], height = SIZES[s][1];
        double x_step = 90.0 / width, y_step = 60.0 / height;
        assert_int_equal(picture_resize(&plane, width, height, &to), ATTN_OK);
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                double fx = (x + 0.5) * x_step - 0.5, fy = (y + 0.5) * y_step - 0.5;
                int inside = fx >= x_step && fx < 89 - x_step && fy >= y_step && fy < 59 - y_step;
                if (inside && fabs(to.pixels[y * width + x] - (2 * fx + fy)) > 0.51) {
                    fail_msg("%dx%d: (%d, %d) is %d, not %.2f", width, height, x, y, to.pixels[y * width + x], 2 * fx + fy);
                }
            }
        }
        picture_release(&to);
    }
    picture_release(&plane);
}

static void extreme_sizes_are_resized_or_refused(void **state) {
    (void)state;
    picture one = gradient(1, 1, 3), wide = gradient(30000, 2, 3), to;
    assert_int_equal(picture_resize(&one, 28, 28, &to), ATTN_OK);
    for (int i = 0; i < 28 * 28 * 3; i++) {
        assert_int_equal(to.pixels[i], one.pixels[i % 3]);
    }
    picture_release(&to);
    assert_int_equal(picture_resize(&wide, 28, 28, &to), ATTN_OK);
    picture_release(&to);
    assert_int_equal(picture_resize(&one, 0, 28, &to), ATTN_ERROR_ARGUMENT);
    assert_int_equal(picture_resize(&one, 65000, 65000, &to), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("65000 x 65000");
    picture_release(&one);
    picture_release(&wide);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_png_is_read_as_it_was_written), cmocka_unit_test(transparency_lies_on_white),
        cmocka_unit_test(a_jpeg_is_read), cmocka_unit_test(a_damaged_png_is_refused),
        cmocka_unit_test(a_resized_plane_stays_a_plane), cmocka_unit_test(extreme_sizes_are_resized_or_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
