/* A library that contains a copy of execbuf, for the programs that load it (host.c, many.c). */

#include "plugin.h"

#include "../c/check.h"

#include <sys/wait.h>
#include <unistd.h>

static void add_and_free(execbuf_pool *pool, uint32_t value) {
    code made = returning(value);
    execbuf buffer;
    CHECK(execbuf_pool_publish(pool, &buffer, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == (int)value);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

#if defined(__x86_64__)
static execbuf thunk_to(const char *text, const void *target) {
    execbuf_signature *signature = parsed(text);
    execbuf thunk;
    CHECK(execbuf_thunk_new(NULL, &thunk, signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64, target, NULL) ==
          EXECBUF_OK);
    execbuf_signature_free(signature);
    return thunk;
}

/* Makes thunks of several shapes, each of which enters an adapter in the list of gdb and the unwinder. */
static void make_thunks(void) {
    static const char *const shapes[] = {"v()", "i(i)", "d(dd)", "p(ppp)", "v(iiiiiiii)", "d(fffffff)"};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        execbuf thunk = thunk_to(shapes[i], (const void *)shapes);
        CHECK(execbuf_free(&thunk) == EXECBUF_OK);
    }
}

int plugin_through_thunk(plugin_win64_function *function, int value) {
    const void *target;
    memcpy((void *)&target, (const void *)&function, sizeof target);
    execbuf thunk = thunk_to("i(i)", target);
    int (*native)(int) = (int (*)(int))execbuf_entry(&thunk, 0);
    int result = native(value);
    CHECK(execbuf_free(&thunk) == EXECBUF_OK);
    return result;
}
#else
static void make_thunks(void) {}
#endif

void plugin_use(unsigned rounds) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (unsigned round = 0; round < rounds; round++) {
        code made = returning(round % 1000);
        execbuf buffer;
        CHECK(execbuf_new(&buffer, made.bytes, made.length, NULL) == EXECBUF_OK);
        CHECK(call(&buffer, 0) == (int)(round % 1000));
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        add_and_free(pool, round % 500);
        make_thunks();
    }
    execbuf_pool_free(pool);
}

void plugin_fork(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    add_and_free(pool, 1);
    pid_t child = fork();
    CHECK(child >= 0);
    add_and_free(pool, 2);
    if (child == 0) {
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    execbuf_pool_free(pool);
}

/* An ordinary buffer, a buffer of a pool that is not freed, and a thunk to the former. */
int (*plugin_leave(unsigned value))(void) {
    code made = returning(value);
    execbuf_pool *pool;
    execbuf buffer;
    execbuf in_pool;
    CHECK(execbuf_new(&buffer, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &in_pool, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&in_pool, 0) == (int)value);
#if defined(__x86_64__)
    buffer = thunk_to("i()", buffer.entry);
#endif
    return (int_function)execbuf_entry(&buffer, 0);
}

static int use_at_exit;

void plugin_use_at_exit(void) {
    use_at_exit = 1;
}

/* Runs after the destructors of the library, as code of another thread may. */
__attribute__((destructor(101))) static void at_exit(void) {
    if (use_at_exit) {
        plugin_use(1);
        (void)puts("used at exit");
    }
}
