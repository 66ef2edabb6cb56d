# SPDX-License-Identifier: Apache-2.0
"""What the core reports: a profile of one execution in a file, and the times of many."""
import contextlib
import ctypes
import json
import os
from ctypes import POINTER, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p

from ._nrt import LIB, check

_EXECUTION = 'nc_exec_running'
_HANDLE, _STRINGS = POINTER(c_void_p), POINTER(POINTER(c_char_p))
_PROTOTYPES = {
    'nrt_profile_start': (c_int, [c_void_p, c_char_p]),
    'nrt_profile_stop': (c_int, [c_char_p]),
    'nrt_sys_trace_config_allocate': (c_int, [_HANDLE]),
    'nrt_sys_trace_config_free': (None, [c_void_p]),
    'nrt_sys_trace_config_set_capture_enabled_for_nc': (None, [c_void_p, c_uint32, c_bool]),
    'nrt_sys_trace_config_set_capture_enabled_for_event_type': (c_int, [c_void_p, c_char_p, c_bool]),
    'nrt_sys_trace_get_event_types': (c_int, [_STRINGS, POINTER(c_size_t)]),
    'nrt_sys_trace_free_event_types': (None, [POINTER(c_char_p), c_size_t]),
    'nrt_sys_trace_start': (c_int, [c_void_p]),
    'nrt_sys_trace_stop': (c_int, []),
    'nrt_sys_trace_fetch_events': (c_int, [POINTER(c_void_p), POINTER(c_size_t), c_void_p]),
    'nrt_sys_trace_buffer_free': (None, [c_void_p]),
}
for _name, (_result, _arguments) in _PROTOTYPES.items():
    _function = getattr(LIB, _name)
    _function.restype, _function.argtypes = _result, _arguments


@contextlib.contextmanager
def profile(model, file):
    """Profiles what the model does in the block. A block that fails leaves no file."""
    name = os.fsencode(file)
    check(LIB.nrt_profile_start(model, name), 'Failed to start the profile')
    try:
        yield
    except BaseException:
        LIB.nrt_profile_stop(name)
        with contextlib.suppress(OSError):
            os.unlink(file)
        raise
    check(LIB.nrt_profile_stop(name), 'Failed to write the profile')


class Executions:
    """Captures when a core began and ended its executions."""

    def __init__(self, core):
        self.core = core

    def __enter__(self):
        config = c_void_p()
        check(LIB.nrt_sys_trace_config_allocate(ctypes.byref(config)), 'Failed to start the trace')
        try:
            self._only_executions(config)
            check(LIB.nrt_sys_trace_start(config), 'Failed to start the trace')
        finally:
            LIB.nrt_sys_trace_config_free(config)
        return self

    @staticmethod
    def _only_executions(config):
        names, count = POINTER(c_char_p)(), c_size_t()
        check(LIB.nrt_sys_trace_get_event_types(ctypes.byref(names), ctypes.byref(count)), 'Failed to start the trace')
        try:
            for name in names[:count.value]:
                wanted = name == _EXECUTION.encode()
                check(LIB.nrt_sys_trace_config_set_capture_enabled_for_event_type(config, name, wanted),
                      'Failed to start the trace')
        finally:
            LIB.nrt_sys_trace_free_event_types(names, count)

    def __exit__(self, *_):
        LIB.nrt_sys_trace_stop()

    def durations_ms(self):
        """Of each execution of the core that began and ended, in the order of their beginnings."""
        text, size = c_void_p(), c_size_t()
        check(LIB.nrt_sys_trace_fetch_events(ctypes.byref(text), ctypes.byref(size), None), 'Failed to read the trace')
        try:
            events = json.loads(ctypes.string_at(text, size.value))['events']
        finally:
            LIB.nrt_sys_trace_buffer_free(text)
        began, durations = {}, []
        for event in events:
            if event['event_type'] != _EXECUTION or event.get('nc_idx', self.core) != self.core:
                continue
            at, key = event['data']['nc_timestamp_ns'], event['tracking_id']
            if event['phase'] == 'start':
                began[key] = at
            elif event['phase'] == 'stop' and key in began:
                durations.append((at - began.pop(key)) / 1e6)
        return durations
