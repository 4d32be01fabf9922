/* Copies of unwind tables above code. A sheet has blocks of one size. */

#include "near_tables.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/fault.h"
#include "../prim/prim.h"

/* The size of a sheet with small blocks: Windows allocates addresses in this unit. */
#define SHEET_SIZE ((size_t)64 << 10)

/* How far above the code a table may begin. */
#define FARTHEST ((uintptr_t)UINT32_MAX)

typedef struct near_sheet {
    struct near_sheet *next;
    uint8_t *base;
    size_t size;
    size_t block_size; /* a multiple of 16 */
    size_t count;      /* of blocks */
    uint32_t users[];  /* of each block; 0: it is free */
} near_sheet;

static near_sheet *near_sheets;

static size_t block_size_of(size_t size) {
    return (size + 15) & ~(size_t)15;
}

/* ---- While the lock is held ---- */

/* Whether code can refer to a block. */
static bool is_in_reach(const uint8_t *code, const uint8_t *block) {
    return (uintptr_t)block > (uintptr_t)code && (uintptr_t)block - (uintptr_t)code <= FARTHEST;
}

/* Finds a block with this content, or else a free one; NULL: there is none. */
static uint8_t *find_in_sheet(near_sheet *sheet, const uint8_t *code, const uint8_t *table, size_t size,
                              size_t *index) {
    uint8_t *found = NULL;
    for (size_t i = 0; i < sheet->count; i++) {
        uint8_t *block = sheet->base + i * sheet->block_size;
        if (!is_in_reach(code, block)) {
            continue;
        }
        bool is_equal =
            sheet->users[i] > 0 && sheet->users[i] < UINT32_MAX && memcmp(block, table, size) == 0;
        if (is_equal || (sheet->users[i] == 0 && found == NULL)) {
            found = block;
            *index = i;
        }
        if (is_equal) {
            break;
        }
    }
    return found;
}

/* Takes a block in one of the sheets; NULL: none has room. */
static const uint8_t *take_near_block(const uint8_t *code, const uint8_t *table, size_t size) {
    for (near_sheet *sheet = near_sheets; sheet != NULL; sheet = sheet->next) {
        size_t index;
        uint8_t *block =
            sheet->block_size == block_size_of(size) ? find_in_sheet(sheet, code, table, size, &index) : NULL;
        if (block != NULL) {
            if (sheet->users[index]++ == 0) {
                memset(block, 0, sheet->block_size);
                memcpy(block, table, size);
            }
            return block;
        }
    }
    return NULL;
}

/* ---- Sheets ---- */

static void free_sheet(near_sheet *sheet) {
    if (sheet != NULL) {
        (void)xb_prim_release(sheet->base, sheet->size);
        free(sheet);
    }
}

/* Makes a sheet for tables of this size, above code. */
static xb_result make_sheet(near_sheet **out, const uint8_t *code, size_t size) {
    const size_t page = xb_prim_query().page_size;
    const size_t block_size = block_size_of(size);
    const size_t sheet_size = block_size <= SHEET_SIZE ? SHEET_SIZE : (block_size + page - 1) & ~(page - 1);
    const size_t count = sheet_size / block_size;
    const size_t memory = sizeof(near_sheet) + count * sizeof(uint32_t);
    const uintptr_t start = (uintptr_t)code;
    const uintptr_t room = UINTPTR_MAX - start;
    xb_prim_window window = {start + 1, start + (room < FARTHEST ? room : FARTHEST), start};
    near_sheet *made = XB_FAULT("calloc") != 0 ? NULL : (near_sheet *)calloc(1, memory);
    if (made == NULL) {
        return xb_failed("calloc", 0);
    }
    void *base;
    xb_result result = xb_prim_map_data(sheet_size, &window, &base);
    if (result.call != NULL) {
        free(made);
        return result;
    }
    made->base = (uint8_t *)base;
    made->size = sheet_size;
    made->block_size = block_size;
    made->count = count;
    *out = made;
    return xb_ok();
}

xb_result xb_near_tables_add(const uint8_t *code, const uint8_t *table, size_t size, const uint8_t **out) {
    near_sheet *made = NULL;
    xb_prim_lock();
    const uint8_t *block = take_near_block(code, table, size);
    xb_prim_unlock();
    if (block == NULL) {
        xb_result result = make_sheet(&made, code, size);
        if (result.call != NULL) {
            return result;
        }
        xb_prim_lock();
        made->next = near_sheets; /* even if another thread was faster */
        near_sheets = made;
        block = take_near_block(code, table, size);
        xb_prim_unlock();
    }
    *out = block;
    return xb_ok();
}

void xb_near_tables_drop(const uint8_t *copy) {
    xb_prim_lock();
    near_sheet *sheet = near_sheets;
    while ((uintptr_t)copy - (uintptr_t)sheet->base >= sheet->size) {
        sheet = sheet->next;
    }
    sheet->users[(size_t)(copy - sheet->base) / sheet->block_size]--;
    xb_prim_unlock();
}

void xb_near_tables_unload(void) {
    near_sheet **link = &near_sheets;
    while (*link != NULL) {
        near_sheet *sheet = *link;
        uint64_t users = 0;
        for (size_t i = 0; i < sheet->count; i++) {
            users += sheet->users[i];
        }
        *link = users == 0 ? sheet->next : *link;
        if (users == 0) {
            free_sheet(sheet);
        } else {
            link = &sheet->next;
        }
    }
}
