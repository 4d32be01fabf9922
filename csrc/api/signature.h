/* Converts public signatures to the compact form that the folders below use, and checks them on the way:
 * below api/, every signature is valid. */
#ifndef XB_API_SIGNATURE_H
#define XB_API_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../call/signature.h"
#include "../call/type.h"

XB_PRIVATE_BEGIN

/* Converts a signature.
 *
 * Returns: EXECBUF_OK, and error is untouched; EXECBUF_E_NULL, EXECBUF_E_VERSION, EXECBUF_E_ARGUMENTS or
 *          EXECBUF_E_TYPE.
 * Out: out:       the compact form; undefined on failure.
 * In:  signature: any bytes; NULL is an error.
 * Out: error:     the report; may be NULL. */
execbuf_status xb_signature_read(xb_signature *out, const execbuf_signature *signature, execbuf_error *error);

XB_PRIVATE_END

/* A signature as words. */
typedef union xb_signature_words {
    xb_signature signature;
    uint64_t words[(sizeof(xb_signature) + 7) / 8];
} xb_signature_words;

/* Kind and count of a type, as one word: the kind, if the count is 0. */
XB_INLINE uint64_t xb_type_word(const execbuf_type *type) {
    return (uint64_t)type->count << 32 | (uint32_t)type->kind;
}

/* Converts a signature on execbuf_thunk_new's fast path: one of this version's size, and not variadic.
 * Inline, since it is a loop over few arguments.
 *
 * It writes words, as xb_signature_word reads them: processors are slow to read as a word what was written as
 * bytes. Only for little-endian machines, therefore, such as those that thunks are made on.
 *
 * Returns: false if xb_signature_read has to look at it; out is then undefined.
 * In: signature: any bytes; not NULL. */
XB_INLINE bool xb_signature_read_fast(xb_signature_words *out, const execbuf_signature *signature) {
    const execbuf_type *arguments = signature->arguments;
    size_t count = signature->count;
    uint64_t result = xb_type_word(&signature->result);
    if (XB_UNLIKELY(signature->size != sizeof *signature || count > EXECBUF_MAX_ARGUMENTS ||
                    (arguments == NULL && count > 0) || signature->fixed != EXECBUF_NOT_VARIADIC ||
                    result >= XB_TYPE_COUNT || signature->result.members != NULL)) {
        return false;
    }
    uint64_t *at = out->words;
    uint64_t word = result | (uint64_t)count << 8;
    unsigned shift = 8 * offsetof(xb_signature, arguments);
    bool valid = true;
    for (size_t i = 0; i < count; i++) {
        uint64_t type = xb_type_word(&arguments[i]);
        valid &= type - 1 < XB_TYPE_COUNT - 1 && arguments[i].members == NULL; /* not VOID, which is 0 */
        word |= type << shift;
        shift += 8;
        if (shift == 64) {
            *at++ = word;
            word = 0;
            shift = 0;
        }
    }
    *at = word; /* the rest, and zeros */
    return valid;
}

XB_STATIC_ASSERT(EXECBUF_TYPE_VOID == 0, "VOID is the type whose word is 0");
XB_STATIC_ASSERT((offsetof(xb_signature, arguments) + EXECBUF_MAX_ARGUMENTS) / 8 <
                     sizeof(xb_signature_words) / 8,
                 "the word of the rest is there, even if it is empty");

#endif
