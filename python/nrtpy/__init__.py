# SPDX-License-Identifier: Apache-2.0
"""nrtpy: load, execute and time NEFFs from Python, with the names of the nrtpy of the Neuron documentation.

A layer over libnrt.so.1, which the dynamic loader must find (LD_LIBRARY_PATH). One process has one runtime; it begins
with the first tensor or model and ends with reset() or with the process. docs/nrtpy.md; facts:
docs/spec/behaviour.md 19.7."""
from ._model import BenchmarkResult, NrtpyModel, TensorMetadata
from ._nrt import NrtError, NrtpyError
from ._runtime import NrtTensor, configure, get_nrtpy_singleton, reset
from ._tensor import NrtpyTensor

__all__ = ['BenchmarkResult', 'NrtError', 'NrtTensor', 'NrtpyError', 'NrtpyModel', 'NrtpyTensor', 'TensorMetadata',
           'configure', 'get_nrtpy_singleton', 'reset']
