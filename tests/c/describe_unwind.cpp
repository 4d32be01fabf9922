/* Exceptions, forced unwinding and backtraces pass through described code, whatever describes it. */

#include "check.h"

#if defined(__ELF__) && (defined(__x86_64__) || defined(__aarch64__))

#include <algorithm>
#include <csignal>
#include <pthread.h>
#include <sched.h>
#include <ucontext.h>

#include "describe_throw.h"
#include "which_unwinder.h"

/* ---- Exceptions ---- */

static void exceptions_pass_through_described_code() {
    with_each(throw_through_some);
}

/* ---- Threads ---- */

#if defined(__GLIBC__)

static bool is_waiting;
static bool was_destroyed;

struct last_guard {
    ~last_guard() {
        was_destroyed = true;
    }
};

static void wait_for_the_end() {
    __atomic_store_n(&is_waiting, true, __ATOMIC_SEQ_CST);
    for (;;) {
        pthread_testcancel();
        (void)sched_yield();
    }
}

static void *wait_in_described_code(void *function) {
    code_function called;
    last_guard kept;
    memcpy(&called, &function, sizeof called);
    called(wait_for_the_end);
    return nullptr;
}

static void cancel_in(code_function function) {
    pthread_t thread;
    void *result = nullptr;
    void *argument;
    memcpy(&argument, &function, sizeof argument);
    is_waiting = false;
    was_destroyed = false;
    CHECK(pthread_create(&thread, nullptr, wait_in_described_code, argument) == 0);
    while (!__atomic_load_n(&is_waiting, __ATOMIC_SEQ_CST)) {
        (void)sched_yield();
    }
    CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED && was_destroyed);
}

static void cancellation_unwinds_through_described_code() {
    if (!unwinder_is_that_of_glibc()) {
        (void)fprintf(stderr, "SKIP: cancellation: the unwinder of the program is not libgcc's library\n");
        return;
    }
    with_each(cancel_in);
}

#endif

static bool is_over;

/* Throws through described code until the main thread is done. */
static void *throw_all_the_time(void *) {
    const sample one = samples()[0];
    execbuf buffer;
    CHECK(execbuf_pool_publish_with(pool, &buffer, one.code.data(), one.code.size(), &one.info, nullptr) ==
          EXECBUF_OK);
    while (!__atomic_load_n(&is_over, __ATOMIC_SEQ_CST)) {
        throw_through(function_of(buffer), 3);
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    return nullptr;
}

/* 10,000 functions of many sizes, of which 1,000 live at a time. */
static void descriptions_come_and_go_while_other_threads_throw() {
    static execbuf some[1000];
    const int rounds = is_emulated() || under_valgrind() ? 1 : 10;
    pthread_t threads[2];
    is_over = false;
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    for (pthread_t &thread : threads) {
        CHECK(pthread_create(&thread, nullptr, throw_all_the_time, nullptr) == 0);
    }
    sample one = samples()[0];
    const size_t length = one.code.size();
    for (int i = 0; i < 1000 * rounds; i++) {
        one.code.resize(length + static_cast<size_t>(i * 31 % 700) / 4 * 4);
        execbuf &buffer = some[i % 1000];
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        CHECK(execbuf_pool_publish_with(pool, &buffer, one.code.data(), one.code.size(), &one.info,
                                        nullptr) == EXECBUF_OK);
        if (i % 16 == 0) {
            throw_through(function_of(buffer), 1);
        }
    }
    __atomic_store_n(&is_over, true, __ATOMIC_SEQ_CST);
    for (pthread_t thread : threads) {
        CHECK(pthread_join(thread, nullptr) == 0);
    }
    for (execbuf &buffer : some) {
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

/* ---- Backtraces ---- */

static bool seen;
static const void *wanted;

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *) {
    const void *start = _Unwind_FindEnclosingFunction(reinterpret_cast<void *>(_Unwind_GetIP(context)));
    seen |= start == wanted;
    return _URC_NO_REASON;
}

static void look_for_caller() {
    seen = false;
    (void)_Unwind_Backtrace(visit, nullptr);
}

__attribute__((noinline)) static void backtrace_from(code_function function) {
    wanted = reinterpret_cast<const void *>(backtrace_from);
    seen = false;
    function(look_for_caller);
    CHECK(seen);
}

static void backtraces_pass_through_described_code() {
    with_each(backtrace_from);
}

static void backtraces_end_at_code_that_is_not_described_beside_code_that_is() {
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    const sample one = samples()[0];
    execbuf described = in_a_pool(one);
    execbuf other;
    CHECK(execbuf_pool_publish(pool, &other, one.code.data(), one.code.size(), nullptr) == EXECBUF_OK);
    wanted = reinterpret_cast<const void *>(backtraces_end_at_code_that_is_not_described_beside_code_that_is);
    function_of(other)(look_for_caller);
    CHECK(!seen);
    function_of(described)(look_for_caller);
    CHECK(seen);
    /* The slot of code that was described has no description for the next code there. */
    const void *entry = described.entry;
    CHECK(execbuf_free(&described) == EXECBUF_OK && execbuf_free(&other) == EXECBUF_OK);
    for (int i = 0; i < 100000; i++) {
        CHECK(execbuf_pool_publish(pool, &other, one.code.data(), one.code.size(), nullptr) == EXECBUF_OK);
        bool is_there = other.entry == entry;
        if (is_there) {
            function_of(other)(look_for_caller);
            CHECK(!seen);
        }
        CHECK(execbuf_free(&other) == EXECBUF_OK);
        if (is_there) {
            break;
        }
    }
    execbuf_pool_free(pool);
}

/* ---- Every instruction ---- */

#if defined(__x86_64__) && defined(__linux__)

static const uint8_t *stepped_code;
static size_t stepped_length;
static int steps;

/* Runs after each instruction while the trap flag is set. */
static void step(int, siginfo_t *, void *data) {
    const ucontext_t *context = static_cast<const ucontext_t *>(data);
    uint64_t at = static_cast<uint64_t>(context->uc_mcontext.gregs[REG_RIP]);
    if (at - reinterpret_cast<uintptr_t>(stepped_code) < stepped_length) {
        look_for_caller();
        CHECK(seen);
        steps++;
    }
}

static void do_nothing() {}

__attribute__((noinline)) static void step_through(code_function function) {
    wanted = reinterpret_cast<const void *>(step_through);
    memcpy(&stepped_code, &function, sizeof stepped_code);
    stepped_length = 16;
    steps = 0;
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "memory", "cc");
    function(do_nothing);
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" : : : "memory", "cc");
    CHECK(steps >= 4);
}

static void profilers_unwind_from_every_instruction() {
    if (unwinder_is_llvms() || under_valgrind() || is_emulated()) {
        (void)fprintf(stderr, "SKIP: single steps: valgrind, an emulator, or LLVM's unwinder\n");
        return;
    }
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    (void)fprintf(stderr, "SKIP: single steps: ThreadSanitizer delays signals\n");
    return;
#endif
#endif
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = step;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(SIGTRAP, &action, nullptr) == 0);
    with_each(step_through);
}

#endif

/* ---- Finished tables ---- */

#if defined(__x86_64__)

static int personality_calls;
static uint64_t lsda_seen;
static uint64_t region_seen;

extern "C" _Unwind_Reason_Code test_personality(int, _Unwind_Action, uint64_t, _Unwind_Exception *,
                                                _Unwind_Context *context) {
    personality_calls++;
    lsda_seen = reinterpret_cast<uint64_t>(_Unwind_GetLanguageSpecificData(context));
    region_seen = _Unwind_GetRegionStart(context);
    return _URC_CONTINUE_UNWIND;
}

static void put(std::vector<uint8_t> &to, const void *bytes, size_t size) {
    const uint8_t *from = static_cast<const uint8_t *>(bytes);
    to.insert(to.end(), from, from + size);
}

/* The table of a function that saves rbx, with a personality routine and an LSDA. */
static std::vector<uint8_t> table_for(const execbuf &buffer, uint64_t size, const void *lsda) {
    std::vector<uint8_t> table = {
        0x1c, 0,   0,   0, 0, 0,    0,  0,  1, 'z',
        'P',  'L', 'R', 0, 1, 0x78, 16, 11, 0, /* CIE; personality: absptr */
    };
    _Unwind_Reason_Code (*personality)(int, _Unwind_Action, uint64_t, _Unwind_Exception *,
                                       _Unwind_Context *) = test_personality;
    put(table, &personality, 8);
    const uint8_t cie_end[] = {
        0,          /* LSDA: absptr */
        0,          /* addresses: absptr */
        0x0c, 7, 8, /* DW_CFA_def_cfa rsp, 8 */
        0x90, 1,    /* DW_CFA_offset 16, 1 */
        0,    0,
    };
    put(table, cie_end, sizeof cie_end);
    table[0] = static_cast<uint8_t>(table.size() - 4);
    uint8_t back = static_cast<uint8_t>(table.size() + 4);
    size_t fde = table.size();
    const uint8_t head[] = {0, 0, 0, 0, back, 0, 0, 0};
    put(table, head, sizeof head);
    put(table, &buffer.entry, 8);
    put(table, &size, 8);
    table.push_back(8);
    put(table, &lsda, 8);
    const uint8_t program[] = {
        0x41,     /* DW_CFA_advance_loc 1 */
        0x0e, 16, /* DW_CFA_def_cfa_offset 16 */
        0x83, 2,  /* DW_CFA_offset rbx, 2 */
        0,    0,  0,
    };
    put(table, program, sizeof program);
    table[fde] = static_cast<uint8_t>(table.size() - fde - 4);
    return table;
}

static const uint8_t saves_rbx[] = {
    0x53,                                     /*  0: push rbx */
    0x48, 0xc7, 0xc3, 0xff, 0xff, 0xff, 0xff, /*  1: mov rbx, -1 */
    0xff, 0xd7,                               /*  8: call rdi */
    0x5b,                                     /* 10: pop rbx */
    0xc3,                                     /* 11: ret */
};

static void check_table(execbuf buffer) {
    static const char data[] = "LSDA";
    std::vector<uint8_t> table = table_for(buffer, sizeof saves_rbx, data);
    execbuf_info info = EXECBUF_INFO_INIT;
    execbuf_error error;
    info.unwind = EXECBUF_UNWIND_EH_FRAME;
    info.table = table.data();
    info.table_length = table.size();
    CHECK(execbuf_publish_with(&buffer, saves_rbx, sizeof saves_rbx, &info, &error) == EXECBUF_OK);
    std::fill(table.begin(), table.end(), 0xff); /* it was copied */
    personality_calls = 0;
    throw_through(function_of(buffer), 3);
    CHECK(personality_calls == 6); /* each frame is searched, and then cleaned up */
    CHECK(lsda_seen == reinterpret_cast<uintptr_t>(data));
    CHECK(region_seen == reinterpret_cast<uintptr_t>(buffer.entry));
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void finished_tables_restore_registers_and_have_personalities() {
    execbuf buffer;
    CHECK(execbuf_reserve(&buffer, 100, nullptr) == EXECBUF_OK);
    check_table(buffer);
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(execbuf_pool_reserve(pool, &buffer, 32 << i, nullptr) == EXECBUF_OK);
        check_table(buffer);
    }
    execbuf_pool_free(pool);
}

#endif

int main() {
    RUN(exceptions_pass_through_described_code);
#if defined(__GLIBC__)
    RUN(cancellation_unwinds_through_described_code);
#endif
    RUN(descriptions_come_and_go_while_other_threads_throw);
    RUN(backtraces_pass_through_described_code);
    RUN(backtraces_end_at_code_that_is_not_described_beside_code_that_is);
#if defined(__x86_64__)
    RUN(finished_tables_restore_registers_and_have_personalities);
#if defined(__linux__)
    RUN(profilers_unwind_from_every_instruction);
#endif
#endif
    (void)printf("ok\n");
    return 0;
}

#else

int main() {
    (void)fprintf(stderr, "SKIP: unwinding through described code: not on this platform\n");
    return 0;
}

#endif
