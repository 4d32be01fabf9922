/* A program that loads libraries with copies of execbuf: host WHAT LIBRARY…
 *
 *   use     uses all copies, one after another; then forks in each
 *   twice   uses two copies in two threads at the same time
 *   nested  calls a function through thunks of two copies, for a backtrace in gdb
 *   exit    uses a copy when the program ends
 *   again   loads, uses and unloads one library a thousand times
 *   live    does that two hundred times, and leaves code behind each time
 *
 * With -DWITH_PLUGIN the program is linked with plugin.c and a copy of its own, which it uses like the
 * others. With -DGLOBAL, symbols of loaded libraries are visible to libraries that are loaded later. */

#include "plugin.h"

#include "../c/check.h"

#include <dlfcn.h>
#include <pthread.h>

#if defined(GLOBAL)
#define SCOPE RTLD_GLOBAL
#else
#define SCOPE RTLD_LOCAL
#endif

typedef struct copy {
    void *library; /* NULL: the program's own */
    void (*use)(unsigned rounds);
    void (*fork)(void);
    void (*use_at_exit)(void);
    int (*(*leave)(unsigned value))(void);
#if defined(__x86_64__)
    int (*through_thunk)(plugin_win64_function *function, int value);
#endif
} copy;

/* Stores a function of a library in *function, a function pointer. */
static void find(void *library, const char *name, void *function) {
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    memcpy(function, (const void *)&found, sizeof found);
}

static copy load(const char *path) {
    copy loaded;
    loaded.library = dlopen(path, RTLD_NOW | SCOPE);
    if (loaded.library == NULL) {
        (void)fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    const char *left = dlerror();
    if (left != NULL) {
        (void)fprintf(stderr, "%s was loaded, but left an error: %s\n", path, left);
        exit(1);
    }
    find(loaded.library, "plugin_use", (void *)&loaded.use);
    find(loaded.library, "plugin_fork", (void *)&loaded.fork);
    find(loaded.library, "plugin_use_at_exit", (void *)&loaded.use_at_exit);
    find(loaded.library, "plugin_leave", (void *)&loaded.leave);
#if defined(__x86_64__)
    find(loaded.library, "plugin_through_thunk", (void *)&loaded.through_thunk);
#endif
    return loaded;
}

static copy copies[400];
static int copy_count;

static void use_all(void) {
    for (int i = 0; i < copy_count; i++) {
        copies[i].use(2);
    }
    for (int i = 0; i < copy_count; i++) {
        copies[i].fork();
        copies[i].use(1);
    }
}

static void *use_often(void *used) {
    ((const copy *)used)->use(300);
    return NULL;
}

static void use_two_at_once(void) {
    CHECK(copy_count >= 2);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, use_often, &copies[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

#if defined(__x86_64__)
/* Here gdb stops. */
static __attribute__((ms_abi, noinline)) int innermost(int value) {
    __asm__ volatile("");
    return value + 1;
}

static __attribute__((ms_abi, noinline)) int between(int value) {
    return copies[1].through_thunk(innermost, value) + 1;
}

static void nest(void) {
    CHECK(copy_count >= 2);
    CHECK(copies[0].through_thunk(between, 40) == 42);
}
#else
static void nest(void) {}
#endif

/* The memory of this process in KiB: everything that is mapped, or what is resident. */
static size_t memory(const char *kind) {
    char line[200];
    size_t size = 0;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, kind, strlen(kind)) == 0) {
            size = strtoul(line + strlen(kind), NULL, 10);
        }
    }
    CHECK(fclose(file) == 0 && size != 0);
    return size;
}

/* Loads, uses and unloads a library. */
static void come_and_go(const char *path, int leave) {
    int (*function)(void) = NULL;
    copy loaded = load(path);
    loaded.use(2);
    if (leave) {
        function = loaded.leave(7);
    }
    CHECK(dlclose(loaded.library) == 0);
    CHECK(!leave || function() == 7);
}

/* Checks how much memory each time leaves behind, but for the first times, which warm up the C library. */
static void come_and_go_often(const char *path, int leave, unsigned times, size_t mapped_limit,
                              size_t resident_limit) {
    for (unsigned i = 0; i < 100; i++) {
        come_and_go(path, leave);
    }
    size_t mapped = memory("VmSize:");
    size_t resident = memory("VmRSS:");
    for (unsigned i = 0; i < times; i++) {
        come_and_go(path, leave);
    }
    int64_t more_mapped = (int64_t)memory("VmSize:") - (int64_t)mapped;
    int64_t more_resident = (int64_t)memory("VmRSS:") - (int64_t)resident;
    (void)printf("%u times left %lld KiB mapped, %lld KiB resident\n", times, (long long)more_mapped,
                 (long long)more_resident);
    CHECK(more_mapped <= (int64_t)(times * mapped_limit + 512));
    CHECK(more_resident <= (int64_t)(times * resident_limit + 512));
}

/* What live code keeps: a page; a region of the pool, and one of the pool for thunks, but not their writable
 * views; and book-keeping. */
enum { LIVE_MAPPED = 2 * 8192 + 128, LIVE_RESIDENT = 128 };

int main(int count, char **arguments) {
    CHECK(count >= 2);
    const char *what = arguments[1];
    if (strcmp(what, "again") == 0) {
        come_and_go_often(arguments[2], 0, 900, 0, 0);
    } else if (strcmp(what, "live") == 0) {
        come_and_go_often(arguments[2], 1, 100, LIVE_MAPPED, LIVE_RESIDENT);
    } else {
#if defined(WITH_PLUGIN)
        copies[copy_count++] = (copy) {
            NULL, plugin_use, plugin_fork, plugin_use_at_exit, plugin_leave,
#if defined(__x86_64__)
                plugin_through_thunk
#endif
        };
#endif
        for (int i = 2; i < count; i++) {
            copies[copy_count++] = load(arguments[i]);
        }
        if (strcmp(what, "use") == 0) {
            use_all();
        } else if (strcmp(what, "twice") == 0) {
            use_two_at_once();
        } else if (strcmp(what, "exit") == 0) {
            copies[0].use(1);
            copies[0].use_at_exit();
        } else {
            CHECK(strcmp(what, "nested") == 0);
            nest();
        }
    }
    (void)printf("ok\n");
    return 0;
}
