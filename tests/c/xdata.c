/* The unwind tables for Windows (csrc/debug/xdata.c), which are made on every machine. This decodes each
 * table as Windows would, and the prologue of its adapter, and compares the two. */

#include "check.h"

#include "../../csrc/api/signature.h"
#include "../../csrc/call/signature.h"
#include "../../csrc/debug/xdata.h"
#include "../../csrc/thunk/machine.h"

enum { PUSH, ALLOCATE, SAVE };

/* What an instruction of a prologue does. */
typedef struct step {
    int what;
    uint32_t number; /* of the register */
    uint32_t bytes;  /* allocated, or between rsp and where the register is saved */
    uint32_t end;    /* where the instruction ends */
} step;

/* A push, an allocation, or the saving of a register: 3 + 1 + 10 at most. */
typedef struct prologue {
    step steps[16];
    size_t count;
} prologue;

static void add(prologue *to, int what, uint32_t number, uint32_t bytes, uint32_t end) {
    CHECK(to->count < sizeof to->steps / sizeof to->steps[0]);
    const step added = {what, number, bytes, end};
    to->steps[to->count++] = added;
}

static uint32_t little_endian(const uint8_t *bytes, size_t size) {
    uint32_t number = 0;
    while (size-- > 0) {
        number = number << 8 | bytes[size];
    }
    return number;
}

/* Decodes the instructions of a prologue. */
static prologue decode_code(const uint8_t *start, bool saves) {
    prologue found = {{{0, 0, 0, 0}}, 0};
    CHECK(memcmp(start + 4, "\x55\x48\x8b\xec", 4) == 0); /* push rbp; mov rbp, rsp, behind endbr64 */
    add(&found, PUSH, 5, 0, 5);
    uint32_t at = 8;
    if (saves) {
        CHECK(start[8] == 0x57 && start[9] == 0x56); /* push rdi; push rsi */
        add(&found, PUSH, 7, 0, 9);
        add(&found, PUSH, 6, 0, 10);
        at = 10;
    }
    CHECK(start[at] == 0x48 && (start[at + 1] == 0x81 || start[at + 1] == 0x83) && start[at + 2] == 0xec);
    const size_t size = start[at + 1] == 0x81 ? 4 : 1; /* sub rsp, size */
    const uint32_t bytes = little_endian(start + at + 3, size);
    at += 3 + (uint32_t)size;
    add(&found, ALLOCATE, 0, bytes, at);
    for (uint32_t i = 0; saves && i < 10; i++) {
        uint32_t high = 0;
        if (start[at] == 0x44) { /* REX.R: xmm8 to xmm15 */
            high = 8;
            at++;
        }
        /* movaps [rsp + offset], xmm */
        CHECK(start[at] == 0x0f && start[at + 1] == 0x29 && (start[at + 2] & 7) == 4 &&
              start[at + 3] == 0x24);
        static const size_t sizes[] = {0, 1, 4};
        const size_t offset_size = sizes[start[at + 2] >> 6];
        const uint32_t number = high | (start[at + 2] >> 3 & 7);
        const uint32_t offset = little_endian(start + at + 4, offset_size);
        at += 4 + (uint32_t)offset_size;
        add(&found, SAVE, number, offset, at);
    }
    return found;
}

/* Decodes an UNWIND_INFO structure (Microsoft, "x64 exception handling"). Its codes are in reverse order. */
static prologue decode_table(const uint8_t *table, uint32_t *length) {
    prologue reversed = {{{0, 0, 0, 0}}, 0};
    CHECK(table[0] == 1 && table[3] == 0); /* version 1, no flags; no frame register */
    const uint32_t nodes = table[2];
    for (uint32_t node = 0; node < nodes; node++) {
        const uint8_t *at = table + 4 + 2 * (size_t)node;
        const uint32_t info = at[1] >> 4;
        switch (at[1] & 15) {
        case 0: add(&reversed, PUSH, info, 0, at[0]); break; /* UWOP_PUSH_NONVOL */
        case 1:                                              /* UWOP_ALLOC_LARGE */
            CHECK(info == 0);
            add(&reversed, ALLOCATE, 0, 8 * little_endian(at + 2, 2), at[0]);
            node++;
            break;
        case 2: add(&reversed, ALLOCATE, 0, 8 * info + 8, at[0]); break; /* UWOP_ALLOC_SMALL */
        case 8:                                                          /* UWOP_SAVE_XMM128 */
            add(&reversed, SAVE, info, 16 * little_endian(at + 2, 2), at[0]);
            node++;
            break;
        default: CHECK(0); /* an unknown operation */
        }
    }
    *length = 4 + 2 * ((nodes + 1) & ~1U);
    prologue found = {{{0, 0, 0, 0}}, 0};
    for (size_t i = reversed.count; i-- > 0;) {
        const step last = reversed.steps[i];
        add(&found, last.what, last.number, last.bytes, last.end);
    }
    CHECK(found.count > 0 && found.steps[found.count - 1].end == table[1]); /* the length of the prologue */
    return found;
}

static void check_adapter(const char *text, execbuf_abi caller_abi) {
    static uint8_t bytes[XB_MAX_ADAPTER_SIZE + XB_MAX_XDATA_SIZE];
    xb_signature signature;
    xb_shape shapes[XB_MAX_SHAPES];
    xb_frame frame;
    execbuf_signature *tree = parsed(text);
    CHECK(xb_signature_read(&signature, shapes, tree, NULL) == EXECBUF_OK);
    execbuf_signature_free(tree);
    CHECK(xb_machine_can(&signature, caller_abi));
    memset(bytes, 0xa5, sizeof bytes);
    xb_machine_adapter(bytes, &frame, &signature, caller_abi);
    const size_t length = xb_xdata_append(bytes, &frame);
    const uint32_t start = xb_xdata_offset(frame.length);
    CHECK(start % 4 == 0 && length <= frame.length + XB_MAX_XDATA_SIZE && bytes[length] == 0xa5);
    CHECK(bytes[frame.length - 1] == 0xc3); /* ret */
    for (uint32_t at = frame.length; at < start; at++) {
        CHECK(bytes[at] == 0xcc); /* int3 */
    }
    uint32_t table_length;
    const prologue told = decode_table(bytes + start, &table_length);
    const prologue is = decode_code(bytes, caller_abi == EXECBUF_ABI_WIN64);
    CHECK(start + table_length == length && told.count == is.count);
    for (size_t i = 0; i < is.count; i++) {
        const step *one = &told.steps[i];
        const step *other = &is.steps[i];
        CHECK(one->what == other->what && one->number == other->number && one->bytes == other->bytes);
        /* Until the last register is saved, each still has its value: the table tells of all of them there.
         */
        CHECK(one->end == (one->what == SAVE ? is.steps[is.count - 1].end : other->end));
    }
}

static void tables_describe_the_prologue(void) {
    static const char *const letters[] = {"i", "d", "id", "bfLH"};
    for (size_t kind = 0; kind < sizeof letters / sizeof letters[0]; kind++) {
        for (size_t count = 0; count <= EXECBUF_MAX_ARGUMENTS; count++) {
            char text[EXECBUF_MAX_ARGUMENTS + 4] = "d(";
            for (size_t i = 0; i < count; i++) {
                text[2 + i] = letters[kind][i % strlen(letters[kind])];
            }
            text[2 + count] = ')';
            check_adapter(text, EXECBUF_ABI_SYSV64);
            check_adapter(text, EXECBUF_ABI_WIN64);
        }
    }
}

/* Frames with copies, and with memory for the result. */
static void tables_describe_larger_frames(void) {
    static const char *const texts[] = {"{lll}({lll}x)", "{ld}(m{[9b]})", "!{bHb}({[1000b]})", "v({[3800b]})",
                                        "x(llllllll{[2000b]}{[1700b]})"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        check_adapter(texts[i], EXECBUF_ABI_SYSV64);
        check_adapter(texts[i], EXECBUF_ABI_WIN64);
    }
}

int main(void) {
    RUN(tables_describe_the_prologue);
    RUN(tables_describe_larger_frames);
    (void)printf("ok\n");
    return 0;
}
