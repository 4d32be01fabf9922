/* Facts for a report, on systems of which not much is to be told. */
#ifndef EXECBUF_FEW_FACTS_H
#define EXECBUF_FEW_FACTS_H

#include "facts.h"

size_t execbuf_prim_facts(execbuf_fact *facts) {
    fact_list list = {facts, 0};
    execbuf_prim_info info = execbuf_prim_query();
    if (info.backend_count > 0) { /* else the page size may be invented */
        add_number(&list, "page size", (unsigned long)info.page_size);
    }
    return list.count;
}

#endif
