/* The part of the programs of tests/thunk_compilers that is not generated; see crossing.h. SEED is the seed
 * of the random numbers. */

#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include <stdbool.h>

#include "crossing.h"

#include "check.h"
#include "crossing_registers.h"

#if !defined(_WIN32)
#include <sys/mman.h>
#endif

volatile uint64_t sent[EXECBUF_MAX_ARGUMENTS];
volatile uint64_t sent_result;
uint64_t got[EXECBUF_MAX_ARGUMENTS];
uint8_t sent_values[EXECBUF_MAX_ARGUMENTS + 1][MAX_VALUE];
uint8_t got_values[EXECBUF_MAX_ARGUMENTS + 1][MAX_VALUE];
unsigned got_count;
unsigned is_aligned;
unsigned misaligned;
int shares;

static uint64_t seed = SEED;

/* SplitMix64. */
static uint64_t some_bits(void) {
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static execbuf_signature *signature; /* that of caller and target */
static const char *text_of_signature;
static execbuf_abi caller_abi;
static const char *caller_name;

/* Where the target gets the context of a closure in place of what is sent, and the context. */
static uint64_t context;
static unsigned context_position = EXECBUF_MAX_ARGUMENTS; /* or there is no closure */

/* Chooses the arguments and the result of a call at random, and forgets those of the last one. */
static void choose(const char *text) {
    execbuf_signature_free(signature);
    signature = parsed(text);
    text_of_signature = text;
    for (size_t i = 0; i < EXECBUF_MAX_ARGUMENTS; i++) {
        sent[i] = some_bits();
        got[i] = ~sent[i];
    }
    for (size_t i = 0; i <= EXECBUF_MAX_ARGUMENTS; i++) {
        for (size_t at = 0; at < MAX_VALUE; at++) {
            sent_values[i][at] = (uint8_t)(some_bits() >> 8);
            got_values[i][at] = (uint8_t)~sent_values[i][at];
        }
    }
    sent_result = some_bits();
    for (size_t i = 0; i < sizeof registers_set / 8; i++) {
        ((uint64_t *)&registers_set)[i] = some_bits();
    }
    memset(&registers_after, 0, sizeof registers_after);
    got_count = EXECBUF_MAX_ARGUMENTS + 1;
    misaligned = 0;
}

/* Widens the low bits of a value as its type says. */
static uint64_t widened(int32_t type, uint64_t bits) {
    switch (type) {
    case EXECBUF_TYPE_VOID: return 0;
    case EXECBUF_TYPE_BOOL: return bits & 1;
    case EXECBUF_TYPE_I8: return (uint64_t)(int8_t)bits;
    case EXECBUF_TYPE_U8: return (uint8_t)bits;
    case EXECBUF_TYPE_I16: return (uint64_t)(int16_t)bits;
    case EXECBUF_TYPE_U16: return (uint16_t)bits;
    case EXECBUF_TYPE_I32: return (uint64_t)(int32_t)bits;
    case EXECBUF_TYPE_U32:
    case EXECBUF_TYPE_F32: return (uint32_t)bits;
    default: return bits;
    }
}

static void expect(unsigned number, int32_t type, uint64_t is, uint64_t bits) {
    uint64_t wanted = widened(type, bits);
    if (is != wanted) {
        (void)fprintf(stderr, "%s called by %s: %s %u is %llx and not %llx\n", text_of_signature, caller_name,
                      number == 0 ? "result" : "argument", number, (unsigned long long)is,
                      (unsigned long long)wanted);
        exit(1);
    }
}

static void fail_value(unsigned number, size_t at) {
    (void)fprintf(stderr, "%s called by %s: byte %zu of %s %u is %02x and not %02x\n", text_of_signature,
                  caller_name, at, number == 0 ? "result" : "argument", number, got_values[number][at],
                  sent_values[number][at]);
    exit(1);
}

void check_value(unsigned number, const char *mask) {
    for (size_t at = 0; mask[at] != '\0'; at++) {
        if (mask[at] == '1' && got_values[number][at] != sent_values[number][at]) {
            fail_value(number, at);
        }
    }
}

/* ---- Ends of pages ---- */

enum { PAGE = 65536, BEFORE = 32 }; /* PAGE is a multiple of any page's size */

/* Reserves two pages, of which the second cannot be accessed. */
static uint8_t *two_pages(void) {
#if defined(_WIN32)
    uint8_t *start = VirtualAlloc(NULL, 2 * PAGE, MEM_RESERVE, PAGE_NOACCESS);
    CHECK(start != NULL && VirtualAlloc(start, PAGE, MEM_COMMIT, PAGE_READWRITE) == start);
    return start;
#else
    uint8_t *start =
        (uint8_t *)mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(start != MAP_FAILED && mprotect(start + PAGE, PAGE, PROT_NONE) == 0);
    return start;
#endif
}

void *at_end(unsigned number, size_t size) {
    static uint8_t *pages[EXECBUF_MAX_ARGUMENTS + 1];
    if (pages[number] == NULL) {
        pages[number] = two_pages();
    }
    uint8_t *value = pages[number] + PAGE - size;
    if (number != 0) {
        memcpy(value, sent_values[number], size);
    } else {
        memcpy(value, got_values[0], size);
        memset(value - BEFORE, 0x5a, BEFORE);
    }
    return value;
}

void check_address(const void *returned, const void *where) {
    const uint8_t *value = (const uint8_t *)where;
    for (int i = 1; i <= BEFORE; i++) {
        CHECK(value[-i] == 0x5a);
    }
    if (returned != where) {
        (void)fprintf(stderr, "%s: the result's address is not returned\n", text_of_signature);
        exit(1);
    }
}

/* Checks all but values that are no words. */
static void check_call(uint64_t result) {
    size_t kept_size = size_of_preserved(caller_abi);
    if (got_count != signature->count || !is_aligned || misaligned != 0 ||
        memcmp(&registers_set, &registers_after, kept_size) != 0) {
        (void)fprintf(stderr, "%s called by %s: %s\n", text_of_signature, caller_name,
                      got_count != signature->count ? "the target was not called"
                      : !is_aligned                 ? "its stack is not aligned"
                      : misaligned != 0             ? "a value is not aligned"
                                                    : "a register was not preserved");
        exit(1);
    }
    if (signature->result.kind < EXECBUF_TYPE_I128) {
        expect(0, signature->result.kind, result, sent_result);
    }
    for (unsigned i = 0; i < signature->count; i++) {
        if (signature->arguments[i].kind < EXECBUF_TYPE_I128) {
            uint64_t wanted = i == context_position ? context : sent[i];
            expect(i + 1, signature->arguments[i].kind, got[i], wanted);
        }
    }
}

/* ---- Thunks and closures ---- */

#if defined(__x86_64__)

static execbuf thunk;

/* The last thunks made by execbuf_thunk_new. */
static execbuf kept[64];
static size_t next_kept;

static void make_thunk(const char *text, const void *target) {
    uint8_t code[4096];
    size_t length;
    execbuf_abi callee_abi = caller_abi == EXECBUF_ABI_SYSV64 ? EXECBUF_ABI_WIN64 : EXECBUF_ABI_SYSV64;
    execbuf_signature *moved = parsed(text);
    if (shares) {
        CHECK(execbuf_thunk_new(NULL, &thunk, moved, caller_abi, callee_abi, target, NULL) == EXECBUF_OK);
    } else {
        CHECK(execbuf_thunk_emit(moved, code, sizeof code, &length, caller_abi, callee_abi, target, NULL) ==
              EXECBUF_OK);
        CHECK(execbuf_new(&thunk, code, length, NULL) == EXECBUF_OK);
    }
    execbuf_signature_free(moved);
}

static void free_thunk(void) {
    if (shares) {
        CHECK(execbuf_free(&kept[next_kept]) == EXECBUF_OK);
        kept[next_kept] = thunk;
        next_kept = (next_kept + 1) % (sizeof kept / sizeof kept[0]);
    } else {
        CHECK(execbuf_free(&thunk) == EXECBUF_OK);
    }
}

#define WRAPPER_WIN64 wrapper_win64
#define WRAPPER_SYSV64 wrapper_sysv64
#else
static execbuf thunk; /* there is none */
static void make_thunk(const char *text, const void *target) {
    (void)text;
    (void)target;
}
static void free_thunk(void) {}
#define WRAPPER_WIN64 wrapper_native
#define WRAPPER_SYSV64 wrapper_native
#endif

/* A closure that calls the thunk with another pointer, or the target if there is no thunk; and a function
 * that drops the pointer before. */
static execbuf closure;
static execbuf shorter;
static bool has_thunk;

/* Chooses what the caller sends.
 *
 * Returns: the wrapper of the code that it calls. */
static void (*choose_for(const char *text, const void *code))(void) {
    caller_name = caller_abi == EXECBUF_ABI_WIN64    ? "Win64"
                  : caller_abi == EXECBUF_ABI_SYSV64 ? "System V"
                                                     : "this system";
    choose(text);
    wrapped = (void *)(uintptr_t)code;
    return caller_abi == EXECBUF_ABI_WIN64    ? WRAPPER_WIN64
           : caller_abi == EXECBUF_ABI_SYSV64 ? WRAPPER_SYSV64
                                              : wrapper_native;
}

#if defined(__x86_64__)

void (*prepare(const char *text, const char *moved, execbuf_abi caller, void (*target)(void)))(void) {
    const void *address;
    memcpy(&address, (const void *)&target, sizeof address);
    caller_abi = caller;
    has_thunk = true;
    make_thunk(moved, address);
    return choose_for(text, thunk.entry);
}
#endif

void (*prepare_closure(const char *text, execbuf_abi caller, void (*target)(void), unsigned position,
                       int drops))(void) {
    const void *address;
    execbuf_signature *longer = parsed(text);
    memcpy(&address, (const void *)&target, sizeof address);
    caller_abi = caller;
    context = some_bits();
    context_position = position;
    has_thunk = caller != EXECBUF_ABI_NATIVE;
    if (has_thunk) {
        make_thunk(text, address);
    }
    CHECK(execbuf_bind(NULL, &closure, longer, caller, has_thunk ? execbuf_entry(&thunk, 0) : target,
                       (void *)(uintptr_t)context, position, NULL) == EXECBUF_OK);
    if (drops) {
        CHECK(execbuf_drop_argument(NULL, &shorter, longer, caller, execbuf_entry(&closure, 0), position,
                                    NULL) == EXECBUF_OK);
    }
    execbuf_signature_free(longer);
    return choose_for(text, drops ? shorter.entry : closure.entry);
}

void (*prepare_shorter(const char *longer, const char *text, execbuf_abi caller, void (*target)(void),
                       unsigned position))(void) {
    execbuf_signature *of_caller = parsed(longer);
    caller_abi = caller;
    has_thunk = false;
    CHECK(execbuf_drop_argument(NULL, &shorter, of_caller, caller, target, position, NULL) == EXECBUF_OK);
    execbuf_signature_free(of_caller);
    return choose_for(text, shorter.entry);
}

void conclude(uint64_t result) {
    check_call(result);
    CHECK(execbuf_free(&shorter) == EXECBUF_OK && execbuf_free(&closure) == EXECBUF_OK);
    context_position = EXECBUF_MAX_ARGUMENTS;
    if (has_thunk) {
        free_thunk();
    }
}

#include "crossing_handlers.h"

/* ---- Packed calls ---- */

static execbuf_caller *packed;
static execbuf_slot *slots;
static size_t slot_count;
static execbuf_slot slots_before[2 * EXECBUF_MAX_ARGUMENTS];
static uint64_t packed_result;

/* Whether a value is compared as a word. */
static int is_word(const execbuf_type *type) {
    return type->kind < EXECBUF_TYPE_I128;
}

/* Writes an argument to its slots. */
static void pack(unsigned index) {
    size_t size;
    const execbuf_type *type = &signature->arguments[index];
    execbuf_slot *slot = &slots[execbuf_caller_argument(packed, index, &size)];
    if (type->kind == EXECBUF_TYPE_BOOL) {
        slot->u = (sent[index] & ~(uint64_t)0xff) | (sent[index] & 1);
    } else if (is_word(type)) {
        slot->u = sent[index];
    } else if (size > 16) {
        slot->p = at_end(index + 1, size);
    } else {
        memcpy(slot, sent_values[index + 1], size > 8 ? 16 : 8);
    }
}

/* Checks that the call has changed neither slots nor values. */
static void check_packed(void) {
    CHECK(memcmp(slots, slots_before, slot_count * sizeof *slots) == 0);
    for (unsigned i = 0; i < signature->count; i++) {
        size_t size;
        const execbuf_slot *slot = &slots[execbuf_caller_argument(packed, i, &size)];
        CHECK(size <= 16 || memcmp(slot->p, sent_values[i + 1], size) == 0);
    }
}

void call_packed(const char *text, execbuf_abi abi, void (*target)(void)) {
    static uint8_t *page;
    typedef void function(const execbuf_caller *, execbuf_function, const execbuf_slot *, execbuf_slot *);
    function *call_it = execbuf_call;
    size_t results;
    caller_abi = NATIVE_ABI;
    caller_name = "execbuf_call";
    choose(text);
    CHECK(execbuf_caller_new(&packed, signature, abi, NULL) == EXECBUF_OK);
    execbuf_caller_slots(packed, &slot_count, &results);
    CHECK(slot_count <= sizeof slots_before / sizeof *slots_before && 8 * results <= MAX_VALUE);
    page = page == NULL ? two_pages() : page;
    slots = (execbuf_slot *)(void *)(page + PAGE) - slot_count;
    for (unsigned i = 0; i < signature->count; i++) {
        pack(i);
    }
    memcpy(slots_before, slots, slot_count * sizeof *slots);
    execbuf_slot *result = (execbuf_slot *)at_end(0, 8 * results);
    memcpy(&wrapped, (const void *)&call_it, sizeof wrapped);
    ((function *)wrapper_native)(packed, target, slots, results > 0 ? result : NULL);
    check_address(result, result);
    memcpy(got_values[0], result, 8 * results);
    packed_result = results > 0 ? result->u : 0;
    if (signature->result.kind == EXECBUF_TYPE_F32) {
        packed_result = (uint32_t)packed_result;
    }
    check_packed();
}

void conclude_call(void) {
    check_call(packed_result);
    execbuf_caller_free(packed);
}
