/* An unsupported platform: everything links and reports that. Built with EXECBUF_PRIM_STUB. */

#include "check.h"

int main(void) {
    code one = returning(1);
    execbuf buffer = {&buffer, 1, 1};
    execbuf_error error;
    CHECK(execbuf_new(&buffer, one.bytes, one.length, &error) == EXECBUF_E_UNSUPPORTED);
    CHECK(error.status == EXECBUF_E_UNSUPPORTED && error.os_error == 0 && error.attempt_count == 0);
    CHECK(buffer.entry == NULL && buffer.length == 0 && buffer.id == 0);
    CHECK(execbuf_reserve(&buffer, 1, &error) == EXECBUF_E_UNSUPPORTED);
    CHECK(execbuf_publish(&buffer, one.bytes, one.length, &error) == EXECBUF_E_STALE);
    CHECK(execbuf_rewrite(&buffer, 0, one.bytes, one.length, &error) == EXECBUF_E_STALE);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);

    execbuf_pool *pool = (execbuf_pool *)(void *)&buffer;
    CHECK(execbuf_pool_new(&pool, NULL, &error) == EXECBUF_E_UNSUPPORTED && pool == NULL);
    CHECK(error.status == EXECBUF_E_UNSUPPORTED && error.os_error == 0 && error.attempt_count == 0);
    buffer.entry = &buffer;
    buffer.id = (uint64_t)1 << 63; /* the form of an id in a pool */
    CHECK(execbuf_free(&buffer) == EXECBUF_E_STALE);
    CHECK(execbuf_publish(&buffer, one.bytes, one.length, &error) == EXECBUF_E_STALE);
    CHECK(execbuf_rewrite(&buffer, 0, one.bytes, one.length, &error) == EXECBUF_E_STALE);
    (void)printf("ok\n");
    return 0;
}
