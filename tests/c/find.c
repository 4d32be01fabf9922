/* execbuf_find returns the handle of the buffer that contains an address, in a pool or not. */

#include "check.h"

/* Machine code for all buffers, as long as the longest. */
static uint8_t bytes[3U << 20];

static void check_found(const execbuf *buffer, size_t offset) {
    execbuf handle;
    memset(&handle, 0xa5, sizeof handle);
    CHECK(execbuf_find((const uint8_t *)buffer->entry + offset, &handle) == EXECBUF_OK);
    CHECK(handle.entry == buffer->entry && handle.length == buffer->length && handle.id == buffer->id);
}

static void check_not_found(const void *address) {
    execbuf handle = {address, 1, 1};
    CHECK(execbuf_find(address, &handle) == EXECBUF_E_NOT_FOUND && is_zero(&handle));
}

/* Checks the first and last bytes of a buffer, and the bytes beside them. */
static void check_bounds(const execbuf *buffer) {
    execbuf handle;
    check_found(buffer, 0);
    check_found(buffer, buffer->length / 2);
    check_found(buffer, buffer->length - 1);
    const uint8_t *behind = (const uint8_t *)buffer->entry + buffer->length;
    execbuf_status status = execbuf_find(behind, &handle); /* other code may begin there */
    CHECK(status == EXECBUF_E_NOT_FOUND || (status == EXECBUF_OK && handle.entry == behind));
    status = execbuf_find((const uint8_t *)buffer->entry - 1, &handle); /* other code may end there */
    CHECK(status == EXECBUF_E_NOT_FOUND ||
          (status == EXECBUF_OK && (const uint8_t *)handle.entry + handle.length == buffer->entry));
    if (buffer->length % 16 != 0) {
        check_not_found(behind);
    }
}

static void buffers_with_a_dedicated_mapping_are_found(void) {
    static const size_t lengths[] = {1, 100, 5000, sizeof bytes};
    execbuf buffers[4];
    for (size_t i = 0; i < 4; i++) {
        CHECK(execbuf_new(&buffers[i], bytes, lengths[i], NULL) == EXECBUF_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        check_bounds(&buffers[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        const void *entry = buffers[i].entry;
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
        check_not_found(entry);
    }
}

static void buffers_of_all_pools_are_found(void) {
    static const size_t lengths[] = {1, 16, 17, 100, 1024, 1500, 33000, sizeof bytes};
    enum { COUNT = sizeof lengths / sizeof lengths[0], POOLS = 5 };
    execbuf_pool *pools[POOLS];
    execbuf buffers[POOLS][COUNT];
    for (size_t i = 0; i < POOLS; i++) {
        CHECK(execbuf_pool_new(&pools[i], NULL, NULL) == EXECBUF_OK);
        for (size_t j = 0; j < COUNT; j++) {
            CHECK(execbuf_pool_publish(pools[i], &buffers[i][j], bytes, lengths[j], NULL) == EXECBUF_OK);
        }
    }
    execbuf_pool_free(pools[0]); /* its code stays published */
    for (size_t i = 0; i < POOLS; i++) {
        for (size_t j = 0; j < COUNT; j++) {
            check_bounds(&buffers[i][j]);
        }
    }
    for (size_t i = 0; i < POOLS; i++) {
        for (size_t j = 0; j < COUNT; j++) {
            const void *entry = buffers[i][j].entry;
            CHECK(execbuf_free(&buffers[i][j]) == EXECBUF_OK);
            check_not_found(entry);
        }
        if (i > 0) {
            execbuf_pool_free(pools[i]);
        }
    }
}

static void reserved_buffers_are_found_after_publish(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf buffers[3];
    CHECK(execbuf_reserve(&buffers[0], 100, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_reserve(pool, &buffers[1], 100, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_reserve(pool, &buffers[2], sizeof bytes, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < 3; i++) {
        check_not_found(buffers[i].entry);
        CHECK(execbuf_publish(&buffers[i], bytes, 50, NULL) == EXECBUF_OK);
        check_bounds(&buffers[i]);
        check_not_found((const uint8_t *)buffers[i].entry + 50);
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

static void other_addresses_are_not_found(void) {
    int local = 0;
    check_not_found(NULL);
    check_not_found(&local);
    check_not_found(bytes);
    check_not_found((const void *)UINTPTR_MAX); /* NOLINT(performance-no-int-to-ptr) */
    CHECK(execbuf_find(bytes, NULL) == EXECBUF_E_NULL);
}

/* The handle that execbuf_find returns is valid for rewrite and free. */
static void found_handles_can_be_rewritten_and_freed(void) {
    code one = returning(1);
    execbuf_pool *pool;
    execbuf buffers[2];
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_new(&buffers[0], one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &buffers[1], one.bytes, one.length, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < 2; i++) {
        execbuf handle;
        CHECK(execbuf_find(buffers[i].entry, &handle) == EXECBUF_OK && call(&handle, 0) == 1);
        CHECK(execbuf_rewrite(&handle, 0, one.bytes, one.length, NULL) == EXECBUF_OK);
        CHECK(execbuf_free(&handle) == EXECBUF_OK && execbuf_free(&buffers[i]) == EXECBUF_E_STALE);
    }
    execbuf_pool_free(pool);
}

#if defined(__x86_64__)

/* The stub of a near target ends in a jump to 4 bytes behind the start of its adapter. */
static const uint8_t *adapter_of(const execbuf *thunk) {
    const uint8_t *stub = (const uint8_t *)thunk->entry;
    int32_t distance;
    CHECK(thunk->length == 16 && stub[11] == 0xe9); /* jmp */
    memcpy(&distance, stub + 12, sizeof distance);
    return stub + 16 + distance - 4;
}

static void thunks_are_found_and_their_adapters_are_not(void) {
    static const execbuf_type types[] = {EXECBUF_SCALAR(EXECBUF_TYPE_I32), EXECBUF_SCALAR(EXECBUF_TYPE_F64)};
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), types, 2);
    static const execbuf_abi abis[] = {EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
    execbuf_pool *pool;
    execbuf target;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &target, bytes, 1, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < 2; i++) {
        execbuf thunks[3];
        CHECK(execbuf_thunk_new(pool, &thunks[0], &signature, abis[i], abis[1 - i], target.entry, NULL) ==
              EXECBUF_OK);
        CHECK(execbuf_thunk_new(pool, &thunks[1], &signature, abis[i], abis[i], target.entry, NULL) ==
              EXECBUF_OK);
        CHECK(execbuf_thunk_new(NULL, &thunks[2], &signature, abis[i], abis[1 - i], target.entry, NULL) ==
              EXECBUF_OK);
        for (size_t j = 0; j < 3; j++) {
            check_bounds(&thunks[j]);
        }
        if (stats_of(pool).regions > 0) {
            const uint8_t *adapter = adapter_of(&thunks[0]);
            execbuf_place place;
            CHECK(finds(pool, adapter, &place) && place.entry == adapter);
            check_not_found(adapter);
            check_not_found(adapter + place.length - 1);
        }
        for (size_t j = 0; j < 3; j++) {
            execbuf handle;
            const void *entry = thunks[j].entry;
            CHECK(execbuf_find(entry, &handle) == EXECBUF_OK && execbuf_free(&handle) == EXECBUF_OK);
            CHECK(execbuf_free(&thunks[j]) == EXECBUF_E_STALE);
            check_not_found(entry);
        }
    }
    CHECK(execbuf_free(&target) == EXECBUF_OK && stats_of(pool).live == 0);
    execbuf_pool_free(pool);
}

#endif

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>

static void find_works_in_both_processes_after_a_fork(void) {
    execbuf_pool *pool;
    execbuf before[2];
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_new(&before[0], bytes, 100, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &before[1], bytes, 100, NULL) == EXECBUF_OK);
    pid_t child = fork();
    CHECK(child >= 0);
    execbuf after;
    CHECK(execbuf_pool_publish(pool, &after, bytes, 100, NULL) == EXECBUF_OK);
    check_bounds(&before[0]);
    check_bounds(&before[1]);
    check_bounds(&after);
    for (size_t i = 0; i < 2; i++) {
        const void *entry = before[i].entry;
        CHECK(execbuf_free(&before[i]) == EXECBUF_OK);
        check_not_found(entry);
    }
    CHECK(execbuf_free(&after) == EXECBUF_OK);
    if (child == 0) {
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    execbuf_pool_free(pool);
}

#include <pthread.h>

enum { ROUNDS = 3000 };
static execbuf_pool *shared;

/* Publishes, finds and frees buffers, while other threads do the same. */
static void *publish_and_free(void *unused) {
    (void)unused;
    for (size_t round = 0; round < ROUNDS; round++) {
        execbuf buffer;
        size_t length = 1 + round * 31 % 3000;
        if (round % 64 == 0) {
            CHECK(execbuf_new(&buffer, bytes, length, NULL) == EXECBUF_OK);
        } else {
            CHECK(execbuf_pool_publish(shared, &buffer, bytes, length, NULL) == EXECBUF_OK);
        }
        check_found(&buffer, length - 1);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    return NULL;
}

static void find_works_while_other_threads_publish_and_free(void) {
    pthread_t threads[3];
    CHECK(execbuf_pool_new(&shared, NULL, NULL) == EXECBUF_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_and_free, NULL) == 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(stats_of(shared).live == 0);
    execbuf_pool_free(shared);
}
#endif

#if defined(__x86_64__) && !defined(_WIN32)
#include <stdatomic.h>

static _Atomic(const uint8_t *) thunk_address; /* of some thunk */
static atomic_int has_stopped;

/* Makes thunks, each with an adapter of its own, which is freed with it. */
static void *make_and_free_thunks(void *unused) {
    (void)unused;
    for (uint32_t round = 0; atomic_load(&has_stopped) == 0; round++) {
        execbuf_type types[6];
        for (size_t i = 0; i < 6; i++) {
            types[i] = (execbuf_type)EXECBUF_SCALAR(EXECBUF_TYPE_I64);
            types[i].kind = (round >> i & 1) != 0 ? EXECBUF_TYPE_F64 : EXECBUF_TYPE_I64;
        }
        execbuf_signature signature = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_VOID), types, 6);
        execbuf thunk;
        CHECK(execbuf_thunk_new(shared, &thunk, &signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64, bytes,
                                NULL) == EXECBUF_OK);
        atomic_store(&thunk_address, (const uint8_t *)thunk.entry);
        CHECK(execbuf_free(&thunk) == EXECBUF_OK);
    }
    return NULL;
}

/* Adapters are longer than any stub, whose length is at most 32. They are never found, not even while they
 * are made or freed. */
static void adapters_are_not_found_while_they_come_and_go(void) {
    enum { PAGES = 8, PAGE = 4096 };
    pthread_t thread;
    CHECK(execbuf_pool_new(&shared, NULL, NULL) == EXECBUF_OK);
    CHECK(pthread_create(&thread, NULL, make_and_free_thunks, NULL) == 0);
    while (atomic_load(&thunk_address) == NULL) {
    }
    const uint8_t *middle = atomic_load(&thunk_address);
    for (int round = 0; round < (under_valgrind() ? 5 : 100); round++) {
        for (uintptr_t at = 0; at < (uintptr_t)2 * PAGES * PAGE; at += 128) {
            execbuf found;
            uintptr_t address = (uintptr_t)middle - (uintptr_t)PAGES * PAGE + at;
            execbuf_status status =
                execbuf_find((const void *)address, &found); /* NOLINT(performance-no-int-to-ptr) */
            CHECK(status == EXECBUF_E_NOT_FOUND || (status == EXECBUF_OK && found.length <= 32));
        }
    }
    atomic_store(&has_stopped, 1);
    CHECK(pthread_join(thread, NULL) == 0 && stats_of(shared).live == 0);
    execbuf_pool_free(shared);
}
#endif

int main(void) {
    memset(bytes, 0xc3, sizeof bytes);
    RUN(other_addresses_are_not_found); /* before any code is published */
    RUN(buffers_with_a_dedicated_mapping_are_found);
    RUN(buffers_of_all_pools_are_found);
    RUN(reserved_buffers_are_found_after_publish);
    RUN(found_handles_can_be_rewritten_and_freed);
#if defined(__x86_64__)
    RUN(thunks_are_found_and_their_adapters_are_not);
#endif
#if !defined(_WIN32)
    RUN(find_works_in_both_processes_after_a_fork);
    RUN(find_works_while_other_threads_publish_and_free);
#endif
#if defined(__x86_64__) && !defined(_WIN32)
    RUN(adapters_are_not_found_while_they_come_and_go);
#endif
    RUN(other_addresses_are_not_found);
    (void)printf("ok\n");
    return 0;
}
