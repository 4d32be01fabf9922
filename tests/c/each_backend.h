/* Runs tests once with each backend of Linux for dedicated mappings. The choice is final, so each time is in
 * a process of its own. */
#ifndef EACH_BACKEND_H
#define EACH_BACKEND_H

#include <sys/wait.h>

#include "child.h"

static inline void with_each_backend(void (*tests)(void)) {
    static const char *const backends[] = {"flip", "memfd", "alias"};
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        (void)printf("backend %s\n", backends[i]);
        (void)fflush(stdout);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            execbuf buffer;
            code one = returning(1);
            CHECK(setenv("EXECBUF_BACKENDS", backends[i], 1) == 0);
            if (execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK) {
                CHECK(execbuf_free(&buffer) == EXECBUF_OK);
                tests();
            } else {
                (void)fprintf(stderr, "SKIP: the backend %s does not work here\n", backends[i]);
            }
            (void)fflush(stdout);
            end_child(true);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

#endif
