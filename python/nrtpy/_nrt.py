# SPDX-License-Identifier: Apache-2.0
"""The functions of libnrt that the package calls, and its two errors. ctypes releases the interpreter's lock in each
call, so threads of a program load, execute and copy side by side."""
import ctypes
from ctypes import POINTER, c_char, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

FRAMEWORK_NONE = 1
PLACEMENT_DEVICE = 0
SUCCESS, FAILURE = 0, 1
USAGE_INPUT, USAGE_OUTPUT = 0, 1

# nrt_dtype_t to what TensorMetadata shows; 8-bit floats come as int8 from the library.
DTYPE_NAMES = {0x1: 'uint64', 0x2: 'int8', 0x3: 'uint8', 0x4: 'int16', 0x5: 'uint16', 0x6: 'bfloat16', 0x7: 'float16',
               0x8: 'int32', 0x9: 'uint32', 0xA: 'float32', 0xC: 'int64'}


class NrtpyError(RuntimeError):
    """Something that this package refuses by itself: a freed tensor, an object of a runtime that was reset."""


class NrtError(RuntimeError):
    """A call of libnrt that failed. status: its number."""

    def __init__(self, status, text):
        name = LIB.nrt_get_status_as_str(status).decode()
        super().__init__(f'NRT Error {name}({status}): {text}')
        self.status = status


class TensorInfo(ctypes.Structure):
    """nrt_tensor_info_t."""
    _fields_ = [('name', c_char * 256), ('usage', c_int), ('size', c_size_t), ('dtype', c_int),
                ('shape', POINTER(c_uint32)), ('ndim', c_uint32)]


class TensorInfoArray(ctypes.Structure):
    """nrt_tensor_info_array_t; its tensors follow the count."""
    _fields_ = [('count', c_uint64)]

    def entries(self):
        first = ctypes.addressof(self) + ctypes.sizeof(self)
        return (TensorInfo * self.count).from_address(first)


_HANDLE = POINTER(c_void_p)
_PROTOTYPES = {
    'nrt_init': (c_int, [c_int, c_char_p, c_char_p]),
    'nrt_close': (None, []),
    'nrt_get_status_as_str': (c_char_p, [c_int]),
    'nrt_tensor_allocate': (c_int, [c_int, c_int, c_size_t, c_char_p, _HANDLE]),
    'nrt_tensor_free': (None, [_HANDLE]),
    'nrt_tensor_read': (c_int, [c_void_p, c_void_p, c_size_t, c_size_t]),
    'nrt_tensor_write': (c_int, [c_void_p, c_void_p, c_size_t, c_size_t]),
    'nrt_load': (c_int, [c_char_p, c_size_t, c_int32, c_int32, _HANDLE]),
    'nrt_load_collectives': (c_int, [c_char_p, c_size_t, c_int32, c_int32, c_uint32, c_uint32, _HANDLE]),
    'nrt_unload': (c_int, [c_void_p]),
    'nrt_get_model_tensor_info': (c_int, [c_void_p, POINTER(POINTER(TensorInfoArray))]),
    'nrt_free_model_tensor_info': (c_int, [POINTER(TensorInfoArray)]),
    'nrt_allocate_tensor_set': (c_int, [_HANDLE]),
    'nrt_destroy_tensor_set': (None, [_HANDLE]),
    'nrt_add_tensor_to_tensor_set': (c_int, [c_void_p, c_char_p, c_void_p]),
    'nrt_execute': (c_int, [c_void_p, c_void_p, c_void_p]),
}


def _load():
    try:
        lib = ctypes.CDLL('libnrt.so.1')
    except OSError as e:
        raise ImportError(f'{e} (the Neuron Runtime library; is its folder in LD_LIBRARY_PATH?)') from e
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


LIB = _load()


def check(status, text):
    """NrtError, for a status that is not NRT_SUCCESS."""
    if status != SUCCESS:
        raise NrtError(status, text)
