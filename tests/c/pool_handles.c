/* Stale and altered handles of code in pools: every function refuses them. */

#include "pool_helpers.h"

/* Checks that each function refuses a handle as stale, counts that, and does not change the handle. */
static void refused(execbuf handle) {
    code one = returning(1);
    execbuf copy = handle;
    uint64_t count = execbuf_stale_count();
    CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
    expect(execbuf_rewrite(&copy, 0, one.bytes, 1, &error), EXECBUF_E_STALE, "buffer");
    expect(execbuf_publish(&copy, one.bytes, 1, &error), EXECBUF_E_STALE, "buffer");
    CHECK(execbuf_stale_count() == count + 3);
    CHECK(copy.entry == handle.entry && copy.length == handle.length && copy.id == handle.id);
}

/* Checks that handles with one changed bit are refused. An id and an address identify a buffer, and others
 * can have the same id: if a changed address is that of such a buffer, the result is a valid handle. */
static void refuse_altered(execbuf handle, const execbuf *others, size_t count) {
    for (unsigned bit = 0; bit < 64; bit++) {
        execbuf altered = handle;
        altered.id ^= (uint64_t)1 << bit;
        refused(altered);
    }
    for (unsigned bit = 0; bit < 8 * sizeof(void *); bit++) {
        execbuf altered = handle;
        altered.entry = (const void *)((uintptr_t)handle.entry ^ (uintptr_t)1 << bit); /* NOLINT */
        int another = 0;
        for (size_t i = 0; i < count; i++) {
            another |= others[i].entry == altered.entry && others[i].id == altered.id;
        }
        if (!another) {
            refused(altered);
        }
    }
    execbuf altered = handle;
    altered.entry = NULL;
    refused(altered);
    altered = handle;
    altered.id = UINT64_MAX;
    refused(altered);
    altered.id = (uint64_t)1 << 63;
    refused(altered);
    altered.id = 0;
    refused(altered);
}

static void altered_handles_are_refused(void) {
    static uint8_t bytes[40000];
    static const size_t lengths[] = {6, 100, 1500, 40000};
    execbuf_pool *pool = new_pool();
    execbuf_pool *other = new_pool(); /* so that other pool and span numbers are in use */
    execbuf beside = publish(other, 3);
    execbuf alone;
    code four = returning(4);
    CHECK(execbuf_new(&alone, four.bytes, four.length, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        execbuf buffers[3];
        for (uint32_t j = 0; j < 3; j++) {
            code made = returning(j);
            memcpy(bytes, made.bytes, made.length);
            size_t length = lengths[i] < made.length ? made.length : lengths[i];
            CHECK(execbuf_pool_publish(pool, &buffers[j], bytes, length, NULL) == EXECBUF_OK);
        }
        refuse_altered(buffers[1], buffers, 3);
        execbuf mixed = buffers[1];
        mixed.entry = buffers[0].entry;  /* the address of one, the id of the other */
        if (mixed.id != buffers[0].id) { /* see refuse_altered */
            refused(mixed);
        }
        mixed.entry = beside.entry;
        refused(mixed);
        mixed.entry = alone.entry;
        refused(mixed);
        mixed = alone;
        mixed.entry = buffers[1].entry;
        refused(mixed);
        for (int j = 0; j < 3; j++) {
            CHECK(call(&buffers[j], 0) == j);
            release(&buffers[j]);
        }
    }
    CHECK(call(&beside, 0) == 3 && call(&alone, 0) == 4);
    release(&beside);
    release(&alone);
    execbuf_pool_free(other);
    execbuf_pool_free(pool);
}

/* A slot is reused until its tags run out, and a span until the span numbers do. */
static void stale_handles_are_refused_when_tags_run_out(void) {
    static uint8_t bytes[40000];
    memset(bytes, 0xc3, sizeof bytes);
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf kept;
    CHECK(execbuf_pool_publish(pool, &kept, bytes, 1, NULL) == EXECBUF_OK);
    execbuf_pool_stats stats = stats_of(pool);
    const size_t lengths[] = {32768, sizeof bytes};
    const size_t rounds[] = {stats.regions > 0 ? 150000 : 100, stats.regions > 0 ? 70000 : 100};
    for (size_t i = 0; i < 2; i++) {
        execbuf first;
        CHECK(execbuf_pool_publish(pool, &first, bytes, lengths[i], NULL) == EXECBUF_OK);
        execbuf stale = first;
        CHECK(execbuf_free(&first) == EXECBUF_OK);
        for (size_t round = 0; round < rounds[i]; round++) {
            execbuf next;
            CHECK(execbuf_pool_publish(pool, &next, bytes, lengths[i], NULL) == EXECBUF_OK);
            execbuf copy = stale;
            CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
            CHECK(execbuf_free(&next) == EXECBUF_OK);
        }
    }
    stats = stats_of(pool);
    CHECK(stats.live == 1 && stats.regions <= 2 && /* that of the live buffer, and an empty one */
          stats.resident < ((size_t)1 << 20));     /* no memory is lost */
    CHECK(execbuf_free(&kept) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

/* Slots are reused after quarantine. Their old handles stay stale. */
static void stale_handles_are_refused(void) {
    enum { COUNT = 3000 };
    static execbuf old[COUNT];
    uint32_t count = under_valgrind() ? 100 : COUNT;
    execbuf_pool *pool = new_pool();
    execbuf kept = publish(pool, 9);
    for (uint32_t i = 0; i < count; i++) {
        execbuf buffer = publish(pool, 5);
        old[i] = buffer;
        release(&buffer);
        if (i % 50 == 0) {
            refused(old[i]);
        }
    }
    execbuf live[100];
    for (uint32_t i = 0; i < 100; i++) {
        live[i] = publish(pool, i);
    }
    uint64_t before = execbuf_stale_count();
    for (uint32_t i = 0; i < count; i++) {
        CHECK(execbuf_free(&old[i]) == EXECBUF_E_STALE);
    }
    CHECK(execbuf_stale_count() == before + count);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK(call(&live[i], 0) == (int)i);
        release(&live[i]);
    }
    CHECK(call(&kept, 0) == 9);
    execbuf_pool_free(pool);
    old[0] = kept;
    CHECK(call(&kept, 0) == 9);
    release(&kept); /* ends the pool, too */
    refused(old[0]);
    /* A new pool, which may have the number of the first. */
    pool = new_pool();
    execbuf buffer = publish(pool, 1);
    refused(old[0]);
    CHECK(call(&buffer, 0) == 1);
    release(&buffer);
    execbuf_pool_free(pool);
}

int main(void) {
    RUN(altered_handles_are_refused);
    RUN(stale_handles_are_refused);
    RUN(stale_handles_are_refused_when_tags_run_out);
    (void)printf("ok\n");
    return 0;
}
