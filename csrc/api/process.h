/* What a fork means for the library. */
#ifndef XB_API_PROCESS_H
#define XB_API_PROCESS_H

#include "../prim/prim.h"

/* Sees to it that forks are noticed; to be called before anything is made. Later calls do nothing. */
xb_result xb_fork_watch(void);

/* Notices that this process was made without fork handlers. */
void xb_fork_noticed_late(void);

/* Notices it if it is so. To be called, without a lock, before anything that a fork freezes. */
static inline void xb_fork_check(void) {
    if (*xb_prim_fork_mark == 0) {
        xb_fork_noticed_late();
    }
}

#endif
