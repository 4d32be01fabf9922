// What an exception costs in a program that has thunks of many different signatures, each with an adapter.
//
//     cc -std=c11 -O2 -Icsrc/include -c csrc/execbuf.c -o execbuf.o
//     c++ -std=c++11 -O2 -Icsrc/include bench/throw.cpp execbuf.o -pthread -o throw
//     ./throw [NUMBER OF THUNKS]
//
// It throws, through no thunk, before and while the thunks are live, and prints the times.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "execbuf.h"

static double seconds() {
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

__attribute__((noinline)) static void thrower(int number) {
    if (number >= 0) {
        throw number;
    }
}

static double nanoseconds_of_a_throw() {
    double best = 1e9;
    for (int round = 0; round < 7; round++) {
        const int count = 3000;
        long sum = 0;
        double begin = seconds();
        for (int i = 0; i < count; i++) {
            try {
                thrower(i);
            } catch (int number) {
                sum += number;
            }
        }
        double taken = (seconds() - begin) / count * 1e9;
        best = taken < best && sum > 0 ? taken : best;
    }
    return best;
}

// A random signature. Nearly all are different, also in how their arguments are moved.
static std::string random_signature() {
    static unsigned state = 1;
    std::string text = "v(";
    state = state * 1664525U + 1013904223U;
    for (unsigned left = 1 + (state >> 8) % 100; left > 0; left--) {
        state = state * 1664525U + 1013904223U;
        text += "bhilfd"[(state >> 8) % 6];
    }
    return text + ")";
}

int main(int count, char **arguments) {
    long number_of_thunks = count > 1 ? std::atol(arguments[1]) : 10000;
    double before = nanoseconds_of_a_throw();
    std::vector<execbuf> thunks(static_cast<size_t>(number_of_thunks));
    double begin = seconds();
    for (long i = 0; i < number_of_thunks; i++) {
        execbuf_signature *signature = nullptr;
        if (execbuf_signature_parse(&signature, random_signature().c_str(), nullptr) != EXECBUF_OK ||
            execbuf_thunk_new(nullptr, &thunks[static_cast<size_t>(i)], signature, EXECBUF_ABI_SYSV64,
                              EXECBUF_ABI_WIN64, reinterpret_cast<const void *>(thrower),
                              nullptr) != EXECBUF_OK) {
            std::printf("no thunk\n");
            return 1;
        }
        execbuf_signature_free(signature);
    }
    double made = seconds();
    try {
        thrower(0);
    } catch (int) {
    }
    double first = seconds() - made;
    double during = nanoseconds_of_a_throw();
    std::printf("a throw without thunks:     %8.0f ns\n", before);
    std::printf("with %6ld thunks:          %8.0f ns, the first time %.0f ns\n", number_of_thunks, during,
                first * 1e9);
    double end = seconds();
    for (execbuf &thunk : thunks) {
        (void)execbuf_free(&thunk);
    }
    std::printf("to make a thunk: %.0f ns, to free it: %.0f ns\n",
                (made - begin) / static_cast<double>(number_of_thunks) * 1e9,
                (seconds() - end) / static_cast<double>(number_of_thunks) * 1e9);
    return 0;
}
