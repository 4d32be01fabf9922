/* For gdb: published code calls callback, and "finish" there sets a breakpoint in the published code. That
 * needs private memory, which the pool has with the argument "private". */

#include <execbuf.h>
#include <stdio.h>
#include <string.h>

#if defined(__GNUC__)
__attribute__((noinline))
#endif
int callback(void);

int callback(void) {
    static volatile int result = 7;
    return result;
}

typedef int (*int_function)(void);

int main(int argc, char **argv) {
    unsigned char code[] = {
        0x48, 0x83, 0xec, 8,                   /* sub rsp, 8 */
        0x48, 0xb8, 0,    0, 0, 0, 0, 0, 0, 0, /* mov rax, callback */
        0xff, 0xd0,                            /* call rax */
        0x48, 0x83, 0xc4, 8,                   /* add rsp, 8 */
        0xc3,                                  /* ret */
    };
    int_function function = callback;
    memcpy(code + 6, &function, sizeof function);
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    if (argc > 1 && strcmp(argv[1], "private") == 0) {
        options.backends = EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_FLIP);
    }
    execbuf_pool *pool;
    execbuf buffer;
    if (execbuf_pool_new(&pool, &options, NULL) != EXECBUF_OK ||
        execbuf_pool_publish(pool, &buffer, code, sizeof code, NULL) != EXECBUF_OK) {
        return 1;
    }
    int_function published = (int_function)execbuf_entry(&buffer, 0);
    return published() != 7;
}
