/* Names as tools show them. */

#include "shown_name.h"

#include <stdbool.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

size_t xb_show_name(char *out, const uint8_t *name, size_t length) {
    static const char unnamed[] = "execbuf";
    size_t size = 0;
    if (length == 0) {
        name = (const uint8_t *)unnamed;
        length = sizeof unnamed - 1;
    }
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = name[i];
        bool is_control = byte < 0x20 || byte == 0x7f;
        if (out != NULL && is_control) {
            const char shown[4] = {'\\', 'x', hex_digits[byte >> 4], hex_digits[byte & 15]};
            memcpy(out + size, shown, sizeof shown);
        } else if (out != NULL) {
            out[size] = (char)byte;
        }
        size += is_control ? 4 : 1;
    }
    return size;
}

size_t xb_show_hex(char *out, uint64_t value) {
    size_t length = 1;
    while (length < 16 && value >> 4 * length != 0) {
        length++;
    }
    for (size_t i = 0; i < length; i++) {
        out[i] = hex_digits[value >> 4 * (length - 1 - i) & 15];
    }
    return length;
}
