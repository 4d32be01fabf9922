/* execbuf_set_backends. */

#include "../base/error.h"
#include "../exec/choice.h"

execbuf_status execbuf_set_backends(uint32_t backends, execbuf_error *error) {
    if (xb_prim_query().backend_count == 0) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, NULL, 0);
    }
    return xb_choice_set(backends, error);
}
