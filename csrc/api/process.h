/* What a fork means for the library. */
#ifndef EXECBUF_FORK_H
#define EXECBUF_FORK_H

#include "../prim/prim.h"

/* Sees to it that forks are noticed; to be called before anything is made. Later calls do nothing. */
execbuf_prim_result execbuf_fork_watch(void);

/* Notices that this process was made without fork handlers. */
void execbuf_fork_noticed_late(void);

/* Notices it if it is so. To be called, without a lock, before anything that a fork freezes. */
static inline void execbuf_fork_look(void) {
    if (*execbuf_prim_canary == 0) {
        execbuf_fork_noticed_late();
    }
}

#endif
