/* For gdb: functions whose lines are described: lines COUNT
 *
 * Function number i calls function i - 2; function 0 calls innermost. It comes from toy.src: the prologue
 * from line 10 * i + 1, the call from the next line, and the rest from the third one. It publishes COUNT
 * functions in one batch, frees each second one of the first 200, and calls the last one with an even number.
 */

#include "check.h"

#include <execbuf.h>
#include <string.h>

__attribute__((noinline)) int innermost(void);

int innermost(void) {
    static volatile int result = 7;
    return result;
}

static const unsigned char calling[] = {
    0x55,                                  /* push rbp */
    0x48, 0x89, 0xe5,                      /* mov rbp, rsp */
    0x48, 0xb8, 0,    0, 0, 0, 0, 0, 0, 0, /* mov rax, callee */
    0xff, 0xd0,                            /* call rax */
    0x5d,                                  /* pop rbp */
    0xc3,                                  /* ret */
};

typedef struct function {
    unsigned char code[sizeof calling];
    char name[24];
    execbuf_line lines[3];
    execbuf_info info;
} function;

/* callee: its address */
static void make(function *made, size_t number, uintptr_t callee) {
    static const size_t offsets[3] = {0, 4, 16};
    const execbuf_info init = EXECBUF_INFO_INIT;
    memcpy(made->code, calling, sizeof calling);
    memcpy(made->code + 6, &callee, sizeof callee);
    for (size_t i = 0; i < 3; i++) {
        const execbuf_line line = {offsets[i], "toy.src", 7, (uint32_t)(10 * number + i + 1), 0};
        made->lines[i] = line;
    }
    made->info = init;
    made->info.name = made->name;
    made->info.name_length = (size_t)snprintf(made->name, sizeof made->name, "toy_%zu", number);
    made->info.unwind = EXECBUF_UNWIND_FRAME_POINTER;
    made->info.lines = made->lines;
    made->info.line_count = 3;
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    size_t count = strtoul(argv[1], NULL, 10);
    execbuf *buffers = (execbuf *)calloc(count, sizeof *buffers);
    function *functions = (function *)calloc(count, sizeof *functions);
    execbuf_code *codes = (execbuf_code *)calloc(count, sizeof *codes);
    execbuf_room *rooms = (execbuf_room *)calloc(count, sizeof *rooms);
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.backends =
        EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_FLIP); /* gdb writes breakpoints into private memory only */
    execbuf_pool *pool;
    CHECK(buffers != NULL && functions != NULL && codes != NULL && rooms != NULL);
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < count; i++) {
        rooms[i].capacity = sizeof calling;
    }
    CHECK(execbuf_pool_reserve_batch(pool, buffers, rooms, count, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < count; i++) {
        make(&functions[i], i, i < 2 ? (uintptr_t)innermost : (uintptr_t)buffers[i - 2].entry);
        codes[i].bytes = functions[i].code;
        codes[i].length = sizeof calling;
        codes[i].info = &functions[i].info;
    }
    CHECK(execbuf_publish_all(buffers, codes, count, NULL) == EXECBUF_OK);
    for (size_t i = 1; i < count && i < 200; i += 2) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    return ((int_function)execbuf_entry(&buffers[(count - 1) & ~(size_t)1], 0))() != 7;
}
