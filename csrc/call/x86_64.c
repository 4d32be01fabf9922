/* Where the two conventions of x86-64 have arguments and results. Pure: no state, no system calls. All types
 * take one register or one stack slot of 8 bytes.
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
 *                                              first four arguments there */

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

/* Each argument on the stack takes this many bytes, whatever its type. */
#define STACK_SLOT 8U

static execbuf_location in_register(execbuf_where where, uint32_t number) {
    execbuf_location location = {0, 0, 0, 0};
    location.where = where;
    location.number = number;
    return location;
}

static execbuf_location on_stack(uint32_t offset) {
    execbuf_location location = {EXECBUF_ON_STACK, 0, 0, 0};
    location.offset = offset;
    return location;
}

/* Both conventions have results in the first register of their kind. */
static execbuf_location location_of_result(uint8_t type) {
    if (type == EXECBUF_TYPE_VOID) {
        return in_register(EXECBUF_NOWHERE, 0);
    }
    return xb_type_is_float(type) ? in_register(EXECBUF_IN_VECTOR, 0)
                                  : in_register(EXECBUF_IN_GENERAL, XB_RAX);
}

void xb_layout_of(execbuf_layout *out, const xb_signature *signature, execbuf_abi abi) {
    const convention *rules = abi == EXECBUF_ABI_WIN64 ? &win64 : &sysv64;
    uint32_t general = 0; /* how many general registers have arguments */
    uint32_t vector = 0;
    uint32_t stack_size = rules->shadow_space;
    memset(out, 0, sizeof *out);
    out->size = sizeof *out;
    for (uint32_t i = 0; i < signature->count; i++) {
        bool is_float = xb_type_is_float(signature->arguments[i]);
        uint32_t next = rules->by_position ? i : is_float ? vector : general;
        if (is_float && next < rules->vector_count) {
            out->arguments[i] = in_register(EXECBUF_IN_VECTOR, next);
            vector++;
        } else if (!is_float && next < rules->general_count) {
            out->arguments[i] = in_register(EXECBUF_IN_GENERAL, rules->general[next]);
            general++;
        } else {
            out->arguments[i] = on_stack(stack_size);
            stack_size += STACK_SLOT;
        }
    }
    out->result = location_of_result(signature->result);
    out->stack_size = stack_size;
    out->vector_count = vector;
}
