/* Observers: functions of the program that are told of described code. The process's lock guards their list,
 * and is not held while one is called. */
#ifndef XB_DEBUG_OBSERVERS_H
#define XB_DEBUG_OBSERVERS_H

#include <stdbool.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* Whether there are observers. */
extern bool xb_observers_exist;

/* Adds an observer.
 *
 * Returns: the observer; NULL: no memory. */
execbuf_observer *xb_observers_add(execbuf_observe_function callback, execbuf_release_function release,
                                   void *context);

/* Removes one. Calls that have begun end later, and release is called after the last one. */
void xb_observers_remove(execbuf_observer *observer);

/* Calls all observers. */
void xb_observers_call(const execbuf_event *event);

/* Takes note that the threads that were calling observers are not in this process: it is a child of a fork.
 * The process's lock is held. */
void xb_observers_in_child(void);

XB_PRIVATE_END

#endif
