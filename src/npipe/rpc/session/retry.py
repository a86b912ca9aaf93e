"""Whether, and when, a call that a lost connection has caught is sent again.

Sans-I/O: the flavours do the waiting and the sending.
"""

from __future__ import annotations

from collections.abc import Sequence

from npipe.errors import ConnectionLost
from npipe.rpc.session.pending_calls import Outcome

__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "Retry"]

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.5  # seconds before a call is sent again, doubled each time

HINT = "it may have been executed, so it is not sent again: idempotent=True would allow that"


class Retry:
    """The decision for one call or batch.

    It is sent again where no byte of it has been written, or where it may be executed twice; at
    growing intervals, for a server that hangs up on every client must not be dialled in a tight
    loop; and for as long as the client reconnects, counted from the first loss.
    """

    __slots__ = ("_end", "_idempotent", "_pause", "_window")

    def __init__(self, window: float | None, *, idempotent: bool) -> None:
        """Make the decision for one call.

        Args:
            window: Seconds for which the client reconnects; None: it does not.
            idempotent: Whether it does no harm if the call is executed twice.
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
        """Return the outcomes for the program: one that could have been sent again says how."""
        if self._window is None or self._idempotent:
            return outcomes
        return [
            ConnectionLost(f"{outcome} ({HINT})", maybe_executed=True)
            if isinstance(outcome, ConnectionLost) and outcome.maybe_executed
            else outcome
            for outcome in outcomes
        ]
