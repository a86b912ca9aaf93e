"""Threads of a case: a failure in one of them ends the others."""

from __future__ import annotations

import threading

import pytest

from npipe.testing import memory_pair
from npipe.testing.case_threads import CaseThreads, echo, read_exactly, resync, write_until_timeout


def test_the_first_failure_of_a_crew_is_raised_and_ends_the_others() -> None:
    c1, c2 = memory_pair()
    with pytest.raises(ZeroDivisionError), CaseThreads(c1, c2) as threads:
        threads.start(c1.read, 1)  # would wait for ever
        threads.start(lambda: 1 // 0)


def test_the_error_that_must_be_raised_is_returned() -> None:
    threads = CaseThreads()
    assert isinstance(threads.raises(ZeroDivisionError, lambda: 1 // 0), ZeroDivisionError)
    with pytest.raises(AssertionError, match="expected ValueError, but it returned 1"):
        threads.raises(ValueError, lambda: 1)


def test_earlier_echoes_are_passed_over() -> None:
    c1, c2 = memory_pair()
    with CaseThreads(c1, c2) as threads:
        threads.start(echo, c2)
        c1.write(b"earlier")
        resync(threads, c1)
        c1.write(b"later")
        assert read_exactly(c1, 5) == b"later"
        c1.close()


def test_a_stream_that_ends_early_fails() -> None:
    c1, c2 = memory_pair()
    with c1, c2:
        c2.write(b"ab")
        c2.close_write()
        with pytest.raises(AssertionError, match="the end came after 2 of 3 bytes"):
            read_exactly(c1, 3)


def test_a_full_pipe_times_out() -> None:
    c1, c2 = memory_pair(capacity=10)
    with c1, c2:
        c1.set_write_deadline(0)
        assert isinstance(write_until_timeout(c1), TimeoutError)
        c1.set_write_deadline(None)
        done = threading.Event()
        with CaseThreads(c1, c2) as threads:
            threads.start(done.set)
        assert done.is_set()


def test_a_failure_of_the_case_itself_ends_its_threads() -> None:
    c1, c2 = memory_pair()
    with pytest.raises(ZeroDivisionError), CaseThreads(c1, c2) as threads:
        threads.start(c1.read, 1)  # would wait for ever
        _ = 1 // 0
    assert c1.closed
    assert c2.closed
