/* Every system call and allocation that the library makes fails once, and then all from it on fail: each
 * public function copes, or returns an error that names the call; nothing leaks, and old code still runs.
 *
 * Built with EXECBUF_FAULT_INJECTION, which makes the library ask execbuf_fault before each call. */

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* syscall */
#endif

#include "check.h"
#include <stdbool.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

int32_t execbuf_fault(const char *call);

#if defined(_WIN32)
#define PROTECT "VirtualProtect"
#define UNMAP "VirtualFree"
#define EXHAUSTED ERROR_NOT_ENOUGH_MEMORY
#define REFUSED ERROR_ACCESS_DENIED
#define INVALID ERROR_INVALID_PARAMETER
#else
#include <errno.h>
#define PROTECT "mprotect"
#define UNMAP "munmap"
#define EXHAUSTED ENOMEM
#define REFUSED EPERM
#define INVALID EINVAL
#endif

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
#define LADDER 1 /* there is more than one backend */
#else
#define LADDER 0
#endif

/* Calls that fail whatever is armed. */
static const char *always[2] = {"", ""};
/* Which calls fail next: the one numbered first, counted from 0, or also all after it; of those called only,
 * unless that is NULL. And the code they fail with. */
static const char *only;
static long first = -1;
static bool and_all_after;
static int32_t code_given = EXHAUSTED;
static long calls;
static long failures;
/* Called before each call, with its name. */
static void (*watch)(const char *call);

int32_t execbuf_fault(const char *call) {
    (void)look(); /* at no instant is anything writable and executable */
    if (watch != NULL) {
        watch(call);
    }
    if (strcmp(always[0], call) == 0 || strcmp(always[1], call) == 0) {
        return REFUSED;
    }
    /* "stale" is no call but a way to behave. */
    if (only != NULL ? strcmp(only, call) != 0 : strcmp("stale", call) == 0) {
        return 0;
    }
    long number = calls++;
    bool fails = first >= 0 && (number == first || (and_all_after && number > first));
    failures += fails;
    return fails ? code_given : 0;
}

static void arm(const char *name, long number, bool all_after) {
    only = name;
    first = number;
    and_all_after = all_after;
    calls = 0;
    failures = 0;
}

static void disarm(void) {
    first = -1;
}

#if defined(__linux__)
/* How many descriptors are open, found without opening one. */
static int open_fds(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}
#else
static int open_fds(void) {
    return 0;
}
#endif

/* What the scenarios work on. */
static execbuf buffer;
static const void *entry;
static execbuf_error error;

static execbuf_status publish_one(void) {
    code one = returning(1);
    return execbuf_publish(&buffer, one.bytes, one.length, &error);
}

/* One use of the library: act is what calls fail in; before and after it they don't. */
typedef struct scenario {
    const char *name;
    void (*before)(void);
    execbuf_status (*act)(void);
    void (*after)(execbuf_status status);
} scenario;

static void nothing(void) {}

static execbuf_status create(void) {
    code one = returning(1);
    return execbuf_new(&buffer, one.bytes, one.length, &error);
}

static void one_runs_if_created(execbuf_status status) {
    if (status == EXECBUF_OK) {
        CHECK(call(&buffer, 0) == 1);
    } else {
        CHECK(buffer.entry == NULL && buffer.length == 0 && buffer.id == 0);
    }
}

static execbuf_status reserve(void) {
    return execbuf_reserve(&buffer, 100000, &error);
}

static void publishing_works_if_reserved(execbuf_status status) {
    if (status == EXECBUF_OK) {
        status = publish_one();
    }
    one_runs_if_created(status);
}

static void reserve_some(void) {
    CHECK(reserve() == EXECBUF_OK);
    entry = buffer.entry;
}

static void still_reserved_if_failed(execbuf_status status) {
    CHECK(buffer.entry == entry);
    if (status != EXECBUF_OK) {
        CHECK(buffer.length == 0 && publish_one() == EXECBUF_OK);
    }
    CHECK(call(&buffer, 0) == 1);
}

/* Over three pages, with a function on the first and one on the second. */
static void publish_three_pages(void) {
    static uint8_t bytes[3 * 4096 - 16];
    code one = returning(1);
    memcpy(bytes, one.bytes, one.length);
    memcpy(bytes + 5000, one.bytes, one.length);
    CHECK(execbuf_new(&buffer, bytes, sizeof bytes, NULL) == EXECBUF_OK);
}

/* A function, and so many zeros behind it that they have to be kept on the heap where the old bytes are kept.
 */
static execbuf_status rewrite_second_page(void) {
    uint8_t bytes[100] = {0};
    code two = returning(2);
    memcpy(bytes, two.bytes, two.length);
    return execbuf_rewrite(&buffer, 5000, bytes, sizeof bytes, &error);
}

static bool may_lose; /* whether all calls failed, from some one on */
static int lost;      /* how often code was lost */

static void old_code_runs_if_failed(execbuf_status status) {
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

static void freed(execbuf_status status) {
    CHECK(status == EXECBUF_OK);
    /* A mapping that could not be unmapped is tried again by any later call. */
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
}

/* Makes the library forget which backend works, so that the next call climbs the whole ladder. */
static void forget(void) {
    code one = returning(1);
    execbuf forgotten;
    int32_t code_before = code_given;
    code_given = EXHAUSTED;
    arm(PROTECT, 0, true);
    execbuf_status status = execbuf_new(&forgotten, one.bytes, one.length, &error);
    if (status == EXECBUF_OK) { /* not by the flip */
        (void)execbuf_free(&forgotten);
        arm("mmap", 1, true); /* the pages are staged, and nothing else is mapped */
        status = execbuf_new(&forgotten, one.bytes, one.length, &error);
    }
    disarm();
    code_given = code_before;
    CHECK(status == EXECBUF_E_NO_MEMORY && error.attempt_count > 0);
}

/* A status is what the code means that calls failed with, or one of an allocation, or LOST. */
static void check_status(execbuf_status status) {
    CHECK(error.status == status);
    if (status == EXECBUF_OK || status == EXECBUF_E_LOST) {
        return;
    }
    CHECK(error.culprit != NULL && error.culprit[0] != '\0');
    bool exhausted = code_given == EXHAUSTED;
    for (size_t i = 0; i < error.attempt_count; i++) {
        exhausted |= error.attempts[i].os_error == EXHAUSTED; /* qemu-user's answer to mremap */
    }
    bool allocation = strcmp(error.culprit, "calloc") == 0 || strcmp(error.culprit, "malloc") == 0;
    CHECK(status == (exhausted || allocation ? EXECBUF_E_NO_MEMORY : EXECBUF_E_DENIED));
    CHECK(allocation || error.os_error != 0);
}

/* Runs a scenario with one fault. Returns whether the fault was reached. */
static bool run(const scenario *tested, long number, bool all_after, bool cold) {
    if (cold) {
        forget();
    }
    maps maps_before = look();
    int fds_before = open_fds();
    tested->before();
    if (cold) {
        forget();
    }
    arm(NULL, number, all_after);
    execbuf_status status = tested->act();
    disarm();
    check_status(status);
    bool reached = failures > 0;
    may_lose = reached && all_after;
    tested->after(status);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
    if (!same(maps_before, look()) || open_fds() != fds_before) {
        (void)fprintf(
            stderr, "leak: %s, fault %ld%s%s: %zu maps, %zu bytes, %d descriptors; were %zu, %zu, %d\n",
            tested->name, number, all_after ? " and all after" : "", cold ? ", cold" : "", look().count,
            look().bytes, open_fds(), maps_before.count, maps_before.bytes, fds_before);
        exit(1);
    }
    return reached;
}

static long run_all(const scenario *tested) {
    static const int32_t codes[] = {EXHAUSTED, REFUSED, INVALID};
    long faults = 0;
    for (int variant = 0; variant < 12; variant++) {
        code_given = codes[variant / 4];
        long number = 0;
        while (run(tested, number, variant % 2 != 0, variant / 2 % 2 != 0)) {
            number++;
        }
        faults += number;
    }
    code_given = EXHAUSTED;
    return faults;
}

/* The very first use of the library, which also registers the fork handlers and allocates the table. */
static void the_first_use_fails_cleanly(void) {
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
#if !defined(_WIN32)
    arm("pthread_atfork", 0, false);
    CHECK(create() == EXECBUF_E_NO_MEMORY && strcmp(error.culprit, "pthread_atfork") == 0);
#endif
    arm("calloc", 0, true); /* the table, which is allocated last */
    CHECK(create() == EXECBUF_E_NO_MEMORY && strcmp(error.culprit, "calloc") == 0);
    maps before = look();
    CHECK(create() == EXECBUF_E_NO_MEMORY && reserve() == EXECBUF_E_NO_MEMORY);
    CHECK(same(before, look()));
    disarm();
}

static void a_failure_of_all_backends_is_followed_by_a_new_self_test(void) {
    arm(NULL, -1, false);
    CHECK(create() == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
    long warm = calls;
    forget();
    arm(NULL, -1, false);
    CHECK(create() == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(calls > warm);
}

static void no_more_room_for_a_backend_is_no_refusal(void) {
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

static void a_backend_that_runs_old_code_after_a_rewrite_is_not_used(void) {
#if LADDER
    forget();
    arm("stale", 0, true);
    CHECK(create() != EXECBUF_OK && error.attempt_count > 0);
    CHECK(strstr(error.attempts[0].call, "self-test: old code") != NULL);
    disarm();
#endif
}

static void a_refused_unmapping_is_made_up_for(void) {
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
        /* The next call of the library tries anew. */
        if (by_new) {
            CHECK(create() == EXECBUF_OK);
            arm(UNMAP, 0, false);
            CHECK(execbuf_free(&buffer) == EXECBUF_OK && failures == 1); /* no other is left to be unmapped */
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

/* While a memfd is written: no program that is executed inherits it, and where the kernel knows how, it is
 * not one that could be executed. */
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

/* While an alias is writable: no child of a fork has it. */
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

/* Creates one buffer under watch. */
static void watched(void (*watcher)(const char *call)) {
    watch = watcher;
    CHECK(create() == EXECBUF_OK);
    watch = NULL;
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

/* The memfd backend goes on where the kernel does not know its newest flags and rights. */
static void old_kernels_are_done_without(void) {
    static const struct {
        const char *call;
        long number;
        int32_t code;
        long calls; /* so many in all, and no new climb of the ladder */
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

/* Returns whether the backend works here. */
static bool all_scenarios(const char *backend) {
    static const scenario scenarios[] = {
        {"new", nothing, create, one_runs_if_created},
        {"reserve", nothing, reserve, publishing_works_if_reserved},
        {"publish", reserve_some, publish_one, still_reserved_if_failed},
        {"rewrite", publish_three_pages, rewrite_second_page, old_code_runs_if_failed},
        {"free", publish_three_pages, release, freed},
    };
    if (create() != EXECBUF_OK) {
        char text[400];
        (void)execbuf_error_describe(&error, text, sizeof text);
        (void)fprintf(stderr, "SKIP: faults of the %s backend: %s\n", backend, text);
        return false;
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        /* Once without a look, so that the table and the heap have their size. */
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
    the_first_use_fails_cleanly();
    all_scenarios("flip");
    RUN(a_refused_unmapping_is_made_up_for);
    RUN(a_failure_of_all_backends_is_followed_by_a_new_self_test);
    RUN(no_more_room_for_a_backend_is_no_refusal);
    RUN(a_backend_that_runs_old_code_after_a_rewrite_is_not_used);
#if LADDER
    always[0] = "flip";
    if (all_scenarios("memfd")) {
        watched(watch_memfd);
        CHECK(memfds > 0);
        RUN(old_kernels_are_done_without);
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
