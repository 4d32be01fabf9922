/* After a peak of published code, regions give back what the rest does not need. Linux only. */

#include "check.h"

#if COPIES_REGIONS

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "peak.h"

/* ---- Helpers ---- */

/* How many bytes the files of the pool's regions have. 0 if that is unknown. */
static size_t size_of_files(void) {
    static smaps_entry found[200];
    size_t sum = 0;
    int count = find_in_smaps("memfd:peak", found, 200);
    CHECK(count <= 200);
    for (int i = 0; i < count; i++) {
        char path[64];
        struct stat status;
        (void)snprintf(path, sizeof path, "/proc/self/map_files/%llx-%llx", found[i].start, found[i].end);
        if (strchr(found[i].protection, 'x') != NULL && stat(path, &status) == 0) {
            sum += (size_t)status.st_blocks * 512;
        }
    }
    return sum;
}

static sigjmp_buf escape;

static void on_signal(int number) {
    siglongjmp(escape, number);
}

static void catch_signals(bool catches) {
    static const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGBUS};
    for (int i = 0; i < 4; i++) {
        CHECK(signal(signals[i], catches ? on_signal : SIG_DFL) != SIG_ERR);
    }
}

/* Calls a freed function. */
static void check_that_call_traps(const void *entry) {
    int_function function;
    memcpy((void *)&function, (const void *)&entry, sizeof function);
    if (sigsetjmp(escape, 1) == 0) {
        (void)function();
        CHECK(entry == NULL); /* a stale call has returned */
    }
}

/* Calls freed functions, where there is no other code now. Each call has to end with a signal. */
static void check_that_stale_calls_trap(uint32_t count, uint32_t step) {
    if (under_valgrind()) {
        (void)fprintf(stderr, "SKIP: stale calls end valgrind\n");
        return;
    }
    if (under_thread_sanitizer()) {
        (void)fprintf(stderr, "SKIP: stale calls: ThreadSanitizer does not support their signals\n");
    }
    catch_signals(true);
    for (uint32_t i = 0; i < count; i += step) {
        if (buffers[i].id == 0 && execbuf_pool_lookup(pool, NULL, entries[i]) == EXECBUF_E_NOT_FOUND) {
            CHECK(is_gone((const uint8_t *)entries[i], 16) || !is_executable(entries[i]));
            if (!under_thread_sanitizer()) {
                check_that_call_traps(entries[i]);
            }
        }
    }
    catch_signals(false);
}

/* The number of functions and their length. */
static uint32_t many(void) {
    return is_slow() ? MOST / 10 : MOST;
}

static size_t length(void) {
    return is_slow() ? 200 : 64;
}

/* ---- Memory ---- */

static void after_a_peak_less_than_a_tenth_stays(void) {
    const uint32_t count = many();
    for (int is_random = 0; is_random < 2; is_random++) {
        if (!make_pool()) {
            return;
        }
        put_in_order(count, is_random);
        publish_all(count, length());
        execbuf_pool_stats full = stats_of(pool);
        size_t full_size = size_of_files();
        maps before = look_at_code();
        free_most(count);
        execbuf_pool_stats rest = stats_of(pool);
        size_t rest_size = size_of_files();
        CHECK(rest.live == count / PART && execbuf_pool_code_bytes(pool) == rest.live * length());
        CHECK(rest.resident < full.resident / 10);
        CHECK(rest_size < full_size / 10 || full_size == 0);
        CHECK(full_size == 0 || rest_size <= rest.resident);
        CHECK(look_at_code().count <= before.count);
        check_survivors(count);
        check_that_stale_calls_trap(count, is_slow() ? 97 : 7);
        CHECK(execbuf_free(&buffers[0]) == EXECBUF_OK); /* was zeroed */
        /* The memory is used again, first for little code, which has hidden pages beside it. */
        publish_all(PART, length());
        publish_all(2 * PART, 3000);
        check_that_stale_calls_trap(count, is_slow() ? 97 : 7);
        for (uint32_t i = PART; i < 2 * PART; i++) {
            CHECK(survives(i) || execbuf_free(&buffers[i]) == EXECBUF_OK);
        }
        publish_all(count, length());
        execbuf_pool_stats again = stats_of(pool);
        CHECK(again.live == count && again.resident <= full.resident + full.resident / 10);
        CHECK(again.regions <= full.regions + 1);
        for (uint32_t i = 0; i < count; i++) {
            CHECK(call(&buffers[i], 0) == (int)(i % 2048));
            volatile uint8_t first = *((const volatile uint8_t *)buffers[i].entry - 16);
            (void)first;
        }
        end_pool(count);
    }
}

/* Code of all sizes comes and goes in waves. Its bytes show whether two pieces overlap. */
static void waves_of_mixed_sizes_keep_their_code(void) {
    const uint32_t count = is_slow() ? 3000 : 20000;
    uint32_t random = 3;
    if (!make_pool()) {
        return;
    }
    for (int wave = 0; wave < 6; wave++) {
        for (uint32_t i = 0; i < count; i++) {
            random = random * 1664525U + 1013904223U;
            uint32_t class_ = random >> 29;
            size_t size = 16 + (random >> 8) % (class_ == 0 ? 40000 : class_ < 3 ? 5000 : 300);
            if (buffers[i].id == 0) {
                CHECK(publish_long(&buffers[i], i, size) == EXECBUF_OK);
            }
        }
        size_t full = stats_of(pool).resident;
        put_in_order(count, wave % 2 != 0);
        for (uint32_t i = 0; i < count; i++) {
            if (order[i] % 50 != (uint32_t)wave) {
                CHECK(execbuf_free(&buffers[order[i]]) == EXECBUF_OK);
            }
        }
        CHECK(stats_of(pool).resident < full / 3);
        for (uint32_t i = 0; i < count; i++) {
            if (buffers[i].id != 0) {
                const uint8_t *bytes = (const uint8_t *)buffers[i].entry;
                CHECK(call(&buffers[i], 0) == (int)(i % 2048));
                for (size_t at = 16; at < buffers[i].length; at++) {
                    CHECK(bytes[at] == 0x5a);
                }
            }
        }
    }
    end_pool(count);
}

/* ---- What goes on meanwhile ---- */

static void reserved_buffers_survive(void) {
    const uint32_t count = many() / 10;
    execbuf reserved[3];
    static const size_t capacities[3] = {40, 5000, 50000};
    if (!make_pool()) {
        return;
    }
    put_in_order(count, false);
    publish_all(count / 2, 200);
    for (int i = 0; i < 3; i++) {
        CHECK(execbuf_pool_reserve(pool, &reserved[i], capacities[i], NULL) == EXECBUF_OK);
    }
    publish_all(count, 200);
    size_t full = stats_of(pool).resident;
    free_most(count);
    CHECK(stats_of(pool).resident < full / 4);
    for (int i = 0; i < 3; i++) {
        code made = returning(5);
        CHECK(holds_traps(reserved[i].entry, capacities[i]));
        CHECK(execbuf_publish(&reserved[i], made.bytes, made.length, NULL) == EXECBUF_OK);
        CHECK(call(&reserved[i], 0) == 5);
        CHECK(execbuf_free(&reserved[i]) == EXECBUF_OK);
    }
    check_survivors(count);
    end_pool(count);
}

static atomic_uint stop;

static void *run_survivors(void *argument) {
    const uint32_t count = *(const uint32_t *)argument;
    while (atomic_load(&stop) == 0) {
        check_survivors(count);
    }
    return NULL;
}

static void threads_run_the_code_meanwhile(void) {
    uint32_t count = many() / 4;
    pthread_t thread;
    if (!make_pool()) {
        return;
    }
    put_in_order(count, true);
    for (int round = 0; round < 3; round++) {
        publish_all(count, 64);
        atomic_store(&stop, 0);
        CHECK(pthread_create(&thread, NULL, run_survivors, &count) == 0);
        free_most(count);
        atomic_store(&stop, 1);
        CHECK(pthread_join(thread, NULL) == 0);
        check_survivors(count);
    }
    end_pool(count);
}

static void *free_as_guest(void *argument) {
    free_most(*(const uint32_t *)argument);
    return NULL;
}

static void memory_that_guests_have_freed_is_given_back(void) {
    uint32_t count = many();
    pthread_t thread;
    if (!make_pool()) {
        return;
    }
    put_in_order(count, true);
    publish_all(count, length());
    size_t full = stats_of(pool).resident;
    CHECK(pthread_create(&thread, NULL, free_as_guest, &count) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(stats_of(pool).resident < full / 10);
    check_survivors(count);
    check_that_stale_calls_trap(count, 997);
    end_pool(count);
}

static void memory_of_a_freed_pool_is_given_back(void) {
    const uint32_t count = many() / 10;
    if (!make_pool()) {
        return;
    }
    put_in_order(count, false);
    publish_all(count, 200);
    size_t full = size_of_files();
    execbuf_pool_free(pool);
    free_most(count);
    CHECK(full == 0 || size_of_files() < full / 4);
    check_survivors(count);
    for (uint32_t i = 7; i < count; i += PART) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
}

/* ---- Forks ---- */

static void use_in_child(uint32_t count) {
    code made = returning(9);
    check_survivors(count);
    check_that_stale_calls_trap(count, 997);
    const uint32_t last = count - PART + 7; /* in a large region, which is copied */
    CHECK(execbuf_rewrite(&buffers[last], 0, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffers[last], 0) == 9);
    check_that_stale_calls_trap(count, 997);
    publish_all(count, 200);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(call(&buffers[i], 0) == (int)(i == last ? 9 : i % 2048));
    }
    free_most(count);
    CHECK(stats_of(pool).live == count / PART);
    check_that_stale_calls_trap(count, 997);
}

static void after_a_fork_both_processes_have_what_is_left(void) {
    const uint32_t count = many() / 10;
    if (!make_pool()) {
        return;
    }
    put_in_order(count, false);
    publish_all(count, 200);
    free_most(count);
    for (int round = 0; round < 2; round++) {
        (void)fflush(stdout);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            use_in_child(count);
            _exit(0);
        }
        if (round == 0) {
            publish_all(count, 200); /* while the child lives */
            check_survivors(count);
            free_most(count);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        check_survivors(count);
        check_that_stale_calls_trap(count, 997);
    }
    end_pool(count);
}

/* Where a span had slots before it gave pages back, there is code of other spans, which a copy keeps. */
static void a_copy_keeps_code_in_pages_that_were_given_back(void) {
    const uint32_t count = is_slow() ? 20000 : 100000;
    if (!make_pool()) {
        return;
    }
    put_in_order(count, false);
    publish_all(count, 64);
    free_most(count);
    publish_all(count, 200);
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)alarm(seconds(60));
        (void)pause();
        _exit(0);
    }
    for (uint32_t i = 0; i < count; i += PART) {
        code made = returning(i % 2048);
        CHECK(execbuf_rewrite(&buffers[i], 0, made.bytes, made.length, NULL) == EXECBUF_OK);
    }
    for (uint32_t i = 0; i < count; i++) {
        CHECK(call(&buffers[i], 0) == (int)(i % 2048));
    }
    int status;
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    end_pool(count);
}

int main(void) {
    RUN(after_a_peak_less_than_a_tenth_stays);
    RUN(waves_of_mixed_sizes_keep_their_code);
    RUN(reserved_buffers_survive);
    RUN(threads_run_the_code_meanwhile);
    RUN(memory_that_guests_have_freed_is_given_back);
    RUN(memory_of_a_freed_pool_is_given_back);
    RUN(after_a_fork_both_processes_have_what_is_left);
    RUN(a_copy_keeps_code_in_pages_that_were_given_back);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: memory after a peak: only Linux gives it back\n");
    return 0;
}

#endif
