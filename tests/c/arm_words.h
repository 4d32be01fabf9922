/* Compares adapters of AArch64, which every machine can write, with instructions that are known. */
#ifndef ARM_WORDS_H
#define ARM_WORDS_H

#include "check.h"

#include "../../csrc/api/signature.h"
#include "../../csrc/thunk/machine.h"

#define WORDS (XB_MAX_ADAPTER_SIZE / 4)

/* Writes an adapter.
 *
 * Returns: how many instructions it has. */
static inline size_t write_adapter(const char *text, execbuf_abi abi, uint32_t *words, xb_frame *frame) {
    static uint8_t written[XB_MAX_ADAPTER_SIZE];
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    execbuf_signature *signature = parsed(text);
    CHECK(xb_signature_read(&compact, shapes, signature, NULL) == EXECBUF_OK);
    CHECK(xb_machine_can(&compact, abi));
    execbuf_signature_free(signature);
    xb_machine_adapter(written, frame, &compact, abi);
    CHECK(frame->length % 4 == 0 && frame->length <= sizeof written);
    for (size_t i = 0; i < frame->length; i++) {
        words[i / 4] = (i % 4 == 0 ? 0 : words[i / 4]) | (uint32_t)written[i] << 8 * (i % 4);
    }
    return frame->length / 4;
}

static inline void check_words(const char *text, execbuf_abi abi, const uint32_t *wanted, size_t count) {
    static uint32_t words[WORDS];
    xb_frame frame;
    CHECK(write_adapter(text, abi, words, &frame) == count);
    for (size_t i = 0; i < count; i++) {
        if (words[i] != wanted[i]) {
            (void)fprintf(stderr, "%s: instruction %zu is %08x and not %08x\n", text, i, words[i], wanted[i]);
            exit(1);
        }
    }
}

#endif
