/* A function from bytes: publishes machine code that returns 42, and calls it.
 *
 *   cc -std=c11 -O2 -I csrc/include csrc/example.c csrc/execbuf.c -pthread -o example && ./example */

#include "execbuf.h"
#include <stdio.h>

static const unsigned char code[] = {
#if defined(__aarch64__) || defined(_M_ARM64)
    0x40, 0x05, 0x80, 0x52, /* mov w0, #42 */
    0xc0, 0x03, 0x5f, 0xd6, /* ret */
#elif defined(__x86_64__) || defined(_M_X64) || defined(__i386__) || defined(_M_IX86)
    0xb8, 0x2a, 0x00, 0x00, 0x00, /* mov eax, 42 */
    0xc3,                         /* ret */
#elif defined(__riscv)
    0x13, 0x05, 0xa0, 0x02, /* li a0, 42 */
    0x67, 0x80, 0x00, 0x00, /* ret */
#else
    0, /* execbuf_new fails: EXECBUF_E_UNSUPPORTED */
#endif
};

int main(void) {
    execbuf buffer;
    execbuf_error error;
    if (execbuf_new(&buffer, code, sizeof code, &error) != EXECBUF_OK) {
        char text[400];
        execbuf_error_describe(&error, text, sizeof text);
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    int (*answer)(void) = (int (*)(void))execbuf_entry(&buffer, 0);
    printf("the answer is %d\n", answer());
    execbuf_free(&buffer);
    return 0;
}
