/* Fault injection in execbuf_publish_all with dedicated mappings. Each of its system calls and allocations
 * fails once; then it and all later ones fail. Either all buffers are published or all are still reserved,
 * and nothing leaks. tests/c/own_faults.c lets the calls for slots fail.
 *
 * Built with EXECBUF_FAULT_INJECTION, which makes the library ask xb_fault before each call. */

#include "faults.h"

/* Two reservations, and the code for them: several pages, of which a shorter code must leave nothing behind,
 * and a few bytes. The first one is also the scenario's buffer. */
static execbuf both[2];
static const void *entries[2];
static uint8_t pages[3 * 4096];

static execbuf_status publish_both(void) {
    code one = returning(1);
    code two = returning(2);
    memset(pages, 0, sizeof pages);
    memcpy(pages, one.bytes, one.length);
    const execbuf_code codes[2] = {{pages, sizeof pages, NULL}, {two.bytes, two.length, NULL}};
    return execbuf_publish_all(both, codes, 2, &error);
}

static void reserve_both(void) {
    CHECK(execbuf_reserve(&both[0], sizeof pages, &error) == EXECBUF_OK);
    CHECK(execbuf_reserve(&both[1], 5000, &error) == EXECBUF_OK);
    for (int i = 0; i < 2; i++) {
        entries[i] = both[i].entry;
    }
}

/* Publishing fails at the second buffer, when the first one is filled already. */
static void fail_at_the_second(void) {
    const int32_t code_before = code_given;
    reserve_both();
    code_given = REFUSED;
    long number = 0;
    do {
        arm(NULL, number++, true); /* the calls of the first buffer come first */
    } while (publish_both() != EXECBUF_OK && error.position == 0);
    CHECK(error.status != EXECBUF_OK && error.position == 1);
    disarm();
    code_given = code_before;
}

/* Publishes less code than the first buffer was filled with. */
static execbuf_status publish_less(void) {
    code one = returning(1);
    code two = returning(2);
    const execbuf_code codes[2] = {{one.bytes, one.length, NULL}, {two.bytes, two.length, NULL}};
    return execbuf_publish_all(both, codes, 2, &error);
}

static void check_reserved(void) {
    code one = returning(1);
    CHECK(error.position == 0 || error.position == 1);
    for (int i = 0; i < 2; i++) {
        execbuf found;
        CHECK(both[i].entry == entries[i] && both[i].length == 0);
        CHECK(execbuf_find(both[i].entry, &found) == EXECBUF_E_NOT_FOUND);
        CHECK(execbuf_rewrite(&both[i], 0, one.bytes, 1, NULL) == EXECBUF_E_NOT_PUBLISHED);
    }
}

static void check_both_or_none(execbuf_status status) {
    static int count;
    bool is_published = status == EXECBUF_OK;
    if (!is_published) {
        check_reserved();
        if (count++ % 2 == 0) { /* else they are freed while they are reserved */
            CHECK(publish_less() == EXECBUF_OK);
            is_published = true;
        }
    }
    if (is_published) {
        CHECK(both[0].entry == entries[0] && call(&both[0], 0) == 1 && call(&both[1], 0) == 2);
        const uint8_t *end = (const uint8_t *)both[0].entry + both[0].length;
        CHECK(holds_traps(end, (size_t)(4096 - ((uintptr_t)end & 4095)) & 4095));
    }
    CHECK(execbuf_free(&both[0]) == EXECBUF_OK && execbuf_free(&both[1]) == EXECBUF_OK);
}

/* Runs all scenarios with the only backend that is left. */
static void all_scenarios(const char *backend) {
    static const scenario scenarios[] = {
        {"publish_all", reserve_both, publish_both, check_both_or_none, false},
        {"publish_all, after a failure", fail_at_the_second, publish_less, check_both_or_none, false},
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
        long faults = run_all(&scenarios[i]);
        (void)printf("%s, %s: %ld faults\n", backend, scenarios[i].name, faults);
        CHECK(faults > 0);
    }
}

int main(void) {
    all_scenarios("flip");
#if LADDER
    always[0] = "flip";
    all_scenarios("memfd");
    always[1] = "memfd_create";
    all_scenarios("alias");
#endif
    (void)printf("ok\n");
    return 0;
}
