/* Structs with a size: the input is a struct of any size and content, which a public function reads or fills.
 * Each lies in memory of exactly its size, or of the first member alone if its size is none. */

#include "fuzz.h"

enum { LARGEST = 65536 };

static int is_valid(size_t size) {
    return size > 0 && size <= LARGEST && size % sizeof size == 0;
}

/* A size: most are valid and near that of the struct. */
static size_t take_size(input *from, size_t usual) {
    switch (take_u8(from) % 8) {
    case 0: return (size_t)take_u64(from);
    case 1: return take_u8(from);
    case 2: return sizeof(size_t) * (1U + take_u8(from));
    case 3: return LARGEST - take_u8(from);
    case 4: return usual - sizeof(size_t) * (take_u8(from) % (usual / sizeof(size_t)));
    case 5: return usual + sizeof(size_t) * take_u8(from);
    default: return usual;
    }
}

/* The struct of a size, in memory of its own, with the members of a usual one as far as they go. */
static void *struct_of(const void *members, size_t usual, size_t size, input *rest) {
    const size_t allocated = is_valid(size) ? size : sizeof size;
    uint8_t *made = exactly(allocated);
    memcpy(made, members, allocated < usual ? allocated : usual);
    memcpy(made, &size, sizeof size);
    if (allocated > usual) {
        memset(made + usual, 0, allocated - usual);
        if (take_u8(rest) % 2 != 0) {
            made[usual + take_u64(rest) % (allocated - usual)] = take_u8(rest);
        }
    }
    return made;
}

/* Whether bytes that the library does not know are all zero. */
static int rest_is_zero(const uint8_t *made, size_t usual, size_t size) {
    for (size_t at = usual; at < size; at++) {
        if (made[at] != 0) {
            return 0;
        }
    }
    return 1;
}

static int may_be_read(const void *made, size_t usual, size_t size) {
    return is_valid(size) && rest_is_zero((const uint8_t *)made, usual, size);
}

static execbuf_type take_type(input *from) {
    execbuf_type type = EXECBUF_SCALAR(take_u8(from) % 16);
    switch (take_u8(from)) {
    case 0: type.kind = (int32_t)take_u64(from); break;
    case 1: type.count = take_u8(from); break;
    case 2: type.members = (const execbuf_type *)(uintptr_t)take_u64(from); break; /* never followed */
    default: break;
    }
    return type;
}

static void signatures(input *from, execbuf_pool *pool) {
    static const execbuf_abi abis[] = {EXECBUF_ABI_NATIVE, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64,
                                       (execbuf_abi)0, (execbuf_abi)77};
    execbuf_signature members = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_VOID), NULL, 0);
    members.result = take_type(from);
    members.count = take_u8(from);
    if (take_u8(from) == 0) {
        members.count = (size_t)take_u64(from);
    }
    if (take_u8(from) % 4 == 0) {
        members.fixed = take_u8(from);
    }
    const execbuf_abi caller_abi = abis[take_u8(from) % 5];
    const execbuf_abi callee_abi = abis[take_u8(from) % 5];
    const size_t size = take_size(from, sizeof members);
    /* A library that reads a count reads no array if the count is too great. */
    const size_t count = members.count <= EXECBUF_MAX_ARGUMENTS ? members.count : 0;
    execbuf_type *arguments = exactly(count * sizeof *arguments);
    for (size_t i = 0; i < count; i++) {
        arguments[i] = take_type(from);
    }
    members.arguments = take_u8(from) == 1 ? NULL : arguments;
    execbuf_signature *signature = struct_of(&members, sizeof members, size, from);

    execbuf_error error;
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    const execbuf_status laid_out = execbuf_layout_of(signature, &layout, caller_abi, &error);
    CHECK(error.status == laid_out);
    CHECK((laid_out == EXECBUF_E_VERSION) == !may_be_read(signature, sizeof members, size));
    size_t length;
    const execbuf_status emitted =
        execbuf_thunk_emit(signature, NULL, 0, &length, caller_abi, callee_abi, from, &error);
    CHECK(error.status == emitted && (length > 0) == (emitted == EXECBUF_E_CAPACITY));
    CHECK(laid_out == EXECBUF_E_ABI || emitted == EXECBUF_E_ABI ||
          laid_out == (emitted == EXECBUF_E_CAPACITY ? EXECBUF_OK : emitted));
    execbuf thunk;
    const execbuf_status made =
        execbuf_thunk_new(pool, &thunk, signature, caller_abi, callee_abi, from, &error);
    CHECK(error.status == made && made == (emitted == EXECBUF_E_CAPACITY ? EXECBUF_OK : emitted));
    CHECK((thunk.entry != NULL) == (made == EXECBUF_OK));
    CHECK(execbuf_free(&thunk) == EXECBUF_OK);
    free(signature);
    free(arguments);
}

static void options(input *from) {
    execbuf_pool_options members = EXECBUF_POOL_OPTIONS_INIT;
    members.placement.near_to = (const void *)(uintptr_t)take_u64(from);
    members.placement.distance = take_u8(from) % 2 == 0 ? 0 : (size_t)take_u64(from);
    members.placement.lowest = take_u8(from) % 4 != 0 ? 0 : (uintptr_t)take_u64(from);
    members.placement.highest = take_u8(from) % 4 != 0 ? 0 : (uintptr_t)take_u64(from);
    members.reach = take_u8(from) % 2 == 0 ? 0 : (size_t)take_u64(from);
    char name[80];
    memset(name, 'n', sizeof name);
    name[take_u8(from) % sizeof name] = '\0';
    name[sizeof name - 1] = '\0';
    members.name = take_u8(from) % 4 == 0 ? NULL : name;
    const size_t size = take_size(from, sizeof members);
    execbuf_pool_options *given = struct_of(&members, sizeof members, size, from);
    const int names = size > offsetof(execbuf_pool_options, name) && members.name != NULL;
    execbuf_pool *pool;
    const execbuf_status status = execbuf_pool_new(&pool, given, NULL);
    if (!may_be_read(given, sizeof members, size)) {
        CHECK(status == EXECBUF_E_VERSION);
    } else if (names && strlen(name) > EXECBUF_POOL_NAME_MAX) {
        CHECK(status == EXECBUF_E_TOO_LARGE);
    } else if (status != EXECBUF_OK) {
        const int has_distance = members.placement.near_to == NULL && members.placement.distance != 0;
        CHECK(status == (has_distance ? EXECBUF_E_NULL : EXECBUF_E_TOO_FAR));
    } else {
        CHECK(strcmp(execbuf_pool_name(pool), names ? name : "execbuf") == 0);
        execbuf buffer;
        const execbuf_status published = execbuf_pool_publish(pool, &buffer, "\xc3", 1, NULL);
        CHECK(published == EXECBUF_OK || published == EXECBUF_E_TOO_FAR);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    CHECK((pool != NULL) == (status == EXECBUF_OK));
    execbuf_pool_free(pool);
    free(given);
}

static void outputs(input *from, execbuf_pool *pool) {
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_F64), NULL, 0);
    static const size_t usual[] = {sizeof(execbuf_pool_stats), sizeof(execbuf_place), sizeof(execbuf_layout),
                                   sizeof(execbuf_probe)};
    /* The probe makes dozens of system calls. */
    const uint8_t which = take_u8(from) % 64 == 0 ? 3 : take_u8(from) % 3;
    const size_t size = take_size(from, usual[which]);
    const size_t allocated = is_valid(size) ? size : sizeof size;
    uint8_t *out = exactly(allocated);
    memset(out, 0xa5, allocated);
    memcpy(out, &size, sizeof size);
    execbuf_status status;
    switch (which) {
    case 0: status = execbuf_pool_get_stats(pool, (execbuf_pool_stats *)(void *)out); break;
    case 1:
        status =
            execbuf_pool_lookup(pool, (execbuf_place *)(void *)out, (const void *)(uintptr_t)take_u64(from));
        break;
    case 2:
        status = execbuf_layout_of(&signature, (execbuf_layout *)(void *)out, EXECBUF_ABI_WIN64, NULL);
        break;
    default: status = execbuf_probe_system((execbuf_probe *)(void *)out);
    }
    CHECK((status == EXECBUF_E_VERSION) == !is_valid(size));
    CHECK(memcmp(out, &size, sizeof size) == 0);
    CHECK(!is_valid(size) || rest_is_zero(out, usual[which], size));
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static execbuf_pool *pool;
    if (pool == NULL) {
        CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    }
    input from = {data, size};
    switch (take_u8(&from) % 3) {
    case 0: signatures(&from, pool); break;
    case 1: options(&from); break;
    default: outputs(&from, pool);
    }
    return 0;
}
