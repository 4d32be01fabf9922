/* Where the two conventions of x86-64 have arguments and results. Pure: no state, no system calls.
 *
 * Sources: System V psABI, AMD64 supplement 1.0, section 3.2.3 "Parameter Passing"; Microsoft, "x64 calling
 * convention", sections "Parameter passing" and "Return values". They differ in this:
 *
 *                              System V                           Win64
 *     integers, pointers       rdi, rsi, rdx, rcx, r8, r9         rcx, rdx, r8, r9
 *     floats                   xmm0 to xmm7                       xmm0 to xmm3
 *     the next register is     the next one of its kind           the one at the argument's position
 *     shadow space             none                               32 bytes, lowest on the stack
 *     result                   rax or xmm0                        rax or xmm0
 *
 * For f(int a, double b, int c) that is
 *
 *     System V    a: rdi    b: xmm0    c: rsi
 *     Win64       a: rcx    b: xmm1    c: r8
 *
 * The stack at the call, before the return address is pushed; offsets are from rsp:
 *
 *     System V                             Win64
 *     16  third stack argument             40  sixth argument
 *      8  second stack argument            32  fifth argument
 *      0  first stack argument              0  shadow space: the callee may save the registers of the
 *                                              first four arguments there
 *
 * Longer values, structs and unions (size is in bytes):
 *
 *                              System V                           Win64
 *     argument                 by the classes of its eightbytes:  size 1, 2, 4 or 8: as an integer,
 *                              one or two registers, or the       whatever its members are;
 *                              stack. Not one of each: if the     else the address of a copy
 *                              registers do not suffice, all is
 *                              on the stack, and later arguments
 *                              may have these registers
 *     on the stack             at a multiple of 16 if the type    always 8 bytes
 *                              is aligned to 16, else of 8
 *     result                   rax, rdx, xmm0, xmm1 by class;     size 1, 2, 4 or 8: rax;
 *                              else in memory                     128-bit integers and vectors: xmm0, as
 *                                                                 gcc, clang and rustc have it;
 *                                                                 else in memory
 *     result in memory         its address is passed in rdi       its address is passed in rcx
 *                              and returned in rax                and returned in rax */

#include <string.h>

#include "../base/x86_64.h"
#include "layout.h"
#include "type.h"

/* The rules of a convention for arguments. */
typedef struct convention {
    const uint8_t *general; /* registers for integers and pointers, in order */
    uint32_t general_count;
    uint32_t vector_count; /* floats have xmm0 to this one, exclusive */
    bool by_position;      /* an argument's position says which register; else each kind has a counter */
    uint32_t shadow_space; /* in bytes, below the stack arguments */
} convention;

static const uint8_t sysv_general[] = {XB_RDI, XB_RSI, XB_RDX, XB_RCX, XB_R8, XB_R9};
const uint8_t xb_win64_general[XB_WIN64_REGISTERS] = {XB_RCX, XB_RDX, XB_R8, XB_R9};

static const convention sysv64 = {sysv_general, sizeof sysv_general, 8, false, 0};
static const convention win64 = {xb_win64_general, XB_WIN64_REGISTERS, XB_WIN64_REGISTERS, true, 32};

/* What has been given to arguments so far. */
typedef struct allocation {
    const convention *rules;
    uint32_t position; /* how many arguments, with the address of the result */
    uint32_t general;  /* how many general registers */
    uint32_t vector;
    uint32_t stack_size;
} allocation;

static void put_in(xb_location *location, uint32_t piece, execbuf_where where, uint32_t number) {
    location->where[piece] = (uint8_t)where;
    location->number[piece] = (uint8_t)number;
    location->piece = 8;
}

/* How many bytes of a value its registers have. */
static uint8_t piece_of(const xb_shape *shape) {
    return shape->classes[1] == XB_CLASS_SSE_UP ? 16 : 8;
}

/* Puts an argument on the stack. Slots have multiples of 8 bytes. */
static void put_on_stack(allocation *to, xb_location *location, uint32_t size, uint32_t align) {
    if (align > 8) {
        to->stack_size = (to->stack_size + align - 1) & ~(align - 1);
    }
    location->where[0] = EXECBUF_ON_STACK;
    location->offset = to->stack_size;
    to->stack_size += (size + 7) & ~7U;
}

/* Puts an integer, a float or an address where the convention has such an argument. */
static void put_word(allocation *to, xb_location *location, bool is_float) {
    const convention *rules = to->rules;
    uint32_t next = rules->by_position ? to->position : is_float ? to->vector : to->general;
    if (is_float && next < rules->vector_count) {
        put_in(location, 0, EXECBUF_IN_VECTOR, next);
        to->vector++;
    } else if (!is_float && next < rules->general_count) {
        put_in(location, 0, EXECBUF_IN_GENERAL, rules->general[next]);
        to->general++;
    } else {
        put_on_stack(to, location, 8, 8);
    }
    to->position++;
}

/* How many eightbytes of a shape have this class. */
static uint32_t count_class(const xb_shape *shape, xb_class class_) {
    return (uint32_t)(shape->classes[0] == class_) + (uint32_t)(shape->classes[1] == class_);
}

/* Puts an argument where System V has it. */
static void put_sysv64(allocation *to, xb_location *location, const xb_shape *shape) {
    if (shape->classes[0] == XB_CLASS_MEMORY ||
        to->general + count_class(shape, XB_CLASS_INTEGER) > to->rules->general_count ||
        to->vector + count_class(shape, XB_CLASS_SSE) > to->rules->vector_count) {
        put_on_stack(to, location, shape->size, shape->align);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (shape->classes[i] == XB_CLASS_INTEGER) {
            put_in(location, i, EXECBUF_IN_GENERAL, to->rules->general[to->general++]);
        } else if (shape->classes[i] == XB_CLASS_SSE) {
            put_in(location, i, EXECBUF_IN_VECTOR, to->vector++);
        }
    }
    location->piece = piece_of(shape);
}

/* Whether Win64 passes values of this size by themselves. */
static bool is_word(uint32_t size) {
    return size == 1 || size == 2 || size == 4 || size == 8;
}

static void put_argument(allocation *to, xb_location *location, const xb_signature *signature, uint8_t type) {
    xb_shape shape = xb_signature_shape(signature, type);
    location->size = shape.size;
    if (!to->rules->by_position) {
        put_sysv64(to, location, &shape);
    } else {
        location->is_reference = !is_word(shape.size);
        put_word(to, location, xb_type_is_float(type));
    }
}

/* Finds where System V has the result. */
static void put_result_sysv64(xb_location *location, const xb_shape *shape) {
    static const uint8_t general[] = {XB_RAX, XB_RDX};
    uint32_t used[2] = {0, 0};
    if (shape->classes[0] == XB_CLASS_MEMORY) {
        location->is_reference = true;
        put_in(location, 0, EXECBUF_IN_GENERAL, XB_RAX);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (shape->classes[i] == XB_CLASS_INTEGER) {
            put_in(location, i, EXECBUF_IN_GENERAL, general[used[0]++]);
        } else if (shape->classes[i] == XB_CLASS_SSE) {
            put_in(location, i, EXECBUF_IN_VECTOR, used[1]++);
        }
    }
    location->piece = piece_of(shape);
}

/* Finds where Win64 has the result. */
static void put_result_win64(xb_location *location, const xb_shape *shape, uint8_t type) {
    bool is_wide = type < XB_FIRST_SHAPE && shape->size == 16;
    if (xb_type_is_float(type) || is_wide) {
        put_in(location, 0, EXECBUF_IN_VECTOR, 0);
        location->piece = is_wide ? 16 : 8;
    } else if (type != EXECBUF_TYPE_VOID) {
        location->is_reference = !is_word(shape->size);
        put_in(location, 0, EXECBUF_IN_GENERAL, XB_RAX);
    }
}

void xb_layout_of(xb_layout *out, const xb_signature *signature, execbuf_abi abi) {
    allocation to = {abi == EXECBUF_ABI_WIN64 ? &win64 : &sysv64, 0, 0, 0, 0};
    xb_shape result = xb_signature_shape(signature, signature->result);
    memset(out, 0, sizeof *out);
    to.stack_size = to.rules->shadow_space;
    out->result.size = result.size;
    if (abi == EXECBUF_ABI_WIN64) {
        put_result_win64(&out->result, &result, signature->result);
    } else {
        put_result_sysv64(&out->result, &result);
    }
    if (out->result.is_reference) {
        out->result_pointer.size = 8;
        put_word(&to, &out->result_pointer, false);
    }
    for (uint32_t i = 0; i < signature->count; i++) {
        put_argument(&to, &out->arguments[i], signature, signature->arguments[i]);
    }
    out->stack_size = (to.stack_size + 7) & ~7U;
    out->vector_count = to.vector;
}
