/* Handles of dedicated mappings stay stale for ever: a record whose generations are used up is retired. The
 * library is built with few generations for this test (see run.sh). */

#include "check.h"

/* How many buffers a record serves. */
#if defined(XB_LAST_GENERATION)
#define USES ((size_t)XB_LAST_GENERATION)
#else
#define USES ((size_t)0x7fffffff)
#endif

/* The first piece of memory for records holds 64 of them, and each piece twice as many as the last one. */
#define FIRST_RECORDS ((size_t)64)

/* How often the library has asked for memory for records. */
static size_t allocations;

int32_t xb_fault(const char *call);
int32_t xb_fault(const char *call) {
    allocations += strcmp(call, "calloc") == 0;
    return 0;
}

static execbuf publish(void) {
    code one = returning(1);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    return buffer;
}

static void stale_handles_are_refused_when_generations_run_out(void) {
    enum { COUNT = 600 };
    static execbuf old[COUNT];
    size_t same_places = 0; /* pairs of buffers whose handles only the id tells apart */
    for (size_t i = 0; i < COUNT; i++) {
        execbuf buffer = publish();
        for (size_t j = 0; j < i; j++) {
            execbuf copy = old[j];
            CHECK(copy.id != buffer.id);
            CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
            same_places += copy.entry == buffer.entry;
        }
        old[i] = buffer;
        CHECK(call(&buffer, 0) == 1);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    if (same_places == 0) {
        (void)fprintf(stderr, "SKIP: the system maps no address twice, so old handles differ anyway\n");
    }
}

static void retired_records_cost_one_record_for_each_generation_count(void) {
    size_t before = allocations;
    size_t records = FIRST_RECORDS; /* those of the tests before are fewer */
    size_t pieces = 1;
    const size_t count = 20000;
    for (size_t i = 0; i < count; i++) {
        execbuf buffer = publish();
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    for (size_t needed = (count + 600) / USES + 1; records < needed; pieces++) {
        records += FIRST_RECORDS << pieces;
    }
    CHECK(before == 1 && allocations == pieces);
}

int main(void) {
    if (USES > 1000) {
        (void)fprintf(stderr, "SKIP: the library has too many generations for this test\n");
        return 0;
    }
    RUN(stale_handles_are_refused_when_generations_run_out);
    RUN(retired_records_cost_one_record_for_each_generation_count);
    (void)printf("ok\n");
    return 0;
}
