/* Copies of regions, and families of processes: what a pool does after a fork. Linux only. */

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "copy.h"
#include "resource_limits.h"

static const execbuf_backend both[] = {EXECBUF_BACKEND_MEMFD, EXECBUF_BACKEND_ALIAS};

/* ---- Copies ---- */

enum { CODE = 4096 + 16 };

static atomic_uint stop;

static void *run_until_stopped(void *entry) {
    int_function function;
    memcpy((void *)&function, (void *)&entry, sizeof function);
    while (atomic_load(&stop) == 0) {
        for (int i = 0; i < 100; i++) {
            CHECK(function() == 5);
        }
    }
    return NULL;
}

static void threads_run_code_while_its_region_is_copied(void) {
    for (size_t i = 0; i < 2; i++) {
        if (!map_region_with(both[i])) {
            continue;
        }
        pthread_t threads[2];
        put(CODE, 5);
        atomic_store(&stop, 0);
        for (int t = 0; t < 2; t++) {
            CHECK(pthread_create(&threads[t], NULL, run_until_stopped, views.rx + CODE) == 0);
        }
        maps before = look_at_code();
        for (uint32_t round = 0; round < (is_emulated() ? 50 : 1000); round++) {
            uint32_t last = round % 2047;
            put((size_t)2 * 4096, last);
            const uint8_t *rx = views.rx;
            CHECK(copy(1, 2).call == NULL && views.rx == rx);
            CHECK(run_at((size_t)2 * 4096) == (int)last);
        }
        CHECK(same(before, look_at_code()));
        atomic_store(&stop, 1);
        for (int t = 0; t < 2; t++) {
            CHECK(pthread_join(threads[t], NULL) == 0);
        }
        unmap_region();
    }
}

static void what_one_process_writes_to_its_copy_is_not_seen_by_another(void) {
    for (size_t i = 0; i < 2; i++) {
        if (!map_region_with(both[i])) {
            continue;
        }
        put(CODE, 1);
        int to_child[2];
        CHECK(pipe(to_child) == 0);
        pid_t child = fork();
        if (child == 0) {
            char byte;
            views.rw = NULL; /* not inherited */
            CHECK(read(to_child[0], &byte, 1) == 1);
            CHECK(run_at(CODE) == 1); /* the parent has changed its own */
            CHECK(copy(1, 1).call == NULL && views.rw != NULL && run_at(CODE) == 1);
            put(CODE, 2);
            _exit(!has(CODE, 2));
        }
        CHECK(copy(1, 1).call == NULL);
        put(CODE, 3);
        CHECK(write(to_child[1], "", 1) == 1);
        join_child(child);
        CHECK(has(CODE, 3) && close(to_child[0]) == 0 && close(to_child[1]) == 0);
        unmap_region();
    }
}

static void only_the_chosen_pages_are_copied(void) {
    for (size_t i = 0; i < 2; i++) {
        if (!map_region_with(both[i])) {
            continue;
        }
        const size_t page = xb_prim_query().page_size;
        put(page, 1);
        put(2 * page, 2);
        put(5 * page, 5);
        put(region_size - page, 7);
        xb_prim_content content = {pages_of(2, 3), {{0}}, {{0}}};
        xb_prim_add_page(&content.copies, region_size / page - 1);
        xb_prim_add_page(&content.traps, 4);
        xb_prim_add_page(&content.traps, 5);
        CHECK(copy_content(&content).call == NULL);
        CHECK(run_at(2 * page) == 2 && run_at(region_size - page) == 7);
        for (size_t at = 0; at < page; at++) {
            CHECK(views.rx[page + at] == 0 && views.rx[6 * page + at] == 0);
        }
        CHECK(holds_traps(views.rx + 4 * page, 2 * page));
        if (can_hide()) {
            xb_prim_add_page(&content.hidden, 1);
            CHECK(copy_content(&content).call == NULL && run_at(2 * page) == 2);
            CHECK(is_gone(views.rx + page, page));
        }
        CHECK(holds_traps(views.rx + 4 * page, 2 * page));
        unmap_region();
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* A limit that forbids a copy: the call fails, and nothing has changed. */
static void check_limit(limited resource, rlim_t most, const char *call_name) {
    for (size_t i = 0; i < 2; i++) {
        if (!map_region_with(both[i])) {
            continue;
        }
        put(CODE, 5);
        pid_t child = fork();
        if (child == 0) {
            views.rw = NULL;
            maps before = look();
            const rlim_t usual = limit(resource, most);
            xb_result result = copy(1, 1);
            (void)limit(resource, usual);
            bool is_concerned = both[i] == EXECBUF_BACKEND_MEMFD || resource == RLIMIT_AS;
            CHECK((result.call != NULL) == is_concerned);
            CHECK(result.call == NULL || (strcmp(result.call, call_name) == 0 && result.code != 0));
            CHECK(run_at(CODE) == 5);
            CHECK(!is_concerned || same(before, look()));
            _exit(0);
        }
        join_child(child);
        unmap_region();
    }
}
#endif

static void a_limit_is_an_error_and_not_a_signal(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)fprintf(stderr, "SKIP: limits: sanitizers need more than they allow\n");
#else
    check_limit(RLIMIT_FSIZE, 0, "getrlimit(RLIMIT_FSIZE)");
    check_limit(RLIMIT_FSIZE, region_size - 1, "getrlimit(RLIMIT_FSIZE)");
    if (!is_in_qemu_user()) { /* it ignores this one */
        check_limit(RLIMIT_AS, (rlim_t)1 << 20, "mmap");
    }
    check_limit(RLIMIT_NOFILE, 0, "memfd_create");
#endif
}

/* ---- Families ---- */

static xb_prim_family family;

static bool begin_family(void) {
    static uint32_t serial;
    xb_result result = xb_prim_begin_family(&family, serial++);
    if (result.call != NULL) {
        (void)fprintf(stderr, "SKIP: families: %s is refused here\n", result.call);
    }
    return result.call == NULL;
}

/* Starts a child that lives until it is stopped. */
static pid_t start_child(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)pause();
        _exit(0);
    }
    return child;
}

static void stop_child(pid_t child) {
    int status;
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
}

static void a_process_is_alone_while_no_child_lives(void) {
    pid_t older = start_child();
    if (begin_family()) {
        CHECK(xb_prim_is_alone(&family)); /* the older child is not of this family */
        pid_t one = start_child();
        pid_t two = start_child();
        CHECK(!xb_prim_is_alone(&family));
        stop_child(one);
        CHECK(!xb_prim_is_alone(&family));
        stop_child(two);
        CHECK(xb_prim_is_alone(&family));
        xb_prim_leave_family(&family);
        CHECK(!xb_prim_is_alone(&family));
    }
    stop_child(older);
}

/* Runs this file again, as a program that writes a byte and waits. */
static void become_a_program(void) {
    (void)execl("/proc/self/exe", "copy", "wait", (char *)NULL);
    _exit(1);
}

static int wait_as_a_program(void) {
    char byte;
    (void)!write(1, "", 1);
    return read(0, &byte, 1) == 1;
}

static void a_child_of_a_child_counts_and_a_program_does_not(void) {
    if (is_in_qemu_user() || under_valgrind()) {
        (void)fprintf(stderr, "SKIP: a child that becomes a program: it would be the emulator or valgrind\n");
        return;
    }
    if (!begin_family()) {
        return;
    }
    int done[2];
    int stays[2];
    CHECK(pipe(done) == 0 && pipe(stays) == 0);
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) {
            char byte;
            CHECK(read(stays[0], &byte, 1) == 1 && !xb_prim_is_alone(&family));
            become_a_program();
        }
        _exit(0);
    }
    join_child(child);
    CHECK(!xb_prim_is_alone(&family)); /* the child's child lives */
    int input[2];
    CHECK(pipe(input) == 0);
    pid_t program = fork();
    if (program == 0) {
        CHECK(dup2(input[0], 0) == 0 && dup2(done[1], 1) == 1);
        become_a_program();
    }
    char byte;
    CHECK(read(done[0], &byte, 1) == 1); /* the program runs */
    CHECK(write(stays[1], "", 1) == 1);  /* the child's child becomes one */
    while (!xb_prim_is_alone(&family)) {
        (void)sched_yield();
    }
    stop_child(program);
    xb_prim_leave_family(&family);
}

static void a_family_in_another_ipc_namespace_is_not_known(void) {
    if (!begin_family()) {
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        xb_prim_family other;
        if (syscall(SYS_unshare, 0x08000000 /* CLONE_NEWIPC */) != 0) {
            (void)fprintf(stderr, "SKIP: IPC namespaces: not allowed\n");
            _exit(0);
        }
        CHECK(!xb_prim_is_alone(&family));
        CHECK(xb_prim_begin_family(&other, 100).call == NULL && xb_prim_is_alone(&other));
        /* Even if the other namespace gives the same number to another page. */
        xb_prim_family same_number = other;
        same_number.size = family.size;
        CHECK(!xb_prim_is_alone(&same_number));
        _exit(0);
    }
    join_child(child);
    xb_prim_leave_family(&family);
}

static void another_user_of_the_process_may_still_ask(void) {
    pid_t child = fork();
    if (child == 0) {
        if (begin_family()) {
            if (setgid(65534) != 0 || setuid(65534) != 0) {
                (void)fprintf(stderr, "SKIP: another user: not root\n");
                _exit(0);
            }
            CHECK(xb_prim_is_alone(&family));
            struct rlimit none = {0, 0};
            CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
            pid_t failed = fork();
            if (failed == 0) {
                _exit(0);
            }
            CHECK(failed < 0 && errno == EAGAIN && xb_prim_is_alone(&family));
        }
        _exit(0);
    }
    join_child(child);
}

int main(int count, char **arguments) {
    (void)arguments;
    if (count > 1) {
        return wait_as_a_program();
    }
    (void)alarm(seconds(120));
    (void)is_in_qemu_user(); /* before there is a region */
    RUN(threads_run_code_while_its_region_is_copied);
    RUN(what_one_process_writes_to_its_copy_is_not_seen_by_another);
    RUN(only_the_chosen_pages_are_copied);
    RUN(a_limit_is_an_error_and_not_a_signal);
    RUN(a_process_is_alone_while_no_child_lives);
    RUN(a_child_of_a_child_counts_and_a_program_does_not);
    RUN(a_family_in_another_ipc_namespace_is_not_known);
    RUN(another_user_of_the_process_may_still_ask);
    (void)printf("ok\n");
    return 0;
}

#else

#include "check.h"

int main(void) {
    (void)fprintf(stderr, "SKIP: copies of regions: only Linux has them\n");
    return 0;
}

#endif
