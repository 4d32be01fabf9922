/* Handles of all kinds: the input is a program that makes buffers, frees them, alters copies of their
 * handles, and passes these to every function. A plain list of what lives says what each call has to answer.
 */

#include "fuzz.h"

enum { POOLS = 2, HANDLES = 24 };

/* A closure is refused like a thunk, except that it takes another context. */
typedef enum state { UNUSED, RESERVED, PUBLISHED, THUNK } state;

/* A handle that the library gave out. It stays in the list when its buffer is freed. */
typedef struct known {
    execbuf handle;
    state state; /* UNUSED also if it is freed */
    size_t capacity;
    int is_closure;
} known;

typedef struct world {
    input from;
    execbuf_pool *pools[POOLS];
    known known[HANDLES];
} world;

static const size_t lengths[] = {1, 6, 40, 1000, 5000, 40000, 300000};
static uint8_t code[300000];

static size_t take_length(world *world) {
    return lengths[take_u8(&world->from) % (sizeof lengths / sizeof lengths[0])];
}

static known *take_known(world *world) {
    return &world->known[take_u8(&world->from) % HANDLES];
}

/* A pool; NULL: a dedicated mapping. */
static execbuf_pool *take_pool(world *world) {
    const uint8_t which = take_u8(&world->from) % (POOLS + 1);
    return which < POOLS ? world->pools[which] : NULL;
}

/* What lives and has this handle; NULL: nothing. The length is for callers only and identifies nothing. */
static known *owner_of(world *world, const execbuf *handle) {
    for (size_t i = 0; i < HANDLES; i++) {
        known *known = &world->known[i];
        if (known->state != UNUSED && known->handle.entry == handle->entry &&
            known->handle.id == handle->id) {
            return known;
        }
    }
    return NULL;
}

static void release(known *known) {
    if (known->state != UNUSED) {
        execbuf copy = known->handle;
        CHECK(execbuf_free(&copy) == EXECBUF_OK && copy.entry == NULL && copy.length == 0 && copy.id == 0);
        known->state = UNUSED;
    }
}

/* Nothing calls it. */
static void nothing(void) {}

static void handle(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    (void)context;
    (void)arguments;
    (void)result;
}

/* A thunk, or for some lengths a closure of either kind. In a pool of this world, so that is_adapter can find
 * its adapter.
 */
static execbuf_status make_linked(world *world, known *known, execbuf_pool *pool, size_t length) {
    static const execbuf_type number[] = {EXECBUF_SCALAR(EXECBUF_TYPE_I32)};
    static const execbuf_type pointer[] = {EXECBUF_SCALAR(EXECBUF_TYPE_POINTER)};
    pool = pool != NULL ? pool : world->pools[0];
    known->is_closure = length > 1000;
    const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I64), known->is_closure ? pointer : number,
                               known->is_closure ? 1 : length % 2);
    if (known->is_closure && length % 2 == 0) {
        return execbuf_closure_new(pool, &known->handle, &signature, EXECBUF_ABI_SYSV64, handle, world, NULL);
    }
    return known->is_closure ? execbuf_bind(pool, &known->handle, &signature, EXECBUF_ABI_SYSV64, nothing,
                                            world, EXECBUF_LAST, NULL)
                             : execbuf_thunk_new(pool, &known->handle, &signature, EXECBUF_ABI_SYSV64,
                                                 EXECBUF_ABI_WIN64, code, NULL);
}

static void make(world *world) {
    known *known = take_known(world);
    execbuf_pool *pool = take_pool(world);
    const size_t length = take_length(world);
    release(known);
    known->is_closure = 0;
    execbuf_status status;
    switch (take_u8(&world->from) % 3) {
    case 0:
        status = pool != NULL ? execbuf_pool_publish(pool, &known->handle, code, length, NULL)
                              : execbuf_new(&known->handle, code, length, NULL);
        known->state = PUBLISHED;
        break;
    case 1:
        status = pool != NULL ? execbuf_pool_reserve(pool, &known->handle, length, NULL)
                              : execbuf_reserve(&known->handle, length, NULL);
        known->state = RESERVED;
        known->capacity = length;
        break;
    default: status = make_linked(world, known, pool, length); known->state = THUNK;
    }
    CHECK(status == EXECBUF_OK);
}

/* Whether an adapter, which thunks share, begins at an address. An adapter is a buffer without a handle. It
 * can have the id of the slots beside it, so that a handle with just the right altered entry names it, and
 * the library cannot tell. */
static int is_adapter(const world *world, const void *entry) {
    execbuf found;
    execbuf_place place = EXECBUF_PLACE_INIT;
    for (size_t i = 0; i < POOLS; i++) {
        if (execbuf_pool_lookup(world->pools[i], &place, entry) == EXECBUF_OK && place.entry == entry) {
            return execbuf_find(entry, &found) == EXECBUF_E_NOT_FOUND;
        }
    }
    return 0;
}

/* A handle of the list, with altered bits. */
static execbuf take_handle(world *world) {
    const execbuf original = take_known(world)->handle;
    execbuf handle = original;
    const execbuf other = take_known(world)->handle;
    switch (take_u8(&world->from) % 8) {
    case 0: handle.id ^= (uint64_t)1 << take_u8(&world->from) % 64; break;
    case 1: handle.id = take_u64(&world->from); break;
    case 2: handle.id = other.id; break;
    case 3:
        handle.entry = (const void *)((uintptr_t)handle.entry ^ (uintptr_t)1 << take_u8(&world->from) % 64);
        break;
    case 4: handle.entry = (const void *)(uintptr_t)take_u64(&world->from); break;
    case 5: handle.length = (size_t)take_u64(&world->from); break;
    default: break;
    }
    return is_adapter(world, handle.entry) ? original : handle;
}

/* Checks that a refused handle is not changed. */
static void check_same(const execbuf *one, const execbuf *other) {
    CHECK(one->entry == other->entry && one->length == other->length && one->id == other->id);
}

static void free_one(world *world) {
    execbuf handle = take_handle(world);
    const execbuf before = handle;
    known *owner = owner_of(world, &handle);
    const execbuf_status status = execbuf_free(&handle);
    if (owner != NULL) {
        CHECK(status == EXECBUF_OK && handle.id == 0);
        owner->state = UNUSED;
    } else if (before.id == 0 && before.entry == NULL) {
        CHECK(status == EXECBUF_OK);
    } else {
        CHECK(status == EXECBUF_E_STALE);
        check_same(&handle, &before);
    }
}

static void rewrite(world *world) {
    execbuf handle = take_handle(world);
    const execbuf before = handle;
    const size_t offset =
        take_u8(&world->from) % 4 == 0 ? (size_t)take_u64(&world->from) : take_length(world) - 1;
    const size_t length = take_length(world);
    const known *owner = owner_of(world, &handle);
    const execbuf_status status = execbuf_rewrite(&handle, offset, code, length, NULL);
    check_same(&handle, &before);
    if (owner == NULL) {
        CHECK(status == EXECBUF_E_STALE);
    } else if (owner->state != PUBLISHED) {
        CHECK(status == (owner->state == THUNK ? EXECBUF_E_THUNK : EXECBUF_E_NOT_PUBLISHED));
    } else {
        const size_t all = owner->handle.length;
        CHECK(status == (offset > all || length > all - offset ? EXECBUF_E_OUT_OF_BOUNDS : EXECBUF_OK));
    }
}

static void publish(world *world) {
    execbuf handle = take_handle(world);
    const execbuf before = handle;
    const size_t length = take_length(world);
    known *owner = owner_of(world, &handle);
    const execbuf_status status = execbuf_publish(&handle, code, length, NULL);
    if (owner == NULL) {
        CHECK(status == EXECBUF_E_STALE);
    } else if (owner->state != RESERVED) {
        CHECK(status == (owner->state == THUNK ? EXECBUF_E_THUNK : EXECBUF_E_PUBLISHED));
    } else if (length > owner->capacity) {
        CHECK(status == EXECBUF_E_CAPACITY);
    } else {
        CHECK(status == EXECBUF_OK && handle.length == length);
        owner->handle = handle;
        owner->state = PUBLISHED;
        return;
    }
    check_same(&handle, &before);
}

/* Publishes in several buffers, all or none. */
static void publish_many(world *world) {
    enum { MOST = 4 };
    execbuf handles[MOST];
    execbuf before[MOST];
    execbuf_code codes[MOST];
    known *owners[MOST];
    const size_t count = 1 + take_u8(&world->from) % MOST;
    execbuf_status expected = EXECBUF_OK;
    for (size_t i = 0; i < count; i++) {
        const execbuf_code piece = {code, take_length(world), NULL};
        codes[i] = piece;
        handles[i] = before[i] = take_handle(world);
        owners[i] = owner_of(world, &handles[i]);
        if (expected == EXECBUF_OK) { /* the first fault is reported */
            expected = owners[i] == NULL                       ? EXECBUF_E_STALE
                       : owners[i]->state == THUNK             ? EXECBUF_E_THUNK
                       : owners[i]->state == PUBLISHED         ? EXECBUF_E_PUBLISHED
                       : codes[i].length > owners[i]->capacity ? EXECBUF_E_CAPACITY
                                                               : EXECBUF_OK;
        }
    }
    for (size_t i = 1; i < count && expected == EXECBUF_OK; i++) {
        for (size_t j = 0; j < i; j++) {
            expected = owners[i] == owners[j] ? EXECBUF_E_PUBLISHED : expected;
        }
    }
    CHECK(execbuf_publish_all(handles, codes, count, NULL) == expected);
    for (size_t i = 0; i < count; i++) {
        if (expected == EXECBUF_OK) {
            CHECK(handles[i].length == codes[i].length);
            owners[i]->handle = handles[i];
            owners[i]->state = PUBLISHED;
        } else {
            check_same(&handles[i], &before[i]);
        }
    }
}

/* Looks for an address in and around a handle's code. */
static void find(world *world) {
    const execbuf handle = take_handle(world);
    const uintptr_t address = (uintptr_t)handle.entry + take_length(world) - 1;
    const known *owner = NULL;
    for (size_t i = 0; i < HANDLES; i++) {
        const known *known = &world->known[i];
        if (known->state != UNUSED && address - (uintptr_t)known->handle.entry < known->handle.length) {
            owner = known;
        }
    }
    execbuf found;
    const execbuf_status status = execbuf_find((const void *)address, &found);
    CHECK(status == (owner != NULL ? EXECBUF_OK : EXECBUF_E_NOT_FOUND));
    if (owner != NULL) {
        check_same(&found, &owner->handle);
    }
    execbuf_place place = EXECBUF_PLACE_INIT;
    int in_pool = 0;
    for (size_t i = 0; i < POOLS; i++) {
        if (execbuf_pool_lookup(world->pools[i], &place, (const void *)address) == EXECBUF_OK) {
            CHECK(address - (uintptr_t)place.entry < place.length);
            in_pool++;
        }
    }
    CHECK(in_pool <= 1);
}

static void rebind(world *world) {
    const execbuf handle = take_handle(world);
    const known *owner = owner_of(world, &handle);
    CHECK(execbuf_rebind(&handle, NULL) == (owner == NULL       ? EXECBUF_E_STALE
                                            : owner->is_closure ? EXECBUF_OK
                                                                : EXECBUF_E_UNSUPPORTED));
}

/* Functions that do not look a handle up: they compute an address and read nothing. */
static void ask(world *world) {
    const execbuf handle = take_handle(world);
    const size_t offset = (size_t)take_u64(&world->from);
    CHECK(execbuf_length(&handle) == handle.length);
    const uintptr_t address = offset < handle.length ? (uintptr_t)handle.entry + offset : 0;
    const execbuf_function function = execbuf_entry(&handle, offset);
    CHECK(memcmp(&function, &address, sizeof function) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const execbuf_pool_options near_here = {
        sizeof near_here, {&near_here, 0, 0, 0}, 0, "near", 0, 0, 0, 0};
    static world world;
    memset(&world, 0, sizeof world);
    world.from.data = data;
    world.from.size = size;
    CHECK(execbuf_pool_new(&world.pools[0], NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_new(&world.pools[1], &near_here, NULL) == EXECBUF_OK);
    while (world.from.size > 0) {
        switch (take_u8(&world.from) % 10) {
        case 0:
        case 1:
        case 2: make(&world); break;
        case 3: free_one(&world); break;
        case 4: rewrite(&world); break;
        case 5: publish(&world); break;
        case 6: find(&world); break;
        case 7: publish_many(&world); break;
        case 8: rebind(&world); break;
        default: ask(&world);
        }
    }
    for (size_t i = 0; i < HANDLES; i++) {
        release(&world.known[i]);
    }
    for (size_t i = 0; i < POOLS; i++) {
        execbuf_pool_stats stats = EXECBUF_POOL_STATS_INIT;
        CHECK(execbuf_pool_get_stats(world.pools[i], &stats) == EXECBUF_OK);
        CHECK(stats.live <= 1 && stats.dedicated == 0); /* the adapter of closures stays */
        CHECK((execbuf_pool_code_bytes(world.pools[i]) == 0) == (stats.live == 0));
        execbuf_pool_free(world.pools[i]);
    }
    return 0;
}
