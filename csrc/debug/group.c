/* All lists of a region as one registration. The lock of the unwinder guards the groups. */

#include "group.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../base/fault.h"

/* An array of lists that is registered, or will be. */
typedef struct group_array {
    xb_prim_function function;
    const uint8_t **lists; /* up to a NULL */
} group_array;

/* A group is one piece of memory: the struct, the members, and the lists of both arrays. It has two arrays so
 * that removing a list needs no memory. A larger group takes its place before a list is added for which it
 * has no room; then its array stays registered until the next change. */
typedef struct xb_group {
    struct xb_group *next;
    const xb_region *region;
    struct xb_group *previous; /* the smaller group that the registered array is part of, or NULL */
    size_t capacity;
    size_t count;            /* of members */
    size_t prepared;         /* how many more have been prepared */
    group_array *registered; /* NULL: each member is registered by itself */
    group_array array[2];
    xb_prim_function *members[]; /* by address */
} xb_group;

static xb_group *all_groups;

/* Allocates a group; NULL: no memory. */
static xb_group *new_group(size_t capacity) {
    size_t size = sizeof(xb_group) + (3 * capacity + 2) * sizeof(void *);
    xb_group *group = XB_FAULT("malloc") != 0 ? NULL : (xb_group *)malloc(size);
    if (group != NULL) {
        memset(group, 0, sizeof *group);
        group->capacity = capacity;
        group->array[0].lists = (const uint8_t **)(void *)(group->members + capacity);
        group->array[1].lists = group->array[0].lists + capacity + 1;
    }
    return group;
}

/* The link to the group of a region: to NULL if there is none. */
static xb_group **group_link(const xb_region *region) {
    xb_group **link = &all_groups;
    while (*link != NULL && (*link)->region != region) {
        link = &(*link)->next;
    }
    return link;
}

/* Frees a group that has no members. */
static void free_if_empty(xb_group **link) {
    xb_group *group = *link;
    if (group->count == 0 && group->prepared == 0) {
        *link = group->next;
        free(group->previous);
        free(group);
    }
}

/* ---- Preparing ---- */

/* Puts a larger group in the place of one, or of none.
 *
 * Returns: the group that it replaces, if nothing needs that any more. */
static xb_group *enlarge(xb_group **link, xb_group *larger, const xb_region *region) {
    xb_group *old = *link;
    larger->region = region;
    *link = larger;
    if (old == NULL) {
        return NULL;
    }
    larger->next = old->next;
    larger->count = old->count;
    larger->prepared = old->prepared;
    larger->registered = old->registered;
    memcpy(larger->members, old->members, old->count * sizeof(void *));
    bool has_array = old->registered == &old->array[0] || old->registered == &old->array[1];
    larger->previous = has_array ? old : old->previous;
    return has_array ? NULL : old;
}

/* xb_group_prepare while the lock is held.
 *
 * Returns: 0; or for how many lists a larger group is needed.
 * In/Out: larger: a group that may be used, or NULL; then one that is not needed, or NULL. */
static size_t prepare_group(const xb_region *region, xb_group **larger) {
    xb_group **link = group_link(region);
    size_t needed = *link != NULL ? (*link)->count + (*link)->prepared + 1 : 1;
    bool has_room = *link != NULL && needed <= (*link)->capacity;
    if (!has_room && (*larger == NULL || (*larger)->capacity < needed)) {
        return 2 * needed + 6;
    }
    if (!has_room) {
        *larger = enlarge(link, *larger, region);
    }
    (*link)->prepared++;
    return 0;
}

bool xb_group_prepare(const xb_region *region) {
    xb_group *larger = NULL; /* after the last round, a group that is not needed */
    size_t wanted;
    do {
        wanted = 0;
        if (region != NULL && xb_prim_begin_unwinder()) {
            wanted = xb_prim_registers_arrays() ? prepare_group(region, &larger) : 0;
            xb_prim_end_unwinder();
        }
        if (wanted > 0) {
            free(larger);
            larger = new_group(wanted);
        }
    } while (wanted > 0 && larger != NULL);
    free(larger);
    return wanted == 0;
}

void xb_group_cancel(const xb_region *region) {
    xb_group **link = group_link(region);
    if (*link != NULL) {
        (*link)->prepared--;
        free_if_empty(link);
    }
}

/* ---- Changing ---- */

static void insert_member(xb_group *group, xb_prim_function *list) {
    size_t i = group->count++;
    for (; i > 0 && group->members[i - 1]->code > list->code; i--) {
        group->members[i] = group->members[i - 1];
    }
    group->members[i] = list;
}

static void remove_member(xb_group *group, const xb_prim_function *list) {
    size_t i = 0;
    while (group->members[i] != list) {
        i++;
    }
    group->count--;
    memmove(&group->members[i], &group->members[i + 1], (group->count - i) * sizeof(void *));
}

/* Registers an array of all members, in the place of what is registered. The unwinder sorts faster what is
 * sorted.
 *
 * In: check:   the member by which the registration is checked.
 *     singles: the members that are registered by themselves.
 *     count:   of these; 0 if an array is registered. */
static xb_result replace_array(xb_group *group, const xb_prim_function *check,
                               xb_prim_function *const *singles, size_t count) {
    group_array *old = group->registered;
    group_array *array = &group->array[old == &group->array[0]];
    xb_prim_function *const registered = old != NULL ? &old->function : NULL;
    for (size_t i = 0; i < group->count; i++) {
        array->lists[i] = group->members[i]->fde;
    }
    array->lists[group->count] = NULL;
    array->function = *check;
    array->function.lists = array->lists;
    xb_result result = registered != NULL ? xb_prim_replace_unwind(&registered, 1, &array->function)
                                          : xb_prim_replace_unwind(singles, count, &array->function);
    if (result.call == NULL) {
        group->registered = array;
        free(group->previous);
        group->previous = NULL;
    }
    return result;
}

/* Adds a list to an array. With the first one of users, lists that are registered by themselves join it. */
static xb_result add_to_array(xb_group *group, xb_prim_function *list) {
    size_t count = group->count;
    xb_prim_function **singles = (xb_prim_function **)(void *)group->array[1].lists; /* is unused then */
    if (group->registered == NULL) {
        memcpy(singles, group->members, count * sizeof(void *));
    }
    insert_member(group, list);
    xb_result result = replace_array(group, list, singles, count);
    if (result.call != NULL) {
        remove_member(group, list);
    }
    return result;
}

xb_result xb_group_add(const xb_region *region, xb_list_kind kind, xb_prim_function *list) {
    xb_group **link = group_link(region);
    xb_group *group = *link;
    if (group == NULL) {
        return xb_prim_register_unwind(list);
    }
    xb_result result;
    group->prepared--;
    if (kind == XB_OF_USERS || group->registered != NULL) {
        result = add_to_array(group, list);
    } else {
        result = xb_prim_register_unwind(list);
        if (result.call == NULL) {
            insert_member(group, list);
        }
    }
    free_if_empty(link);
    return result;
}

void xb_group_remove(const xb_region *region, xb_prim_function *list) {
    xb_group **link = group_link(region);
    xb_group *group = *link;
    if (group == NULL || group->registered == NULL) {
        xb_prim_deregister_unwind(list);
    }
    if (group == NULL) {
        return;
    }
    remove_member(group, list);
    if (group->registered != NULL && group->count > 0) {
        /* The others were found before, so it does not matter what the check says. */
        (void)replace_array(group, group->members[0], NULL, 0);
    } else if (group->registered != NULL) {
        xb_prim_deregister_unwind(&group->registered->function);
        group->registered = NULL;
    }
    free_if_empty(link);
}
