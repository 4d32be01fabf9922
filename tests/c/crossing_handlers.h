/* The part of crossing.c that handlers of closures are. */
#ifndef CROSSING_HANDLERS_H
#define CROSSING_HANDLERS_H

static unsigned handler_calls;

/* Takes an argument from its slots.
 *
 * Returns: how many slots it has. */
static size_t unpack(unsigned index, const execbuf_slot *slot, uint32_t size) {
    int32_t kind = signature->arguments[index].kind;
    if (kind < EXECBUF_TYPE_I128) {
        got[index] = kind == EXECBUF_TYPE_F32 ? (uint32_t)slot->u : slot->u;
    } else if (size > 16) {
        memcpy(got_values[index + 1], slot->p, size);
        memset(slot->p, 0xee, size);
    } else {
        memcpy(got_values[index + 1], slot, size);
    }
    return size > 16 || size <= 8 ? 1 : 2;
}

/* Bytes of a word behind those of its type are random. */
static void write_result(execbuf_slot *result, uint32_t size) {
    int32_t kind = signature->result.kind;
    if (kind == EXECBUF_TYPE_BOOL) {
        result->u = (sent_result & ~(uint64_t)0xff) | (sent_result & 1);
    } else if (kind < EXECBUF_TYPE_I128) {
        result->u = sent_result;
    } else {
        memcpy(result, sent_values[0], size > 16 ? size : 16);
    }
}

/* The handler of the closures: handle, but on Windows it first overwrites the 32 bytes of the stack that
 * belong to a Win64 function. */
void handle(void *given, const execbuf_slot *arguments, execbuf_slot *result);
#if defined(_WIN32)
void handler(void *given, const execbuf_slot *arguments, execbuf_slot *result);
__asm__(".text\n\t.globl handler\nhandler:\n\tmovq $-1, 8(%rsp)\n\tmovq $-1, 16(%rsp)\n\t"
        "movq $-1, 24(%rsp)\n\tmovq $-1, 32(%rsp)\n\tjmp handle\n\t");
#else
#define handler handle
#endif

void handle(void *given, const execbuf_slot *arguments, execbuf_slot *result) {
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    const execbuf_slot *slot = arguments;
    CHECK((uintptr_t)given == (uintptr_t)context && (uintptr_t)arguments % 16 == 0 && result != NULL);
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, NULL) == EXECBUF_OK);
    for (unsigned i = 0; i < signature->count; i++) {
        slot += unpack(i, slot, layout.arguments[i].size);
    }
    const uint32_t size = layout.result.size;
    CHECK(size > 16 || (uintptr_t)result % 16 == 0);
    for (uint32_t i = 0; i < size; i++) {
        CHECK(((const uint8_t *)result)[i] == 0);
    }
    if (size > 0 && handler_calls % 2 == 0) {
        write_result(result, size);
    }
    LOOK_AT_STACK(signature->count);
    CLOBBER_NATIVE();
}

void (*prepare_handler(const char *text, execbuf_abi caller))(void) {
    execbuf_signature *of_closure = parsed(text);
    caller_abi = caller;
    context = some_bits();
    has_thunk = false;
    CHECK(execbuf_closure_new(NULL, &closure, of_closure, caller, handler, (void *)(uintptr_t)context,
                              NULL) == EXECBUF_OK);
    execbuf_signature_free(of_closure);
    void (*function)(void) = choose_for(text, closure.entry);
    if (++handler_calls % 2 != 0) {
        sent_result = 0;
        memset(sent_values[0], 0, sizeof sent_values[0]);
    }
    return function;
}

#endif
