/* A program with one copy of execbuf, for linkers and their options. In gdb, stops in innermost. */

#include "plugin.h"

#include "../c/check.h"

#if defined(__x86_64__)
__attribute__((ms_abi)) int innermost(int value);

__attribute__((ms_abi, noinline)) int innermost(int value) {
    __asm__ volatile("");
    return value + 1;
}
#endif

int main(void) {
    plugin_use(3);
    plugin_fork();
#if defined(__x86_64__)
    CHECK(plugin_through_thunk(innermost, 41) == 42);
#endif
    (void)printf("ok\n");
    return 0;
}
