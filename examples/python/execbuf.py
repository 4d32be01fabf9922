"""Machine code as Python functions, through ctypes and the shared library of execbuf.

    buffer = create_executable_buffer(bytes.fromhex("b82a000000c3"))  # mov eax, 42; ret
    answer = buffer.function(ctypes.c_int)
    answer()  # 42

The environment variable EXECBUF_LIBRARY names the file of the library; without it, the system's directories are
searched. Nothing checks that the bytes are a function of the given type: like ctypes itself, this module can crash
Python.
"""

import ctypes
import ctypes.util
import operator
import os
import weakref

__all__ = ["Buffer", "Error", "create_executable_buffer"]

# The version of the C API that the structs below are written for; the patch version may differ.
_VERSION = (0, 1)


class _Handle(ctypes.Structure):
    """struct execbuf"""

    _fields_ = [("entry", ctypes.c_void_p), ("length", ctypes.c_size_t), ("id", ctypes.c_uint64)]


class _Attempt(ctypes.Structure):
    """struct execbuf_attempt"""

    _fields_ = [("backend", ctypes.c_int), ("os_error", ctypes.c_int32), ("call", ctypes.c_char_p)]


class _Report(ctypes.Structure):
    """struct execbuf_error"""

    _fields_ = [
        ("status", ctypes.c_int),
        ("os_error", ctypes.c_int32),
        ("culprit", ctypes.c_char_p),
        ("position", ctypes.c_uint32),
        ("attempt_count", ctypes.c_uint32),
        ("attempts", _Attempt * 4),
        ("reserved", ctypes.c_uint64 * 3),
    ]


def _load():
    name = os.environ.get("EXECBUF_LIBRARY") or ctypes.util.find_library("execbuf")
    if name is None:
        raise ImportError(
            "the shared library of execbuf was not found; install it (see csrc/README.md), "
            "or set EXECBUF_LIBRARY to its file"
        )
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(f"the shared library of execbuf can't be loaded: {error}") from error
    try:
        prototypes = [
            (library.execbuf_version_number, ctypes.c_uint32, []),
            (library.execbuf_new, ctypes.c_int,
             [ctypes.POINTER(_Handle), ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(_Report)]),
            (library.execbuf_entry, ctypes.c_void_p, [ctypes.POINTER(_Handle), ctypes.c_size_t]),
            (library.execbuf_free, ctypes.c_int, [ctypes.POINTER(_Handle)]),
            (library.execbuf_error_describe, ctypes.c_size_t,
             [ctypes.POINTER(_Report), ctypes.c_char_p, ctypes.c_size_t]),
        ]
    except AttributeError as error:
        raise ImportError(f"{name} is not the shared library of execbuf: {error}") from error
    for function, result, arguments in prototypes:
        function.restype, function.argtypes = result, arguments
    number = library.execbuf_version_number()
    version = (number // 1_000_000, number // 1000 % 1000)
    if version != _VERSION:
        raise ImportError(
            "this module needs version {}.{} of execbuf, but {} is version {}.{}".format(*_VERSION, name, *version)
        )
    return library


_library = _load()


class Error(Exception):
    """Why no buffer was made. `status` is the execbuf_status."""

    def __init__(self, text, status):
        super().__init__(text, status)  # the arguments with which pickle makes a copy
        self.status = status

    def __str__(self):
        return self.args[0]


def _describe(report):
    text = ctypes.create_string_buffer(_library.execbuf_error_describe(report, None, 0) + 1)
    _library.execbuf_error_describe(report, text, len(text))
    return text.value.decode()


class Buffer:
    """Machine code that can be called. It is freed when neither the buffer nor a function of it is used any more."""

    def __init__(self, code):
        code = bytes(memoryview(code))  # a TypeError unless it is like bytes
        report = _Report()
        self._handle = _Handle()
        if _library.execbuf_new(self._handle, code, len(code), report) != 0:
            raise Error(_describe(report), report.status)
        finalizer = weakref.finalize(self, _library.execbuf_free, self._handle)
        finalizer.atexit = False  # functions may still be called while Python exits

    def __copy__(self):
        return self  # a second object would free the same code, or call it after it was freed

    def __len__(self):
        return self._handle.length

    def function(self, restype, *argtypes, offset=0):
        """Returns the function that begins at an offset in the code, for the result and argument types of ctypes.

        The function keeps the buffer alive. A pointer that is made of it, such as a callback of C, does not.
        """
        offset = operator.index(offset)
        if not 0 <= offset < len(self):
            raise ValueError(f"the offset {offset} is not within the code of {len(self)} bytes")
        function = ctypes.CFUNCTYPE(restype, *argtypes)(_library.execbuf_entry(self._handle, offset))
        function.buffer = self
        return function


def create_executable_buffer(code):
    """Copies machine code, an object like bytes, into executable memory, and returns a Buffer."""
    return Buffer(code)
