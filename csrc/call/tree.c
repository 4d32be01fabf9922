/* Finds size, alignment and classes of types. Pure: no state, no system calls.
 *
 * Sizes and offsets are those of C compilers for x86-64, which the psABI describes (3.1.2); Windows has the
 * same ones for all types that exist here. The classes are System V's (psABI, 3.2.3):
 *
 * - A value of more than 16 bytes has the class MEMORY, and so has one with a member that is not at a
 * multiple of its natural alignment.
 * - Otherwise each of its eightbytes has a class that follows from the scalars that overlap it: INTEGER if
 * any is an integer or a pointer, else SSE. A vector is SSE and then SSE_UP. An eightbyte of padding is NONE.
 *
 * A type is measured first, which checks it. Only one of at most 16 bytes is then classified, scalar by
 * scalar: so that takes few steps. */

#include "tree.h"

#include <string.h>

/* Size and alignment of a type. */
typedef struct extent {
    uint32_t size;
    uint32_t align;
    bool is_raised; /* something in it is ALIGNED */
} extent;

static uint32_t round_to_align(uint32_t size, uint32_t align) {
    return (size + align - 1) & ~(align - 1);
}

static bool is_scalar(const execbuf_type *type) {
    return (uint32_t)type->kind < XB_TYPE_COUNT;
}

static bool has_members(const execbuf_type *type) {
    return type->kind == EXECBUF_TYPE_STRUCT || type->kind == EXECBUF_TYPE_UNION;
}

/* The struct or union that a type is, if it is one, without its attributes; else the type itself. The type
 * has been measured. */
static const execbuf_type *without_attributes(const execbuf_type *type) {
    while (type->kind == EXECBUF_TYPE_PACKED || type->kind == EXECBUF_TYPE_ALIGNED) {
        type = type->members;
    }
    return type;
}

/* ---- Measuring ---- */

static const char *measure_type(xb_tree_reader *reader, extent *out, const execbuf_type *type,
                                bool is_member);

/* Steps into the members of a type. */
static const char *enter(xb_tree_reader *reader, const execbuf_type *type) {
    if (type->members == NULL) {
        return "members is NULL";
    }
    for (uint32_t i = 0; i < reader->depth; i++) {
        if (reader->open[i] == type->members) {
            return "a type contains itself";
        }
    }
    if (reader->depth == EXECBUF_MAX_DEPTH) {
        return "nested deeper than EXECBUF_MAX_DEPTH";
    }
    reader->open[reader->depth++] = type->members;
    return NULL;
}

/* Steps out again, after a success: on failure, the reader stays where the fault is. */
static void leave(xb_tree_reader *reader) {
    reader->depth--;
    reader->path[reader->depth] = 0;
}

/* Measures a struct or union whose members are aligned to at most `limit` bytes. */
static const char *measure_members(xb_tree_reader *reader, extent *out, const execbuf_type *type,
                                   uint32_t limit) {
    extent whole = {0, 1, false};
    if (type->count == 0) {
        return "an empty struct or union is no argument in C; leave it out";
    }
    if (type->count > EXECBUF_MAX_MEMBERS) {
        return "more members than EXECBUF_MAX_MEMBERS";
    }
    const char *fault = enter(reader, type);
    if (fault != NULL) {
        return fault;
    }
    for (uint32_t i = 0; i < type->count; i++) {
        extent member;
        reader->path[reader->depth - 1] = (uint8_t)(i + 1);
        fault = measure_type(reader, &member, &type->members[i], true);
        if (fault != NULL) {
            return fault;
        }
        if (member.align > limit && member.is_raised) {
            return "compilers disagree on aligned members of packed structs";
        }
        uint32_t align = member.align < limit ? member.align : limit;
        bool is_union = type->kind == EXECBUF_TYPE_UNION;
        uint32_t end = is_union ? member.size : round_to_align(whole.size, align) + member.size;
        whole.size = end > whole.size ? end : whole.size;
        whole.align = align > whole.align ? align : whole.align;
        whole.is_raised = whole.is_raised || member.is_raised;
        if (whole.size > EXECBUF_MAX_TYPE_SIZE) {
            return "the type is larger than EXECBUF_MAX_TYPE_SIZE";
        }
    }
    leave(reader);
    whole.size = round_to_align(whole.size, whole.align);
    *out = whole;
    return NULL;
}

static const char *measure_array(xb_tree_reader *reader, extent *out, const execbuf_type *type,
                                 bool is_member) {
    if (!is_member) {
        return "C passes arrays by address, as p; an array may be a member only";
    }
    if (type->count == 0) {
        return "an array without elements has no size; leave it out";
    }
    const char *fault = enter(reader, type);
    if (fault != NULL) {
        return fault;
    }
    reader->path[reader->depth - 1] = 1;
    fault = measure_type(reader, out, type->members, true);
    if (fault != NULL) {
        return fault;
    }
    leave(reader);
    if (out->size % out->align != 0) {
        return "the elements of this array would not be aligned";
    }
    if (type->count > EXECBUF_MAX_TYPE_SIZE / out->size) {
        return "the type is larger than EXECBUF_MAX_TYPE_SIZE";
    }
    out->size *= type->count;
    return NULL;
}

static const char *measure_packed(xb_tree_reader *reader, extent *out, const execbuf_type *type) {
    uint32_t limit = type->count;
    if (limit != 1 && limit != 2 && limit != 4 && limit != 8) {
        return "a struct can be packed to 1, 2, 4 or 8 bytes";
    }
    if (type->members == NULL || !has_members(type->members)) {
        return "only a struct or union can be packed";
    }
    return measure_members(reader, out, type->members, limit);
}

static const char *measure_aligned(xb_tree_reader *reader, extent *out, const execbuf_type *type,
                                   bool is_member) {
    uint32_t align = type->count;
    const execbuf_type *inner = type->members;
    if (align > 16) {
        return "an alignment above 16 is passed differently by each compiler; pass a pointer";
    }
    if (align != 2 && align != 4 && align != 8 && align != 16) {
        return "an alignment is 2, 4, 8 or 16";
    }
    if (inner == NULL || inner->kind == EXECBUF_TYPE_ALIGNED) {
        return inner == NULL ? "members is NULL" : "a type cannot be aligned twice";
    }
    const char *fault = measure_type(reader, out, inner, is_member);
    if (fault != NULL) {
        return fault;
    }
    bool is_defined = has_members(without_attributes(inner));
    if (!is_defined && !is_member) {
        return "only a struct, a union or a member can be aligned";
    }
    if (align < out->align) {
        return "an alignment cannot be less than the type's own";
    }
    out->is_raised = out->is_raised || align > out->align;
    out->align = align;
    out->size = is_defined ? round_to_align(out->size, align) : out->size;
    return NULL;
}

static const char *measure_type(xb_tree_reader *reader, extent *out, const execbuf_type *type,
                                bool is_member) {
    /* A part that trees share counts each time. This bounds the time that a small graph of types can take. */
    if (reader->nodes++ == EXECBUF_MAX_TYPES) {
        return "the signature has too many types";
    }
    switch (type->kind) {
    case EXECBUF_TYPE_STRUCT:
    case EXECBUF_TYPE_UNION: return measure_members(reader, out, type, 16);
    case EXECBUF_TYPE_ARRAY: return measure_array(reader, out, type, is_member);
    case EXECBUF_TYPE_PACKED: return measure_packed(reader, out, type);
    case EXECBUF_TYPE_ALIGNED: return measure_aligned(reader, out, type, is_member);
    default: break;
    }
    if (!is_scalar(type)) {
        return "not an execbuf_type_kind";
    }
    if (type->count != 0 || type->members != NULL) {
        return "a scalar has no members";
    }
    if (is_member && type->kind == EXECBUF_TYPE_VOID) {
        return "void is no member";
    }
    xb_shape shape = xb_type_shape((uint8_t)type->kind);
    out->size = shape.size;
    out->align = shape.align;
    out->is_raised = false;
    return NULL;
}

/* ---- Classifying ---- */

/* The class of an eightbyte that has parts of two classes. */
static uint8_t merged(uint8_t one, uint8_t other) {
    if (one == other || other == XB_CLASS_NONE) {
        return one;
    }
    if (one == XB_CLASS_NONE) {
        return other;
    }
    if (one == XB_CLASS_MEMORY || other == XB_CLASS_MEMORY) {
        return XB_CLASS_MEMORY;
    }
    return one == XB_CLASS_INTEGER || other == XB_CLASS_INTEGER ? XB_CLASS_INTEGER : XB_CLASS_SSE;
}

static void classify_scalar(uint8_t *classes, const execbuf_type *type, uint32_t at) {
    xb_shape shape = xb_type_shape((uint8_t)type->kind);
    bool is_misaligned = at % shape.align != 0;
    for (uint32_t i = at / 8; i <= (at + shape.size - 1) / 8; i++) {
        uint8_t class_ = is_misaligned ? (uint8_t)XB_CLASS_MEMORY : shape.classes[i - at / 8];
        classes[i] = merged(classes[i], class_);
    }
}

/* Measures a type that has been measured before. */
static extent measured(const execbuf_type *type) {
    extent found = {0, 1, false};
    xb_tree_reader reader;
    memset(&reader, 0, sizeof reader);
    (void)measure_type(&reader, &found, type, true);
    return found;
}

/* Adds the classes of what a type has at an offset of the whole value, which is at most 16 bytes long. */
static void classify(uint8_t *classes, const execbuf_type *type, uint32_t at) {
    uint32_t limit = 16;
    while (type->kind == EXECBUF_TYPE_PACKED || type->kind == EXECBUF_TYPE_ALIGNED) {
        limit = type->kind == EXECBUF_TYPE_PACKED ? type->count : limit;
        type = type->members;
    }
    if (is_scalar(type)) {
        classify_scalar(classes, type, at);
        return;
    }
    uint32_t offset = 0;
    for (uint32_t i = 0; i < type->count; i++) {
        const execbuf_type *member = &type->members[type->kind == EXECBUF_TYPE_ARRAY ? 0 : i];
        extent size = measured(member);
        offset = round_to_align(offset, size.align < limit ? size.align : limit);
        classify(classes, member, at + offset);
        offset += type->kind == EXECBUF_TYPE_UNION ? 0 : size.size;
    }
}

/* The last step: if one eightbyte is in memory, the whole value is; and an upper half needs a lower one. */
static void finish_classes(uint8_t *classes) {
    if (classes[0] == XB_CLASS_MEMORY || classes[1] == XB_CLASS_MEMORY) {
        classes[0] = XB_CLASS_MEMORY;
        classes[1] = XB_CLASS_MEMORY;
    } else if (classes[1] == XB_CLASS_SSE_UP && classes[0] != XB_CLASS_SSE) {
        classes[1] = XB_CLASS_SSE;
    }
}

/* ---- For AArch64 ---- */

/* AAPCS64's homogeneous aggregates have at most four elements. */
#define MAX_ELEMENTS 4U

/* How many elements a value has, if it has only floats, or only vectors, of one size: more than MAX_ELEMENTS
 * if not, or if they are more.
 *
 * In/out: element: their size, 0 as long as there is none. */
static uint32_t count_elements(const execbuf_type *type, uint32_t *element) {
    type = without_attributes(type);
    if (is_scalar(type)) {
        xb_shape shape = xb_type_shape((uint8_t)type->kind);
        uint32_t size = shape.arm & XB_ARM_ELEMENT;
        bool fits = size != 0 && (*element == 0 || *element == size);
        *element = size;
        return fits ? 1 : MAX_ELEMENTS + 1;
    }
    if (type->kind == EXECBUF_TYPE_ARRAY) {
        return type->count > MAX_ELEMENTS ? MAX_ELEMENTS + 1
                                          : type->count * count_elements(type->members, element);
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < type->count && count <= MAX_ELEMENTS; i++) {
        uint32_t more = count_elements(&type->members[i], element);
        if (type->kind == EXECBUF_TYPE_STRUCT) {
            count += more;
        } else {
            count = more > count ? more : count;
        }
    }
    return count;
}

/* The part of a shape that is for AArch64. */
static uint8_t shape_for_arm(const execbuf_type *type, uint32_t size) {
    const execbuf_type *natural = type->kind == EXECBUF_TYPE_ALIGNED ? type->members : type;
    uint32_t element = 0;
    uint32_t count = count_elements(type, &element);
    bool is_homogeneous = count <= MAX_ELEMENTS && count * element == size;
    uint32_t flags = measured(natural).align == 16 ? XB_ARM_ALIGNED : 0;
    return (uint8_t)((is_homogeneous ? element : 0) | flags);
}

const char *xb_tree_shape(xb_tree_reader *reader, xb_shape *shape, const execbuf_type *type) {
    extent whole;
    const char *fault = measure_type(reader, &whole, type, false);
    if (fault != NULL) {
        return fault;
    }
    if (is_scalar(type)) {
        *shape = xb_type_shape((uint8_t)type->kind);
        return NULL;
    }
    memset(shape, 0, sizeof *shape);
    shape->size = whole.size;
    shape->align = (uint8_t)whole.align;
    shape->arm = shape_for_arm(type, whole.size);
    if (whole.size > XB_MAX_IN_REGISTERS) {
        shape->classes[0] = XB_CLASS_MEMORY;
        shape->classes[1] = XB_CLASS_MEMORY;
    } else {
        classify(shape->classes, type, 0);
        finish_classes(shape->classes);
    }
    return NULL;
}
