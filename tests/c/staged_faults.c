/* Fault injection in staged buffers, with dedicated mappings of no pool and of one. Each system call and
 * allocation fails once; then it and all later ones fail. A buffer that cannot be published is still staged,
 * with all of its bytes, and one that cannot be unpublished still runs. Nothing leaks.
 *
 * Built with EXECBUF_FAULT_INJECTION, which makes the library ask xb_fault before each call. Before each
 * call, xb_fault checks that no mapping is writable and executable. */

#include "faults.h"

/* The pool of the scenarios, or NULL. */
static execbuf_pool *pool;

/* Several pages, of which LENGTH bytes are published; in the last page there are more of the user's bytes. */
enum { CAPACITY = 5 * 4096, LENGTH = 2 * 4096 + 100 };

static const void *entry;
static uint8_t written[CAPACITY];

static uint8_t *bytes_of(const execbuf *staged) {
    return (uint8_t *)(uintptr_t)staged->entry;
}

static execbuf_status stage(void) {
    return pool != NULL ? execbuf_pool_stage(pool, &buffer, CAPACITY, &error)
                        : execbuf_stage(&buffer, CAPACITY, NULL, &error);
}

static execbuf_status publish_some(void) {
    return execbuf_publish_staged(&buffer, LENGTH, &error);
}

static execbuf_status publish_all(void) {
    return execbuf_publish_staged(&buffer, CAPACITY, &error);
}

static execbuf_status unpublish(void) {
    return execbuf_unpublish(&buffer, &error);
}

static void do_nothing(void) {}

/* Stages a buffer that is full of bytes, with a function at its beginning. */
static void stage_full(void) {
    code one = returning(1);
    for (size_t i = 0; i < CAPACITY; i++) {
        written[i] = (uint8_t)(i % 251 + 1);
    }
    memcpy(written, one.bytes, one.length);
    CHECK(stage() == EXECBUF_OK);
    memcpy(bytes_of(&buffer), written, CAPACITY);
    entry = buffer.entry;
}

static void publish_full(void) {
    stage_full();
    CHECK(publish_some() == EXECBUF_OK);
}

/* Stages again what was published and rewritten in part, so that its pages come from several mappings. */
static void publish_patched(void) {
    publish_full();
    CHECK(execbuf_rewrite(&buffer, 5000, &written[5000], 1, NULL) == EXECBUF_OK);
}

static void republish_ready(void) {
    publish_full();
    CHECK(unpublish() == EXECBUF_OK);
}

static void check_staged(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(buffer.entry == NULL && buffer.id == 0);
        stage_full();
    } else {
        CHECK(bytes_of(&buffer)[0] == 0 && bytes_of(&buffer)[CAPACITY - 1] == 0);
        memcpy(bytes_of(&buffer), returning(1).bytes, returning(1).length);
    }
    CHECK(publish_some() == EXECBUF_OK && call(&buffer, 0) == 1);
}

/* The buffer is published, or still staged with its bytes, of which size were written. */
static void check_published_or_staged(execbuf_status status, size_t size, size_t length) {
    execbuf found;
    CHECK(buffer.entry == entry);
    if (status != EXECBUF_OK) {
        CHECK(buffer.length == 0 && execbuf_find(entry, &found) == EXECBUF_E_NOT_FOUND);
        CHECK(memcmp(entry, written, size) == 0);
        bytes_of(&buffer)[size - 1]++; /* it can still be written */
        bytes_of(&buffer)[size - 1]--;
        CHECK(execbuf_publish_staged(&buffer, length, NULL) == EXECBUF_OK);
    }
    CHECK(buffer.length == length && call(&buffer, 0) == 1 && memcmp(entry, written, length) == 0);
    const uint8_t *end = (const uint8_t *)entry + length;
    CHECK(holds_traps(end, -(uintptr_t)end & 4095));
}

static void check_some(execbuf_status status) {
    check_published_or_staged(status, CAPACITY, LENGTH);
    /* Pages that the system has refused to take back are given back later, and the pool counts them. */
    CHECK(execbuf_unpublish(&buffer, NULL) == EXECBUF_OK);
    CHECK(execbuf_publish_staged(&buffer, 4096, NULL) == EXECBUF_OK && call(&buffer, 0) == 1);
}

static void check_all(execbuf_status status) {
    check_published_or_staged(status, CAPACITY, CAPACITY);
}

static void check_again(execbuf_status status) {
    check_published_or_staged(status, LENGTH, LENGTH);
}

static execbuf_status publish_less(void) {
    return execbuf_publish_staged(&buffer, 4096, &error);
}

static void check_less(execbuf_status status) {
    check_published_or_staged(status, LENGTH, 4096);
}

static void check_unpublished(execbuf_status status) {
    execbuf found;
    CHECK(buffer.entry == entry && memcmp(entry, written, LENGTH) == 0);
    if (status != EXECBUF_OK) {
        CHECK(buffer.length == LENGTH && call(&buffer, 0) == 1);
        CHECK(execbuf_find(entry, &found) == EXECBUF_OK && found.id == buffer.id);
        CHECK(unpublish() == EXECBUF_OK);
    }
    CHECK(buffer.length == 0 && execbuf_find(entry, &found) == EXECBUF_E_NOT_FOUND);
    code two = returning(2);
    memcpy(bytes_of(&buffer), two.bytes, two.length);
    CHECK(execbuf_publish_staged(&buffer, LENGTH, NULL) == EXECBUF_OK && call(&buffer, 0) == 2);
}

static execbuf_status release(void) {
    error.status = execbuf_free(&buffer);
    error.culprit = NULL;
    CHECK(error.status == EXECBUF_OK && buffer.entry == NULL);
    return error.status;
}

static void check_freed(execbuf_status status) {
    CHECK(status == EXECBUF_OK && execbuf_free(NULL) == EXECBUF_OK);
}

/* Runs all scenarios with the only backend that is left, with a pool and without. */
static void all_scenarios(const char *backend) {
    static const scenario scenarios[] = {
        {"stage", do_nothing, stage, check_staged, false},
        {"publish a part", stage_full, publish_some, check_some, false},
        {"publish all", stage_full, publish_all, check_all, true},
        {"unpublish", publish_full, unpublish, check_unpublished, false},
        {"unpublish after a rewrite", publish_patched, unpublish, check_unpublished, true},
        {"publish again", republish_ready, publish_some, check_again, true},
        {"publish less", republish_ready, publish_less, check_less, true},
        {"free", stage_full, release, check_freed, true},
    };
    if (create() != EXECBUF_OK) {
        char text[400];
        (void)execbuf_error_describe(&error, text, sizeof text);
        (void)fprintf(stderr, "SKIP: faults of the %s backend: %s\n", backend, text);
        return;
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        /* Runs once without comparing mappings, so that the table of handles and the heap have their final
         * size. */
        scenarios[i].before();
        scenarios[i].after(scenarios[i].act());
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        long faults = run_all(&scenarios[i]);
        (void)printf("%s, %s%s: %ld faults\n", backend, scenarios[i].name, pool != NULL ? ", pool" : "",
                     faults);
        CHECK(faults > 0);
    }
}

#if LADDER
static int barriers;

static void count_barriers(const char *name) {
    barriers += strcmp(name, "barrier") == 0;
}

/* Other processors may have fetched the old code, which must not run after the next publishing. */
static void unpublishing_makes_a_barrier(void) {
    publish_full();
    watch = count_barriers;
    barriers = 0;
    CHECK(unpublish() == EXECBUF_OK && barriers > 0);
    watch = NULL;
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}
#endif

static void with_and_without_a_pool(const char *backend) {
    all_scenarios(backend);
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    all_scenarios(backend);
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.live == 0 && stats.mapped == 0);
    execbuf_pool_free(pool);
    pool = NULL;
}

int main(void) {
    with_and_without_a_pool("flip");
#if LADDER
    unpublishing_makes_a_barrier();
    always[0] = "flip";
    with_and_without_a_pool("memfd");
    always[1] = "memfd_create";
    with_and_without_a_pool("alias");
#endif
    (void)printf("ok\n");
    return 0;
}
