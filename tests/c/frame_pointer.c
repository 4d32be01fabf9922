/* Thunks, dynamic calls and closures with handlers keep a frame pointer: profilers and debuggers that follow
 * the chain of rbp find every caller. And the unwind tables are right at each instruction. run.sh compiles
 * this with -fno-omit-frame-pointer. */

#include "check.h"

#if defined(__x86_64__) && defined(__ELF__)

#include <signal.h>
#include <stdbool.h>
#include <unwind.h>
#if defined(__GLIBC__)
#include <ucontext.h>

#include "which_unwinder.h"
#endif

/* What is at rbp. */
typedef struct frame {
    const struct frame *outer;
    const void *return_address;
} frame;

#define OWN_FRAME ((const frame *)__builtin_frame_address(0))

/* ---- A chain of calls: grand_caller, one of two callers, a thunk, one of two targets ---- */

static const frame *of_caller;
static const frame *of_grand_caller;
static frame of_target;
static frame outside_target;

static void look_at_chain(const frame *target) {
    of_target = *target;
    outside_target = *target->outer;
}

__attribute__((ms_abi, noinline)) static int win64_target(int number) {
    look_at_chain(OWN_FRAME);
    return number + 1;
}

__attribute__((sysv_abi, noinline)) static int sysv64_target(int number) {
    look_at_chain(OWN_FRAME);
    __asm__ volatile("mov $-1, %%rdi; mov $-1, %%rsi" ::: "rdi", "rsi");
    return number + 1;
}

typedef int (*sysv64_function)(int);
typedef int(__attribute__((ms_abi)) * win64_function)(int);

/* They change the result, so that their last instruction is not a jump to the thunk. */
__attribute__((noinline)) static int sysv64_caller(const execbuf *thunk) {
    of_caller = OWN_FRAME;
    return ((sysv64_function)execbuf_entry(thunk, 0))(41) + 1;
}

__attribute__((noinline)) static int win64_caller(const execbuf *thunk) {
    of_caller = OWN_FRAME;
    return ((win64_function)execbuf_entry(thunk, 0))(41) + 1;
}

__attribute__((noinline)) static int grand_caller(const execbuf *thunk, execbuf_abi caller) {
    of_grand_caller = OWN_FRAME;
    return (caller == EXECBUF_ABI_WIN64 ? win64_caller(thunk) : sysv64_caller(thunk)) + 1;
}

/* ---- Thunks ---- */

static execbuf_pool *pool;

static const void *target_of(execbuf_abi callee) {
    win64_function win64 = win64_target;
    sysv64_function sysv64 = sysv64_target;
    const void *address;
    if (callee == EXECBUF_ABI_WIN64) {
        memcpy((void *)&address, (const void *)&win64, sizeof address);
    } else {
        memcpy((void *)&address, (const void *)&sysv64, sizeof address);
    }
    return address;
}

/* Makes a thunk, or publishes one that was emitted. */
static execbuf make(execbuf_abi caller, execbuf_abi callee, bool is_emitted) {
    execbuf thunk;
    uint8_t bytes[1000];
    size_t length;
    const void *target = target_of(callee);
    execbuf_signature *signature = parsed("i(i)");
    if (is_emitted) {
        CHECK(execbuf_thunk_emit(signature, bytes, sizeof bytes, &length, caller, callee, target, NULL) ==
              EXECBUF_OK);
        CHECK(execbuf_pool_publish(pool, &thunk, bytes, length, NULL) == EXECBUF_OK);
    } else {
        CHECK(execbuf_thunk_new(pool, &thunk, signature, caller, callee, target, NULL) == EXECBUF_OK);
    }
    execbuf_signature_free(signature);
    return thunk;
}

static bool is_in_pool(const void *address) {
    execbuf_place place = EXECBUF_PLACE_INIT;
    return execbuf_pool_lookup(pool, &place, address) == EXECBUF_OK;
}

static const execbuf_abi abis[] = {EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};

static void the_chain_of_rbp_contains_every_caller(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (unsigned i = 0; i < 8; i++) {
        execbuf_abi caller = abis[i & 1];
        execbuf_abi callee = abis[i >> 1 & 1];
        execbuf thunk = make(caller, callee, i >= 4);
        CHECK(grand_caller(&thunk, caller) == 44);
        if (caller == callee) { /* the thunk is one jump, so it has no frame */
            CHECK(of_target.outer == of_caller && !is_in_pool(of_target.return_address));
            CHECK(outside_target.outer == of_grand_caller);
        } else {
            CHECK(is_in_pool(of_target.return_address));
            CHECK(outside_target.outer == of_caller && !is_in_pool(outside_target.return_address));
        }
        CHECK(execbuf_free(&thunk) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

/* ---- Dynamic calls ---- */

static execbuf_caller *make_caller(const char *text, execbuf_abi callee) {
    execbuf_caller *caller;
    execbuf_signature *signature = parsed(text);
    CHECK(execbuf_caller_new(&caller, signature, callee, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    return caller;
}

__attribute__((noinline)) static int dynamic_caller(const execbuf_caller *caller, execbuf_abi callee) {
    execbuf_slot argument;
    execbuf_slot result;
    execbuf_function function;
    const void *target = target_of(callee);
    memcpy((void *)&function, (const void *)&target, sizeof function);
    argument.i = 41;
    of_caller = OWN_FRAME;
    execbuf_call(caller, function, &argument, &result);
    return (int)result.i + 1;
}

/* The address of a caller's code, its first member. */
static const uint8_t *code_of(const execbuf_caller *caller) {
    const uint8_t *entry;
    memcpy((void *)&entry, (const void *)caller, sizeof entry);
    return entry;
}

/* execbuf_call itself is compiled without a frame pointer, or as a jump. */
static void the_chain_contains_the_callers_of_dynamic_calls(void) {
    for (unsigned i = 0; i < 2; i++) {
        execbuf_caller *caller = make_caller("i(i)", abis[i]);
        CHECK(dynamic_caller(caller, abis[i]) == 43);
        const uint8_t *return_to = (const uint8_t *)of_target.return_address;
        CHECK(return_to > code_of(caller) && return_to < code_of(caller) + 300);
        CHECK(outside_target.outer == of_caller);
        execbuf_caller_free(caller);
    }
}

/* ---- Closures with handlers ---- */

__attribute__((noinline)) static void handle(void *context, const execbuf_slot *arguments,
                                             execbuf_slot *result) {
    (void)context;
    look_at_chain(OWN_FRAME);
    result->i = arguments[0].i + 1;
    __asm__ volatile("mov $-1, %%rdi; mov $-1, %%rsi" ::: "rdi", "rsi");
}

static execbuf make_closure(execbuf_abi abi) {
    execbuf closure;
    execbuf_signature *signature = parsed("i(i)");
    CHECK(execbuf_closure_new(pool, &closure, signature, abi, handle, NULL, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    return closure;
}

static void the_chain_contains_the_callers_of_closures(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (unsigned i = 0; i < 2; i++) {
        execbuf closure = make_closure(abis[i]);
        CHECK(grand_caller(&closure, abis[i]) == 44);
        CHECK(is_in_pool(of_target.return_address));
        CHECK(outside_target.outer == of_caller && !is_in_pool(outside_target.return_address));
        CHECK(execbuf_free(&closure) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

/* ---- The tables at each instruction ---- */

#if defined(__GLIBC__)

#define TRAP_FLAG 0x100U

static execbuf_place stub;
static execbuf_place adapter;
static const void *return_address; /* of the caller's call */
static bool keeps_more;            /* whether the call preserves rdi and rsi, as Win64 does: */
static unsigned long long rdi;
static unsigned long long rsi;
static const void *dynamic_entry; /* of the adapter of a dynamic call */
static int stub_steps;
static int adapter_steps;
static int frames_found;

static bool is_in(const execbuf_place *place, const void *address) {
    return (uintptr_t)address - (uintptr_t)place->entry < place->length;
}

static _Unwind_Reason_Code check_frame(struct _Unwind_Context *context, void *data) {
    (void)data;
    if ((const void *)_Unwind_GetIP(context) != return_address) { /* NOLINT */
        return _URC_NO_REASON;
    }
    CHECK(_Unwind_GetGR(context, 6) == (uintptr_t)of_caller); /* rbp */
    CHECK(!keeps_more || (_Unwind_GetGR(context, 5) == rdi && _Unwind_GetGR(context, 4) == rsi));
    frames_found++;
    return _URC_END_OF_STACK;
}

/* Runs before each instruction. */
static void step(int number, siginfo_t *info, void *data) {
    (void)number;
    (void)info;
    const ucontext_t *context = (const ucontext_t *)data;
    const void *at = (const void *)context->uc_mcontext.gregs[REG_RIP];
    if (is_in(&stub, at)) {
        if (at == stub.entry) {
            return_address = *(const void *const *)context->uc_mcontext.gregs[REG_RSP];
            rdi = (unsigned long long)context->uc_mcontext.gregs[REG_RDI];
            rsi = (unsigned long long)context->uc_mcontext.gregs[REG_RSI];
        }
        stub_steps++;
    } else if (is_in(&adapter, at)) {
        if (at == dynamic_entry) {
            return_address = *(const void *const *)context->uc_mcontext.gregs[REG_RSP];
            of_caller = (const frame *)context->uc_mcontext.gregs[REG_RBP];
        }
        adapter_steps++;
        (void)_Unwind_Backtrace(check_frame, NULL);
    }
}

static bool can_step(void) {
    struct sigaction action;
    if (unwinder_is_llvms()) {
        (void)fprintf(stderr, "SKIP: unwinding from each instruction: the unwinder is LLVM's\n");
        return false;
    }
    memset(&action, 0, sizeof action);
    action.sa_sigaction = step;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    return true;
}

static void set_trap_flag(void) {
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
}

static void clear_trap_flag(void) {
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(uint64_t)TRAP_FLAG);
}

/* Calls a thunk or a closure, step by step. */
static void check_steps(const execbuf *called, execbuf_abi caller) {
    CHECK(grand_caller(called, caller) == 44);
    stub.size = adapter.size = sizeof stub;
    CHECK(execbuf_pool_lookup(pool, &stub, called->entry) == EXECBUF_OK);
    CHECK(execbuf_pool_lookup(pool, &adapter, of_target.return_address) == EXECBUF_OK);
    stub_steps = adapter_steps = frames_found = 0;
    keeps_more = caller == EXECBUF_ABI_WIN64;
    set_trap_flag();
    int result = grand_caller(called, caller);
    clear_trap_flag();
    CHECK(result == 44);
    if (stub_steps == 0) {
        (void)fprintf(stderr, "SKIP: unwinding from each instruction: this machine does not step\n");
    } else {
        (void)printf("a call of %d instructions in the stub and %d in the adapter\n", stub_steps,
                     adapter_steps);
        CHECK(adapter_steps >= 8 && frames_found == adapter_steps);
    }
}

static void unwinders_find_the_caller_from_each_instruction(void) {
    if (!can_step()) {
        return;
    }
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (unsigned i = 0; i < 4; i++) {
        execbuf_abi caller = abis[i % 2];
        execbuf called = i < 2 ? make(caller, abis[1 - i], false) : make_closure(caller);
        check_steps(&called, caller);
        CHECK(execbuf_free(&called) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

static void unwinders_find_the_caller_of_a_dynamic_call(void) {
    static const char *const texts[] = {"i(i)", "i(illl)", "i(i{[40b]})"};
    if (!can_step()) {
        return;
    }
    memset(&stub, 0, sizeof stub);
    keeps_more = false;
    for (unsigned i = 0; i < 6; i++) {
        static const uint8_t bytes[40] = {0};
        execbuf_slot arguments[4] = {{41}, {0}, {0}, {0}};
        execbuf_slot result;
        execbuf_caller *caller = make_caller(texts[i / 2], abis[i % 2]);
        execbuf_function function;
        const void *target = target_of(abis[i % 2]);
        memcpy((void *)&function, (const void *)&target, sizeof function);
        arguments[1].cp = bytes;
        execbuf_call(caller, function, arguments, &result);
        dynamic_entry = adapter.entry = code_of(caller);
        adapter.length = (uintptr_t)of_target.return_address - (uintptr_t)adapter.entry + 100;
        adapter_steps = frames_found = 0;
        set_trap_flag();
        execbuf_call(caller, function, arguments, &result);
        clear_trap_flag();
        CHECK(result.i == 42);
        if (adapter_steps == 0) {
            (void)fprintf(stderr, "SKIP: unwinding from each instruction: this machine does not step\n");
        } else {
            (void)printf("%s: a call of %d instructions in the adapter\n", texts[i / 2], adapter_steps);
            CHECK(adapter_steps >= 8 && frames_found == adapter_steps);
        }
        execbuf_caller_free(caller);
    }
}

#endif

int main(void) {
    RUN(the_chain_of_rbp_contains_every_caller);
    RUN(the_chain_contains_the_callers_of_dynamic_calls);
    RUN(the_chain_contains_the_callers_of_closures);
#if defined(__GLIBC__)
    RUN(unwinders_find_the_caller_from_each_instruction);
    RUN(unwinders_find_the_caller_of_a_dynamic_call);
#else
    (void)fprintf(stderr, "SKIP: the tables at each instruction: no libgcc for this C library\n");
#endif
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr,
                  "SKIP: frame pointers of thunks: there are no thunks here, or no chain to follow\n");
    return 0;
}

#endif
