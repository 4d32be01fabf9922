/* Code that calls its argument, what describes it, and all the ways to publish it with its description. */
#ifndef EXECBUF_TEST_DESCRIBE_SAMPLES_H
#define EXECBUF_TEST_DESCRIBE_SAMPLES_H

#include "check.h"

#include <vector>

typedef void (*callback)();
typedef void (*code_function)(callback);

/* Code that calls its argument, and what describes it. */
struct sample {
    const char *name;
    std::vector<uint8_t> code;
    execbuf_info info;
};

static execbuf_info info_of(execbuf_unwind unwind, uint32_t size, uint32_t prologue, uint32_t epilogue) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.name = "sample";
    info.name_length = 6;
    info.unwind = unwind;
    info.frame_size = size;
    info.prologue = prologue;
    info.epilogue = epilogue;
    return info;
}

static std::vector<sample> samples() {
    std::vector<sample> all;
#if defined(_WIN32)
    /* The nop keeps the return address out of the epilogue, by whose instructions Windows unwinds there. */
    const std::vector<uint8_t> pointer = {
        0xf3, 0x0f, 0x1e, 0xfa, /*  0: endbr64 */
        0x55,                   /*  4: push rbp */
        0x48, 0x89, 0xe5,       /*  5: mov rbp, rsp */
        0x48, 0x83, 0xec, 0x20, /*  8: sub rsp, 32 */
        0xff, 0xd1,             /* 12: call rcx */
        0x90,                   /* 14: nop */
        0x48, 0x83, 0xc4, 0x20, /* 15: add rsp, 32 */
        0x5d,                   /* 19: pop rbp */
        0xc3,                   /* 20: ret */
    };
    const std::vector<uint8_t> leave = {
        0x55,                   /*  0: push rbp */
        0x48, 0x8b, 0xec,       /*  1: mov rbp, rsp */
        0x48, 0x83, 0xec, 0x20, /*  4: sub rsp, 32 */
        0xff, 0xd1,             /*  8: call rcx */
        0xc9,                   /* 10: leave */
        0xc3,                   /* 11: ret */
    };
    const std::vector<uint8_t> fixed = {
        0x48, 0x83, 0xec, 0x28, /*  0: sub rsp, 40 */
        0xff, 0xd1,             /*  4: call rcx */
        0x90,                   /*  6: nop */
        0x48, 0x83, 0xc4, 0x28, /*  7: add rsp, 40 */
        0xc3,                   /* 11: ret */
    };
    const std::vector<uint8_t> large = {
        0x48, 0x81, 0xec, 0x08, 0x02, 0x00, 0x00, /*  0: sub rsp, 520 */
        0xff, 0xd1,                               /*  7: call rcx */
        0x90,                                     /*  9: nop */
        0x48, 0x81, 0xc4, 0x08, 0x02, 0x00, 0x00, /* 10: add rsp, 520 */
        0xc3,                                     /* 17: ret */
    };
    const std::vector<uint8_t> registers = {
        0x53,                   /*  0: push rbx */
        0x41, 0x54,             /*  1: push r12 */
        0x48, 0x83, 0xec, 0x28, /*  3: sub rsp, 40 */
        0x31, 0xdb,             /*  7: xor ebx, ebx */
        0x4d, 0x31, 0xe4,       /*  9: xor r12, r12 */
        0xff, 0xd1,             /* 12: call rcx */
        0x90,                   /* 14: nop */
        0x48, 0x83, 0xc4, 0x28, /* 15: add rsp, 40 */
        0x41, 0x5c,             /* 19: pop r12 */
        0x5b,                   /* 21: pop rbx */
        0xc3,                   /* 22: ret */
    };
    static const uint8_t table[] = {
        1, 7,    3, 0, /* version 1; the prologue; 3 nodes; no frame register */
        7, 0x42,       /* UWOP_ALLOC_SMALL, 40 bytes */
        3, 0xc0,       /* UWOP_PUSH_NONVOL, r12 */
        1, 0x30,       /* UWOP_PUSH_NONVOL, rbx */
        0, 0,          /* an even number of nodes */
    };
    execbuf_info finished = info_of(EXECBUF_UNWIND_UNWIND_INFO, 0, 0, 0);
    finished.table = table;
    finished.table_length = sizeof table;
    all.push_back(sample{"frame pointer", pointer, info_of(EXECBUF_UNWIND_FRAME_POINTER, 0, 0, 0)});
    all.push_back(sample{"leave", leave, info_of(EXECBUF_UNWIND_FRAME_POINTER, 0, 0, 0)});
    all.push_back(sample{"fixed size", fixed, info_of(EXECBUF_UNWIND_FIXED, 40, 4, 1)});
    all.push_back(sample{"large size", large, info_of(EXECBUF_UNWIND_FIXED, 520, 7, 1)});
    all.push_back(sample{"finished table", registers, finished});
#elif defined(__x86_64__)
    const std::vector<uint8_t> pointer = {
        0xf3, 0x0f, 0x1e, 0xfa, /*  0: endbr64 */
        0x55,                   /*  4: push rbp */
        0x48, 0x89, 0xe5,       /*  5: mov rbp, rsp */
        0xff, 0xd7,             /*  8: call rdi */
        0x5d,                   /* 10: pop rbp */
        0xc3,                   /* 11: ret */
    };
    const std::vector<uint8_t> leave = {
        0x55,                   /* 0: push rbp */
        0x48, 0x8b, 0xec,       /* 1: mov rbp, rsp */
        0x48, 0x83, 0xec, 0x20, /* 4: sub rsp, 32 */
        0xff, 0xd7,             /* 8: call rdi */
        0xc9,                   /* 10: leave */
        0xc3,                   /* 11: ret */
    };
    const std::vector<uint8_t> fixed = {
        0x48, 0x83, 0xec, 0x18, /*  0: sub rsp, 24 */
        0xff, 0xd7,             /*  4: call rdi */
        0x48, 0x83, 0xc4, 0x18, /*  6: add rsp, 24 */
        0xc3,                   /* 10: ret */
    };
    all.push_back(sample{"frame pointer", pointer, info_of(EXECBUF_UNWIND_FRAME_POINTER, 0, 0, 0)});
    all.push_back(sample{"leave", leave, info_of(EXECBUF_UNWIND_FRAME_POINTER, 0, 0, 0)});
    all.push_back(sample{"fixed size", fixed, info_of(EXECBUF_UNWIND_FIXED, 24, 4, 1)});
#else
    const std::vector<uint32_t> words = {
        0xd503245f, /*  0: bti c */
        0xa9be7bfd, /*  4: stp x29, x30, [sp, #-32]! */
        0x910003fd, /*  8: mov x29, sp */
        0xd63f0000, /* 12: blr x0 */
        0xa8c27bfd, /* 16: ldp x29, x30, [sp], #32 */
        0xd65f03c0, /* 20: ret */
    };
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(words.data());
    const std::vector<uint8_t> pointer(bytes, bytes + 4 * words.size());
    all.push_back(sample{"frame pointer", pointer, info_of(EXECBUF_UNWIND_FRAME_POINTER, 0, 0, 0)});
#endif
    return all;
}

/* ---- Where code is published ---- */

static execbuf_pool *pool;

static execbuf in_a_pool(const sample &from) {
    execbuf out;
    CHECK(execbuf_pool_publish_with(pool, &out, from.code.data(), from.code.size(), &from.info, nullptr) ==
          EXECBUF_OK);
    return out;
}

static execbuf in_a_reserved_slot(const sample &from) {
    execbuf out;
    CHECK(execbuf_pool_reserve(pool, &out, 100, nullptr) == EXECBUF_OK);
    CHECK(execbuf_publish_with(&out, from.code.data(), from.code.size(), &from.info, nullptr) == EXECBUF_OK);
    return out;
}

static execbuf in_a_dedicated_mapping(const sample &from) {
    execbuf out;
    CHECK(execbuf_reserve(&out, 100, nullptr) == EXECBUF_OK);
    CHECK(execbuf_publish_with(&out, from.code.data(), from.code.size(), &from.info, nullptr) == EXECBUF_OK);
    return out;
}

static execbuf described_later(const sample &from) {
    execbuf out;
    execbuf_info info = from.info;
    CHECK(execbuf_new(&out, from.code.data(), from.code.size(), nullptr) == EXECBUF_OK);
    CHECK(execbuf_describe(&out, &info, nullptr) == EXECBUF_OK);
    return out;
}

static execbuf in_a_batch(const sample &from) {
    execbuf outs[2];
    const execbuf_code codes[2] = {{from.code.data(), from.code.size(), nullptr},
                                   {from.code.data(), from.code.size(), &from.info}};
    CHECK(execbuf_pool_publish_batch(pool, outs, codes, 2, nullptr) == EXECBUF_OK);
    CHECK(execbuf_free(&outs[0]) == EXECBUF_OK);
    return outs[1];
}

typedef execbuf (*maker)(const sample &);
static const maker makers[] = {in_a_pool, in_a_reserved_slot, in_a_dedicated_mapping, described_later,
                               in_a_batch};

static code_function function_of(const execbuf &buffer) {
    return reinterpret_cast<code_function>(execbuf_entry(&buffer, 0));
}

/* Calls a test with each sample, published in each way. */
static inline void with_each(void (*test)(code_function)) {
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    for (const sample &one : samples()) {
        for (maker make : makers) {
            execbuf buffer = make(one);
            test(function_of(buffer));
            CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        }
    }
    execbuf_pool_free(pool);
}

#endif
