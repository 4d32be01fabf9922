/* Where the conventions of AArch64 have arguments and results. Pure: no state, no system calls.
 *
 * Sources: Arm, "Procedure Call Standard for the Arm 64-bit Architecture" (AAPCS64) 2024Q3, section 6.8
 * "Parameter passing"; Apple, "Writing ARM64 code for Apple platforms"; Microsoft, "Overview of ARM64 ABI
 * conventions"; and what clang does where these are silent.
 *
 *     integers, pointers        x0 to x7, one after the other
 *     floats, vectors           v0 to v7
 *     homogeneous aggregates    one register v for each of their one to four floats or vectors
 *     other values              up to 16 bytes: one or two registers x; longer ones: the address of a copy
 *     on the stack              slots of 8 bytes; what is aligned to 16 is at a multiple of 16
 *     result                    as the first argument; the address of a longer one is passed in x8
 *
 * If there are not enough registers for all of a value, it is on the stack, and so are all later ones of its
 * kind: unlike in System V's convention of x86-64, no gap is filled. The address in x8 is not returned.
 *
 * The systems differ in this:
 *
 *                               AAPCS64             Apple                    Windows
 *     aligned to 16: begins in  an even register x  any register             an even register x
 *     which alignment counts    of the members      of the type              of the type
 *     on the stack              slots of 8 bytes    (1)                      slots of 8 bytes
 *     variadic functions        as others           "..." is on the stack    (2)
 *
 * (1) Scalars and homogeneous aggregates without padding; "..." in slots of 8 bytes.
 * (2) All arguments are as integers, and the first 64 bytes of the stack that they would make are in x0 to
 * x7.
 *
 * So on Windows, a value may be in x7 and on the stack. On Apple, clang's va_arg looks for vectors in a
 * variadic homogeneous aggregate at a multiple of 16, as here; but its callers do not align them. */

#include <string.h>

#include "layout.h"
#include "type.h"

/* How many registers of each kind there are for arguments, and the register of the result's address. */
#define ARM_REGISTERS 8U
#define ARM_RESULT_POINTER 8U

/* What differs between the systems. */
typedef struct arm_rules {
    bool has_even_pairs;      /* values that are aligned to 16 begin in an even register */
    bool counts_attributes;   /* also those of the type as a whole say how it is aligned */
    bool has_small_slots;     /* arguments on the stack have the size and the alignment of their types */
    bool has_stack_of_dots;   /* variadic arguments are on the stack */
    bool has_no_floats_there; /* variadic functions have all arguments as integers */
} arm_rules;

static const arm_rules arm_aapcs = {true, false, false, false, false};
static const arm_rules arm_apple = {false, true, true, true, false};
static const arm_rules arm_windows = {true, true, false, false, true};

/* What has been given to arguments so far. */
typedef struct arm_state {
    const arm_rules *rules;
    uint32_t general; /* how many registers; on Windows, in a variadic function, how many words */
    uint32_t vector;
    uint32_t stack_size;
    uint32_t vector_count; /* how many vector registers have arguments */
} arm_state;

static uint32_t arm_round_up(uint32_t number, uint32_t to) {
    return (number + to - 1) & ~(to - 1);
}

/* How a value is aligned where it is passed: 8 or 16. */
static uint32_t arm_align(const arm_state *to, const xb_shape *shape) {
    bool is_raised = to->rules->counts_attributes && shape->align == 16;
    return is_raised || (shape->arm & XB_ARM_ALIGNED) != 0 ? 16 : 8;
}

/* Puts pieces into registers, from this one on. */
static void arm_put_in(xb_location *location, execbuf_where where, uint32_t first, uint32_t count,
                       uint32_t piece) {
    for (uint32_t i = 0; i < count; i++) {
        location->where[i] = (uint8_t)where;
        location->number[i] = (uint8_t)(first + i);
    }
    location->piece = (uint8_t)piece;
}

static void arm_put_on_stack(arm_state *to, xb_location *location, uint32_t size, uint32_t align) {
    location->where[0] = EXECBUF_ON_STACK;
    location->offset = arm_round_up(to->stack_size, align);
    to->stack_size = location->offset + size;
}

/* Puts a value on the stack, in slots of 8 bytes. */
static void arm_put_in_slots(arm_state *to, xb_location *location, const xb_shape *shape) {
    arm_put_on_stack(to, location, arm_round_up(shape->size, 8), arm_align(to, shape));
}

/* Puts a float, a vector, or some of them. */
static void arm_put_elements(arm_state *to, xb_location *location, const xb_shape *shape) {
    uint32_t element = shape->arm & XB_ARM_ELEMENT;
    uint32_t count = shape->size / element;
    if (to->vector + count <= ARM_REGISTERS) {
        arm_put_in(location, EXECBUF_IN_VECTOR, to->vector, count, element);
        to->vector += count;
        to->vector_count += count;
        return;
    }
    to->vector = ARM_REGISTERS;
    if (to->rules->has_small_slots) {
        arm_put_on_stack(to, location, shape->size, element);
    } else {
        arm_put_in_slots(to, location, shape);
    }
}

/* Puts an integer, an address, or another value of at most 16 bytes. Apple has small slots for scalars only.
 */
static void arm_put_words(arm_state *to, xb_location *location, const xb_shape *shape, bool is_scalar) {
    uint32_t count = (shape->size + 7) / 8;
    if (to->rules->has_even_pairs && arm_align(to, shape) == 16) {
        to->general = arm_round_up(to->general, 2);
    }
    if (to->general + count <= ARM_REGISTERS) {
        arm_put_in(location, EXECBUF_IN_GENERAL, to->general, count, 8);
        to->general += count;
        return;
    }
    to->general = ARM_REGISTERS;
    if (to->rules->has_small_slots && is_scalar) {
        arm_put_on_stack(to, location, shape->size, shape->align);
    } else {
        arm_put_in_slots(to, location, shape);
    }
}

/* Puts an argument of a variadic function on Windows: words, of which the first ones are in registers. */
static void arm_put_on_imaginary_stack(arm_state *to, xb_location *location, const xb_shape *shape) {
    uint32_t count = (shape->size + 7) / 8;
    to->general = arm_align(to, shape) == 16 ? arm_round_up(to->general, 2) : to->general;
    uint32_t first = to->general;
    to->general += count;
    uint32_t in_registers = first + count <= ARM_REGISTERS ? count
                            : first < ARM_REGISTERS        ? ARM_REGISTERS - first
                                                           : 0;
    arm_put_in(location, EXECBUF_IN_GENERAL, first, in_registers, 8);
    if (in_registers < count) {
        location->where[in_registers] = EXECBUF_ON_STACK;
        location->offset = in_registers > 0 ? 0 : 8 * (first - ARM_REGISTERS);
        to->stack_size = 8 * (to->general - ARM_REGISTERS);
    }
}

/* How a value is passed whose address is passed in its place. */
static bool arm_is_reference(const xb_shape *shape, bool has_elements) {
    return shape->size > XB_MAX_IN_REGISTERS && !has_elements;
}

static void arm_put_argument(arm_state *to, xb_location *location, const xb_signature *signature,
                             uint32_t index) {
    uint8_t type = signature->arguments[index];
    xb_shape shape = xb_signature_shape(signature, type);
    bool is_variadic = signature->variadic != 0;
    bool is_without_floats = is_variadic && to->rules->has_no_floats_there;
    bool has_elements = (shape.arm & XB_ARM_ELEMENT) != 0 && !is_without_floats;
    bool is_scalar = type < XB_FIRST_SHAPE;
    location->size = shape.size;
    if (arm_is_reference(&shape, has_elements)) {
        location->is_reference = true;
        shape = xb_type_shape(EXECBUF_TYPE_POINTER);
        is_scalar = true;
    }
    if (is_without_floats) {
        arm_put_on_imaginary_stack(to, location, &shape);
    } else if (is_variadic && to->rules->has_stack_of_dots && index >= signature->fixed) {
        arm_put_in_slots(to, location, &shape);
    } else if (has_elements) {
        arm_put_elements(to, location, &shape);
    } else {
        arm_put_words(to, location, &shape, is_scalar);
    }
}

/* The result has registers of its own, and x8 is none of those of arguments. */
static void arm_put_result(xb_layout *out, const xb_shape *shape) {
    uint32_t element = shape->arm & XB_ARM_ELEMENT;
    out->result.size = shape->size;
    if (arm_is_reference(shape, element != 0)) {
        out->result.is_reference = true;
        out->result_pointer.size = 8;
        arm_put_in(&out->result_pointer, EXECBUF_IN_GENERAL, ARM_RESULT_POINTER, 1, 8);
    } else if (element != 0) {
        arm_put_in(&out->result, EXECBUF_IN_VECTOR, 0, shape->size / element, element);
    } else {
        arm_put_in(&out->result, EXECBUF_IN_GENERAL, 0, (shape->size + 7) / 8, 8);
    }
}

void xb_layout_of_aarch64(xb_layout *out, const xb_signature *signature, execbuf_abi abi) {
    arm_state to = {&arm_aapcs, 0, 0, 0, 0};
    xb_shape result = xb_signature_shape(signature, signature->result);
    if (abi != XB_ABI_AAPCS64) {
        to.rules = abi == XB_ABI_APPLE64 ? &arm_apple : &arm_windows;
    }
    memset(out, 0, sizeof *out);
    arm_put_result(out, &result);
    for (uint32_t i = 0; i < signature->count; i++) {
        arm_put_argument(&to, &out->arguments[i], signature, i);
    }
    out->stack_size = arm_round_up(to.stack_size, 8);
    out->vector_count = to.vector_count;
}
