/* The code of closures and of functions that drop an argument, on AArch64, which every machine can write.
 * tests/thunk_compilers runs such code. */

#include "arm_words.h"

#include "../../csrc/thunk/aarch64/machine.h"
#include "../../csrc/thunk/edit.h"

static execbuf_abi edit_of(xb_edit edit, uint32_t position) {
    return xb_edit_abi(EXECBUF_ABI_NATIVE, edit, position);
}

static void the_context_behind_all_arguments_takes_three_instructions(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xf9400602, /* ldr x2, [x16, #8] */
        0xf9400211, /* ldr x17, [x16] */
        0xd61f0220, /* br x17 */
    };
    check_words("l(llp)", edit_of(XB_EDIT_INSERT, 2), wanted, sizeof wanted / sizeof wanted[0]);
}

static void a_context_before_others_moves_them_to_higher_registers(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xaa0103e2, /* mov x2, x1 */
        0xaa0003e1, /* mov x1, x0 */
        0xf9400600, /* ldr x0, [x16, #8] */
        0xf9400211, /* ldr x17, [x16] */
        0xd61f0220, /* br x17 */
    };
    check_words("l(pbdh)", edit_of(XB_EDIT_INSERT, 0), wanted, sizeof wanted / sizeof wanted[0]);
}

static void what_the_context_displaces_goes_to_the_stack(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10083ff, /* sub sp, sp, #0x20 */
        0xf90003e6, /* str x6, [sp] */
        0xf90007e7, /* str x7, [sp, #8] */
        0xf94013a9, /* ldr x9, [x29, #32] */
        0xf9000be9, /* str x9, [sp, #16] */
        0xf94017a9, /* ldr x9, [x29, #40] */
        0xf9000fe9, /* str x9, [sp, #24] */
        0xf9400606, /* ldr x6, [x16, #8] */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_words("l(llllllpxll)", edit_of(XB_EDIT_INSERT, 6), wanted, sizeof wanted / sizeof wanted[0]);
}

static void values_on_the_stack_are_copied_in_the_largest_parts(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10103ff, /* sub sp, sp, #0x40 */
        0x3dc00bb0, /* ldr q16, [x29, #32] */
        0x3d8003f0, /* str q16, [sp] */
        0x3dc00fb0, /* ldr q16, [x29, #48] */
        0x3d8007f0, /* str q16, [sp, #16] */
        0x3dc013b0, /* ldr q16, [x29, #64] */
        0x3d800bf0, /* str q16, [sp, #32] */
        0xf9001be7, /* str x7, [sp, #48] */
        0xaa0603e7, /* mov x7, x6 */
        0xaa0503e6, /* mov x6, x5 */
        0xaa0403e5, /* mov x5, x4 */
        0xf9400604, /* ldr x4, [x16, #8] */
        0xf9400211, /* ldr x17, [x16] */
        0xd63f0220, /* blr x17 */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_words("v(llllpl{[40b]}{ffff}{mm}{mm}{mm}mll)", edit_of(XB_EDIT_INSERT, 4), wanted,
                sizeof wanted / sizeof wanted[0]);
}

static void a_dropped_receiver_moves_the_others_to_lower_registers(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xaa0103e0, /* mov x0, x1 */
        0xaa0203e1, /* mov x1, x2 */
        0xd61f0200, /* br x16 */
    };
    check_words("l(pll)", edit_of(XB_EDIT_DROP, 0), wanted, sizeof wanted / sizeof wanted[0]);
}

static void elements_move_as_whole_registers(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0x4ea21c40, /* mov v0.16b, v2.16b */
        0x4ea31c61, /* mov v1.16b, v3.16b */
        0x4ea41c82, /* mov v2.16b, v4.16b */
        0xd61f0200, /* br x16 */
    };
    check_words("v({ff}{dd}fi)", edit_of(XB_EDIT_DROP, 0), wanted, sizeof wanted / sizeof wanted[0]);
}

static void what_was_on_the_stack_alone_is_loaded_without_a_frame(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xaa0203e0, /* mov x0, x2 */
        0xaa0303e1, /* mov x1, x3 */
        0xaa0403e2, /* mov x2, x4 */
        0xaa0503e3, /* mov x3, x5 */
        0xaa0603e4, /* mov x4, x6 */
        0xaa0703e5, /* mov x5, x7 */
        0xf94003e6, /* ldr x6, [sp] */
        0xf94007e7, /* ldr x7, [sp, #8] */
        0xd61f0200, /* br x16 */
    };
    check_words("v(xllllllll)", edit_of(XB_EDIT_DROP, 0), wanted, sizeof wanted / sizeof wanted[0]);
}

static void elements_are_loaded_from_the_stack(void) {
    static const uint32_t wanted[] = {
        0xd503245f, /* bti c */
        0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
        0x910003fd, /* mov x29, sp */
        0xd10083ff, /* sub sp, sp, #0x20 */
        0x3dc00bb0, /* ldr q16, [x29, #32] */
        0x3d8003f0, /* str q16, [sp] */
        0xf9401fa9, /* ldr x9, [x29, #56] */
        0xf9000be9, /* str x9, [sp, #16] */
        0x4ea41c80, /* mov v0.16b, v4.16b */
        0x4ea51ca1, /* mov v1.16b, v5.16b */
        0x4ea61cc2, /* mov v2.16b, v6.16b */
        0x4ea71ce3, /* mov v3.16b, v7.16b */
        0xbd4033a4, /* ldr s4, [x29, #48] */
        0xbd4037a5, /* ldr s5, [x29, #52] */
        0xd63f0200, /* blr x16 */
        0x910003bf, /* mov sp, x29 */
        0xa8c27bfd, /* ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* ret */
    };
    check_words("v(llllllllx{mmmm}{mmm}m{ff}l)", edit_of(XB_EDIT_DROP, 9), wanted,
                sizeof wanted / sizeof wanted[0]);
}

/* Each adapter begins with bti c, and either jumps at its end or returns from the one frame that tables of
 * unwinders know. */
static void all_adapters_begin_and_end_alike(void) {
    static const char *const texts[] = {
        "v(p)",           "b(?bBhHiIlLpfdxXm)",    "l(plllllllllll)",        "{[40b]}(p{dddd}{ffff}ff)",
        "i(p.{ll}{dd}x)", "v(llllllllp{mm}{dd}x)", "d(p{mmmm}{mmmm}{mmmm})", "@16{l}(lllllll@16{l}p)",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *arguments = strchr(texts[i], '(') + 1;
        uint32_t position = 0;
        for (; *arguments != 'p'; arguments++) { /* some are words of several letters, which are skipped */
            if (*arguments == '{') {
                arguments = strchr(arguments, '}');
            }
            position += strchr("@16", *arguments) == NULL;
        }
        for (xb_edit edit = XB_EDIT_INSERT; edit <= XB_EDIT_DROP; edit = (xb_edit)(edit + 1)) {
            static uint32_t words[WORDS];
            xb_frame frame;
            size_t count = write_adapter(texts[i], edit_of(edit, position), words, &frame);
            CHECK(words[0] == 0xd503245f); /* bti c */
            if (frame.pushed_rbp == 0) {
                CHECK(words[count - 1] ==
                      (edit == XB_EDIT_INSERT ? 0xd61f0220 : 0xd61f0200)); /* br x17, x16 */
            } else {
                CHECK(frame.pushed_rbp == 8 && words[1] == 0xa9be7bfd);                  /* stp */
                CHECK(frame.moved_rbp == 12 && words[2] == 0x910003fd);                  /* mov x29, sp */
                CHECK(words[count - 2] == 0xa8c27bfd && words[count - 1] == 0xd65f03c0); /* ldp; ret */
                CHECK(frame.popped_rbp == 4 * (count - 1) && frame.size % 16 == 0);
            }
        }
    }
}

static void one_number_names_an_edit(void) {
    static const execbuf_abi abis[] = {EXECBUF_ABI_NATIVE, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
    for (size_t i = 0; i < sizeof abis / sizeof abis[0]; i++) {
        for (uint32_t position = 0; position < EXECBUF_MAX_ARGUMENTS; position++) {
            execbuf_abi edit = xb_edit_abi(abis[i], XB_EDIT_DROP, position);
            CHECK(xb_edit_convention(edit) == abis[i] && xb_edit_of(edit) == XB_EDIT_DROP);
            CHECK(xb_edit_position(edit) == position);
        }
    }
}

static void what_is_moved_alike_has_one_kind(void) {
    const uint8_t *kinds = xb_machine_kinds(edit_of(XB_EDIT_INSERT, 0));
    xb_shape elements = {12, 4, {XB_CLASS_SSE, XB_CLASS_SSE}, 4};
    xb_shape longer = {40, 8, {XB_CLASS_MEMORY, XB_CLASS_MEMORY}, 0};
    xb_shape odd = {11, 1, {XB_CLASS_INTEGER, XB_CLASS_INTEGER}, 0};
    CHECK(kinds[EXECBUF_TYPE_BOOL] == EXECBUF_TYPE_I64 && kinds[EXECBUF_TYPE_F32] == EXECBUF_TYPE_F64);
    CHECK(xb_arm_alike_edited(&longer, false) == EXECBUF_TYPE_I64); /* an address */
    CHECK(xb_arm_alike_edited(&elements, false) == XB_FIRST_SHAPE && elements.size == 12 &&
          elements.arm == 4);
    CHECK(xb_arm_alike_edited(&odd, false) == XB_FIRST_SHAPE && odd.size == 16 && odd.align == 8);
    CHECK(xb_arm_alike_edited(&odd, true) == EXECBUF_TYPE_VOID);
}

static void large_frames_are_refused(void) {
    char text[600] = "v(lllllllp";
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    for (int i = 0; i < 66; i++) {
        (void)strcat(text, "{mmmm}");
    }
    (void)strcat(text, "l)");
    execbuf_signature *signature = parsed(text);
    CHECK(xb_signature_read(&compact, shapes, signature, NULL) == EXECBUF_OK);
    CHECK(!xb_machine_can(&compact, edit_of(XB_EDIT_INSERT, 7)));
    execbuf_signature_free(signature);
}

int main(void) {
    RUN(the_context_behind_all_arguments_takes_three_instructions);
    RUN(a_context_before_others_moves_them_to_higher_registers);
    RUN(what_the_context_displaces_goes_to_the_stack);
    RUN(values_on_the_stack_are_copied_in_the_largest_parts);
    RUN(a_dropped_receiver_moves_the_others_to_lower_registers);
    RUN(elements_move_as_whole_registers);
    RUN(what_was_on_the_stack_alone_is_loaded_without_a_frame);
    RUN(elements_are_loaded_from_the_stack);
    RUN(all_adapters_begin_and_end_alike);
    RUN(one_number_names_an_edit);
    RUN(what_is_moved_alike_has_one_kind);
    RUN(large_frames_are_refused);
    (void)printf("ok\n");
    return 0;
}
