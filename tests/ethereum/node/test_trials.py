"""Calls run beside the chain: they end in time, in their caller's order, and delay no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import LOOP, assemble
from ethereum.direct import Direct
from npipe.errors import RPCError
from npipe.ethereum.errors import ChainError
from npipe.ethereum.node.trials import Trials
from npipe.rpc.service.api import API

Call = Callable[..., Any]
PATIENCE = 60  # seconds


@pytest.fixture
def trials() -> Any:
    trials = Trials(2)
    yield trials
    trials.close()


def run(trials: Trials, caller: object, job: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=trials.run, args=(job,), kwargs={"caller": caller})
    thread.start()
    return thread


def test_a_caller_has_one_trial_at_a_time_and_others_pass(trials: Trials) -> None:
    release, begun, order = threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        assert release.wait(PATIENCE)
        order.append("first of a")

    first = run(trials, "a", slow)
    assert begun.wait(PATIENCE)
    second = run(trials, "a", lambda: order.append("second of a"))
    third = run(trials, "a", lambda: order.append("third of a"))
    for number in range(3):
        assert trials.run(lambda: "b", caller=number) == "b"
    assert order == []
    release.set()
    for thread in (first, second, third):
        thread.join(PATIENCE)
    assert order[0] == "first of a"
    assert len(order) == 3


def test_an_error_is_the_callers_and_the_thread_goes_on(trials: Trials) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            trials.run(lambda: 1 // 0)
    assert trials.run(lambda: 5) == 5


def test_closing_ends_what_waits_first(trials: Trials) -> None:
    release, begun, ended = threading.Event(), threading.Event(), list[int]()

    def slow() -> None:
        begun.set()
        assert release.wait(PATIENCE)

    threads = [run(trials, 1, slow)]
    assert begun.wait(PATIENCE)
    queued = threading.Event()

    def last() -> None:
        queued.set()
        trials.run(lambda: ended.append(1), caller=1)

    threads.append(threading.Thread(target=last))
    threads[-1].start()
    assert queued.wait(PATIENCE)
    while len(trials._jobs[1]) == 0:
        time.sleep(0.001)  # until the other thread is in the queue, which nothing announces
    closing = threading.Thread(target=trials.close)
    closing.start()
    release.set()
    closing.join(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    assert ended == [1]
    with pytest.raises(ChainError, match="has been stopped"):
        trials.run(lambda: 5)


#: The generators of the two groups of alt_bn128, as EIP-197 has them.
PAIR = (
    f"{1:064x}{2:064x}"
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2"
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b"
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
)
#: Calls that would run for minutes: the code to be pretended, and what it is called with.
ENDLESS = {
    "a loop": (LOOP, "0x"),
    "blake2f": (None, "0x007a1200" + "00" * 208 + "01"),  # 8 million rounds
    "a pairing": (None, "0x" + PAIR * 1000),
    "BLS pairings": (None, "0x" + "00" * 384 * 1000),
    "BLS sums": (None, "0x" + "00" * 160 * 4000),
    "calls of itself": (assemble("0x00 0x00 0x00 0x00 0x00 ADDRESS GAS CALL") * 1500, "0x"),
    "a long way": (b"\x5b" * 3_000_000, "0x"),
}
PRECOMPILES = {"blake2f": 9, "a pairing": 8, "BLS pairings": 15, "BLS sums": 12}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_call_ends_in_time_whatever_it_does_and_others_are_served(
    api: API, call: Call, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("npipe.ethereum.node.calls.TIMEOUT", 0.5)
    code, payload = ENDLESS[name]
    target = f"0x{PRECOMPILES.get(name, 0x7777):040x}"
    pretended = {} if code is None else {target: {"code": "0x" + code.hex()}}
    request = {"to": target, "data": payload, "gas": "0x2faf080"}
    other, told = Direct(api, connection_id=1), list[str]()

    def ask() -> None:
        told.append(other.call("eth_getBalance", target, "latest"))
        empty, config = {"to": "0x" + "12" * 20}, {"timeout": "100s"}
        told.append(other.call("debug_traceCall", empty, "latest", config)["returnValue"])

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(RPCError, match="execution aborted"):  # minutes: more than a test may take
        call("eth_call", request, "latest", pretended)
    asking.join(PATIENCE)
    assert told == ["0x0", "0x"]
