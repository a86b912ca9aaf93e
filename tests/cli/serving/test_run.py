"""Running a server until a signal: what happens in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from npipe.cli.serving import run as running
from npipe.cli.serving.run import DRAIN, run


class Server:
    """Writes down what it is asked to do; ``stop`` raises what it is given first."""

    def __init__(self, *errors: BaseException) -> None:
        self.asked: list[Any] = []
        self._errors = list(errors)

    def serve(self, address: str, **options: Any) -> str:
        self.asked.append((address, options))
        return "the full address"

    def stop(self, drain: float) -> None:
        self.asked.append(f"stop {drain:g}")
        if self._errors:
            raise self._errors.pop()


class Stopped:
    """A signal that has come already."""

    finished = 0

    def wait(self, save: Callable[[], object]) -> None:
        save()

    def finish(self) -> None:
        Stopped.finished += 1


@pytest.fixture(autouse=True)
def _stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "Stop", Stopped)
    monkeypatch.setattr(Stopped, "finished", 0)


def test_it_is_ready_before_it_waits_and_saves_before_it_stops() -> None:
    server: Any = Server()
    run(
        server,
        "name",
        {"access": "group"},
        lambda at, metrics: server.asked.append(("ready", at, metrics)),
        save=lambda: server.asked.append("save"),
    )
    assert server.asked == [
        ("name", {"access": "group"}),
        ("ready", "the full address", ""),
        "save",
        f"stop {DRAIN:g}",
    ]


def test_a_second_signal_ends_the_calls_that_run() -> None:
    server: Any = Server(KeyboardInterrupt())
    run(server, "name", {}, lambda at, metrics: None)
    assert server.asked[1:] == [f"stop {DRAIN:g}", "stop 0"]
    assert Stopped.finished == 1  # a third one must not interrupt the exit


def test_a_server_that_cannot_listen_is_stopped() -> None:
    server: Any = Server()

    def fail(at: object, metrics: str) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        run(server, "name", {}, fail)
    assert server.asked[-1] == f"stop {DRAIN:g}"
