/* Which tools are told of described code, and telling them. The process's lock guards what is on and what has
 * failed. It is not held while a tool is told. */
#ifndef XB_DEBUG_TOOLS_H
#define XB_DEBUG_TOOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../base/error.h"
#include "../include/execbuf.h"
#include "described.h"
#include "observers.h"

/* The environment variable, which is also the culprit if it is wrong. */
#define XB_TOOLS_VARIABLE "EXECBUF_TOOLS"

/* All tools that this version knows. */
#define XB_KNOWN_TOOLS (EXECBUF_TOOL_GDB | EXECBUF_TOOL_PERF | EXECBUF_TOOL_JITDUMP)

XB_PRIVATE_BEGIN

/* The tools that are on, but for observers. */
extern uint32_t xb_tools_on;

/* Reads the environment variable, the first time that it is called. No lock is held. */
void xb_tools_begin(void);

/* Switches tools on that the platform has, and forgets their failures; or switches some off. */
void xb_tools_switch_on(uint32_t which);
void xb_tools_switch_off(uint32_t which);

/* The tools that the platform has. */
uint32_t xb_tools_existing(void);

/* The first failure of a tool since it was switched on; 0: what is wrong with the environment variable.
 *
 * Returns: EXECBUF_OK if there is none.
 * Out: error: the report, or NULL. */
execbuf_status xb_tools_failure(uint32_t tool, execbuf_error *error);

/* Whether any tool is told of code. */
static inline bool xb_tools_are_on(void) {
    return XB_LOAD_RELAXED(xb_tools_on) != 0 || XB_LOAD_RELAXED(xb_observers_exist);
}

/* Tells all tools that are on. No lock is held. xb_tools_end_batch follows, but for EXECBUF_EVENT_ENDED. */
void xb_tools_tell(execbuf_event_kind kind, xb_description *description);

/* Called after tools were told of one piece of code or of several. */
void xb_tools_end_batch(void);

/* Notes the failure of a tool, and switches it off, if the result is not a success. */
void xb_tools_check(uint32_t tool, xb_result result);

XB_PRIVATE_END

#endif
