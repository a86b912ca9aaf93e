"""Retry: whether and when a call is sent again after its connection was lost.

Sans-I/O: the flavours do the waiting and the sending.
"""

from __future__ import annotations

from collections.abc import Sequence

from npipe.errors import ConnectionLost
from npipe.rpc.session.pending_calls import Outcome

__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "Retry"]

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.5  # seconds between attempts, doubled each time

HINT = "it may have been executed, so it is not sent again: idempotent=True would allow that"


class Retry:
    """The retry decision for one call or batch.

    A call is sent again if no byte of it was written, or if it is idempotent. The pauses grow, so
    that a server that closes every connection is not dialled in a tight loop. Retrying ends when
    the client's ``reconnect`` time has passed since the first loss.
    """

    __slots__ = ("_end", "_idempotent", "_pause", "_window")

    def __init__(self, window: float | None, *, idempotent: bool) -> None:
        """Make the decision for one call.

        Args:
            window: Seconds for which the client reconnects; None: it does not.
            idempotent: Whether executing the call twice does no harm.
        """
        self._window = window
        self._idempotent = idempotent
        self._pause = FIRST_PAUSE
        self._end: float | None = None

    def pause(self, outcomes: Sequence[Outcome], now: float) -> float | None:
        """Return the seconds to wait before the call is sent again; None: do not send it again."""
        lost = [outcome for outcome in outcomes if isinstance(outcome, ConnectionLost)]
        if not lost or self._window is None:
            return None
        if not self._idempotent and any(error.maybe_executed for error in lost):
            return None
        if self._end is None:
            self._end = now + self._window
        left = self._end - now
        if left <= 0:
            return None
        pause, self._pause = min(self._pause, left), min(2 * self._pause, LONGEST_PAUSE)
        return pause

    def explain(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Return the outcomes for the program; a loss that ``idempotent`` would retry says so."""
        if self._window is None or self._idempotent:
            return outcomes
        return [
            ConnectionLost(f"{outcome} ({HINT})", maybe_executed=True)
            if isinstance(outcome, ConnectionLost) and outcome.maybe_executed
            else outcome
            for outcome in outcomes
        ]
