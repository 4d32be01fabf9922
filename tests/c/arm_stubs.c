/* The stubs of AArch64, which every machine can write. */

#include "check.h"

#include "../../csrc/thunk/aarch64/stub.h"

#include <stdbool.h>

#if UINTPTR_MAX > 0xffffffff

#define GIB ((uint64_t)1 << 30)
#define MIB ((uint64_t)1 << 20)

/* Addresses are numbers here: no stub runs. */
static const void *at(uint64_t address) {
    return (const void *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) */
}

static void expect_words(const xb_stub *stub, const uint32_t *wanted, size_t count) {
    for (size_t i = 0; i < 8; i++) {
        uint32_t word = (uint32_t)(stub->words[i / 2] >> 32 * (i % 2));
        CHECK(word == (i < count ? wanted[i] : 0xd4200000)); /* brk #0 */
    }
}

static void each_kind_has_its_instructions(void) {
    static const uint32_t near_[] = {
        0xd503245f, /* bti c */
        0xb0091a30, /* adrp x16, the page of the target: 0x12345 pages on */
        0x911e2210, /* add x16, x16, #0x788 */
        0x1403fffe, /* b, 0xffff8 bytes on */
    };
    static const uint32_t target_far[] = {
        0xd503245f, /* bti c */
        0x58000070, /* ldr x16, the word at 16 */
        0x17fffbff, /* b, 0x1004 bytes back */
        0xd4200000, /* brk #0 */
        0x9abcdef0, 0x12345678,
    };
    static const uint32_t far_[] = {
        0xd503245f, /* bti c */
        0x58000070, /* ldr x16, the word at 16 */
        0x58000091, /* ldr x17, the word at 24 */
        0xd61f0220, /* br x17 */
        0x9abcdef0, 0x12345678, 0x00001230, 0x00007000,
    };
    static const uint32_t jump[] = {
        0xd503245f, /* bti c */
        0x58000050, /* ldr x16, the word at 12 */
        0xd61f0200, /* br x16 */
        0x9abcdef0, 0x12345678,
    };
    const uint64_t target = 0x123456789abcdef0;
    xb_stub stub = xb_stub_make(XB_STUB_NEAR, at(0x400010), at(0x400010 + 0x12345778), at(0x500010));
    expect_words(&stub, near_, 4);
    stub = xb_stub_make(XB_STUB_TARGET_FAR, at(0x7ffff0002010), at(target), at(0x7ffff0001010));
    expect_words(&stub, target_far, 6);
    stub = xb_stub_make(XB_STUB_FAR, NULL, at(target), at(0x700000001230));
    expect_words(&stub, far_, 8);
    stub = xb_stub_make(XB_STUB_JUMP, NULL, at(target), NULL);
    expect_words(&stub, jump, 5);
}

/* The bytes of a stub, in the order of a little-endian machine. */
static void copy_stub(uint8_t *bytes, const xb_stub *stub) {
    for (size_t i = 0; i < sizeof stub->words; i++) {
        bytes[i] = (uint8_t)(stub->words[i / 8] >> 8 * (i % 8));
    }
}

static void check_read(size_t length, uint64_t start, uint64_t target, uint64_t adapter) {
    uint8_t bytes[32];
    xb_stub stub = length == XB_STUB_NEAR ? xb_stub_make(XB_STUB_NEAR, at(start), at(target), at(adapter))
                   : length == XB_STUB_TARGET_FAR
                       ? xb_stub_make(XB_STUB_TARGET_FAR, at(start), at(target), at(adapter))
                       : xb_stub_make(XB_STUB_FAR, at(start), at(target), at(adapter));
    copy_stub(bytes, &stub);
    CHECK(xb_stub_adapter(bytes, length, at(start)) == at(adapter));
    CHECK(xb_stub_operand(bytes, length, at(start)) == at(target));
}

/* From one end of what a stub reaches to the other. */
static void addresses_are_read_from_stubs(void) {
    static const uint64_t starts[] = {0x550000000010, 0x550000000ff0, 0x55000000fff0};
    static const uint64_t distances[] = {
        0, 1, 0xfff, 0x1000, 8 * MIB, 4 * GIB - 0x30000, 2 * GIB, 2 * GIB - 16, 127 * MIB};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        for (size_t n = 0; n < sizeof distances / sizeof distances[0]; n++) {
            uint64_t start = starts[i];
            uint64_t near_ = distances[n] % (127 * MIB) & ~(uint64_t)15;
            for (int turn = 0; turn < 4; turn++) {
                uint64_t target = turn % 2 == 0 ? start + distances[n] : start - distances[n];
                uint64_t adapter = turn / 2 == 0 ? start + near_ : start - near_;
                CHECK(xb_stub_fits(XB_STUB_NEAR, at(start), at(target), at(adapter)));
                check_read(XB_STUB_NEAR, start, target, adapter);
                check_read(XB_STUB_TARGET_FAR, start, ~target, adapter);
                check_read(XB_STUB_FAR, start, ~target, ~adapter);
            }
        }
    }
}

/* A span has 64 KiB, and what one of its stubs reaches, another one does not. */
static void what_is_too_far_away_does_not_fit(void) {
    const uint64_t start = 0x550000000000;
    CHECK(xb_stub_reaches(at(start), at(start + 4 * GIB - 0x20001)));
    CHECK(!xb_stub_reaches(at(start), at(start + 4 * GIB)));
    CHECK(xb_stub_reaches(at(start), at(start - 4 * GIB + 0x20000)));
    CHECK(!xb_stub_reaches(at(start), at(start - 4 * GIB)));
    CHECK(!xb_stub_fits(XB_STUB_NEAR, at(start), at(start), at(start + 128 * MIB)));
    CHECK(!xb_stub_fits(XB_STUB_TARGET_FAR, at(start), at(start), at(start - 128 * MIB)));
    CHECK(!xb_stub_fits(XB_STUB_NEAR, at(start), at(start + 5 * GIB), at(start)));
    CHECK(xb_stub_fits(XB_STUB_TARGET_FAR, at(start), at(start + 5 * GIB), at(start)));
    CHECK(xb_stub_fits(XB_STUB_FAR, at(start), at(start + 5 * GIB), at(start + 5 * GIB)));
}

/* A slot that has no stub yet leads to no adapter: those begin at multiples of 16. */
static void traps_lead_to_no_adapter(void) {
    static const uint8_t traps[32] = {
        0, 0, 0x20, 0xd4, 0, 0, 0x20, 0xd4, 0, 0, 0x20, 0xd4, 0, 0, 0x20, 0xd4, /* brk #0 */
        0, 0, 0x20, 0xd4, 0, 0, 0x20, 0xd4, 0, 0, 0x20, 0xd4, 0, 0, 0x20, 0xd4,
    };
    const void *start = at(0x550000000010);
    CHECK((uintptr_t)xb_stub_adapter(traps, XB_STUB_NEAR, start) % 16 != 0);
    CHECK((uintptr_t)xb_stub_adapter(traps, XB_STUB_TARGET_FAR, start) % 16 != 0);
}

int main(void) {
    RUN(each_kind_has_its_instructions);
    RUN(addresses_are_read_from_stubs);
    RUN(what_is_too_far_away_does_not_fit);
    RUN(traps_lead_to_no_adapter);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: the stubs of AArch64: addresses have 32 bits here\n");
    return 0;
}

#endif
