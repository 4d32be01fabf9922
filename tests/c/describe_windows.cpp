/* On Windows, exceptions pass through described code, whatever describes it, and the system knows it as long
 * as it lives. With fault injection, all of it with the interface of Windows 7, too. */

#include "check.h"

#if defined(_WIN32) && defined(__x86_64__)

#include <atomic>
#include <csetjmp>
#include <thread>
#include <windows.h>

#include "describe_throw.h"

/* ---- Tables ---- */

/* The entry by which the system unwinds code, and where its table counts from; NULL: there is none. */
static RUNTIME_FUNCTION *entry_of(const execbuf &buffer, ULONG64 *base) {
    return RtlLookupFunctionEntry(reinterpret_cast<ULONG64>(buffer.entry), base, nullptr);
}

#if defined(EXECBUF_FAULT_INJECTION)

/* Whether the two ways to register a table fail. */
static bool growable_fails, old_fails;

extern "C" int32_t xb_fault(const char *call) {
    bool fails = (growable_fails && strcmp(call, "RtlAddGrowableFunctionTable") == 0) ||
                 (old_fails && strcmp(call, "RtlAddFunctionTable") == 0);
    return fails ? ERROR_NOT_ENOUGH_MEMORY : 0;
}

/* A span whose table could not be registered does without. */
static void functions_are_registered_alone_after_a_failure() {
    const sample one = samples()[0];
    execbuf failed;
    execbuf some[2];
    ULONG64 bases[2] = {0, 0};
    execbuf_error error;
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    growable_fails = old_fails = true;
    CHECK(execbuf_pool_reserve(pool, &failed, one.code.size(), nullptr) == EXECBUF_OK);
    CHECK(execbuf_publish_with(&failed, one.code.data(), one.code.size(), &one.info, &error) ==
          EXECBUF_E_NO_MEMORY);
    CHECK(strcmp(error.culprit, "RtlAddFunctionTable") == 0);
    growable_fails = old_fails = false;
    for (int i = 0; i < 2; i++) {
        some[i] = in_a_pool(one);
        CHECK(entry_of(some[i], &bases[i]) != nullptr);
        throw_through(function_of(some[i]), 2);
    }
    CHECK(bases[0] != bases[1]);
    CHECK(execbuf_free(&some[0]) == EXECBUF_OK && execbuf_free(&some[1]) == EXECBUF_OK &&
          execbuf_free(&failed) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

#endif

static void functions_of_a_span_share_a_table() {
    const sample one = samples()[0];
    execbuf some[100];
    RUNTIME_FUNCTION *entries[100];
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    size_t tables = 0;
    ULONG64 last = 0;
    for (size_t i = 0; i < 100; i++) {
        ULONG64 base = 0;
        some[i] = in_a_pool(one);
        entries[i] = entry_of(some[i], &base);
        CHECK(entries[i] != nullptr);
        tables += base != last;
        last = base;
    }
    CHECK(tables <= 4); /* the slots of a span may be fewer than these functions */
    CHECK(entries[1] - entries[0] == 1);
    CHECK(execbuf_free(&some[0]) == EXECBUF_OK); /* which changes only its own entry */
    throw_through(function_of(some[1]), 2);
    for (size_t i = 1; i < 100; i++) {
        CHECK(execbuf_free(&some[i]) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

static void undescribed_code_beside_described_code_has_no_entry() {
    static execbuf others[3000];
    const sample one = samples()[0];
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    execbuf described = in_a_pool(one);
    for (execbuf &other : others) {
        ULONG64 base = 0;
        CHECK(execbuf_pool_publish(pool, &other, one.code.data(), one.code.size(), nullptr) == EXECBUF_OK);
        CHECK(entry_of(other, &base) == nullptr);
    }
    for (execbuf &other : others) {
        CHECK(execbuf_free(&other) == EXECBUF_OK);
    }
    CHECK(execbuf_free(&described) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

/* ---- Exceptions ---- */

static void exceptions_pass_through_described_code() {
    with_each(throw_through_some);
}

/* ---- Each frame ---- */

/* Without an entry, or after a wrong one, Windows takes the next word of the stack for a return address, and
 * thus may find the way all the same. So this looks at one step: from described code to its caller. */
static code_function walked;
static bool is_right;

/* Where the function around an address begins. */
static ULONG64 start_of(ULONG64 address) {
    ULONG64 base = 0;
    RUNTIME_FUNCTION *found = RtlLookupFunctionEntry(address, &base, nullptr);
    return found != nullptr ? base + found->BeginAddress : 0;
}

static void walk_from(code_function function);

static void look_at_caller() {
    CONTEXT context;
    RtlCaptureContext(&context);
    const ULONG64 entry = reinterpret_cast<ULONG64>(walked);
    bool was_inside = false;
    for (int i = 0; i < 5 && !was_inside; i++) {
        ULONG64 base = 0;
        ULONG64 frame = 0;
        void *data = nullptr;
        RUNTIME_FUNCTION *found = RtlLookupFunctionEntry(context.Rip, &base, nullptr);
        CHECK(found != nullptr);
        was_inside = base + found->BeginAddress == entry;
        (void)RtlVirtualUnwind(UNW_FLAG_NHANDLER, base, context.Rip, found, &context, &data, &frame, nullptr);
    }
    is_right = was_inside && start_of(context.Rip) == start_of(reinterpret_cast<ULONG64>(walk_from));
}

__attribute__((noinline)) static void walk_from(code_function function) {
    walked = function;
    is_right = false;
    function(look_at_caller);
    CHECK(is_right);
}

static void the_caller_of_described_code_is_found() {
    with_each(walk_from);
}

/* ---- What the system knows ---- */

/* Whether the system has an entry for exactly this code, by which its unwinder goes on. */
static bool is_known(const execbuf &buffer) {
    ULONG64 base = 0;
    ULONG64 start = reinterpret_cast<ULONG64>(buffer.entry);
    RUNTIME_FUNCTION *first = RtlLookupFunctionEntry(start, &base, nullptr);
    RUNTIME_FUNCTION *last = RtlLookupFunctionEntry(start + buffer.length - 1, &base, nullptr);
    CHECK(first == last);
    return first != nullptr && base + first->BeginAddress == start &&
           base + first->EndAddress == start + buffer.length;
}

static void the_system_knows_described_code_until_it_is_freed() {
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    for (const sample &one : samples()) {
        for (maker make : makers) {
            execbuf buffer = make(one);
            const execbuf freed = buffer;
            CHECK(is_known(buffer));
            CHECK(execbuf_free(&buffer) == EXECBUF_OK && !is_known(freed));
        }
    }
    execbuf_pool_free(pool);
}

static void a_new_description_replaces_the_old_one() {
    const std::vector<sample> all = samples();
    execbuf buffer;
    execbuf_info unknown = EXECBUF_INFO_INIT;
    CHECK(execbuf_new(&buffer, all[2].code.data(), all[2].code.size(), nullptr) == EXECBUF_OK &&
          !is_known(buffer));
    CHECK(execbuf_describe(&buffer, &all[2].info, nullptr) == EXECBUF_OK && is_known(buffer));
    CHECK(execbuf_describe(&buffer, &all[2].info, nullptr) == EXECBUF_OK && is_known(buffer));
    throw_through(function_of(buffer), 3);
    CHECK(execbuf_describe(&buffer, &unknown, nullptr) == EXECBUF_OK && !is_known(buffer));
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

/* 10,000 functions of a few kinds, of which 1,000 live at a time. */
static void descriptions_come_and_go() {
    static execbuf some[1000];
    const std::vector<sample> all = samples();
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    for (size_t i = 0; i < 10000; i++) {
        execbuf &buffer = some[i % 1000];
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        buffer = makers[i % 3 == 0 ? 0 : 1](all[i % all.size()]);
        if (i % 64 == 0) {
            throw_through(function_of(buffer), 2);
        }
    }
    for (execbuf &buffer : some) {
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

static std::atomic<int> threads_waiting;

/* Publishes a function of each size, at the same time as other threads, and looks whether the system knows
 * all of them. */
static void describe_some(std::vector<execbuf> *made) {
    sample one = samples()[0];
    for (int i = 0; i < 100; i++) {
        one.code.resize(one.code.size() + 16, 0xcc); /* int3 */
        threads_waiting--;
        for (int turns = 0; threads_waiting > -2 * i; turns++) {
            if (turns > 5000) {
                std::this_thread::yield();
            }
        }
        made->push_back(in_a_pool(one));
    }
    for (const execbuf &buffer : *made) {
        CHECK(is_known(buffer));
        throw_through(function_of(buffer), 2);
    }
}

static void threads_describe_code_in_the_same_span() {
    for (int round = 0; round < 20; round++) {
        std::vector<execbuf> made[2];
        std::vector<std::thread> threads;
        CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
        threads_waiting = 2;
        for (std::vector<execbuf> &some : made) {
            threads.emplace_back(describe_some, &some);
        }
        for (std::thread &thread : threads) {
            thread.join();
        }
        for (std::vector<execbuf> &some : made) {
            for (execbuf &buffer : some) {
                CHECK(is_known(buffer) && execbuf_free(&buffer) == EXECBUF_OK);
            }
        }
        execbuf_pool_free(pool);
    }
}

static void longjmp_passes_through_described_code() {
    with_each([](code_function function) {
        static jmp_buf target;
        static volatile int returned;
        returned = setjmp(target);
        if (returned == 0) {
            function([] { longjmp(target, 1); });
        }
        CHECK(returned == 1);
    });
}

/* ---- Handlers ---- */

/* The handler of a table is where it is said to be, relative to the code, wherever the code is. */
static void handlers_are_found() {
    static const uint8_t code[] = {
        0x48, 0x83, 0xec, 0x28,          /*  0: sub rsp, 40 */
        0xff, 0xd1,                      /*  4: call rcx */
        0x90,                            /*  6: nop */
        0x48, 0x83, 0xc4, 0x28,          /*  7: add rsp, 40 */
        0xc3,                            /* 11: ret */
        0xb8, 1,    0,    0,    0, 0xc3, /* 12: the handler: mov eax, ExceptionContinueSearch; ret */
    };
    static const uint8_t table[] = {
        0x19, 4,    1,   0,   /* version 1, handlers of exceptions and of termination; the prologue; 1 node */
        4,    0x42,           /* UWOP_ALLOC_SMALL, 40 bytes */
        0,    0,              /* an even number of nodes */
        12,   0,    0,   0,   /* the handler */
        'd',  'a',  't', 'a', /* its own data */
    };
    sample one = {"handler", std::vector<uint8_t>(code, code + sizeof code),
                  info_of(EXECBUF_UNWIND_UNWIND_INFO, 0, 0, 0)};
    one.info.table = table;
    one.info.table_length = sizeof table;
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    for (maker make : makers) {
        execbuf some[2] = {make(one), make(one)};
        for (execbuf &buffer : some) {
            const ULONG64 entry = reinterpret_cast<ULONG64>(buffer.entry);
            ULONG64 base = 0;
            ULONG64 frame = 0;
            void *data = nullptr;
            CONTEXT context;
            RtlCaptureContext(&context);
            RUNTIME_FUNCTION *found = RtlLookupFunctionEntry(entry + 6, &base, nullptr);
            CHECK(found != nullptr);
            context.Rip = entry + 6;
            PEXCEPTION_ROUTINE handler =
                RtlVirtualUnwind(UNW_FLAG_EHANDLER, base, entry + 6, found, &context, &data, &frame, nullptr);
            CHECK(reinterpret_cast<ULONG64>(handler) == entry + 12);
            CHECK(memcmp(data, "data", 4) == 0);
            throw_through(function_of(buffer), 2);
        }
        CHECK(execbuf_free(&some[0]) == EXECBUF_OK && execbuf_free(&some[1]) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

/* ---- Statuses ---- */

static void tables_in_another_format_are_refused() {
    static const uint8_t ret = 0xc3;
    execbuf buffer;
    execbuf_error error;
    execbuf_info info = info_of(EXECBUF_UNWIND_EH_FRAME, 0, 0, 0);
    CHECK(execbuf_new(&buffer, &ret, 1, nullptr) == EXECBUF_OK);
    CHECK(execbuf_describe(&buffer, &info, &error) == EXECBUF_E_UNSUPPORTED &&
          strcmp(error.culprit, "unwind") == 0);
    info = info_of(EXECBUF_UNWIND_UNWIND_INFO, 0, 0, 0);
    CHECK(execbuf_describe(&buffer, &info, &error) == EXECBUF_OK); /* it says nothing */
    static const uint8_t chained[] = {0x21, 0, 0, 0};
    info.table = chained;
    info.table_length = sizeof chained;
    CHECK(execbuf_describe(&buffer, &info, &error) == EXECBUF_E_UNWIND && error.position == 0);
    CHECK(strcmp(error.culprit, "unsupported flags") == 0);
    info = info_of(EXECBUF_UNWIND_NO_FRAME, 0, 0, 0);
    CHECK(execbuf_describe(&buffer, &info, &error) == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
}

static void test_all() {
    RUN(undescribed_code_beside_described_code_has_no_entry);
    RUN(exceptions_pass_through_described_code);
    RUN(the_caller_of_described_code_is_found);
    RUN(handlers_are_found);
    RUN(the_system_knows_described_code_until_it_is_freed);
    RUN(a_new_description_replaces_the_old_one);
    RUN(descriptions_come_and_go);
    RUN(threads_describe_code_in_the_same_span);
    RUN(longjmp_passes_through_described_code);
    RUN(tables_in_another_format_are_refused);
}

int main() {
    RUN(functions_of_a_span_share_a_table);
    test_all();
#if defined(EXECBUF_FAULT_INJECTION)
    RUN(functions_are_registered_alone_after_a_failure);
    growable_fails = true;
    test_all();
#endif
    (void)printf("ok\n");
    return 0;
}

#else

#if defined(EXECBUF_FAULT_INJECTION)
extern "C" int32_t xb_fault(const char *) {
    return 0;
}
#endif

int main() {
    (void)fprintf(stderr, "SKIP: what Windows is told of described code: not Windows on x86-64\n");
    return 0;
}

#endif
