/* A BERT classifier against what PyTorch computed with the same weights (tests/vectors/make_bert.py):
 * transformers' own, and one with a convolution below the layers and pooling by attention. */
#include "test.h"

#include <attn/attn.h>
#include <math.h>
#include <string.h>

#include "model/bert.h"
#include "model/folder.h"
#include "model/safetensors.h"
#include "vectors.h"

enum { TEXTS = 4, LABELS = 3, HEADS = 2 };
static const char *const FOLDERS[] = {TEST_VECTORS "/bert_tiny", TEST_VECTORS "/bert_convolution"};

typedef struct fixture {
    network network;
    tape tape;
    safetensors *expected;
    packing texts;
    batch batch;
    int looks;
} fixture;

static const void *vector_of(const fixture *f, const char *name) {
    return vector_in(f->expected, name);
}

static void open_fixture(fixture *f, const char *folder, element_type type) {
    char path[300];
    (void)snprintf(path, sizeof path, "%s/expected.safetensors", folder);
    assert_int_equal(safetensors_open(path, &f->expected), ATTN_OK);
    if (network_load(folder, (network_purpose){1, type}, &f->network)) {
        fail_msg("%s", attn_last_error());
    }
    assert_ptr_equal(f->network.kind, &bert_kind);
    assert_int_equal(tape_open(&f->tape, f->network.parameters), ATTN_OK);
    f->network.kind->set_dropout(f->network.model, 0, 0);
    f->texts = (packing){vector_of(f, "offsets"), TEXTS};
    f->looks = 0;
    f->batch = (batch){.sequences = TEXTS, .tokens_source = (size_t)f->texts.offsets[TEXTS], .tokens_target = TEXTS,
                       .source = vector_of(f, "ids"), .source_offsets = f->texts.offsets, .labels = vector_of(f, "labels")};
}

static void close_fixture(fixture *f) {
    tape_close(&f->tape);
    network_free(&f->network);
    safetensors_close(f->expected);
}

static void assert_close(const char *name, const float *found, const float *expected, int64_t count, double bound) {
    assert_near(name, found, expected, count, bound, 0.02); /* a key's bias changes nothing: its gradient is rounding */
}

static attn_status look(void *context, const char *part, int64_t sequence, int64_t heads, int64_t queries, int64_t keys,
                        const float *weights) {
    fixture *f = context;
    char name[64];
    int64_t tokens = f->texts.offsets[sequence + 1] - f->texts.offsets[sequence];
    if (strcmp(part, "pool") == 0) {
        const float *expected = vector_of(f, "pooling");
        assert_close(part, weights, expected + f->texts.offsets[sequence], tokens, 1e-5);
    } else {
        assert_true(heads == HEADS && queries == tokens && keys == tokens);
        (void)snprintf(name, sizeof name, "attention.%c.%d", part[strlen("encoder.")], (int)sequence);
        assert_close(name, weights, vector_of(f, name), heads * queries * keys, 1e-5);
    }
    f->looks++;
    return ATTN_OK;
}

static void logits_and_attention_equal_pytorch(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture f;
        open_fixture(&f, FOLDERS[i], ELEMENT_F32);
        tape_start(&f.tape, 0, 1, 1);
        f.tape.probe = (attention_probe){look, &f};
        const tensor *logits = bert_logits(&f.tape, f.network.model, f.batch.source, f.texts);
        if (!logits) {
            fail_msg("%s", attn_last_error());
        }
        assert_int_equal(f.looks, (2 + i) * TEXTS);
        assert_close("logits", logits->data, vector_of(&f, "logits"), TEXTS * LABELS, 1e-5);
        close_fixture(&f);
    }
}

/* r_drop: without dropout both readings are the same, and so is the loss. */
static void check_gradients(const char *folder, element_type type, float r_drop, double bound) {
    fixture f;
    loss_result loss;
    open_fixture(&f, folder, type);
    ((bert *)f.network.model)->noise = (bert_noise){.r_drop = r_drop};
    tape_start(&f.tape, 1, 1, 1);
    attn_status status = f.network.kind->loss(&f.tape, f.network.model, &f.batch, 0, TEXTS, &loss);
    status = status ? status : tape_backward(&f.tape);
    if (status) {
        fail_msg("%s", attn_last_error());
    }
    const float *expected_loss = vector_of(&f, "loss");
    assert_true(fabs(loss.loss / TEXTS - (double)*expected_loss) < bound);
    const parameters *set = f.network.parameters;
    for (size_t i = 0; i < set->count; i++) {
        const named_parameter *p = &set->list[i];
        char name[300];
        (void)snprintf(name, sizeof name, "gradient.%s", p->name);
        if (!strstr(name, "token_type")) { /* added to the positions when the folder is read */
            assert_close(name, parameter_gradients(set, p->where), vector_of(&f, name), p->where.rows * p->where.columns, bound);
        }
    }
    close_fixture(&f);
}

static void gradients_equal_pytorch(void **state) {
    (void)state;
    check_gradients(FOLDERS[0], ELEMENT_F32, 0, 2e-5);
    check_gradients(FOLDERS[1], ELEMENT_F32, 0, 2e-5);
    check_gradients(FOLDERS[1], ELEMENT_F32, 3, 2e-5);
}

static void bf16_gradients_are_near(void **state) {
    (void)state;
    if (network_best_type() == ELEMENT_BF16) {
        check_gradients(FOLDERS[0], ELEMENT_BF16, 0, 0.2);
        check_gradients(FOLDERS[1], ELEMENT_BF16, 0, 0.2);
    }
}

static void a_convolution_of_an_even_number_is_refused(void **state) {
    (void)state;
    bert_config c;
    assert_int_equal(bert_config_read(FOLDERS[1], &c), ATTN_OK);
    assert_int_equal(c.convolution, 3);
    static const int WRONG[] = {-1, 2, 33};
    for (int i = 0; i < 3; i++) {
        c.convolution = WRONG[i];
        assert_int_equal(bert_config_check(&c, "here"), ATTN_ERROR_ARGUMENT);
        assert_non_null(strstr(attn_last_error(), "convolution is"));
    }
    bert_config_release(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_attention_equal_pytorch),
        cmocka_unit_test(gradients_equal_pytorch),
        cmocka_unit_test(bf16_gradients_are_near),
        cmocka_unit_test(a_convolution_of_an_even_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
