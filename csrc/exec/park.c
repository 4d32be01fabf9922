/* The list of parked mappings, and the static nodes for temporary ones.
 *
 * The process's lock guards all data here. It is not held during system calls: a node is removed from the
 * list before its mappings are tried again, and added again if the system still refuses. If another thread
 * forks in between, the child does not have that node and keeps the mapping until it ends.
 *
 * If no static node is left, a temporary mapping is not parked and stays mapped until the process ends. This
 * takes more than SPARE_NODES / 2 threads whose unmapping is refused at the same time: while half of the
 * nodes are in use, xb_may_map_temporary fails, and the other half remains for threads that have called it
 * before. */

#include "park.h"

#define SPARE_NODES 64U

static xb_parked *parked_nodes;
static xb_result last_refusal; /* why the last node was parked */

static xb_parked spare_nodes[SPARE_NODES];
static xb_parked *spare_free;  /* list of nodes that were in use and are free again */
static uint32_t spare_started; /* how many nodes were ever in use */
static uint32_t spare_busy;    /* how many nodes are in use */

/* Unmaps one mapping of a node, unless it is NULL, and sets it to NULL. */
static xb_result unmap_one(void **mapping, size_t size) {
    xb_result result = *mapping != NULL ? xb_prim_release(*mapping, size) : xb_ok();
    if (result.call == NULL) {
        *mapping = NULL;
    }
    return result;
}

/* Tries to unmap both mappings of a node. The second is the first to go: it is the writable view of a region.
 * Returns the refusal, if there is any. */
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

/* Takes a static node; NULL if all are in use. */
static xb_parked *take_spare(void) {
    xb_prim_lock();
    xb_parked *node = spare_free;
    if (node != NULL) {
        spare_free = node->next;
    } else if (spare_started < SPARE_NODES) {
        node = &spare_nodes[spare_started++];
    }
    spare_busy += node != NULL;
    xb_prim_unlock();
    return node;
}

/* The done function of static nodes; owner is the node. */
static void free_spare(void *owner) {
    xb_parked *node = (xb_parked *)owner;
    xb_prim_lock();
    node->next = spare_free;
    spare_free = node;
    spare_busy--;
    xb_prim_unlock();
}

void xb_unmap_temporary(void *base, void *second, size_t size) {
    xb_parked node = {NULL, NULL, NULL, 0, NULL, NULL, false};
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

/* Fails with the last refusal if half of the static nodes are in use. */
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
    xb_prim_check_fork(); /* before a writable view is unmapped that this process does not have */
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
        node->base = node->not_inherited ? NULL : node->base;
    }
}
