/* Makes and compares fingerprints. Pure: no state, no system calls. */

#include "fingerprint.h"

#include <string.h>

#include "../call/packed.h"
#include "edit.h"
#include "machine.h"

/* The hash is FNV-1a, of 64 bits, over direction, result, variadic, the arguments' kinds and the shapes. */
#define FNV_BASIS 0xcbf29ce484222325U
#define FNV_PRIME 0x100000001b3U

static uint64_t fnv_add(uint64_t hash, uint64_t value) {
    return (hash ^ value) * FNV_PRIME;
}

/* The type that stands for a shape; is_result says where it is. */
static uint8_t kind_of_shape(xb_signature *to, const xb_signature *signature, uint8_t type,
                             execbuf_abi caller_abi, bool is_result) {
    xb_shape shape = signature->shapes[type - XB_FIRST_SHAPE];
    uint8_t kind = xb_edit_of(caller_abi) == XB_EDIT_NONE
                       ? xb_machine_alike(&shape, caller_abi, is_result)
                       : xb_machine_alike_edited(&shape, is_result, xb_edit_convention(caller_abi));
    return kind == XB_FIRST_SHAPE ? xb_signature_add_shape(to, &shape) : kind;
}

/* The type that stands for the result. An edit does not move results without members. */
static uint8_t kind_of_result(xb_signature *to, const xb_signature *signature, execbuf_abi caller_abi) {
    uint8_t type = signature->result;
    if (type >= XB_FIRST_SHAPE) {
        return kind_of_shape(to, signature, type, caller_abi, true);
    }
    if (xb_edit_of(caller_abi) != XB_EDIT_NONE) {
        return (uint8_t)EXECBUF_TYPE_VOID;
    }
    return xb_machine_result_kinds(caller_abi)[type];
}

void xb_fingerprint_of(xb_fingerprint *fingerprint, xb_shape *shapes, const xb_signature *signature,
                       execbuf_abi caller_abi) {
    const uint8_t *kinds = xb_machine_kinds(caller_abi);
    xb_signature *to = &fingerprint->signature;
    uint32_t count = signature->count;
    to->shapes = shapes;
    to->shape_count = 0;
    to->result = kind_of_result(to, signature, caller_abi);
    uint64_t hash = fnv_add(FNV_BASIS, (uint64_t)caller_abi | (uint64_t)to->result << 8);
    bool counts_dots = signature->variadic != 0 && xb_machine_has_small_slots(caller_abi);
    uint8_t fixed = counts_dots ? signature->fixed : (uint8_t)count; /* no move depends on it otherwise */
    bool is_variadic = signature->variadic != 0 && (counts_dots || !xb_abi_is_handler(caller_abi));
    hash = fnv_add(hash, (uint64_t)is_variadic | (uint64_t)fixed << 8);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t type = signature->arguments[i];
        uint8_t kind =
            type < XB_FIRST_SHAPE ? kinds[type] : kind_of_shape(to, signature, type, caller_abi, false);
        to->arguments[i] = kind;
        hash = fnv_add(hash, kind);
    }
    for (uint32_t i = 0; i < to->shape_count; i++) {
        uint64_t word;
        memcpy(&word, &shapes[i], sizeof word);
        hash = fnv_add(hash, word);
    }
    fingerprint->hash = hash ^ hash >> 32; /* the low bits, which choose a bucket, depend on all bytes */
    fingerprint->caller_abi = caller_abi;
    to->count = (uint8_t)count;
    to->variadic = is_variadic;
    to->fixed = fixed;
}

bool xb_fingerprint_same(const xb_fingerprint *one, const xb_fingerprint *other) {
    const xb_signature *first = &one->signature;
    const xb_signature *second = &other->signature;
    if (one->hash != other->hash || one->caller_abi != other->caller_abi || first->count != second->count ||
        first->variadic != second->variadic || first->fixed != second->fixed ||
        first->result != second->result || first->shape_count != second->shape_count) {
        return false;
    }
    uint32_t same = 0; /* a loop, since there are few arguments, and a call of memcmp would take longer */
    while (same < first->count && first->arguments[same] == second->arguments[same]) {
        same++;
    }
    return same == first->count &&
           (first->shape_count == 0 ||
            memcmp(first->shapes, second->shapes, first->shape_count * sizeof *first->shapes) == 0);
}
