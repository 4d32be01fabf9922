/* Lists of RUNTIME_FUNCTIONs. */

#include "xdata_list.h"

/* The words of an entry. */
enum { ENTRY_BEGIN, ENTRY_END, ENTRY_XDATA, ENTRY_WORDS };

void xb_xdata_list_write(uint32_t *list, uint32_t size, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t *entry = list + (size_t)i * ENTRY_WORDS;
        entry[ENTRY_BEGIN] = i * size;
        entry[ENTRY_END] = i * size;
        entry[ENTRY_XDATA] = 0;
    }
}

void xb_xdata_list_fill(uint32_t *list, size_t index, uint32_t length, uint32_t xdata) {
    uint32_t *entry = list + index * ENTRY_WORDS;
    entry[ENTRY_XDATA] = xdata;
    XB_STORE_RELEASE(entry[ENTRY_END], entry[ENTRY_BEGIN] + length);
}

void xb_xdata_list_clear(uint32_t *list, size_t index) {
    uint32_t *entry = list + index * ENTRY_WORDS;
    XB_STORE_RELEASE(entry[ENTRY_END], entry[ENTRY_BEGIN]);
}
