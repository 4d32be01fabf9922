// A C++ program that uses execbuf: publishes a function in a pool, and calls it.

#include <execbuf.h>

#include <cstdio>

int main() {
    const unsigned char code[] = {
#if defined(__aarch64__)
        0x40,
        0x05,
        0x80,
        0x52, // mov w0, #42
        0xc0,
        0x03,
        0x5f,
        0xd6, // ret
#else
        0xb8,
        0x2a,
        0x00,
        0x00,
        0x00, // mov eax, 42
        0xc3, // ret
#endif
    };
    execbuf_pool *pool;
    execbuf buffer;
    execbuf_error error;
    if (execbuf_pool_new(&pool, nullptr, &error) != EXECBUF_OK ||
        execbuf_pool_publish(pool, &buffer, code, sizeof code, &error) != EXECBUF_OK) {
        char text[400];
        execbuf_error_describe(&error, text, sizeof text);
        std::fprintf(stderr, "%s\n", text);
        return 1;
    }
    auto answer = reinterpret_cast<int (*)()>(execbuf_entry(&buffer, 0));
    std::printf("the answer is %d\n", answer());
    execbuf_free(&buffer);
    execbuf_pool_free(pool);
    return execbuf_version_number() == EXECBUF_VERSION_NUMBER ? 0 : 1;
}
