/* A list of facts that is being filled, for execbuf_prim_facts. */
#ifndef EXECBUF_FACTS_H
#define EXECBUF_FACTS_H

#include <stdio.h>

#include "prim.h"

typedef struct fact_list {
    execbuf_fact *facts; /* room for EXECBUF_MAX_FACTS */
    size_t count;
} fact_list;

/* A value that is too long is cut. */
static void add_fact(fact_list *to, const char *name, const char *value) {
    if (to->count < EXECBUF_MAX_FACTS) {
        execbuf_fact *fact = &to->facts[to->count++];
        size_t length = 0;
        for (; value[length] != '\0' && length < sizeof fact->value - 1; length++) {
            fact->value[length] = value[length];
        }
        fact->value[length] = '\0';
        fact->name = name;
    }
}

static void add_number(fact_list *to, const char *name, unsigned long number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%lu", number);
    add_fact(to, name, text);
}

#endif
