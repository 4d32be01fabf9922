/* Under vm.overcommit_memory=2 the kernel promises no more memory than it has. A program that used up what is
 * promised gets an error from execbuf, and no signal. Run by .ci/machines. */

#include "pool_helpers.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static void on_bus_error(int signal_number) {
    static const char text[] = "SIGBUS: execbuf touched a page that the kernel could not provide\n";
    (void)signal_number;
    ssize_t written = write(2, text, sizeof text - 1);
    _exit(written > 0 ? 3 : 4);
}

/* What the test has mapped so that no memory is left. */
enum { MOST = 10000 };
static struct {
    void *base;
    size_t size;
} taken[MOST];
static size_t taken_count;

static void take_all_memory(void) {
    for (size_t size = (size_t)64 << 20; size >= 4096; size /= 2) {
        void *base;
        while ((base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) !=
               MAP_FAILED) {
            CHECK(taken_count < MOST);
            taken[taken_count].base = base;
            taken[taken_count++].size = size;
        }
    }
}

static void give_memory_back(void) {
    while (taken_count > 0) {
        taken_count--;
        CHECK(munmap(taken[taken_count].base, taken[taken_count].size) == 0);
    }
}

static void a_buffer_without_memory_is_an_error(void) {
    code one = returning(1);
    execbuf kept;
    CHECK(execbuf_new(&kept, one.bytes, one.length, &error) == EXECBUF_OK);
    take_all_memory();
    execbuf buffer;
    execbuf_status status = EXECBUF_OK;
    /* The first ones may find memory that was freed meanwhile. */
    for (int i = 0; i < 100 && status == EXECBUF_OK; i++) {
        status = execbuf_new(&buffer, one.bytes, one.length, &error);
    }
    CHECK(status == EXECBUF_E_NO_MEMORY && error.status == status && is_zero(&buffer));
    CHECK(call(&kept, 0) == 1);
    give_memory_back();
    CHECK(execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 1);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && execbuf_free(&kept) == EXECBUF_OK);
}

/* A region has address space for more code than there is memory. */
static void a_pool_without_memory_is_an_error(void) {
    enum { COUNT = 3000, SIZE = 20000 };
    static uint8_t bytes[SIZE];
    static execbuf buffers[COUNT];
    code two = returning(2);
    memcpy(bytes, two.bytes, two.length);
    execbuf_pool *pool = new_pool();
    execbuf kept = publish(pool, 1);
    take_all_memory();
    int count = 0;
    execbuf_status status = EXECBUF_OK;
    while (status == EXECBUF_OK && count < COUNT) {
        status = execbuf_pool_publish(pool, &buffers[count], bytes, sizeof bytes, &error);
        count += status == EXECBUF_OK;
    }
    CHECK(status == EXECBUF_E_NO_MEMORY && error.status == status && is_zero(&buffers[count]));
    CHECK(call(&kept, 0) == 1);
    for (int i = 0; i < count; i++) {
        CHECK(call(&buffers[i], 0) == 2);
    }
    give_memory_back();
    CHECK(execbuf_pool_publish(pool, &buffers[count], bytes, sizeof bytes, NULL) == EXECBUF_OK);
    for (int i = 0; i <= count; i++) {
        CHECK(call(&buffers[i], 0) == 2);
        release(&buffers[i]);
    }
    release(&kept);
    CHECK(stats_of(pool).live == 0);
    execbuf_pool_free(pool);
}

int main(void) {
    char setting[2] = "";
    FILE *file = fopen("/proc/sys/vm/overcommit_memory", "r");
    CHECK(file != NULL && fread(setting, 1, 1, file) == 1 && setting[0] == '2');
    (void)fclose(file);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0); /* the kernel keeps a reserve for root */
    CHECK(signal(SIGBUS, on_bus_error) != SIG_ERR);
    RUN(a_buffer_without_memory_is_an_error);
    RUN(a_pool_without_memory_is_an_error);
    return 0;
}
