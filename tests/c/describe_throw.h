/* Throws exceptions through described code. */
#ifndef EXECBUF_TEST_DESCRIBE_THROW_H
#define EXECBUF_TEST_DESCRIBE_THROW_H

#include "describe_samples.h"

static thread_local int depth;
static thread_local code_function next_function;
static thread_local int destroyed;

struct guard {
    ~guard() {
        destroyed++;
    }
};

/* Calls described code, which calls this again, until the depth is reached. */
static void descend() {
    guard kept;
    if (--depth == 0) {
        throw 42;
    }
    next_function(descend);
}

/* Whether an exception passes so many frames of described code, and leaves registers as they were. */
static void throw_through(code_function function, int frames) {
    int caught = 0;
    long kept[6] = {1, 2, 3, 4, 5, 6};
    long a = kept[0], b = kept[1], c = kept[2], d = kept[3], e = kept[4];
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
    depth = frames;
    next_function = function;
    destroyed = 0;
    try {
        function(descend);
    } catch (int number) {
        caught = number;
    }
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
    CHECK(caught == 42 && destroyed == frames);
    CHECK(a == 1 && b == 2 && c == 3 && d == 4 && e == 5);
}

static inline void throw_through_some(code_function function) {
    throw_through(function, 1);
    throw_through(function, 10);
    throw_through(function, 200);
}

#endif
