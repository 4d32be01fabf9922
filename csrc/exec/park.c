/* The list of parked mappings, and static nodes for those that nothing else describes.
 *
 * The process's lock guards the list and the static nodes. No system call is made while it is held: a node
 * is taken out of the list to be tried, and linked again if the system still refuses. A fork in between
 * loses such a node in the child, where the mapping then stays.
 *
 * If the static nodes run out, a mapping stays for ever. It takes more than SPARE_NODES / 2 threads whose
 * unmapping is refused at the same moment: when half of the nodes are in use, xb_may_map_temporary lets no
 * further temporary memory be mapped, and the other half is for threads that asked before. */

#include "park.h"

#define SPARE_NODES 64U

static xb_parked *parked_nodes;
static xb_result last_refusal; /* the reason why the last one was parked */
static xb_parked spare_nodes[SPARE_NODES];
static uint32_t spare_used; /* nodes from this one on were never used */
static uint32_t spare_busy; /* nodes that are parked */
static xb_parked *spare_free;

/* Unmaps one mapping of a node, if it is still there. */
static xb_result unmap_one(void **mapping, size_t size) {
    xb_result result = *mapping != NULL ? xb_prim_release(*mapping, size) : xb_ok();
    if (result.call == NULL) {
        *mapping = NULL;
    }
    return result;
}

/* Unmaps what a node describes, as far as the system lets us: the writable view of a region first. */
static xb_result unmap_node(xb_parked *node) {
    xb_result second = unmap_one(&node->second, node->size);
    xb_result base = unmap_one(&node->base, node->size);
    return second.call != NULL ? second : base;
}

static void park_node(xb_parked *node, xb_result refusal) {
    xb_prim_lock();
    node->next = parked_nodes;
    parked_nodes = node;
    last_refusal = refusal;
    xb_prim_unlock();
}

void xb_unmap_or_park(xb_parked *node, void *base, void *second, size_t size, void (*done)(void *owner),
                      void *owner) {
    node->next = NULL;
    node->base = base;
    node->second = second;
    node->size = size;
    node->done = done;
    node->owner = owner;
    xb_result result = unmap_node(node);
    if (result.call == NULL) {
        done(owner);
    } else {
        park_node(node, result);
    }
}

/* A static node, or NULL if all are in use. */
static xb_parked *take_spare(void) {
    xb_prim_lock();
    xb_parked *node = spare_free;
    if (node != NULL) {
        spare_free = node->next;
    } else if (spare_used < SPARE_NODES) {
        node = &spare_nodes[spare_used++];
    }
    spare_busy += node != NULL;
    xb_prim_unlock();
    return node;
}

static void free_spare(void *owner) {
    xb_parked *node = (xb_parked *)owner;
    xb_prim_lock();
    node->next = spare_free;
    spare_free = node;
    spare_busy--;
    xb_prim_unlock();
}

void xb_unmap_temporary(void *base, void *second, size_t size) {
    xb_parked node = {NULL, NULL, NULL, 0, NULL, NULL};
    node.base = base;
    node.second = second;
    node.size = size;
    xb_result result = unmap_node(&node);
    xb_parked *spare = result.call != NULL ? take_spare() : NULL;
    if (spare != NULL) {
        *spare = node;
        spare->done = free_spare;
        spare->owner = spare;
        park_node(spare, result);
    }
}

/* Success, or how the system refused to unmap, if half of the static nodes are in use. */
static xb_result check_spares(void) {
    xb_prim_lock();
    xb_result result = spare_busy < SPARE_NODES / 2 ? xb_ok() : last_refusal;
    xb_prim_unlock();
    return result;
}

xb_result xb_may_map_temporary(void) {
    xb_result result = check_spares();
    if (result.call != NULL) {
        xb_unmap_parked();
        result = check_spares();
    }
    return result;
}

void xb_unmap_parked(void) {
    for (;;) {
        xb_prim_lock();
        xb_parked *node = parked_nodes;
        if (node != NULL) {
            parked_nodes = node->next;
        }
        xb_prim_unlock();
        if (node == NULL) {
            return;
        }
        xb_result result = unmap_node(node);
        if (result.call != NULL) {
            park_node(node, result);
            return;
        }
        node->done(node->owner);
    }
}

void xb_park_after_fork(void) {
    for (xb_parked *node = parked_nodes; node != NULL; node = node->next) {
        node->second = NULL;
    }
}
