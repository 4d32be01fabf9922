/* The adapters of an arena: code that all stubs share whose thunks move their arguments alike, and all
 * callers of execbuf_call. An adapter is a buffer of the arena, known to unwinders and debuggers. It counts
 * its users, and is freed with the last one. */
#ifndef XB_THUNK_ADAPTER_H
#define XB_THUNK_ADAPTER_H

#include "../base/compiler.h"
#include "../call/signature.h"
#include "../pool/arena.h"
#include "cell.h"
#include "edit.h"
#include "recent.h"
#include "table.h"

/* What an arena's links_data points to, from its first adapter on. The arena's lock guards it. */
typedef struct xb_adapters {
    xb_recent recent; /* first: execbuf_thunk_new's fast path reads nothing else */
    xb_table table;
    xb_cells cells;
} xb_adapters;

XB_PRIVATE_BEGIN

/* The adapter of a signature that was used recently, or NULL. The arena is locked.
 *
 * In: signature:  any bytes, but count is at most EXECBUF_MAX_ARGUMENTS. If an adapter is returned, it is
 * valid.
 *     caller_abi: the convention by which the adapter is called: EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64; or
 *                 an edit (see edit.h), and the signature is the longer one; or one of xb_handler_abi. */
XB_INLINE xb_adapter *xb_adapter_find_recent(const xb_arena *arena, const xb_signature *signature,
                                             execbuf_abi caller_abi) {
    const xb_adapters *adapters = (const xb_adapters *)arena->links_data;
    return XB_UNLIKELY(adapters == NULL) ? NULL : xb_recent_find(&adapters->recent, signature, caller_abi);
}

/* The adapter of a signature without shapes that holds any bytes, or NULL if the signature is not valid, the
 * arena has none for it, or has a protection key: then neither
 * this function nor xb_adapter_find_recent ever finds one, and the fast path in stub.h does not apply.
 * Otherwise as xb_adapter_find_recent, which will find it the next time. */
xb_adapter *xb_adapter_find(xb_arena *arena, const xb_signature *signature, execbuf_abi caller_abi);

/* Gives the cell of a stub back, which is not published, or is not live any more. The arena is not locked,
 * and has adapters. */
void xb_adapter_release_cell(xb_arena *arena, xb_cell *cell);

/* The cell of a stub, or NULL if its adapter has none. The arena is locked. */
xb_cell *xb_adapter_cell(const xb_arena *arena, const xb_link *link);

/* Finds or makes the adapter of a signature, and adds a user to it, which xb_adapter_release or the end of a
 * stub takes away. The arena is not locked.
 *
 * Returns: EXECBUF_OK, and error is untouched; else the status of xb_arena_put, or EXECBUF_E_NO_MEMORY.
 * Out: out:        the adapter.
 * In:  signature:  has passed xb_signature_check and xb_machine_can.
 *      caller_abi: as above, or one of xb_packed_abi.
 * Out: error:      the report; may be NULL. */
execbuf_status xb_adapter_get(xb_arena *arena, xb_adapter **out, const xb_signature *signature,
                              execbuf_abi caller_abi, execbuf_error *error);

/* Takes a user from the adapter whose code begins at entry, and frees it if that was the last. But the
 * adapter of closures is kept until the pool is freed: a closure that is freed while it runs returns through
 * it. So a program that makes closures now and then makes one adapter for them. The arena is not locked;
 * something of it still lives. */
void xb_adapter_release(xb_arena *arena, const uint8_t *entry);

XB_PRIVATE_END

#endif
