/* AArch64 processors with BTI: code in guarded pages must begin with "bti c" if it is called through a
 * pointer. execbuf's own code does. Its pages are not guarded, so code without it runs, too. Run by
 * .ci/machines. */

#include "../../csrc/base/isa.h"
#include "check.h"

#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__aarch64__)
#error "for AArch64 only"
#endif
/* arch/arm64/include/uapi/asm, Linux 5.8 */
#define GUARDED 0x10        /* PROT_BTI */
#define HAS_BTI (1UL << 17) /* HWCAP2_BTI */

/* Maps code into a guarded page. */
static const uint8_t *guarded(const uint8_t *code, size_t length) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    memcpy(page, code, length);
    __builtin___clear_cache((char *)page, (char *)page + length);
    CHECK(mprotect(page, 4096, PROT_READ | PROT_EXEC | GUARDED) == 0);
    return (const uint8_t *)page;
}

static int call_at(const uint8_t *entry) {
    int_function function;
    memcpy(&function, &entry, sizeof function);
    return function();
}

static void the_self_test_runs_in_guarded_pages(void) {
    uint8_t code[XB_ISA_CONSTANT_SIZE];
    size_t length = xb_isa_constant(code, 1031);
    CHECK(call_at(guarded(code, length)) == 1031);
}

/* So the page of the test above was guarded. */
static void code_without_bti_does_not_run_there(void) {
    code plain = returning(7);
    const uint8_t *entry = guarded(plain.bytes, plain.length);
    (void)fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(call_at(entry));
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
}

static void published_code_needs_no_bti(void) {
    code plain = returning(7);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, plain.bytes, plain.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 7);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &buffer, plain.bytes, plain.length, NULL) == EXECBUF_OK);
    CHECK(stats_of(pool).regions == 1);
    CHECK(call(&buffer, 0) == 7);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

int main(void) {
    CHECK((getauxval(AT_HWCAP2) & HAS_BTI) != 0);
    RUN(the_self_test_runs_in_guarded_pages);
    RUN(code_without_bti_does_not_run_there);
    RUN(published_code_needs_no_bti);
    return 0;
}
