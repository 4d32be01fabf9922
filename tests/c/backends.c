/* The choice of backends: by call, by the environment, and for a pool. The choice is final, so each test runs
 * in a process of its own. */

#include "check.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLIP EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_FLIP)
#define MEMFD EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_MEMFD)
#define ALIAS EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_ALIAS)
#define SECTION EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_SECTION)

static execbuf buffer;
static execbuf_error error;

static execbuf_status create(void) {
    code one = returning(1);
    execbuf_status status = execbuf_new(&buffer, one.bytes, one.length, &error);
    CHECK(status != EXECBUF_OK || call(&buffer, 0) == 1);
    return status;
}

static void check_wrong(execbuf_status status, const char *culprit) {
    CHECK(status == EXECBUF_E_BACKENDS && error.status == status && strcmp(error.culprit, culprit) == 0);
}

static void a_choice_by_call_is_made_before_the_first_use(void) {
    check_wrong(execbuf_set_backends(FLIP | (uint32_t)1 << 30, &error), "backends");
    check_wrong(execbuf_set_backends(SECTION, &error), "backends");
    CHECK(setenv("EXECBUF_BACKENDS", "nonsense", 1) == 0); /* the call counts, not the variable */
    CHECK(execbuf_set_backends(FLIP, &error) == EXECBUF_OK && execbuf_set_backends(0, NULL) == EXECBUF_OK);
    CHECK(execbuf_set_backends(FLIP | SECTION, &error) == EXECBUF_OK && error.status == EXECBUF_OK);
    execbuf_probe probe = EXECBUF_PROBE_INIT;
    CHECK(execbuf_probe_system(&probe) == EXECBUF_OK && probe.status == EXECBUF_OK);
    CHECK(execbuf_set_backends(FLIP, &error) == EXECBUF_OK); /* the probe is no use */
    CHECK(create() == EXECBUF_OK);
    check_wrong(execbuf_set_backends(FLIP, &error), "first use");
    CHECK(create() == EXECBUF_OK);
}

static void a_wrong_variable_is_an_error_until_the_choice_is_made(void) {
    static const char *const wrong[] = {
        "flips", "flip,", ",flip",   "flip memfd",
        "Flip",  "none",  "section", "flip,memfd,alias,map-jit,section,flip,memfd,alias,map-jit,section"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        execbuf_pool *pool;
        execbuf_probe probe = EXECBUF_PROBE_INIT;
        CHECK(setenv("EXECBUF_BACKENDS", wrong[i], 1) == 0);
        check_wrong(create(), "EXECBUF_BACKENDS");
        check_wrong(execbuf_reserve(&buffer, 1, &error), "EXECBUF_BACKENDS");
        check_wrong(execbuf_pool_new(&pool, NULL, &error), "EXECBUF_BACKENDS");
        CHECK(execbuf_probe_system(&probe) == EXECBUF_OK && probe.status == EXECBUF_E_BACKENDS);
        CHECK(probe.buffer_count > 0 && strcmp(probe.buffer[0].call, "EXECBUF_BACKENDS") == 0);
    }
    CHECK(setenv("EXECBUF_BACKENDS", "", 1) == 0 && create() == EXECBUF_OK);
    CHECK(setenv("EXECBUF_BACKENDS", "nonsense", 1) == 0 && create() == EXECBUF_OK); /* it was read before */
}

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)

/* Whether the list of mappings says that the buffer's memory has this name. */
static bool is_named(const execbuf *checked, const char *name) {
    bool found = false;
    for (const char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        char *end;
        uintptr_t start = (uintptr_t)strtoull(line, &end, 16);
        uintptr_t after = (uintptr_t)strtoull(end + 1, NULL, 16);
        uintptr_t entry = (uintptr_t)checked->entry;
        if (start <= entry && entry < after) {
            const char *path = (const char *)memchr(line, '/', strcspn(line, "\n"));
            found = name == NULL ? path == NULL : path != NULL && strncmp(path, name, strlen(name)) == 0;
        }
    }
    return found;
}

static execbuf_pool *pool_of(uint32_t backends) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.backends = backends;
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, &options, &error) == EXECBUF_OK);
    return pool;
}

static void put(execbuf_pool *pool, execbuf *out) {
    code two = returning(2);
    CHECK(execbuf_pool_publish(pool, out, two.bytes, two.length, &error) == EXECBUF_OK && call(out, 0) == 2);
}

static void the_variable_restricts_buffers_pools_and_the_probe(void) {
    CHECK(setenv("EXECBUF_BACKENDS", "alias,section", 1) == 0);
    execbuf_probe probe = EXECBUF_PROBE_INIT;
    CHECK(execbuf_probe_system(&probe) == EXECBUF_OK && probe.buffer_count == 3 && probe.pool_count == 2);
    const char *excluded = "excluded: not among the chosen backends";
    CHECK(strcmp(probe.buffer[0].call, excluded) == 0 && strcmp(probe.buffer[1].call, excluded) == 0);
    CHECK(strcmp(probe.pool[0].call, excluded) == 0);
    if (probe.buffer[2].call != NULL) {
        (void)fprintf(stderr, "SKIP: the choice of the alias backend: %s\n", probe.buffer[2].call);
        return;
    }
    CHECK(create() == EXECBUF_OK && is_named(&buffer, "/dev/zero"));
    execbuf_pool *pool = pool_of(0);
    execbuf in_pool;
    put(pool, &in_pool);
    CHECK(is_named(&in_pool, "/dev/zero"));
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.backends = FLIP | MEMFD;
    check_wrong(execbuf_pool_new(&pool, &options, &error), "backends");
}

static void a_pool_of_private_memory_has_no_regions(void) {
    execbuf_pool *pool = pool_of(FLIP);
    code three = returning(3);
    for (int i = 0; i < 200; i++) {
        execbuf in_pool;
        put(pool, &in_pool);
        CHECK(is_named(&in_pool, NULL));
        CHECK(execbuf_rewrite(&in_pool, 0, three.bytes, three.length, &error) == EXECBUF_OK);
        CHECK(is_named(&in_pool, NULL) && call(&in_pool, 0) == 3);
    }
    execbuf_pool_stats stats = EXECBUF_POOL_STATS_INIT;
    CHECK(execbuf_pool_get_stats(pool, &stats) == EXECBUF_OK && stats.regions == 0 && stats.dedicated == 200);
    CHECK(stats.why.status == EXECBUF_E_DENIED && stats.why.attempt_count == 2);
    CHECK(strncmp(stats.why.attempts[0].call, "excluded", 8) == 0);
}

/* Both the regions and the dedicated mappings, also after the process has used another backend. */
static void a_pool_uses_only_its_backends(void) {
    static uint8_t large[300000];
    code two = returning(2);
    memcpy(large, two.bytes, two.length);
    CHECK(create() == EXECBUF_OK);
    for (int by_memfd = 0; by_memfd < 2; by_memfd++) {
        execbuf_pool *pool = pool_of(by_memfd ? MEMFD : ALIAS);
        const char *name = by_memfd ? "/memfd:execbuf" : "/dev/zero";
        execbuf small;
        execbuf big;
        code four = returning(4);
        if (execbuf_pool_publish(pool, &big, large, sizeof large, &error) != EXECBUF_OK) {
            /* Only emulators refuse one; qemu-user's list of mappings has wrong names after that. */
            (void)fprintf(stderr, "SKIP: a pool of one backend: %s\n", error.culprit);
            return;
        }
        put(pool, &small);
        CHECK(is_named(&small, name) && is_named(&big, name) && call(&big, 0) == 2);
        CHECK(execbuf_rewrite(&big, 0, four.bytes, four.length, &error) == EXECBUF_OK);
        CHECK(is_named(&big, name) && call(&big, 0) == 4);
    }
    CHECK(create() == EXECBUF_OK && is_named(&buffer, NULL)); /* other memory is not concerned */
}

#endif

static void in_a_process(void (*test)(void)) {
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test();
        (void)fflush(stderr);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

#define RUN_IN_A_PROCESS(test)                                                                               \
    do {                                                                                                     \
        (void)printf("%s\n", #test);                                                                         \
        in_a_process(test);                                                                                  \
    } while (0)

int main(void) {
    RUN_IN_A_PROCESS(a_choice_by_call_is_made_before_the_first_use);
    RUN_IN_A_PROCESS(a_wrong_variable_is_an_error_until_the_choice_is_made);
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    RUN_IN_A_PROCESS(the_variable_restricts_buffers_pools_and_the_probe);
    RUN_IN_A_PROCESS(a_pool_of_private_memory_has_no_regions);
    RUN_IN_A_PROCESS(a_pool_uses_only_its_backends);
#endif
    return 0;
}
