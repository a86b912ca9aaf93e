"""The loads of ``rpc`` with the client and all servers on one core.

Then only the cost of a call counts, over all processes of a server, and not where the system places
them: with two cores, each turn mostly waits until the other core has woken. The spread is small.
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
