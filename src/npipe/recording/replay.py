"""Replay: send the client's messages of a tape to a server and compare the replies.

The recorded timing is not reproduced. A message is sent once all replies that precede it on the
tape have arrived, so two runs differ only if the server does. Ids are those of the tape. The
server assigns new subscription ids: the new id replaces the recorded one in later messages.
Subscription notifications are counted, not compared.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Unpack

from npipe import transport
from npipe.errors import ProtocolError
from npipe.options import ConnectOptions
from npipe.recording.messages import Item, is_call, is_reply, items, key, with_values
from npipe.recording.tape import Event, load
from npipe.rpc.wire import framing
from npipe.transport.base import Connection

__all__ = ["Difference", "Report", "differences", "replay"]

CHUNK = 65536  # bytes in one read
PATIENCE = 1.0  # seconds to wait for the last notifications


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between a recorded reply and the reply of the server.

    Args:
        method: The method of the call.
        path: The path of the value in the reply, in the notation of jq:
            ``$.result.timestamp``.
        expected: The recorded value, as text of at most 80 characters.
        got: The value that the server sent, likewise.
    """

    method: str
    path: str
    expected: str
    got: str


@dataclass(slots=True)
class Report:
    """The result of a replay.

    Args:
        sent: The number of messages sent.
        compared: The number of replies compared.
        pushes_expected: The number of recorded notifications.
        pushes: The number of received notifications.
        differences: The differences, in the order of the tape.
    """

    sent: int = 0
    compared: int = 0
    pushes_expected: int = 0
    pushes: int = 0
    differences: list[Difference] = field(default_factory=list)


def replay(
    tape: str | os.PathLike[str],
    address: str,
    *,
    ignore: Sequence[str] = (),
    timeout: float = 10.0,
    connect_timeout: float | None = 5.0,
    **options: Unpack[ConnectOptions],
) -> Report:
    """Replay the clients of a tape against the server at ``address``.

    Args:
        tape: The file.
        address: The address of the server.
        ignore: Endings of paths; differences whose path ends in one of them are dropped.
        timeout: Seconds to wait for a reply; a missing reply is a difference.
        connect_timeout: Seconds for connecting to the server; None is no limit.
        options: Options of ``npipe.connect``: ``remote``, ``verify_server``.

    Returns:
        The counts and the differences.

    Raises:
        ValueError: The file is not a tape, or is damaged.
        OSError: The server cannot be reached.
    """
    report = Report()
    players: dict[int, _Player] = {}
    with ExitStack() as stack:
        for event in load(tape).events:
            message = _message(event)
            if event.open is not None or (message is not None and event.c not in players):
                connection = stack.enter_context(
                    transport.connect(address, connect_timeout=connect_timeout, **options)
                )
                players[event.c] = _Player(connection, report, tuple(ignore), timeout)
            if message is None:
                continue
            if event.side == "server":
                players[event.c].expect(message)
                continue
            for player in players.values():
                player.settle()
            players[event.c].send(message, bytes(event.message or b""))
        for player in players.values():
            player.settle()
            player.await_pushes()
            report.pushes += player.pushes
    return report


def _message(event: Event) -> Any:
    """Return the decoded message of an event; None if it has none."""
    return json.loads(bytes(event.message)) if event.message else None


class _Player:
    """One connection of the tape. Its thread reads; other methods run in the caller's thread."""

    def __init__(
        self, connection: Connection, report: Report, ignore: tuple[str, ...], timeout: float
    ) -> None:
        self._connection = connection
        self._report = report
        self._ignore = ignore
        self._timeout = timeout
        self._methods: dict[str, str] = {}  # by id of the call
        self._expected: list[Item] = []
        self._renamed: dict[str, Any] = {}  # new subscription id, by recorded id
        self._callbacks: dict[str, str] = {}  # method of a server's call, by recorded id
        self._pushes_expected = 0
        self.pushes = 0
        self._replies: defaultdict[str, deque[Item]] = defaultdict(deque)
        self._called: defaultdict[str, deque[Any]] = defaultdict(deque)  # ids, by method
        self._ended = False
        self._changed = threading.Condition()  # guards the four attributes above
        threading.Thread(target=self._read, name="npipe-replay", daemon=True).start()

    def expect(self, message: Any) -> None:
        """Record the messages that the server sent at this point of the tape."""
        for item in items(message):
            if is_reply(item):
                self._expected.append(item)
            elif is_call(item):
                self._callbacks[key(item["id"])] = item["method"]
            else:
                self._pushes_expected += 1
                self._report.pushes_expected += 1

    def settle(self) -> None:
        """Wait for the expected replies, and compare them."""
        expected, self._expected = self._expected, []
        deadline = time.monotonic() + self._timeout
        for reply in expected:
            got = self._await(self._replies[key(reply.get("id"))], deadline)
            self._compare(reply, got)

    def await_pushes(self) -> None:
        """Wait a moment at the end for the recorded notifications."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or self.pushes >= self._pushes_expected, PATIENCE
            )

    def send(self, message: Any, data: bytes) -> None:
        """Send the client's message at this point: ``data``, with changed ids replaced."""
        for item in items(message):
            if is_call(item):
                self._methods[key(item["id"])] = item["method"]
            elif is_reply(item):
                self._answer_callback(item)
        if self._renamed or self._callbacks:
            data = json.dumps(with_values(message, self._renamed)).encode()
        self._report.sent += 1
        with suppress(OSError):  # reported as missing replies
            self._connection.write(data + b"\n")

    def _answer_callback(self, item: Item) -> None:
        """Replace the id in the reply to a server's call by the id that the server uses now."""
        method = self._callbacks.get(key(item["id"]))
        if method is not None:
            now = self._await(self._called[method], time.monotonic() + self._timeout)
            if now is not None:
                item["id"] = now

    def _await(self, arrived: deque[Any], deadline: float) -> Any:
        with self._changed:
            while not arrived:
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    return None
                self._changed.wait(left)
            return arrived.popleft()

    def _compare(self, expected: Item, got: Item | None) -> None:
        method = self._methods.get(key(expected.get("id")), "?")
        if got is None:
            why = "the connection has ended" if self._ended else "no answer"
            self._report.differences.append(Difference(method, "$", _short(expected), why))
            return
        self._report.compared += 1
        old, new = expected.get("result"), got.get("result")
        if method.endswith("_subscribe") and isinstance(old, str) and new is not None:
            self._renamed[old] = new
            return
        self._report.differences += [
            Difference(method, path, before, now)
            for path, before, now in differences(expected, got)
            if not path.endswith(self._ignore or ("\0",))
        ]

    def _read(self) -> None:
        reader = framing.make("auto")
        try:
            while data := self._connection.read(CHUNK):
                for message in reader.feed(data):
                    self._take(json.loads(message))
        except (OSError, ProtocolError, ValueError):
            pass
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, message: Any) -> None:
        with self._changed:
            for item in items(message):
                if is_reply(item):
                    self._replies[key(item.get("id"))].append(item)
                elif is_call(item):
                    self._called[item["method"]].append(item["id"])
                else:
                    self.pushes += 1
            self._changed.notify_all()


def differences(expected: Any, got: Any, path: str = "$") -> Iterator[tuple[str, str, str]]:
    """Yield the differences of two JSON values: the path, and the text of both values."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in sorted(expected.keys() | got.keys()):
            at = f"{path}.{name}"
            if name not in got:
                yield at, _short(expected[name]), "missing"
            elif name not in expected:
                yield at, "missing", _short(got[name])
            else:
                yield from differences(expected[name], got[name], at)
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for number, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif expected != got or isinstance(expected, bool) != isinstance(got, bool):
        yield path, _short(expected), _short(got)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
