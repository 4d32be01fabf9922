/* Unwind rules of one function, as DWARF has them, and the two forms in which unwinders read them: alone, as
 * a list, or in the list of a span. Pure.
 *
 * Each function gets a CIE of its own, always of the same layout, so that the record of a slot can be filled
 * with the rules of any function while other threads search the list. */
#ifndef XB_DEBUG_RULES_H
#define XB_DEBUG_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"

/* The rules of a function. The pointers are those of the table that it was read from. */
typedef struct xb_rules {
    uint64_t start; /* the address of the function */
    uint64_t size;
    uint64_t personality; /* the address of the routine, or of a pointer to it; 0: none */
    uint64_t lsda;        /* the address of the language's own data, or of a pointer to it; 0: none */
    bool personality_is_indirect;
    bool lsda_is_indirect;
    uint8_t code_unit;       /* code alignment factor, as a LEB128 of one byte */
    uint8_t data_unit;       /* data alignment factor, as a signed LEB128 of one byte */
    uint8_t return_register; /* the column of the return address */
    const uint8_t *initial;  /* instructions of the CIE */
    size_t initial_size;
    const uint8_t *program; /* instructions of the FDE */
    size_t program_size;
} xb_rules;

/* The most instructions of a CIE, in bytes. */
#define XB_MAX_INITIAL 27U

XB_PRIVATE_BEGIN

/* How many words of 8 bytes a list of these functions takes. */
size_t xb_rules_words(const xb_rules *rules, size_t count);

/* Writes a list: for each function a CIE and an FDE, then the terminator.
 *
 * Out: words: xb_rules_words words.
 *      first: the first FDE, with which unwinders begin.
 *      last:  the last one. */
void xb_rules_write(uint64_t *words, const xb_rules *rules, size_t count, const uint8_t **first,
                    const uint8_t **last);

/* ---- The list of a span ---- */

/* How many words the record of a slot has, and a list. */
size_t xb_record_words(size_t slot_size);
size_t xb_record_list_words(size_t slot_size, size_t count);

/* The FDE of a slot in a list. */
uint64_t *xb_record_fde(uint64_t *words, size_t slot_size, size_t index);

/* Writes a list for slots that lie one behind the other and are not described. */
void xb_record_write_list(uint64_t *words, const uint8_t *start, size_t slot_size, size_t count);

/* Whether the rules fit into the record of the slot that begins at an address. */
bool xb_record_fits(const xb_rules *rules, uint64_t address, size_t slot_size);

/* Fills the record of a slot, whose code nobody runs, with rules that fit; NULL: it is not described. Other
 * threads may search the list meanwhile: what they read of this record does not change. */
void xb_record_fill(uint64_t *words, size_t slot_size, size_t index, const xb_rules *rules);

XB_PRIVATE_END

#endif
