/* What observers are told of described code. */

#include "check.h"
#include "child.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct event {
    execbuf_event_kind kind;
    execbuf buffer;
    char name[16];
    int value; /* what the code returns, read from its bytes; 0 if it was freed */
} event;

static event events[64];
static size_t event_count;
static int releases;
static execbuf_pool *pool;

static int value_of(const execbuf *buffer) {
    uint8_t bytes[8];
    int32_t value = 0;
    const uint8_t *entry = (const uint8_t *)buffer->entry;
    memcpy(bytes, entry, returning(0).length);
    for (uint32_t i = 0; i < 100; i++) {
        code one = returning(i);
        value = memcmp(bytes, one.bytes, one.length) == 0 ? (int32_t)i : value;
    }
    return value;
}

static void note(void *context, const execbuf_event *told) {
    CHECK(context == &releases && event_count < sizeof events / sizeof *events);
    CHECK(told->size == sizeof *told && told->reserved == 0 && told->name_length < sizeof events->name);
    event *noted = &events[event_count++];
    memset(noted, 0, sizeof *noted);
    noted->kind = told->kind;
    noted->buffer = told->buffer;
    memcpy(noted->name, told->name, told->name_length);
    noted->value = value_of(&told->buffer);
}

static void count_release(void *context) {
    CHECK(context == &releases);
    releases++;
}

/* Checks the next event that was noted. */
static void expect(execbuf_event_kind kind, const execbuf *buffer, const char *name, int value) {
    static size_t next;
    if (buffer == NULL) { /* there is no other event */
        CHECK(next == event_count);
        next = 0;
        event_count = 0;
        return;
    }
    CHECK(next < event_count);
    const event *noted = &events[next++];
    CHECK(noted->kind == kind && noted->buffer.entry == buffer->entry && noted->buffer.id == buffer->id);
    CHECK(noted->buffer.length == buffer->length && strcmp(noted->name, name) == 0 && noted->value == value);
}

static void expect_no_more(void) {
    expect(EXECBUF_EVENT_INVALID, NULL, NULL, 0);
}

static execbuf_info named(const char *name) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.name = name;
    info.name_length = strlen(name);
    return info;
}

static execbuf publish(const char *name, uint32_t value) {
    execbuf_info info = named(name);
    execbuf out;
    code one = returning(value);
    CHECK(execbuf_pool_publish_with(pool, &out, one.bytes, one.length, &info, NULL) == EXECBUF_OK);
    return out;
}

static execbuf_observer *observe(execbuf_observe_function callback) {
    execbuf_observer *out;
    CHECK(execbuf_observe(&out, callback, count_release, &releases, NULL) == EXECBUF_OK);
    return out;
}

static void unobserve(execbuf_observer *observer) {
    int before = releases;
    execbuf_unobserve(observer);
    CHECK(releases == before + 1);
}

static void wrong_arguments_are_refused(void) {
    execbuf_observer *out = (execbuf_observer *)(void *)&releases;
    execbuf_error error;
    CHECK(execbuf_observe(NULL, note, NULL, NULL, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    CHECK(execbuf_observe(&out, NULL, NULL, NULL, &error) == EXECBUF_E_NULL && out == NULL);
    CHECK(strcmp(error.culprit, "callback") == 0);
    execbuf_unobserve(NULL);
}

static void each_change_of_described_code_is_told(void) {
    execbuf_observer *observer = observe(note);
    execbuf buffer = publish("one", 1);
    execbuf before = buffer;
    expect(EXECBUF_EVENT_PUBLISHED, &before, "one", 1);
    execbuf_info info = named("again");
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK);
    expect(EXECBUF_EVENT_ENDED, &before, "one", 1);
    expect(EXECBUF_EVENT_DESCRIBED, &before, "again", 1);
    code two = returning(2);
    CHECK(execbuf_rewrite(&buffer, 0, two.bytes, two.length, NULL) == EXECBUF_OK);
    expect(EXECBUF_EVENT_ENDED, &before, "again", 2);
    info = named("");
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK);
    expect(EXECBUF_EVENT_DESCRIBED, &before, "", 2);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    expect(EXECBUF_EVENT_ENDED, &before, "", 2);
    expect_no_more();
    unobserve(observer);
}

static void other_code_is_not_told(void) {
    execbuf_observer *observer = observe(note);
    code one = returning(1);
    execbuf buffers[2];
    CHECK(execbuf_pool_publish(pool, &buffers[0], one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_new(&buffers[1], one.bytes, one.length, NULL) == EXECBUF_OK);
    for (int i = 0; i < 2; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    execbuf_info info = named("none");
    info.unwind = EXECBUF_UNWIND_INVALID;
    CHECK(execbuf_pool_publish_with(pool, &buffers[0], one.bytes, one.length, &info, NULL) ==
          EXECBUF_E_VERSION);
    expect_no_more();
    unobserve(observer);
    execbuf late = publish("late", 1);
    CHECK(execbuf_free(&late) == EXECBUF_OK);
    expect_no_more();
}

static void batches_and_reserved_buffers_are_told_once_their_code_is_there(void) {
    execbuf_observer *observer = observe(note);
    code first = returning(1);
    code second = returning(2);
    execbuf_info infos[2] = {named("first"), named("second")};
    execbuf_code codes[2] = {{first.bytes, first.length, &infos[0]},
                             {second.bytes, second.length, &infos[1]}};
    execbuf batch[2];
    execbuf reserved[3];
    CHECK(execbuf_pool_publish_batch(pool, batch, codes, 2, NULL) == EXECBUF_OK);
    expect(EXECBUF_EVENT_PUBLISHED, &batch[0], "first", 1);
    expect(EXECBUF_EVENT_PUBLISHED, &batch[1], "second", 2);
    CHECK(execbuf_pool_reserve(pool, &reserved[0], 16, NULL) == EXECBUF_OK);
    CHECK(execbuf_reserve(&reserved[1], 16, NULL) == EXECBUF_OK);
    CHECK(execbuf_reserve(&reserved[2], 16, NULL) == EXECBUF_OK);
    expect_no_more();
    CHECK(execbuf_publish_all(reserved, codes, 2, NULL) == EXECBUF_OK);
    expect(EXECBUF_EVENT_PUBLISHED, &reserved[0], "first", 1);
    expect(EXECBUF_EVENT_PUBLISHED, &reserved[1], "second", 2);
    CHECK(execbuf_publish_with(&reserved[2], second.bytes, second.length, &infos[1], NULL) == EXECBUF_OK);
    expect(EXECBUF_EVENT_PUBLISHED, &reserved[2], "second", 2);
    for (int i = 0; i < 5; i++) {
        execbuf *freed = i < 2 ? &batch[i] : &reserved[i - 2];
        execbuf before = *freed;
        int value = i == 0 || i == 2 ? 1 : 2;
        CHECK(execbuf_free(freed) == EXECBUF_OK);
        expect(EXECBUF_EVENT_ENDED, &before, value == 1 ? "first" : "second", value);
    }
    expect_no_more();
    unobserve(observer);
}

/* ---- Callbacks that call execbuf ---- */

static execbuf_observer *acting;
static execbuf published_inside;

/* Publishes with a description at the first event, and ends itself at the event of that. */
static void act(void *context, const execbuf_event *told) {
    execbuf found;
    CHECK(context == &releases);
    CHECK(execbuf_find(told->buffer.entry, &found) == EXECBUF_OK && found.id == told->buffer.id);
    if (acting != NULL && told->name_length == 5) {
        published_inside = publish("in", 3);
        CHECK(releases == 0);
    } else if (acting != NULL) {
        execbuf_observer *ended = acting;
        acting = NULL;
        execbuf_unobserve(ended);
        CHECK(releases == 0); /* two calls of it run */
    }
}

static void a_callback_may_publish_and_end_itself(void) {
    releases = 0;
    acting = observe(act);
    execbuf_observer *other = observe(note);
    execbuf buffer = publish("outer", 1);
    CHECK(releases == 1 && acting == NULL);
    expect(EXECBUF_EVENT_PUBLISHED, &buffer, "outer", 1); /* the newest observer is called first */
    expect(EXECBUF_EVENT_PUBLISHED, &published_inside, "in", 3);
    expect_no_more();
    unobserve(other);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && execbuf_free(&published_inside) == EXECBUF_OK);
}

/* Ends itself, and then publishes. */
static void end_and_publish(void *context, const execbuf_event *told) {
    CHECK(context == &releases && told->kind == EXECBUF_EVENT_PUBLISHED && acting != NULL);
    execbuf_observer *ended = acting;
    acting = NULL;
    execbuf_unobserve(ended);
    published_inside = publish("in", 3);
    CHECK(releases == 0);
}

static void an_observer_that_has_ended_is_not_told_while_it_runs(void) {
    releases = 0;
    execbuf_observer *other = observe(note);
    acting = observe(end_and_publish);
    execbuf buffer = publish("outer", 1);
    CHECK(releases == 1 && acting == NULL);
    expect(EXECBUF_EVENT_PUBLISHED, &published_inside, "in", 3);
    expect(EXECBUF_EVENT_PUBLISHED, &buffer, "outer", 1);
    expect_no_more();
    unobserve(other);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && execbuf_free(&published_inside) == EXECBUF_OK);
}

/* ---- Threads ---- */

static bool is_over;

static void *publish_and_free(void *unused) {
    (void)unused;
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        execbuf buffer = publish("thread", 1);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    return NULL;
}

static void touch(void *context, const execbuf_event *told) {
    CHECK(told->name_length == 6);
    __atomic_fetch_add((int *)context, 1, __ATOMIC_RELAXED);
}

static void observers_come_and_go_while_others_publish(void) {
    pthread_t threads[2];
    int rounds = is_emulated() ? 20 : 200;
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_and_free, NULL) == 0);
    }
    for (int i = 0; i < rounds; i++) {
        int *calls = (int *)calloc(1, sizeof *calls);
        execbuf_observer *observer;
        CHECK(calls != NULL && execbuf_observe(&observer, touch, free, calls, NULL) == EXECBUF_OK);
        while (__atomic_load_n(calls, __ATOMIC_RELAXED) < 3) {
        }
        execbuf_unobserve(observer);
    }
    __atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static int entered; /* 1: a callback waits; 2: it may go on */

static void wait_inside(void *context, const execbuf_event *told) {
    CHECK(context == &releases && told->kind == EXECBUF_EVENT_PUBLISHED);
    __atomic_store_n(&entered, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&entered, __ATOMIC_ACQUIRE) != 2) {
        (void)usleep(1000);
    }
}

static void *publish_once(void *out) {
    *(execbuf *)out = publish("waits", 1);
    return NULL;
}

/* The thread that calls an observer is not in the child, so its call does not count there. */
static void a_child_can_end_an_observer_that_another_thread_called(void) {
    pthread_t thread;
    execbuf buffer;
    releases = 0;
    execbuf_observer *observer = observe(wait_inside);
    CHECK(pthread_create(&thread, NULL, publish_once, &buffer) == 0);
    while (__atomic_load_n(&entered, __ATOMIC_ACQUIRE) != 1) {
        (void)usleep(1000);
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        unobserve(observer);
        end_child(true);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    execbuf_unobserve(observer);
    CHECK(releases == 0); /* the callback still runs here */
    __atomic_store_n(&entered, 2, __ATOMIC_RELEASE);
    CHECK(pthread_join(thread, NULL) == 0 && releases == 1);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void observers_stay_in_a_child(void) {
    releases = 0;
    execbuf_observer *observer = observe(note);
    execbuf buffer = publish("before", 1);
    expect(EXECBUF_EVENT_PUBLISHED, &buffer, "before", 1);
    execbuf before = buffer;
    pid_t child = fork();
    CHECK(child >= 0);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    expect(EXECBUF_EVENT_ENDED, &before, "before", 1);
    expect_no_more();
    unobserve(observer);
    if (child == 0) {
        end_child(true);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    RUN(wrong_arguments_are_refused);
    RUN(each_change_of_described_code_is_told);
    RUN(other_code_is_not_told);
    RUN(batches_and_reserved_buffers_are_told_once_their_code_is_there);
    RUN(a_callback_may_publish_and_end_itself);
    RUN(an_observer_that_has_ended_is_not_told_while_it_runs);
    RUN(a_child_can_end_an_observer_that_another_thread_called);
    RUN(observers_come_and_go_while_others_publish);
    RUN(observers_stay_in_a_child);
    execbuf_pool_free(pool);
    (void)printf("ok\n");
    return 0;
}
