"""A kernel32 in memory: named pipes as Windows documents them, on any system.

For what no real system does on demand (a failing call, a cancel that loses the race against its
operation) and for what Wine does not enforce (the first instance, the descriptor, integrity,
identity by impersonation, remote clients). Where Windows and Wine were measured to agree, it does
what they do. ``objects`` and ``tokens`` hold its data, ``core``, ``pipes``, ``transfer``,
``questions`` and ``ports`` its calls, each on top of the one before.

``ledger`` counts what is open. A handle closed twice or used after its end, memory given up while
an operation still writes to it and an event closed under a waiter end up in ``faults``.
"""

from transport.windows.fake_kernel32.ports import Ports
from transport.windows.fake_kernel32.tokens import (
    ADMINISTRATORS,
    GROUP,
    OTHER,
    USER,
    Token,
    elevated,
    filtered,
)

__all__ = [
    "ADMINISTRATORS",
    "GROUP",
    "OTHER",
    "USER",
    "FakeKernel32",
    "Token",
    "elevated",
    "filtered",
]


class FakeKernel32(Ports):
    """The whole fake kernel."""
