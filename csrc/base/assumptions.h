/* What the library relies on beyond ISO C, checked when it is compiled. A platform that fails a check here is
 * one that the code was not written for; do not remove the check, change the code that needs it.
 *
 * Two assumptions cannot be written as constant expressions: a null pointer has all bits zero (calloc and
 * memset make structs with null pointers), and converting a pointer to uintptr_t yields its address. */
#ifndef XB_BASE_ASSUMPTIONS_H
#define XB_BASE_ASSUMPTIONS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "../include/execbuf.h"
#include "compiler.h"

/* Machine code is written as bytes, in arrays of uint8_t, which is then a character type that may alias
 * anything. */
XB_STATIC_ASSERT(CHAR_BIT == 8, "a byte has 8 bits");

/* errno values and results of GetLastError are kept as int32_t, and string offsets as uint32_t. */
XB_STATIC_ASSERT(sizeof(int) == 4, "int has 32 bits");

/* Negative numbers are two's complement, and conversion to a signed type keeps the low bits (C11 leaves it to
 * the implementation): displacements in code are computed as unsigned differences. */
XB_STATIC_ASSERT((-1 & 3) == 3, "negative numbers are two's complement");
XB_STATIC_ASSERT((int32_t)0xfffffffeU == -2, "conversion to a signed type keeps the low bits");

/* Addresses are computed as uintptr_t and offsets as size_t; the two are mixed. */
XB_STATIC_ASSERT(sizeof(void *) == 4 || sizeof(void *) == 8, "a pointer has 32 or 64 bits");
XB_STATIC_ASSERT(sizeof(uintptr_t) == sizeof(void *), "uintptr_t is as large as a pointer");
XB_STATIC_ASSERT(sizeof(size_t) == sizeof(void *), "size_t is as large as a pointer");
XB_STATIC_ASSERT(sizeof(ptrdiff_t) == sizeof(void *), "ptrdiff_t is as large as a pointer");

/* The largest length of code is computed from PTRDIFF_MAX, and rounded up to pages as a size_t. */
XB_STATIC_ASSERT((size_t)PTRDIFF_MAX == SIZE_MAX / 2, "PTRDIFF_MAX is half of SIZE_MAX");

/* Function pointers are made from code addresses, and code addresses from function pointers, by memcpy. */
XB_STATIC_ASSERT(sizeof(execbuf_function) == sizeof(void *), "a function pointer is as large as a pointer");

/* Bindings for other languages declare the enums as int; each has a negative value for this reason. */
XB_STATIC_ASSERT(sizeof(execbuf_status) == sizeof(int), "execbuf_status has the size of int");
XB_STATIC_ASSERT(sizeof(execbuf_backend) == sizeof(int), "execbuf_backend has the size of int");
XB_STATIC_ASSERT(sizeof(execbuf_type_kind) == sizeof(int), "execbuf_type_kind has the size of int");
XB_STATIC_ASSERT(sizeof(execbuf_abi) == sizeof(int), "execbuf_abi has the size of int");
XB_STATIC_ASSERT(sizeof(execbuf_where) == sizeof(int), "execbuf_where has the size of int");

/* Handles cross the language border by value. */
XB_STATIC_ASSERT(offsetof(execbuf, entry) == 0, "execbuf has no padding");
XB_STATIC_ASSERT(offsetof(execbuf, length) == sizeof(void *), "execbuf has no padding");
XB_STATIC_ASSERT(offsetof(execbuf, id) == 2 * sizeof(void *), "execbuf has no padding");
XB_STATIC_ASSERT(sizeof(execbuf) == 2 * sizeof(void *) + sizeof(uint64_t), "execbuf has no padding");

XB_STATIC_ASSERT(sizeof(execbuf_data) == 2 * sizeof(void *) + sizeof(uint64_t),
                 "execbuf_data has no padding");

/* Structs with a size (see sized.h) begin with it. */
XB_STATIC_ASSERT(offsetof(execbuf_pool_options, size) == 0, "execbuf_pool_options begins with its size");
XB_STATIC_ASSERT(offsetof(execbuf_pool_stats, size) == 0, "execbuf_pool_stats begins with its size");
XB_STATIC_ASSERT(offsetof(execbuf_place, size) == 0, "execbuf_place begins with its size");
XB_STATIC_ASSERT(offsetof(execbuf_probe, size) == 0, "execbuf_probe begins with its size");
XB_STATIC_ASSERT(offsetof(execbuf_signature, size) == 0, "execbuf_signature begins with its size");
XB_STATIC_ASSERT(offsetof(execbuf_layout, size) == 0, "execbuf_layout begins with its size");

/* Inputs with a size have no padding, whose bytes would not be 0 in a struct that was filled member by
 * member.
 */
XB_STATIC_ASSERT(sizeof(execbuf_pool_options) == 7 * sizeof(size_t) + 16,
                 "execbuf_pool_options has no padding");
XB_STATIC_ASSERT(sizeof(execbuf_type) == 8 + sizeof(void *), "execbuf_type has no padding");
XB_STATIC_ASSERT(sizeof(execbuf_signature) == 4 * sizeof(size_t) + sizeof(execbuf_type),
                 "execbuf_signature has no padding");

/* Signatures keep types and counts in bytes. */
XB_STATIC_ASSERT(EXECBUF_TYPE_F64 <= UINT8_MAX, "a type fits into a byte");
XB_STATIC_ASSERT(EXECBUF_MAX_ARGUMENTS <= UINT8_MAX, "the number of arguments fits into a byte");

#endif
