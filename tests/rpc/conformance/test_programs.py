"""Programs that a client starts and that do not read, nor end, of themselves."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

import npipe
from npipe import rpc
from npipe.rpc import aio

# It shows that it lives by a connection of its own.
ASLEEP = """
import sys, time
sys.path[:0] = {path!r}
import npipe
life = npipe.connect({address!r}, connect_timeout=60)
time.sleep(600)
"""


@pytest.mark.parametrize("size", [1, 5_000_000])  # the second fills the pipe to it
@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_one_that_does_not_read_is_given_up_and_ended(address: str, kind: str, size: int) -> None:
    command = [sys.executable, "-c", ASLEEP.format(path=sys.path, address=address)]
    with npipe.listen(address) as listener:
        if kind == "threads":
            client = rpc.connect(command)
            life = listener.accept()
            for text in ("x" * size, ""):
                with pytest.raises(TimeoutError):
                    client.call("anything", text, timeout=0.2)
            began = time.monotonic()
            client.close()
        else:

            async def main() -> tuple[npipe.Connection, float]:
                client = await aio.connect(command)
                life = await asyncio.to_thread(listener.accept)
                for text in ("x" * size, ""):
                    with pytest.raises(TimeoutError):
                        await client.call("anything", text, timeout=0.2)
                began = time.monotonic()
                await client.close()
                return life, began

            life, began = asyncio.run(main())
        assert time.monotonic() - began < 30
        with life:
            life.set_read_deadline(time.monotonic() + 60)
            assert life.read() == b""  # it has ended
