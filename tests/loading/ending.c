/* A program that is linked with execbuf's shared library, and uses it after the destructors of that library.
 *
 * Compiled with LIBRARY, this is a library on which execbuf's depends, so that its destructor runs later. The
 * other half is the program. It exits with 0 if the destructor could use the pool of main; AddressSanitizer
 * sees whether the pool's memory still exists. */

#if defined(LIBRARY)

void (*call_at_the_end)(void);

__attribute__((destructor)) static void end(void) {
    if (call_at_the_end != 0) {
        call_at_the_end();
    }
}

#else

#include <stdlib.h>
#include <unistd.h>

#include "execbuf.h"

extern void (*call_at_the_end)(void);

static const unsigned char code[] = {0xc3}; /* x86: ret (it is not called) */
static execbuf_pool *pool;

static int use(void) {
    execbuf buffer;
    return execbuf_pool_publish(pool, &buffer, code, sizeof code, NULL) == EXECBUF_OK &&
           execbuf_free(&buffer) == EXECBUF_OK;
}

static void use_and_exit(void) {
    _exit(use() ? 0 : 1);
}

int main(void) {
    call_at_the_end = use_and_exit;
    return execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK && use() ? 2 : 3;
}

#endif
