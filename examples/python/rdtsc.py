"""Reads the processor's time-stamp counter (on AArch64, the virtual counter) with machine code."""

import ctypes
import platform
import sys

from execbuf import create_executable_buffer

CODE = {
    "x86_64": bytes([
        0x0F, 0x31,              # rdtsc          edx:eax = counter
        0x48, 0xC1, 0xE2, 0x20,  # shl rdx, 32
        0x48, 0x09, 0xD0,        # or rax, rdx
        0xC3,                    # ret
    ]),
    "aarch64": bytes([
        0x40, 0xE0, 0x3B, 0xD5,  # mrs x0, cntvct_el0
        0xC0, 0x03, 0x5F, 0xD6,  # ret
    ]),
}
CODE["AMD64"] = CODE["x86_64"]  # as Windows calls it
CODE["arm64"] = CODE["aarch64"]  # as macOS calls it

if platform.machine() not in CODE:
    sys.exit(f"this example has no machine code for {platform.machine()}")
counter = create_executable_buffer(CODE[platform.machine()]).function(ctypes.c_uint64)

first = counter()
second = counter()
print(f"first reading   {first}")
print(f"second reading  {second}")
print(f"difference      {second - first}")
