"""A kernel32 in memory: named pipes as Windows documents them, on any system.

For what no real system does on demand (a failing call, a cancel that loses the race against its
operation) and for what Wine does not enforce (the first instance, the descriptor, remote clients).
Where Windows and Wine were measured to agree, it does what they do.

``ledger`` counts what is open; closing twice, using what is closed, freeing memory that an
operation still writes to and closing an event that somebody waits for end up in ``faults``.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from npipe.transport.windows.kernel32 import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    INFINITE,
    OVERLAPPED,
    PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_SERVER_END,
    PIPE_TYPE_MESSAGE,
    STATUS_PENDING,
    WAIT_TIMEOUT,
    Kernel32,
)
from npipe.transport.windows.winerror import (
    ERROR_ACCESS_DENIED,
    ERROR_BROKEN_PIPE,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_HANDLE,
    ERROR_INVALID_PARAMETER,
    ERROR_IO_INCOMPLETE,
    ERROR_IO_PENDING,
    ERROR_MORE_DATA,
    ERROR_NO_DATA,
    ERROR_NOT_FOUND,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_BUSY,
    ERROR_PIPE_CONNECTED,
    ERROR_PIPE_LISTENING,
    ERROR_PIPE_NOT_CONNECTED,
    ERROR_SEM_TIMEOUT,
)

USER = "S-1-5-21-1-2-3-1001"
GROUP = "S-1-5-21-1-2-3-513"
OTHER = "S-1-5-21-1-2-3-1002"
_EVERYONE = "S-1-1-0"
_WELL_KNOWN = {"SY": "S-1-5-18", "WD": _EVERYONE, "BA": "S-1-5-32-544"}
_CREATE_INSTANCE = 0x4


class Op:
    """An operation under way: where its result goes, and what it moves."""

    def __init__(self, overlapped: OVERLAPPED, memory: Any = None, size: int = 0) -> None:
        self.overlapped = overlapped
        self.memory = memory
        self.size = size


@dataclass(eq=False)
class Entry:
    """Data on its way: a write whose ``op`` is still pending, or bytes that the kernel holds."""

    data: bytes
    taken: int = 0
    op: Op | None = None


@dataclass(eq=False)
class End:
    """One end of an instance; ``incoming`` is what it can read."""

    pipe: Instance
    server: bool
    message_reads: bool = False
    open: bool = True
    incoming: list[Entry] = field(default_factory=list)
    reads: list[Op] = field(default_factory=list)

    @property
    def other(self) -> End | None:
        return self.pipe.client if self.server else self.pipe.server


@dataclass(eq=False)
class Instance:
    name: Name
    state: str = "listening"  # connected, closing (the client has gone), disconnected
    server: End | None = None
    client: End | None = None
    connect: Op | None = None
    pids: tuple[int, int] = (0, 0)
    flags: int = 0


@dataclass(eq=False)
class Name:
    descriptor: str
    mode: int
    quota: int
    instances: list[Instance] = field(default_factory=list)


@dataclass(eq=False)
class Event:
    set: bool = False
    waiters: int = 0


class FakeKernel32(Kernel32):
    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._handles: dict[int, Any] = {}
        self._numbers = itertools.count(0x100, 4)
        self._descriptors: dict[int, str] = {}
        self._names: dict[str, Name] = {}
        self._flushes: set[int] = set()  # ids of threads that a CancelSynchronousIo is to end
        self._failures: dict[str, list[int]] = {}
        self.hooks: dict[str, Callable[[], None]] = {}
        self.faults: list[str] = []
        self.calls: list[tuple[Any, ...]] = []
        self.user = USER  # whose token the calls are made with
        self.remote = False  # the next clients come over the network
        self.pid = 4321

    # -- for tests

    def fail(self, call: str, *codes: int) -> None:
        """Have the next calls of this name fail with these codes (0: let that one through)."""
        self._failures.setdefault(call, []).extend(codes)

    def made(self, call: str) -> list[tuple[Any, ...]]:
        """Return the arguments of the calls of this name so far."""
        return [arguments for name, *arguments in list(self.calls) if name == call]

    @property
    def ledger(self) -> dict[str, int]:
        """Return how many handles and descriptors are open."""
        with self._changed:
            return {"handles": len(self._handles), "descriptors": len(self._descriptors)}

    def waiting(self, count: int = 1) -> None:
        """Return once that many threads wait for an event. Raises TimeoutError after 60 s."""
        self.until(lambda: sum(e.waiters for e in self._all(Event)) >= count)

    def pending(self, count: int = 1) -> None:
        """Return once that many reads and writes are pending. Raises TimeoutError after 60 s."""
        self.until(lambda: self._pending() >= count)

    def abort_connects(self) -> None:
        """Do what Windows does when the thread that began to wait for clients ends."""
        with self._changed:
            for end in self._all(End):
                if end.server and end.pipe.connect:
                    self._complete(end.pipe.connect, ERROR_OPERATION_ABORTED)
                    end.pipe.connect = None

    def until(self, condition: Callable[[], object]) -> None:
        """Return once the condition is true. Raises TimeoutError after 60 s."""
        with self._changed:
            if not self._changed.wait_for(condition, 60):
                raise TimeoutError("it did not come to that")

    def _pending(self) -> int:
        ends = self._all(End)
        writes = sum(entry.op is not None for end in ends for entry in end.incoming)
        return writes + sum(len(end.reads) for end in ends)

    def _all(self, kind: type[Any]) -> list[Any]:
        return [thing for thing in self._handles.values() if isinstance(thing, kind)]

    # -- plumbing

    def _enter(self, call: str, *arguments: Any) -> int:
        """Note the call; return the code that it is to fail with, or 0."""
        self.calls.append((call, *arguments))
        if hook := self.hooks.pop(call, None):
            hook()
        failures = self._failures.get(call)
        return failures.pop(0) if failures else 0

    def _new(self, thing: Any) -> int:
        handle = next(self._numbers)
        self._handles[handle] = thing
        return handle

    def _get(self, handle: int, kind: type[Any], call: str) -> Any:
        thing = self._handles.get(handle)
        if not isinstance(thing, kind):
            self.faults.append(f"{call} on handle {handle}, which is no open {kind.__name__}")
            return None
        return thing

    def _complete(self, op: Op, code: int, count: int = 0) -> None:
        op.overlapped.InternalHigh = count
        op.overlapped.Internal = code and 0xC0000000 | code
        event = self._get(op.overlapped.hEvent or 0, Event, "completion")
        if event:
            event.set = True
        self._changed.notify_all()

    def _start(self, reference: Any) -> Op:
        op = Op(reference._obj)
        op.overlapped.Internal = STATUS_PENDING
        event = self._get(op.overlapped.hEvent or 0, Event, "start")
        if event:
            event.set = False
        return op

    # -- pipes

    def CreateNamedPipe(
        self,
        name: str,
        open_mode: int,
        pipe_mode: int,
        *,
        instances: int,
        buffer_size: int,
        descriptor: int | None,
    ) -> tuple[int, int]:
        with self._changed:
            sddl = self._descriptors.get(descriptor or 0, "")
            if code := self._enter("CreateNamedPipe", name, open_mode, pipe_mode, sddl):
                return code, 0
            known = self._names.get(name.lower())
            if known and open_mode & FILE_FLAG_FIRST_PIPE_INSTANCE:
                return ERROR_ACCESS_DENIED, 0
            if known and not self._granted(known.descriptor) & _CREATE_INSTANCE:
                return ERROR_ACCESS_DENIED, 0
            if not open_mode & FILE_FLAG_OVERLAPPED or not 1 <= instances <= 255:
                return ERROR_INVALID_PARAMETER, 0
            if not known:
                known = self._names[name.lower()] = Name(sddl, pipe_mode, buffer_size)
            instance = Instance(known)
            instance.server = End(instance, True, bool(pipe_mode & 0x2))
            known.instances.append(instance)
            self._changed.notify_all()
            return 0, self._new(instance.server)

    def CreateFile(self, name: str, access: int, flags: int) -> tuple[int, int]:
        with self._changed:
            if code := self._enter("CreateFile", name, access, flags):
                return code, 0
            known = self._names.get(name.lower())
            if not known:
                return ERROR_FILE_NOT_FOUND, 0
            if self.remote and known.mode & PIPE_REJECT_REMOTE_CLIENTS:
                return ERROR_ACCESS_DENIED, 0
            # NPFS does not ask a client for the right that means "make instances".
            if access & ~_CREATE_INSTANCE & ~self._granted(known.descriptor):
                return ERROR_ACCESS_DENIED, 0
            free = next((i for i in known.instances if i.state == "listening"), None)
            if not free:
                return ERROR_PIPE_BUSY, 0
            free.state, free.flags = "connected", flags
            free.client = End(free, False)
            if free.connect:
                self._complete(free.connect, 0)
                free.connect = None
            return 0, self._new(free.client)

    def _granted(self, sddl: str) -> int:
        mask = 0
        for rights, sid in re.findall(r"\(A;;(\w+);;;([\w-]+)\)", sddl):
            if _WELL_KNOWN.get(sid, sid) in (self.user, _EVERYONE):
                mask |= 0x1F01FF if rights == "FA" else int(rights, 16)
        return mask

    def ConnectNamedPipe(self, handle: int, overlapped: Any) -> int:
        with self._changed:
            if code := self._enter("ConnectNamedPipe", handle):
                return code
            end = self._get(handle, End, "ConnectNamedPipe")
            if not end:
                return ERROR_INVALID_HANDLE
            instance = end.pipe
            if instance.state == "connected":
                return ERROR_PIPE_CONNECTED
            if instance.state == "closing":
                return ERROR_NO_DATA
            instance.state = "listening"
            instance.connect = self._start(overlapped)
            self._changed.notify_all()
            return ERROR_IO_PENDING

    def DisconnectNamedPipe(self, handle: int) -> int:
        with self._changed:
            if code := self._enter("DisconnectNamedPipe", handle):
                return code
            end = self._get(handle, End, "DisconnectNamedPipe")
            if end.pipe.state == "listening":
                return ERROR_PIPE_LISTENING
            self._sever(end.pipe, ERROR_PIPE_NOT_CONNECTED)
            end.incoming.clear()
            if end.pipe.client:
                end.pipe.client.incoming.clear()
            end.pipe.client, end.pipe.state = None, "disconnected"
            return 0

    def WaitNamedPipe(self, name: str, milliseconds: int) -> int:
        with self._changed:
            if code := self._enter("WaitNamedPipe", name, milliseconds):
                return code
            known = self._names.get(name.lower())
            if not known:
                return ERROR_FILE_NOT_FOUND
            if any(instance.state == "listening" for instance in known.instances):
                return 0
            return ERROR_SEM_TIMEOUT

    def PeekNamedPipe(self, handle: int) -> tuple[int, int]:
        with self._changed:
            if code := self._enter("PeekNamedPipe", handle):
                return code, 0
            end = self._get(handle, End, "PeekNamedPipe")
            left = sum(len(entry.data) - entry.taken for entry in end.incoming)
            gone = not end.incoming and self._is_gone(end)
            return ERROR_BROKEN_PIPE if gone else 0, left

    # -- reading and writing

    def ReadFile(self, handle: int, buffer: Any, size: int, overlapped: Any) -> int:
        with self._changed:
            if code := self._enter("ReadFile", handle, size):
                return code
            end = self._get(handle, End, "ReadFile")
            if not end:
                return ERROR_INVALID_HANDLE
            code = self._link_error(end, ERROR_BROKEN_PIPE)
            if code and not (code == ERROR_BROKEN_PIPE and end.incoming):
                return code
            op = self._start(overlapped)
            op.memory, op.size = buffer, size
            end.reads.append(op)
            self._move(end)
            return self._outcome(op)

    def WriteFile(self, handle: int, buffer: Any, size: int, overlapped: Any) -> int:
        with self._changed:
            if code := self._enter("WriteFile", handle, size):
                return code
            end = self._get(handle, End, "WriteFile")
            if not end:
                return ERROR_INVALID_HANDLE
            if code := self._link_error(end, ERROR_NO_DATA):
                return code
            op = self._start(overlapped)
            op.size = size
            if not size and not end.pipe.name.mode & PIPE_TYPE_MESSAGE:
                self._complete(op, 0)
                return 0
            data = buffer[:size] if isinstance(buffer, bytes) else _memory(buffer, size)
            assert end.other
            end.other.incoming.append(Entry(data, op=op))
            self._move(end.other)
            return self._outcome(op)

    def _outcome(self, op: Op) -> int:
        state = op.overlapped.Internal
        return ERROR_IO_PENDING if state == STATUS_PENDING else state & 0xFFFF

    def _link_error(self, end: End, gone: int) -> int:
        if end.pipe.state == "disconnected" or (not end.server and end.pipe.client is not end):
            return ERROR_PIPE_NOT_CONNECTED
        if end.pipe.state == "listening":
            return ERROR_PIPE_LISTENING
        return gone if self._is_gone(end) else 0

    def _is_gone(self, end: End) -> bool:
        return end.other is None or not end.other.open

    def _move(self, end: End) -> None:
        """Give waiting reads what has come; complete the writes that fit the buffer by now."""
        messages = bool(end.pipe.name.mode & PIPE_TYPE_MESSAGE)
        while end.reads and end.incoming:
            op, got, code = end.reads.pop(0), bytearray(), 0
            while end.incoming:
                entry = end.incoming[0]
                part = entry.data[entry.taken : entry.taken + op.size - len(got)]
                got += part
                entry.taken += len(part)
                if entry.taken < len(entry.data):
                    code = ERROR_MORE_DATA if end.message_reads else 0
                    break
                end.incoming.pop(0)
                if entry.op:
                    self._complete(entry.op, 0, len(entry.data))
                # Byte reads run on over the ends of messages, and swallow empty ones.
                if end.message_reads or (not got and messages):
                    break
            if got:
                ctypes.memmove(op.memory, bytes(got), len(got))
            self._complete(op, code, len(got))
        held = 0
        for entry in end.incoming:
            held += len(entry.data) - entry.taken
            if entry.op and held <= end.pipe.name.quota:
                self._complete(entry.op, 0, len(entry.data))
                entry.op = None

    def _sever(self, instance: Instance, code: int) -> None:
        """End what is pending at both ends: the link is gone."""
        for end in (instance.server, instance.client):
            if end:
                for op in end.reads:
                    self._complete(op, code)
                end.reads.clear()
                for entry in end.incoming:
                    if entry.op:
                        self._complete(entry.op, code)
                        entry.op = None

    def GetOverlappedResult(self, handle: int, overlapped: Any, wait: bool) -> tuple[int, int]:
        state: OVERLAPPED = overlapped._obj
        with self._changed:
            self._enter("GetOverlappedResult", handle, wait)
            if wait:
                self._changed.wait_for(lambda: state.Internal != STATUS_PENDING)
            if state.Internal == STATUS_PENDING:
                return ERROR_IO_INCOMPLETE, 0
            return state.Internal & 0xFFFF, state.InternalHigh

    def CancelIoEx(self, handle: int, overlapped: Any) -> int:
        with self._changed:
            if code := self._enter("CancelIoEx", handle):
                return code
            end = self._get(handle, End, "CancelIoEx")
            if not end:
                return ERROR_INVALID_HANDLE
            state = overlapped._obj
            if end.pipe.connect and end.pipe.connect.overlapped is state:
                self._complete(end.pipe.connect, ERROR_OPERATION_ABORTED)
                end.pipe.connect = None
                return 0
            for op in [op for op in end.reads if op.overlapped is state]:
                end.reads.remove(op)
                self._complete(op, ERROR_OPERATION_ABORTED)
                return 0
            for entry in end.other.incoming if end.other else ():
                if entry.op and entry.op.overlapped is state:
                    # What is left of it vanishes, and it counts as nothing.
                    end.other.incoming.remove(entry)
                    self._complete(entry.op, ERROR_OPERATION_ABORTED)
                    return 0
            return ERROR_NOT_FOUND

    def FlushFileBuffers(self, handle: int) -> int:
        me = threading.get_native_id()
        with self._changed:
            if code := self._enter("FlushFileBuffers", handle):
                return code
            end = self._get(handle, End, "FlushFileBuffers")

            def over() -> bool:
                return me in self._flushes or self._is_gone(end) or not end.other.incoming

            self._changed.wait_for(over)
            if me in self._flushes:
                self._flushes.remove(me)
                return ERROR_OPERATION_ABORTED
            return ERROR_BROKEN_PIPE if self._is_gone(end) else 0

    def CancelSynchronousIo(self, thread_id: int) -> int:
        with self._changed:
            self._enter("CancelSynchronousIo", thread_id)
            self._flushes.add(thread_id)
            self._changed.notify_all()
            return 0

    # -- questions

    def GetNamedPipeInfo(self, handle: int) -> tuple[int, int, int, int]:
        with self._changed:
            if code := self._enter("GetNamedPipeInfo", handle):
                return code, 0, 0, 0
            end = self._handles.get(handle)
            if not isinstance(end, End):
                return ERROR_INVALID_HANDLE, 0, 0, 0
            name = end.pipe.name
            kind = name.mode & PIPE_TYPE_MESSAGE
            return 0, kind | (PIPE_SERVER_END if end.server else 0), name.quota, name.quota

    def SetNamedPipeHandleState(self, handle: int, mode: int) -> int:
        with self._changed:
            if code := self._enter("SetNamedPipeHandleState", handle, mode):
                return code
            self._get(handle, End, "SetNamedPipeHandleState").message_reads = bool(mode & 0x2)
            return 0

    def GetNamedPipeProcessId(self, handle: int, *, server: bool) -> int | None:
        return self.pid

    def GetNamedPipeSessionId(self, handle: int, *, server: bool) -> int | None:
        return 1

    def is_overlapped(self, handle: int) -> bool:
        return True

    # -- handles, events

    def CloseHandle(self, handle: int) -> int:
        with self._changed:
            self._enter("CloseHandle", handle)
            thing = self._handles.pop(handle, None)
            if thing is None:
                self.faults.append(f"CloseHandle on handle {handle}, which is not open")
                return ERROR_INVALID_HANDLE
            if isinstance(thing, Event) and thing.waiters:
                self.faults.append(f"event {handle} closed under a waiter")
            if isinstance(thing, End):
                self._close_end(thing)
            self._changed.notify_all()
            return 0

    def _close_end(self, end: End) -> None:
        other = end.other
        writes = other and any(entry.op for entry in other.incoming)
        if end.reads or writes or (end.server and end.pipe.connect):
            self.faults.append("a pipe was closed with an operation pending on it")
        end.open = False
        self._sever(end.pipe, ERROR_BROKEN_PIPE)
        end.incoming.clear()
        if end.server:
            name = end.pipe.name
            name.instances.remove(end.pipe)
            if not name.instances:
                self._names = {key: each for key, each in self._names.items() if each is not name}
        elif end.pipe.client is end:
            end.pipe.state = "closing"

    def CreateEvent(self) -> tuple[int, int]:
        with self._changed:
            code = self._enter("CreateEvent")
            return (code, 0) if code else (0, self._new(Event()))

    def SetEvent(self, event: int) -> int:
        return self._turn_event(event, True)

    def ResetEvent(self, event: int) -> int:
        return self._turn_event(event, False)

    def _turn_event(self, handle: int, on: bool) -> int:
        with self._changed:
            self._enter("SetEvent" if on else "ResetEvent", handle)
            event = self._get(handle, Event, "SetEvent" if on else "ResetEvent")
            if event:
                event.set = on
            self._changed.notify_all()
            return 0

    def WaitForSingleObject(self, handle: int, milliseconds: int) -> int:
        return self.WaitForMultipleObjects([handle], milliseconds)

    def WaitForMultipleObjects(self, handles: list[int], milliseconds: int) -> int:
        with self._changed:
            self._enter("WaitForMultipleObjects", tuple(handles))
            events = [self._get(handle, Event, "WaitFor") for handle in handles]
            limit = None if milliseconds == INFINITE else time.monotonic() + milliseconds / 1000
            for event in events:
                event.waiters += 1
            self._changed.notify_all()
            left = None if limit is None else max(limit - time.monotonic(), 0)
            self._changed.wait_for(lambda: any(event.set for event in events), left)
            for event in events:
                event.waiters -= 1
            return next((i for i, event in enumerate(events) if event.set), WAIT_TIMEOUT)

    # -- security

    def descriptor(self, sddl: str) -> tuple[int, int]:
        with self._changed:
            if code := self._enter("descriptor", sddl):
                return code, 0
            if not re.fullmatch(r"([OG]:[\w-]+)*(D:P?(\([^()]*\))*)?(S:.*)?", sddl):
                return ERROR_INVALID_PARAMETER, 0
            address = next(self._numbers)
            self._descriptors[address] = sddl
            return 0, address

    def LocalFree(self, address: int) -> None:
        with self._changed:
            if self._descriptors.pop(address, None) is None:
                self.faults.append(f"LocalFree of {address}, which is not allocated")

    def pipe_owner(self, handle: int) -> tuple[int, str | None]:
        if code := self._enter("pipe_owner", handle):
            return code, None
        found = re.match(r"O:([\w-]+?)(?=[DGS]:|$)", self._handles[handle].pipe.name.descriptor)
        return 0, found[1] if found else None

    def process_sids(self) -> tuple[int, str, str]:
        return self._enter("process_sids"), self.user, GROUP

    def client_sid(self, handle: int) -> tuple[int, str]:
        if code := self._enter("client_sid", handle):
            return code, ""
        return 0, self.user


def _memory(reference: Any, size: int) -> bytes:
    return ctypes.string_at(ctypes.addressof(reference._obj), size)
