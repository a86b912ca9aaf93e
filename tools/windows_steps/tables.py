r"""How a kernel has to behave, as tables: what Windows documents, row by row.

The same rows are asked of three kernels: the fake one of the tests must answer as the tables say
(``tests/transport/windows/real/test_tables.py``), Wine answers otherwise in the rows that the test
names, and on a real Windows ``tools/windows_check.py`` prints each row that differs. Where such a
run contradicts a row, the row and the fake kernel change together.

Sources, as in the comments: Microsoft pages by their title; Wine's own tests, which are run on real
Windows (``dlls/kernel32/tests/pipe.c``, ``dlls/ntdll/tests/pipe.c``); ReactOS's driver ``npfs``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from npipe.transport.windows.kernel32 import Kernel32
from windows_steps.raw import MESSAGES, Pipe, in_ended_thread

__all__ = ["HELD_NAME", "KERNEL", "TRACKING", "Row", "held_name", "rows", "tracking"]

SQOS, IDENTIFICATION, DYNAMIC = 0x100000, 0x10000, 0x40000
QUALITIES: Final = {
    "none": 0,
    "static": SQOS | IDENTIFICATION,
    "dynamic": SQOS | IDENTIFICATION | DYNAMIC,
    "anonymous": SQOS,
}

#: Probe A: the code of asking for a client's SID before and after a read, by the client's quality
#: of service and by whether ConnectNamedPipe was called before it came. ERROR_CANNOT_IMPERSONATE
#: (1368): "until data has been read from that pipe"; an anonymous token cannot be opened (1347).
#: None: not documented (npfs forgets a static client that came first; npipe opens with dynamic
#: tracking, for which this makes no difference).
TRACKING: Final[dict[tuple[str, str], tuple[int | None, int | None]]] = {
    ("none", "listened"): (1368, 0),
    ("static", "listened"): (0, 0),
    ("dynamic", "listened"): (1368, 0),
    ("anonymous", "listened"): (1347, 1347),
    ("none", "came first"): (1368, 0),
    ("static", "came first"): (None, None),
    ("dynamic", "came first"): (1368, 0),
    ("anonymous", "came first"): (1347, 1347),
}

#: Probe B: the codes for a name whose server has ended while a client holds its pipe, and after
#: that client has closed. An instance is deleted when its last handle is closed, the client's
#: included (Microsoft page "CreateNamedPipe"); one that was disconnected, with its server's (npfs).
HELD_NAME: Final[dict[tuple[str, str], int]] = {
    ("held", "WaitNamedPipe"): 121,
    ("held", "CreateFile"): 2,
    ("held", "CreateNamedPipe, the first instance"): 5,
    ("held", "CreateNamedPipe, a further instance"): 0,
    ("client closed", "WaitNamedPipe"): 2,
    ("client closed", "CreateNamedPipe, the first instance"): 0,
    ("disconnected, held", "WaitNamedPipe"): 2,
    ("disconnected, held", "CreateFile"): 2,
    ("disconnected, held", "CreateNamedPipe, the first instance"): 0,
}


def tracking(api: Kernel32) -> Iterator[tuple[str, Any, Any]]:
    """Run probe A; yield (what, assumed, seen)."""
    _, user, _ = api.process_sids()
    for (quality, order), assumed in TRACKING.items():
        with Pipe(api) as pipe:
            server = pipe.server()
            if order == "listened":
                pipe.listen(server)
            client = pipe.client(QUALITIES[quality])
            if order == "came first":
                pipe.listen(server)
            before = api.client_sid(server)
            pipe.transfer(client, server)
            after = api.client_sid(server)
        for when, code, seen in zip(("", ", after a read"), assumed, (before, after), strict=True):
            wanted = None if code is None else (code, "" if code else user)
            yield f"SID of a client, quality {quality}, {order}{when}", wanted, seen


def held_name(
    api: Kernel32, pipe: Pipe, end_server: Callable[[], None], state: str
) -> Iterator[tuple[str, Any, Any]]:
    """Run probe B on a pipe with a server and one client; yield (what, assumed, seen)."""
    (client,) = pipe._handles[-1:]
    end_server()
    states = [state, "client closed"] if state == "held" else [state]
    for each in states:
        if each == "client closed":
            pipe.close(client)
        for (when, what), assumed in HELD_NAME.items():
            if when == each:
                yield f"{each}: {what}", assumed, _ask(api, pipe, what)


def _ask(api: Kernel32, pipe: Pipe, what: str) -> int:
    if what == "WaitNamedPipe":
        return api.WaitNamedPipe(pipe.path, 1)
    code, handle = (
        pipe.open() if what == "CreateFile" else pipe.create(first=what.endswith("first instance"))
    )
    if not code:
        pipe.close(handle)
    return code


@dataclass(frozen=True)
class Row:
    """One fact: what it is, what is documented, and what asks a kernel for it."""

    what: str
    assumed: Any
    ask: Callable[[Kernel32], Any]


def _ended_thread(begin: Callable[[Pipe, int, int], Any], *, connected: bool = True) -> Any:
    def ask(api: Kernel32) -> int:
        with Pipe(api) as pipe:
            server = pipe.server()
            client = pipe.client() if connected else 0
            began = in_ended_thread(lambda: begin(pipe, server, client))
            return pipe.end(server, began)

    return ask


def _returns_while_pending(api: Kernel32) -> bool:
    with Pipe(api) as pipe:
        server = pipe.server()
        pipe.client()
        began = pipe.read(server)
        api.SetEvent(began.event)
        api.GetOverlappedResult(server, began.reference, True)
        return began.pending


def _second_listen(api: Kernel32) -> tuple[int, int, int, int]:
    with Pipe(api) as pipe:
        server = pipe.server()
        first, second = pipe.listen(server), pipe.listen(server)
        pipe.client()
        return first.code, second.code, pipe.end(server, first), pipe.end(server, second)


def _failed_at_once(api: Kernel32) -> tuple[int, bool]:
    with Pipe(api) as pipe:
        server = pipe.server()
        pipe.close(pipe.client())
        began = pipe.read(server)
        return began.code, began.pending


def _early_cancel(api: Kernel32) -> tuple[int, int]:
    """Cancel a thread before it calls anything; then have it flush what is unread, and read it."""
    with Pipe(api) as pipe:
        server = pipe.server()
        client = pipe.client()
        pipe.end(client, pipe.write(client))
        go, codes = threading.Event(), list[int]()

        def flush() -> None:
            go.wait()
            codes.append(api.FlushFileBuffers(client))

        thread = threading.Thread(target=flush)
        thread.start()
        cancelled = api.CancelSynchronousIo(thread.native_id or 0)
        go.set()
        pipe.end(server, pipe.read(server))
        thread.join(60)
        return cancelled, codes[0]


def _disconnected(api: Kernel32) -> tuple[int, int, int]:
    with Pipe(api) as pipe:
        server = pipe.server()
        client = pipe.client()
        api.DisconnectNamedPipe(server)
        again = api.DisconnectNamedPipe(server)
        return again, api.PeekNamedPipe(server)[0], api.PeekNamedPipe(client)[0]


def _opens(change: Callable[[str], str]) -> Callable[[Kernel32], int]:
    def ask(api: Kernel32) -> int:
        with Pipe(api) as pipe:
            pipe.server()
            return pipe.open(path=change(pipe.path))[0]

    return ask


def _waits(change: Callable[[str], str]) -> Callable[[Kernel32], int]:
    def ask(api: Kernel32) -> int:
        with Pipe(api) as pipe:
            pipe.server()
            return api.WaitNamedPipe(change(pipe.path), 1)

    return ask


def _below(api: Kernel32) -> int:
    with Pipe(api) as pipe:
        pipe.server()
        return pipe.create(path=pipe.path + r"\below")[0]


def _default_owner(api: Kernel32) -> bool:
    with Pipe(api, sddl="D:P(A;;FA;;;WD)") as pipe:
        expected = "S-1-5-32-544" if api.is_administrator() else api.process_sids()[1]
        return api.pipe_owner(pipe.server()) == (0, expected)


def _access(aces: str) -> Callable[[Kernel32], int]:
    def ask(api: Kernel32) -> int:
        user = api.process_sids()[1]
        with Pipe(api, sddl=f"O:{user}D:P{aces.format(user=user)}") as pipe:
            pipe.server()
            return pipe.open()[0]

    return ask


def _level(api: Kernel32) -> tuple[int, int]:
    user = api.process_sids()[1]
    with Pipe(api, sddl=f"O:{user}D:P(A;;FA;;;{user})S:(ML;;NW;;;LW)") as pipe:
        return api.pipe_level(pipe.server())


def _sizes(api: Kernel32) -> bool:
    with Pipe(api, size=1000) as pipe:
        return min(api.GetNamedPipeInfo(pipe.server())[2:]) >= 1000


def _busy(api: Kernel32) -> int:
    with Pipe(api) as pipe:
        pipe.server()
        pipe.client()
        return api.WaitNamedPipe(pipe.path, 1)


def _rest_of_a_write(api: Kernel32) -> tuple[int, int, int]:
    """Cancel a write that was read in part; return its code, its count, and what is left."""
    with Pipe(api, size=4096) as pipe:
        server = pipe.server()
        client = pipe.client()
        began = pipe.write(client, bytes(1 << 20))
        pipe.end(server, pipe.read(server, 4096))
        api.CancelIoEx(client, began.reference)
        api.WaitForSingleObject(began.event, 5000)
        code, count = api.GetOverlappedResult(client, began.reference, False)
        return code, count, api.PeekNamedPipe(server)[1]


def _part_of_a_message(api: Kernel32) -> tuple[int, bytes]:
    with Pipe(api, mode=MESSAGES) as pipe:
        server = pipe.server()
        client = pipe.client()
        pipe.write(client, b"message")
        began = pipe.read(server, 4)
        return pipe.end(server, began), bytes(began.memory)


#: What is documented beside the two probes; each row was once otherwise in the fake kernel.
KERNEL: Final[tuple[Row, ...]] = (
    # Microsoft page "WSASend": all I/O initiated by a thread is canceled when that thread exits.
    Row("code of a read whose thread has ended", 995, _ended_thread(lambda p, s, c: p.read(s))),
    Row(
        "code of a ConnectNamedPipe whose thread has ended",
        995,
        _ended_thread(lambda p, s, c: p.listen(s), connected=False),
    ),
    Row(
        "code of a write that does not fit, whose thread has ended",
        995,
        _ended_thread(lambda p, s, c: p.write(s, bytes(1 << 20))),
    ),
    # Microsoft page "GetOverlappedResult": with bWait it waits for the event, once.
    Row("GetOverlappedResult returns for its event, still pending", True, _returns_while_pending),
    Row("two ConnectNamedPipes on one handle, and one client", (997, 997, 0, 0), _second_listen),
    # Wine's tests, test_overlapped_error: the status stays at pending.
    Row("a read that fails at once: code, and its status pending", (109, True), _failed_at_once),
    # Microsoft page "CancelSynchronousIo": ERROR_NOT_FOUND when nothing is to be cancelled.
    Row("an early CancelSynchronousIo, and the flush after it", (1168, 0), _early_cancel),
    # Wine's tests, test_disconnect: ERROR_BAD_PIPE at the server, NOT_CONNECTED at the client.
    Row("a second Disconnect; Peek at the server, the client", (233, 230, 233), _disconnected),
    # Microsoft page "Path Normalization"; WaitNamedPipe takes the name as it is (npfs).
    Row("CreateFile with a trailing dot", 0, _opens(lambda path: path + ".")),
    Row("CreateFile with a trailing space", 0, _opens(lambda path: path + " ")),
    Row("CreateFile in upper case", 0, _opens(str.upper)),
    Row(r"CreateFile of x\..\name", 0, _opens(lambda path: path.replace("npipe-", r"x\..\npipe-"))),
    Row(r"CreateFile by \\?\pipe", 0, _opens(lambda path: path.replace("\\\\.\\", "\\\\?\\"))),
    Row("WaitNamedPipe with a trailing dot", 2, _waits(lambda path: path + ".")),
    Row("WaitNamedPipe in upper case", 0, _waits(str.upper)),
    Row("WaitNamedPipe of a name below one", 0, _waits(lambda path: path + r"\below")),
    Row("CreateNamedPipe below a name", 123, _below),
    Row("WaitNamedPipe where every instance is busy", 121, _busy),
    # Microsoft page "Default owner": that of the token, Administrators for an elevated one.
    Row("the owner without O: is that of the token", True, _default_owner),
    # Microsoft page "How AccessCheck works": the order of the entries, groups, denials.
    Row("access by a group", 0, _access("(A;;FA;;;WD)")),
    Row("access that is denied before it is allowed", 5, _access("(D;;FA;;;{user})(A;;FA;;;WD)")),
    Row("access that is denied after it was allowed", 0, _access("(A;;FA;;;WD)(D;;FA;;;{user})")),
    Row("access with an empty list", 5, _access("")),
    Row("access to read only", 5, _access("(A;;FR;;;{user})")),
    # Microsoft page "Mandatory Integrity Control".
    Row("a low label, read back", (0, 0x1000), _level),
    # Microsoft page "CreateNamedPipe": the sizes are advisory.
    Row("a buffer is as large as asked for, or larger", True, _sizes),
    # npfs: NpCancelDataQueueIrp takes what is left of a write.
    Row("a cancelled write that was read in part", (995, 0, 0), _rest_of_a_write),
    Row("a part of a message", (234, b"mess"), _part_of_a_message),
)


def rows(api: Kernel32) -> Iterator[tuple[str, Any, Any]]:
    """Ask a kernel for each row; yield (what, assumed, seen)."""
    for row in KERNEL:
        yield row.what, row.assumed, row.ask(api)
