"""The driver with threads, on a connection that no selector takes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.threads.driver import Driver
from npipe.testing import memory_pair
from rpc.service import Service, make_api


class Line:
    """A client's end of a connection in memory, whose other end a server drives."""

    def __init__(self, service: Service, **limits: Any) -> None:
        self.server = rpc.Server(make_api(service), limits=rpc.Limits(**limits))
        self.connection, theirs = memory_pair()
        self.connection.set_read_deadline(None)
        self.server.serve_connection(theirs)
        (self.driver,) = self.server._drivers
        assert isinstance(self.driver, Driver)
        self._rest = b""

    def send(self, *calls: tuple[int, str], end: bytes = b"") -> None:
        lines = (json.dumps({"jsonrpc": "2.0", "id": id, "method": name}) for id, name in calls)
        self.connection.write("\n".join([*lines, ""]).encode() + end)

    def read(self) -> Any:
        """Return the next message; None at the end."""
        while b"\n" not in self._rest:
            if not (data := self.connection.read(65536)):
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)


@pytest.fixture
def make(service: Service) -> Iterator[Any]:
    lines: list[Line] = []

    def make(**limits: Any) -> Line:
        lines.append(Line(service, **limits))
        return lines[-1]

    yield make
    service.release.set()
    for line in lines:
        line.server.stop()
        line.connection.close()


def test_a_call_behind_a_slow_one_is_answered_first(make: Any, service: Service) -> None:
    line = make()
    line.send((1, "test_block"), (2, "test_noArgsRets"))
    assert line.read()["id"] == 2
    assert line.driver.session.dispatcher.api.methods["test_block"].slow
    service.release.set()
    assert line.read()["id"] == 1


def test_after_the_end_of_the_stream_the_calls_are_still_answered(
    make: Any, service: Service
) -> None:
    line = make()
    line.send((1, "test_block"))
    assert service.entered.wait(60)
    line.connection.close_write()
    service.release.set()
    assert line.read()["id"] == 1
    assert line.read() is None


def test_a_peer_that_has_gone_cancels_its_calls(make: Any, service: Service) -> None:
    line = make()
    line.send((1, "test_block"))
    assert service.entered.wait(60)
    line.connection.close()
    assert service.cancelled.wait(60)


@pytest.mark.parametrize(
    ("limits", "sent"),
    [
        ({"message_timeout": 0.05}, b'{"jsonrpc":'),
        ({"idle_timeout": 0.05}, b""),
        ({"idle_timeout": 0.05}, b"\n"),
    ],
)
def test_half_a_message_and_an_idle_connection_have_their_time(
    make: Any, limits: dict[str, float], sent: bytes
) -> None:
    line = make(**limits)
    line.send((1, "test_noArgsRets"), end=sent)
    assert line.read()["id"] == 1
    assert line.read() is None


def test_what_is_too_long_is_answered_after_what_came_before(make: Any) -> None:
    line = make(message_bytes=1000)
    line.send((1, "test_noArgsRets"), end=b'{"' + b"x" * 2000)
    assert [line.read()["id"], line.read()["error"]["code"], line.read()] == [1, -32700, None]
    assert line.driver.closed


def test_calls_that_threads_take_at_the_end_of_the_stream_are_answered() -> None:
    """Without a GIL one in three connections lost some, while ``idle`` missed those taken."""
    api = rpc.API()
    api.register("t", {"apart": rpc.method(inline=False)(lambda: 7)})
    for _ in range(10):
        with rpc.Server(api, limits=rpc.Limits(calls=8)) as server:
            ours, theirs = memory_pair()
            server.serve_connection(theirs)
            with ours:
                ours.set_deadline(time.monotonic() + 60)
                request = b'{"jsonrpc":"2.0","id":%d,"method":"t_apart"}\n'
                ours.write(b"".join(request % id for id in range(96)))
                ours.close_write()
                data = b""
                while more := ours.read(65536):
                    data += more
        assert sorted(json.loads(line)["id"] for line in data.splitlines()) == list(range(96))
