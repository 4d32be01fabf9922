/* For perf: a described function that calls another one, which runs for a while: hot COUNT fp|dwarf
 *
 * It publishes COUNT pairs of functions, and frees half of them before it calls one. They keep a frame
 * pointer, or have frames of a fixed size. */

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

static const unsigned char fixed_loop[] = {
    0x48, 0x83, 0xec, 0x28,       /* sub rsp, 40 */
    0xb9, 0x00, 0xa3, 0xe1, 0x11, /* mov ecx, 300000000 */
    0xff, 0xc9,                   /* dec ecx */
    0x75, 0xfc,                   /* jnz, 4 bytes back */
    0xb8, 7,    0,    0,    0,    /* mov eax, 7 */
    0x48, 0x83, 0xc4, 0x28,       /* add rsp, 40 */
    0xc3,                         /* ret */
};

static const unsigned char fixed_caller[] = {
    0x48, 0x83, 0xec, 0x38,                   /* sub rsp, 56 */
    0x48, 0xb8, 0,    0,    0, 0, 0, 0, 0, 0, /* mov rax, callee */
    0xff, 0xd0,                               /* call rax */
    0x48, 0x83, 0xc4, 0x38,                   /* add rsp, 56 */
    0xc3,                                     /* ret */
};

static int is_fixed;

static execbuf publish(execbuf_pool *pool, const void *code, size_t length, const char *kind, size_t number) {
    char name[32];
    execbuf out;
    execbuf_info info = EXECBUF_INFO_INIT;
    info.name = name;
    info.name_length = (size_t)snprintf(name, sizeof name, "%s_%zu", kind, number);
    info.unwind = is_fixed ? EXECBUF_UNWIND_FIXED : EXECBUF_UNWIND_FRAME_POINTER;
    if (is_fixed) {
        info.frame_size = code == fixed_loop ? 40 : 56;
        info.prologue = 4; /* sub */
        info.epilogue = 1; /* ret */
    }
    const execbuf_line lines[2] = {{0, "toy.src", 7, 1, 0},
                                   {9, "toy.src", 7, 2, 0}}; /* of loop: up to mov; from dec on */
    info.lines = lines;
    info.line_count = 2;
    CHECK(execbuf_pool_publish_with(pool, &out, code, length, &info, NULL) == EXECBUF_OK);
    return out;
}

/* Publishes a loop, and a function that calls it. */
static void publish_pair(execbuf_pool *pool, execbuf *out, size_t number) {
    unsigned char code[sizeof fixed_caller];
    const size_t size = is_fixed ? sizeof fixed_caller : sizeof caller;
    out[0] = is_fixed ? publish(pool, fixed_loop, sizeof fixed_loop, "loop", number)
                      : publish(pool, loop, sizeof loop, "loop", number);
    memcpy(code, is_fixed ? fixed_caller : caller, size);
    memcpy(code + 6, &out[0].entry, sizeof(void *)); /* in both, it is behind 4 bytes and the mov's 2 */
    out[1] = publish(pool, code, size, "caller", number);
}

int main(int argc, char **argv) {
    CHECK(argc > 2);
    is_fixed = strcmp(argv[2], "dwarf") == 0;
    size_t count = strtoul(argv[1], NULL, 10);
    execbuf *buffers = (execbuf *)calloc(2 * count, sizeof *buffers);
    execbuf_pool *pool;
    CHECK(buffers != NULL && execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < count; i++) {
        publish_pair(pool, &buffers[2 * i], i);
    }
    for (size_t i = 1; i < count; i += 2) {
        CHECK(execbuf_free(&buffers[2 * i]) == EXECBUF_OK);
        CHECK(execbuf_free(&buffers[2 * i + 1]) == EXECBUF_OK);
    }
    return ((int_function)execbuf_entry(&buffers[1], 0))() != 7;
}
