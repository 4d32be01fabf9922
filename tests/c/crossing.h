/* The fixed part of the programs that tests/thunk.rs generates: calls through thunks, with all that they must
 * keep looked at. Each program's functions are compiled as the compilers themselves see the two conventions.
 */
#ifndef CROSSING_H
#define CROSSING_H

#include <stdarg.h>

#include "check.h"

#define SYSV64 __attribute__((sysv_abi))
#define WIN64 __attribute__((ms_abi))
#define MOST 127

/* Compilers have builtins for the convention that is not the system's. */
#if defined(_WIN32)
#define WIN64_LIST va_list
#define WIN64_START va_start
#define WIN64_ARGUMENT va_arg
#define SYSV64_LIST __builtin_sysv_va_list
#define SYSV64_START __builtin_sysv_va_start
#define SYSV64_ARGUMENT __builtin_va_arg
#else
#define SYSV64_LIST va_list
#define SYSV64_START va_start
#define SYSV64_ARGUMENT va_arg
#define WIN64_LIST __builtin_ms_va_list
#define WIN64_START __builtin_ms_va_start
#define WIN64_ARGUMENT __builtin_va_arg
#endif

/* What the current call's arguments and result are, all 64 bits of each: the upper bits of small integers are
 * dirty, and volatile keeps compilers from cleaning them. */
static volatile uint64_t sent[MOST];
static volatile uint64_t sent_result;
/* What the target got, small integers widened by its compiler, floats as their bits. */
static uint64_t got[MOST];
static unsigned got_count;
static unsigned is_aligned;

static inline uint64_t bits_of_f64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint64_t bits_of_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double f64_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float f32_of(uint64_t bits) {
    uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof value);
    return value;
}

/* In a target, after it has stored its arguments: looks at the alignment of its stack, and overwrites what
 * its convention lets it overwrite. */
#define LOOK_AT_STACK(count)                                                                                 \
    do {                                                                                                     \
        _Alignas(16) volatile char probe[16] = {0};                                                          \
        uintptr_t address = (uintptr_t)probe;                                                                \
        __asm__ volatile("" : "+r"(address));                                                                \
        is_aligned = address % 16 == 0;                                                                      \
        got_count = (count);                                                                                 \
    } while (0)

#define CLOBBER_VECTORS_0_TO_5                                                                               \
    "pcmpeqd %%xmm0, %%xmm0\n\tmovaps %%xmm0, %%xmm1\n\tmovaps %%xmm0, %%xmm2\n\tmovaps %%xmm0, %%xmm3\n\t"  \
    "movaps %%xmm0, %%xmm4\n\tmovaps %%xmm0, %%xmm5\n\t"
#define CLOBBER_VECTORS_6_TO_15                                                                              \
    "movaps %%xmm0, %%xmm6\n\tmovaps %%xmm0, %%xmm7\n\tmovaps %%xmm0, %%xmm8\n\tmovaps %%xmm0, %%xmm9\n\t"   \
    "movaps %%xmm0, %%xmm10\n\tmovaps %%xmm0, %%xmm11\n\tmovaps %%xmm0, %%xmm12\n\t"                         \
    "movaps %%xmm0, %%xmm13\n\tmovaps %%xmm0, %%xmm14\n\tmovaps %%xmm0, %%xmm15\n\t"
#define CLOBBER_BOTH                                                                                         \
    "movq $-1, %%rax\n\tmovq %%rax, %%rcx\n\tmovq %%rax, %%rdx\n\tmovq %%rax, %%r8\n\t"                      \
    "movq %%rax, %%r9\n\tmovq %%rax, %%r10\n\tmovq %%rax, %%r11\n\t"
#define BOTH_LIST                                                                                            \
    "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5"

#define CLOBBER_SYSV64()                                                                                     \
    __asm__ volatile(CLOBBER_BOTH CLOBBER_VECTORS_0_TO_5 CLOBBER_VECTORS_6_TO_15                             \
                     "movq %%rax, %%rdi\n\tmovq %%rax, %%rsi"                                                \
                     :                                                                                       \
                     :                                                                                       \
                     : BOTH_LIST, "rdi", "rsi", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",   \
                       "xmm13", "xmm14", "xmm15")
#define CLOBBER_WIN64() __asm__ volatile(CLOBBER_BOTH CLOBBER_VECTORS_0_TO_5 : : : BOTH_LIST)

/* The registers that both conventions preserve, then rdi and rsi, then xmm6 to xmm15: as they were before a
 * call, as they are set for it, and as they are after it. */
typedef struct registers {
    uint64_t general[8];
    uint64_t vector[10][2];
} registers;

__attribute__((used)) registers registers_before;
__attribute__((used)) registers registers_set;
__attribute__((used)) registers registers_after;
__attribute__((used)) void *wrapped;
__attribute__((used)) void *wrapped_return;

/* Functions of any type, which call wrapped with the stack as it is, the registers set: so the return address
 * is kept aside meanwhile. */
void wrapper_sysv64(void);
void wrapper_win64(void);

#define GENERAL(each, where)                                                                                 \
    each("rbx", where, "0") each("rbp", where, "8") each("r12", where, "16") each("r13", where, "24")        \
        each("r14", where, "32") each("r15", where, "40")
#define MORE(each, where) each("rdi", where, "48") each("rsi", where, "56")
#define VECTORS(each, where)                                                                                 \
    each("xmm6", where, "64") each("xmm7", where, "80") each("xmm8", where, "96") each("xmm9", where, "112") \
        each("xmm10", where, "128") each("xmm11", where, "144") each("xmm12", where, "160")                  \
            each("xmm13", where, "176") each("xmm14", where, "192") each("xmm15", where, "208")
#define STORE(reg, where, offset) "movq %" reg ", " where "+" offset "(%rip)\n\t"
#define LOAD(reg, where, offset) "movq " where "+" offset "(%rip), %" reg "\n\t"
#define STORE_VECTOR(reg, where, offset) "movups %" reg ", " where "+" offset "(%rip)\n\t"
#define LOAD_VECTOR(reg, where, offset) "movups " where "+" offset "(%rip), %" reg "\n\t"
#define CALL "popq wrapped_return(%rip)\n\t"
#define RETURN "jmp *wrapped_return(%rip)\n\t"

__asm__(".text\n\t.globl wrapper_sysv64\nwrapper_sysv64:\n\t" CALL GENERAL(STORE, "registers_before")
            GENERAL(LOAD, "registers_set") "call *wrapped(%rip)\n\t" GENERAL(STORE, "registers_after")
                GENERAL(LOAD, "registers_before") RETURN);
__asm__(".text\n\t.globl wrapper_win64\nwrapper_win64:\n\t" CALL GENERAL(STORE, "registers_before")
            MORE(STORE, "registers_before") VECTORS(STORE_VECTOR, "registers_before")
                GENERAL(LOAD, "registers_set") MORE(LOAD, "registers_set")
                    VECTORS(LOAD_VECTOR, "registers_set") "call *wrapped(%rip)\n\t" GENERAL(STORE,
                                                                                            "registers_after")
                        MORE(STORE, "registers_after") VECTORS(STORE_VECTOR, "registers_after")
                            GENERAL(LOAD, "registers_before") MORE(LOAD, "registers_before")
                                VECTORS(LOAD_VECTOR, "registers_before") RETURN);

static uint64_t seed = SEED;

/* SplitMix64. */
static inline uint64_t some_bits(void) {
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static execbuf thunk;

/* Publishes a thunk, and chooses arguments. Returns a function that calls it and sees to the registers. */
static inline void (*prepare(const char *text, execbuf_abi entered, execbuf_abi abi,
                             void (*target)(void)))(void) {
    execbuf_signature signature;
    uint8_t code[4096];
    size_t length;
    const void *address;
    memcpy(&address, &target, sizeof address);
    CHECK(execbuf_signature_parse(&signature, text, NULL) == EXECBUF_OK);
    CHECK(execbuf_thunk_emit(code, sizeof code, &length, &signature, entered, abi, address, NULL) ==
          EXECBUF_OK);
    CHECK(execbuf_new(&thunk, code, length, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < MOST; i++) {
        sent[i] = some_bits();
        got[i] = ~sent[i];
    }
    sent_result = some_bits();
    for (size_t i = 0; i < sizeof registers_set / 8; i++) {
        ((uint64_t *)&registers_set)[i] = some_bits();
    }
    memset(&registers_after, 0, sizeof registers_after);
    got_count = MOST + 1;
    wrapped = (void *)(uintptr_t)thunk.entry;
    void (*function)(void) = entered == EXECBUF_ABI_WIN64 ? wrapper_win64 : wrapper_sysv64;
    /* Compilers that know the function would call it by its own convention. */
    __asm__ volatile("" : "+r"(function));
    return function;
}

static inline void expect(const char *text, unsigned number, uint64_t is, uint64_t wanted) {
    if (is != wanted) {
        (void)fprintf(stderr, "%s: %s %u is %llx and not %llx\n", text, number == 0 ? "result" : "argument",
                      number, (unsigned long long)is, (unsigned long long)wanted);
        exit(1);
    }
}

static inline void conclude(const char *text, unsigned count, execbuf_abi entered) {
    size_t kept = entered == EXECBUF_ABI_WIN64 ? sizeof registers_set : 6 * sizeof(uint64_t);
    if (got_count != count || !is_aligned || memcmp(&registers_set, &registers_after, kept) != 0) {
        (void)fprintf(stderr, "%s: %s\n", text,
                      got_count != count ? "the target was not called"
                      : !is_aligned      ? "its stack is not aligned"
                                         : "a register was not preserved");
        exit(1);
    }
    CHECK(execbuf_free(&thunk) == EXECBUF_OK);
}

#endif
