"""A tape played to clients: the recorded server answers again.

A call is answered as the tape has it: by its method and parameters, in the order of the tape, over
all clients; the last answer is repeated. What the server pushed after an answer follows it again,
and the progress of a call goes before its answer. A call that the tape does not have is answered
with an error.
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
    """A reply without its id, and what the server sent of its own accord around it."""

    members: Item
    progress: list[Any]
    pushes: list[Item] = field(default_factory=list)


class Playback:
    """Serves a tape. An endpoint in this process: ``rpc.Proxy(Playback(path))`` listens for it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the tape. Raises as ``load`` does."""
        self._greeting: list[Item] = []  # what was pushed before any answer
        self._answers: defaultdict[str, list[Answer]] = defaultdict(list)
        self._next: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()  # for _next: clients share the order of the tape
        self._read(path)

    @property
    def methods(self) -> list[str]:
        """The names that the tape can answer."""
        return sorted({json.loads(each)[0] for each in self._answers})

    def serve_connection(self, connection: Connection) -> None:
        """Serve one client; return at once."""
        threading.Thread(
            target=self._serve, args=(connection,), name="npipe-playback", daemon=True
        ).start()

    def answer(self, call: Item) -> list[Item]:
        """Return the reply to a call, and what goes before and after it, in order."""
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
        asked: dict[tuple[int, str], str] = {}  # connection and id: the question
        progress: defaultdict[tuple[int, str], list[Any]] = defaultdict(list)
        last: dict[int, Answer] = {}  # by connection: what pushes follow
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
            except (OSError, ProtocolError):  # the client has gone, or is no client
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
