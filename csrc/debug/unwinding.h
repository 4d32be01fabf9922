/* What a description says of unwinding, while it is made. */
#ifndef XB_DEBUG_UNWINDING_H
#define XB_DEBUG_UNWINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "../pool/span.h"
#include "canned.h"
#include "eh_frame.h"
#include "info_xdata.h"
#include "rules.h"

/* Code to be described. */
typedef struct xb_target {
    const execbuf *buffer; /* a live buffer */
    const uint8_t *code;   /* its bytes, where they can be read */
    size_t length;         /* of the code */
    xb_span *span;         /* that it is in; NULL if it has a dedicated mapping */
} xb_target;

typedef struct xb_unwinding {
    xb_rules *rules; /* one, or on the heap */
    size_t count;    /* of rules; 0: nothing is known of unwinding */
    xb_rules one;    /* rules, if there is one */
    uint8_t program[XB_MAX_CANNED];
    const uint8_t *xdata; /* for Windows */
    size_t xdata_size;    /* 0: there is none */
    uint8_t canned_xdata[XB_MAX_INFO_XDATA];
} xb_unwinding;

XB_PRIVATE_BEGIN

/* Reads what is known of code.
 *
 * Returns: EXECBUF_OK, and error is untouched; EXECBUF_E_VERSION, EXECBUF_E_UNSUPPORTED, EXECBUF_E_UNWIND,
 *          EXECBUF_E_NO_MEMORY.
 * Out: out:   borrows the code and info; xb_unwinding_end follows, also on failure.
 *      error: the report; may be NULL. */
execbuf_status xb_unwinding_read(xb_unwinding *out, const xb_target *target, const execbuf_info *info,
                                 execbuf_error *error);

/* Checks whether what was read fits into the list of a span, if the code has one.
 *
 * Returns: EXECBUF_OK, and error is untouched; EXECBUF_E_UNWIND. */
execbuf_status xb_unwinding_check(const xb_unwinding *from, const xb_target *target, execbuf_error *error);

/* Frees what was allocated. */
void xb_unwinding_end(xb_unwinding *from);

XB_PRIVATE_END

/* Whether rules can go into the list of a span. A span with one slot needs no list. */
static inline bool xb_target_is_listed(const xb_target *target) {
    return target->span != NULL && target->span->slots > 1;
}

#endif
