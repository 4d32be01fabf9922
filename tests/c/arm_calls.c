/* The code of dynamic calls on AArch64, which every machine can write. tests/thunk_compilers runs such code.
 */

#include "check.h"

#include "../../csrc/api/signature.h"
#include "../../csrc/call/packed.h"
#include "../../csrc/thunk/aarch64/machine.h"
#include "../../csrc/thunk/machine.h"

#define PACKED xb_packed_abi(EXECBUF_ABI_NATIVE, EXECBUF_ABI_NATIVE)
#define WORDS (XB_MAX_ADAPTER_SIZE / 4)

/* Writes the code of calls of a signature.
 *
 * Returns: how many instructions it has. */
static size_t write_call(const char *text, uint32_t *words) {
    static uint8_t written[XB_MAX_ADAPTER_SIZE];
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    xb_frame frame;
    execbuf_signature *signature = parsed(text);
    CHECK(xb_signature_read(&compact, shapes, signature, NULL) == EXECBUF_OK && xb_arm_can(&compact, PACKED));
    execbuf_signature_free(signature);
    xb_arm_adapter(written, &frame, &compact, PACKED);
    CHECK(frame.length % 4 == 0 && frame.length <= sizeof written);
    for (size_t i = 0; i < frame.length; i++) {
        words[i / 4] = (i % 4 == 0 ? 0 : words[i / 4]) | (uint32_t)written[i] << 8 * (i % 4);
    }
    return frame.length / 4;
}

static void check_words(const char *text, const uint32_t *wanted, size_t count) {
    static uint32_t words[WORDS];
    CHECK(write_call(text, words) == count);
    for (size_t i = 0; i < count; i++) {
        if (words[i] != wanted[i]) {
            (void)fprintf(stderr, "%s: instruction %zu is %08x and not %08x\n", text, i, words[i], wanted[i]);
            exit(1);
        }
    }
}

static void registers_are_loaded_from_slots(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xf9000ba3, /* str x3, [x29, #16] */
        0xaa0103f1, /* mov x17, x1 */
        0xf9400040, /* ldr x0, [x2] */
        0x39c02041, /* ldrsb w1, [x2, #8] */
        0xbd401040, /* ldr s0, [x2, #16] */
        0xbd401841, /* ldr s1, [x2, #24] */
        0xbd401c42, /* ldr s2, [x2, #28] */
        0xbd402043, /* ldr s3, [x2, #32] */
        0xd63f0220, /* blr x17 */
        0x93407c00, /* sxtw x0, w0 */
        0xf9400ba9, /* ldr x9, [x29, #16] */
        0xf9000120, /* str x0, [x9] */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_words("i(Ibf{fff})", wanted, sizeof wanted / sizeof wanted[0]);
}

static void long_values_are_copied(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xf9000ba3, /* str x3, [x29, #16] */
        0xaa0103f1, /* mov x17, x1 */
        0xd100c3ff, /* sub sp, sp, #48 */
        0xf9400049, /* ldr x9, [x2] */
        0x910003eb, /* mov x11, sp */
        0x3dc00130, /* ldr q16, [x9] */
        0x3d800170, /* str q16, [x11] */
        0x3dc00530, /* ldr q16, [x9, #16] */
        0x3d800570, /* str q16, [x11, #16] */
        0xd280030a, /* mov x10, #24 */
        0x3cea6930, /* ldr q16, [x9, x10] */
        0x3caa6970, /* str q16, [x11, x10] */
        0x910003e0, /* mov x0, sp */
        0x91002049, /* add x9, x2, #8 */
        0x3dc00120, /* ldr q0, [x9] */
        0xf9400c49, /* ldr x9, [x2, #24] */
        0xfd400121, /* ldr d1, [x9] */
        0xfd400522, /* ldr d2, [x9, #8] */
        0xfd400923, /* ldr d3, [x9, #16] */
        0xfd400d24, /* ldr d4, [x9, #24] */
        0xd63f0220, /* blr x17 */
        0xf9400ba9, /* ldr x9, [x29, #16] */
        0xfd000120, /* str d0, [x9] */
        0xfd000521, /* str d1, [x9, #8] */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_words("{dd}({[40b]}m{dddd})", wanted, sizeof wanted / sizeof wanted[0]);
}

static void what_does_not_fit_into_registers_goes_to_the_stack(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xf9000ba3, /* str x3, [x29, #16] */
        0xaa0103f1, /* mov x17, x1 */
        0xd10083ff, /* sub sp, sp, #32 */
        0xf9402049, /* ldr x9, [x2, #64] */
        0xf90003e9, /* str x9, [sp] */
        0xf9402449, /* ldr x9, [x2, #72] */
        0xf90007e9, /* str x9, [sp, #8] */
        0xf9402849, /* ldr x9, [x2, #80] */
        0xf9000be9, /* str x9, [sp, #16] */
        0xf9400040, /* ldr x0, [x2] */
        0xf9400441, /* ldr x1, [x2, #8] */
        0xf9400c43, /* ldr x3, [x2, #24] */
        0xf9401044, /* ldr x4, [x2, #32] */
        0xf9401445, /* ldr x5, [x2, #40] */
        0xf9401846, /* ldr x6, [x2, #48] */
        0x79c07047, /* ldrsh w7, [x2, #56] */
        0xf9400842, /* ldr x2, [x2, #16]: last, since it has the address */
        0xd63f0220, /* blr x17 */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_words("v(lllllllhxl)", wanted, sizeof wanted / sizeof wanted[0]);
}

/* Each kind of value, in registers and on the stack, begins and ends the same way. */
static void all_calls_have_the_same_frame(void) {
    static const char *const texts[] = {
        "b(?bBhHiIlLpfdxXm)",
        "B(mmmmmmmmmmxxxx{mm})",
        "h({ffff}{ffff}{ffff}f)",
        "H({bbb}{[9b]}{[17b]})",
        "f({[200b]}{[63b]})",
        "x(lllllll{ll}@16{l})",
        "m(i.{dd}x)",
        "I(llllllll{[33b]})",
        "{mmmm}({mm}{dddd})",
        "{[40b]}(dddddddd{ddd}{fff}bi)",
        "?()",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        static uint32_t words[WORDS];
        size_t count = write_call(texts[i], words);
        size_t calls = 0;
        for (size_t n = 0; n < count; n++) {
            calls += words[n] == 0xd63f0220; /* blr x17 */
        }
        CHECK(words[0] == 0xd503245f && words[1] == 0xa9be7bfd);                 /* bti c; stp */
        CHECK(words[count - 2] == 0xa8c27bfd && words[count - 1] == 0xd65f03c0); /* ldp; ret */
        CHECK(calls == 1);
    }
}

static void large_frames_are_refused(void) {
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    execbuf_signature *signature = parsed("v({[4100b]})");
    CHECK(xb_signature_read(&compact, shapes, signature, NULL) == EXECBUF_OK &&
          !xb_arm_can(&compact, PACKED));
    execbuf_signature_free(signature);
}

static void what_is_moved_alike_has_one_kind(void) {
    const uint8_t *kinds = xb_arm_kinds(PACKED);
    const uint8_t *results = xb_arm_result_kinds();
    xb_shape shape = {16, 8, {XB_CLASS_SSE, XB_CLASS_SSE}, 8};
    CHECK(kinds[EXECBUF_TYPE_U32] == EXECBUF_TYPE_I32 && results[EXECBUF_TYPE_U32] == EXECBUF_TYPE_U32);
    CHECK(kinds[EXECBUF_TYPE_F32] == EXECBUF_TYPE_F32 && kinds[EXECBUF_TYPE_BOOL] == EXECBUF_TYPE_U8);
    CHECK(xb_arm_alike(&shape) == XB_FIRST_SHAPE && shape.classes[0] == XB_CLASS_NONE && shape.arm == 8);
}

int main(void) {
    RUN(registers_are_loaded_from_slots);
    RUN(long_values_are_copied);
    RUN(what_does_not_fit_into_registers_goes_to_the_stack);
    RUN(all_calls_have_the_same_frame);
    RUN(large_frames_are_refused);
    RUN(what_is_moved_alike_has_one_kind);
    (void)printf("ok\n");
    return 0;
}
