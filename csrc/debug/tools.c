/* Which tools are on, and telling them of described code. */

#include "tools.h"

#include <string.h>

#include "../base/error.h"
#include "../exec/choice.h"
#include "../prim/prim.h"
#include "gdb_groups.h"
#include "gdb_jit.h"
#include "jitdump.h"
#include "perf_map.h"

uint32_t xb_tools_on;

/* The first failure of each tool; with status EXECBUF_OK, there is none. */
typedef struct tool_failure {
    execbuf_status status;
    int32_t os_error;
    const char *culprit;
    size_t position;
} tool_failure;

/* Of the variable, gdb, perf and jitdump. */
static tool_failure tool_failures[4];

static bool has_begun;

/* ---- Failures ---- */

/* Where the failure of a tool is noted; NULL: there is no such tool. */
static tool_failure *failure_of(uint32_t tool) {
    switch (tool) {
    case 0: return &tool_failures[0];
    case EXECBUF_TOOL_GDB: return &tool_failures[1];
    case EXECBUF_TOOL_PERF: return &tool_failures[2];
    case EXECBUF_TOOL_JITDUMP: return &tool_failures[3];
    default: return NULL;
    }
}

/* Notes the first failure of a tool, and switches it off. The lock is held. */
static void note_failure(uint32_t tool, const execbuf_error *error) {
    tool_failure *failure = failure_of(tool);
    if (failure->status == EXECBUF_OK) {
        failure->status = error->status;
        failure->os_error = error->os_error;
        failure->culprit = error->culprit;
        failure->position = error->position;
    }
    XB_STORE_RELEASE(xb_tools_on, xb_tools_on & ~tool);
}

void xb_tools_check(uint32_t tool, xb_result result) {
    execbuf_error error;
    if (result.call != NULL) {
        (void)xb_error_set(&error, EXECBUF_E_TOOL, result.call, result.code);
        xb_prim_lock();
        note_failure(tool, &error);
        xb_prim_unlock();
    }
}

execbuf_status xb_tools_failure(uint32_t tool, execbuf_error *error) {
    const tool_failure *failure = failure_of(tool);
    if (failure == NULL) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, "tool", 0);
    }
    xb_prim_lock();
    tool_failure noted = *failure;
    xb_prim_unlock();
    if (noted.status == EXECBUF_OK) {
        return xb_error_ok(error);
    }
    (void)xb_error_set_at(error, noted.status, noted.culprit, noted.position);
    if (error != NULL) {
        error->os_error = noted.os_error;
    }
    return noted.status;
}

/* ---- Switching ---- */

uint32_t xb_tools_existing(void) {
    const xb_prim_info info = xb_prim_query();
    return (xb_gdb_exists() ? EXECBUF_TOOL_GDB : 0) | (info.has_perf_map ? EXECBUF_TOOL_PERF : 0) |
           (info.has_dump ? EXECBUF_TOOL_JITDUMP : 0);
}

/* perf reads its file for anonymous memory only, which a memfd is not. */
static void prepare_memory(uint32_t which) {
    if ((which & EXECBUF_TOOL_PERF) != 0) {
        xb_choice_avoid(EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_MEMFD));
    }
}

void xb_tools_switch_on(uint32_t which) {
    static const tool_failure none = {EXECBUF_OK, 0, NULL, 0};
    prepare_memory(which);
    xb_prim_lock();
    for (uint32_t tool = 1; tool <= XB_KNOWN_TOOLS; tool <<= 1) {
        if ((which & tool) != 0) {
            *failure_of(tool) = none;
        }
    }
    XB_STORE_RELEASE(xb_tools_on, xb_tools_on | which);
    xb_prim_unlock();
}

void xb_tools_switch_off(uint32_t which) {
    xb_prim_lock();
    XB_STORE_RELEASE(xb_tools_on, xb_tools_on & ~which);
    xb_prim_unlock();
}

/* ---- The environment ---- */

/* The tool with a name of this length; 0: there is none. */
static uint32_t tool_named(const char *name, size_t length) {
    static const struct {
        const char *name;
        uint32_t tool;
    } known[] = {{"gdb", EXECBUF_TOOL_GDB}, {"perf", EXECBUF_TOOL_PERF}, {"jitdump", EXECBUF_TOOL_JITDUMP}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (length == strlen(known[i].name) && memcmp(name, known[i].name, length) == 0) {
            return known[i].tool;
        }
    }
    return 0;
}

/* Reads names that are separated by commas.
 *
 * Returns: the tools.
 * Out: error: if a name is unknown, a report of the first one. */
static uint32_t parse_tools(const char *text, execbuf_error *error) {
    uint32_t which = 0;
    (void)xb_error_ok(error);
    for (size_t at = 0; text[at] != '\0';) {
        size_t length = strcspn(text + at, ",");
        uint32_t tool = tool_named(text + at, length);
        which |= tool;
        if (tool == 0 && error->status == EXECBUF_OK) {
            (void)xb_error_set_at(error, EXECBUF_E_TOOL, XB_TOOLS_VARIABLE, at);
        }
        at += length + (text[at + length] == ',');
    }
    return which;
}

void xb_tools_begin(void) {
    char text[64]; /* all names together take fewer */
    execbuf_error wrong = EXECBUF_ERROR_INIT;
    execbuf_error missing = EXECBUF_ERROR_INIT;
    if (XB_LOAD_ACQUIRE(has_begun)) {
        return;
    }
    bool is_set = xb_prim_environment(XB_TOOLS_VARIABLE, text, sizeof text);
    uint32_t which = is_set ? parse_tools(text, &wrong) : 0;
    uint32_t existing = xb_tools_existing();
    (void)xb_error_set(&missing, EXECBUF_E_TOOL, XB_TOOLS_VARIABLE, 0);
    prepare_memory(which & existing);
    xb_prim_lock();
    if (!has_begun) {
        XB_STORE_RELEASE(xb_tools_on, xb_tools_on | (which & existing));
        if (wrong.status != EXECBUF_OK) {
            note_failure(0, &wrong);
        }
        for (uint32_t tool = 1; tool <= XB_KNOWN_TOOLS; tool <<= 1) {
            if ((which & ~existing & tool) != 0) {
                note_failure(tool, &missing);
            }
        }
        XB_STORE_RELEASE(has_begun, true);
    }
    xb_prim_unlock();
}

/* ---- Telling ---- */

static void call_observers(execbuf_event_kind kind, const xb_description *description) {
    execbuf_event event = {sizeof event, kind, 0, description->buffer, NULL, 0, NULL, 0};
    event.name = (const char *)description->name;
    event.name_length = description->name_length;
    event.lines = description->lines;
    event.line_count = description->line_count;
    xb_observers_call(&event);
}

void xb_tools_tell(execbuf_event_kind kind, xb_description *description) {
    uint32_t on = XB_LOAD_RELAXED(xb_tools_on);
    if (kind != EXECBUF_EVENT_ENDED && (on & EXECBUF_TOOL_GDB) != 0) {
        xb_tools_check(EXECBUF_TOOL_GDB, xb_gdb_join(&description->gdb));
    }
    if (kind != EXECBUF_EVENT_ENDED && (on & EXECBUF_TOOL_PERF) != 0) {
        xb_tools_check(EXECBUF_TOOL_PERF, xb_perf_map_add(description));
    }
    if (kind != EXECBUF_EVENT_ENDED && (on & EXECBUF_TOOL_JITDUMP) != 0) {
        xb_tools_check(EXECBUF_TOOL_JITDUMP, xb_jitdump_add(description));
    }
    if (XB_LOAD_RELAXED(xb_observers_exist)) {
        call_observers(kind, description);
    }
    if (kind == EXECBUF_EVENT_ENDED) { /* also if the tool was switched off meanwhile */
        xb_gdb_leave(&description->gdb);
    }
}

void xb_tools_end_batch(void) {
    if ((XB_LOAD_RELAXED(xb_tools_on) & EXECBUF_TOOL_GDB) != 0) {
        xb_tools_check(EXECBUF_TOOL_GDB, xb_gdb_flush());
    }
}
