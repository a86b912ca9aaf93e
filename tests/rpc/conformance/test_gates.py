"""``concurrency=``, on both shells: who waits at a method's gate and is cancelled is answered."""

from __future__ import annotations

import asyncio
import json
import time

import npipe
from npipe import rpc
from rpc.conftest import ServeAPI


class Service:
    @rpc.method(concurrency=1)
    async def gated(self, seconds: float) -> int:
        await asyncio.sleep(seconds)  # the time that a call takes
        return 1


def test_a_call_cancelled_at_its_gate_is_answered_and_holds_nothing(
    serve_api: ServeAPI, address: str
) -> None:
    api = rpc.API()
    api.register("test", Service())
    serve_api(api)
    with npipe.connect(address) as connection:
        connection.set_deadline(time.monotonic() + 60)
        connection.write(
            b'{"jsonrpc":"2.0","id":1,"method":"test_gated","params":[0.2]}\n'
            b'{"jsonrpc":"2.0","id":2,"method":"test_gated","params":[0]}\n'
            b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":2}}\n'
            b'{"jsonrpc":"2.0","id":3,"method":"test_gated","params":[0]}\n'
        )
        data = b""
        while data.count(b"\n") < 3:
            data += connection.read(65536)
    replies = {each["id"]: each for each in map(json.loads, data.splitlines())}
    assert (replies[1]["result"], replies[3]["result"]) == (1, 1)
    assert replies[2]["error"]["code"] == -32800
