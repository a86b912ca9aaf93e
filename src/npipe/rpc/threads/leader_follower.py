"""A link of a client, whose callers read for themselves.

A call that another thread reads the answer to costs two switches of threads. So whoever calls
while nobody else does reads its answer itself: it leads. The link's own thread, the keeper, reads
the rest of the time: while several threads call at once, while there are subscriptions, and once
nobody has called for ``GRACE`` seconds, so that what the other end says unasked is heard.

Who holds ``_turn`` reads; nobody else does. Two rules keep every reply from being left unread:

* a call is entered as pending before its caller tries for the turn;
* who gives the turn back looks, after that, whether a call is pending, and if so sees to it that
  the keeper takes the turn.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from npipe.rpc.threads.driver import Driver
from npipe.rpc.threads.slow_calls import start_thread
from npipe.rpc.threads.waiter import ReplyWaiter

__all__ = ["GRACE", "LeaderFollowerDriver"]

GRACE = 0.01  # seconds; what comes unasked waits no longer than twice that


class LeaderFollowerDriver(Driver):
    """A link that serves no functions of the user's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn = threading.Lock()
        self._turns = 0  # how often a caller has led
        self._wanted = threading.Event()  # the keeper is to take the turn
        self._parked = False  # the keeper sleeps until it is wanted
        self._torn = False  # a leader was interrupted
        self._leader_end: float | None = None  # until when the leader may read
        self._message_end: float | None = None  # until when a message must be complete

    def start(self) -> None:
        start_thread(self._keep, self.session.name)

    def wait(self, reply: ReplyWaiter[Any], until: float | None) -> bool:
        """Read until the reply is here, or let the others; see ``Driver.wait``."""
        if not self.session.outgoing_calls.subscribed and self._turn.acquire(blocking=False):
            try:
                self._lead(reply, until)
            except BaseException:
                self._torn = True
                raise
            finally:
                self._give_back()
        return super().wait(reply, until)

    def interrupted(self) -> None:
        # A KeyboardInterrupt may come between reading and keeping what was read. Who is
        # interrupted gives its call up, but others must not wait for what is lost.
        if self._torn and len(self.session.outgoing_calls):
            self.close("interrupted while reading")
        self._torn = False

    def close(self, reason: str) -> None:
        super().close(reason)
        self._wanted.set()

    # The caller that leads

    def _lead(self, reply: ReplyWaiter[Any], until: float | None) -> None:
        self._turns += 1
        if reply.outcome is not None:  # it came before the turn was free
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
        finally:
            if until is not None:
                self._leader_end = None
                self._set_deadline()

    def _is_mine(self, until: float | None) -> bool:
        """Say whether the leader's time is up, and not that of a message of the other end's."""
        return until is not None and (self._message_end is None or until < self._message_end)

    def _step(self) -> bool:
        """Read once and do what it asks for. False: the end."""
        if self._closed:
            return False
        session = self.session
        taken = session.calls + session.errors
        if not self._read_once():
            self._finish(None)
            return False
        self._work(None)
        if session.flow.deferred:
            session.flow.resume()
            self._executor.hold()
        if taken != session.calls + session.errors:  # it may have made a reply to something
            self.flush_aside()
        return True

    def _give_back(self) -> None:
        self._turn.release()
        if self._parked or self._needed():
            self._wanted.set()

    def _needed(self) -> bool:
        """Say whether somebody should be reading now."""
        outgoing_calls = self.session.outgoing_calls
        return len(outgoing_calls) > 0 or outgoing_calls.subscribed

    # The keeper

    def _keep(self) -> None:
        try:
            while self._await_turn():
                try:
                    while self._step() and self._needed():
                        pass
                finally:
                    self._turn.release()
                if self._needed():  # a call has come since
                    self._wanted.set()
        except Exception as error:
            self._fail(error)

    def _await_turn(self) -> bool:
        """Wait until the keeper has to read, and take the turn. False: the link is closed.

        A timeout of None costs nothing while a caller waits for an answer that takes long."""
        pause: float | None = GRACE
        turns = self._turns
        while not self._closed:
            wanted = self._wanted.wait(pause)
            self._wanted.clear()
            if not wanted and turns != self._turns:  # callers come and go
                turns, pause = self._turns, GRACE
                continue
            self._parked = True  # first: a leader that has not seen it has released the turn
            if self._turn.acquire(blocking=False):
                self._parked = False
                return True
            pause = None
        return False

    # What a link does otherwise

    def _work(self, token: object) -> bool:
        while (call := self.session.next_call()) is not None:
            self._executor.start(call)  # never here: a caller waits for its own reply
        return True

    def _wait_for_room(self, until: float | None = None) -> None:
        super()._wait_for_room(self._leader_end)

    def _watch_partial(self) -> None:
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
            except OSError as error:  # closed just now
                self._fail(error)
