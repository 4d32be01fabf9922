/* The list of observers. One that is being called stays in the list, so that the caller finds the next one,
 * and so does one that has ended, until nobody calls it. */

#include "observers.h"

#include <stdint.h>
#include <stdlib.h>

#include "../base/fault.h"
#include "../prim/prim.h"

struct execbuf_observer {
    execbuf_observer *next;
    execbuf_observe_function callback;
    execbuf_release_function release; /* or NULL */
    void *context;
    uint32_t calls; /* that have begun and not ended */
    bool has_ended;
};

static execbuf_observer *observers;

bool xb_observers_exist;

execbuf_observer *xb_observers_add(execbuf_observe_function callback, execbuf_release_function release,
                                   void *context) {
    execbuf_observer *added =
        XB_FAULT("calloc") != 0 ? NULL : (execbuf_observer *)calloc(1, sizeof(execbuf_observer));
    if (added != NULL) {
        added->callback = callback;
        added->release = release;
        added->context = context;
        xb_prim_lock();
        added->next = observers;
        observers = added;
        XB_STORE_RELEASE(xb_observers_exist, true);
        xb_prim_unlock();
    }
    return added;
}

/* Enters the first observer from one on that has not ended. The lock is held. */
static execbuf_observer *enter_observer(execbuf_observer *from) {
    while (from != NULL && from->has_ended) {
        from = from->next;
    }
    if (from != NULL) {
        from->calls++;
    }
    return from;
}

/* Takes an observer out of the list if it has ended and nobody calls it. The lock is held.
 *
 * Returns: whether the caller has to free it. */
static bool take_ended(execbuf_observer *observer) {
    if (!observer->has_ended || observer->calls > 0) {
        return false;
    }
    execbuf_observer **link = &observers;
    while (*link != observer) {
        link = &(*link)->next;
    }
    *link = observer->next;
    return true;
}

XB_UNCHECKED_CALLS static void free_observer(execbuf_observer *observer) {
    if (observer->release != NULL) {
        observer->release(observer->context);
    }
    free(observer);
}

void xb_observers_remove(execbuf_observer *observer) {
    bool are_left = false;
    xb_prim_lock();
    observer->has_ended = true;
    bool is_free = take_ended(observer);
    for (const execbuf_observer *other = observers; other != NULL; other = other->next) {
        are_left |= !other->has_ended;
    }
    XB_STORE_RELEASE(xb_observers_exist, are_left);
    xb_prim_unlock();
    if (is_free) {
        free_observer(observer);
    }
}

XB_UNCHECKED_CALLS void xb_observers_call(const execbuf_event *event) {
    xb_prim_lock();
    execbuf_observer *called = enter_observer(observers);
    xb_prim_unlock();
    while (called != NULL) {
        called->callback(called->context, event);
        xb_prim_lock();
        execbuf_observer *next = enter_observer(called->next);
        called->calls -= called->calls > 0; /* in a child of a fork it is 0 */
        bool is_free = take_ended(called);
        xb_prim_unlock();
        if (is_free) {
            free_observer(called);
        }
        called = next;
    }
}

void xb_observers_in_child(void) {
    for (execbuf_observer *observer = observers; observer != NULL; observer = observer->next) {
        observer->calls = 0;
    }
}
