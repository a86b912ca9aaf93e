"""Calls in the sans-I/O core alone: ``python -m bench.core_calls LOAD CALLS``."""

from __future__ import annotations

import sys
from typing import Any

from npipe.rpc.calling.results import decode_results
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session

from .rpc_server import api

#: The method, and the number of calls in a read, alone or as a batch.
LOADS = {
    "inline function, one call in a read": ("eth_chainId", 1, False),
    "plain function, one call in a read": ("user_plain", 1, False),
    "inline function, 64 calls in a read": ("eth_chainId", 64, False),
    "inline function, batches of 100": ("eth_chainId", 100, True),
}


CLIENT = "client, batches of 100"


def main(load: str, calls: str) -> None:
    if load == CLIENT:
        call_in_batches(int(calls))
        return
    method, each, is_batch = LOADS[load]
    call = b'{"jsonrpc":"2.0","id":1,"method":"%b","params":[]}' % method.encode()
    lines = [call] * each
    data = b"[" + b",".join(lines) + b"]\n" if is_batch else b"\n".join([*lines, b""])
    session = Session(Dispatcher(api()))
    for _ in range(int(calls) // each):
        session.feed(data)
        while (served := session.next_call()) is not None:
            served.run()
        session.take()


def call_in_batches(calls: int) -> None:
    """Make calls, and make the reply of each batch from its text."""
    session = Session(Dispatcher(api()))
    outcomes: list[Any] = []
    for _ in range(calls // 100):
        session.outgoing_calls.batch([("eth_blockNumber", ())] * 100, outcomes.append)
        text = session.take()
        session.feed(text.replace(b'"method":"eth_blockNumber"', b'"result":"0x0"'))
        session.next_call()
        assert decode_results(session.encoding, outcomes.pop(), Any)[-1] == "0x0"


if __name__ == "__main__":
    main(*sys.argv[1:])
