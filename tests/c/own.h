/* Helpers for the tests of regions that a fork shares and that become a process's own again. */
#ifndef OWN_H
#define OWN_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "stale.h"

/* The number of the file that is mapped at an address: another one says that the memory is a copy. */
static inline unsigned long memory_at(const void *address) {
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned long long start;
        unsigned long long end;
        unsigned long inode;
        CHECK(sscanf(line, "%llx-%llx %*s %*s %*s %lu", &start, &end, &inode) == 3);
        if ((uintptr_t)address - start < end - start) {
            return inode;
        }
    }
    return 0;
}

/* A child that waits until it may go on. */
typedef struct waiting {
    pid_t child;
    int to_child;
} waiting;

/* Forks. The child waits, runs a function, and ends; if the function is NULL, it only waits. */
static inline waiting fork_waiting(void (*function)(void)) {
    int ends[2];
    waiting made;
    CHECK(pipe(ends) == 0);
    (void)fflush(stdout);
    made.child = fork();
    CHECK(made.child >= 0);
    if (made.child == 0) {
        char byte;
        (void)alarm(seconds(60));
        CHECK(close(ends[1]) == 0);
        CHECK(read(ends[0], &byte, 1) == 1);
        if (function != NULL) {
            function();
        }
        _exit(0);
    }
    CHECK(close(ends[0]) == 0);
    made.to_child = ends[1];
    return made;
}

/* Lets the child go on. */
static inline void go_on(const waiting *made) {
    CHECK(write(made->to_child, "", 1) == 1 && close(made->to_child) == 0);
}

/* Waits for a child that goes on, and checks that it ends without a failure. */
static inline void join(const waiting *made) {
    int status;
    CHECK(waitpid(made->child, &status, 0) == made->child && status == 0);
}

static inline void finish(const waiting *made) {
    go_on(made);
    join(made);
}

/* Runs a function in a child, at once. */
static inline void in_child(void (*function)(void)) {
    waiting made = fork_waiting(function);
    finish(&made);
}

#endif
