"""The other end of a client with threads, played by the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from npipe import rpc
from npipe.testing import memory_pair


class Peer:
    """The other end of a client, played by the test."""

    def __init__(self) -> None:
        ours, self.connection = memory_pair()
        self.client = rpc.connect(ours, timeout=60)
        self._rest = b""

    def read(self) -> Any:
        while b"\n" not in self._rest:
            data = self.connection.read(65536)
            assert data
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def write(self, *messages: Any) -> None:
        self.connection.write(b"".join(json.dumps(m).encode() + b"\n" for m in messages))

    def in_thread(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Run what calls the client; return a function that waits for its outcome."""
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append(function())
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=run, daemon=True)  # one that hangs fails its test only
        thread.start()

        def join() -> Any:
            thread.join(60)
            return outcome[0]

        return join


def reply(id: Any, result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": result}
