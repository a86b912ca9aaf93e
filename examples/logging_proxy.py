"""A proxy for an Ethereum node that logs every call with its duration.

    python logging_proxy.py front ./geth.ipc

Programs connect to ``front`` in place of the node. The bytes are forwarded unchanged, so the proxy
works with every node and client. A call is logged when its reply has been forwarded. Parameters are
not logged, because they may contain secrets.
"""

import json
import logging
import sys
import time
from collections.abc import Iterable

import npipe
from npipe.recording import Event, Recorder, Relay

log = logging.getLogger("proxy")


class CallLog:
    """Match replies to requests, and log them. The recorder calls it with events in one thread."""

    def __init__(self) -> None:
        self._calls: dict[tuple[int, str, str], tuple[str, float]] = {}

    def __call__(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.refused:
                log.error("client %d: no connection to the node: %s", event.c, event.refused)
            elif event.message:
                message = json.loads(bytes(event.message))
                for one in message if isinstance(message, list) else [message]:
                    self._message(event, one)
            elif event.end:
                self._forget(event.c)

    def _message(self, event: Event, message: object) -> None:
        if not isinstance(message, dict):
            return
        # Both sides may call, so the caller is part of the key. A reply comes from the other side.
        number = json.dumps(message.get("id"))
        if "method" in message:
            method = str(message["method"])
            if "id" in message:
                self._calls[event.c, str(event.side), number] = (method, event.t)
            else:
                log.info("client %d: %s from the %s", event.c, method, event.side)
            return
        caller = "client" if event.side == "server" else "server"
        method, start = self._calls.pop((event.c, caller, number), ("(unknown call)", event.t))
        error = message.get("error")
        result = f"error {error.get('code')}" if isinstance(error, dict) else "ok"
        log.info("client %d: %s: %s, %.1f ms", event.c, method, result, 1000 * (event.t - start))

    def _forget(self, connection: int) -> None:
        for key in [key for key in self._calls if key[0] == connection]:
            method, _ = self._calls.pop(key)
            log.warning("client %d: %s was not answered", connection, method)


def main(front: str, node: str) -> None:
    recorder = Recorder(CallLog())
    relay = Relay(node, recorder=recorder)
    with npipe.listen(front) as listener:
        relay.serve(listener)
        log.info("listening at %s", listener.address)
        try:
            while True:  # until Ctrl-C
                time.sleep(3600)
        except KeyboardInterrupt:
            relay.close()
            recorder.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    main(sys.argv[1], sys.argv[2])
