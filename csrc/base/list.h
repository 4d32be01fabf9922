/* Doubly linked lists. The links are two members of the node itself, so adding a node never allocates, and
 * one node can be in several lists by different members. The list is a pointer to its first node:
 *
 *     head ──▶ A ─next─▶ B ─next─▶ C ─next─▶ NULL
 *   NULL ◀─previous─ A ◀─previous─ B ◀─previous─ C
 *
 * These are macros because node types and member names differ. They evaluate their arguments several times:
 * pass variables and members only. */
#ifndef XB_BASE_LIST_H
#define XB_BASE_LIST_H

#include <stddef.h>

/* Adds *node as the first one of the list that begins at head. The node is not in the list. */
#define XB_LIST_PUSH(head, node, next, previous)                                                             \
    do {                                                                                                     \
        (node)->next = (head);                                                                               \
        (node)->previous = NULL;                                                                             \
        if ((node)->next != NULL) {                                                                          \
            (node)->next->previous = (node);                                                                 \
        }                                                                                                    \
        (head) = (node);                                                                                     \
    } while (0)

/* Takes *node out of the list that begins at head. The node is in the list, and its links keep their values,
 * so a loop over the list may go on from it. */
#define XB_LIST_REMOVE(head, node, next, previous)                                                           \
    do {                                                                                                     \
        if ((node)->previous != NULL) {                                                                      \
            (node)->previous->next = (node)->next;                                                           \
        } else {                                                                                             \
            (head) = (node)->next;                                                                           \
        }                                                                                                    \
        if ((node)->next != NULL) {                                                                          \
            (node)->next->previous = (node)->previous;                                                       \
        }                                                                                                    \
    } while (0)

#endif
