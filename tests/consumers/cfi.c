/* Compiled with clang's -fsanitize=cfi: calls published code and a thunk, as the header says it has to be
 * done. The library itself calls code in its self-test, and functions of the unwinder that it finds by name.
 */

#include "execbuf.h"
#include <stdio.h>

typedef int function(void);

__attribute__((no_sanitize("cfi"))) static int call(const execbuf *buffer) {
    return ((function *)execbuf_entry(buffer, 0))();
}

static int target(void) {
    return 42;
}

int main(void) {
    static const unsigned char code[] = {
        0xb8, 0x2a, 0x00, 0x00, 0x00, /* mov eax, 42 */
        0xc3,                         /* ret */
    };
    const execbuf_signature signature = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), NULL, 0);
    execbuf buffer;
    execbuf thunk;
    execbuf_error error;
    function *pointer = target;
    if (execbuf_new(&buffer, code, sizeof code, &error) != EXECBUF_OK ||
        execbuf_thunk_new(NULL, &thunk, &signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64,
                          (const void *)pointer, &error) != EXECBUF_OK) {
        char text[400];
        execbuf_error_describe(&error, text, sizeof text);
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    if (call(&thunk) == call(&buffer)) {
        printf("the answer is %d\n", call(&thunk));
    }
    execbuf_free(&thunk);
    execbuf_free(&buffer);
    return 0;
}
