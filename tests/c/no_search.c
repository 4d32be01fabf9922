/* execbuf asks the loader for nothing once it is loaded: not when it is used, nor in the child of a fork.
 * This program replaces dlopen, dlsym and dladdr with functions that find nothing and count. */

#include "check.h"

#if defined(__x86_64__) && defined(__ELF__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_REPLACE 1
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef CAN_REPLACE
#endif
#endif
#endif

#if defined(CAN_REPLACE)

#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

static int asked;
static bool is_main;
static bool was_asked_before_main;

static void *ask(void) {
    asked++;
    was_asked_before_main |= !is_main;
    return NULL;
}

void *dlopen(const char *name, int flags);
void *dlsym(void *library, const char *name);
int dladdr(const void *address, void *info);

void *dlopen(const char *name, int flags) {
    (void)name;
    (void)flags;
    return ask();
}

void *dlsym(void *library, const char *name) {
    (void)library;
    (void)name;
    return ask();
}

int dladdr(const void *address, void *info) {
    (void)address;
    (void)info;
    return ask() != NULL;
}

static void use(void) {
    code made = returning(7);
    execbuf buffer;
    execbuf_pool *pool;
    CHECK(execbuf_new(&buffer, made.bytes, made.length, NULL) == EXECBUF_OK && call(&buffer, 0) == 7);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf_signature *signature = parsed("d(id)");
    CHECK(execbuf_thunk_new(pool, &buffer, signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64,
                            (const void *)made.bytes, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_signature_free(signature);
    execbuf_pool_free(pool);
    CHECK(asked == 0);
}

static void the_loader_is_asked_nothing(void) {
    is_main = true;
    if (!was_asked_before_main) {
        (void)fprintf(stderr, "SKIP: a search for the unwinder: the program is linked with one\n");
    }
    asked = 0;
    use();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        use();
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(asked == 0);
}

int main(void) {
    RUN(the_loader_is_asked_nothing);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr,
                  "SKIP: questions to the loader: no x86-64, or a sanitizer that asks the loader itself\n");
    return 0;
}

#endif
