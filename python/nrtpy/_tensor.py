# SPDX-License-Identifier: Apache-2.0
"""NrtpyTensor: an array in the HBM of a core."""
import math

import numpy as np

from ._nrt import LIB, check
from ._runtime import NrtTensor, get_nrtpy_singleton


def _pointer(array):
    return array.ctypes.data


class NrtpyTensor:
    """A tensor in HBM, freed when it is collected or by get_nrtpy_singleton().free_tensor(tensor).

    tensor_ref: the NrtTensor below it. shape: a tuple, or an int for one dimension. dtype: of NumPy."""

    def __init__(self, tensor_ref, shape, dtype, name=None):
        if not isinstance(tensor_ref, NrtTensor):
            raise TypeError(f'tensor_ref is an NrtTensor, not {type(tensor_ref).__name__}')
        self.tensor_ref = tensor_ref
        self.shape = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self.name = name if name is not None else ''
        if math.prod(self.shape) * self.dtype.itemsize != tensor_ref.size:
            raise ValueError(f'{self.shape} of {self.dtype} is not {tensor_ref.size} bytes')

    @classmethod
    def from_numpy(cls, array, name=None, core_id=0):
        """A new tensor on a core, with the array's shape, dtype and elements."""
        array = np.asarray(array)
        if array.dtype.hasobject:
            raise TypeError(f'an array of {array.dtype} has no bytes of its own')
        ref = get_nrtpy_singleton().allocate(array.nbytes, core_id, name or '')
        tensor = cls(ref, array.shape, array.dtype, name)
        tensor.write_from_numpy(array)
        return tensor

    def write_from_numpy(self, array):
        """The array's bytes, in C order, into this tensor. ValueError: there are not as many."""
        array = np.ascontiguousarray(array)
        if array.nbytes != self.tensor_ref.size:
            raise ValueError(f'the array has {array.nbytes} bytes, the tensor {self.tensor_ref.size}')
        handle = self.tensor_ref.live_handle()
        check(LIB.nrt_tensor_write(handle, _pointer(array), 0, array.nbytes), 'Failed to write tensor')

    def numpy(self):
        """A copy of the tensor, as an array."""
        array = np.empty(self.shape, self.dtype)
        handle = self.tensor_ref.live_handle()
        check(LIB.nrt_tensor_read(handle, _pointer(array), 0, array.nbytes), 'Failed to read tensor')
        return array

    def __repr__(self):
        return f'NrtpyTensor(shape={self.shape}, dtype={self.dtype}, name={self.name!r})'
