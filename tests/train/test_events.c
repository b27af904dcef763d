/* TensorBoard's files: read back byte for byte, on disks that fail, and out of whole
 * training runs. tests/vectors/check_events.py reads the same with TensorBoard itself. */
#include <errno.h>
#include <math.h>
#include <png.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "event_reader.h"

#include <attn/attn.h>

#include "base/memory.h"
#include "faults.h"
#include "temporary.h"
#include "train/board.h"
#include "train/crc32c.h"
#include "train/events.h"
#include "train/heat_picture.h"

static char work[256];

static int make_work(void **state) {
    (void)state;
    return temporary_make(work);
}

static int remove_work(void **state) {
    (void)state;
    faults_none();
    temporary_remove(work);
    return 0;
}

static event_writer *open_events(int64_t first_step) {
    event_writer *writer;
    if (events_open(work, first_step, &writer)) {
        fail_msg("%s", attn_last_error());
    }
    return writer;
}

/* All of the n-th file's records; returns their number. */
typedef struct records {
    char *file;
    field events[4096];
    int count;
} records;

static void read_records(const char *path, records *r) {
    size_t size, at = 0;
    assert_non_null(path);
    assert_int_equal(file_read(path, &r->file, &size), ATTN_OK);
    for (r->count = 0; next_record(r->file, size, &at, &r->events[r->count]); r->count++) {
        assert_true(r->count < 4095);
    }
}

static int64_t step_of(const field *event) {
    field step;
    assert_true(FIELD(event, &step, 2));
    assert_int_equal(step.type, 0);
    return (int64_t)step.value;
}

/* --- files ---------------------------------------------------------------------- */

static void checksum_is_that_of_the_standard(void **state) {
    (void)state;
    unsigned char bytes[32] = {0};
    assert_int_equal(crc32c("123456789", 9), 0xE3069283u);
    assert_int_equal(crc32c(bytes, 32), 0x8A9136AAu); /* RFC 3720, B.4 */
    memset(bytes, 0xff, 32);
    assert_int_equal(crc32c(bytes, 32), 0x62A8AB43u);
    assert_int_equal(crc32c("", 0), 0);
}

static void scalar_text_and_image_are_read_back(void **state) {
    (void)state;
    static records r;
    const char png[] = "\x89PNG\0not really";
    field f;
    event_writer *writer = open_events(0);
    assert_int_equal(events_scalar(writer, 1LL << 40, "train/loss", 1.25), ATTN_OK);
    assert_int_equal(events_scalar(writer, 200, "train/loss", NAN), ATTN_OK);
    assert_int_equal(events_text(writer, 3, "samples/\xC3\xA4", "ein *Text*\xFF"), ATTN_OK);
    assert_int_equal(events_image(writer, 300, "maps/one", png, sizeof png, 640, 480), ATTN_OK);
    assert_int_equal(events_flush(writer), ATTN_OK);
    read_records(events_path(writer), &r);
    assert_int_equal(r.count, 5);

    assert_true(FIELD(&r.events[0], &f, 3) && field_is(&f, "brain.Event:2"));
    assert_true(FIELD(&r.events[0], &f, 1) && f.type == 1);
    double wall;
    memcpy(&wall, &f.value, sizeof wall);
    assert_true(fabs(wall - (double)time(NULL)) < 60);

    float value;
    assert_int_equal(step_of(&r.events[1]), 1LL << 40);
    assert_true(FIELD(&r.events[1], &f, 5, 1, 1) && field_is(&f, "train/loss"));
    assert_true(FIELD(&r.events[1], &f, 5, 1, 2) && f.type == 5);
    memcpy(&value, &(uint32_t){(uint32_t)f.value}, sizeof value);
    assert_true(value == 1.25f);
    assert_int_equal(step_of(&r.events[2]), 200);
    assert_true(FIELD(&r.events[2], &f, 5, 1, 2));
    memcpy(&value, &(uint32_t){(uint32_t)f.value}, sizeof value);
    assert_true(isnan(value));

    assert_int_equal(step_of(&r.events[3]), 3);
    assert_true(FIELD(&r.events[3], &f, 5, 1, 1) && field_is(&f, "samples/\xC3\xA4"));
    assert_true(FIELD(&r.events[3], &f, 5, 1, 9, 1, 1) && field_is(&f, "text"));
    assert_true(FIELD(&r.events[3], &f, 5, 1, 8, 1) && f.value == 7);
    assert_true(FIELD(&r.events[3], &f, 5, 1, 8, 2, 2, 1) && f.value == 1);
    assert_true(FIELD(&r.events[3], &f, 5, 1, 8, 8) && field_is(&f, "ein *Text*\xEF\xBF\xBD"));

    assert_int_equal(step_of(&r.events[4]), 300);
    assert_true(FIELD(&r.events[4], &f, 5, 1, 4, 1) && f.value == 480);
    assert_true(FIELD(&r.events[4], &f, 5, 1, 4, 2) && f.value == 640);
    assert_true(FIELD(&r.events[4], &f, 5, 1, 4, 4) && f.size == sizeof png && memcmp(f.bytes, png, f.size) == 0);
    memory_free(r.file);
    events_close(writer);
}

static void files_of_one_second_stand_in_order(void **state) {
    (void)state;
    static records r;
    char expected[3][1024];
    field f;
    for (int i = 0; i < 3; i++) {
        event_writer *writer = open_events(i == 2 ? 71 : 0);
        (void)snprintf(expected[i], sizeof expected[i], "%s", events_path(writer));
        events_close(writer);
    }
    for (int i = 0; i < 3; i++) {
        char folder[300];
        (void)snprintf(folder, sizeof folder, "%s/events", work);
        assert_string_equal(event_file(folder, i), expected[i]);
    }
    /* The resumed one tells TensorBoard where it takes over. */
    read_records(expected[0], &r);
    assert_int_equal(r.count, 1);
    memory_free(r.file);
    read_records(expected[2], &r);
    assert_int_equal(r.count, 2);
    assert_int_equal(step_of(&r.events[1]), 71);
    assert_true(FIELD(&r.events[1], &f, 7, 1) && f.value == 1);
    memory_free(r.file);
}

/* --- disks that fail --------------------------------------------------------------- */

static void short_writes_go_on(void **state) {
    (void)state;
    static records r;
    fault.call = "write";
    fault.half = 1;
    event_writer *writer = open_events(0);
    assert_int_equal(events_text(writer, 1, "a", "a text of some length"), ATTN_OK);
    assert_int_equal(events_flush(writer), ATTN_OK);
    read_records(events_path(writer), &r);
    assert_int_equal(r.count, 2);
    memory_free(r.file);
    events_close(writer);
}

static void full_disk_loses_one_group_and_nothing_else(void **state) {
    (void)state;
    static records r;
    event_writer *writer = open_events(0);
    fault.call = "write";
    fault.error = ENOSPC;
    assert_int_equal(events_scalar(writer, 1, "lost", 1), ATTN_OK);
    assert_int_equal(events_flush(writer), ATTN_ERROR_FILE);
    assert_sentence_has(events_path(writer));
    assert_sentence_has("No space left");
    faults_none();
    assert_int_equal(events_scalar(writer, 2, "kept", 2), ATTN_OK);
    assert_int_equal(events_flush(writer), ATTN_OK);
    read_records(events_path(writer), &r);
    assert_int_equal(r.count, 2);
    assert_int_equal(step_of(&r.events[1]), 2);
    memory_free(r.file);
    events_close(writer);
}

/* The disk takes a part of the group first (a limit on the file's size). */
static void part_of_a_record_is_taken_back(void **state) {
    (void)state;
    static records r;
    struct rlimit old, tight = {100, 0};
    event_writer *writer = open_events(0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight.rlim_max = old.rlim_max;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(events_scalar(writer, i, "lost", 1), ATTN_OK);
    }
    attn_status status = events_flush(writer);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(status, ATTN_ERROR_FILE);
    assert_int_equal(events_scalar(writer, 4, "kept", 1), ATTN_OK);
    assert_int_equal(events_flush(writer), ATTN_OK);
    read_records(events_path(writer), &r);
    assert_int_equal(r.count, 2);
    assert_int_equal(step_of(&r.events[1]), 4);
    memory_free(r.file);
    events_close(writer);
}

static void folder_that_cannot_be_made_gives_a_sentence(void **state) {
    (void)state;
    event_writer *writer;
    assert_int_equal(file_replace(temporary_path(work, "events"), "", 0), ATTN_OK);
    assert_int_equal(events_open(work, 0, &writer), ATTN_ERROR_FILE);
    assert_null(writer);
    assert_sentence_has("events");
    assert_int_equal(unlink(temporary_path(work, "events")), 0);
    /* And a disk that is full from the start leaves no empty file. */
    fault.call = "write";
    fault.error = ENOSPC;
    assert_int_equal(events_open(work, 0, &writer), ATTN_ERROR_FILE);
    faults_none();
    assert_int_equal(temporary_entries(temporary_path(work, "events")), 0);
}

static void count_line(void *context, const char *line) {
    assert_non_null(strstr(line, "training goes on"));
    ++*(int *)context;
}

static void first_failure_is_said_and_the_others_are_not(void **state) {
    (void)state;
    static records r;
    int lines = 0;
    const journal_update record = {.update = 1, .loss = 2, .tokens_per_second = NAN};
    const journal_validation validation = {.figures = {.split = "test", .update = 1, .bleu = -1, .chrf = 50}};
    board *b = board_open(work, 0, (board_log){count_line, &lines});
    assert_non_null(b);
    fault.call = "write";
    fault.error = EIO;
    board_note_update(b, &record);
    assert_int_equal(lines, 1);
    board_note_update(b, &record);
    board_note_validation(b, &validation);
    assert_int_equal(lines, 1);
    faults_none();
    board_note_update(b, &record); /* speed not known: seven curves */
    board_note_validation(b, &validation); /* no BLEU: three */
    read_records(event_file(temporary_path(work, "events"), 0), &r);
    assert_int_equal(r.count, 1 + 7 + 3);
    memory_free(r.file);
    board_close(b);
}

static void run_without_a_board_goes_on(void **state) {
    (void)state;
    int lines = 0;
    assert_int_equal(file_replace(temporary_path(work, "events"), "", 0), ATTN_OK);
    board *b = board_open(work, 0, (board_log){count_line, &lines});
    assert_null(b);
    assert_int_equal(lines, 1);
    board_note_update(b, &(journal_update){.update = 1});
    board_note_validation(b, &(journal_validation){.figures = {.split = "test"}});
    board_draw_attention(b, 1, NULL, NULL, NULL);
    board_close(b);
}

/* --- pictures ------------------------------------------------------------------------ */

/* The picture's pixels as RGB; the test's to free. */
static unsigned char *unpack(const void *png, size_t size, int *width, int *height) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, png, size));
    image.format = PNG_FORMAT_RGB;
    unsigned char *pixels = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(pixels);
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    *width = (int)image.width;
    *height = (int)image.height;
    return pixels;
}

static void assert_colour(const unsigned char *pixel, int red, int green, int blue) {
    if (pixel[0] != red || pixel[1] != green || pixel[2] != blue) {
        fail_msg("colour %d %d %d, %d %d %d was expected", pixel[0], pixel[1], pixel[2], red, green, blue);
    }
}

static void cells_have_the_colours_of_their_weights(void **state) {
    (void)state;
    const float weights[2][3] = {{0, 1, 0.5f}, {NAN, -3, INFINITY}};
    static const int COLOURS[2][3][3] = {{{68, 1, 84}, {253, 231, 37}, {0}}, {{160, 160, 160}, {68, 1, 84}, {253, 231, 37}}};
    heat_picture picture;
    int width, height;
    assert_int_equal(heat_picture_draw(&weights[0][0], 2, 3, &picture), ATTN_OK);
    unsigned char *pixels = unpack(picture.png, picture.size, &width, &height);
    assert_int_equal(width, picture.width);
    assert_int_equal(height, picture.height);
    int cell = width - height, margin = width - 3 * cell; /* one column more than rows */
    assert_true(cell > 1 && margin > 0);
    for (int q = 0; q < 2; q++) {
        for (int k = 0; k < 3; k++) {
            int y = margin + q * cell + cell / 2, x = margin + k * cell + cell / 2;
            const unsigned char *pixel = pixels + 3 * (y * width + x);
            if (q == 0 && k == 2) { /* the middle of viridis, (33, 144, 141), within a shade */
                assert_true(abs(pixel[0] - 33) <= 1 && abs(pixel[1] - 144) <= 1 && abs(pixel[2] - 141) <= 1);
            } else {
                assert_colour(pixel, COLOURS[q][k][0], COLOURS[q][k][1], COLOURS[q][k][2]);
            }
        }
    }
    free(pixels);
    heat_picture_release(&picture);
}

static void mean_over_heads_is_drawn(void **state) {
    (void)state;
    const float weights[2][2] = {{1, 0}, {0, 1}}, even[2] = {0.5f, 0.5f};
    heat_picture mean, plain;
    assert_int_equal(heat_picture_draw_mean(&weights[0][0], 2, 1, 2, &mean), ATTN_OK);
    assert_int_equal(heat_picture_draw(even, 1, 2, &plain), ATTN_OK);
    assert_int_equal(mean.size, plain.size);
    assert_memory_equal(mean.png, plain.png, mean.size);
    heat_picture_release(&mean);
    heat_picture_release(&plain);
}

static void every_size_gives_a_whole_picture(void **state) {
    (void)state;
    static const int SIZES[][2] = {{1, 1}, {1, 2048}, {2048, 1}, {60, 66}, {67, 3}, {130, 240}, {300, 1300}};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        size_t cells = (size_t)SIZES[i][0] * (size_t)SIZES[i][1];
        float *weights = memory_allocate(cells, sizeof *weights);
        heat_picture picture;
        int width, height;
        assert_non_null(weights);
        assert_int_equal(heat_picture_draw(weights, SIZES[i][0], SIZES[i][1], &picture), ATTN_OK);
        free(unpack(picture.png, picture.size, &width, &height));
        assert_true(width >= SIZES[i][1] && height >= SIZES[i][0]);
        heat_picture_release(&picture);
        memory_free(weights);
    }
    heat_picture picture;
    float one = 1;
    assert_int_equal(heat_picture_draw(&one, 0, 1, &picture), ATTN_ERROR_ARGUMENT);
    assert_int_equal(heat_picture_draw(&one, 1, 2049, &picture), ATTN_ERROR_ARGUMENT);
    assert_sentence_has("2049");
    heat_picture_release(&picture);
}

/* --- a whole run -------------------------------------------------------------------- */

/* Pairs of 8 to 12 words: the target reverses the source. */
static void write_corpus(const char *path) {
    file_writer *writer;
    assert_int_equal(file_writer_open(path, &writer), ATTN_OK);
    for (int i = 0; i < 120; i++) {
        int length = 8 + i % 5;
        for (int j = 0; j < length; j++) {
            assert_int_equal(file_writer_print(writer, "%sa%d", j ? " " : "", (i + j * j) % 9), ATTN_OK);
        }
        for (int j = length - 1; j >= 0; j--) {
            assert_int_equal(file_writer_print(writer, "%cb%d", j == length - 1 ? '\t' : ' ', (i + j * j) % 9), ATTN_OK);
        }
        assert_int_equal(file_writer_print(writer, "\n"), ATTN_OK);
    }
    assert_int_equal(file_writer_commit(writer), ATTN_OK);
}

static attn_train_options small_run(const char *pairs, const char *model) {
    attn_train_options o;
    attn_train_options_defaults(&o);
    o.corpus = pairs;
    o.model = model;
    o.tokenizer = ATTN_TOKENIZER_WHITESPACE;
    o.layers = 2;
    o.width = 16;
    o.heads = 2;
    o.feed_forward = 16;
    o.max_positions = o.max_tokens = 32;
    o.batch_tokens = 100;
    o.valid_share = 0.1;
    o.valid_bleu_lines = 2;
    o.validate_every = 4;
    o.journal_every = 2;
    o.max_updates = 8;
    return o;
}

/* How often the file has the tag at the step; *found is the value's message. */
static int count_tag(const records *r, const char *tag, int64_t step, field *found) {
    int count = 0;
    for (int i = 0; i < r->count; i++) {
        field value, name;
        if (FIELD(&r->events[i], &value, 5, 1) && FIELD(&value, &name, 1) && field_is(&name, tag) &&
            step_of(&r->events[i]) == step) {
            *found = value;
            count++;
        }
    }
    return count;
}

static void run_leaves_curves_samples_and_pictures(void **state) {
    (void)state;
    static records r;
    char pairs[300], model[300];
    int width, height;
    field value, f;
    (void)snprintf(pairs, sizeof pairs, "%s/corpus.tsv", work);
    (void)snprintf(model, sizeof model, "%s/model", work);
    write_corpus(pairs);
    attn_train_options o = small_run(pairs, model);
    if (attn_train(&o)) {
        fail_msg("%s", attn_last_error());
    }
    o.resume = 1;
    o.max_updates = 12;
    if (attn_train(&o)) {
        fail_msg("%s", attn_last_error());
    }
    for (int part = 0; part < 2; part++) { /* the second begins where the first ended */
        read_records(event_file(temporary_path(model, "events"), part), &r);
        assert_int_equal(FIELD(&r.events[1], &f, 7, 1), part == 1);
        for (int64_t u = part ? 10 : 2; u <= (part ? 12 : 8); u += 2) {
            assert_int_equal(count_tag(&r, "train/loss", u, &value), 1);
            assert_int_equal(count_tag(&r, "train/learning_rate", u, &value), 1);
        }
        for (int64_t u = part ? 12 : 4; u <= (part ? 12 : 8); u += 4) {
            assert_int_equal(count_tag(&r, "validation/loss", u, &value), 1);
            assert_int_equal(count_tag(&r, "validation/bleu", u, &value), 1);
            assert_int_equal(count_tag(&r, "validation/samples", u, &value), 1);
            assert_true(FIELD(&value, &f, 8, 8) && memmem(f.bytes, f.size, "reference    b", 14));
            assert_int_equal(count_tag(&r, "cross_attention/layer_1", u, &value), 1);
            assert_int_equal(count_tag(&r, "cross_attention/layer_2", u, &value), 1);
            assert_true(FIELD(&value, &f, 4, 4));
            free(unpack(f.bytes, f.size, &width, &height));
            assert_true(FIELD(&value, &f, 4, 1) && f.value == (uint64_t)height);
            assert_true(FIELD(&value, &f, 4, 2) && f.value == (uint64_t)width);
        }
        memory_free(r.file);
    }
    assert_null(event_file(temporary_path(model, "events"), 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum_is_that_of_the_standard),
        cmocka_unit_test_setup_teardown(scalar_text_and_image_are_read_back, make_work, remove_work),
        cmocka_unit_test_setup_teardown(files_of_one_second_stand_in_order, make_work, remove_work),
        cmocka_unit_test_setup_teardown(short_writes_go_on, make_work, remove_work),
        cmocka_unit_test_setup_teardown(full_disk_loses_one_group_and_nothing_else, make_work, remove_work),
        cmocka_unit_test_setup_teardown(part_of_a_record_is_taken_back, make_work, remove_work),
        cmocka_unit_test_setup_teardown(folder_that_cannot_be_made_gives_a_sentence, make_work, remove_work),
        cmocka_unit_test_setup_teardown(first_failure_is_said_and_the_others_are_not, make_work, remove_work),
        cmocka_unit_test_setup_teardown(run_without_a_board_goes_on, make_work, remove_work),
        cmocka_unit_test(cells_have_the_colours_of_their_weights),
        cmocka_unit_test(mean_over_heads_is_drawn),
        cmocka_unit_test(every_size_gives_a_whole_picture),
        cmocka_unit_test_setup_teardown(run_leaves_curves_samples_and_pictures, make_work, remove_work)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
