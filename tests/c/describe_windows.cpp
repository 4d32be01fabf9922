/* On Windows, exceptions pass through described code, whatever describes it, and the system knows it as long
 * as it lives. */

#include "check.h"

#if defined(_WIN32) && defined(__x86_64__)

#include <csetjmp>
#include <windows.h>

#include "describe_throw.h"

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

int main() {
    RUN(exceptions_pass_through_described_code);
    RUN(the_caller_of_described_code_is_found);
    RUN(the_system_knows_described_code_until_it_is_freed);
    RUN(a_new_description_replaces_the_old_one);
    RUN(descriptions_come_and_go);
    RUN(longjmp_passes_through_described_code);
    RUN(tables_in_another_format_are_refused);
    (void)printf("ok\n");
    return 0;
}

#else

int main() {
    (void)fprintf(stderr, "SKIP: what Windows is told of described code: not Windows on x86-64\n");
    return 0;
}

#endif
