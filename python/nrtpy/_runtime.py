# SPDX-License-Identifier: Apache-2.0
"""The one runtime of the process: begun by the first operation, ended by reset(). Each time it begins it is another
session; tensors and models remember theirs, so that one of an ended session is refused here, and its handle never
reaches a runtime that may have given the same number to something else."""
import atexit
import ctypes
import operator
import os
import threading

from ._nrt import FRAMEWORK_NONE, LIB, PLACEMENT_DEVICE, NrtpyError, check


class NrtTensor:
    """Device memory: what NrtpyTensor stands on. handle: the library's, None once it is freed."""

    def __init__(self, session, handle, size):
        self.session, self.handle, self.size = session, handle, size

    def live_handle(self):
        """The handle, if it may be used."""
        self.session.must_be_active()
        if self.handle is None:
            raise NrtpyError('the tensor has been freed')
        return self.handle

    def free(self):
        """Gives the memory back, once. That of an ended session is gone already."""
        handle, self.handle = self.handle, None
        if handle is not None and self.session.active:
            LIB.nrt_tensor_free(ctypes.byref(handle))

    def __del__(self):
        self.free()


class Singleton:
    """A session of the runtime."""

    def __init__(self):
        check(LIB.nrt_init(FRAMEWORK_NONE, b'', b''), 'Failed to initialize the runtime')
        self.active = True

    def must_be_active(self):
        if not self.active:
            raise NrtpyError('the runtime was reset after this object was made')

    def allocate(self, size, core_id, name):
        handle = ctypes.c_void_p()
        check(LIB.nrt_tensor_allocate(PLACEMENT_DEVICE, core_id, size, name.encode(), ctypes.byref(handle)),
              'Failed to allocate tensor')
        return NrtTensor(self, handle, size)

    @staticmethod
    def free_tensor(tensor):
        """Frees an NrtpyTensor, or an NrtTensor, before it is collected. Once freed, it is refused everywhere."""
        ref = getattr(tensor, 'tensor_ref', tensor)
        if not isinstance(ref, NrtTensor):
            raise TypeError(f'not a tensor: {type(tensor).__name__}')
        ref.live_handle()
        ref.free()

    def close(self):
        self.active = False
        LIB.nrt_close()


_lock = threading.Lock()
_current = None  # the active Singleton
_configured = None  # NEURON_RT_VISIBLE_CORES as it was before configure() changed it, in a tuple


def get_nrtpy_singleton():
    """The runtime of the process, begun if there is none."""
    global _current
    with _lock:
        if _current is None:
            _current = Singleton()
        return _current


def _core_list(visible_cores):
    if isinstance(visible_cores, int):
        raise TypeError('visible_cores is an iterable of core ids, not an int')
    ids = []
    for core in visible_cores:
        if isinstance(core, bool):
            raise TypeError(f'a core id is an integer, not {core!r}')
        try:
            ids.append(operator.index(core))
        except TypeError:
            raise TypeError(f'a core id is an integer, not {core!r}') from None
    for core in ids:
        if core < 0:
            raise ValueError(f'a core id is not negative: {core}')
    return ids


def configure(visible_cores=None):
    """Sets NEURON_RT_VISIBLE_CORES for a runtime that has not begun; None leaves it as it is."""
    global _configured
    with _lock:
        if _current is not None:
            raise NrtpyError('the runtime is active: call reset() before configure()')
        if visible_cores is None:
            return
        ids = _core_list(visible_cores)
        if not ids:
            raise ValueError('visible_cores names no core')
        if _configured is None:
            _configured = (os.environ.get('NEURON_RT_VISIBLE_CORES'),)
        os.environ['NEURON_RT_VISIBLE_CORES'] = ','.join(map(str, ids))


def reset():
    """Ends the runtime and forgets what configure() set. Without effect where nothing has begun or was set."""
    global _current, _configured
    with _lock:
        if _current is not None:
            _current.close()
            _current = None
        if _configured is not None:
            before, _configured = _configured[0], None
            if before is None:
                os.environ.pop('NEURON_RT_VISIBLE_CORES', None)
            else:
                os.environ['NEURON_RT_VISIBLE_CORES'] = before


atexit.register(reset)
