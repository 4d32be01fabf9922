/* Fault injection in buffers with a dedicated mapping. Each system call and allocation of a public function
 * fails once; then it and all later ones fail. The function must succeed by other means or return an error
 * that names the call. Nothing may leak, and old code must still run. pool_faults.c does the same for pools.
 *
 * Built with EXECBUF_FAULT_INJECTION, which makes the library ask xb_fault before each call. */

#include "faults.h"

/* The entry of the scenario's buffer. */
static const void *entry;

static execbuf_status publish_one(void) {
    code one = returning(1);
    return execbuf_publish(&buffer, one.bytes, one.length, &error);
}

static void do_nothing(void) {}

static void check_created(execbuf_status status) {
    if (status == EXECBUF_OK) {
        CHECK(call(&buffer, 0) == 1);
    } else {
        CHECK(buffer.entry == NULL && buffer.length == 0 && buffer.id == 0);
    }
}

static execbuf_status reserve(void) {
    return execbuf_reserve(&buffer, 100000, &error);
}

static void check_reserved(execbuf_status status) {
    if (status == EXECBUF_OK) {
        status = publish_one();
    }
    check_created(status);
}

static void reserve_some(void) {
    CHECK(reserve() == EXECBUF_OK);
    entry = buffer.entry;
}

static void check_published_or_reserved(execbuf_status status) {
    CHECK(buffer.entry == entry);
    if (status != EXECBUF_OK) {
        CHECK(buffer.length == 0 && publish_one() == EXECBUF_OK);
    }
    CHECK(call(&buffer, 0) == 1);
}

/* Publishes code of three pages, with a function on the first page and one on the second. */
static void publish_three_pages(void) {
    static uint8_t bytes[3 * 4096 - 16];
    code one = returning(1);
    memcpy(bytes, one.bytes, one.length);
    memcpy(bytes + 5000, one.bytes, one.length);
    CHECK(execbuf_new(&buffer, bytes, sizeof bytes, NULL) == EXECBUF_OK);
}

/* Rewrites 100 bytes: too many for the stack buffer that keeps the old bytes on systems that rewrite in
 * place, so that the library allocates memory for them. */
static execbuf_status rewrite_second_page(void) {
    uint8_t bytes[100] = {0};
    code two = returning(2);
    memcpy(bytes, two.bytes, two.length);
    return execbuf_rewrite(&buffer, 5000, bytes, sizeof bytes, &error);
}

static int lost; /* how many times code was lost */

static void check_rewritten(execbuf_status status) {
    if (status == EXECBUF_E_LOST) {
        CHECK(may_lose);
        lost++;
        CHECK(rewrite_second_page() == EXECBUF_E_LOST && publish_one() == EXECBUF_E_PUBLISHED);
        code one = returning(1);
        CHECK(memcmp((const uint8_t *)buffer.entry + 5000, one.bytes, one.length) == 0);
        return;
    }
    CHECK(call(&buffer, 0) == 1 && call(&buffer, 5000) == (status == EXECBUF_OK ? 2 : 1));
}

static execbuf_status release(void) {
    error.status = execbuf_free(&buffer);
    error.culprit = NULL;
    CHECK(error.status == EXECBUF_OK && buffer.entry == NULL);
    return error.status;
}

static void check_freed(execbuf_status status) {
    CHECK(status == EXECBUF_OK);
    /* Unmaps what the system refused to unmap before. */
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
}

/* The first use of the library, which also registers fork handlers and allocates the table of handles. */
static void failures_of_the_first_use_are_reported(void) {
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
#if !defined(_WIN32)
    arm("pthread_atfork", 0, false);
    CHECK(create() == EXECBUF_E_NO_MEMORY && strcmp(error.culprit, "pthread_atfork") == 0);
#endif
    arm("calloc", 0, true); /* the table of handles, which is allocated last */
    CHECK(create() == EXECBUF_E_NO_MEMORY && strcmp(error.culprit, "calloc") == 0);
    maps before = look();
    CHECK(create() == EXECBUF_E_NO_MEMORY && reserve() == EXECBUF_E_NO_MEMORY);
    CHECK(same(before, look()));
    disarm();
}

static void backends_are_tested_again_after_all_have_failed(void) {
    arm(NULL, -1, false);
    CHECK(create() == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
    long warm = calls;
    forget();
    arm(NULL, -1, false);
    CHECK(create() == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(calls > warm);
}

static void lack_of_memory_takes_precedence_over_a_refusal(void) {
#if LADDER
    forget();
    always[0] = "flip";
    arm("mmap", 1, true);
    CHECK(create() == EXECBUF_E_NO_MEMORY && error.attempt_count == 3);
    CHECK(error.attempts[0].os_error == REFUSED && error.attempts[1].os_error == EXHAUSTED);
    CHECK(strcmp(error.culprit, "mmap") == 0 && error.os_error == EXHAUSTED);
    disarm();
    always[0] = "";
#endif
}

static void a_backend_that_runs_stale_code_is_rejected(void) {
#if LADDER
    /* It publishes, but it must not rewrite. */
    code two = returning(2);
    arm("stale", 0, true);
    CHECK(create() == EXECBUF_OK);
    CHECK(execbuf_rewrite(&buffer, 0, two.bytes, two.length, &error) != EXECBUF_OK);
    CHECK(error.attempt_count == 3 && call(&buffer, 0) == 1);
    for (uint32_t i = 0; i < error.attempt_count; i++) {
        CHECK(strstr(error.attempts[i].call, "self-test: old code") != NULL ||
              (error.attempts[i].backend == EXECBUF_BACKEND_ALIAS &&
               strcmp(error.attempts[i].call, "mremap") == 0)); /* qemu-user refuses the alias */
    }
    disarm();
    CHECK(execbuf_rewrite(&buffer, 0, two.bytes, two.length, &error) == EXECBUF_OK && call(&buffer, 0) == 2);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
#endif
}

/* Pages of another backend than flip are shared with forked processes. */
static void only_private_pages_are_rewritten_in_place(void) {
#if LADDER
    code two = returning(2);
    for (int is_private = 0; is_private < 2; is_private++) {
        forget();
        always[0] = is_private ? "" : "flip";
        always[1] = is_private ? "" : "memfd_create";
        if (create() != EXECBUF_OK) {
            (void)fprintf(stderr, "SKIP: a rewrite of shared pages: the alias backend does not work\n");
            always[0] = "";
            always[1] = "";
            continue;
        }
        always[0] = "mremap";
        always[1] = "";
        for (int i = 0; i < 2; i++) {
            execbuf_status status = execbuf_rewrite(&buffer, 0, two.bytes, two.length, &error);
            CHECK(status == (is_private ? EXECBUF_OK : EXECBUF_E_DENIED));
            CHECK(is_private || (strcmp(error.culprit, "mremap") == 0 && error.attempt_count == 3));
            CHECK(call(&buffer, 0) == (is_private ? 2 : 1));
        }
        always[0] = "";
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
#endif
}

static void a_refused_unmapping_is_tried_again(void) {
    code one = returning(1);
    execbuf several[3];
    for (int by_new = 0; by_new < 2; by_new++) {
        CHECK(create() == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
        maps before = look();
        for (int i = 0; i < 3; i++) {
            CHECK(execbuf_new(&several[i], one.bytes, one.length, NULL) == EXECBUF_OK);
        }
        execbuf copy = several[0];
        arm(UNMAP, 0, true);
        for (int i = 0; i < 3; i++) {
            CHECK(execbuf_free(&several[i]) == EXECBUF_OK);
        }
        CHECK(failures >= 3);
        disarm();
        /* The next call of the library tries again to unmap. */
        if (by_new) {
            CHECK(create() == EXECBUF_OK);
            arm(UNMAP, 0, false);
            CHECK(execbuf_free(&buffer) == EXECBUF_OK && failures == 1); /* nothing else was parked */
            disarm();
            CHECK(calls == 1);
        } else {
            CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
            CHECK(same(before, look()));
        }
    }
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
}

#if LADDER
#include <sys/wait.h>

/* Called before each write to a memfd: the descriptor has FD_CLOEXEC, and if the kernel supports it,
 * F_SEAL_EXEC, which forbids executing the file. */
static int memfds;

static void watch_memfd(const char *call) {
    enum { GET_SEALS = 1034, SEAL_EXEC = 0x20 };
    if (strcmp(call, "write") != 0) {
        return;
    }
    int control = (int)syscall(SYS_memfd_create, "control", 8U /* MFD_NOEXEC_SEAL */);
    for (int fd = 0; fd < 256; fd++) {
        char path[64];
        char name[64] = "";
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        (void)!readlink(path, name, sizeof name - 1);
        if (strncmp(name, "/memfd:execbuf", strlen("/memfd:execbuf")) == 0) {
            int seals = fcntl(fd, GET_SEALS);
            CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            CHECK(control < 0 || (seals & SEAL_EXEC) != 0);
            memfds++;
        }
    }
    if (control >= 0) {
        (void)close(control);
    }
}

/* Called while an alias is writable: a forked child does not inherit it. */
static int forks;

static void watch_alias(const char *call) {
    if (strcmp(call, "munmap") != 0) {
        return;
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(count_mappings("w-s") != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    forks++;
}

/* Creates one buffer and calls a function before each of its system calls. */
static void watched(void (*watcher)(const char *call)) {
    watch = watcher;
    CHECK(create() == EXECBUF_OK);
    watch = NULL;
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

/* The memfd backend also works if the kernel does not support its newest flags. */
static void memfd_works_on_old_kernels(void) {
    static const struct {
        const char *call;
        long number;
        int32_t code;
        long calls; /* in all, if no backend is tested again */
    } lacks[] = {
        {"memfd_create", 0, EINVAL, 2}, /* the newest flag */
        {"mmap", 1, EPERM, 3},          /* a shared mapping of a sealed file */
    };
    for (size_t i = 0; i < sizeof lacks / sizeof lacks[0]; i++) {
        code_given = lacks[i].code;
        arm(lacks[i].call, lacks[i].number, false);
        CHECK(create() == EXECBUF_OK && failures == 1 && calls == lacks[i].calls);
        disarm();
        CHECK(strstr(read_maps(), "/memfd:execbuf") != NULL);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    code_given = EXHAUSTED;
}
#endif

static void signature_parse_reports_lack_of_memory(void) {
    execbuf_signature *signature = (execbuf_signature *)(void *)&error;
    arm("malloc", 0, true);
    CHECK(execbuf_signature_parse(&signature, "i(pp)", &error) == EXECBUF_E_NO_MEMORY && signature == NULL);
    CHECK(error.status == EXECBUF_E_NO_MEMORY && strcmp(error.culprit, "malloc") == 0 && failures == 1);
    disarm();
    CHECK(execbuf_signature_parse(&signature, "i(pp)", &error) == EXECBUF_OK && signature->count == 2);
    execbuf_signature_free(signature);
}

/* Runs all scenarios with the only backend that is left. Returns false if it does not work here. */
static bool all_scenarios(const char *backend) {
    static const scenario scenarios[] = {
        {"new", do_nothing, create, check_created, false},
        {"reserve", do_nothing, reserve, check_reserved, false},
        {"publish", reserve_some, publish_one, check_published_or_reserved, false},
        {"rewrite", publish_three_pages, rewrite_second_page, check_rewritten, false},
        {"free", publish_three_pages, release, check_freed, false},
    };
    if (create() != EXECBUF_OK) {
        char text[400];
        (void)execbuf_error_describe(&error, text, sizeof text);
        (void)fprintf(stderr, "SKIP: faults of the %s backend: %s\n", backend, text);
        return false;
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        /* Runs once without comparing mappings, so that the table of handles and the heap have their final
         * size. */
        scenarios[i].before();
        scenarios[i].after(scenarios[i].act());
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        long faults = run_all(&scenarios[i]);
        (void)printf("%s, %s: %ld faults\n", backend, scenarios[i].name, faults);
        CHECK(faults > 0);
    }
    return true;
}

int main(void) {
    failures_of_the_first_use_are_reported();
    all_scenarios("flip");
    RUN(a_refused_unmapping_is_tried_again);
    RUN(signature_parse_reports_lack_of_memory);
    RUN(backends_are_tested_again_after_all_have_failed);
    RUN(lack_of_memory_takes_precedence_over_a_refusal);
    RUN(a_backend_that_runs_stale_code_is_rejected);
    RUN(only_private_pages_are_rewritten_in_place);
#if LADDER
    always[0] = "flip";
    if (all_scenarios("memfd")) {
        watched(watch_memfd);
        CHECK(memfds > 0);
        RUN(memfd_works_on_old_kernels);
    }
    always[1] = "memfd_create";
    if (all_scenarios("alias")) {
        watched(watch_alias);
        CHECK(forks > 0);
    }
    CHECK(lost == 0);
#else
    CHECK(lost > 0); /* rewriting in place can lose code */
#endif
    (void)printf("ok\n");
    return 0;
}
