/* After a fork, while each system call in turn fails: code is changed, or is as it was. Linux only. */

#include "pool_faults.h"

#if LADDER

#include "own.h"

static bool in_parent_too; /* whether the parent changes the code as well */

/* What a process does with the memory that it shares, while calls fail. */
static void change_code(void) {
    code two = returning(2);
    CHECK(execbuf_free(&others[0]) == EXECBUF_OK);
    execbuf other;
    execbuf_status status = execbuf_rewrite(&old, 0, two.bytes, two.length, &error);
    CHECK(status == error.status && (status == EXECBUF_OK || status == EXECBUF_E_FROZEN));
    CHECK(call(&old, 0) == (status == EXECBUF_OK ? 2 : 3));
    CHECK(status == EXECBUF_OK || (error.culprit != NULL && error.os_error == code_given));
    status = execbuf_publish(&buffer, two.bytes, two.length, &error);
    CHECK(status == EXECBUF_OK || status == EXECBUF_E_FROZEN);
    CHECK(status != EXECBUF_OK || call(&buffer, 0) == 2);
    status = publish_size(&other, 5, 100);
    CHECK(status == EXECBUF_OK || status == EXECBUF_E_NO_MEMORY || status == EXECBUF_E_DENIED);
    CHECK(status != EXECBUF_OK || (call(&other, 0) == 5 && execbuf_free(&other) == EXECBUF_OK));
}

/* After the calls have failed: nothing is broken. */
static void change_again(void) {
    code six = returning(6);
    disarm();
    CHECK(execbuf_rewrite(&old, 0, six.bytes, six.length, &error) == EXECBUF_OK && call(&old, 0) == 6);
    if (buffer.length == 0) {
        CHECK(execbuf_publish(&buffer, six.bytes, six.length, &error) == EXECBUF_OK);
    }
    CHECK(stats_of_pool().frozen == 0 && execbuf_free(&buffer) == EXECBUF_OK);
}

static void change_in_child(void) {
    CHECK(call(&old, 0) == 3 && buffer.length == 0);
    arm(NULL, first, and_all_after);
    change_code();
    bool reached = failures > 0;
    change_again();
    CHECK(execbuf_free(&old) == EXECBUF_OK);
    _exit(reached ? 0 : 50);
}

/* Returns whether a call has failed. */
static bool fail(long number, bool all_after) {
    maps before = look_at_code();
    make_pool_with_code();
    CHECK(execbuf_pool_reserve(pool, &buffer, 100, &error) == EXECBUF_OK);
    CHECK(publish_size(&others[0], 4, 1600) == EXECBUF_OK); /* in a span that a copy does not have */
    CHECK(stats_of_pool().regions == 1);
    first = number;
    and_all_after = all_after;
    only = "none";
    waiting made = fork_waiting(in_parent_too ? NULL : change_in_child);
    bool reached;
    if (in_parent_too) {
        arm(NULL, number, all_after);
        change_code();
        reached = failures > 0;
        change_again();
        finish(&made);
    } else {
        int status;
        go_on(&made);
        CHECK(waitpid(made.child, &status, 0) == made.child);
        CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 50));
        reached = WEXITSTATUS(status) == 0;
        CHECK(call(&old, 0) == 3);
        change_again();
    }
    CHECK(execbuf_free(&old) == EXECBUF_OK && execbuf_free(&others[0]) == EXECBUF_OK);
    execbuf_pool_free(pool);
    CHECK(execbuf_free(NULL) == EXECBUF_OK); /* unmaps what the system has refused to unmap */
    CHECK(same(before, look_at_code()));
    return reached;
}

static void code_is_changed_or_as_it_was_if_calls_fail(void) {
    make_pool_with_code();
    bool regions = stats_of_pool().regions > 0;
    pid_t child = fork(); /* begins the family of all that follow */
    if (child == 0) {
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    clean_up();
    if (!regions) {
        (void)fprintf(stderr, "SKIP: calls that fail after a fork: there are no regions here\n");
        return;
    }
    static const int32_t codes[] = {EXHAUSTED, REFUSED};
    for (int variant = 0; variant < 8; variant++) {
        code_given = codes[variant & 1];
        in_parent_too = (variant & 2) != 0;
        long number = 0;
        while (fail(number, (variant & 4) != 0)) {
            number++;
        }
        CHECK(number > 10);
    }
}

/* Nobody knows whether the child lives, so the parent copies. */
static void fork_without_a_family(const char *name) {
    make_pool_with_code();
    CHECK(execbuf_pool_reserve(pool, &buffer, 100, &error) == EXECBUF_OK);
    const unsigned long memory = memory_at(old.entry);
    code_given = EXHAUSTED;
    arm(name, 0, true);
    waiting made = fork_waiting(NULL);
    CHECK(failures > 0);
    finish(&made);
    CHECK(stats_of_pool().frozen == 1);
    change_again();
    CHECK(memory != memory_at(old.entry) && execbuf_free(&old) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void without_a_family_code_is_copied(void) {
    make_pool_with_code();
    bool regions = stats_of_pool().regions > 0;
    clean_up();
    if (regions) {
        waiting living = fork_waiting(NULL); /* so that each fork begins another family */
        fork_without_a_family("shmget");
        fork_without_a_family("shmat");
        fork_without_a_family("shmctl");
        finish(&living);
    }
}

enum { COUNT = 256 }; /* they fit in the first region */
static execbuf many[8 * COUNT];

static void publish_many(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        CHECK(publish_size(&many[i], i, 64) == EXECBUF_OK);
    }
}

static void free_many(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        CHECK(call(&many[i], 0) == (int)i && execbuf_free(&many[i]) == EXECBUF_OK);
    }
}

static int32_t code_of_second;

/* Two copies of a region, the second one while no page can be hidden, unless the code is 0: then the system
 * decides. Where freed code was, there are traps or hidden pages. */
static void check_copies_of_freed_code(void) {
    static const uint8_t *entries[COUNT];
    waiting made[2];
    make_pool_with_code();
    publish_many(COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        entries[i] = (const uint8_t *)many[i].entry;
    }
    const size_t resident = stats_of_pool().resident;
    CHECK(stats_of_pool().regions == 1);
    for (uint32_t copy = 0; copy < 2; copy++) {
        made[copy] = fork_waiting(NULL);
        if (copy == 0) {
            free_many(COUNT);
        } else if (code_of_second != 0) {
            code_given = code_of_second;
            arm("madvise(MADV_GUARD_INSTALL)", 0, true);
        }
        const unsigned long memory = memory_at(old.entry);
        code made_code = returning(6 + copy);
        CHECK(execbuf_rewrite(&old, 0, made_code.bytes, made_code.length, &error) == EXECBUF_OK);
        CHECK(call(&old, 0) == (int)(6 + copy) && memory_at(old.entry) != memory);
        disarm();
        CHECK(stats_of_pool().resident <= resident);
        for (uint32_t i = 0; i < COUNT; i++) {
            CHECK(is_gone(entries[i], 64));
        }
    }
    publish_many(COUNT);
    free_many(COUNT);
    finish(&made[0]);
    finish(&made[1]);
    CHECK(execbuf_free(&old) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void a_copy_has_no_zeros_where_freed_code_was(void) {
    make_pool_with_code();
    bool regions = stats_of_pool().regions > 0;
    clean_up();
    static const int32_t codes[] = {0, REFUSED, INVALID};
    for (int i = 0; i < 3 && regions; i++) {
        code_of_second = codes[i];
        in_child(check_copies_of_freed_code); /* after a refusal, a process hides no more pages */
    }
}

static void fork_often(void) {
    enum { FORKS = 20 };
    static execbuf kept[FORKS];
    static waiting made[FORKS];
    code_given = INVALID;
    arm("madvise(MADV_GUARD_INSTALL)", 0, true);
    make_pool();
    for (uint32_t i = 0; i < FORKS; i++) {
        CHECK(publish_size(&kept[i], i, 64) == EXECBUF_OK);
        publish_many(8 * COUNT);
        made[i] = fork_waiting(NULL);
        free_many(8 * COUNT);
    }
    CHECK(stats_of_pool().regions < 10);
    for (uint32_t i = 0; i < FORKS; i++) {
        CHECK(call(&kept[i], 0) == (int)i && execbuf_free(&kept[i]) == EXECBUF_OK);
        finish(&made[i]);
    }
    execbuf_pool_free(pool);
}

static void children_that_live_leave_few_regions_where_pages_cannot_be_hidden(void) {
    make_pool_with_code();
    bool regions = stats_of_pool().regions > 0;
    clean_up();
    if (regions && ZEROS_RUN) { /* else all pages can be hidden */
        in_child(fork_often);
    }
}

int main(void) {
    RUN(a_copy_has_no_zeros_where_freed_code_was);
    RUN(children_that_live_leave_few_regions_where_pages_cannot_be_hidden);
    RUN(without_a_family_code_is_copied);
    RUN(code_is_changed_or_as_it_was_if_calls_fail);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: regions after a fork: only Linux copies them\n");
    return 0;
}

#endif
