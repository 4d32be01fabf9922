/* Types with members: trees that are refused, and the adapters that signatures share. signature.c has their
 * text and their layouts; tests/thunk_compilers compares thunks with compiled code. */

#include "check.h"

static const execbuf_type i8_type = EXECBUF_SCALAR(EXECBUF_TYPE_I8);
static const execbuf_type i64_type = EXECBUF_SCALAR(EXECBUF_TYPE_I64);

static execbuf_type type_of(int32_t kind, uint32_t count, const execbuf_type *members) {
    execbuf_type type = EXECBUF_SCALAR(EXECBUF_TYPE_VOID);
    type.kind = kind;
    type.count = count;
    type.members = members;
    return type;
}

/* Checks that a type is refused as the second argument, and where. path may be NULL if the type itself is. */
static void refused_at(execbuf_type type, const char *path, const char *reason) {
    execbuf_type arguments[2];
    arguments[0] = i64_type;
    arguments[1] = type;
    const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_VOID), arguments, 2);
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    execbuf_error error;
    CHECK(execbuf_layout_of(&signature, &layout, EXECBUF_ABI_SYSV64, &error) == EXECBUF_E_TYPE);
    CHECK(error.position == 2 && strcmp(error.culprit, reason) == 0);
    for (size_t i = 0; i < sizeof error.path; i++) {
        const uint8_t wanted = path != NULL && i < strlen(path) ? (uint8_t)(path[i] - '0') : 0;
        CHECK(error.path[i] == wanted);
    }
    CHECK(execbuf_layout_of(&signature, &layout, EXECBUF_ABI_SYSV64, NULL) == EXECBUF_E_TYPE);
}

static void types_without_a_meaning_are_refused(void) {
    const execbuf_type no_type = type_of(-1, 0, NULL);
    const execbuf_type nothing = type_of(EXECBUF_TYPE_VOID, 0, NULL);
    const execbuf_type empty = type_of(EXECBUF_TYPE_STRUCT, 0, &i64_type);
    const execbuf_type array = type_of(EXECBUF_TYPE_ARRAY, 2, &i64_type);
    execbuf_type members[3];
    members[0] = i64_type;
    members[1] = i8_type;
    members[2] = no_type;
    refused_at(empty, NULL, "an empty struct or union is no argument in C; leave it out");
    refused_at(type_of(EXECBUF_TYPE_UNION, 0, NULL), NULL,
               "an empty struct or union is no argument in C; leave it out");
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 1, NULL), NULL, "members is NULL");
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 256, members), NULL, "more members than EXECBUF_MAX_MEMBERS");
    refused_at(type_of(EXECBUF_TYPE_STRUCT, UINT32_MAX, members), NULL,
               "more members than EXECBUF_MAX_MEMBERS");
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 3, members), "3", "not an execbuf_type_kind");
    members[2] = nothing;
    refused_at(type_of(EXECBUF_TYPE_UNION, 3, members), "3", "void is no member");
    members[2] = empty;
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 3, members), "3",
               "an empty struct or union is no argument in C; leave it out");
    members[2] = type_of(EXECBUF_TYPE_I32, 1, NULL);
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 3, members), "3", "a scalar has no members");
    refused_at(array, NULL, "C passes arrays by address, as p; an array may be a member only");
    members[1] = type_of(EXECBUF_TYPE_ARRAY, 0, &i64_type);
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 3, members), "2",
               "an array without elements has no size; leave it out");
    members[1] = type_of(EXECBUF_TYPE_ARRAY, 3, NULL);
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 3, members), "2", "members is NULL");
    members[1] = type_of(EXECBUF_TYPE_ARRAY, 3, &nothing);
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 3, members), "21", "void is no member");
}

static void attributes_without_a_meaning_are_refused(void) {
    const execbuf_type pair = type_of(EXECBUF_TYPE_STRUCT, 1, &i64_type);
    const execbuf_type twice = type_of(EXECBUF_TYPE_ALIGNED, 16, &pair);
    const execbuf_type raised = type_of(EXECBUF_TYPE_ALIGNED, 16, &i8_type);
    const execbuf_type has_raised = type_of(EXECBUF_TYPE_STRUCT, 1, &raised);
    const execbuf_type packed = type_of(EXECBUF_TYPE_STRUCT, 1, &has_raised);
    const execbuf_type array = type_of(EXECBUF_TYPE_ARRAY, 2, &raised);
    const char *const limits = "a struct can be packed to 1, 2, 4 or 8 bytes";
    refused_at(type_of(EXECBUF_TYPE_PACKED, 0, &pair), NULL, limits);
    refused_at(type_of(EXECBUF_TYPE_PACKED, 16, &pair), NULL, limits);
    refused_at(type_of(EXECBUF_TYPE_PACKED, 1, NULL), NULL, "only a struct or union can be packed");
    refused_at(type_of(EXECBUF_TYPE_PACKED, 1, &twice), NULL, "only a struct or union can be packed");
    refused_at(type_of(EXECBUF_TYPE_PACKED, 1, &packed), "1",
               "compilers disagree on aligned members of packed structs");
    refused_at(type_of(EXECBUF_TYPE_ALIGNED, 32, &pair), NULL,
               "an alignment above 16 is passed differently by each compiler; pass a pointer");
    refused_at(type_of(EXECBUF_TYPE_ALIGNED, 3, &pair), NULL, "an alignment is 2, 4, 8 or 16");
    refused_at(type_of(EXECBUF_TYPE_ALIGNED, 4, &pair), NULL,
               "an alignment cannot be less than the type's own");
    refused_at(type_of(EXECBUF_TYPE_ALIGNED, 16, NULL), NULL, "members is NULL");
    refused_at(type_of(EXECBUF_TYPE_ALIGNED, 16, &twice), NULL, "a type cannot be aligned twice");
    refused_at(raised, NULL, "only a struct, a union or a member can be aligned");
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 1, &array), "1",
               "the elements of this array would not be aligned");
}

static void types_that_never_end_are_refused(void) {
    execbuf_type loop[2];
    loop[0] = i64_type;
    loop[1] = type_of(EXECBUF_TYPE_STRUCT, 2, loop);
    refused_at(loop[1], "2", "a type contains itself");
    loop[0] = type_of(EXECBUF_TYPE_ARRAY, 1, loop);
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 1, loop), "1", "a type contains itself");
    loop[0] = type_of(EXECBUF_TYPE_ALIGNED, 16, loop);
    refused_at(loop[0], NULL, "a type cannot be aligned twice");

    execbuf_type levels[EXECBUF_MAX_DEPTH + 1];
    levels[0] = i8_type;
    for (uint32_t i = 1; i <= EXECBUF_MAX_DEPTH; i++) {
        levels[i] = type_of(EXECBUF_TYPE_STRUCT, 1, &levels[i - 1]);
    }
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 1, &levels[EXECBUF_MAX_DEPTH]), "11111111",
               "nested deeper than EXECBUF_MAX_DEPTH");
    const execbuf_signature deepest =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_VOID), &levels[EXECBUF_MAX_DEPTH], 1);
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    CHECK(execbuf_layout_of(&deepest, &layout, EXECBUF_ABI_SYSV64, NULL) == EXECBUF_OK);
    CHECK(layout.arguments[0].size == 1);
}

/* Eight levels of unions, each with 200 times the next one: 200 to the power of 8 types, in 1600 nodes. */
static void small_graphs_of_many_types_are_refused(void) {
    static execbuf_type levels[EXECBUF_MAX_DEPTH][200];
    for (uint32_t level = 0; level < EXECBUF_MAX_DEPTH; level++) {
        for (uint32_t i = 0; i < 200; i++) {
            levels[level][i] = level == 0 ? i8_type : type_of(EXECBUF_TYPE_UNION, 200, levels[level - 1]);
        }
    }
    const execbuf_type type = type_of(EXECBUF_TYPE_UNION, 200, levels[EXECBUF_MAX_DEPTH - 1]);
    const execbuf_signature signature = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_VOID), &type, 1);
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    execbuf_error error;
    CHECK(execbuf_layout_of(&signature, &layout, EXECBUF_ABI_SYSV64, &error) == EXECBUF_E_TYPE);
    CHECK(strcmp(error.culprit, "the signature has too many types") == 0);
}

static void types_that_are_too_large_are_refused(void) {
    const char *const reason = "the type is larger than EXECBUF_MAX_TYPE_SIZE";
    const execbuf_type most = type_of(EXECBUF_TYPE_ARRAY, EXECBUF_MAX_TYPE_SIZE / 8, &i64_type);
    const execbuf_type many = type_of(EXECBUF_TYPE_ARRAY, UINT32_MAX, &most);
    execbuf_type members[2];
    members[0] = most;
    members[1] = i8_type;
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 2, members), "2", reason);
    members[0] = many;
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 1, members), "1", reason);
    members[0] = type_of(EXECBUF_TYPE_ARRAY, UINT32_MAX, &i8_type);
    refused_at(type_of(EXECBUF_TYPE_STRUCT, 1, members), "1", reason);
}

static void long_texts_are_refused(void) {
    static char text[20000];
    execbuf_signature *signature;
    execbuf_error error;
    memset(text, '{', sizeof text - 1);
    CHECK(execbuf_signature_parse(&signature, text, &error) == EXECBUF_E_TYPE && signature == NULL);
    CHECK(strcmp(error.culprit, "nested deeper than EXECBUF_MAX_DEPTH") == 0);
    memset(text + 1, 'b', sizeof text - 2);
    CHECK(execbuf_signature_parse(&signature, text, &error) == EXECBUF_E_TYPE && signature == NULL);
    CHECK(strcmp(error.culprit, "the signature has too many types") == 0);
    memset(text + 1, '!', 3000);
    CHECK(execbuf_signature_parse(&signature, text, &error) == EXECBUF_E_TYPE);
    CHECK(execbuf_signature_parse(&signature, "v({[99999999999999999999b]})", &error) == EXECBUF_E_TYPE);
    CHECK(error.position == 1 && error.path[0] == 1 && error.path[1] == 0);
    CHECK(strcmp(error.culprit, "the type is larger than EXECBUF_MAX_TYPE_SIZE") == 0);
}

static void text_and_trees_are_the_same(void) {
    execbuf_signature *signature = parsed("!2{b<l[3d]>}(@16{lh})");
    const execbuf_type *members = signature->result.members;
    CHECK(signature->result.kind == EXECBUF_TYPE_PACKED && signature->result.count == 2);
    CHECK(members->kind == EXECBUF_TYPE_STRUCT && members->count == 2);
    CHECK(members->members[0].kind == EXECBUF_TYPE_I8);
    CHECK(members->members[1].kind == EXECBUF_TYPE_UNION && members->members[1].count == 2);
    members = members->members[1].members;
    CHECK(members[0].kind == EXECBUF_TYPE_I64 && members[1].kind == EXECBUF_TYPE_ARRAY);
    CHECK(members[1].count == 3 && members[1].members->kind == EXECBUF_TYPE_F64);
    members = signature->arguments[0].members;
    CHECK(signature->arguments[0].kind == EXECBUF_TYPE_ALIGNED && signature->arguments[0].count == 16);
    CHECK(members->kind == EXECBUF_TYPE_STRUCT && members->count == 2);
    CHECK(members->members[1].kind == EXECBUF_TYPE_I16);
    execbuf_signature_free(signature);
}

int main(void) {
    RUN(types_without_a_meaning_are_refused);
    RUN(attributes_without_a_meaning_are_refused);
    RUN(types_that_never_end_are_refused);
    RUN(small_graphs_of_many_types_are_refused);
    RUN(types_that_are_too_large_are_refused);
    RUN(long_texts_are_refused);
    RUN(text_and_trees_are_the_same);
    (void)printf("ok\n");
    return 0;
}
