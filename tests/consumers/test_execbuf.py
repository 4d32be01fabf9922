"""Tests of examples/python/execbuf.py. EXECBUF_LIBRARY names the shared library, PYTHONPATH has the module."""

import atexit
import copy
import ctypes
import gc
import os
import pickle
import platform
import subprocess
import sys
import tempfile
import unittest
import weakref

import execbuf

if platform.machine() == "aarch64":
    CODE = bytes.fromhex("40058052" "c0035fd6"  # mov w0, #42; ret
                         "0000018b" "c0035fd6")  # add x0, x0, x1; ret
    ADD = 8
else:
    CODE = bytes.fromhex("b82a000000" "c3"  # mov eax, 42; ret
                         "488d0437" "c3")  # lea rax, [rdi + rsi]; ret
    ADD = 6


# Registered before weakref's handler, so that it runs after that. It prints the last line of this program, which
# .ci/consumers looks for.
at_exit = []
atexit.register(lambda: print("called at exit:", *[function() for function in at_exit]))


def is_live(address):
    """Whether the library knows a buffer at the address."""
    return execbuf._library.execbuf_find(ctypes.c_void_p(address), ctypes.byref(execbuf._Handle())) == 0


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def importing(**environment):
    """What Python says when it imports the module in another environment."""
    result = subprocess.run([sys.executable, "-c", "import execbuf"], env={**os.environ, **environment},
                            capture_output=True, text=True)
    return result.stderr.strip().splitlines()[-1] if result.returncode != 0 else "imported"


class Tests(unittest.TestCase):
    def test_code_is_called_with_arguments_and_at_an_offset(self):
        buffer = execbuf.create_executable_buffer(CODE)
        self.assertEqual(len(buffer), len(CODE))
        self.assertEqual(buffer.function(ctypes.c_int)(), 42)
        add = buffer.function(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, offset=ADD)
        self.assertEqual(add(-2, 44), 42)
        self.assertRaises(ctypes.ArgumentError, add, "2", 44)

    def test_a_copy_keeps_the_code_alive_too(self):
        function = copy.copy(execbuf.create_executable_buffer(CODE)).function(ctypes.c_int)
        gc.collect()
        self.assertTrue(is_live(address_of(function)))
        self.assertRaises((TypeError, ValueError), copy.deepcopy, function.buffer)

    def test_an_error_can_be_pickled(self):
        with self.assertRaises(execbuf.Error) as caught:
            execbuf.create_executable_buffer(b"")
        copied = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((str(copied), copied.status), (str(caught.exception), caught.exception.status))

    def test_a_function_keeps_its_buffer_alive(self):
        buffer = execbuf.create_executable_buffer(bytearray(CODE))
        alive = weakref.ref(buffer)
        function = buffer.function(ctypes.c_int)
        del buffer
        gc.collect()
        self.assertIsNotNone(alive())
        self.assertEqual(function(), 42)

    def test_a_buffer_is_freed_with_its_last_function(self):
        buffer = execbuf.create_executable_buffer(CODE)
        functions = [buffer.function(ctypes.c_int), buffer.function(ctypes.c_int)]
        alive, address = weakref.ref(buffer), address_of(functions[0])
        del buffer
        del functions[0]
        gc.collect()
        self.assertTrue(is_live(address))
        self.assertEqual(functions[0](), 42)
        del functions[0]
        gc.collect()
        self.assertIsNone(alive())
        self.assertFalse(is_live(address))

    def test_functions_can_be_called_while_python_exits(self):
        at_exit.append(execbuf.create_executable_buffer(CODE).function(ctypes.c_int))

    def test_bytes_of_the_wrong_kind_are_refused(self):
        for wrong in [None, 5, "c3", [0xC3], ctypes]:
            self.assertRaises(TypeError, execbuf.create_executable_buffer, wrong)

    def test_an_error_has_the_text_of_the_library(self):
        with self.assertRaises(execbuf.Error) as caught:
            execbuf.create_executable_buffer(b"")
        self.assertRegex(str(caught.exception), "^the length is 0; at least one byte is required")
        self.assertEqual(caught.exception.status, -2)

    def test_offsets_outside_of_the_code_are_refused(self):
        buffer = execbuf.create_executable_buffer(CODE)
        for offset in [-1, len(CODE), 1 << 64]:
            self.assertRaises(ValueError, buffer.function, ctypes.c_int, offset=offset)
        self.assertRaises(TypeError, buffer.function, ctypes.c_int, offset="0")

    def test_a_missing_or_wrong_library_is_an_import_error(self):
        self.assertEqual(importing(), "imported")
        self.assertRegex(importing(EXECBUF_LIBRARY="/nowhere.so"), "^ImportError: .*can't be loaded: /nowhere.so")
        self.assertRegex(importing(EXECBUF_LIBRARY="libc.so.6"), "^ImportError: libc.so.6 is not the shared library")
        self.assertRegex(importing(EXECBUF_LIBRARY=""), "^ImportError: .*was not found; install it")

    def test_another_version_is_an_import_error(self):
        names = ["new", "entry", "free", "error_describe"]
        source = "".join(f"void execbuf_{name}(void) {{}}\n" for name in names)
        source += "unsigned execbuf_version_number(void) { return 7003002; }\n"
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", f"{directory}/other.so"],
                           input=source.encode(), check=True)
            self.assertRegex(importing(EXECBUF_LIBRARY=f"{directory}/other.so"),
                             r"^ImportError: this module needs version 0\.1 of execbuf, but .* is version 7\.3$")


if __name__ == "__main__":
    unittest.main()
