/* Publishing in slots that are longer than the code: reserves them, and publishes in them. */

#include "roomy.h"

#include <stdlib.h>

#include "../base/fault.h"
#include "../debug/dump_table.h"
#include "../pool/put.h"
#include "buffer.h"
#include "describe.h"

/* Longer code has a dedicated mapping, which keeps no room. */
#define LONGEST_WITH_ROOM ((size_t)1 << 20)

/* The size of a slot for code with a description. */
static size_t roomy_capacity(size_t length, const execbuf_info *known) {
    return length > 0 && length <= LONGEST_WITH_ROOM ? length + xb_dump_table_room(known) : length;
}

execbuf_status xb_api_put_with_room(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                    const execbuf_info *known, execbuf_error *error) {
    size_t capacity = roomy_capacity(length, known);
    if (capacity == length) {
        return xb_pool_put(pool, out, code, length, error);
    }
    execbuf_status status = xb_pool_reserve(pool, out, capacity, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    status = xb_api_publish(out, code, length, error);
    if (status != EXECBUF_OK) {
        xb_pool_drop(out);
    }
    return status;
}

execbuf_status xb_api_publish_batch_with_room(execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                              size_t count, execbuf_error *error) {
    bool may_allocate = count <= SIZE_MAX / sizeof(execbuf_room) && XB_FAULT("calloc") == 0;
    execbuf_room *rooms = may_allocate ? (execbuf_room *)calloc(count, sizeof *rooms) : NULL;
    if (rooms == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    for (size_t i = 0; i < count; i++) {
        execbuf_info known;
        bool is_described =
            codes[i].info != NULL && xb_api_read_info(&known, codes[i].info, NULL) == EXECBUF_OK;
        rooms[i].capacity = is_described ? roomy_capacity(codes[i].length, &known) : codes[i].length;
    }
    execbuf_status status = xb_pool_reserve_batch(pool, out, rooms, count, error);
    free(rooms);
    if (status != EXECBUF_OK) {
        return status;
    }
    status = xb_api_publish_all(out, codes, count, error);
    for (size_t i = 0; i < count && status != EXECBUF_OK; i++) {
        xb_pool_drop(&out[i]);
    }
    return status;
}
