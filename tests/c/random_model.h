/* The model of random.c: a table of functions that threads share, and operations on them at random.
 *
 * A thread takes a cell of the table before it uses what is in it: several at a time may call a function, and
 * one alone changes it. So the model knows what each function returns, while the library gets calls of all
 * threads at the same time. After a fork, the child has the table as it was, and leaves alone what other
 * threads were just changing. */
#ifndef RANDOM_MODEL_H
#define RANDOM_MODEL_H

#include "pool_threads.h"

#include <stdbool.h>

enum {
    CELLS = 500,
    POOLS = 3,
    STALE = 8,
    MOST_CHILDREN = 3,
    USUAL_LENGTH = 5000,
    MOST_LENGTH = 320 * 1024, /* some have dedicated mappings */
    BATCH = 6,
    BATCH_LENGTH = 300,
    ROOM = MOST_LENGTH + BATCH * BATCH_LENGTH,
};

/* The states of a cell. More than IDLE: that many threads more call the function. */
enum { EMPTY, TAKEN, IDLE };

typedef enum kind { CODE, RESERVED, THUNK } kind;

typedef struct cell {
    atomic_uint state;
    kind kind;
    uint32_t value; /* which the function returns */
    uint32_t rest;  /* the offset in other_bytes */
    size_t length;  /* of the code, or the capacity */
    execbuf buffer;
} cell;

/* A pool, and how many threads use it; negative: one is making another pool. */
typedef struct shared_pool {
    atomic_int users;
    execbuf_pool *pool;
} shared_pool;

/* A thread. */
typedef struct worker {
    uint64_t random;
    uint32_t depth;       /* how many forks made its process */
    uint32_t steps;       /* that it has still to do */
    uint32_t publishing;  /* how many of 100 operations publish */
    execbuf stale[STALE]; /* handles of freed buffers */
    uint32_t freed;       /* buffers that it has freed */
    uint32_t child_count;
    pid_t children[MOST_CHILDREN];
    execbuf_error report;
    uint8_t *bytes; /* room for the code of one piece, and of a batch behind it */
} worker;

static cell cells[CELLS];
static shared_pool pools[POOLS];
static uint8_t other_bytes[MOST_LENGTH + 256]; /* what follows functions, from an offset of less than 256 */

/* The report of a call that has to succeed. */
static inline bool succeeds(execbuf_status status, const execbuf_error *report) {
    if (status != EXECBUF_OK) {
        char text[500];
        (void)execbuf_error_describe(report, text, sizeof text);
        (void)fprintf(stderr, "%s\n", text);
    }
    return status == EXECBUF_OK;
}

/* SplitMix64. */
static inline uint32_t below(worker *me, uint32_t end) {
    uint64_t z = me->random += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return (uint32_t)((z ^ z >> 31) >> 32) % end;
}

static inline size_t some_length(worker *me) {
    switch (below(me, 64)) {
    case 0: return 1 + below(me, MOST_LENGTH);
    case 1: return 1 + below(me, 16);
    default: return 1 + below(me, below(me, 8) == 0 ? USUAL_LENGTH : 300);
    }
}

/* ---- Taking cells and pools ---- */

/* Finds a cell in a state and takes it, or adds a caller; NULL: a short search found none. */
static inline cell *take(worker *me, unsigned state, bool to_call) {
    const uint32_t first = below(me, CELLS);
    for (uint32_t i = 0; i < 16; i++) {
        cell *found = &cells[(first + i) % CELLS];
        unsigned seen = atomic_load(&found->state);
        if (to_call ? seen >= IDLE : seen == state) {
            if (atomic_compare_exchange_strong(&found->state, &seen, to_call ? seen + 1 : TAKEN)) {
                return found;
            }
        }
    }
    return NULL;
}

static inline cell *take_live(worker *me) {
    return take(me, IDLE, false);
}

static inline void put_back(cell *taken, unsigned state) {
    atomic_store(&taken->state, state);
}

static inline shared_pool *enter_pool(worker *me) {
    for (;;) {
        shared_pool *entered = &pools[below(me, POOLS)];
        int users = atomic_load(&entered->users);
        if (users >= 0 && atomic_compare_exchange_strong(&entered->users, &users, users + 1)) {
            return entered;
        }
        (void)sched_yield();
    }
}

static inline void leave_pool(shared_pool *entered) {
    atomic_fetch_sub(&entered->users, 1);
}

/* Makes a pool: one in three has a limited reach, a protection key, or other backends. */
static inline execbuf_pool *new_random_pool(worker *me) {
    const uint32_t flip = EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_FLIP);
    execbuf_pool *pool = NULL;
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    switch (below(me, 12)) {
#if !defined(EXECBUF_PRIM_UNIX) /* there, only some addresses are tried, so one with room may not be found   \
                                 */
    case 0: options.reach = (size_t)1 << 28; break;
#endif
    case 1: options.protection_key = 1; break;
    case 2: options.backends = flip; break;
    case 3: options.backends = flip | EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_ALIAS); break;
    default: break;
    }
    execbuf_status status = execbuf_pool_new(&pool, &options, NULL);
    return status == EXECBUF_OK ? pool : new_pool(); /* the system lacks what the options want */
}

/* Frees a pool, whose code may be live still, and makes another one. */
static inline void replace_pool(worker *me) {
    shared_pool *chosen = &pools[below(me, POOLS)];
    int users = 0;
    if (atomic_compare_exchange_strong(&chosen->users, &users, -1)) {
        execbuf_pool_free(chosen->pool);
        chosen->pool = new_random_pool(me);
        atomic_store(&chosen->users, 0);
    }
}

/* ---- Checks ---- */

/* The code of a function: it returns the value, if it is long enough, and other bytes follow. */
static inline const uint8_t *code_for(worker *me, uint32_t value, uint32_t rest, size_t length) {
    const code made = returning(value);
    memcpy(me->bytes, other_bytes + rest, length);
    if (length >= made.length) {
        memcpy(me->bytes, made.bytes, made.length);
    }
    return me->bytes;
}

static inline const uint8_t *code_of(worker *me, const cell *taken) {
    return code_for(me, taken->value, taken->rest, taken->length);
}

#if defined(__x86_64__)
/* The targets of thunks, and what calls one. */
static inline int add(int one, int other) {
    return one + other;
}

static inline int subtract(int one, int other) {
    return one - other;
}

typedef __attribute__((ms_abi)) int win64_function(int, int);

static inline int call_thunk(const cell *taken, int one, int other) {
    win64_function *function = NULL;
    memcpy((void *)&function, (const void *)&taken->buffer.entry, sizeof function);
    return function(one, other);
}
#endif

/* Checks a function that no other thread changes: it returns its value, and its bytes are its own. */
static inline void check_cell(worker *me, const cell *taken) {
    const execbuf *buffer = &taken->buffer;
    CHECK((uintptr_t)buffer->entry % 16 == 0);
    if (taken->kind == CODE) {
        CHECK(buffer->length == taken->length);
        if (taken->length >= returning(0).length) {
            CHECK(call(buffer, 0) == (int)taken->value);
        }
        CHECK(memcmp(buffer->entry, code_of(me, taken), taken->length) == 0);
        const uint8_t *end = (const uint8_t *)buffer->entry + taken->length;
        CHECK(holds_traps(end, (16 - (uintptr_t)end % 16) % 16));
    }
#if defined(__x86_64__)
    if (taken->kind == THUNK) {
        CHECK(call_thunk(taken, 50, 8) == (int)taken->value);
    }
#endif
}

/* ---- Operations ---- */

/* Publishes in a pool, or with a mapping of its own. */
static inline void publish_cell(worker *me) {
    cell *taken = take(me, EMPTY, false);
    if (taken == NULL) {
        return;
    }
    taken->kind = CODE;
    taken->value = below(me, 2048);
    taken->rest = below(me, 256);
    taken->length = some_length(me);
    const uint8_t *bytes = code_of(me, taken);
    if (below(me, 40) == 0) {
        CHECK(succeeds(execbuf_new(&taken->buffer, bytes, taken->length, &me->report), &me->report));
    } else {
        shared_pool *entered = enter_pool(me);
        CHECK(succeeds(execbuf_pool_publish(entered->pool, &taken->buffer, bytes, taken->length, &me->report),
                       &me->report));
        leave_pool(entered);
    }
    check_cell(me, taken);
    put_back(taken, IDLE);
}

static inline void publish_batch(worker *me) {
    cell *taken[BATCH];
    execbuf_code codes[BATCH];
    execbuf buffers[BATCH];
    size_t count = 0;
    const size_t length = 1 + below(me, BATCH_LENGTH);
    while (count < BATCH && (taken[count] = take(me, EMPTY, false)) != NULL) {
        cell *one = taken[count];
        one->kind = CODE;
        one->value = below(me, 2048);
        one->rest = below(me, 256);
        one->length = length;
        codes[count].bytes =
            (const uint8_t *)memcpy(me->bytes + MOST_LENGTH + count * BATCH_LENGTH, code_of(me, one), length);
        codes[count].length = length;
        codes[count].info = NULL;
        count++;
    }
    shared_pool *entered = enter_pool(me);
    CHECK(
        succeeds(execbuf_pool_publish_batch(entered->pool, buffers, codes, count, &me->report), &me->report));
    leave_pool(entered);
    for (size_t i = 0; i < count; i++) {
        taken[i]->buffer = buffers[i];
        check_cell(me, taken[i]);
        put_back(taken[i], IDLE);
    }
}

static inline void reserve_cell(worker *me) {
    cell *taken = take(me, EMPTY, false);
    if (taken != NULL) {
        shared_pool *entered = enter_pool(me);
        taken->kind = RESERVED;
        taken->length = some_length(me);
        CHECK(succeeds(execbuf_pool_reserve(entered->pool, &taken->buffer, taken->length, &me->report),
                       &me->report));
        leave_pool(entered);
        put_back(taken, IDLE);
    }
}

static inline void make_thunk(worker *me) {
#if defined(__x86_64__)
    cell *taken = take(me, EMPTY, false);
    if (taken != NULL) {
        const char letters[] = "idLf";
        char text[] = "i(ii)\0\0";
        for (uint32_t i = 4, end = i + below(me, 3); i < end; i++) {
            text[i] = letters[below(me, 4)];
            text[i + 1] = ')';
        }
        int (*function)(int, int) = below(me, 2) == 0 ? add : subtract;
        const void *target;
        memcpy((void *)&target, (const void *)&function, sizeof target);
        taken->kind = THUNK;
        taken->value = (uint32_t)function(50, 8);
        execbuf_signature *signature = parsed(text);
        shared_pool *entered = enter_pool(me);
        CHECK(succeeds(execbuf_thunk_new(entered->pool, &taken->buffer, signature, EXECBUF_ABI_WIN64,
                                         EXECBUF_ABI_SYSV64, target, &me->report),
                       &me->report));
        leave_pool(entered);
        execbuf_signature_free(signature);
        check_cell(me, taken);
        put_back(taken, IDLE);
    }
#else
    (void)me;
#endif
}

/* Whether a change was refused because of a fork, where regions cannot be copied. */
static inline bool is_frozen(execbuf_status status) {
    CHECK(status == EXECBUF_OK || (status == EXECBUF_E_FROZEN && !COPIES_REGIONS));
    return status == EXECBUF_E_FROZEN;
}

/* Fills a reserved buffer, or rewrites one: all of it, or the function at its beginning. */
static inline void change_cell(worker *me) {
    cell *taken = take_live(me);
    if (taken == NULL) {
        return;
    }
    check_cell(me, taken);
    const uint32_t value = below(me, 2048);
    const uint32_t rest = below(me, 256);
    if (taken->kind == RESERVED) {
        const size_t length = 1 + below(me, (uint32_t)taken->length);
        if (!is_frozen(execbuf_publish(&taken->buffer, code_for(me, value, rest, length), length, NULL))) {
            taken->kind = CODE;
            taken->value = value;
            taken->rest = rest;
            taken->length = length;
        }
    } else if (taken->kind == CODE) {
        const code made = returning(value);
        const bool is_short = taken->length >= made.length && below(me, 2) == 0;
        const uint8_t *bytes = is_short ? made.bytes : code_for(me, value, rest, taken->length);
        const size_t length = is_short ? made.length : taken->length;
        if (!is_frozen(execbuf_rewrite(&taken->buffer, 0, bytes, length, NULL))) {
            taken->value = value;
            taken->rest = is_short ? taken->rest : rest;
        }
    }
    check_cell(me, taken);
    put_back(taken, IDLE);
}

/* Frees a taken cell, whoever has published it. A second free is refused. */
static inline void free_cell(worker *me, cell *taken) {
    execbuf copy = taken->buffer;
    check_cell(me, taken);
    release(&taken->buffer);
    CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
    me->stale[me->freed++ % STALE] = copy;
    put_back(taken, EMPTY);
}

static inline void free_some(worker *me) {
    cell *taken = take_live(me);
    if (taken != NULL) {
        free_cell(me, taken);
    }
}

static inline void free_stale(worker *me) {
    execbuf *stale = &me->stale[below(me, STALE)];
    CHECK(is_zero(stale) || execbuf_free(stale) == EXECBUF_E_STALE);
}

static inline void call_cell(worker *me) {
    cell *taken = take(me, IDLE, true);
    if (taken != NULL) {
        check_cell(me, taken);
        if (below(me, 16) == 0 && taken->kind != RESERVED) {
            execbuf found;
            CHECK(execbuf_find(taken->buffer.entry, &found) == EXECBUF_OK);
            CHECK(found.entry == taken->buffer.entry && found.id == taken->buffer.id);
        }
        atomic_fetch_sub(&taken->state, 1);
    }
}

static inline void look_at_pool(worker *me) {
    shared_pool *entered = enter_pool(me);
    const execbuf_pool_stats stats = stats_of(entered->pool);
    CHECK(stats.live >= stats.dedicated && stats.mapped >= stats.resident && stats.frozen <= stats.regions);
    leave_pool(entered);
}

#endif
