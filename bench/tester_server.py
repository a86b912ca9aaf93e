"""web3's EthereumTesterProvider behind a Unix socket: ``python -m bench.tester_server ADDRESS``.

The smallest server that one would write for it: a thread for each client, a line for each call.
"""

from __future__ import annotations

import json
import socketserver
import sys
from typing import Any

from eth_tester import EthereumTester, PyEVMBackend
from web3.providers.eth_tester import EthereumTesterProvider

provider = EthereumTesterProvider(EthereumTester(PyEVMBackend()))


class Client(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            call: dict[str, Any] = json.loads(line)
            answer: dict[str, Any] = {**provider.make_request(call["method"], _values(call))}
            answer["id"] = call["id"]
            self.wfile.write(json.dumps(answer, default=_to_json).encode() + b"\n")


def _values(call: dict[str, Any]) -> list[Any]:
    """The params as eth-tester wants them: the numbers of a transaction as numbers."""
    return [
        {k: int(v, 16) if k in ("value", "gas") else v for k, v in each.items()}
        if isinstance(each, dict)
        else each
        for each in call.get("params", [])
    ]


def _to_json(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else dict(value)


if __name__ == "__main__":
    with socketserver.ThreadingUnixStreamServer(sys.argv[1], Client) as server:
        server.daemon_threads = True
        server.serve_forever()
