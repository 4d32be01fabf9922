/* LeakSanitizer does not look into published code: an object is reported as leaked if its only pointer is a
 * constant in the code, unless the code is registered as a root region. */

#include <sanitizer/lsan_interface.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "execbuf.h"

enum { COUNT = 16 };

static execbuf buffers[COUNT];

/* Publishes code that contains the only pointer to a new object. */
__attribute__((noinline)) static void publish(execbuf_pool *pool, execbuf *out) {
    void *object = malloc(100);
    uint8_t code[16] = {0}; /* no instructions, as nobody calls it */
    memcpy(code + 8, &object, sizeof object);
    execbuf_status status = pool != NULL ? execbuf_pool_publish(pool, out, code, sizeof code, NULL)
                                         : execbuf_new(out, code, sizeof code, NULL);
    if (status != EXECBUF_OK) {
        exit(2);
    }
    memset(code, 0, sizeof code);
    __asm__ volatile("" ::"r"(code) : "memory");
}

/* Overwrites the part of the stack that the calls before have used. */
__attribute__((noinline)) static void clear_stack(void) {
    uint8_t space[65536];
    memset(space, 0, sizeof space);
    __asm__ volatile("" ::"r"(space) : "memory");
}

int main(void) {
    execbuf_pool *pool;
    if (execbuf_pool_new(&pool, NULL, NULL) != EXECBUF_OK) {
        return 2;
    }
    for (int i = 0; i < COUNT; i++) {
        publish(i % 2 == 0 ? pool : NULL, &buffers[i]);
    }
    clear_stack();
    if (__lsan_do_recoverable_leak_check() == 0) {
        (void)printf("no leak was reported: LeakSanitizer reads published code by itself\n");
        return 1;
    }
    for (int i = 0; i < COUNT; i++) {
        __lsan_register_root_region(buffers[i].entry, buffers[i].length);
    }
    if (__lsan_do_recoverable_leak_check() != 0) {
        (void)printf("a leak was reported although the code is registered\n");
        return 1;
    }
    return 0;
}
