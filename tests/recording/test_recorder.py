"""From bytes to events: messages are found, order is kept, nothing waits for a sink."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable

from npipe.recording.recorder import Recorder
from npipe.recording.tape import Event
from npipe.security import PeerIdentity


class Slow:
    """A sink that blocks until it may go on, as a disk does."""

    def __init__(self) -> None:
        self.go, self.began = threading.Event(), threading.Event()
        self.events: list[Event] = []

    def __call__(self, events: Iterable[Event]) -> None:
        self.began.set()
        assert self.go.wait(30)
        self.events += events


def messages(events: Iterable[Event]) -> list[tuple[str | None, bytes]]:
    return [(event.side, bytes(event.message)) for event in events if event.message]


def test_messages_are_found_across_chunks_in_both_framings() -> None:
    events: list[Event] = []
    recorder = Recorder(events.extend)
    one, other = recorder.open(PeerIdentity(pid=5)), recorder.open(None)
    one.data("client", b'{"id":')
    one.data("client", b'1}{"id":2}')
    other.data("client", b"Content-Length: 8\r\n\r\n")
    other.data("client", b'{"id":3}')
    one.data("server", b"[]\n")
    one.data("client", b"")
    recorder.close()
    assert messages(events) == [
        ("client", b'{"id":1}'),
        ("client", b'{"id":2}'),
        ("client", b'{"id":3}'),
        ("server", b"[]"),
    ]
    assert [event.open["pid"] for event in events if event.open] == [5, None]
    assert [event.side for event in events if event.end] == ["client"]


def test_the_order_of_two_threads_is_the_order_of_events() -> None:
    events: list[Event] = []
    recorder = Recorder(events.extend)
    talk = recorder.open(None)
    asked, answered = threading.Semaphore(0), threading.Semaphore(0)

    def serve() -> None:
        for number in range(500):
            asked.acquire()
            talk.data("server", b'{"id":%d,"result":1}\n' % number)
            answered.release()

    thread = threading.Thread(target=serve)
    thread.start()
    for number in range(500):
        talk.data("client", b'{"id":%d,"method":"m"}\n' % number)
        asked.release()
        answered.acquire()
    thread.join()
    recorder.close()
    assert [side for side, _ in messages(events)] == ["client", "server"] * 500


def test_a_slow_sink_delays_nobody_and_bounds_the_memory() -> None:
    sink = Slow()
    recorder = Recorder(sink, limit=1000)
    talk = recorder.open(None)
    assert sink.began.wait(30)
    for _ in range(100):
        talk.data("client", b'{"id":1,"method":"m"}\n')  # returns at once: the test ends
    sink.go.set()
    recorder.close()
    lost = [event for event in sink.events if event.lost]
    assert [event.lost for event in lost] == ["the recorder fell behind"]
    assert 40 <= len(messages(sink.events)) < 100


def test_what_breaks_the_framing_ends_the_recording_of_that_side() -> None:
    events: list[Event] = []
    recorder = Recorder(events.extend)
    talk = recorder.open(None)
    talk.data("client", b'{"id":1}\n' + b"[" * 1000)
    talk.data("client", b'{"id":2}\n')
    talk.data("server", b'{"id":1,"result":1}\n')
    recorder.close()
    assert [data for _, data in messages(events)] == [b'{"id":1}', b'{"id":1,"result":1}']
    assert len([event for event in events if event.lost]) == 1


def test_a_sink_that_fails_is_told_once_and_dropped() -> None:
    events: list[Event] = []
    errors: list[OSError] = []

    def full(_: Iterable[Event]) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    recorder = Recorder(full, events.extend, on_error=errors.append)
    talk = recorder.open(None)
    for _ in range(10):
        talk.data("client", b"{}\n")
    recorder.close()
    assert [error.errno for error in errors] == [errno.ENOSPC]
    assert len(messages(events)) == 10


def test_close_is_final() -> None:
    events: list[Event] = []
    recorder = Recorder(events.extend)
    talk = recorder.open(None)
    recorder.close()
    recorder.close()
    talk.data("client", b"{}\n")
    assert messages(events) == []
