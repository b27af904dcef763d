#include "data/sentencepiece_shim.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/sentencepiece_check.h"

extern "C" {
#include "base/memory.h"
}

struct sentencepiece_model {
    sentencepiece::SentencePieceProcessor processor;
};

namespace {

/* Runs the call and turns what it throws into a status. */
template <class Call>
attn_status guarded(Call call) noexcept {
    try {
        return call();
    } catch (const std::bad_alloc &) {
        return fail(ATTN_ERROR_MEMORY, "out of memory in SentencePiece");
    } catch (const std::exception &e) {
        return fail(ATTN_ERROR_INTERNAL, "SentencePiece failed: %s", e.what());
    } catch (...) {
        return fail(ATTN_ERROR_INTERNAL, "SentencePiece failed");
    }
}

/* The trainer leaves out longer lines; they are cut instead. */
constexpr size_t longest_line = 4000;

class line_iterator : public sentencepiece::SentenceIterator {
  public:
    line_iterator(const text_line *lines, size_t count) : lines_(lines), count_(count) { show(); }
    bool done() const override { return at_ >= count_; }
    void Next() override {
        at_++;
        show();
    }
    const std::string &value() const override { return value_; }
    sentencepiece::util::Status status() const override { return {}; }

  private:
    void show() {
        if (at_ >= count_)
            return;
        size_t length = lines_[at_].length;
        if (length > longest_line) {
            length = longest_line;
            while (length > 0 && (static_cast<unsigned char>(lines_[at_].bytes[length]) & 0xC0) == 0x80)
                length--;
        }
        value_.assign(lines_[at_].bytes, length);
        /* The trainer leaves out lines with its mark of an unknown character. */
        for (size_t at = 0; (at = value_.find("\xE2\x96\x85", at)) != std::string::npos;)
            value_.replace(at, 3, " ");
    }

    const text_line *lines_;
    size_t count_;
    size_t at_ = 0;
    std::string value_;
};

/* The one failure that users meet has the numbers in its message. */
attn_status training_failed(const char *message, size_t pieces) {
    const char *found = std::strstr(message, "required_chars. ");
    int asked, needed;
    if (found && std::sscanf(found, "required_chars. %d vs %d", &asked, &needed) == 2)
        return fail(ATTN_ERROR_ARGUMENT,
                    "vocabulary size %zu is too small: the text's characters alone need %d; raise it or lower the "
                    "character coverage",
                    pieces + 1, needed + 1);
    return fail(ATTN_ERROR_INTERNAL, "the vocabulary cannot be learnt: %s", message);
}

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6f", value);
    return text;
}

} // namespace

attn_status sentencepiece_train(const text_line *lines, size_t count, size_t pieces, double character_coverage,
                                char **bytes, size_t *size) {
    return guarded([&] {
        /* The expectation step sums per thread and then over threads in order, so
         * the model depends on num_threads: it is fixed, whatever the machine. */
        const std::unordered_map<std::string, std::string> settings = {
            {"model_type", "unigram"},
            {"vocab_size", std::to_string(pieces)},
            {"hard_vocab_limit", "false"},
            {"character_coverage", number(character_coverage)},
            {"num_threads", "4"},
            {"max_sentence_length", std::to_string(longest_line + 1)},
            {"eos_id", "0"},
            {"unk_id", "1"},
            {"bos_id", "-1"},
            {"pad_id", "-1"},
            {"byte_fallback", "false"},
            {"minloglevel", "3"},
        };
        line_iterator iterator(lines, count);
        std::string model;
        const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &model);
        if (!status.ok())
            return training_failed(status.error_message(), pieces);
        *bytes = memory_copy_bytes(model.data(), model.size());
        *size = model.size();
        return *bytes ? ATTN_OK : ATTN_ERROR_MEMORY;
    });
}

attn_status sentencepiece_open(const char *bytes, size_t size, const char *name, sentencepiece_model **model) {
    *model = nullptr;
    if (!sentencepiece_tables_are_safe(bytes, size))
        return fail(ATTN_ERROR_FORMAT, "%s has a normalisation table that points outside itself", name);
    sentencepiece_model *made = nullptr;
    attn_status result = guarded([&] {
        made = new sentencepiece_model;
        const auto status = made->processor.LoadFromSerializedProto({bytes, size});
        if (!status.ok() || made->processor.GetPieceSize() <= 0)
            return fail(ATTN_ERROR_FORMAT, "%s is not a SentencePiece model", name);
        return ATTN_OK;
    });
    if (result) {
        sentencepiece_close(made);
        return result;
    }
    *model = made;
    return ATTN_OK;
}

void sentencepiece_close(sentencepiece_model *model) {
    delete model;
}

size_t sentencepiece_count(const sentencepiece_model *model) {
    return static_cast<size_t>(model->processor.GetPieceSize());
}

text_line sentencepiece_get(const sentencepiece_model *model, size_t id) {
    const std::string &piece = model->processor.IdToPiece(static_cast<int>(id));
    return {piece.data(), piece.size()};
}

attn_status sentencepiece_encode(const sentencepiece_model *model, const char *text, size_t length,
                                 attn_status (*take)(void *context, const char *piece, size_t length),
                                 void *context) {
    return guarded([&] {
        std::vector<std::string> pieces;
        const auto status = model->processor.Encode({text, length}, &pieces);
        if (!status.ok())
            return fail(ATTN_ERROR_INTERNAL, "SentencePiece cannot encode a text: %s", status.error_message());
        for (const std::string &piece : pieces) {
            const attn_status taken = take(context, piece.data(), piece.size());
            if (taken)
                return taken;
        }
        return ATTN_OK;
    });
}

attn_status sentencepiece_spans(const sentencepiece_model *model, const char *text, size_t length,
                                sentencepiece_span *spans, size_t room, size_t *count) {
    *count = 0;
    return guarded([&] {
        const auto encoded = model->processor.EncodeAsImmutableProto({text, length});
        *count = encoded.pieces_size();
        for (size_t i = 0; i < *count && i < room; i++) {
            const auto piece = encoded.pieces(static_cast<int>(i));
            spans[i] = {piece.begin(), piece.end()};
        }
        return ATTN_OK;
    });
}

attn_status sentencepiece_decode(const sentencepiece_model *model, const text_line *pieces, size_t count,
                                 char **text) {
    return guarded([&] {
        std::vector<std::string> list;
        list.reserve(count);
        for (size_t i = 0; i < count; i++)
            list.emplace_back(pieces[i].bytes, pieces[i].length);
        std::string joined;
        const auto status = model->processor.Decode(list, &joined);
        if (!status.ok())
            return fail(ATTN_ERROR_INTERNAL, "SentencePiece cannot decode pieces: %s", status.error_message());
        *text = memory_copy_bytes(joined.data(), joined.size());
        return *text ? ATTN_OK : ATTN_ERROR_MEMORY;
    });
}
