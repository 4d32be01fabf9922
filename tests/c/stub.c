/* An unsupported platform: everything links, public functions report that, and the platform contract refuses
 * each call that would need a system. Built with EXECBUF_PRIM_STUB. */

/* First, because the other headers have globals that its parameters would shadow. */
#include "../../csrc/prim/lock.h"

#include "../../csrc/prim/prim.h"
#include "../../csrc/prim/tool_files.h"
#include "../../csrc/prim/unwinder.h"

#include "pool_helpers.h"

static void unsupported(execbuf_status status) {
    CHECK(status == EXECBUF_E_UNSUPPORTED && error.status == status);
    CHECK(error.os_error == 0 && error.attempt_count == 0);
}

static void nothing(void) {}

static void handle(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    (void)context;
    (void)arguments;
    (void)result;
}

static void nothing_can_be_made(void) {
    code one = returning(1);
    execbuf buffer = filled();
    unsupported(execbuf_new(&buffer, one.bytes, one.length, &error));
    CHECK(is_zero(&buffer));
    buffer = filled();
    unsupported(execbuf_reserve(&buffer, 1, &error));
    CHECK(is_zero(&buffer));
    execbuf_pool *pool = (execbuf_pool *)(void *)&buffer;
    unsupported(execbuf_pool_new(&pool, NULL, &error));
    CHECK(pool == NULL);
    execbuf_pool_free(pool);
    execbuf_signature *signature = parsed("i(i)");
    buffer = filled();
    execbuf_status status =
        execbuf_thunk_new(NULL, &buffer, signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64, one.bytes, &error);
    /* Only x86-64 has thunks, on whatever system. */
    CHECK(status == EXECBUF_E_UNSUPPORTED || status == EXECBUF_E_ABI);
    CHECK(error.status == status && is_zero(&buffer));
    /* Calls may do without code. */
    execbuf_caller *caller = (execbuf_caller *)(void *)&buffer;
    status = execbuf_caller_new(&caller, signature, EXECBUF_ABI_NATIVE, &error);
    CHECK(error.status == EXECBUF_E_UNSUPPORTED || error.status == EXECBUF_E_ABI);
    CHECK((caller != NULL) == (status == EXECBUF_OK));
    execbuf_caller_free(caller);
    execbuf_signature_free(signature);
    signature = parsed("i(p)");
    buffer = filled();
    status = execbuf_bind(NULL, &buffer, signature, EXECBUF_ABI_NATIVE, nothing, NULL, 0, &error);
    CHECK(status == EXECBUF_E_UNSUPPORTED || status == EXECBUF_E_ABI);
    CHECK(error.status == status && is_zero(&buffer));
    buffer = filled();
    status = execbuf_closure_new(NULL, &buffer, signature, EXECBUF_ABI_NATIVE, handle, NULL, &error);
    CHECK(status == EXECBUF_E_UNSUPPORTED || status == EXECBUF_E_ABI);
    CHECK(error.status == status && is_zero(&buffer));
    buffer = filled();
    status = execbuf_drop_argument(NULL, &buffer, signature, EXECBUF_ABI_NATIVE, nothing, 0, &error);
    CHECK(status == EXECBUF_E_UNSUPPORTED || status == EXECBUF_E_ABI);
    CHECK(error.status == status && is_zero(&buffer));
    execbuf_signature_free(signature);
}

static void no_handle_is_valid(void) {
    code one = returning(1);
    const execbuf handles[] = {
        {one.bytes, 1, 1},
        {one.bytes, 1, (uint64_t)1 << 63}, /* the form of an id in a pool */
        {one.bytes, 1, 0},
        {one.bytes, 1, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        execbuf handle = handles[i];
        CHECK(execbuf_rebind(&handle, NULL) == EXECBUF_E_STALE);
        CHECK(execbuf_free(&handle) == EXECBUF_E_STALE);
        expect(execbuf_publish(&handle, one.bytes, one.length, &error), EXECBUF_E_STALE, "buffer");
        expect(execbuf_rewrite(&handle, 0, one.bytes, one.length, &error), EXECBUF_E_STALE, "buffer");
        const execbuf_code piece = {one.bytes, one.length, NULL};
        const execbuf_change change = {&handle, 0, one.bytes, one.length};
        expect(execbuf_publish_all(&handle, &piece, 1, &error), EXECBUF_E_STALE, "buffer");
        expect(execbuf_rewrite_batch(&change, 1, &error), EXECBUF_E_STALE, "buffer");
    }
    CHECK(execbuf_stale_count() == 6 * sizeof handles / sizeof handles[0]);
    execbuf_data data = {&data, 1, 1};
    CHECK(execbuf_data_free(&data) == EXECBUF_E_STALE && execbuf_data_free(NULL) == EXECBUF_OK);
    execbuf buffer = {NULL, 0, 0};
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && execbuf_free(NULL) == EXECBUF_OK);
    buffer = filled();
    CHECK(execbuf_find(one.bytes, &buffer) == EXECBUF_E_NOT_FOUND && is_zero(&buffer));
    CHECK(execbuf_name(&handles[0], NULL, 0, NULL) == EXECBUF_E_NOT_FOUND);
}

static void what_is_pure_works(void) {
    execbuf_signature *signature = parsed("d(pid)");
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_WIN64, NULL) == EXECBUF_OK);
    uint8_t bytes[512];
    size_t length;
    CHECK(execbuf_thunk_emit(signature, bytes, sizeof bytes, &length, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64,
                             bytes, NULL) == EXECBUF_OK);
    CHECK(length > 0);
    execbuf_signature_free(signature);
    CHECK(execbuf_set_backends(0, &error) == EXECBUF_E_UNSUPPORTED && error.status == EXECBUF_E_UNSUPPORTED);
    char text[200];
    error.status = EXECBUF_E_DENIED;
    error.culprit = "call";
    error.os_error = 13;
    error.attempt_count = 0;
    CHECK(execbuf_error_describe(&error, text, sizeof text) < sizeof text);
    CHECK(strstr(text, "(call: error 13)") != NULL); /* no system, so no names of its errors */
}

/* A result that names the call that failed. */
static void refuses(xb_result result) {
    CHECK(result.call != NULL && result.code == 0);
}

static void the_contract_refuses_each_call(void) {
    uint8_t page[1] = {7};
    void *base = page;
    xb_prim_views views;
    xb_prim_info info = xb_prim_query();
    CHECK(info.backend_count == 0 && info.pool_backend_count == 0 && !info.can_replace);
    CHECK(info.page_size != 0 && (info.page_size & (info.page_size - 1)) == 0);
    refuses(xb_prim_stage(info.page_size, NULL, &base));
    CHECK(base == NULL);
    xb_prim_begin_write(XB_PRIM_NO_KEY);
    refuses(xb_prim_publish(EXECBUF_BACKEND_FLIP, page, info.page_size));
    xb_prim_end_write(XB_PRIM_NO_KEY);
    refuses(xb_prim_reopen(page, info.page_size));
    refuses(xb_prim_replace(page, page, info.page_size));
    refuses(xb_prim_release(page, info.page_size));
    uint32_t key = 7;
    refuses(xb_prim_get_key(&key));
    refuses(xb_prim_append_to_map("line\n", 5));
    xb_prim_moment moment = {1, 2, 3};
    xb_prim_dump dump = {(char *)page, page};
    xb_prim_get_moment(&moment);
    CHECK(moment.time == 0 && moment.process == 0 && moment.thread == 0);
    refuses(xb_prim_begin_dump("directory", page, 1, &dump));
    CHECK(dump.path == NULL && dump.mark == NULL);
    refuses(xb_prim_append_to_dump(&dump, page, 1));
    xb_prim_end_dump(&dump, true);
    CHECK(key == 7);
    refuses(xb_prim_map_region(EXECBUF_BACKEND_MEMFD, info.page_size, NULL, "name", &views));
    CHECK(xb_prim_trim(page, 2 * info.page_size, info.page_size) ==
          2 * info.page_size); /* nothing is unmapped */
    CHECK(page[0] == 7);
    refuses(xb_prim_take_addresses(page, info.page_size));
    static xb_prim_content content;
    void *old_rw = page;
    views.rx = page;
    CHECK(!xb_prim_hides_pages());
    refuses(xb_prim_copy_region(EXECBUF_BACKEND_MEMFD, info.page_size, "name", &content, &views, &old_rw));
    CHECK(old_rw == page);
    xb_prim_family family = {page, 1, 0, 0, 0};
    refuses(xb_prim_begin_family(&family, 1));
    CHECK(family.page == NULL && !xb_prim_is_alone(&family)); /* a relative may live */
    xb_prim_leave_family(&family);
    CHECK(!xb_prim_is_exhaustion(12) && xb_prim_error_name(12) == NULL);
}

/* What can do nothing, and says so. */
static void the_contract_accepts_what_needs_nothing(void) {
    xb_prim_free_key();
    static const xb_prim_fork_hooks hooks = {NULL, NULL, NULL, NULL, NULL, NULL};
    xb_prim_function function;
    memset(&function, 0, sizeof function);
    xb_prim_lock();
    xb_prim_arm_fork_mark();
    xb_prim_unlock();
    xb_prim_check_fork();
    CHECK(xb_prim_on_fork(&hooks).call == NULL);
    CHECK(!xb_prim_begin_unwinder() && !xb_prim_registers_lists() && !xb_prim_registers_arrays());
    CHECK(xb_prim_register_unwind(&function).call == NULL);
    CHECK(xb_prim_replace_unwind(NULL, 0, &function).call == NULL);
    xb_prim_deregister_unwind(&function);
    xb_prim_end_unwinder();
    xb_prim_barrier();
    xb_prim_sync(NULL, NULL, 0);
    xb_biased_lock lock;
    xb_biased_lock_init(&lock);
    CHECK(!xb_lock_own(&lock) && !xb_prim_watch_thread()); /* locks have no owners */
    xb_lock_disown(&lock);
    xb_lock_await(&lock);
    xb_lock_fence();
    CHECK(xb_prim_keep_from_children(&lock, sizeof lock).call == NULL); /* there are none */
    CHECK(xb_prim_show((uint8_t *)&lock, sizeof lock).call == NULL);
    for (int i = 0; i < 20; i++) {
        xb_lock(&lock);
        xb_unlock(&lock);
    }
}

static void ignore(void *context, const execbuf_event *event) {
    (void)context;
    (void)event;
}

/* Nothing is described here, so an observer is never called. */
static void there_are_no_tools(void) {
    execbuf_observer *observer;
    execbuf_tools tools = EXECBUF_TOOLS_INIT;
    tools.which = EXECBUF_TOOL_PERF;
    CHECK(execbuf_tools_enable(&tools, &error) == EXECBUF_E_UNSUPPORTED);
    tools.which = EXECBUF_TOOL_JITDUMP;
    CHECK(execbuf_tools_enable(&tools, &error) == EXECBUF_E_UNSUPPORTED);
    CHECK(execbuf_tool_failure(EXECBUF_TOOL_PERF, &error) == EXECBUF_OK);
    execbuf_tools_disable(EXECBUF_TOOL_PERF);
    CHECK(execbuf_observe(&observer, ignore, NULL, NULL, &error) == EXECBUF_OK);
    execbuf_unobserve(observer);
}

int main(void) {
    RUN(nothing_can_be_made);
    RUN(no_handle_is_valid);
    RUN(what_is_pure_works);
    RUN(the_contract_refuses_each_call);
    RUN(the_contract_accepts_what_needs_nothing);
    RUN(there_are_no_tools);
    (void)printf("ok\n");
    return 0;
}
