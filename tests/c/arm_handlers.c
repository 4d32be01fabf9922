/* The code of closures that call handlers, on AArch64, which every machine can write.
 * tests/thunk_compilers runs such code. */

#include "arm_words.h"

#include "../../csrc/call/packed.h"
#include "../../csrc/thunk/edit.h"
#include "../../csrc/thunk/fingerprint.h"

static void check_handler(const char *text, const uint32_t *wanted, size_t count) {
    check_words(text, xb_handler_abi(EXECBUF_ABI_NATIVE, EXECBUF_ABI_NATIVE), wanted, count);
}

static void arguments_in_registers_are_stored_and_integers_extended(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10183ff, /* sub sp, sp, #0x60 */
        0xf9002bff, /* str xzr, [sp, #80] */
        0x93401c00, /* sxtb x0, w0 */
        0xf90003e0, /* str x0, [sp] */
        0xd3401c21, /* ubfx x1, x1, #0, #8 */
        0xf90007e1, /* str x1, [sp, #8] */
        0x93403c42, /* sxth x2, w2 */
        0xf9000be2, /* str x2, [sp, #16] */
        0xd3403c63, /* ubfx x3, x3, #0, #16 */
        0xf9000fe3, /* str x3, [sp, #24] */
        0x93407c84, /* sxtw x4, w4 */
        0xf90013e4, /* str x4, [sp, #32] */
        0xd3407ca5, /* ubfx x5, x5, #0, #32 */
        0xf90017e5, /* str x5, [sp, #40] */
        0xf9001be6, /* str x6, [sp, #48] */
        0xbd003be0, /* str s0, [sp, #56] */
        0xfd0023e1, /* str d1, [sp, #64] */
        0xf9400600, /* ldr x0, [x16, #8] */
        0x910003e1, /* mov x1, sp */
        0x910143e2, /* add x2, sp, #0x50 */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0x398143e0, /* ldrsb x0, [sp, #80] */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_handler("b(bBhHiIlfd)", wanted, sizeof wanted / sizeof wanted[0]);
}

static void two_registers_of_a_value_are_stored(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10183ff, /* sub sp, sp, #0x60 */
        0xf9001bff, /* str xzr, [sp, #48] */
        0xf90003e0, /* str x0, [sp] */
        0xf90007e1, /* str x1, [sp, #8] */
        0xd3401c42, /* ubfx x2, x2, #0, #8 */
        0xf9000be2, /* str x2, [sp, #16] */
        0x910103e9, /* add x9, sp, #0x40 */
        0xf9000fe9, /* str x9, [sp, #24] */
        0xfd0023e0, /* str d0, [sp, #64] */
        0xfd0027e1, /* str d1, [sp, #72] */
        0xfd002be2, /* str d2, [sp, #80] */
        0x910083e9, /* add x9, sp, #0x20 */
        0x3d800123, /* str q3, [x9] */
        0xf9400600, /* ldr x0, [x16, #8] */
        0x910003e1, /* mov x1, sp */
        0x9100c3e2, /* add x2, sp, #0x30 */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0xbd4033e0, /* ldr s0, [sp, #48] */
        0xbd4037e1, /* ldr s1, [sp, #52] */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_handler("{ff}({ll}?{ddd}m)", wanted, sizeof wanted / sizeof wanted[0]);
}

static void arguments_on_the_stack_are_copied_to_slots(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10243ff, /* sub sp, sp, #0x90 */
        0xf90043ff, /* str xzr, [sp, #128] */
        0xf90003e0, /* str x0, [sp] */
        0xf90007e1, /* str x1, [sp, #8] */
        0xf9000be2, /* str x2, [sp, #16] */
        0xf9000fe3, /* str x3, [sp, #24] */
        0xf90013e4, /* str x4, [sp, #32] */
        0xf90017e5, /* str x5, [sp, #40] */
        0xf9001be6, /* str x6, [sp, #48] */
        0xf9001fe7, /* str x7, [sp, #56] */
        0x398083a9, /* ldrsb x9, [x29, #32] */
        0xf90023e9, /* str x9, [sp, #64] */
        0x794053a9, /* ldrh w9, [x29, #40] */
        0xf90027e9, /* str x9, [sp, #72] */
        0xb98033a9, /* ldrsw x9, [x29, #48] */
        0xf9002be9, /* str x9, [sp, #80] */
        0xb9403ba9, /* ldr w9, [x29, #56] */
        0xf9002fe9, /* str x9, [sp, #88] */
        0xf94023a9, /* ldr x9, [x29, #64] */
        0xf90033e9, /* str x9, [sp, #96] */
        0xf94027a9, /* ldr x9, [x29, #72] */
        0xf90037e9, /* str x9, [sp, #104] */
        0xf9402ba9, /* ldr x9, [x29, #80] */
        0xf9003be9, /* str x9, [sp, #112] */
        0xf9402fa9, /* ldr x9, [x29, #88] */
        0xf9003fe9, /* str x9, [sp, #120] */
        0xf9400600, /* ldr x0, [x16, #8] */
        0x910003e1, /* mov x1, sp */
        0x910203e2, /* add x2, sp, #0x80 */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0xb94083e0, /* ldr w0, [sp, #128] */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_handler("I(llllllllbHiI{bh}{ll}{lll})", wanted, sizeof wanted / sizeof wanted[0]);
}

static void values_of_the_stack_are_aligned_in_copies(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10283ff, /* sub sp, sp, #0xa0 */
        0xf9003bff, /* str xzr, [sp, #112] */
        0xfd0003e0, /* str d0, [sp] */
        0xfd0007e1, /* str d1, [sp, #8] */
        0xfd000be2, /* str d2, [sp, #16] */
        0xfd000fe3, /* str d3, [sp, #24] */
        0xfd0013e4, /* str d4, [sp, #32] */
        0xfd0017e5, /* str d5, [sp, #40] */
        0xfd001be6, /* str d6, [sp, #48] */
        0xfd001fe7, /* str d7, [sp, #56] */
        0x910083a9, /* add x9, x29, #0x20 */
        0xf90023e9, /* str x9, [sp, #64] */
        0xf94023a9, /* ldr x9, [x29, #64] */
        0xf90027e9, /* str x9, [sp, #72] */
        0x910203e9, /* add x9, sp, #0x80 */
        0xf9002be9, /* str x9, [sp, #80] */
        0xf94027a9, /* ldr x9, [x29, #72] */
        0xf90043e9, /* str x9, [sp, #128] */
        0xf9402ba9, /* ldr x9, [x29, #80] */
        0xf90047e9, /* str x9, [sp, #136] */
        0xf9402fa9, /* ldr x9, [x29, #88] */
        0xf9004be9, /* str x9, [sp, #144] */
        0xf94033a9, /* ldr x9, [x29, #96] */
        0xf9004fe9, /* str x9, [sp, #152] */
        0xb9406ba9, /* ldr w9, [x29, #104] */
        0xf9002fe9, /* str x9, [sp, #88] */
        0x9101c3a9, /* add x9, x29, #0x70 */
        0xf90033e9, /* str x9, [sp, #96] */
        0xf9400600, /* ldr x0, [x16, #8] */
        0x910003e1, /* mov x1, sp */
        0x9101c3e2, /* add x2, sp, #0x70 */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0xb98073e0, /* ldrsw x0, [sp, #112] */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_handler("i(dddddddd{dddd}d@16{dddd}f{mm})", wanted, sizeof wanted / sizeof wanted[0]);
}

static void a_long_result_is_zeroed_where_the_caller_wants_it(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10083ff, /* sub sp, sp, #0x20 */
        0x6f00e410, /* movi v16.2d, #0x0 */
        0x3d800110, /* str q16, [x8] */
        0x3d800510, /* str q16, [x8, #16] */
        0xd2800269, /* mov x9, #0x13 */
        0x3ca96910, /* str q16, [x8, x9] */
        0xf90003e0, /* str x0, [sp] */
        0xf90007e1, /* str x1, [sp, #8] */
        0xf9400600, /* ldr x0, [x16, #8] */
        0x910003e1, /* mov x1, sp */
        0xaa0803e2, /* mov x2, x8 */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_handler("{[35b]}({[40b]}l)", wanted, sizeof wanted / sizeof wanted[0]);
}

static void a_longer_result_is_zeroed_by_a_loop(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10183ff, /* sub sp, sp, #0x60 */
        0x6f00e410, /* movi v16.2d, #0x0 */
        0xd2800c09, /* mov x9, #0x60 */
        0xd1004129, /* sub x9, x9, #0x10 */
        0x3ca96910, /* str q16, [x8, x9] */
        0xb5ffffc9, /* cbnz x9, 0x18 */
        0xd2800a89, /* mov x9, #0x54 */
        0x3ca96910, /* str q16, [x8, x9] */
        0xf90003e0, /* str x0, [sp] */
        0xf90007e1, /* str x1, [sp, #8] */
        0xf9000be2, /* str x2, [sp, #16] */
        0xf9000fe3, /* str x3, [sp, #24] */
        0xf90013e4, /* str x4, [sp, #32] */
        0xf90017e5, /* str x5, [sp, #40] */
        0xf9001be6, /* str x6, [sp, #48] */
        0xf9001fe7, /* str x7, [sp, #56] */
        0xf94013a9, /* ldr x9, [x29, #32] */
        0xf90023e9, /* str x9, [sp, #64] */
        0xf9400600, /* ldr x0, [x16, #8] */
        0x910003e1, /* mov x1, sp */
        0xaa0803e2, /* mov x2, x8 */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_handler("{[100b]}(llllllll{[40b]})", wanted, sizeof wanted / sizeof wanted[0]);
}

static void results_in_vectors_are_loaded(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd100c3ff, /* sub sp, sp, #0x30 */
        0xf9000bff, /* str xzr, [sp, #16] */
        0xf9000fff, /* str xzr, [sp, #24] */
        0xf90013ff, /* str xzr, [sp, #32] */
        0xf90017ff, /* str xzr, [sp, #40] */
        0x93403c00, /* sxth x0, w0 */
        0xf90003e0, /* str x0, [sp] */
        0xf9400600, /* ldr x0, [x16, #8] */
        0x910003e1, /* mov x1, sp */
        0x910043e2, /* add x2, sp, #0x10 */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0x3dc007e0, /* ldr q0, [sp, #16] */
        0x3dc00be1, /* ldr q1, [sp, #32] */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_handler("{mm}(h)", wanted, sizeof wanted / sizeof wanted[0]);
}

static void small_results_are_extended(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10083ff, /* sub sp, sp, #0x20 */
        0xf9000bff, /* str xzr, [sp, #16] */
        0xd3403c00, /* ubfx x0, x0, #0, #16 */
        0xf90003e0, /* str x0, [sp] */
        0xf9400600, /* ldr x0, [x16, #8] */
        0x910003e1, /* mov x1, sp */
        0x910043e2, /* add x2, sp, #0x10 */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0x798023e0, /* ldrsh x0, [sp, #16] */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_handler("h(H)", wanted, sizeof wanted / sizeof wanted[0]);
}

/* Makes the fingerprint of a closure. It borrows shapes. */
static xb_fingerprint fingerprint_of(const char *text, execbuf_abi abi, xb_shape *shapes) {
    static xb_shape own_shapes[XB_MAX_SHAPES];
    xb_fingerprint fingerprint;
    xb_signature compact;
    execbuf_signature *signature = parsed(text);
    CHECK(xb_signature_read(&compact, own_shapes, signature, NULL) == EXECBUF_OK);
    xb_fingerprint_of(&fingerprint, shapes, &compact, abi);
    execbuf_signature_free(signature);
    return fingerprint;
}

static bool share(const char *one, const char *other, execbuf_abi abi) {
    static xb_shape shapes[2][XB_MAX_SHAPES];
    xb_fingerprint first = fingerprint_of(one, abi, shapes[0]);
    xb_fingerprint second = fingerprint_of(other, abi, shapes[1]);
    return xb_fingerprint_same(&first, &second);
}

static void closures_share_an_adapter_if_their_values_are_moved_alike(void) {
    execbuf_abi handler = xb_handler_abi(EXECBUF_ABI_NATIVE, EXECBUF_ABI_NATIVE);
    CHECK(share("i(l)", "l(p)", handler) && !share("i(l)", "i(i)", handler));
    CHECK(!share("h(l)", "i(l)", handler) && !share("b(b)", "B(B)", handler));
    CHECK(share("{hb}({bbb})", "l({hb})", handler) && !share("{lb}(l)", "{lll}(l)", handler));
    CHECK(share("{lb}({lb})", "{ll}({ll})", handler) && !share("{[35b]}(l)", "{[36b]}(l)", handler));
    CHECK(!share("{ff}(l)", "{dd}(l)", handler) && !share("v({fff})", "v({dd})", handler));
    execbuf_abi edits[] = {xb_edit_abi(EXECBUF_ABI_SYSV64, XB_EDIT_INSERT, 0),
                           xb_edit_abi(EXECBUF_ABI_WIN64, XB_EDIT_INSERT, 0),
                           xb_edit_abi(EXECBUF_ABI_NATIVE, XB_EDIT_INSERT, 0)};
    for (size_t i = 0; i < 3; i++) {
        CHECK(share("v(p{lll})", "v(p{ppp})", edits[i]) && share("{l}(pi)", "{p}(pb)", edits[i]));
        CHECK(share("{[40b]}(pl)", "{[50b]}(pl)", edits[i]) && !share("v(pl)", "v(pd)", edits[i]));
    }
}

int main(void) {
    RUN(closures_share_an_adapter_if_their_values_are_moved_alike);
    RUN(arguments_in_registers_are_stored_and_integers_extended);
    RUN(two_registers_of_a_value_are_stored);
    RUN(arguments_on_the_stack_are_copied_to_slots);
    RUN(values_of_the_stack_are_aligned_in_copies);
    RUN(a_long_result_is_zeroed_where_the_caller_wants_it);
    RUN(a_longer_result_is_zeroed_by_a_loop);
    RUN(results_in_vectors_are_loaded);
    RUN(small_results_are_extended);
    return 0;
}
