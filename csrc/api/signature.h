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
 * Out: out:       the compact form, which borrows shapes; undefined on failure.
 *      shapes:    XB_MAX_SHAPES of them.
 * In:  signature: any bytes; NULL is an error.
 * Out: error:     the report; may be NULL. */
execbuf_status xb_signature_read(xb_signature *out, xb_shape *shapes, const execbuf_signature *signature,
                                 execbuf_error *error);

XB_PRIVATE_END

/* A signature as words. */
typedef union xb_signature_words {
    xb_signature signature;
    uint64_t words[sizeof(xb_signature) / 8];
} xb_signature_words;

XB_STATIC_ASSERT(sizeof(xb_signature) % 8 == 0, "a signature is words");

/* How many arguments the first word has. */
#define XB_FIRST_KINDS 4U

/* Kind and count of a type, as one word: the kind, if the count is 0. */
XB_INLINE uint64_t xb_type_word(const execbuf_type *type) {
    return (uint64_t)type->count << 32 | (uint32_t)type->kind;
}

/* The kinds of types, as many bytes of a word. The last type comes first, so that all shifts are constants.
 *
 * In:     types: at most 8, with kinds below 256.
 * In/out: bits:  or-ed with all words and addresses of members. */
XB_INLINE uint64_t xb_type_kinds(const execbuf_type *types, size_t count, uint64_t *bits) {
    uint64_t kinds = 0;
    uint64_t seen = *bits;
    while (count > 0) {
        const execbuf_type *type = &types[--count];
        uint64_t word = xb_type_word(type);
        seen |= word | (uintptr_t)type->members;
        kinds = kinds << 8 | word;
    }
    *bits = seen;
    return kinds;
}

/* Converts a signature on execbuf_thunk_new's fast path: one of this version's size, whose types have no
 * members. Inline, since it is a loop over few arguments.
 *
 * It checks only that nothing is lost in the compact form, and not that the signature is valid: whoever finds
 * an equal one that is known to be valid knows it of this one, too, and others call xb_signature_check. So
 * there is one test for all types, of the bits that any of them has.
 *
 * It writes words, as xb_signature_word reads them: processors are slow to read as a word what was written as
 * bytes. Only for little-endian machines, therefore, such as those that thunks are made on.
 *
 * Returns: false if xb_signature_read has to look at it; out is then undefined.
 * In: signature: any bytes; not NULL. */
XB_INLINE bool xb_signature_read_fast(xb_signature_words *out, const execbuf_signature *signature) {
    if (XB_UNLIKELY(signature->size != sizeof *signature)) {
        return false; /* it may end before the other members */
    }
    const execbuf_type *arguments = signature->arguments;
    size_t count = signature->count;
    if (XB_UNLIKELY(count > EXECBUF_MAX_ARGUMENTS || (arguments == NULL && count > 0))) {
        return false;
    }
    uint64_t head = xb_type_word(&signature->result);
    uint64_t bits = head | (uintptr_t)signature->result.members;
    head |= (uint64_t)count << 8;
    if (signature->fixed != EXECBUF_NOT_VARIADIC) {
        head |= 1U << 16 | (uint64_t)signature->fixed << 24;
        bits |= signature->fixed;
    }
    size_t first = XB_FIRST_KINDS;
    out->words[0] = head | xb_type_kinds(arguments, count < first ? count : first, &bits) << 32;
    for (uint64_t *word = out->words + 1; first < count; first += 8) {
        size_t rest = count - first;
        *word++ = xb_type_kinds(arguments + first, rest < 8 ? rest : 8, &bits);
    }
    return bits <= UINT8_MAX;
}

XB_STATIC_ASSERT(offsetof(xb_signature, arguments) + XB_FIRST_KINDS == 8, "the first kinds fill a word");

#endif
