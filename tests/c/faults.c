/* Every system call and allocation that the library makes fails once, and then all from it on fail: each
 * public function copes, or returns an error that names the call; nothing leaks, and old code still runs.
 *
 * Built with EXECBUF_FAULT_INJECTION, which makes the library ask execbuf_fault before each call. */

#include "check.h"
#include <stdbool.h>

bool execbuf_fault(const char *call);

/* Which calls fail next: the one numbered first, counted from 0, or also all after it; of those called only,
 * unless that is NULL. */
static const char *always[2] = {"", ""}; /* calls that fail whatever is armed */
static const char *only;
static long first = -1;
static bool and_all_after;
static long calls;
static long failures;

bool execbuf_fault(const char *call) {
    if (strcmp(always[0], call) == 0 || strcmp(always[1], call) == 0) {
        return true;
    }
    if (only != NULL && strcmp(only, call) != 0) {
        return false;
    }
    long number = calls++;
    bool fails = first >= 0 && (number == first || (and_all_after && number > first));
    failures += fails;
    return fails;
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
#define PROTECT "mprotect"
#define UNMAP "munmap"
#else
static int open_fds(void) {
    return 0;
}
#define PROTECT "VirtualProtect"
#define UNMAP "VirtualFree"
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

static execbuf_status rewrite_second_page(void) {
    code two = returning(2);
    return execbuf_rewrite(&buffer, 5000, two.bytes, two.length, &error);
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
    arm(PROTECT, 0, true);
    execbuf_status status = execbuf_new(&forgotten, one.bytes, one.length, &error);
    if (status == EXECBUF_OK) { /* not by the flip */
        (void)execbuf_free(&forgotten);
        arm("mmap", 1, true); /* the pages are staged, and nothing else is mapped */
        status = execbuf_new(&forgotten, one.bytes, one.length, &error);
    }
    disarm();
    CHECK(status == EXECBUF_E_NO_MEMORY && error.attempt_count > 0);
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
    CHECK(error.status == status);
    CHECK(status == EXECBUF_OK || (error.culprit != NULL && error.culprit[0] != '\0'));
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
    long faults = 0;
    for (int variant = 0; variant < 4; variant++) {
        long number = 0;
        while (run(tested, number, variant % 2 != 0, variant / 2 != 0)) {
            number++;
        }
        faults += number;
    }
    return faults;
}

/* The very first use of the library, which also registers the fork handlers and allocates the table. */
static void the_first_use_fails_cleanly(void) {
    long number = 0;
    for (;; number++) {
        arm(NULL, number, false);
        execbuf_status status = create();
        disarm();
        if (failures == 0) {
            CHECK(status == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
            break;
        }
        CHECK(error.status == status);
        if (status == EXECBUF_OK) {
            CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        }
    }
}

static void a_refused_unmapping_is_made_up_for(void) {
    code one = returning(1);
    execbuf several[3];
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
    CHECK(execbuf_free(&copy) == EXECBUF_E_STALE); /* also a call that tries anew */
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
    CHECK(execbuf_new(&several[0], one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&several[0]) == EXECBUF_OK);
    CHECK(same(before, look()));
}

static void all_scenarios(const char *backend) {
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
        return;
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        CHECK(run(&scenarios[i], 1000000, false, false) ==
              false); /* the table has its size, heaps are warm */
        long faults = run_all(&scenarios[i]);
        (void)printf("%s, %s: %ld faults\n", backend, scenarios[i].name, faults);
        CHECK(faults > 0);
    }
}

int main(void) {
    the_first_use_fails_cleanly();
    all_scenarios("flip");
    RUN(a_refused_unmapping_is_made_up_for);
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    always[0] = "prctl"; /* it tells whether the flip is allowed */
    all_scenarios("memfd");
    always[1] = "memfd_create";
    all_scenarios("alias");
#endif
#if defined(_WIN32) || defined(EXECBUF_PRIM_UNIX)
    CHECK(lost > 0); /* rewriting in place can */
#else
    CHECK(lost == 0);
#endif
    (void)printf("ok\n");
    return 0;
}
