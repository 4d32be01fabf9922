/* For gdb: described functions, of which three call each other and then innermost: described COUNT HOW
 *
 *   single  publishes COUNT functions one by one
 *   batch   publishes them in one batch
 *
 * Then it frees every second one. gdb finds a name at kept, and none at freed. */

#include "check.h"

#include <execbuf.h>
#include <string.h>

__attribute__((noinline)) int innermost(void);
extern const void *volatile kept;
extern const void *volatile freed;
const void *volatile kept;
const void *volatile freed;

int innermost(void) {
    static volatile int result = 7;
    return result;
}

static const unsigned char with_frame_pointer[] = {
    0x55,                                  /* push rbp */
    0x48, 0x89, 0xe5,                      /* mov rbp, rsp */
    0x48, 0xb8, 0,    0, 0, 0, 0, 0, 0, 0, /* mov rax, callee */
    0xff, 0xd0,                            /* call rax */
    0x5d,                                  /* pop rbp */
    0xc3,                                  /* ret */
};

static const unsigned char with_fixed_frame[] = {
    0x48, 0x83, 0xec, 8,                   /* sub rsp, 8 */
    0x48, 0xb8, 0,    0, 0, 0, 0, 0, 0, 0, /* mov rax, callee */
    0xff, 0xd0,                            /* call rax */
    0x48, 0x83, 0xc4, 8,                   /* add rsp, 8 */
    0xc3,                                  /* ret */
};

/* A function that calls another one. Both kinds of code have the callee at offset 6. */
typedef struct function {
    unsigned char code[24];
    size_t length;
    char name[24];
    execbuf_info info;
} function;

static void make(function *made, size_t number, int_function callee) {
    const execbuf_info init = EXECBUF_INFO_INIT;
    int has_pointer = number % 2 == 0;
    made->length = has_pointer ? sizeof with_frame_pointer : sizeof with_fixed_frame;
    memcpy(made->code, has_pointer ? with_frame_pointer : with_fixed_frame, made->length);
    memcpy(made->code + 6, &callee, sizeof callee);
    made->info = init;
    made->info.name = made->name;
    made->info.name_length = (size_t)snprintf(made->name, sizeof made->name, "described_%zu", number);
    made->info.unwind = has_pointer ? EXECBUF_UNWIND_FRAME_POINTER : EXECBUF_UNWIND_FIXED;
    made->info.frame_size = 8;
    made->info.prologue = 4;
    made->info.epilogue = 1;
}

int main(int argc, char **argv) {
    execbuf_tools tools = EXECBUF_TOOLS_INIT;
    tools.which = EXECBUF_TOOL_GDB;
    CHECK(argc > 2 && execbuf_tools_enable(&tools, NULL) == EXECBUF_OK);
    size_t count = strtoul(argv[1], NULL, 10);
    execbuf *buffers = (execbuf *)calloc(count + 3, sizeof *buffers);
    function *functions = (function *)calloc(count + 3, sizeof *functions);
    execbuf_code *codes = (execbuf_code *)calloc(count + 3, sizeof *codes);
    execbuf_pool *pool;
    CHECK(buffers != NULL && functions != NULL && codes != NULL);
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < count; i++) {
        make(&functions[i], i, innermost);
        codes[i].bytes = functions[i].code;
        codes[i].length = functions[i].length;
        codes[i].info = &functions[i].info;
        if (strcmp(argv[2], "single") == 0) {
            CHECK(execbuf_pool_publish_with(pool, &buffers[i], codes[i].bytes, codes[i].length, codes[i].info,
                                            NULL) == EXECBUF_OK);
        }
    }
    if (strcmp(argv[2], "batch") == 0) {
        CHECK(execbuf_pool_publish_batch(pool, buffers, codes, count, NULL) == EXECBUF_OK);
    }
    kept = buffers[0].entry;
    freed = buffers[1].entry;
    for (size_t i = 1; i < count; i += 2) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    int_function callee = innermost;
    for (size_t i = count; i < count + 3; i++) {
        make(&functions[i], i, callee);
        CHECK(execbuf_new(&buffers[i], functions[i].code, functions[i].length, NULL) == EXECBUF_OK);
        CHECK(execbuf_describe(&buffers[i], &functions[i].info, NULL) == EXECBUF_OK);
        callee = (int_function)execbuf_entry(&buffers[i], 0);
    }
    return callee() != 7;
}
