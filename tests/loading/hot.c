/* For perf: a described function that calls another one, which runs for a while: hot COUNT
 *
 * It publishes COUNT pairs of functions, and frees half of them before it calls one. */

#include "check.h"

#include <execbuf.h>
#include <string.h>

static const unsigned char loop[] = {
    0x55,                         /* push rbp */
    0x48, 0x89, 0xe5,             /* mov rbp, rsp */
    0xb9, 0x00, 0xa3, 0xe1, 0x11, /* mov ecx, 300000000 */
    0xff, 0xc9,                   /* dec ecx */
    0x75, 0xfc,                   /* jnz, 4 bytes back */
    0xb8, 7,    0,    0,    0,    /* mov eax, 7 */
    0x5d,                         /* pop rbp */
    0xc3,                         /* ret */
};

static const unsigned char caller[] = {
    0x55,                                  /* push rbp */
    0x48, 0x89, 0xe5,                      /* mov rbp, rsp */
    0x48, 0xb8, 0,    0, 0, 0, 0, 0, 0, 0, /* mov rax, callee */
    0xff, 0xd0,                            /* call rax */
    0x5d,                                  /* pop rbp */
    0xc3,                                  /* ret */
};

static execbuf publish(execbuf_pool *pool, const void *code, size_t length, const char *kind, size_t number) {
    char name[32];
    execbuf out;
    execbuf_info info = EXECBUF_INFO_INIT;
    info.name = name;
    info.name_length = (size_t)snprintf(name, sizeof name, "%s_%zu", kind, number);
    info.unwind = EXECBUF_UNWIND_FRAME_POINTER;
    const execbuf_line lines[2] = {{0, "toy.src", 7, 1, 0},
                                   {9, "toy.src", 7, 2, 0}}; /* of loop: up to mov; from dec on */
    info.lines = lines;
    info.line_count = 2;
    CHECK(execbuf_pool_publish_with(pool, &out, code, length, &info, NULL) == EXECBUF_OK);
    return out;
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    size_t count = strtoul(argv[1], NULL, 10);
    execbuf *buffers = (execbuf *)calloc(2 * count, sizeof *buffers);
    execbuf_pool *pool;
    CHECK(buffers != NULL && execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < count; i++) {
        unsigned char code[sizeof caller];
        buffers[2 * i] = publish(pool, loop, sizeof loop, "loop", i);
        memcpy(code, caller, sizeof caller);
        memcpy(code + 6, &buffers[2 * i].entry, sizeof(void *));
        buffers[2 * i + 1] = publish(pool, code, sizeof code, "caller", i);
    }
    for (size_t i = 1; i < count; i += 2) {
        CHECK(execbuf_free(&buffers[2 * i]) == EXECBUF_OK);
        CHECK(execbuf_free(&buffers[2 * i + 1]) == EXECBUF_OK);
    }
    return ((int_function)execbuf_entry(&buffers[1], 0))() != 7;
}
