/* An event file is a TFRecord file: records of
 *
 *     length (8 bytes) | mask(crc32c(length)) (4) | data | mask(crc32c(data)) (4)
 *
 * little-endian, mask(c) = (c rotated right by 15) + 0xa282ead8. (TensorFlow,
 * tsl/lib/io/record_writer.h; the mask keeps a checksum of data with checksums in it
 * from being weak.) The data is one tensorflow.Event, of which the first names the
 * version. Its fields and those of what it holds, from event.proto, summary.proto and tensor.proto:
 *
 *     Event            1 wall_time double, 2 step, 3 file_version, 5 summary, 7 session_log
 *     Summary          1 value (repeated)
 *     Summary.Value    1 tag, 2 simple_value float, 4 image, 8 tensor, 9 metadata
 *     Summary.Image    1 height, 2 width, 3 colorspace, 4 encoded_image_string
 *     SummaryMetadata  1 plugin_data { 1 plugin_name }, 4 data_class
 *     TensorProto      1 dtype, 2 tensor_shape { 2 dim { 1 size } }, 8 string_val
 *     SessionLog       1 status
 *
 * A scalar is its bare value and a picture an Image, which TensorBoard gives to the
 * plugins of these names by itself; a text has to name its plugin. */
#include "train/events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "train/crc32c.h"
#include "train/protobuf.h"

enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4, VALUE_TENSOR = 8, VALUE_METADATA = 9 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLOUR_SPACE = 3, IMAGE_ENCODED = 4, COLOUR_SPACE_RGB = 3 };
enum { METADATA_PLUGIN = 1, METADATA_DATA_CLASS = 4, PLUGIN_NAME = 1, DATA_CLASS_TENSOR = 2 };
enum { TENSOR_TYPE = 1, TENSOR_SHAPE = 2, TENSOR_STRING = 8, SHAPE_DIMENSION = 2, DIMENSION_SIZE = 1, TYPE_STRING = 7 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };
enum { NAME_ROOM = 512, HOST_ROOM = 256, SAME_SECOND = 1000 };

struct event_writer {
    char *path;
    int fd;
    off_t size;        /* up to the last whole record */
    protobuf gathered; /* framed records that wait for the flush */
};

static uint32_t masked_crc(const void *bytes, size_t size) {
    uint32_t crc = crc32c(bytes, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_little_endian(unsigned char *bytes, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
}

/* Frames the finished event and gathers it, or leaves what was gathered as it was. */
static attn_status gather(event_writer *w, protobuf *event) {
    size_t before = w->gathered.size;
    unsigned char head[12], tail[4];
    put_little_endian(head, event->size, 8);
    put_little_endian(head + 8, masked_crc(head, 8), 4);
    put_little_endian(tail, masked_crc(event->bytes, event->size), 4);
    attn_status status = event->status;
    if (!status) {
        protobuf_append(&w->gathered, head, sizeof head);
        protobuf_append(&w->gathered, event->bytes, event->size);
        protobuf_append(&w->gathered, tail, sizeof tail);
        status = w->gathered.status;
    }
    if (status) {
        w->gathered.size = before;
        w->gathered.status = ATTN_OK;
    }
    protobuf_release(event);
    return status;
}

static protobuf start_event(int64_t step) {
    protobuf event = {0};
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    protobuf_double(&event, EVENT_WALL_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    protobuf_integer(&event, EVENT_STEP, (uint64_t)step);
    return event;
}

/* An event whose summary is this one value, which is released. */
static attn_status gather_value(event_writer *w, int64_t step, protobuf *value) {
    protobuf event = start_event(step), summary = {0};
    protobuf_message(&summary, SUMMARY_VALUE, value);
    protobuf_message(&event, EVENT_SUMMARY, &summary);
    return gather(w, &event);
}

attn_status events_scalar(event_writer *writer, int64_t step, const char *tag, double value) {
    protobuf v = {0};
    protobuf_string(&v, VALUE_TAG, tag);
    protobuf_float(&v, VALUE_SIMPLE, (float)value);
    return gather_value(writer, step, &v);
}

attn_status events_text(event_writer *writer, int64_t step, const char *tag, const char *markdown) {
    protobuf v = {0}, plugin = {0}, metadata = {0}, dimension = {0}, shape = {0}, tensor = {0};
    protobuf_string(&plugin, PLUGIN_NAME, "text");
    protobuf_message(&metadata, METADATA_PLUGIN, &plugin);
    protobuf_integer(&metadata, METADATA_DATA_CLASS, DATA_CLASS_TENSOR);
    protobuf_integer(&dimension, DIMENSION_SIZE, 1);
    protobuf_message(&shape, SHAPE_DIMENSION, &dimension);
    protobuf_integer(&tensor, TENSOR_TYPE, TYPE_STRING);
    protobuf_message(&tensor, TENSOR_SHAPE, &shape);
    protobuf_string(&tensor, TENSOR_STRING, markdown);
    protobuf_string(&v, VALUE_TAG, tag);
    protobuf_message(&v, VALUE_TENSOR, &tensor);
    protobuf_message(&v, VALUE_METADATA, &metadata);
    return gather_value(writer, step, &v);
}

attn_status events_image(event_writer *writer, int64_t step, const char *tag, const void *png, size_t size, int width,
                         int height) {
    protobuf v = {0}, image = {0};
    protobuf_integer(&image, IMAGE_HEIGHT, (uint64_t)height);
    protobuf_integer(&image, IMAGE_WIDTH, (uint64_t)width);
    protobuf_integer(&image, IMAGE_COLOUR_SPACE, COLOUR_SPACE_RGB);
    protobuf_bytes(&image, IMAGE_ENCODED, png, size);
    protobuf_string(&v, VALUE_TAG, tag);
    protobuf_message(&v, VALUE_IMAGE, &image);
    return gather_value(writer, step, &v);
}

/* --- the file ------------------------------------------------------------------- */

static attn_status cannot_write(const event_writer *w, int code) {
    char text[128];
    return fail(ATTN_ERROR_FILE, "cannot write %s: %s", w->path, strerror_r(code, text, sizeof text));
}

/* Behind the last whole record again, whatever reached the file of the group that failed. */
static void cut_back(event_writer *w) {
    if (ftruncate(w->fd, w->size) != 0) { /* a part of a record stands there for good */
        (void)close(w->fd);
        w->fd = -1;
    }
}

attn_status events_flush(event_writer *writer) {
    const unsigned char *bytes = writer->gathered.bytes;
    size_t size = writer->gathered.size;
    int code = writer->fd < 0 && size ? EIO : 0;
    for (size_t done = 0; done < size && !code;) {
        ssize_t part = write(writer->fd, bytes + done, size - done);
        if (part > 0) {
            done += (size_t)part;
        } else if (part == 0 || errno != EINTR) {
            code = part == 0 ? EIO : errno;
        }
    }
    writer->gathered.size = 0;
    if (!code) {
        writer->size += (off_t)size;
        return ATTN_OK;
    }
    attn_status status = cannot_write(writer, code);
    if (writer->fd >= 0) {
        cut_back(writer);
    }
    return status;
}

/* "events.out.tfevents.<seconds>.<host>": TensorBoard reads a folder's files in the order
 * of their names, so one of the same second gets a number behind. */
static attn_status create_file(event_writer *w, const char *folder) {
    char host[HOST_ROOM] = "", name[NAME_ROOM];
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') {
        (void)snprintf(host, sizeof host, "localhost");
    }
    for (char *c = host; *c; c++) {
        *c = *c == '/' || (unsigned char)*c < ' ' ? '_' : *c;
    }
    long long seconds = (long long)time(NULL);
    for (int i = 0; i < SAME_SECOND; i++) {
        int length = snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s", seconds, host);
        if (i > 0) {
            (void)snprintf(name + length, sizeof name - (size_t)length, ".%03d", i);
        }
        memory_free(w->path);
        w->path = file_join(folder, name);
        if (!w->path) {
            return ATTN_ERROR_MEMORY;
        }
        w->fd = open(w->path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (w->fd >= 0) {
            return ATTN_OK;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    return cannot_write(w, errno);
}

static attn_status start_file(event_writer *w, int64_t first_step) {
    protobuf version = start_event(0);
    protobuf_string(&version, EVENT_FILE_VERSION, "brain.Event:2");
    attn_status status = gather(w, &version);
    if (!status && first_step > 0) {
        protobuf start = start_event(first_step), session = {0};
        protobuf_integer(&session, SESSION_STATUS, SESSION_START);
        protobuf_message(&start, EVENT_SESSION_LOG, &session);
        status = gather(w, &start);
    }
    return status ? status : events_flush(w);
}

attn_status events_open(const char *directory, int64_t first_step, event_writer **writer) {
    *writer = NULL;
    event_writer *w = memory_allocate(1, sizeof *w);
    char *folder = w ? file_join(directory, "events") : NULL;
    if (!folder) {
        memory_free(w);
        return ATTN_ERROR_MEMORY;
    }
    w->fd = -1;
    attn_status status = file_make_directory(folder);
    status = status ? status : create_file(w, folder);
    status = status ? status : start_file(w, first_step);
    memory_free(folder);
    if (status) {
        if (w->fd >= 0) {
            (void)unlink(w->path);
        }
        w->gathered.size = 0;
        events_close(w);
        return status;
    }
    *writer = w;
    return ATTN_OK;
}

const char *events_path(const event_writer *writer) {
    return writer->path;
}

void events_close(event_writer *writer) {
    if (writer) {
        (void)events_flush(writer);
        if (writer->fd >= 0) {
            (void)close(writer->fd);
        }
        protobuf_release(&writer->gathered);
        memory_free(writer->path);
        memory_free(writer);
    }
}
