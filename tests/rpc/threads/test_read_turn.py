"""npipe.rpc.threads.read_turn: which thread reads a client's connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from npipe.rpc.threads import read_turn
from npipe.rpc.threads.read_turn import ReadTurn, TurnState

RESTING, LED, PARKED, FOLLOWING, CLOSED = TurnState


class Calls:
    """The pending calls, for which a reader is needed."""

    def __init__(self) -> None:
        self.pending = 0

    def __call__(self) -> bool:
        return self.pending > 0


class Turns(RuleBasedStateMachine):
    """Callers, a follower and time in any order. The follower sleeps where ``follow`` waits."""

    calls = Bundle("calls")

    @initialize()
    def make(self) -> None:
        self.needed = Calls()
        self.turn = ReadTurn(self.needed)
        self.leader: object = None
        self.unread: set[object] = set()  # calls without a reply, whose threads do not lead
        self.notified = False  # the follower has been woken and has not run since
        self.turn._changed.notify = self._notify  # type: ignore[method-assign]
        self.seen = 0
        self.parked = False  # the follower sleeps without a timeout

    def _notify(self, n: int = 1) -> None:
        self.notified = True

    @rule(target=calls)
    def call(self) -> object:
        """A thread registers a call, then asks to lead."""
        caller = object()
        self.needed.pending += 1
        if self.turn.lead(caller):
            assert self.leader is None, "two leaders"
            assert not self.follower_reads(), "a leader beside the follower"
            self.leader = caller
        self.unread.add(caller)
        return caller

    @rule(call=consumes(calls))
    def reply(self, call: object) -> None:
        """The thread that reads receives the reply to a call; its caller leaves."""
        if not (self.leader or self.follower_reads()):
            return
        if call in self.unread:
            self.unread.discard(call)
            self.needed.pending -= 1
        if call is self.leader:
            self.leader = None
        self.turn.release(call)

    @rule(call=consumes(calls))
    def give_up(self, call: object) -> None:
        """A caller leaves at its deadline, or interrupted."""
        if call in self.unread:
            self.unread.discard(call)
            self.needed.pending -= 1
        if call is self.leader:
            self.leader = None
        self.turn.release(call)
        self.turn.release(call)  # a second release does nothing

    def follower_reads(self) -> bool:
        return self.turn.state is FOLLOWING

    @rule(late=st.booleans())
    def follower_wakes(self, late: bool) -> None:
        """The follower's sleep ends: it was woken, or ``GRACE`` has passed (``late``)."""
        state = self.turn.state
        if state in (FOLLOWING, CLOSED):
            self.notified = self.parked = False
            self.seen = self.turn._turns
            return
        if not self.notified and (not late or state is PARKED):
            return  # it sleeps on
        quiet = self.seen == self.turn._turns
        self.seen = self.turn._after_sleep(self.notified, self.seen)
        expected = {RESTING: FOLLOWING, LED: PARKED}
        changes = quiet and not self.notified
        assert self.turn.state is (expected.get(state, state) if changes else state)
        self.notified = False
        self.parked = self.turn.state is PARKED

    @precondition(lambda self: self.follower_reads())
    @rule()
    def follower_stops(self) -> None:
        """The follower has read something and asks whether to read on."""
        on = self.turn.keep_following()
        assert on == (self.needed.pending > 0)
        assert self.turn.state is (FOLLOWING if on else RESTING)

    @precondition(lambda self: self.turn.state is not CLOSED)
    @rule(close=st.sampled_from([False, False, False, True]))
    def close(self, close: bool) -> None:
        if close:
            self.turn.close()

    @invariant()
    def every_reply_is_read(self) -> None:
        state = self.turn.state
        if state is CLOSED:
            return
        assert (state in (LED, PARKED)) == (self.leader is not None)
        if self.unread:
            assert state is not RESTING, "a call is pending and no thread reads"

    @invariant()
    def a_follower_without_a_timeout_is_woken(self) -> None:
        if self.parked:
            assert self.turn.state is PARKED or self.notified


Turns.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestTurns = Turns.TestCase


# The follower in a thread of its own


class Follower:
    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.needed = Calls()
        self.turn = ReadTurn(self.needed)
        self._pool = pool

    def follow(self) -> Future[bool]:
        return self._pool.submit(self.turn.follow)

    def await_state(self, state: TurnState) -> None:
        while self.turn.state is not state:
            time.sleep(0)

    def await_sleep(self) -> None:
        while not self.turn._changed._waiters:  # type: ignore[attr-defined]
            time.sleep(0)


@pytest.fixture
def follower() -> Iterator[Follower]:
    with ThreadPoolExecutor() as pool:
        made = Follower(pool)
        yield made
        made.turn.close()


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens by the passing of time."""
    monkeypatch.setattr(read_turn, "GRACE", 3600.0)


def test_the_follower_reads_when_no_thread_has_called_for_a_moment(follower: Follower) -> None:
    assert follower.follow().result(60)
    assert follower.turn.state is FOLLOWING
    assert not follower.turn.lead("caller")


def test_a_long_call_parks_the_follower_and_its_end_wakes_it(follower: Follower) -> None:
    assert follower.turn.lead("caller")
    following = follower.follow()
    follower.await_state(PARKED)
    follower.await_sleep()
    assert not follower.turn.lead("another")
    follower.turn.release("caller")
    assert following.result(60)  # it rests first: the caller may call again at once


@pytest.mark.usefixtures("no_grace")
def test_a_leader_that_leaves_a_call_behind_hands_the_turn_over(follower: Follower) -> None:
    assert follower.turn.lead("caller")
    following = follower.follow()
    follower.await_sleep()
    follower.needed.pending = 1
    follower.turn.release("caller")
    assert follower.turn.state is FOLLOWING
    assert following.result(60)
    assert follower.turn.keep_following()
    follower.needed.pending = 0
    assert not follower.turn.keep_following()
    assert follower.turn.lead("next")
    follower.turn.release("next")


@pytest.mark.usefixtures("no_grace")
def test_close_ends_a_follower_that_sleeps(follower: Follower) -> None:
    following = follower.follow()
    follower.await_sleep()
    follower.turn.close()
    assert following.result(60) is False


def test_close_ends_a_follower_that_is_parked(follower: Follower) -> None:
    follower.turn.lead("caller")
    following = follower.follow()
    follower.await_state(PARKED)
    follower.await_sleep()
    follower.turn.close()
    assert following.result(60) is False


def test_after_close_no_thread_reads(follower: Follower) -> None:
    follower.turn.lead("caller")
    follower.turn.close()
    follower.needed.pending = 1
    follower.turn.release("caller")
    assert follower.turn.state is CLOSED
    assert not follower.turn.lead("caller")
    for follower.needed.pending in (1, 0):
        assert not follower.turn.keep_following()
        assert not follower.turn.follow()
        assert follower.turn.state is CLOSED


def test_a_signal_handler_closes_in_the_middle_of_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = ReadTurn(Calls())
    with monkeypatch.context() as patch:
        patch.setattr("threading.get_ident", turn.close)  # ``lead`` calls it
        assert not turn.lead("caller")
    assert turn.state is CLOSED


def test_a_signal_handler_closes_in_the_middle_of_release() -> None:
    def needed() -> bool:
        turn.close()
        return False

    turn = ReadTurn(needed)
    assert turn.lead("caller")
    turn.release("caller")
    assert turn.state is CLOSED


def test_a_signal_handler_releases_just_before_release_has_the_lock() -> None:
    turn = ReadTurn(Calls())
    lock = turn._lock

    class Hooked:
        def __enter__(self) -> None:
            turn._lock = lock
            turn.release("caller")
            assert turn.lead("another")
            lock.acquire()

        def __exit__(self, *exc: object) -> None:
            lock.release()

    assert turn.lead("caller")
    turn._lock = Hooked()  # type: ignore[assignment]
    turn.release("caller")
    assert turn.state is LED
    assert turn.leads("another")


def test_callers_that_take_turns_keep_the_follower_asleep(follower: Follower) -> None:
    seen = follower.turn._turns
    for _ in range(5):
        assert follower.turn.lead("caller")
        follower.turn.release("caller")
        seen = follower.turn._after_sleep(False, seen)
        assert follower.turn.state is RESTING
    follower.turn._after_sleep(False, seen)
    assert follower.turn.state is FOLLOWING


def test_only_the_leading_thread_leads_here(follower: Follower) -> None:
    assert not follower.turn.is_led_here
    follower.turn.lead("caller")
    assert follower.turn.is_led_here
    with ThreadPoolExecutor() as pool:
        assert not pool.submit(lambda: follower.turn.is_led_here).result(60)
    follower.turn.release("caller")
    assert not follower.turn.is_led_here


def test_only_the_leader_releases(follower: Follower) -> None:
    follower.turn.lead("caller")
    follower.turn.release("another")
    assert follower.turn.state is LED
    follower.turn.release("caller")
    assert follower.turn.state is RESTING


def test_a_parked_follower_sleeps_without_a_timeout_and_rests_afterwards(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps: list[float | None] = []
    wait = follower.turn._changed.wait

    def noted(timeout: float | None) -> bool:
        sleeps.append(timeout)
        return wait(timeout)

    monkeypatch.setattr(follower.turn._changed, "wait", noted)
    assert follower.turn.lead("caller")
    follower.follow()
    follower.await_state(PARKED)
    while sleeps[-1:] != [None]:
        time.sleep(0)
    follower.await_sleep()
    monkeypatch.setattr(read_turn, "GRACE", 3600.0)
    follower.turn.release("caller")
    while sleeps[-1:] != [3600.0]:
        time.sleep(0)
    assert follower.turn.lead("caller")  # the follower rests


def test_a_second_release_does_nothing_to_the_follower(follower: Follower) -> None:
    follower.turn.lead("caller")
    follower.turn.release("caller")
    assert follower.follow().result(60)
    follower.turn.release("caller")
    assert follower.turn.state is FOLLOWING


def test_the_state_is_read_under_the_lock_that_changes_it() -> None:
    """A call that is registered while the leader releases is seen by one of the two threads."""
    for _ in range(300):
        needed, barrier = Calls(), threading.Barrier(2)
        turn = ReadTurn(needed)
        assert turn.lead("first")
        leads: list[bool] = []

        def call(
            needed: Calls = needed,
            barrier: threading.Barrier = barrier,
            turn: ReadTurn = turn,
            leads: list[bool] = leads,
        ) -> None:
            barrier.wait()
            needed.pending = 1
            leads.append(turn.lead("second"))

        thread = threading.Thread(target=call)
        thread.start()
        barrier.wait()
        turn.release("first")
        thread.join(60)
        assert turn.state is (LED if leads == [True] else FOLLOWING)
