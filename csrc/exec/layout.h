/* Where code is in a mapping that holds one piece of code, and in the first page of a region:
 *
 *     base                base + XB_ENTRY_OFFSET     end of code   end of the last page
 *     │ 16 bytes of traps │ code                     │ traps       │
 *
 * The entry is not at the start, because sanitizers read the bytes before it (LLVM issue 65253). */
#ifndef XB_EXEC_LAYOUT_H
#define XB_EXEC_LAYOUT_H

/* From the start of a mapping to the first entry in it, in bytes. */
#define XB_ENTRY_OFFSET 16U

#endif
