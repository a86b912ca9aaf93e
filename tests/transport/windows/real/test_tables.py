"""The tables of how a kernel has to behave: on the fake kernel, and on that of this system.

The fake must answer as Windows documents; a passing test on a fake that does not proves nothing.
Where the fake kernel was once otherwise (first), a test holds it to the documentation (then):

* every SID known at once: table TRACKING, test_w01_..., test_w05_... (test_identity.py)
* a name gone with its last server: table HELD_NAME, test_w03_... (test_handles.py, test_maker.py)
* no thread ends its operations: rows "whose thread has ended"
* status and event in one step: test_the_status_is_written_before_the_event_is_set, test_w08_...
* GetOverlappedResult waits for the status: row "returns for its event", test_w08_close_waits_...
* a second ConnectNamedPipe replaces the first: row "two ConnectNamedPipes", test_w17_...
* a call that fails leaves the status alone: row "a read that fails at once", test_overlapped.py
* a refused remote client gets 5: test_a_remote_client_is_refused_by_either_code, test_w12_...
* a write of any size: test_the_largest_writes, test_w02_... (test_writer.py)
* an early cancel is remembered, or answered with 0: row "an early CancelSynchronousIo"
* Disconnect and Peek of the disconnected: row "a second Disconnect"
* names compared in lower case: rows "CreateFile ...", "WaitNamedPipe ...", test_w18_...
* no owner without O: row "the owner without O:", test_the_owner_of_an_elevated_program
* entries of one SID only: rows "access ...", test_groups_labels_and_restricted_tokens, test_w04_...
* CreateFile ignores the client: table TRACKING, test_b34_the_peer (test_identity.py)
* exact buffers: row "a buffer is as large", test_b32_no_option_resets_another (test_maker.py)
* WaitNamedPipe takes no time: test_no_call_waits_longer_than_a_millisecond_for_an_instance
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from npipe.transport.windows import connect as windows
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.kernel32.memory import overlapped
from transport.windows.fake_kernel32 import GROUP, USER, FakeKernel32, Token, elevated, filtered
from transport.windows.fake_kernel32.tokens import granted
from transport.windows.fake_kernel32.transfer import LARGEST_WRITE
from transport.windows.faked import ADDRESS, connect, listen
from windows_steps import tables
from windows_steps.raw import Pipe
from windows_steps.report import is_wine

Facts = Iterator[tuple[str, Any, Any]]

#: What Wine 8 answers otherwise (tracking and access are not enforced there).
WINE_DIFFERS = {
    "held: WaitNamedPipe",
    "held: CreateNamedPipe, the first instance",
    "WaitNamedPipe with a trailing dot",
    "WaitNamedPipe of a name below one",
    "CreateNamedPipe below a name",
    "the owner without O: is that of the token",
    "access that is denied before it is allowed",
    "access with an empty list",
    "access to read only",
    "a low label, read back",
}


@pytest.fixture
def fake() -> Iterator[FakeKernel32]:
    fake = FakeKernel32()
    yield fake
    assert fake.faults == []
    assert fake.ledger == {"handles": 0, "descriptors": 0}


def held_names(api: Kernel32) -> Facts:
    for state in ("held", "disconnected, held"):
        with Pipe(api) as pipe:
            server = pipe.server()
            pipe.client()

            def end(server: int = server, pipe: Pipe = pipe, state: str = state) -> None:
                if state != "held":
                    api.DisconnectNamedPipe(server)
                pipe.close(server)

            yield from tables.held_name(api, pipe, end, state)


def differing(facts: Facts) -> set[str]:
    return {what for what, assumed, seen in facts if assumed is not None and assumed != seen}


def test_the_fake_knows_clients_as_the_table_says(fake: FakeKernel32) -> None:
    assert differing(tables.tracking(fake)) == set()
    fake.token = elevated()
    assert differing(tables.tracking(fake)) == set()


@pytest.mark.parametrize("token", [Token(), elevated(), filtered()], ids=str)
def test_the_fake_keeps_names_as_the_table_says(fake: FakeKernel32, token: Token) -> None:
    fake.token = token
    assert differing(held_names(fake)) == set()


@pytest.mark.parametrize("row", tables.KERNEL, ids=lambda row: row.what)
def test_the_fake_answers_as_documented(fake: FakeKernel32, row: tables.Row) -> None:
    assert row.ask(fake) == row.assumed
    if row.what.startswith("two ConnectNamedPipes"):  # npipe itself must never do it
        assert fake.faults.pop().startswith("a second ConnectNamedPipe")


@pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")
def test_this_kernel_answers_as_documented() -> None:
    found = differing(held_names(load())) | differing(tables.rows(load()))
    assert found == (WINE_DIFFERS if is_wine() else set())


@pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")
def test_this_kernel_knows_clients_as_documented() -> None:
    found = differing(tables.tracking(load()))
    if is_wine():  # the level is always Impersonation, and the token known at once
        assert {what.partition(",")[0] for what in found} == {"SID of a client"}
        assert not [what for what in found if "quality static" in what]
    else:
        assert found == set()


# -- what has to be brought about, on the fake kernel


def test_the_status_is_written_before_the_event_is_set(fake: FakeKernel32) -> None:
    with Pipe(fake) as pipe:
        server = pipe.server()
        client = pipe.client()
        fake.hold_events = True
        began = pipe.read(server)
        pipe.write(client)
        assert not began.pending
        assert fake.WaitForSingleObject(began.event, 0) != 0
        fake.deliver()
        assert fake.WaitForSingleObject(began.event, 0) == 0


@pytest.mark.parametrize("code", [5, 231])
def test_a_remote_client_is_refused_by_either_code(fake: FakeKernel32, code: int) -> None:
    with Pipe(fake) as pipe:
        pipe.server()
        fake.remote, fake.remote_refusal = True, code
        assert pipe.open()[0] == code


def test_the_largest_writes(fake: FakeKernel32) -> None:
    def code(size: int) -> int:
        _, reference = overlapped(0)
        code = fake.WriteFile(client, b"", size, reference)
        fake.CancelIoEx(client, reference)
        return code

    with Pipe(fake) as pipe:
        pipe.server()
        client = pipe.client()
        assert code(LARGEST_WRITE) != 1450
        assert code(LARGEST_WRITE + 1) == 1450
        fake.remote = True
        assert code(65535) != 87
        assert code(65536) == 87


def test_the_owner_of_an_elevated_program(fake: FakeKernel32) -> None:
    asked = {row.what: row.ask for row in tables.KERNEL}[
        "the owner without O: is that of the token"
    ]
    for token in (Token(), elevated(), filtered()):
        fake.token = token
        assert asked(fake)


def test_groups_labels_and_restricted_tokens() -> None:
    read, write = 0x1, 0x2

    def may(sddl: str, token: Token) -> tuple[bool, bool]:
        mask = granted(sddl, token)
        return bool(mask & read), bool(mask & write)

    own = f"O:{USER}D:P(A;;FA;;;{USER})"
    service = Token(restricted=frozenset({"S-1-5-80-1"}))
    assert may(own, Token()) == (True, True)
    assert may(own, service) == (False, False)
    assert may(own + "(A;;FA;;;S-1-5-80-1)", service) == (True, True)
    assert may(f"D:P(A;;FA;;;{GROUP})", Token()) == (True, True)
    assert may("D:P(A;;FA;;;BA)", elevated()) == (True, True)
    assert may("D:P(A;;FA;;;BA)", filtered()) == (False, False)
    assert may("D:P(D;;FA;;;BA)(A;;FA;;;WD)", filtered()) == (False, False)
    assert may(own + "S:(ML;;NW;;;HI)", Token()) == (True, False)
    assert may(own + "S:(ML;;NWNR;;;HI)", Token()) == (False, False)
    assert may(own, Token(integrity=0x1000)) == (True, False)
    assert may(own + "S:(ML;;NW;;;LW)", Token(integrity=0x1000)) == (True, True)


def test_no_call_waits_longer_than_a_millisecond_for_an_instance(fake: FakeKernel32) -> None:
    with listen(fake) as listener, connect(fake), listener.accept(60):
        assert windows.exists(ADDRESS, api=fake)
    assert {milliseconds for _, milliseconds in fake.made("WaitNamedPipe")} == {1}
