/* execbuf_find, execbuf_name and execbuf_pool_lookup may be called in a signal handler that interrupted any
 * function of execbuf, also while other threads publish and free. */

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif

#include "check.h"

#if defined(_WIN32)

int main(void) {
    puts("SKIP: there are no signals that interrupt threads");
    return 0;
}

#else

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 2, LIVE = 12, ROUNDS = 20000, SIGNALS = 4000 };

/* Lives throughout the storm. */
static execbuf_pool *pool;
static execbuf_pool *other_pool;
static execbuf live[LIVE];

static atomic_int running;
static atomic_long lookups;
static atomic_long wrong;

/* Looks a live buffer up by an address in it; of another pool it is no code. */
static void look_up(size_t i, size_t offset) {
    const uint8_t *address = (const uint8_t *)live[i].entry + offset;
    execbuf found;
    execbuf_place place = EXECBUF_PLACE_INIT;
    bool is_right = execbuf_find(address, &found) == EXECBUF_OK && found.entry == live[i].entry &&
                    found.length == live[i].length && found.id == live[i].id;
    if (i % 3 != 0) { /* in a pool */
        is_right &= execbuf_pool_lookup(pool, &place, address) == EXECBUF_OK &&
                    place.entry == live[i].entry && place.length == live[i].length;
    }
    is_right &= execbuf_pool_lookup(other_pool, &place, address) == EXECBUF_E_NOT_FOUND;
    char name[4];
    is_right &= execbuf_name(&found, name, sizeof name, NULL) == EXECBUF_OK && name[0] == (char)('a' + i) &&
                strcmp(name + 1, "bc") == 0;
    atomic_fetch_add(&lookups, 1);
    atomic_fetch_add(&wrong, !is_right);
}

static void on_signal(int number) {
    (void)number;
    const size_t i = (size_t)atomic_load(&lookups) % LIVE;
    look_up(i, 0);
    look_up(i, live[i].length - 1);
}

static void describe(execbuf *buffer, const char *name) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.name = name;
    info.name_length = strlen(name);
    CHECK(execbuf_describe(buffer, &info, NULL) == EXECBUF_OK);
}

/* Publishes and frees in the pool and beside it: slots, spans, regions, dedicated mappings and names come and
 * go. */
static void *work(void *argument) {
    enum { HELD = 400 };
    static const size_t sizes[] = {10, 100, 1000, 9000, 30000};
    static const uint8_t bytes[30000];
    execbuf held[HELD] = {{NULL, 0, 0}};
    unsigned random = *(const unsigned *)argument;
    const int rounds = is_emulated() ? ROUNDS / 10 : ROUNDS; /* in a machine, a barrier takes a millisecond */
    for (int i = 0; i < rounds; i++) {
        random = random * 1103515245U + 12345U;
        execbuf *buffer = &held[(random >> 16) % HELD];
        size_t size = sizes[(random >> 24) % 5];
        CHECK(execbuf_free(buffer) == EXECBUF_OK);
        if ((random >> 8) % 16 == 0) {
            CHECK(execbuf_new(buffer, bytes, size, NULL) == EXECBUF_OK);
        } else if ((random >> 8) % 16 == 1) {
            CHECK(execbuf_pool_reserve(pool, buffer, size, NULL) == EXECBUF_OK);
            CHECK(execbuf_publish(buffer, bytes, size / 2, NULL) == EXECBUF_OK);
        } else if ((random >> 8) % 64 == 2) {
            execbuf_pool *brief;
            CHECK(execbuf_pool_new(&brief, NULL, NULL) == EXECBUF_OK);
            CHECK(execbuf_pool_publish(brief, buffer, bytes, size, NULL) == EXECBUF_OK);
            execbuf_pool_free(brief);
        } else {
            CHECK(execbuf_pool_publish(pool, buffer, bytes, size, NULL) == EXECBUF_OK);
        }
        if ((random >> 12) % 8 != 0) { /* the table of descriptions grows */
            describe(buffer, "other");
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        CHECK(execbuf_free(&held[i]) == EXECBUF_OK);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void make_live_code(void) {
    static const size_t some[] = {5000, 100, 300000};
    static uint8_t bytes[300000];
    for (size_t i = 0; i < LIVE; i++) {
        execbuf_status status = i % 3 == 0
                                    ? execbuf_new(&live[i], bytes, some[0] + i, NULL)
                                    : execbuf_pool_publish(pool, &live[i], bytes, some[i % 3] - i, NULL);
        CHECK(status == EXECBUF_OK);
        char name[] = "abcd";
        name[0] = (char)('a' + i);
        describe(&live[i], name);
    }
}

static void a_handler_finds_live_code_whatever_it_interrupted(void) {
    pthread_t threads[WORKERS];
    static unsigned seeds[WORKERS] = {1, 2};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_new(&other_pool, NULL, NULL) == EXECBUF_OK);
    make_live_code();
    atomic_store(&running, WORKERS);
    for (size_t i = 0; i < WORKERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, &seeds[i]) == 0);
    }
    for (int i = 0; i < SIGNALS || atomic_load(&running) > 0; i++) {
        if (atomic_load(&running) > 0) {
            for (size_t j = 0; j < WORKERS; j++) {
                CHECK(pthread_kill(threads[j], SIGUSR1) == 0); /* not joined, so it exists */
            }
        }
        look_up((size_t)i % LIVE, 0); /* also a thread that nobody interrupts */
    }
    for (size_t i = 0; i < WORKERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    printf("%ld lookups\n", atomic_load(&lookups));
    CHECK(atomic_load(&wrong) == 0);
    for (size_t i = 0; i < LIVE; i++) {
        const void *entry = live[i].entry;
        execbuf found;
        CHECK(execbuf_free(&live[i]) == EXECBUF_OK);
        CHECK(execbuf_find(entry, &found) == EXECBUF_E_NOT_FOUND);
    }
    execbuf_pool_free(pool);
    execbuf_pool_free(other_pool);
}

static execbuf written;

/* The handler of a fault: looks up the address that it is told. */
static void on_fault(int number, siginfo_t *information, void *context) {
    (void)number;
    (void)context;
    execbuf found;
    execbuf_status status = execbuf_find(information->si_addr, &found);
    _exit(status == EXECBUF_OK && found.id == written.id && found.entry == written.entry ? 0 : 1);
}

static void write_to(execbuf_pool *owner) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    code made = returning(1);
    execbuf_status status = owner != NULL
                                ? execbuf_pool_publish(owner, &written, made.bytes, made.length, NULL)
                                : execbuf_new(&written, made.bytes, made.length, NULL);
    CHECK(status == EXECBUF_OK);
    *((volatile uint8_t *)(uintptr_t)written.entry + 1) = 0; /* published code cannot be written */
    _exit(2);
}

static void a_handler_of_a_write_to_code_finds_the_code(void) {
    for (int in_pool = 0; in_pool < 2; in_pool++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            execbuf_pool *owner = NULL;
            CHECK(in_pool == 0 || execbuf_pool_new(&owner, NULL, NULL) == EXECBUF_OK);
            write_to(owner);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

int main(void) {
    RUN(a_handler_of_a_write_to_code_finds_the_code);
    RUN(a_handler_finds_live_code_whatever_it_interrupted);
    return 0;
}

#endif
