/* The unwind tables of a span of adapters, or of code of users of which some is described, for unwinders that
 * take lists.
 *
 * Such an unwinder may search what is registered one by one (libgcc up to 12, Wine), so there must be few
 * registrations. A list is registered with the first adapter of a span, or with its first description, and
 * stays until the span is removed from its pool, or freed with its region. An adapter that comes into a slot
 * changes the slot's entry. One that goes changes nothing: nobody runs what is in a free slot. A description
 * is taken back, because code without one may come into the slot.
 *
 * For unwinders that read DWARF, a list has an FDE for each slot, and group.h makes one registration of all
 * lists of a region. The unwinder reads only once how many FDEs a list has, in which order, and from where to
 * where they reach; so the address and the length of each never change, and are those of the slot. For
 * Windows, see xdata_list.h. */
#ifndef XB_DEBUG_SECTION_H
#define XB_DEBUG_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../pool/span.h"
#include "../prim/unwinder.h"
#include "dwarf.h"
#include "group.h"
#include "rules.h"

/* What span->tables points to. */
typedef struct xb_section {
    xb_span_tables tables;
    const xb_region *region;
    uint32_t slot_size;
    bool is_lost; /* the unwinder does not find all of the list, so each piece of code is registered alone */
    xb_prim_function function; /* stands for the whole span */
    uint64_t words[];          /* the list of FDEs, or that for Windows */
} xb_section;

XB_PRIVATE_BEGIN

/* The section of a span, registered if it can be. No lock is held.
 *
 * Returns: success, or the call that failed: no memory.
 * In:  span:   has live code, and thus stays.
 *      kind:   always the same for a span. The records of users' lists are larger (see rules.h).
 * Out: out:    the section; NULL on failure, or if no unwinder can learn of code.
 *      memory: how many bytes were allocated. The pool's book-keeping does not count them yet. */
xb_result xb_section_of(xb_span *span, xb_list_kind kind, xb_section **out, size_t *memory);

/* Describes an adapter, which nobody runs yet, in the section of its span, which is not lost. */
void xb_section_add(xb_section *section, const uint8_t *code, const xb_frame *frame);

/* Describes code of a user, which nobody runs, by rules that fit (see xb_record_fits). The section is one of
 * users, and is not lost. The process's lock is held, as for the next two: two threads may do this for the
 * same slot if one of them has a stale handle. */
void xb_section_describe(xb_section *section, const uint8_t *code, const xb_rules *rules);

/* For Windows: describes code of a user by an UNWIND_INFO, less than 4 GiB above the span. */
void xb_section_describe_xdata(xb_section *section, const uint8_t *code, size_t length, const uint8_t *xdata);

/* Takes a description of a user's code back. */
void xb_section_undescribe(xb_section *section, const uint8_t *code);

XB_PRIVATE_END

#endif
