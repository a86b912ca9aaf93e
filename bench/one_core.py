"""The loads of ``rpc`` with the client and all servers on one core.

What a call costs then decides, all processes of a server taken together, and not how the system
places them: of two cores, one mostly has to be woken for each turn. The spread is small.
"""

from __future__ import annotations

from collections.abc import Iterator

from .harness import Table, one_core
from .rpc import BARE, OURS, THEIRS, loads, servers


def tables(rounds: int) -> Iterator[Table]:
    with one_core(), servers((*OURS, *THEIRS, BARE)) as (addresses, absent):
        for table in loads("eth_chainId", addresses, absent, rounds):
            table.title += ", on one core"
            yield table
