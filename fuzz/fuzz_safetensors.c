/* libFuzzer target: any bytes as a safetensors file. Whatever is accepted must lie
 * inside the bytes, be found by its name and convert; nothing may crash, leak or be
 * undefined (build with address and undefined).
 *
 * Random bytes seldom guess the header's length, so each input is tried twice: as it
 * is, and with the length set to where its last '}' ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(int holds, const char *what) {
    if (!holds) {
        (void)fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void use(const safetensors *file, const unsigned char *bytes, size_t size) {
    const unsigned char *reached = NULL;
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const safetensors_tensor *tensor = safetensors_at(file, i);
        size_t elements = safetensors_elements(tensor);
        const unsigned char *data = tensor->data;
        size_t data_size = elements * safetensors_dtype_size(tensor->dtype);
        require(data >= bytes && data <= bytes + size, "data begin inside the file");
        require(data_size <= (size_t)(bytes + size - data), "data end inside the file");
        require(!reached || data == reached, "no hole and no overlap");
        reached = data + data_size;
        require(safetensors_find(file, tensor->name) == tensor, "a tensor is found by its name");
        const safetensors_tensor *same;
        require(safetensors_require(file, tensor->name, tensor->dims, tensor->shape, &same) == ATTN_OK, "it has its shape");
        float *values = malloc(elements ? elements * sizeof *values : 1);
        if (values) {
            (void)safetensors_to_f32(file, tensor, values);
        }
        free(values);
    }
    require(!reached || reached == bytes + size, "the data are covered");
    (void)safetensors_metadata_value(file, "format");
}

static void parse(const unsigned char *bytes, size_t size) {
    safetensors *file;
    if (safetensors_parse("fuzz", bytes, size, &file) == ATTN_OK) {
        use(file, bytes, size);
    } else {
        require(file == NULL, "a failure gives no file");
        require(attn_last_error()[0] != '\0', "a failure leaves a sentence");
    }
    safetensors_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    unsigned char *bytes = malloc(size ? size : 1);
    if (!bytes) {
        return 0;
    }
    memcpy(bytes, input, size);
    parse(bytes, size);
    for (uint64_t end = size; end > 8; end--) {
        if (bytes[end - 1] == '}') {
            uint64_t length = end - 8;
            memcpy(bytes, &length, sizeof length);
            parse(bytes, size);
            break;
        }
    }
    free(bytes);
    return 0;
}
