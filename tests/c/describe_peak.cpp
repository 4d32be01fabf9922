/* Exceptions pass through described code after a peak, when the pages of most code have other owners. */

#include "check.h"

#if defined(__ELF__) && (defined(__x86_64__) || defined(__aarch64__))

#include "describe_throw.h"

/* Few of many functions survive, so that their pages are all that their spans keep, and other described code
 * comes into the other pages. The tables of both may not cover each other.
 *
 * In: is_described: whether the survivors have been described before, or only afterwards. */
static void throw_after_a_peak(bool is_described) {
    const sample one = samples()[0];
    std::vector<uint8_t> small = one.code;
    std::vector<uint8_t> large = one.code;
    std::vector<execbuf> peak(20000);
    std::vector<execbuf> later(2000);
    small.resize(64);
    large.resize(1000);
    CHECK(execbuf_pool_new(&pool, nullptr, nullptr) == EXECBUF_OK);
    for (size_t i = 0; i < peak.size(); i++) {
        const execbuf_info *info = is_described && i % 1000 == 0 ? &one.info : nullptr;
        CHECK(execbuf_pool_publish_with(pool, &peak[i], small.data(), small.size(), info, nullptr) ==
              EXECBUF_OK);
    }
    for (size_t i = 0; i < peak.size(); i++) { /* 7919 is a prime number */
        size_t scattered = i * 7919 % peak.size();
        CHECK(scattered % 1000 == 0 || execbuf_free(&peak[scattered]) == EXECBUF_OK);
    }
    for (execbuf &buffer : later) {
        CHECK(execbuf_pool_publish_with(pool, &buffer, large.data(), large.size(), &one.info, nullptr) ==
              EXECBUF_OK);
    }
    for (size_t i = 0; i < peak.size(); i += 1000) {
        CHECK(execbuf_describe(&peak[i], &one.info, nullptr) == EXECBUF_OK);
        throw_through(function_of(peak[i]), 2);
    }
    for (execbuf &buffer : later) {
        throw_through(function_of(buffer), 2);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    for (execbuf &buffer : peak) {
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

static void exceptions_pass_through_survivors_that_were_described() {
    throw_after_a_peak(true);
}

static void exceptions_pass_through_survivors_that_are_described() {
    throw_after_a_peak(false);
}

int main() {
    RUN(exceptions_pass_through_survivors_that_were_described);
    RUN(exceptions_pass_through_survivors_that_are_described);
    (void)printf("ok\n");
    return 0;
}

#else

int main() {
    (void)fprintf(stderr, "SKIP: unwinding through described code: not on this platform\n");
    return 0;
}

#endif
