/* Calls by an image of registers and stack. */

#include "image.h"

#include <stddef.h>
#include <string.h>

#include "../base/x86_64.h"
#include "../call/abi.h"
#include "../call/packed.h"
#include "../call/type.h"
#include "machine.h"

/* The image, which the routine in assembly knows by its offsets. */
typedef struct call_image {
    uint64_t general[16];          /*   0: by the register's number */
    uint8_t vectors[8][16];        /* 128: xmm0 to xmm7, or v0 to v7 */
    execbuf_function function;     /* 256 */
    uint64_t stack_size;           /* 264: a multiple of 16 */
    const uint8_t *stack;          /* 272: what is copied to the stack, aligned to 16 */
    uint64_t unused;               /* 280 */
    uint64_t results[2];           /* 288: rax and rdx, or x0 and x1 */
    uint8_t vector_results[4][16]; /* 304: xmm0 and xmm1, or v0 to v3 */
} call_image;

#include "x86_64/image.inc"

#include "aarch64/image.inc"

#if defined(XB_IMAGE_LOAD)

XB_STATIC_ASSERT(offsetof(call_image, vectors) == 128 && offsetof(call_image, function) == 256 &&
                     offsetof(call_image, stack_size) == 264 && offsetof(call_image, stack) == 272 &&
                     offsetof(call_image, results) == 288 && offsetof(call_image, vector_results) == 304,
                 "the routine knows these offsets");

/* The largest frame, as adapters have it, and what is needed to align it. */
#define IMAGE_FRAME 4096U

/* Extends an integer of less than 64 bits. type is an execbuf_type_kind or a shape. */
static uint64_t image_extended(uint8_t type, uint64_t word) {
    switch (type) {
    case EXECBUF_TYPE_BOOL:
    case EXECBUF_TYPE_U8: return (uint8_t)word;
    case EXECBUF_TYPE_I8: return (uint64_t)(int64_t)(int8_t)word;
    case EXECBUF_TYPE_U16: return (uint16_t)word;
    case EXECBUF_TYPE_I16: return (uint64_t)(int64_t)(int16_t)word;
    case EXECBUF_TYPE_U32: return (uint32_t)word;
    case EXECBUF_TYPE_I32: return (uint64_t)(int64_t)(int32_t)word;
    default: return word;
    }
}

/* How many bytes of a value a piece has. */
static uint32_t image_piece(const xb_location *location, uint32_t piece) {
    uint32_t rest = location->size - location->piece * piece;
    return rest < location->piece ? rest : location->piece;
}

bool xb_image_exists(void) {
    return true;
}

void xb_image_plan_of(xb_image_plan *plan, const xb_signature *signature, execbuf_abi packed_abi) {
    memset(plan, 0, sizeof *plan);
    plan->packed_abi = packed_abi;
    plan->result = signature->result;
    plan->count = signature->count;
    plan->is_variadic = signature->variadic != 0;
    memcpy(plan->types, signature->arguments, signature->count);
    xb_packed_layout(&plan->from, signature);
    xb_machine_layout(&plan->where, signature, packed_abi);
    plan->copies = (plan->where.stack_size + 15) & ~15U;
}

/* Writes a word where an argument is passed. */
static void put_image_word(call_image *image, uint8_t *stack, const xb_location *where, uint64_t word) {
    if (where->where[0] == EXECBUF_ON_STACK) {
        memcpy(stack + where->offset, &word, sizeof word);
    } else {
        image->general[where->number[0]] = word;
    }
}

/* Writes the pieces of an argument: in registers, and on the stack. */
static void put_image_pieces(call_image *image, uint8_t *stack, const xb_location *where, uint8_t type,
                             const uint8_t *value) {
    for (uint32_t i = 0; i < XB_MAX_PIECES && where->where[i] != EXECBUF_NOWHERE; i++) {
        const uint8_t *part = value + (size_t)where->piece * i;
        if (where->where[i] == EXECBUF_ON_STACK) {
            memcpy(stack + where->offset, part, where->size - where->piece * i);
        } else if (where->where[i] == EXECBUF_IN_VECTOR) {
            memcpy(image->vectors[where->number[i]], part, image_piece(where, i));
        } else {
            uint64_t word = 0;
            memcpy(&word, part, image_piece(where, i));
            image->general[where->number[i]] = image_extended(type, word);
        }
    }
}

/* Writes what variadic functions expect beside their arguments: see thunk/x86_64/emit.c. */
static void put_image_variadic(call_image *image, const xb_image_plan *plan) {
    execbuf_abi callee = xb_packed_callee(plan->packed_abi);
    for (uint32_t i = 0; i < plan->count && callee == EXECBUF_ABI_WIN64; i++) {
        const xb_location *where = &plan->where.arguments[i];
        if (where->where[0] == EXECBUF_IN_VECTOR) {
            memcpy(&image->general[xb_win64_general[where->number[0]]], image->vectors[where->number[0]], 8);
        }
    }
    if (callee == EXECBUF_ABI_SYSV64) {
        image->general[XB_RAX] = plan->where.vector_count;
    }
}

/* Stores a result that is in registers. */
static void store_image_result(const call_image *image, const xb_image_plan *plan, execbuf_slot *result) {
    const xb_location *from = &plan->where.result;
    uint32_t used = 0;
    if (from->is_reference) {
        return;
    }
    for (uint32_t i = 0; i < XB_MAX_PIECES && from->where[i] != EXECBUF_NOWHERE; i++) {
        uint8_t *part = (uint8_t *)result + (size_t)from->piece * i;
        if (from->where[i] == EXECBUF_IN_VECTOR) {
            memcpy(part, image->vector_results[from->number[i]], image_piece(from, i));
        } else {
            uint64_t word = image_extended(plan->result, image->results[used++]);
            memcpy(part, &word, sizeof word);
        }
    }
}

void xb_image_call(const xb_image_plan *plan, execbuf_function function, const execbuf_slot *arguments,
                   execbuf_slot *result) {
    call_image image;
    uint8_t frame[IMAGE_FRAME + 16];
    uint8_t *stack = frame + (16 - (uintptr_t)frame % 16) % 16;
    uint8_t *copy = stack + plan->copies;
    memset(&image, 0, sizeof image);
    for (uint32_t i = 0; i < plan->count; i++) {
        const xb_location *from = &plan->from.arguments[i];
        const xb_location *where = &plan->where.arguments[i];
        const execbuf_slot *slot = &arguments[from->offset / XB_SLOT_SIZE];
        const uint8_t *value = from->is_reference ? (const uint8_t *)slot->cp : slot->bytes;
        if (where->is_reference) {
            memcpy(copy, value, from->size);
            put_image_word(&image, stack, where, (uintptr_t)copy);
            copy += (from->size + 15) & ~15U;
        } else if (where->where[0] == EXECBUF_ON_STACK && from->size < 8 &&
                   !xb_machine_has_small_slots(plan->packed_abi)) {
            put_image_word(&image, stack, where, image_extended(plan->types[i], slot->u));
        } else {
            put_image_pieces(&image, stack, where, plan->types[i], value);
        }
    }
    if (plan->where.result_pointer.where[0] != EXECBUF_NOWHERE) {
        image.general[plan->where.result_pointer.number[0]] = (uintptr_t)result;
    }
    if (plan->is_variadic) {
        put_image_variadic(&image, plan);
    }
    image.function = function;
    image.stack = stack;
    image.stack_size = plan->copies;
    XB_IMAGE_LOAD(&image);
    store_image_result(&image, plan, result);
}

#else

bool xb_image_exists(void) {
    return false;
}

void xb_image_plan_of(xb_image_plan *plan, const xb_signature *signature, execbuf_abi packed_abi) {
    (void)plan;
    (void)signature;
    (void)packed_abi;
}

void xb_image_call(const xb_image_plan *plan, execbuf_function function, const execbuf_slot *arguments,
                   execbuf_slot *result) {
    (void)plan;
    (void)function;
    (void)arguments;
    (void)result;
}

#endif
