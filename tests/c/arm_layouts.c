/* The part of the programs of tests/thunk_compilers for AArch64 that is not generated; see arm_layouts.h.
 * SEED is the seed of the random numbers. */

#include "arm_layouts.h"

#include "layout_text.h"

uint8_t sent_values[EXECBUF_MAX_ARGUMENTS + 1][MAX_VALUE];

#define STACK 4096

/* What a caller passes, or a function returns. */
typedef struct registers {
    uint64_t general[10]; /* x0 to x8 */
    uint8_t vector[8][16];
    uint8_t stack[STACK]; /* from the caller's stack pointer on */
} registers;

__attribute__((used)) registers captured;
__attribute__((used)) uint8_t result_memory[MAX_VALUE];

void check_arguments(void);
void call_and_capture(void (*function)(void));

__asm__(
    ".text\n\t.globl capture\ncapture:\n\t"
    "adrp x9, captured\n\tadd x9, x9, :lo12:captured\n\t"
    "stp x0, x1, [x9]\n\tstp x2, x3, [x9, #16]\n\tstp x4, x5, [x9, #32]\n\tstp x6, x7, [x9, #48]\n\t"
    "str x8, [x9, #64]\n\t"
    "stp q0, q1, [x9, #80]\n\tstp q2, q3, [x9, #112]\n\tstp q4, q5, [x9, #144]\n\tstp q6, q7, [x9, #176]\n\t"
    "add x9, x9, #208\n\tmov x10, #0\n"
    "1:\tldr x11, [sp, x10]\n\tstr x11, [x9, x10]\n\tadd x10, x10, #8\n\tcmp x10, #4096\n\tb.lo 1b\n\t"
    "b check_arguments\n\t"
    ".globl call_and_capture\ncall_and_capture:\n\t"
    "stp x29, x30, [sp, #-16]!\n\tmov x29, sp\n\t"
    "adrp x8, result_memory\n\tadd x8, x8, :lo12:result_memory\n\t"
    "blr x0\n\t"
    "adrp x9, captured\n\tadd x9, x9, :lo12:captured\n\t"
    "stp x0, x1, [x9]\n\tstp q0, q1, [x9, #80]\n\tstp q2, q3, [x9, #112]\n\t"
    "ldp x29, x30, [sp], #16\n\tret");

static uint64_t seed = SEED;

/* SplitMix64. */
static uint64_t some_bits(void) {
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static const char *text_of_signature;
static const char *const *current_masks;
static xb_layout layout;
static uint32_t argument_count;
static uint32_t checked_count;

void prepare(const char *text, const char *const *masks) {
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    execbuf_signature *signature = parsed(text);
    CHECK(xb_signature_read(&compact, shapes, signature, NULL) == EXECBUF_OK);
    xb_layout_of_aarch64(&layout, &compact, XB_ABI_AAPCS64);
    text_of_signature = text;
    current_masks = masks;
    argument_count = compact.count;
    for (size_t i = 0; i <= compact.count; i++) {
        bool is_bool = (i == 0 ? signature->result : signature->arguments[i - 1]).kind == EXECBUF_TYPE_BOOL;
        for (size_t at = 0; at < MAX_VALUE; at++) {
            sent_values[i][at] = (uint8_t)(some_bits() >> 8 & (is_bool ? 1 : 0xff));
        }
    }
    execbuf_signature_free(signature);
    for (size_t at = 0; at < sizeof captured; at++) {
        ((uint8_t *)&captured)[at] = (uint8_t)some_bits();
    }
}

/* Copies the bytes of a place, as many as the value or its address has. */
static void gather(uint8_t *to, const xb_location *location, uint32_t size) {
    CHECK(location->where[0] != EXECBUF_NOWHERE);
    for (uint32_t i = 0, at = 0; i < XB_MAX_PIECES && location->where[i] != EXECBUF_NOWHERE; i++) {
        uint32_t rest = size - at;
        uint32_t part =
            location->where[i] == EXECBUF_ON_STACK || rest < location->piece ? rest : location->piece;
        switch (location->where[i]) {
        case EXECBUF_IN_GENERAL: memcpy(to + at, &captured.general[location->number[i]], part); break;
        case EXECBUF_IN_VECTOR: memcpy(to + at, captured.vector[location->number[i]], part); break;
        default:
            CHECK(location->offset + part <= STACK);
            memcpy(to + at, captured.stack + location->offset, part);
            break;
        }
        at += part;
    }
}

static void compare(uint32_t number, const uint8_t *got) {
    const char *mask = current_masks[number];
    for (size_t at = 0; mask[at] != '\0'; at++) {
        if (mask[at] == '1' && got[at] != sent_values[number][at]) {
            (void)fprintf(stderr, "%s: %s: byte %zu of %s %u is %02x and not %02x\n", text_of_signature,
                          layout_as_text(text_of_signature, XB_ABI_AAPCS64).text, at,
                          number == 0 ? "result" : "argument", number, got[at], sent_values[number][at]);
            exit(1);
        }
    }
}

void check_arguments(void) {
    for (uint32_t i = 0; i < argument_count; i++) {
        const xb_location *location = &layout.arguments[i];
        uint8_t got[MAX_VALUE];
        CHECK(location->size == strlen(current_masks[i + 1]) && location->size <= MAX_VALUE);
        if (location->is_reference) {
            const void *address;
            gather((uint8_t *)&address, location, sizeof address);
            memcpy(got, address, location->size);
        } else {
            gather(got, location, location->size);
        }
        compare(i + 1, got);
    }
    checked_count++;
}

void check_result(void (*function)(void)) {
    uint8_t got[MAX_VALUE];
    CHECK(checked_count > 0); /* capture was called */
    checked_count = 0;
    if (layout.result.size == 0) {
        return;
    }
    memset(result_memory, 0x5a, sizeof result_memory);
    call_and_capture(function);
    if (layout.result.is_reference) {
        CHECK(layout.result_pointer.where[0] == EXECBUF_IN_GENERAL && layout.result_pointer.number[0] == 8);
        memcpy(got, result_memory, layout.result.size);
    } else {
        gather(got, &layout.result, layout.result.size);
    }
    compare(0, got);
}
