"""Playback: answer clients with the server's messages of a tape.

A call is matched by its method and parameters. Its recorded replies are sent in the order of the
tape, counted over all clients; the last one is repeated. Notifications that followed a recorded
reply are sent after it, and the progress notifications of a call before it. A call that is not on
the tape is answered with the error -32001.
"""

from __future__ import annotations

import json
import os
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from npipe.errors import ProtocolError
from npipe.recording.messages import Item, is_call, is_reply, items, key, question
from npipe.recording.tape import load
from npipe.rpc.wire import framing
from npipe.transport.base import Connection

__all__ = ["NOT_ON_TAPE", "Playback"]

NOT_ON_TAPE = -32001
CHUNK = 65536  # bytes in one read


@dataclass(slots=True)
class Answer:
    """A recorded reply without its id, with the notifications before and after it."""

    members: Item
    progress: list[Any]
    pushes: list[Item] = field(default_factory=list)


class Playback:
    """Server of a tape. ``rpc.Proxy(Playback(path))`` makes it listen on an address."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read a tape.

        Args:
            path: The file.

        Raises:
            ValueError, OSError: As ``load``.
        """
        self._greeting: list[Item] = []  # notifications before the first reply
        self._answers: defaultdict[str, list[Answer]] = defaultdict(list)
        self._next: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()  # guards _next: all clients share the position
        self._read(path)

    @property
    def methods(self) -> list[str]:
        """The names of the recorded methods, sorted."""
        return sorted({json.loads(each)[0] for each in self._answers})

    def serve_connection(self, connection: Connection) -> None:
        """Serve one client; return at once.

        Args:
            connection: The connection, which the playback then owns.
        """
        threading.Thread(
            target=self._serve, args=(connection,), name="npipe-playback", daemon=True
        ).start()

    def answer(self, call: Item) -> list[Item]:
        """Find the recorded reply to a call.

        Args:
            call: The decoded request object, with an id.

        Returns:
            The messages to send, in order: progress, the reply, further notifications.
        """
        asked = question(call)
        token = call["id"]
        answers = self._answers.get(asked)
        if answers is None:
            text = f"not on the tape: {call['method']} {json.dumps(call.get('params', []))}"
            error = {"code": NOT_ON_TAPE, "message": text[:200]}
            return [{"jsonrpc": "2.0", "id": token, "error": error}]
        with self._lock:
            number = self._next[asked]
            self._next[asked] = min(number + 1, len(answers) - 1)
        answer = answers[number]
        progress = [
            {"jsonrpc": "2.0", "method": "$/progress", "params": {"token": token, "value": value}}
            for value in answer.progress
        ]
        return [*progress, {"jsonrpc": "2.0", "id": token, **answer.members}, *answer.pushes]

    def _read(self, path: str | os.PathLike[str]) -> None:
        asked: dict[tuple[int, str], str] = {}  # the question, by connection and id
        progress: defaultdict[tuple[int, str], list[Any]] = defaultdict(list)
        last: dict[int, Answer] = {}  # the latest reply, by connection
        for event in load(path).events:
            for item in items(json.loads(bytes(event.message))) if event.message else ():
                at = (event.c, key(item.get("id")))
                if event.side == "client":
                    if is_call(item):
                        asked[at] = question(item)
                elif is_reply(item):
                    if at in asked:
                        members = {name: item[name] for name in item if name != "id"}
                        last[event.c] = Answer(members, progress.pop(at, []))
                        self._answers[asked.pop(at)].append(last[event.c])
                elif item.get("method") == "$/progress" and isinstance(item.get("params"), dict):
                    token = key(item["params"].get("token"))
                    progress[event.c, token].append(item["params"].get("value"))
                elif event.c in last:
                    last[event.c].pushes.append(item)
                elif event.c == 1:
                    self._greeting.append(item)

    def _serve(self, connection: Connection) -> None:
        reader = framing.make("auto")
        with connection:
            try:
                _write(connection, reader, self._greeting)
                while data := connection.read(CHUNK):
                    for message in reader.feed(data):
                        self._take(connection, reader, message)
            except (OSError, ProtocolError):  # the client disconnected or broke the protocol
                pass

    def _take(self, connection: Connection, reader: framing.Framing, data: bytes) -> None:
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            error = {"code": -32700, "message": "parse error"}
            _write(connection, reader, [{"jsonrpc": "2.0", "id": None, "error": error}])
            return
        answers = [self.answer(item) for item in items(message) if is_call(item)]
        if not isinstance(message, list):
            _write(connection, reader, [each for answer in answers for each in answer])
            return
        sent = [each for answer in answers for each in answer]
        replies = [each for each in sent if is_reply(each)]
        before = [each for each in sent if each.get("method") == "$/progress"]
        after = [each for each in sent if not is_reply(each) and each not in before]
        _write(connection, reader, [*before, *([replies] if replies else []), *after])


def _write(connection: Connection, reader: framing.Framing, messages: list[Any]) -> None:
    if messages:
        texts = [json.dumps(message).encode() for message in messages]
        connection.write(reader.wrap(*texts))
