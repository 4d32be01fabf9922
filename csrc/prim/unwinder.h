/* Unwind tables: what the unwinder of the process learns of code. */
#ifndef XB_PRIM_UNWINDER_H
#define XB_PRIM_UNWINDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "prim.h"

XB_PRIVATE_BEGIN

/* A function with unwind tables, or several functions with one list of them. It stays at its address while it
 * is registered. */
typedef struct xb_prim_function {
    /* Filled by the caller: */
    const uint8_t *code;
    uint32_t length;         /* of the code; of a list: from its first function to the end of its last */
    const uint8_t **lists;   /* DWARF: NULL; or an array of lists up to a NULL, instead of one list */
    const uint8_t *fde;      /* DWARF: the first FDE; a length of 0 ends the list */
    const uint8_t *last_fde; /* DWARF: the FDE of the last byte of code */
    uint32_t xdata;          /* Windows: offset of the UNWIND_INFO from code */
    uint32_t *entries;       /* Windows: NULL; or a list of RUNTIME_FUNCTIONs, relative to code */
    uint32_t entry_count;    /* of these */
    /* For xb_prim_deregister_unwind: */
    uint64_t object[8];
    void *handle;
} xb_prim_function;

/* The call of a result that says: the unwinder does not find a function that was registered with it. */
#define XB_PRIM_LOST "_Unwind_Find_FDE"

/* True if one registration may cover a list of functions. False if each function is registered by itself, or
 * if no unwinder can learn of code. */
bool xb_prim_registers_lists(void);

/* True if the unwinder searches what is registered one by one, and takes arrays of lists. To be called
 * between xb_prim_begin_unwinder and xb_prim_end_unwinder. */
bool xb_prim_registers_arrays(void);

/* Begins calls of the unwinder, and takes the lock of what is registered. Until xb_prim_end_unwinder no
 * signal handler runs in this thread, but for signals of faults: profilers unwind in one, and would wait for
 * ever for a lock of the unwinder that this thread holds. No other lock may be held, or taken in between,
 * because a thread may wait here for another one in the unwinder. Nothing but calls of the unwinder should
 * come in between: signals come late, and a child forked meanwhile does not call the unwinder any more.
 *
 * Returns: false if there is no unwinder that can learn of code at run time, or if it cannot be called any
 *          more, since a fork interrupted it. Then nothing has begun. What was registered before a fork like
 *          that must stay where it is for ever; its code may go. */
bool xb_prim_begin_unwinder(void);
void xb_prim_end_unwinder(void);

/* Registers a function with the unwinder of the process, between xb_prim_begin_unwinder and
 * xb_prim_end_unwinder. Fails with XB_PRIM_LOST if the unwinder does not find the first FDE for the first
 * byte of code afterwards, and the last one for the last byte. */
xb_result xb_prim_register_unwind(xb_prim_function *function);

/* Registers an array with all lists of others that are registered, then removes the others: at every moment
 * the unwinder finds what was registered before. Fails as xb_prim_register_unwind, for the list to which fde
 * and last_fde of function belong; then the others are registered again.
 *
 * In: old: count functions, in the order of addresses. */
xb_result xb_prim_replace_unwind(xb_prim_function *const *old, size_t count, xb_prim_function *function);

/* Removes a registered function, between the same two. Its list has the same addresses and lengths as when it
 * was registered. */
void xb_prim_deregister_unwind(xb_prim_function *function);

XB_PRIVATE_END

#endif
