/* picture_resize: the two directions one after the other, in f32. */
#include <math.h>

#include "base/memory.h"
#include "data/picture.h"

/* What one new pixel along a line is made of: weights[0 .. count - 1] of the old ones from
 * `first` on. */
typedef struct share {
    int first, count;
} share;

typedef struct line_weights {
    share *shares;  /* [to] */
    float *weights; /* [to, most] */
    int most;
} line_weights;

/* New pixel i has its centre at (i + 1/2) from / to - 1/2; its triangle reaches a pixel of the
 * coarser grid to each side. */
static attn_status weigh(int from, int to, line_weights *w) {
    double step = (double)from / to, reach = step > 1 ? step : 1;
    w->most = (int)ceil(2 * reach) + 2;
    w->shares = memory_allocate((size_t)to, sizeof *w->shares);
    w->weights = memory_allocate((size_t)to * (size_t)w->most, sizeof *w->weights);
    if (!w->shares || !w->weights) {
        return ATTN_ERROR_MEMORY;
    }
    for (int i = 0; i < to; i++) {
        double centre = (i + 0.5) * step - 0.5, sum = 0;
        int first = (int)ceil(centre - reach), last = (int)floor(centre + reach);
        first = first < 0 ? 0 : first;
        last = last > from - 1 ? from - 1 : last;
        float *weights = w->weights + (size_t)i * (size_t)w->most;
        w->shares[i] = (share){first, last - first + 1};
        for (int k = first; k <= last; k++) {
            double weight = fmax(0, 1 - fabs(k - centre) / reach);
            weights[k - first] = (float)weight;
            sum += weight;
        }
        for (int k = 0; k <= last - first; k++) {
            weights[k] = (float)(weights[k] / sum);
        }
    }
    return ATTN_OK;
}

static void line_weights_release(line_weights *w) {
    memory_free(w->shares);
    memory_free(w->weights);
}

/* One row to `width` pixels: row [from width, channels] -> out [width, channels]. */
static void resize_row(const unsigned char *row, int channels, const line_weights *w, int width, float *out) {
    for (int x = 0; x < width; x++) {
        const float *weights = w->weights + (size_t)x * (size_t)w->most;
        const unsigned char *from = row + (size_t)w->shares[x].first * (size_t)channels;
        for (int c = 0; c < channels; c++) {
            float sum = 0;
            for (int k = 0; k < w->shares[x].count; k++) {
                sum += weights[k] * from[(size_t)k * (size_t)channels + (size_t)c];
            }
            out[(size_t)x * (size_t)channels + (size_t)c] = sum;
        }
    }
}

/* Rows are made narrow as they are met; each is added to the new rows that it touches. */
static attn_status resize_rows(const picture *from, const line_weights *across, const line_weights *down, picture *to) {
    size_t length = (size_t)to->width * (size_t)to->channels;
    float *row = memory_allocate(length, sizeof *row);
    float *sums = memory_allocate(length * (size_t)to->height, sizeof *sums);
    if (!row || !sums) {
        memory_free(row);
        memory_free(sums);
        return ATTN_ERROR_MEMORY;
    }
    int low = 0; /* the first new row that old row y may still touch */
    for (int y = 0; y < from->height; y++) {
        resize_row(from->pixels + (size_t)y * (size_t)from->width * (size_t)from->channels, from->channels, across,
                   to->width, row);
        while (low < to->height && down->shares[low].first + down->shares[low].count <= y) {
            low++;
        }
        for (int i = low; i < to->height && down->shares[i].first <= y; i++) {
            float weight = down->weights[(size_t)i * (size_t)down->most + (size_t)(y - down->shares[i].first)];
            float *sum = sums + (size_t)i * length;
            for (size_t k = 0; k < length; k++) {
                sum[k] += weight * row[k];
            }
        }
    }
    for (size_t k = 0; k < length * (size_t)to->height; k++) {
        to->pixels[k] = (unsigned char)fminf(255, sums[k] + 0.5f);
    }
    memory_free(row);
    memory_free(sums);
    return ATTN_OK;
}

attn_status picture_resize(const picture *from, int width, int height, picture *resized) {
    *resized = (picture){0};
    if (width < 1 || height < 1 || width > PICTURE_LARGEST_SIDE || height > PICTURE_LARGEST_SIDE ||
        (size_t)width * (size_t)height > PICTURE_MOST_PIXELS) {
        return fail(ATTN_ERROR_ARGUMENT, "a picture cannot be resized to %d x %d pixels; 1 to %d a side and at most %d in "
                    "all were expected", width, height, PICTURE_LARGEST_SIDE, PICTURE_MOST_PIXELS);
    }
    picture to = {width, height, from->channels, NULL};
    to.pixels = memory_allocate((size_t)width * (size_t)height, (size_t)from->channels);
    line_weights across = {0}, down = {0};
    attn_status status = to.pixels ? weigh(from->width, width, &across) : ATTN_ERROR_MEMORY;
    status = status ? status : weigh(from->height, height, &down);
    status = status ? status : resize_rows(from, &across, &down, &to);
    line_weights_release(&across);
    line_weights_release(&down);
    if (status) {
        picture_release(&to);
    }
    *resized = to;
    return status;
}
