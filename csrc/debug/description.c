/* Descriptions of code of users.
 *
 * The process's lock guards the table, and the records in the lists of spans. It is not held while memory is
 * allocated and while the unwinder is called. */

#include "description.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../base/handle.h"
#include "../pool/free.h"
#include "../pool/slot.h"
#include "../prim/prim.h"
#include "../prim/report.h"
#include "../prim/unwinder.h"
#include "canned.h"
#include "eh_frame.h"
#include "section.h"

/* The description of a buffer. */
typedef struct xb_description {
    struct xb_description *next; /* in a bucket */
    const void *entry;
    uint64_t id;             /* of the buffer: tells apart those that had this address */
    xb_section *section;     /* whose record of the buffer's slot is filled; or NULL */
    const xb_region *region; /* that the code is in; NULL if it has a dedicated mapping */
    bool is_registered;      /* function is registered, and words is its list */
    xb_prim_function function;
    uint64_t *words; /* or NULL */
    size_t name_length;
    uint8_t name[];
} xb_description;

/* ---- The table ---- */

#define FIRST_BUCKETS 64U

static struct {
    xb_description **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;        /* of descriptions */
} described;

/* The bucket of an address. Entries are multiples of 16. */
static xb_description **description_bucket(const void *entry) {
    size_t hash = ((uintptr_t)entry >> 4) * (size_t)0x9e3779b97f4a7c15;
    return &described.buckets[(hash >> (sizeof hash * 4)) & (described.bucket_count - 1)];
}

static void add_description(xb_description *description) {
    xb_description **bucket = description_bucket(description->entry);
    description->next = *bucket;
    *bucket = description;
}

/* Moves all descriptions to other buckets. Returns the old ones, which the caller frees. */
static xb_description **rehash_descriptions(xb_description **buckets, size_t bucket_count) {
    xb_description **old = described.buckets;
    size_t old_count = described.bucket_count;
    described.buckets = buckets;
    described.bucket_count = bucket_count;
    for (size_t i = 0; i < old_count; i++) {
        xb_description *next;
        for (xb_description *one = old[i]; one != NULL; one = next) {
            next = one->next;
            add_description(one);
        }
    }
    return old;
}

/* Makes space for one more description. Without memory the table only becomes slower.
 *
 * Returns: false if there is no table, and no memory for one. */
static bool make_bucket_room(void) {
    xb_prim_lock();
    bool is_full = described.count >= described.bucket_count;
    size_t wanted = described.bucket_count == 0 ? FIRST_BUCKETS : 2 * described.bucket_count;
    xb_prim_unlock();
    if (!is_full) {
        return true;
    }
    xb_description **buckets =
        XB_FAULT("calloc") != 0 ? NULL : (xb_description **)calloc(wanted, sizeof(void *));
    xb_prim_lock();
    if (buckets != NULL && described.bucket_count < wanted) { /* no other thread was faster */
        buckets = rehash_descriptions(buckets, wanted);
    }
    bool has_room = described.bucket_count != 0;
    xb_prim_unlock();
    free(buckets);
    return has_room;
}

/* Takes the description of a buffer from the table, and its rules from the list of its span.
 *
 * Returns: the description; NULL: there is none. */
static xb_description *take_description(const execbuf *buffer) {
    xb_description *found = NULL;
    xb_prim_lock();
    xb_description **link = described.count != 0 ? description_bucket(buffer->entry) : &found;
    while (*link != NULL && ((*link)->entry != buffer->entry || (*link)->id != buffer->id)) {
        link = &(*link)->next;
    }
    found = *link;
    if (found != NULL) {
        *link = found->next;
        XB_STORE_RELEASE(described.count, described.count - 1);
        if (found->section != NULL) {
            xb_section_describe(found->section, (const uint8_t *)found->entry, NULL);
        }
    }
    xb_prim_unlock();
    return found;
}

void xb_descriptions_unload(void) {
    if (described.count == 0) {
        free(described.buckets);
    }
}

/* ---- Ending ---- */

static void free_description(xb_description *description) {
    if (description != NULL) {
        free(description->words);
        free(description);
    }
}

/* The hook xb_slot_undescribe. */
static bool end_description(const execbuf *buffer) {
    xb_prim_check_fork();
    xb_description *description = take_description(buffer);
    if (description == NULL) {
        return false;
    }
    bool is_forgotten = !description->is_registered;
    if (!is_forgotten && xb_prim_begin_unwinder()) {
        xb_group_remove(description->region, &description->function);
        xb_prim_end_unwinder();
        is_forgotten = true;
    }
    if (is_forgotten) { /* else the unwinder was lost in a fork, and may refer to it for ever */
        free_description(description);
    }
    return true;
}

void xb_undescribe(const execbuf *buffer) {
    if (XB_LOAD_RELAXED(described.count) != 0 && end_description(buffer) &&
        (buffer->id & XB_ID_POOL_BIT) != 0) {
        xb_slot_count_description(buffer, false);
    }
}

/* ---- Reading ---- */

/* What a description says, while it is made. */
typedef struct unwinding {
    xb_rules *rules;
    size_t count; /* of rules; 0: nothing is known of unwinding */
    xb_rules one; /* rules, if there is one */
    uint8_t program[XB_MAX_CANNED];
} unwinding;

/* Reads a table twice: first to count its functions. */
static execbuf_status read_user_table(unwinding *out, const xb_target *target, const execbuf_info *info,
                                      execbuf_error *error) {
    const uint8_t *bytes = (const uint8_t *)info->table;
    uint64_t start = (uintptr_t)target->buffer->entry;
    xb_table_fault fault =
        xb_eh_frame_read(bytes, info->table_length, start, target->length, NULL, &out->count);
    if (fault.reason != NULL) {
        return xb_error_set_at(error, EXECBUF_E_UNWIND, fault.reason, fault.offset);
    }
    if (out->count > 1) {
        out->rules = XB_FAULT("calloc") != 0 ? NULL : (xb_rules *)calloc(out->count, sizeof *out->rules);
        if (out->rules == NULL) {
            return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
        }
    }
    (void)xb_eh_frame_read(bytes, info->table_length, start, target->length, out->rules, &out->count);
    return xb_eh_frame_sort(out->rules, out->count)
               ? EXECBUF_OK
               : xb_error_set(error, EXECBUF_E_UNWIND, "functions overlap", 0);
}

static execbuf_status read_unwind(unwinding *out, const xb_target *target, const execbuf_info *info,
                                  execbuf_error *error) {
    bool is_known = info->unwind >= EXECBUF_UNWIND_UNKNOWN && info->unwind <= EXECBUF_UNWIND_UNWIND_INFO;
    out->rules = &out->one;
    out->count = 0;
    if (info->unwind == EXECBUF_UNWIND_UNKNOWN) {
        return EXECBUF_OK;
    }
    if (!is_known) {
        return xb_error_set(error, EXECBUF_E_VERSION, "unwind", 0);
    }
    if (xb_prim_query().wants_xdata || sizeof(void *) != 8 || info->unwind == EXECBUF_UNWIND_UNWIND_INFO) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, "unwind", 0);
    }
    if (info->unwind == EXECBUF_UNWIND_EH_FRAME) {
        return read_user_table(out, target, info, error);
    }
    out->count = 1;
    const char *wrong =
        xb_canned_rules(&out->one, out->program, info, target->code, target->length, target->buffer->entry);
    return wrong == NULL ? EXECBUF_OK : xb_error_set(error, EXECBUF_E_UNWIND, wrong, 0);
}

/* Whether rules can go into the list of a span. A span with one slot needs no list. */
static bool is_listed(const xb_target *target) {
    return target->span != NULL && target->span->slots > 1;
}

static execbuf_status check_record(const unwinding *from, const xb_target *target, execbuf_error *error) {
    if (from->count == 0 || !is_listed(target)) {
        return EXECBUF_OK;
    }
    if (from->count > 1) {
        return xb_error_set(error, EXECBUF_E_UNWIND, "more than one function", 0);
    }
    return xb_record_fits(from->rules, (uintptr_t)target->buffer->entry, target->span->slot_size)
               ? EXECBUF_OK
               : xb_error_set(error, EXECBUF_E_UNWIND, "too many instructions", 0);
}

/* ---- Making ---- */

/* Finds the list of the code's span, or writes one for the code alone.
 *
 * Returns: the call that failed: no memory. */
static xb_result prepare_list(xb_description *made, const unwinding *from, const xb_target *target) {
    if (from->count == 0) {
        return xb_ok();
    }
    if (is_listed(target) && xb_prim_registers_lists()) {
        size_t memory;
        xb_result result = xb_section_of(target->span, XB_OF_USERS, &made->section, &memory);
        if (memory != 0) {
            xb_slot_count_tables(target->buffer, memory);
        }
        if (result.call != NULL) {
            return result;
        }
        if (made->section != NULL && !made->section->is_lost) {
            return xb_ok();
        }
        made->section = NULL;
    }
    size_t words = xb_rules_words(from->rules, from->count);
    made->words = XB_FAULT("malloc") != 0 ? NULL : (uint64_t *)malloc(words * sizeof *made->words);
    if (made->words == NULL) {
        return xb_failed("malloc", 0);
    }
    const xb_rules *first = from->rules;
    const xb_rules *last = &first[from->count - 1];
    xb_prim_function *function = &made->function;
    const uint8_t *entry = (const uint8_t *)target->buffer->entry;
    xb_rules_write(made->words, first, from->count, &function->fde, &function->last_fde);
    function->code = entry + (first->start - (uintptr_t)entry);
    function->length = (uint32_t)(last->start + last->size - first->start);
    return xb_ok();
}

/* Registers code that is not in the list of a span. */
static xb_result register_description(xb_description *made) {
    xb_result result = xb_ok();
    if (made->words != NULL && xb_prim_begin_unwinder()) {
        result = xb_group_add(made->region, XB_OF_USERS, &made->function);
        made->is_registered = result.call == NULL;
        xb_prim_end_unwinder();
    }
    return result;
}

/* Makes a description that nobody knows yet; NULL: no memory. */
static xb_description *new_description(const xb_target *target, const execbuf_info *info) {
    size_t size = sizeof(xb_description) + info->name_length;
    xb_description *made = XB_FAULT("malloc") != 0 ? NULL : (xb_description *)malloc(size);
    if (made != NULL) {
        memset(made, 0, sizeof *made);
        made->entry = target->buffer->entry;
        made->id = target->buffer->id;
        made->region = target->span != NULL ? target->span->region : NULL;
        made->name_length = info->name_length;
        if (info->name_length > 0) {
            memcpy(made->name, info->name, info->name_length);
        }
    }
    return made;
}

/* Allocates all that a description needs.
 *
 * Out: out: the description; NULL on failure. */
static xb_result prepare_description(xb_description **out, const unwinding *from, const xb_target *target,
                                     const execbuf_info *info) {
    xb_description *made = new_description(target, info);
    xb_result result = made != NULL ? prepare_list(made, from, target) : xb_failed("malloc", 0);
    if (result.call == NULL && !make_bucket_room()) {
        result = xb_failed("calloc", 0);
    }
    if (result.call == NULL && made->words != NULL && !xb_group_prepare(made->region)) {
        result = xb_failed("malloc", 0);
    }
    if (result.call != NULL) {
        free_description(made);
        made = NULL;
    }
    *out = made;
    return result;
}

/* Makes a description known, in place of the one that the code had. */
static xb_result show_description(xb_description *made, const unwinding *from, const xb_target *target) {
    xb_undescribe(target->buffer);
    xb_result result = register_description(made);
    if (result.call != NULL) {
        return result;
    }
    if (target->span != NULL) {
        XB_STORE_RELEASE(xb_slot_undescribe, &end_description);
        xb_slot_count_description(target->buffer, true);
    }
    xb_prim_lock();
    if (made->section != NULL) {
        xb_section_describe(made->section, (const uint8_t *)made->entry, from->rules);
    }
    add_description(made);
    XB_STORE_RELEASE(described.count, described.count + 1);
    xb_prim_unlock();
    return result;
}

execbuf_status xb_describe(const xb_target *target, const execbuf_info *info, execbuf_error *error) {
    unwinding from;
    xb_description *made = NULL;
    execbuf_status status = read_unwind(&from, target, info, error);
    status = status == EXECBUF_OK ? check_record(&from, target, error) : status;
    if (status == EXECBUF_OK) {
        xb_result result = prepare_description(&made, &from, target, info);
        if (result.call != NULL) {
            status = xb_error_set(error, EXECBUF_E_NO_MEMORY, result.call, 0);
        } else if ((result = show_description(made, &from, target)).call != NULL) {
            free_description(made);
            status = xb_error_from_system(error, result);
        }
    }
    if (from.rules != &from.one) {
        free(from.rules);
    }
    return status;
}
