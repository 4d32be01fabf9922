/* Groups of functions, each of which is one object of debuggers. The process's lock guards them. Memory is
 * allocated without it. */

#include "gdb_groups.h"

#include <stdlib.h>

#include "../base/fault.h"
#include "../prim/prim.h"
#include "gdb_jit.h"

struct xb_gdb_group {
    xb_gdb_entry entry;
    bool is_listed; /* debuggers know the object */
    bool is_stale;  /* the object lacks functions, and the group is in stale_groups */
    xb_gdb_group *next_stale;
    uint8_t *object; /* or NULL */
    size_t capacity; /* of object */
    size_t count;
    const xb_elf_function *functions[XB_MOST_ELF_FUNCTIONS]; /* of the members */
};

static xb_gdb_group *open_group; /* that functions are added to, until it is written; or NULL */
static xb_gdb_group *stale_groups;

/* ---- While the lock is held ---- */

static void unlist(xb_gdb_group *group) {
    if (group->is_listed) {
        xb_gdb_remove(&group->entry);
        group->is_listed = false;
    }
}

/* Writes the object, which fits. */
static void list_anew(xb_gdb_group *group) {
    unlist(group);
    xb_elf_write(group->object, group->functions, group->count);
    xb_gdb_add(&group->entry, group->object, xb_elf_size(group->functions, group->count));
    group->is_listed = true;
}

static void set_stale(xb_gdb_group *group) {
    if (!group->is_stale) {
        group->is_stale = true;
        group->next_stale = stale_groups;
        stale_groups = group;
    }
}

static void end_stale(xb_gdb_group *group) {
    xb_gdb_group **link = &stale_groups;
    while (*link != NULL && *link != group) {
        link = &(*link)->next_stale;
    }
    if (*link != NULL) {
        *link = group->next_stale;
        group->is_stale = false;
    }
}

static bool has_open_group(void) {
    return open_group != NULL && open_group->count < XB_MOST_ELF_FUNCTIONS;
}

static void add_member(xb_gdb_group *group, xb_gdb_member *member) {
    group->functions[group->count++] = &member->function;
    member->group = group;
    set_stale(group);
}

/* Takes a member from its group.
 *
 * Returns: the group, if the caller has to free it: it is empty; or NULL. */
static xb_gdb_group *take_member(xb_gdb_member *member) {
    xb_gdb_group *group = member->group;
    size_t index = 0;
    while (group->functions[index] != &member->function) {
        index++;
    }
    group->count--;
    group->functions[index] = group->functions[group->count];
    member->group = NULL;
    if (group->count > 0 && !group->is_stale) {
        list_anew(group);
        return NULL;
    }
    unlist(group); /* if it is stale, until xb_gdb_flush */
    if (group->count > 0) {
        return NULL;
    }
    end_stale(group);
    open_group = open_group == group ? NULL : open_group;
    return group;
}

/* ---- Joining and leaving ---- */

xb_result xb_gdb_join(xb_gdb_member *member) {
    xb_gdb_group *made = NULL;
    xb_prim_lock();
    if (!has_open_group()) {
        xb_prim_unlock();
        made = XB_FAULT("calloc") != 0 ? NULL : (xb_gdb_group *)calloc(1, sizeof *made);
        if (made == NULL) {
            return xb_failed("calloc", 0);
        }
        xb_prim_lock();
    }
    if (!member->has_left) {
        if (!has_open_group()) { /* no other thread was faster, or it has filled a group */
            open_group = made;
            made = NULL;
        }
        add_member(open_group, member);
    }
    xb_prim_unlock();
    free(made);
    return xb_ok();
}

void xb_gdb_leave(xb_gdb_member *member) {
    xb_gdb_group *empty = NULL;
    xb_prim_lock();
    member->has_left = true;
    if (member->group != NULL) {
        empty = take_member(member);
    }
    xb_prim_unlock();
    if (empty != NULL) {
        free(empty->object);
        free(empty);
    }
}

/* Writes stale objects until one needs more memory than there is.
 *
 * Returns: how much that one needs; 0: none is stale.
 * In/Out: space, size: memory that may be used; then that which is not needed, or NULL. */
static size_t flush_with(uint8_t **space, size_t *size) {
    size_t needed = 0;
    xb_prim_lock();
    while (stale_groups != NULL && needed == 0) {
        xb_gdb_group *group = stale_groups;
        size_t wanted = xb_elf_size(group->functions, group->count);
        if (wanted > group->capacity && wanted > *size) {
            needed = wanted;
            continue;
        }
        end_stale(group);
        open_group = open_group == group ? NULL : open_group;
        unlist(group);
        if (wanted > group->capacity) {
            uint8_t *old = group->object;
            group->object = *space;
            group->capacity = *size;
            *space = old;
            *size = 0;
        }
        list_anew(group);
    }
    xb_prim_unlock();
    return needed;
}

xb_result xb_gdb_flush(void) {
    uint8_t *space = NULL;
    size_t size = 0;
    size_t needed;
    while ((needed = flush_with(&space, &size)) != 0) {
        free(space);
        size = needed + needed / 2;
        space = XB_FAULT("malloc") != 0 ? NULL : (uint8_t *)malloc(size);
        if (space == NULL) {
            return xb_failed("malloc", 0);
        }
    }
    free(space);
    return xb_ok();
}
