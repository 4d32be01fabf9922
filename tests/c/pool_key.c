/* Pools whose writable mappings have a protection key: a thread can access them only while it writes. */

#include "pool_helpers.h"
#include "smaps.h"

/* Makes a pool with a key. Returns its status; the report is in error. */
static execbuf_status make_pool(execbuf_pool **pool, const char *name) {
    execbuf_pool_options options = options_of(NULL, name);
    options.protection_key = 1;
    return execbuf_pool_new(pool, &options, &error);
}

static void options_that_are_not_known_are_refused(void) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    execbuf_pool *pool;
    options.protection_key = 2;
    expect(execbuf_pool_new(&pool, &options, &error), EXECBUF_E_VERSION, "protection_key");
    CHECK(pool == NULL);
}

#if defined(__linux__) && defined(__x86_64__) && !defined(EXECBUF_PRIM_UNIX)

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PKEY_FAULT = 4 }; /* SEGV_PKUERR */

static long alloc_key(void) {
    return syscall(SYS_pkey_alloc, 0UL, 1UL); /* 1: PKEY_DISABLE_ACCESS */
}

/* Runs first, while the process has no key. */
static void probing_keeps_no_key(void) {
    for (int i = 0; i < 40; i++) { /* there are 15 keys */
        execbuf_probe probe = EXECBUF_PROBE_INIT;
        CHECK(execbuf_probe_system(&probe) == EXECBUF_OK);
        const char *value = NULL;
        for (uint32_t j = 0; j < probe.fact_count; j++) {
            value = strcmp(probe.facts[j].name, "protection keys") == 0 ? probe.facts[j].value : value;
        }
        CHECK(value != NULL && strcmp(value, "yes") == 0);
    }
}

static void a_pool_is_refused_if_all_keys_are_in_use(void) {
    long keys[16];
    int count = 0;
    while (count < 16 && (keys[count] = alloc_key()) >= 0) {
        count++;
    }
    execbuf_pool *pool;
    CHECK(make_pool(&pool, NULL) == EXECBUF_E_UNSUPPORTED && pool == NULL);
    CHECK(error.status == EXECBUF_E_UNSUPPORTED && strcmp(error.culprit, "pkey_alloc") == 0);
    CHECK(error.os_error == ENOSPC && error.attempt_count == 0);
    while (count > 0) {
        CHECK(syscall(SYS_pkey_free, keys[--count]) == 0);
    }
}

static void all_pools_share_one_key(void) {
    long before = alloc_key();
    CHECK(before > 0 && syscall(SYS_pkey_free, before) == 0);
    for (int i = 0; i < 40; i++) {
        execbuf_pool *pool;
        CHECK(make_pool(&pool, NULL) == EXECBUF_OK);
        execbuf buffer = publish(pool, 3);
        CHECK(call(&buffer, 0) == 3);
        release(&buffer);
        execbuf_pool_free(pool);
    }
    long after = alloc_key();
    CHECK(after == before + 1 && syscall(SYS_pkey_free, after) == 0);
}

/* ---- Who can write ---- */

static volatile uint8_t *view; /* the writable mapping of the pool under test */
static long view_key;

static sigjmp_buf escape;
static volatile sig_atomic_t fault_code;

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    fault_code = info->si_code;
    siglongjmp(escape, 1);
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(number, &action, NULL) == 0);
}

/* The si_code of an access to the view; 0 if it succeeds. */
static int access_view(bool writing) {
    handle(SIGSEGV, on_fault);
    fault_code = 0;
    if (sigsetjmp(escape, 1) == 0) {
        if (writing) {
            view[0] = 0xcc; /* as it was: page 0 holds traps */
        } else {
            (void)view[0];
        }
    }
    (void)signal(SIGSEGV, SIG_DFL);
    return fault_code;
}

/* Whether the calling thread can neither read nor write the view. */
static bool is_closed(void) {
    return access_view(false) == PKEY_FAULT && access_view(true) == PKEY_FAULT;
}

/* Makes a pool with a key and a region, and finds the view. */
static execbuf_pool *pool_with_view(const char *name, execbuf *first) {
    execbuf_pool *pool;
    smaps_entry rx;
    smaps_entry rw;
    CHECK(make_pool(&pool, name) == EXECBUF_OK);
    *first = publish(pool, 1);
    if (!find_views(name, &rx, &rw)) {
        exit(0);
    }
    CHECK((rx.key == 0 && rw.key > 0) || (rx.key == -1 && rw.key == -1));
    view = (volatile uint8_t *)(uintptr_t)rw.start; /* NOLINT */
    view_key = rw.key;
    return pool;
}

static void *check_closed(void *unused) {
    (void)unused;
    CHECK(is_closed());
    return NULL;
}

static void in_a_thread(void *(*function)(void *)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, function, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static execbuf_pool *shared_pool;

static void *publish_and_check(void *unused) {
    (void)unused;
    for (uint32_t i = 0; i < 100; i++) {
        execbuf buffer = publish(shared_pool, i);
        CHECK(call(&buffer, 0) == (int)i);
        release(&buffer);
    }
    CHECK(is_closed());
    return NULL;
}

/* Each function that writes to a region. */
static void use_all(execbuf_pool *pool) {
    static uint8_t bytes[40000];
    static const size_t lengths[] = {6, 16, 40, 1000, 9000, sizeof bytes};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memset(bytes, 0x90, sizeof bytes); /* nop */
        code made = returning((uint32_t)i + 1);
        memcpy(bytes + lengths[i] - made.length, made.bytes, made.length);
        execbuf buffer;
        CHECK(execbuf_pool_publish(pool, &buffer, bytes, lengths[i], &error) == EXECBUF_OK);
        CHECK(call(&buffer, 0) == (int)i + 1);
        made = returning((uint32_t)i + 100);
        size_t offset = lengths[i] - made.length;
        CHECK(execbuf_rewrite(&buffer, offset, made.bytes, made.length, &error) == EXECBUF_OK);
        CHECK(call(&buffer, 0) == (int)i + 100);
        const void *entry = buffer.entry;
        execbuf beside = publish(pool, 7); /* keeps the region */
        release(&buffer);
        CHECK(holds_traps(entry, lengths[i]));
        CHECK(execbuf_pool_reserve(pool, &buffer, lengths[i], &error) == EXECBUF_OK);
        CHECK(execbuf_publish(&buffer, bytes, lengths[i], &error) == EXECBUF_OK);
        CHECK(call(&buffer, 0) == (int)i + 1);
        release(&buffer);
        release(&beside);
    }
}

static long long sum(long long a, long long b) {
    return a + b;
}

static void use_thunks(execbuf_pool *pool) {
    execbuf_signature *signature = parsed("l(ll)");
    execbuf thunks[40];
    for (size_t i = 0; i < 40; i++) {
        CHECK(execbuf_thunk_new(pool, &thunks[i], signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64,
                                (const void *)(uintptr_t)sum, &error) == EXECBUF_OK); /* NOLINT */
        typedef long long(__attribute__((ms_abi)) * win64)(long long, long long);
        CHECK(((win64)execbuf_entry(&thunks[i], 0))((long long)i, 2) == (long long)i + 2);
    }
    for (size_t i = 0; i < 40; i++) {
        release(&thunks[i]);
    }
    execbuf_signature_free(signature);
}

static void the_view_is_closed_unless_a_function_writes(void) {
    execbuf first;
    execbuf_pool *pool = pool_with_view("closed-unless-writing", &first);
    CHECK(is_closed());
    in_a_thread(check_closed);
    use_all(pool);
    use_thunks(pool);
    CHECK(is_closed());
    shared_pool = pool;
    in_a_thread(publish_and_check);
    CHECK(call(&first, 0) == 1 && stats_of(pool).dedicated == 0 && stats_of(pool).live == 1);
    release(&first);
    execbuf_pool_free(pool);
}

/* ---- In the middle of a write ---- */

static int to_other[2];
static int from_other[2];
static void *source; /* a page that cannot be read */
static volatile sig_atomic_t handled;
static volatile uint32_t rights_in_handler;

static uint32_t read_rights(void) {
    uint32_t rights;
    uint32_t zero;
    __asm__ volatile(".byte 0x0f, 0x01, 0xee" /* rdpkru */ : "=a"(rights), "=d"(zero) : "c"(0));
    return rights;
}

/* The publisher reads the source, while it can write the view: lets the other thread try, then goes on. */
static void on_read(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    char byte = 'x';
    bool done = ((uintptr_t)info->si_addr ^ (uintptr_t)source) < 4096 && write(to_other[1], &byte, 1) == 1 &&
                read(from_other[0], &byte, 1) == 1 && mprotect(source, 4096, PROT_READ | PROT_WRITE) == 0;
    handled = done ? handled + 1 : -100;
    rights_in_handler = read_rights();
    if (!done) {
        _exit(1);
    }
}

static void *try_to_write(void *unused) {
    (void)unused;
    char byte;
    CHECK(read(to_other[0], &byte, 1) == 1);
    /* The handler of the process waits for this thread, so the kernel is asked instead. A system call has the
     * rights of its thread. */
    CHECK(write(from_other[1], (const void *)view, 1) == -1 && errno == EFAULT);
    CHECK(write(from_other[1], "x", 1) == 1);
    return NULL;
}

static void only_the_thread_that_writes_can_write(void) {
    execbuf first;
    execbuf_pool *pool = pool_with_view("only-the-writer", &first);
    source = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(source != MAP_FAILED && pipe(to_other) == 0 && pipe(from_other) == 0);
    uint32_t rights = read_rights();
    execbuf_code pieces[2] = {{first.entry, 6, NULL}, {source, 6, NULL}};
    execbuf out[2];
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, try_to_write, NULL) == 0);
    handle(SIGSEGV, on_read);
    CHECK(execbuf_pool_publish_batch(pool, out, pieces, 2, &error) == EXECBUF_OK);
    (void)signal(SIGSEGV, SIG_DFL);
    CHECK(handled == 1 && pthread_join(thread, NULL) == 0);
    if (view_key > 0) {
        CHECK((rights_in_handler >> 2 * view_key & 1) == 1); /* the handler had no access */
    }
    CHECK(read_rights() == rights); /* those to other keys, too */
    CHECK(is_closed());
    release(&out[0]);
    release(&out[1]);
    release(&first);
    execbuf_pool_free(pool);
    CHECK(munmap(source, 4096) == 0);
}

/* ---- How often ---- */

static volatile sig_atomic_t writes; /* how many wrpkru were executed */

static void on_step(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    const ucontext_t *state = (const ucontext_t *)context;
    const uint8_t *next = (const uint8_t *)state->uc_mcontext.gregs[REG_RIP]; /* NOLINT */
    writes += memcmp(next, "\x0f\x01\xef", 3) == 0;
}

/* Changes the trap flag, with which each instruction raises SIGTRAP. */
static void step(bool on) {
    uint64_t flags = __builtin_ia32_readeflags_u64();
    __builtin_ia32_writeeflags_u64(on ? flags | 0x100U : flags & ~(uint64_t)0x100U);
}

static void a_batch_opens_the_view_once(void) {
    if (hides_maps()) {
        (void)fprintf(stderr, "SKIP: how often a batch opens the view: a tool delays signals\n");
        return;
    }
    enum { COUNT = 20 };
    execbuf first;
    execbuf_pool *pool = pool_with_view("a-batch", &first);
    execbuf_code pieces[COUNT];
    execbuf out[COUNT];
    for (int i = 0; i < COUNT; i++) {
        pieces[i].bytes = first.entry;
        pieces[i].length = first.length;
        pieces[i].info = NULL;
    }
    handle(SIGTRAP, on_step);
    writes = 0;
    step(true);
    execbuf_status status = execbuf_pool_publish_batch(pool, out, pieces, COUNT, NULL);
    step(false);
    CHECK(status == EXECBUF_OK && writes == 2);
    for (int i = 0; i < COUNT; i++) {
        CHECK(call(&out[i], 0) == 1);
        release(&out[i]);
    }
    release(&first);
    execbuf_pool_free(pool);
}

/* ---- fork ---- */

static void a_child_gets_regions_with_the_key(void) {
    execbuf first;
    execbuf_pool *pool = pool_with_view("before-the-fork", &first);
    long key = view_key;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        smaps_entry found[2];
        CHECK(find_in_smaps("before-the-fork", found, 2) == 1 && found[0].protection[2] == 'x');
        CHECK(call(&first, 0) == 1);
        execbuf buffer = publish(pool, 5); /* in a copy of the region, or in a new one */
        CHECK(stats_of(pool).dedicated == 0 && stats_of(pool).regions == (COPIES_REGIONS ? 1 : 2));
        release(&first); /* unmaps an old one */
        smaps_entry rx;
        smaps_entry rw;
        CHECK(find_views("before-the-fork", &rx, &rw) && rw.key == key);
        view = (volatile uint8_t *)(uintptr_t)rw.start; /* NOLINT */
        CHECK(is_closed());
        CHECK(call(&buffer, 0) == 5);
        release(&buffer);
        execbuf_pool_free(pool);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(is_closed());
    release(&first);
    execbuf_pool_free(pool);
}

static void run_with_keys(void) {
    long key = alloc_key();
    if (key < 0 || syscall(SYS_pkey_free, key) != 0) {
        (void)fprintf(stderr, "SKIP: no protection keys here\n");
        execbuf_pool *pool;
        CHECK(make_pool(&pool, NULL) == EXECBUF_E_UNSUPPORTED && pool == NULL);
        CHECK(strcmp(error.culprit, "pkey_alloc") == 0 && error.os_error != 0);
        return;
    }
    RUN(probing_keeps_no_key);
    RUN(a_pool_is_refused_if_all_keys_are_in_use);
    RUN(all_pools_share_one_key);
    RUN(the_view_is_closed_unless_a_function_writes);
    RUN(only_the_thread_that_writes_can_write);
    RUN(a_batch_opens_the_view_once);
    RUN(a_child_gets_regions_with_the_key);
}
#else
static void run_with_keys(void) {
    execbuf_pool *pool;
    expect(make_pool(&pool, NULL), EXECBUF_E_UNSUPPORTED, "protection_key");
    CHECK(pool == NULL);
    (void)fprintf(stderr, "SKIP: protection keys are for x86-64 Linux only\n");
}
#endif

int main(void) {
    RUN(options_that_are_not_known_are_refused);
    RUN(run_with_keys);
    (void)printf("ok\n");
    return 0;
}
