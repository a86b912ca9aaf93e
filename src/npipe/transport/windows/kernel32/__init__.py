"""Bindings to the Windows calls that named pipes need. They contain no policy.

This is the only package of npipe that imports ctypes. ``Kernel32`` has one method per Windows call.
A method returns the result of the call or its Windows error code (0 for success), so that no other
module reads the last error of the thread. Tests replace the object by another with the same
methods (``tests/transport/windows/fake_kernel32``).

The package can be imported on any system, for type checks and for those tests; ``load()`` works on
Windows only. The names are those of Microsoft: each is the title of a page in the Windows API
reference.
"""

from __future__ import annotations

import functools

from npipe.transport.windows.kernel32.pipes import PipeCalls
from npipe.transport.windows.kernel32.ports import PortCalls
from npipe.transport.windows.kernel32.security import SecurityCalls
from npipe.transport.windows.kernel32.waits import WaitCalls

__all__ = ["Kernel32", "load"]


class Kernel32(PipeCalls, WaitCalls, PortCalls, SecurityCalls):
    """The Windows calls. Handles are ints; a code is a Windows error code, 0 for success."""


@functools.cache
def load() -> Kernel32:
    """Return the bindings of this process."""
    return Kernel32()
