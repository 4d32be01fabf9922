/* Publishing in slots that are longer than the code, so that the dump of code can say how to unwind through
 * it (see debug/dump_table.h). Only while that tool is on. */
#ifndef XB_API_ROOMY_H
#define XB_API_ROOMY_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/compiler.h"
#include "../debug/tools.h"
#include "../include/execbuf.h"

/* Whether the tool is on. */
static inline bool xb_api_may_need_room(void) {
    return (XB_LOAD_RELAXED(xb_tools_on) & EXECBUF_TOOL_JITDUMP) != 0;
}

XB_PRIVATE_BEGIN

/* As xb_pool_put, for code that will be described.
 *
 * In: known: the description. */
execbuf_status xb_api_put_with_room(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                    const execbuf_info *known, execbuf_error *error);

/* execbuf_pool_publish_batch, after its checks of arguments. */
execbuf_status xb_api_publish_batch_with_room(execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                              size_t count, execbuf_error *error);

XB_PRIVATE_END

#endif
