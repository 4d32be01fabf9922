/* Makes and compares fingerprints. Pure: no state, no system calls. */

#include "fingerprint.h"

#include "machine.h"

/* The hash is FNV-1a, of 64 bits, over direction, variadic and the arguments' kinds. */
#define FNV_BASIS 0xcbf29ce484222325U
#define FNV_PRIME 0x100000001b3U

static uint64_t fnv_add(uint64_t hash, uint64_t value) {
    return (hash ^ value) * FNV_PRIME;
}

void xb_fingerprint_of(xb_fingerprint *fingerprint, const xb_signature *signature, execbuf_abi caller_abi) {
    const uint8_t *kinds = xb_machine_kinds(caller_abi);
    uint32_t count = signature->count;
    uint64_t hash = fnv_add(FNV_BASIS, (uint64_t)caller_abi);
    hash = fnv_add(hash, signature->variadic != 0);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t kind = kinds[signature->arguments[i]];
        fingerprint->signature.arguments[i] = kind;
        hash = fnv_add(hash, kind);
    }
    fingerprint->hash = hash ^ hash >> 32; /* the low bits, which choose a bucket, depend on all bytes */
    fingerprint->caller_abi = caller_abi;
    fingerprint->signature.result = EXECBUF_TYPE_VOID;
    fingerprint->signature.count = (uint8_t)count;
    fingerprint->signature.variadic = signature->variadic != 0;
    fingerprint->signature.fixed = (uint8_t)count; /* no move depends on it */
}

bool xb_fingerprint_same(const xb_fingerprint *one, const xb_fingerprint *other) {
    const xb_signature *first = &one->signature;
    const xb_signature *second = &other->signature;
    if (one->hash != other->hash || one->caller_abi != other->caller_abi || first->count != second->count ||
        first->variadic != second->variadic) {
        return false;
    }
    uint32_t same = 0; /* a loop, since there are few arguments, and a call of memcmp would take longer */
    while (same < first->count && first->arguments[same] == second->arguments[same]) {
        same++;
    }
    return same == first->count;
}
