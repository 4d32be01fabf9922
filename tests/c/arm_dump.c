/* Prints adapters of AArch64, for the test that decodes them: tests/thunk_compilers/decoded.rs. It reads
 * lines like "insert 2 l(llp)", "drop 0 l(pll)", "call 0 l(ll)" or "handler 0 l(ll)", and prints the bytes of
 * each adapter as a line of hexadecimal numbers; an empty line if it is refused. */

#include "check.h"

#include "../../csrc/api/signature.h"
#include "../../csrc/call/packed.h"
#include "../../csrc/thunk/edit.h"
#include "../../csrc/thunk/machine.h"

static void print_adapter(execbuf_abi abi, const char *text) {
    static uint8_t code[XB_MAX_ADAPTER_SIZE];
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    xb_frame frame;
    execbuf_signature *signature = parsed(text);
    CHECK(xb_signature_read(&compact, shapes, signature, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    if (xb_machine_can(&compact, abi)) {
        xb_machine_adapter(code, &frame, &compact, abi);
        for (uint32_t i = 0; i < frame.length; i++) {
            (void)printf("%02x", code[i]);
        }
    }
    (void)printf("\n");
}

int main(void) {
    static char line[4096];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char what[9];
        static char text[4096];
        unsigned position;
        CHECK(sscanf(line, "%8s %u %4095s", what, &position, text) == 3);
        xb_edit edit = strcmp(what, "insert") == 0 ? XB_EDIT_INSERT : XB_EDIT_DROP;
        execbuf_abi abi = xb_edit_abi(EXECBUF_ABI_NATIVE, edit, position);
        if (strcmp(what, "call") == 0) {
            abi = xb_packed_abi(EXECBUF_ABI_NATIVE, EXECBUF_ABI_NATIVE);
        } else if (strcmp(what, "handler") == 0) {
            abi = xb_handler_abi(EXECBUF_ABI_NATIVE, EXECBUF_ABI_NATIVE);
        }
        print_adapter(abi, text);
    }
    return 0;
}
