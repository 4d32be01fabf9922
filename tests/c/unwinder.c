/* What the library tells an unwinder like libgcc's of its adapters. */

#include "../../csrc/pool/pool.h" /* first: it has parameters that check.h gives other meanings */

#include "check.h"

#if defined(__x86_64__) && defined(__ELF__)

#include "unwinder.h"

/* ---- Thunks ---- */

#define MANY 3000U

static execbuf_pool *pool;
static execbuf thunks[MANY];
static uint32_t state = 1;

static uint32_t next_random(uint32_t below) {
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % below;
}

static void target(void) {}

/* Makes a thunk of a random signature, or of none with arguments. It is never called. */
static execbuf_status make(execbuf *out, uint32_t most_arguments, execbuf_error *error) {
    char text[120] = "v(";
    void (*function)(void) = target;
    const void *address;
    memcpy((void *)&address, (const void *)&function, sizeof address);
    uint32_t count = next_random(most_arguments + 1);
    for (uint32_t i = 0; i < count; i++) {
        text[2 + i] = "bhilfd"[next_random(6)];
    }
    text[2 + count] = ')';
    execbuf_abi caller = next_random(2) == 0 ? EXECBUF_ABI_WIN64 : EXECBUF_ABI_SYSV64;
    execbuf_abi callee = caller == EXECBUF_ABI_WIN64 ? EXECBUF_ABI_SYSV64 : EXECBUF_ABI_WIN64;
    execbuf_signature *signature = parsed(text);
    execbuf_status status = execbuf_thunk_new(pool, out, signature, caller, callee, address, error);
    execbuf_signature_free(signature);
    return status;
}

static execbuf_pool_stats stats_of_pool(void) {
    execbuf_pool_stats stats = EXECBUF_POOL_STATS_INIT;
    CHECK(execbuf_pool_get_stats(pool, &stats) == EXECBUF_OK);
    return stats;
}

/* The adapter of a thunk: its stub jumps behind the adapter's endbr64. */
static const uint8_t *adapter_of(const execbuf *thunk) {
    const uint8_t *stub = (const uint8_t *)thunk->entry;
    if (thunk->length == 27) {
        uint64_t there;
        memcpy(&there, stub + 16, sizeof there); /* mov eax, imm64 */
        return (const uint8_t *)(uintptr_t)(there - 4);
    }
    int32_t distance;
    memcpy(&distance, stub + thunk->length - 4, sizeof distance); /* jmp rel32 */
    return stub + thunk->length + distance - 4;
}

/* Checks that an FDE of the library describes this adapter: rbp is the frame pointer from behind the
 * instruction that sets it to that which pops it, before the last one. */
static void check_instructions(const uint8_t *fde_bytes, const uint8_t *adapter, size_t length) {
    static const uint8_t begin_frame[] = {0x55, 0x48, 0x8b, 0xec}; /* push rbp; mov rbp, rsp */
    static const uint8_t end_frame[] = {0x5d, 0xc3};               /* pop rbp; ret */
    uint32_t offset = 0;
    uint32_t begins = 0;
    uint32_t ends = 0;
    for (const uint8_t *at = fde_bytes + sizeof(fde) + 1; *at != 0;) {
        uint8_t operation = *at++;
        if (operation == 0x03) { /* DW_CFA_advance_loc2 */
            offset += at[0] + 256U * at[1];
            at += 2;
        } else if (operation == 0x0c) { /* DW_CFA_def_cfa */
            begins = at[0] == 6 && at[1] == 16 ? offset : begins;
            ends = at[0] == 7 && at[1] == 8 ? offset : ends;
            at += 2;
        } else {
            at += operation >> 6 == 2; /* DW_CFA_offset; DW_CFA_restore has no operand */
        }
    }
    CHECK(begins >= 4 && memcmp(adapter + begins - 4, begin_frame, sizeof begin_frame) == 0);
    CHECK(ends + 1 == length && memcmp(adapter + ends - 1, end_frame, sizeof end_frame) == 0);
}

/* The FDE of the one list that contains an address, or NULL. */
static const uint8_t *found_at(const uint8_t *address) {
    uint64_t place = (uintptr_t)address;
    for (size_t i = 0; i < list_count; i++) {
        if (place - lists[i].start < lists[i].end - lists[i].start) {
            return search(lists[i].first, place);
        }
    }
    return NULL;
}

/* Checks that the unwinder finds the adapters of all thunks, each by its first and its last byte. */
static void check_adapters(void) {
    for (uint32_t i = 0; i < MANY; i++) {
        if (thunks[i].id != 0) {
            const uint8_t *adapter = adapter_of(&thunks[i]);
            execbuf_place place = EXECBUF_PLACE_INIT;
            fde entry;
            const uint8_t *found = found_at(adapter);
            CHECK(execbuf_pool_lookup(pool, &place, adapter) == EXECBUF_OK);
            CHECK(found != NULL && found == found_at(adapter + place.length - 1));
            memcpy(&entry, found, sizeof entry);
            CHECK(entry.address == (uintptr_t)adapter && entry.size >= place.length);
            check_instructions(found, adapter, place.length);
        }
    }
}

static void begin(void) {
    registrations = 0;
    CHECK(list_count == 0 && execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
}

static void free_thunks(void) {
    for (uint32_t i = 0; i < MANY; i++) {
        if (thunks[i].id != 0) {
            CHECK(execbuf_free(&thunks[i]) == EXECBUF_OK);
        }
    }
}

/* Frees all thunks and the pool; nothing stays registered. */
static void end(void) {
    free_thunks();
    execbuf_pool_free(pool);
    CHECK(list_count == 0);
}

static void many_adapters_take_few_registrations(void) {
    begin();
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK(make(&thunks[i], 100, NULL) == EXECBUF_OK);
    }
    execbuf_pool_stats stats = stats_of_pool();
    if (stats.regions == 0) {
        (void)fprintf(stderr, "SKIP: unwind tables of regions: there are none here\n");
    } else {
        CHECK(stats.live - MANY > 2 * MANY / 3); /* adapters */
        CHECK(list_count <= 50 && registrations == list_count);
    }
    check_adapters();
    end();
}

static void adapters_come_and_go_without_calls_of_the_unwinder(void) {
    begin();
    for (uint32_t i = 0; i < 300; i++) {
        CHECK(make(&thunks[i], 100, NULL) == EXECBUF_OK);
    }
    size_t most = stats_of_pool().regions == 0 ? SIZE_MAX : 40;
    for (int round = 0; round < 3000; round++) {
        uint32_t one = next_random(300);
        CHECK(execbuf_free(&thunks[one]) == EXECBUF_OK);
        CHECK(make(&thunks[one], 100, NULL) == EXECBUF_OK);
        if (round % 100 == 0) {
            check_adapters();
        }
    }
    CHECK(registrations <= most);
    end();
}

/* Users have free slots of every size class, before any adapter is made. */
static void adapters_stay_apart_from_the_code_of_users(void) {
    static const uint8_t bytes[2048];
    static execbuf many[256];
    begin();
    for (size_t i = 0; i < 256; i++) {
        CHECK(execbuf_pool_publish(pool, &many[i], bytes, 16 * (i / 2 + 1), NULL) == EXECBUF_OK);
        for (int more = 0; i % 2 == 0 && more < 2; more++) {
            CHECK(make(&thunks[i + (size_t)more], 100, NULL) == EXECBUF_OK);
        }
    }
    check_adapters();
    for (size_t i = 0; i < 256; i++) {
        CHECK(found_at((const uint8_t *)many[i].entry) == NULL && execbuf_free(&many[i]) == EXECBUF_OK);
    }
    end();
}

static uint64_t registered_bytes(void) {
    uint64_t sum = 0;
    for (size_t i = 0; i < list_count; i++) {
        sum += lists[i].end - lists[i].start;
    }
    return sum;
}

#define MOST_USERS 1024U
static execbuf users[MOST_USERS];
static size_t user_count;

/* Pages of adapters serve the code of users only when their list is not registered any more. */
static void publish_page(void) {
    static const uint8_t bytes[4096];
    CHECK(user_count < MOST_USERS);
    execbuf *user = &users[user_count++];
    CHECK(execbuf_pool_publish(pool, user, bytes, sizeof bytes, NULL) == EXECBUF_OK);
    CHECK(found_at((const uint8_t *)user->entry) == NULL);
}

/* More than fits between what else is in the region. */
static void publish_many_pages(void) {
    while (user_count < MOST_USERS / 4) {
        publish_page();
    }
}

/* The first buffer keeps the region mapped. */
static void what_many_adapters_took_is_given_back(void) {
    begin();
    user_count = 0;
    publish_page();
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK(make(&thunks[i], 100, NULL) == EXECBUF_OK);
    }
    execbuf_pool_stats full = stats_of_pool();
    size_t most_lists = list_count;
    CHECK(full.regions == 0 || registered_bytes() > 3 * (1 << 20));
    free_thunks();
    while_removing = publish_many_pages;
    while (full.regions > 0 && stats_of_pool().resident <= full.resident) {
        publish_page();
    }
    while_removing = NULL;
    execbuf_pool_stats after = stats_of_pool();
    CHECK(after.mapped <= full.mapped || full.regions == 0);
    CHECK(after.bookkeeping < full.bookkeeping / 4 || full.regions == 0);
    /* Each class keeps at most 128 KiB. */
    CHECK(full.regions == 0 || (list_count < most_lists && registered_bytes() <= 6 * (128 << 10)));
    /* Those that are kept are used again; some went with their regions, at most one for each class. (The new
     * ones are small. So few adapters fill none of them.) */
    size_t kept = registrations;
    for (uint32_t i = 0; i < 10; i++) {
        CHECK(make(&thunks[i], 100, NULL) == EXECBUF_OK);
    }
    CHECK(registrations <= kept + 6 || full.regions == 0);
    check_adapters();
    for (size_t i = 0; i < user_count; i++) {
        CHECK(execbuf_free(&users[i]) == EXECBUF_OK);
    }
    end();
}

/* Gives slots that are not taken the last tag but one, as if they had been used 2^15 - 1 times. */
static void wear_out(void) {
    for (const xb_region *region = pool->arenas->regions; region != NULL; region = region->next) {
        uint32_t page = 1;
        const xb_span *span;
        while ((span = xb_span_next(region, &page)) != NULL) {
            for (uint32_t slot = 0; slot < span->slots; slot++) {
                static const uint16_t last = 0xfffe;
                bool is_free = (xb_span_bits(span)[slot / 64].free >> slot % 64 & 1) != 0;
                if (is_free && xb_is_adapter_class(span->class_)) {
                    *xb_slot_tag(span->entries, slot) = last;
                }
            }
        }
    }
}

/* A slot is retired after its last use. A span whose slots are all retired is of no use. So it has to go,
 * however small it is; else each adapter that comes and goes would leave a part of a span for ever. */
static void worn_out_spans_are_given_back(void) {
    execbuf user;
    begin();
    CHECK(execbuf_pool_publish(pool, &user, "\xc3", 1, NULL) == EXECBUF_OK);
    size_t most = 0;
    for (int use = 0; use < 20000; use++) {
        CHECK(make(&thunks[0], 0, NULL) == EXECBUF_OK && execbuf_free(&thunks[0]) == EXECBUF_OK);
        wear_out();
        most = list_count > most ? list_count : most;
    }
    CHECK(most <= 20 && list_count <= 20 && stats_of_pool().regions <= 1);
    CHECK(registrations > 40 || stats_of_pool().regions == 0); /* slots did wear out */
    CHECK(execbuf_free(&user) == EXECBUF_OK);
    end();
}

/* The first round finds out how much code of users fits into the regions of 2000 adapters. The second
 * publishes so much; small runs of pages are left between. */
static void adapters_use_small_runs_of_pages_before_a_new_region(void) {
    static const uint8_t bytes[180 << 10];
    static execbuf large[64];
    size_t fits = 64;
    for (int round = 0; round < 2; round++) {
        state = 1;
        begin();
        for (uint32_t i = 0; i < 2000; i++) {
            CHECK(make(&thunks[i], 100, NULL) == EXECBUF_OK);
        }
        size_t count = 0;
        const size_t regions = stats_of_pool().regions;
        while (count < fits && regions > 0 && stats_of_pool().regions == regions) {
            CHECK(execbuf_pool_publish(pool, &large[count++], bytes, sizeof bytes, NULL) == EXECBUF_OK);
        }
        fits = count > 0 ? count - 1 : 0;
        for (uint32_t i = 2000; round == 1 && i < 2300; i++) {
            CHECK(make(&thunks[i], 100, NULL) == EXECBUF_OK && stats_of_pool().regions == regions);
        }
        check_adapters();
        while (count > 0) {
            CHECK(execbuf_free(&large[--count]) == EXECBUF_OK);
        }
        end();
    }
}

static void one_adapter_has_a_small_table(void) {
    execbuf user;
    begin();
    CHECK(execbuf_pool_publish(pool, &user, "\xc3", 1, NULL) == EXECBUF_OK);
    size_t before = stats_of_pool().bookkeeping;
    CHECK(make(&thunks[0], 3, NULL) == EXECBUF_OK);
    CHECK(stats_of_pool().bookkeeping - before < 16384 && execbuf_free(&user) == EXECBUF_OK);
    end();
}

static void no_signal_handler_runs_while_the_unwinder_is_called(void) {
    begin();
    signals = 0;
    CHECK(make(&thunks[0], 3, NULL) == EXECBUF_OK);
    CHECK(signals > 0); /* they come afterwards */
    end();
    CHECK(!was_interrupted && raise(SIGUSR1) == 0);
}

static void a_list_that_the_unwinder_loses_is_replaced_by_one_for_each_adapter(void) {
    begin();
    loses_ranges_from = 3000; /* longer than an adapter, shorter than any span */
    for (uint32_t i = 0; i < 20; i++) {
        CHECK(make(&thunks[i], 100, NULL) == EXECBUF_OK);
        check_adapters();
        CHECK(list_count == stats_of_pool().live - i - 1);
    }
    end();
    loses_ranges_from = UINT64_MAX;
}

static void an_adapter_that_the_unwinder_loses_is_made_at_another_address(void) {
    begin();
    lost_searches = 4; /* the list, and an adapter at three places */
    CHECK(make(&thunks[0], 3, NULL) == EXECBUF_OK);
    check_adapters();
    CHECK(list_count == 1 && stats_of_pool().live == 2);
    end();
}

static void if_the_unwinder_loses_all_there_is_no_thunk(void) {
    execbuf_error error = EXECBUF_ERROR_INIT;
    begin();
    lost_searches = 1000;
    CHECK(make(&thunks[0], 3, &error) == EXECBUF_E_DENIED && thunks[0].id == 0);
    CHECK(error.status == EXECBUF_E_DENIED && strcmp(error.culprit, "_Unwind_Find_FDE") == 0);
    CHECK(list_count == 0 && stats_of_pool().live == 0);
    lost_searches = 0;
    end();
}

int main(void) {
    loses_ranges_from = UINT64_MAX;
    CHECK(signal(SIGUSR1, handle) != SIG_ERR);
    RUN(many_adapters_take_few_registrations);
    RUN(adapters_come_and_go_without_calls_of_the_unwinder);
    RUN(adapters_stay_apart_from_the_code_of_users);
    RUN(what_many_adapters_took_is_given_back);
    RUN(worn_out_spans_are_given_back);
    RUN(adapters_use_small_runs_of_pages_before_a_new_region);
    RUN(one_adapter_has_a_small_table);
    RUN(no_signal_handler_runs_while_the_unwinder_is_called);
    RUN(a_list_that_the_unwinder_loses_is_replaced_by_one_for_each_adapter);
    RUN(an_adapter_that_the_unwinder_loses_is_made_at_another_address);
    RUN(if_the_unwinder_loses_all_there_is_no_thunk);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: what an unwinder is told of adapters: there are no thunks here, or no such "
                          "unwinder\n");
    return 0;
}

#endif
