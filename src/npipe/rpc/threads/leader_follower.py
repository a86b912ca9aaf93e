"""Driver of a client whose calling threads read the connection themselves (leader/follower).

Waiting for a reply that another thread reads costs two thread switches. So a thread that calls
while no other thread reads becomes the leader and reads its own reply. The driver's own thread, the
follower (``_follow``), reads otherwise: while several threads call at once, while there are
subscriptions, and when no thread has called for a moment, so that messages without a call are
processed. Only the thread that has the turn (``read_turn.py``) reads.
"""

from __future__ import annotations

import time
from typing import Any

from npipe.rpc.threads.driver import Driver
from npipe.rpc.threads.read_turn import ReadTurn
from npipe.rpc.threads.slow_calls import start_thread
from npipe.rpc.threads.waiter import ReplyWaiter

__all__ = ["LeaderFollowerDriver"]


class LeaderFollowerDriver(Driver):
    """Driver of a client that serves no API."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn = ReadTurn(self._needed)
        self._read_interrupted = False  # a leader was interrupted
        self._leader_end: float | None = None  # deadline of the leader
        self._message_end: float | None = None  # deadline of an incomplete message

    def start(self) -> None:
        start_thread(self._follow, self.session.name)

    def wait(self, reply: ReplyWaiter[Any], until: float | None) -> bool:
        """Read until the reply has arrived, or wait for another thread; see ``Driver.wait``."""
        if not self.session.outgoing_calls.subscribed:
            try:
                if self._turn.lead(reply):
                    self._lead(reply, until)
            except BaseException:
                self._read_interrupted = True
                raise
            finally:
                self._end_lead(reply, timed=until is not None)
        if reply.outcome is None and self._turn.is_led_here:
            raise RuntimeError(
                "this thread is in the middle of a call on the same client: a signal handler or "
                "on_progress cannot make another one"
            )
        return super().wait(reply, until)

    def interrupted(self, reply: object) -> None:
        self._end_lead(reply, timed=True)  # which may be where the interrupt came
        # A KeyboardInterrupt may be raised between reading bytes and storing them. The call of
        # the interrupted thread is cancelled, but other calls must not wait for lost bytes.
        if self._read_interrupted and len(self.session.outgoing_calls):
            self.close("interrupted while reading")
        self._read_interrupted = False

    def close(self, reason: str) -> None:
        super().close(reason)
        self._turn.close()

    # The leader

    def _lead(self, reply: ReplyWaiter[Any], until: float | None) -> None:
        if reply.outcome is not None:  # it arrived before the turn was acquired
            return
        try:
            if until is not None:
                self._leader_end = until
                self._set_deadline()
            while reply.outcome is None and self._step():
                pass
        except Exception as error:
            if not (isinstance(error, TimeoutError) and self._is_mine(until)):
                self._fail(error)

    def _end_lead(self, reply: object, *, timed: bool) -> None:
        """Give the turn back, without the deadline of this call. May be repeated."""
        if self._turn.leads(reply):
            if timed:
                self._leader_end = None
                self._set_deadline()
            self._turn.release(reply)

    def _is_mine(self, until: float | None) -> bool:
        """Tell whether the leader's deadline has passed, and not that of an incomplete message."""
        return until is not None and (self._message_end is None or until < self._message_end)

    def _step(self) -> bool:
        """Read once and process the messages. Return False at the end of the stream."""
        if self._closed:
            return False
        session = self.session
        statistics = session.statistics
        taken = statistics.calls + statistics.errors
        if not self._read_once():
            self._finish(None)
            return False
        self._work(None)
        if session.flow.deferred:
            session.flow.resume()
            self._executor.hold()
        if (
            taken != session.statistics.calls + session.statistics.errors
        ):  # a reply may have been queued
            self.flush_in_background()
        return True

    def _needed(self) -> bool:
        """Tell whether a thread should be reading now."""
        outgoing_calls = self.session.outgoing_calls
        return len(outgoing_calls) > 0 or outgoing_calls.subscribed

    # The follower

    def _follow(self) -> None:
        try:
            while self._turn.follow():
                while self._step() and self._turn.keep_following():
                    pass
        except Exception as error:
            self._fail(error)

    # Overridden methods of ``Driver``

    def _work(self, token: object) -> bool:
        while (call := self.session.take_call()) is not None:
            self._executor.start(call)  # never in this thread, which waits for its own reply
        return True

    def _wait_for_room(self, until: float | None = None) -> None:
        super()._wait_for_room(self._leader_end)

    def _set_message_deadline(self) -> None:
        partial = self.session.framing.pending > 0
        if partial != self._partial or (partial and self._anew):
            self._partial = partial
            seconds = self.session.limits.message_timeout if partial else None
            self._message_end = None if seconds is None else time.monotonic() + seconds
            self._set_deadline()

    def _set_deadline(self) -> None:
        ends = [end for end in (self._leader_end, self._message_end) if end is not None]
        if not self._closed:
            try:
                self.connection.set_read_deadline(min(ends, default=None))
            except OSError as error:  # closed meanwhile
                self._fail(error)
