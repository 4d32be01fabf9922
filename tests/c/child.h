/* Children of a fork: what they inherit, and their end. */
#ifndef EXECBUF_TEST_CHILD_H
#define EXECBUF_TEST_CHILD_H

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
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

/* Whether the process can read a byte: the kernel reads it for us, and no signal is raised. */
static inline int can_read(const void *address) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    ssize_t written = write(ends[1], address, 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return written == 1;
}

/* Whether the system does what it says: qemu-user accepts MADV_DONTFORK, and ignores it. To be called before
 * there is a pool: later, a child may map something at the same address. */
static inline bool keeps_from_children(void) {
#if defined(MADV_DONTFORK)
    int status;
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANON, -1, 0);
    CHECK(page != MAP_FAILED);
    bool keeps = madvise(page, 4096, MADV_DONTFORK) == 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(can_read(page));
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(munmap(page, 4096) == 0);
    return keeps && WEXITSTATUS(status) == 0;
#else
    return true;
#endif
}

#endif
