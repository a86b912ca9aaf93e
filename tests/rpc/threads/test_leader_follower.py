"""Who reads on a client's connection: the caller, or the link's own thread."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.errors import ConnectionLost
from npipe.rpc.threads import leader_follower, read_turn
from npipe.rpc.threads.read_turn import GRACE, TurnState
from npipe.transport.memory import memory_pair
from rpc.threads.peer import Peer, reply


def readers(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that read for the client, as they start to."""
    connection = peer.client._driver.connection
    read, names = connection.read, list[str]()

    def noted(size: int) -> bytes:
        names.append(threading.current_thread().name)
        return read(size)

    monkeypatch.setattr(connection, "read", noted)
    return names


def answer(peer: Peer) -> Any:
    request = peer.read()
    peer.write({"jsonrpc": "2.0", "id": request["id"], "result": request["method"]})
    return request


@pytest.fixture
def no_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """The link's own thread reads only when a caller wants it to."""
    monkeypatch.setattr("npipe.rpc.threads.read_turn.GRACE", 3600.0)


@pytest.mark.usefixtures("no_keeper")
def test_a_lone_caller_reads_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    names = readers(peer, monkeypatch)
    for _ in range(3):
        result = peer.in_thread(lambda: (peer.client.call("a"), threading.current_thread().name))
        answer(peer)
        assert result() == ("a", names[-1])
    peer.client.close()


@pytest.mark.usefixtures("no_keeper")
def test_others_get_their_answers_while_the_leader_waits_and_after_it() -> None:
    peer = Peer()
    first = peer.in_thread(lambda: peer.client.call("first"))
    one = peer.read()
    second = peer.in_thread(lambda: peer.client.call("second"))
    two = peer.read()
    third = peer.in_thread(lambda: peer.client.call("third"))
    three = peer.read()
    peer.write({"jsonrpc": "2.0", "id": two["id"], "result": 2})
    assert second() == 2
    peer.write({"jsonrpc": "2.0", "id": one["id"], "result": 1})
    assert first() == 1
    peer.write({"jsonrpc": "2.0", "id": three["id"], "result": 3})
    assert third() == 3
    peer.client.close()


@pytest.mark.usefixtures("no_keeper")
def test_a_leader_that_times_out_leaves_the_reading_to_others() -> None:
    peer = Peer()
    slow = peer.in_thread(lambda: peer.client.call("a", timeout=0.05))
    peer.read()
    other = peer.in_thread(lambda: peer.client.call("b"))
    request = peer.read()
    assert isinstance(slow(), TimeoutError)
    while request["method"] != "b":  # the cancelling of a
        request = peer.read()
    peer.write({"jsonrpc": "2.0", "id": request["id"], "result": 1})
    assert other() == 1
    again = peer.in_thread(lambda: peer.client.call("c", timeout=None))
    request = peer.read()
    while request["method"] != "c":
        request = peer.read()
    peer.write({"jsonrpc": "2.0", "id": request["id"], "result": 2})
    assert again() == 2  # and no deadline of a's stands any more
    peer.client.close()


def interrupt_once(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have the next caller that reads be interrupted once ``go`` is set."""
    connection, go = peer.client._driver.connection, threading.Event()
    read = connection.read

    def interrupted(size: int) -> bytes:
        if not go.is_set() and threading.current_thread().name == "leader":
            assert go.wait(60)
            raise KeyboardInterrupt
        return read(size)

    monkeypatch.setattr(connection, "read", interrupted)
    return go


def lead(peer: Peer, outcomes: list[str]) -> threading.Thread:
    def run() -> None:
        try:
            peer.client.call("led")
        except KeyboardInterrupt:
            outcomes.append("interrupted")

    thread = threading.Thread(target=run, name="leader")
    thread.start()
    return thread


@pytest.mark.usefixtures("no_keeper")
def test_an_interrupted_leader_gives_up_its_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    go, outcomes = interrupt_once(peer, monkeypatch), list[str]()
    thread = lead(peer, outcomes)
    assert peer.read()["method"] == "led"
    go.set()
    thread.join()
    assert outcomes == ["interrupted"]
    assert peer.read()["method"] == "$/cancelRequest"
    result = peer.in_thread(lambda: peer.client.call("next"))
    answer(peer)
    assert result() == "next"
    peer.client.close()


@pytest.mark.usefixtures("no_keeper")
def test_others_do_not_wait_for_what_an_interrupted_leader_may_have_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer()
    go, outcomes = interrupt_once(peer, monkeypatch), list[str]()
    thread = lead(peer, outcomes)
    peer.read()
    other = peer.in_thread(lambda: peer.client.call("other"))
    peer.read()
    go.set()
    thread.join()
    assert isinstance(other(), ConnectionLost)
    peer.client.close()


class InterruptAt:
    """Runs a signal handler at the n-th line that takes or gives back the turn, by a trace.

    The second event of a ``with`` or ``return`` is on the way out of its block, where CPython does
    not look for signals.
    """

    def __init__(self, number: int, handler: Callable[[], object]) -> None:
        self._left = number
        self._handler = handler
        self._seen: set[tuple[int, int]] = set()
        self.raised_at: tuple[str, int] | None = None

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if code.co_name not in TURN_FUNCTIONS or code.co_filename not in TURN_LINES:
            return None
        line = TURN_LINES[code.co_filename][frame.f_lineno - 1].strip()
        where = (id(frame), frame.f_lineno)
        again = line.startswith(("with ", "return ")) and where in self._seen
        self._seen.add(where)
        if event == "line" and not again:
            self._left -= 1
            if self._left == 0:
                self.raised_at = code.co_name, frame.f_lineno
                self._handler()
        return self


def interrupt() -> None:
    raise KeyboardInterrupt


TURN_FUNCTIONS = {"wait", "_lead", "_end_lead", "_set_deadline", "lead", "release"}
TURN_LINES = {
    module.__file__: Path(module.__file__).read_text(encoding="utf-8").splitlines()
    for module in (leader_follower, read_turn)
}


@pytest.mark.usefixtures("no_keeper")
def test_after_ctrl_c_at_any_line_the_next_call_is_read() -> None:
    for number in itertools.count(1):
        peer, interrupted = Peer(), InterruptAt(number, interrupt)

        def answer_all(peer: Peer = peer) -> None:
            with contextlib.suppress(AssertionError):  # at the end
                while request := peer.read():
                    if request["method"] != "$/cancelRequest":
                        peer.write(reply(request["id"], request["method"]))

        answering = threading.Thread(target=answer_all)
        answering.start()
        before = sys.gettrace()
        sys.settrace(interrupted)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                peer.client.call("first")
        finally:
            sys.settrace(before)
        try:
            assert peer.client.call("second", timeout=10) == "second", interrupted.raised_at
            assert peer.client._driver._leader_end is None  # type: ignore[attr-defined]
        finally:
            peer.client.close()
            answering.join(60)
        if interrupted.raised_at is None:
            break
    assert number > 20


@pytest.mark.usefixtures("no_keeper")
def test_a_signal_handler_may_close_a_client_at_any_line() -> None:
    before = set(threading.enumerate())
    for number in itertools.count(1):
        peer = Peer()
        interrupted = InterruptAt(number, peer.client.close)

        def call(peer: Peer = peer, interrupted: InterruptAt = interrupted) -> object:
            sys.settrace(interrupted)
            try:
                return peer.client.call("first", timeout=60)
            finally:
                sys.settrace(None)

        result = peer.in_thread(call)
        request = peer.connection.read(100)
        if request:  # else it was closed before
            with contextlib.suppress(OSError):
                peer.write(reply(1, "first"))
        outcome = result()
        assert outcome == "first" or isinstance(outcome, npipe.ClosedError | ConnectionLost)
        peer.connection.close()
        peer.client.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
            assert not thread.is_alive(), (thread, interrupted.raised_at)
        if interrupted.raised_at is None:
            break
    assert number > 20


@pytest.mark.usefixtures("no_keeper")
def test_t03_a_call_of_a_signal_handler_in_the_middle_of_a_call_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its reply would be read by the leader, which waits for the handler to return."""
    peer = Peer()
    connection, errors = peer.client._driver.connection, list[Exception]()
    read = connection.read

    def interrupted(size: int) -> bytes:
        with monkeypatch.context() as patch, pytest.raises(RuntimeError) as refused:
            patch.setattr(connection, "read", read)
            peer.client.call("inner", timeout=60)
        errors.append(refused.value)
        monkeypatch.setattr(connection, "read", read)
        return read(size)

    monkeypatch.setattr(connection, "read", interrupted)
    result = peer.in_thread(lambda: peer.client.call("outer"))
    outer = peer.read()
    assert [peer.read()["method"] for _ in range(2)] == ["inner", "$/cancelRequest"]
    peer.write({"jsonrpc": "2.0", "id": outer["id"], "result": 1})
    assert result() == 1
    assert "in the middle of a call on the same client" in str(errors[0])
    peer.client.close()


def test_what_is_pushed_unasked_is_heard_while_nobody_calls() -> None:
    peer = Peer()
    result = peer.in_thread(lambda: peer.client.subscribe("eth", "newHeads"))
    request = peer.read()
    peer.write({"jsonrpc": "2.0", "id": request["id"], "result": "0x1"})
    subscription = result()
    for number in range(3):
        push = {"subscription": "0x1", "result": number}
        peer.write({"jsonrpc": "2.0", "method": "eth_subscription", "params": push})
        assert subscription.next(timeout=60) == number
    peer.client.close()


def test_the_end_is_noticed_while_nobody_calls() -> None:
    peer = Peer()
    peer.connection.close()
    link = peer.client._driver
    deadline = time.monotonic() + 10
    while not link.closed and time.monotonic() < deadline:
        time.sleep(GRACE)  # nobody is told of it: that is the point
    assert link.closed
    with pytest.raises(ConnectionLost):
        peer.client.call("a")
    peer.client.close()


def test_the_follower_parks_while_a_caller_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    names = readers(peer, monkeypatch)
    turn = peer.client._driver._turn  # type: ignore[attr-defined]
    while not (names and names[-1].startswith("Thread-")):  # until a caller leads
        result = peer.in_thread(lambda: peer.client.call("long"))
        request = peer.read()
        if names and names[-1].startswith("Thread-"):
            while turn.state is not TurnState.PARKED:
                time.sleep(GRACE)
        peer.write({"jsonrpc": "2.0", "id": request["id"], "result": 1})
        assert result() == 1
    peer.client.close()


def test_a_client_that_serves_always_reads_in_its_own_thread() -> None:
    ours, theirs = memory_pair()
    with rpc.connect(ours, api=rpc.API()) as client:
        assert type(client._driver).__name__ == "Driver"
    theirs.close()


def test_a_caller_that_reads_waits_no_longer_than_it_said_for_who_does_not(address: str) -> None:
    """The other end asks for more than may wait, and takes no answer."""
    limits = rpc.Limits(message_bytes=1000, queue_bytes=1000)
    with npipe.listen(address) as listener, rpc.connect(address, limits=limits) as client:
        other = listener.accept()

        def flood() -> None:
            while not other.read(1000).endswith(b"\n"):
                pass
            with contextlib.suppress(OSError):
                while True:
                    other.write(b'{"jsonrpc":"2.0","id":1,"method":"any"}\n' * 100)

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            client.call("there", timeout=2.0)
        assert time.monotonic() - began < 15  # half of what a write may take
        other.close()
        thread.join(60)
