# SPDX-License-Identifier: Apache-2.0
"""NrtpyModel: a NEFF on a core, and the times of its executions."""
import contextlib
import ctypes
import dataclasses
import math
import os
import pathlib
import statistics
import time

import numpy as np

from . import _trace
from ._nrt import DTYPE_NAMES, FAILURE, LIB, USAGE_INPUT, NrtError, NrtpyError, TensorInfoArray, check
from ._runtime import get_nrtpy_singleton
from ._tensor import NrtpyTensor

_EXECUTE = 'Failed to execute model'
_LOAD = 'Failed to load model'


@dataclasses.dataclass
class TensorMetadata:
    """What the NEFF says of an input or output. size: bytes. dtype: a name, `unknown` where the NEFF has none."""
    size: int
    dtype: str
    shape: list


@dataclasses.dataclass
class BenchmarkResult:
    """Times in milliseconds. iterations: the timed ones, of which in device mode one call may have several."""
    mean_ms: float
    min_ms: float
    max_ms: float
    std_dev_ms: float
    iterations: int
    warmup_iterations: int
    durations_ms: list

    @classmethod
    def of(cls, durations, warmup):
        return cls(statistics.fmean(durations), min(durations), max(durations), statistics.pstdev(durations),
                   len(durations), warmup, durations)


def _numpy_dtype(info):
    """The dtype of an output that nobody made: NumPy's, else bytes of the element's size."""
    try:
        return np.dtype(info.dtype)
    except TypeError:
        elements = math.prod(info.shape)
        return np.dtype(f'V{info.size // elements}' if elements else 'V1')


class _TensorSet:
    """The library's set of the tensors of a dict. It borrows them: they stay in the dict until it is gone."""

    def __init__(self, tensors):
        self.handle = ctypes.c_void_p()
        check(LIB.nrt_allocate_tensor_set(ctypes.byref(self.handle)), _EXECUTE)
        try:
            for name, tensor in tensors.items():
                if not isinstance(tensor, NrtpyTensor):
                    raise TypeError(f'{name} is an NrtpyTensor, not {type(tensor).__name__}')
                handle = tensor.tensor_ref.live_handle()
                check(LIB.nrt_add_tensor_to_tensor_set(self.handle, name.encode(), handle), _EXECUTE)
        except BaseException:
            self.close()
            raise

    def close(self):
        LIB.nrt_destroy_tensor_set(ctypes.byref(self.handle))


class NrtpyModel:
    """A loaded NEFF; load_from_neff() makes one. It is unloaded when it is collected."""

    def __init__(self, session, handle, path, name, core_id):
        self._session, self._handle, self._path, self._core = session, handle, path, core_id
        self.name = name
        self.input_tensors_info, self.output_tensors_info = self._tensors_info()

    @classmethod
    def load_from_neff(cls, neff_path, name=None, core_id=0, cc_enabled=False, rank_id=0, world_size=1):
        """The NEFF of that file on a core; with cc_enabled as rank rank_id of the world_size ranks that load it."""
        path = pathlib.Path(neff_path)
        session = get_nrtpy_singleton()
        try:
            neff = path.read_bytes()
        except OSError as e:
            raise NrtError(FAILURE, _LOAD) from e
        handle = ctypes.c_void_p()
        if cc_enabled:
            status = LIB.nrt_load_collectives(neff, len(neff), core_id, 1, rank_id, world_size, ctypes.byref(handle))
        else:
            status = LIB.nrt_load(neff, len(neff), core_id, 1, ctypes.byref(handle))
        check(status, _LOAD)
        return cls(session, handle, path, path.stem if name is None else name, core_id)

    def _tensors_info(self):
        array = ctypes.POINTER(TensorInfoArray)()
        check(LIB.nrt_get_model_tensor_info(self._handle, ctypes.byref(array)), _LOAD)
        inputs, outputs = {}, {}
        for t in array.contents.entries():
            side = inputs if t.usage == USAGE_INPUT else outputs
            side[t.name.decode()] = TensorMetadata(t.size, DTYPE_NAMES.get(t.dtype, 'unknown'), t.shape[:t.ndim])
        LIB.nrt_free_model_tensor_info(array)
        return inputs, outputs

    def _new_outputs(self, inputs):
        """Tensors for all outputs; one that bears an input's name must alias it and is that tensor."""
        outputs = {}
        for name, info in self.output_tensors_info.items():
            if name in self.input_tensors_info and name in inputs:
                outputs[name] = inputs[name]
            else:
                ref = self._session.allocate(info.size, self._core, name)
                outputs[name] = NrtpyTensor(ref, info.shape, _numpy_dtype(info), name)
        return outputs

    @contextlib.contextmanager
    def _sets(self, inputs, outputs):
        self._session.must_be_active()
        first = _TensorSet(inputs)
        try:
            second = _TensorSet(outputs)
            try:
                yield first.handle, second.handle
            finally:
                second.close()
        finally:
            first.close()

    def __call__(self, inputs, outputs=None, save_trace=False, ntff_name=None):
        """One execution. Without outputs they are allocated and returned, as a dict; else None.

        save_trace: write what the device did to ntff_name, by default the NEFF's path with the suffix .ntff. A failed
        execution leaves no file."""
        self._session.must_be_active()
        made = self._new_outputs(inputs) if outputs is None else None
        with self._sets(inputs, outputs if made is None else made) as (first, second):
            if save_trace:
                file = os.fspath(ntff_name) if ntff_name is not None else str(self._path.with_suffix('.ntff'))
                with _trace.profile(self._handle, file):
                    check(LIB.nrt_execute(self._handle, first, second), _EXECUTE)
            else:
                check(LIB.nrt_execute(self._handle, first, second), _EXECUTE)
        return made

    def benchmark(self, inputs, outputs=None, warmup_iter=5, benchmark_iter=5, mode='device'):
        """Executes warmup_iter times, then benchmark_iter times with a clock: the core's ("device", RuntimeError where
        it reports no execution) or the host's around each call ("host")."""
        if mode not in ('device', 'host'):
            raise ValueError(f'mode is "device" or "host", not {mode!r}')
        if benchmark_iter < 1:
            raise ValueError(f'benchmark_iter is at least 1, not {benchmark_iter}')
        self._session.must_be_active()
        outputs = self._new_outputs(inputs) if outputs is None else outputs
        with self._sets(inputs, outputs) as (first, second):
            for _ in range(warmup_iter):
                check(LIB.nrt_execute(self._handle, first, second), _EXECUTE)
            timed = self._on_host if mode == 'host' else self._on_device
            durations = timed(first, second, benchmark_iter)
        return BenchmarkResult.of(durations, warmup_iter)

    def _on_host(self, first, second, n):
        durations = []
        for _ in range(n):
            begin = time.perf_counter_ns()
            status = LIB.nrt_execute(self._handle, first, second)
            durations.append((time.perf_counter_ns() - begin) / 1e6)
            check(status, _EXECUTE)
        return durations

    def _on_device(self, first, second, n):
        with _trace.Executions(self._core) as events:
            for _ in range(n):
                check(LIB.nrt_execute(self._handle, first, second), _EXECUTE)
            durations = events.durations_ms()
        if not durations:
            raise NrtpyError('no execution of the core was captured')
        return durations

    def __del__(self):
        handle = getattr(self, '_handle', None)
        if handle is not None and self._session.active:
            self._handle = None
            LIB.nrt_unload(handle)
