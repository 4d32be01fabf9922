/* Exceptions, longjmp and backtraces pass through thunks. Each call crosses two of them: this program calls a
 * thunk to the other convention, and that code calls a thunk back to a function of this program. */

#include "check.h"

#if defined(__x86_64__)

#include <csetjmp>

#if defined(_WIN32)
#include <windows.h>
#else
#include <unwind.h>
#endif
#if defined(__GLIBC__)
#include <execinfo.h>

#include "which_unwinder.h"
#endif

#if defined(_WIN32)
static const execbuf_abi FOREIGN = EXECBUF_ABI_SYSV64;
#else
static const execbuf_abi FOREIGN = EXECBUF_ABI_WIN64;
#endif

typedef double (*function)(double);

static execbuf_pool *pool; /* of the thunks; null: the library's own */
static execbuf there;      /* this program calls it, with its own convention */
static execbuf back;       /* called with the other convention, calls the target in this program */
static execbuf clobber;    /* the code between the two thunks */

/* Publishes code that jumps to back. On Windows it first overwrites the registers that Win64 preserves and
 * System V does not. It ends in a jump, so it needs no frame. */
static void publish_clobber() {
    uint8_t code[160];
    size_t length = 0;
#if defined(_WIN32)
    for (uint8_t i = 6; i < 8; i++) {
        const uint8_t clear[] = {0x0f, 0x57, (uint8_t)(0xc0 | i << 3 | i)}; /* xorps xmm, xmm; 6 and 7 */
        memcpy(code + length, clear, sizeof clear);
        length += sizeof clear;
    }
    for (uint8_t i = 0; i < 8; i++) {
        const uint8_t clear[] = {0x45, 0x0f, 0x57,
                                 (uint8_t)(0xc0 | i << 3 | i)}; /* xorps xmm, xmm; 8 to 15 */
        memcpy(code + length, clear, sizeof clear);
        length += sizeof clear;
    }
    const uint8_t general[] = {
        0x31, 0xff, /* xor edi, edi */
        0x31, 0xf6, /* xor esi, esi */
    };
    memcpy(code + length, general, sizeof general);
    length += sizeof general;
#endif
    const uint8_t mov[] = {0x48, 0xb8}; /* mov rax, back */
    memcpy(code + length, mov, sizeof mov);
    memcpy(code + length + 2, &back.entry, 8);
    const uint8_t jmp[] = {0xff, 0xe0}; /* jmp rax */
    memcpy(code + length + 10, jmp, sizeof jmp);
    CHECK(execbuf_new(&clobber, code, length + 12, nullptr) == EXECBUF_OK);
}

static void make_thunks_of(const execbuf_signature *signature, const void *target) {
    CHECK(execbuf_thunk_new(pool, &back, signature, FOREIGN, EXECBUF_ABI_NATIVE, target, nullptr) ==
          EXECBUF_OK);
    publish_clobber();
    CHECK(execbuf_thunk_new(pool, &there, signature, EXECBUF_ABI_NATIVE, FOREIGN, clobber.entry, nullptr) ==
          EXECBUF_OK);
}

static void make_thunks(function target) {
    static const execbuf_type number = EXECBUF_SCALAR(EXECBUF_TYPE_F64);
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_F64), &number, 1);
    make_thunks_of(&signature, reinterpret_cast<const void *>(target));
}

static void free_thunks() {
    CHECK(execbuf_free(&there) == EXECBUF_OK && execbuf_free(&clobber) == EXECBUF_OK &&
          execbuf_free(&back) == EXECBUF_OK);
}

static double cross(double number) {
    return reinterpret_cast<function>(execbuf_entry(&there, 0))(number);
}

/* Values that are kept across a call that does not return normally. They are more than there are preserved
 * registers, and the compiler does not know them, so each preserved register contains one. */
#define IN_REGISTERS                                                                                         \
    __asm__ volatile("" : "+x"(d0), "+x"(d1), "+x"(d2), "+x"(d3), "+x"(d4), "+x"(d5), "+x"(d6), "+x"(d7));   \
    __asm__ volatile("" : "+r"(n0), "+r"(n1), "+r"(n2), "+r"(n3), "+r"(n4))
#define HOLD_VALUES                                                                                          \
    double d0 = 1.5, d1 = 2.5, d2 = 3.5, d3 = 4.5, d4 = 5.5, d5 = 6.5, d6 = 7.5, d7 = 8.5;                   \
    long n0 = 7, n1 = 14, n2 = 21, n3 = 28, n4 = 35;                                                         \
    IN_REGISTERS
#define CHECK_VALUES                                                                                         \
    IN_REGISTERS;                                                                                            \
    CHECK(d0 == 1.5 && d1 == 2.5 && d2 == 3.5 && d3 == 4.5 && d4 == 5.5 && d5 == 6.5 && d6 == 7.5);          \
    CHECK(d7 == 8.5 && n0 == 7 && n1 == 14 && n2 == 21 && n3 == 28 && n4 == 35)

/* ---- Exceptions ---- */

struct surprise {
    double number;
};

static double thrower(double number) {
    throw surprise{number};
}

static int destroyed;
struct guard {
    ~guard() {
        destroyed++;
    }
};

__attribute__((noinline)) static double catcher() {
    double caught = 0;
    HOLD_VALUES;
    try {
        guard kept;
        caught = cross(2.5);
    } catch (const surprise &thrown) {
        caught = thrown.number;
    }
    CHECK_VALUES;
    return caught;
}

/* Frames with copies of values, and with memory for a result. No value is in a register that publish_clobber
 * overwrites. */
struct mixed {
    double number;
    double other;
};
struct large {
    unsigned char bytes[200];
};
typedef mixed (*mixed_function)(large, mixed, double);

static mixed mixed_target(large first, mixed second, double throws) {
    if (throws != 0) {
        throw surprise{first.bytes[199] + second.number};
    }
    return mixed{second.number, second.other + first.bytes[0]};
}

__attribute__((noinline)) static double call_mixed(double throws) {
    double result = 0;
    large first;
    memset(&first, 9, sizeof first);
    HOLD_VALUES;
    try {
        guard kept;
        mixed made = reinterpret_cast<mixed_function>(execbuf_entry(&there, 0))(first, mixed{0.5, 7}, throws);
        result = made.number + made.other;
    } catch (const surprise &thrown) {
        result = -thrown.number;
    }
    CHECK_VALUES;
    return result;
}

static void exceptions_pass_through_thunks_that_copy_values() {
    execbuf_signature *signature = parsed("{dd}({[200B]}{dd}d)");
    make_thunks_of(signature, reinterpret_cast<const void *>(mixed_target));
    execbuf_signature_free(signature);
    for (int i = 0; i < 3; i++) {
        CHECK(call_mixed(0) == 16.5 && call_mixed(1) == -9.5);
    }
    free_thunks();
}

static void exceptions_pass_through_thunks() {
    make_thunks(thrower);
    for (int i = 1; i <= 3; i++) {
        CHECK(catcher() == 2.5 && destroyed == i);
    }
    free_thunks();
    make_thunks(thrower); /* possibly at the addresses of the old ones */
    CHECK(catcher() == 2.5);
    free_thunks();
}

/* ---- longjmp ---- */

static std::jmp_buf place;

static double jumper(double number) {
    std::longjmp(place, (int)number);
}

/* Calls setjmp. The values are in the caller's registers, which setjmp saves. */
__attribute__((noinline)) static int jumped() {
    int got = setjmp(place);
    if (got == 0) {
        (void)cross(3);
        CHECK(false);
    }
    return got;
}

static void longjmp_passes_through_thunks() {
    make_thunks(jumper);
    HOLD_VALUES;
    int got = jumped();
    CHECK_VALUES;
    CHECK(got == 3);
    free_thunks();
}

/* ---- Backtraces ---- */

static void *return_address;

#if defined(_WIN32) || defined(__GLIBC__)
static bool contains(void *const *frames, int depth, const void *address) {
    for (int i = 0; i < depth; i++) {
        if (frames[i] == address) {
            return true;
        }
    }
    return false;
}
#endif

#if defined(_WIN32)

static bool is_seen() {
    void *frames[60];
    int depth = RtlCaptureStackBackTrace(0, 60, frames, nullptr);
    return contains(frames, depth, return_address);
}

#else

static _Unwind_Reason_Code visit(_Unwind_Context *context, void *found) {
    void *address = reinterpret_cast<void *>(_Unwind_GetIP(context)); // NOLINT: it gives an integer
    *static_cast<bool *>(found) = *static_cast<bool *>(found) || address == return_address;
    return _URC_NO_REASON;
}

static bool is_seen() {
    bool found = false;
    (void)_Unwind_Backtrace(visit, &found);
    return found;
}

#endif

static bool seen;
static double tracer(double number) {
    seen = is_seen();
    return number;
}

__attribute__((noinline)) static double traced() {
    return_address = __builtin_return_address(0);
    double got = cross(4) + 1;
    __asm__ volatile("" : "+x"(got));
    return got;
}

/* The backtrace continues beyond the thunks: it contains the return address of traced. */
static void unwinders_pass_through_thunks() {
    make_thunks(tracer);
    CHECK(traced() == 5 && seen);
    free_thunks();
}

#if defined(__GLIBC__)

static double backtracer(double number) {
    void *frames[64];
    seen = contains(frames, backtrace(frames, 64), return_address);
    return number;
}

/* As unwinders_pass_through_thunks, with backtrace of glibc. That function uses the shared library of libgcc,
 * which is not always the unwinder of the program. */
static void backtrace_passes_through_thunks() {
    if (!unwinder_is_that_of_glibc()) {
        (void)fprintf(stderr, "SKIP: backtrace(): the unwinder of the program is not libgcc's library\n");
        return;
    }
    make_thunks(backtracer);
    CHECK(traced() == 5 && seen);
    free_thunks();
}

#endif

#if defined(__ELF__)

/* ---- Unwind tables of users ---- */

extern "C" {
void __register_frame_info(const void *, void *);          // NOLINT: libgcc's names
void *__deregister_frame_info(const void *);               // NOLINT
const void *_Unwind_Find_FDE(const void *, void *const *); // NOLINT
}
#pragma weak __register_frame_info
#pragma weak __deregister_frame_info
#pragma weak _Unwind_Find_FDE

/* A user registers tables for code in the pool of the thunks. All code is found. */
static void tables_of_users_and_thunks_do_not_hide_each_other() {
    if (__register_frame_info == nullptr || __deregister_frame_info == nullptr ||
        _Unwind_Find_FDE == nullptr) {
        (void)fprintf(stderr, "SKIP: unwind tables of users: the unwinder is not libgcc's\n");
        return;
    }
    alignas(8) static uint8_t tables[8][64];
    static const uint8_t start[] = {
        20,   0, 0, 0, 0,  0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0, /* the CIE */
        0x0c, 7, 8,                                                    /* DW_CFA_def_cfa rsp, 8 */
        0x90, 1, 0, 0,                                                 /* DW_CFA_offset 16, 1 */
        28,   0, 0, 0, 28, 0, 0, 0,                                    /* the FDE */
    };
    static const uint8_t ret = 0xc3;
    uint64_t objects[8][8];
    execbuf users[8];
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    make_thunks(thrower);
    for (int i = 0; i < 8; i++) {
        CHECK(execbuf_pool_publish(pool, &users[i], &ret, 1, nullptr) == EXECBUF_OK);
        memcpy(tables[i], start, sizeof start);
        memcpy(tables[i] + 32, &users[i].entry, 8);
        memcpy(tables[i] + 40, &users[i].length, 8);
        __register_frame_info(tables[i], objects[i]);
        void *bases[3];
        CHECK(_Unwind_Find_FDE(users[i].entry, bases) == tables[i] + 24 && catcher() == 2.5);
    }
    free_thunks();
    make_thunks(thrower);
    CHECK(catcher() == 2.5);
    for (int i = 0; i < 8; i++) {
        void *bases[3];
        CHECK(_Unwind_Find_FDE(users[i].entry, bases) == tables[i] + 24);
        (void)__deregister_frame_info(tables[i]);
        CHECK(execbuf_free(&users[i]) == EXECBUF_OK);
    }
    free_thunks();
    execbuf_pool_free(pool);
    pool = nullptr;
}

#endif

int main() {
    RUN(exceptions_pass_through_thunks);
    RUN(exceptions_pass_through_thunks_that_copy_values);
    RUN(longjmp_passes_through_thunks);
    RUN(unwinders_pass_through_thunks);
#if defined(__ELF__)
    RUN(tables_of_users_and_thunks_do_not_hide_each_other);
#endif
#if defined(__GLIBC__)
    RUN(backtrace_passes_through_thunks);
#endif
    (void)printf("ok\n");
    return 0;
}

#else

int main() {
    (void)fprintf(stderr, "SKIP: unwinding through thunks: there are none here\n");
    return 0;
}

#endif
