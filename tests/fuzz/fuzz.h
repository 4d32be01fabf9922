/* Helpers for all fuzz targets: CHECK, and reading the fuzzer's bytes as numbers. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "execbuf.h"

/* Aborts, which the fuzzer reports with the input, unless the condition is true. */
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* The entry of a target, which the fuzzer calls with each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input. */
typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

/* Fills memory from the input; what the input does not have is zero. */
static inline void take(input *from, void *out, size_t size) {
    const size_t taken = size < from->size ? size : from->size;
    memset(out, 0, size);
    if (taken > 0) {
        memcpy(out, from->data, taken);
    }
    from->data += taken;
    from->size -= taken;
}

static inline uint8_t take_u8(input *from) {
    uint8_t value;
    take(from, &value, sizeof value);
    return value;
}

static inline uint64_t take_u64(input *from) {
    uint64_t value;
    take(from, &value, sizeof value);
    return value;
}

/* Memory of exactly this size, so that AddressSanitizer notices each access beyond it. free releases it. */
static inline void *exactly(size_t size) {
    void *memory = malloc(size);
    CHECK(memory != NULL);
    return memory;
}

#endif
