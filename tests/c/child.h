/* The end of the child of a fork. */
#ifndef EXECBUF_TEST_CHILD_H
#define EXECBUF_TEST_CHILD_H

#include <stdbool.h>
#include <unistd.h>

#include "check.h"

/* Ends a child. What the parent's threads and its unwinder refer to stays; at the end of a process, valgrind
 * would report it as leaks. */
static inline void end_child(bool succeeds) {
    if (under_valgrind()) {
        const char *program = succeeds ? "/bin/true" : "/bin/false";
        (void)execl(program, program, (char *)NULL);
    }
    _exit(succeeds ? 0 : 1);
}

#endif
