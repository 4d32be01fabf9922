/* The choice of backends. The process's lock guards the variables, and is not held while the environment is
 * read. */

#include "choice.h"

#include <string.h>

#include "../base/error.h"

static uint32_t chosen; /* 0: nothing yet, so the environment variable counts */
static bool is_made;
static uint32_t avoided; /* what is used only if the program or its environment says so */

/* The set of all backends that exist here. */
static uint32_t existing(void) {
    xb_prim_info info = xb_prim_query();
    uint32_t backends = 0;
    for (size_t i = 0; i < info.backend_count; i++) {
        backends |= EXECBUF_BACKEND_BIT(info.backends[i]);
    }
    for (size_t i = 0; i < info.pool_backend_count; i++) {
        backends |= EXECBUF_BACKEND_BIT(info.pool_backends[i]);
    }
    return backends;
}

/* The backend with a name of this length; EXECBUF_BACKEND_NONE: there is none. */
static execbuf_backend named(const char *name, size_t length) {
    for (int number = EXECBUF_BACKEND_FLIP; number <= EXECBUF_BACKEND_SECTION; number++) {
        const char *known = xb_backend_name((execbuf_backend)number);
        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            return (execbuf_backend)number;
        }
    }
    return EXECBUF_BACKEND_NONE;
}

/* Reads names that are separated by commas. False if one is unknown. */
static bool parse(const char *text, uint32_t *backends) {
    *backends = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        execbuf_backend backend = named(text, length);
        if (backend == EXECBUF_BACKEND_NONE) {
            return false;
        }
        *backends |= EXECBUF_BACKEND_BIT(backend);
        if (text[length] == '\0') {
            return true;
        }
        text += length + 1;
    }
}

/* The backends if neither the program nor the environment chooses. */
static uint32_t usual(void) {
    uint32_t backends = XB_KNOWN_BACKENDS & ~XB_LOAD_RELAXED(avoided);
    return (backends & existing()) != 0 ? backends : XB_KNOWN_BACKENDS;
}

/* Reads the environment variable; unset or empty means the usual backends. */
static execbuf_status read_environment(uint32_t *backends) {
    char text[64]; /* all names together take fewer */
    uint32_t named_ones = usual();
    if (xb_prim_environment(XB_CHOICE_VARIABLE, text, sizeof text) && text[0] != '\0' &&
        !parse(text, &named_ones)) {
        return EXECBUF_E_BACKENDS;
    }
    if ((named_ones & existing()) == 0) {
        return EXECBUF_E_BACKENDS;
    }
    *backends = named_ones;
    return EXECBUF_OK;
}

/* Reads the variables. */
static uint32_t get(bool *is_used) {
    xb_prim_lock();
    uint32_t backends = chosen;
    *is_used = is_made;
    xb_prim_unlock();
    return backends;
}

execbuf_status xb_choice_set(uint32_t backends, execbuf_error *error) {
    uint32_t set = backends == 0 ? XB_KNOWN_BACKENDS : backends;
    if ((set & ~XB_KNOWN_BACKENDS) != 0 || (set & existing()) == 0) {
        return xb_error_set(error, EXECBUF_E_BACKENDS, "backends", 0);
    }
    xb_prim_lock();
    bool is_late = is_made;
    chosen = is_late ? chosen : set;
    xb_prim_unlock();
    return is_late ? xb_error_set(error, EXECBUF_E_BACKENDS, "first use", 0) : xb_error_ok(error);
}

void xb_choice_avoid(uint32_t backends) {
    xb_prim_lock();
    XB_STORE_RELEASE(avoided, avoided | backends);
    xb_prim_unlock();
}

execbuf_status xb_choice_read(uint32_t *backends) {
    bool is_used;
    uint32_t set = get(&is_used);
    if (set == 0) {
        return read_environment(backends);
    }
    *backends = set;
    return EXECBUF_OK;
}

execbuf_status xb_choice_begin(execbuf_error *error) {
    bool is_used;
    uint32_t set = get(&is_used);
    if (is_used) {
        return EXECBUF_OK;
    }
    if (set == 0 && read_environment(&set) != EXECBUF_OK) {
        return xb_error_set(error, EXECBUF_E_BACKENDS, XB_CHOICE_VARIABLE, 0);
    }
    xb_prim_lock();
    if (!is_made) {
        chosen = chosen != 0 ? chosen : set;
        is_made = true;
    }
    xb_prim_unlock();
    return EXECBUF_OK;
}

uint32_t xb_choice_of(uint32_t backends) {
    bool is_used;
    uint32_t set = get(&is_used);
    return backends == 0 ? set : backends & set;
}

bool xb_choice_allows_any(uint32_t backends) {
    return (backends & ~XB_KNOWN_BACKENDS) == 0 && (xb_choice_of(backends) & existing()) != 0;
}
