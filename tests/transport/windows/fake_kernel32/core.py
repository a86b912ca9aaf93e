"""The base of the fake kernel: handles, events, completion, and the controls that tests use.

An operation ends in two steps, as on Windows: its status is written, and later its event is set
and its packet queued. ``hold_events`` keeps the second step back until ``deliver``. When a thread
ends, what it issued ends with it (Microsoft page "WSASend": all I/O initiated by a thread is
canceled when it exits), except on a handle that is bound to a completion port and without an event.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.kernel32.constants import INFINITE, STATUS_PENDING, WAIT_TIMEOUT
from npipe.transport.windows.winerror import (
    ERROR_INVALID_HANDLE,
    ERROR_IO_INCOMPLETE,
    ERROR_IO_PENDING,
    ERROR_MORE_DATA,
    ERROR_NOT_FOUND,
    ERROR_OPERATION_ABORTED,
)
from transport.windows.fake_kernel32.objects import End, Event, Instance, Name, Op, Port
from transport.windows.fake_kernel32.tokens import Token


class Core(Kernel32):
    """What every part of the fake kernel uses."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._handles: dict[int, Any] = {}
        self._numbers = itertools.count(0x100, 4)
        self._names: dict[str, Name] = {}
        self._failures: dict[str, list[int]] = {}
        self._held_events: list[Event] = []
        self._held_packets: list[tuple[Port, int]] = []
        self._local = threading.local()
        self._in_call: set[int] = set()  # ids of threads in a call that CancelSynchronousIo ends
        self._cancelled: set[int] = set()
        self.hooks: dict[str, Callable[[], None]] = {}
        self.faults: list[str] = []
        self.calls: list[tuple[Any, ...]] = []
        self.hold_events = False
        self.token = Token()  # whose calls are made
        self.remote = False  # whether the next clients come over the network
        self.pid, self.session = 4321, 1

    # -- for tests

    @property
    def user(self) -> str:
        return self.token.user

    @user.setter
    def user(self, sid: str) -> None:
        self.token = Token(sid)

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

    def until(self, condition: Callable[[], object]) -> None:
        """Return once the condition is true. Raises TimeoutError after 60 s."""
        with self._changed:
            if not self._changed.wait_for(condition, 60):
                raise TimeoutError("it did not come to that")

    def in_ended_thread(self, call: Callable[[], object]) -> None:
        """Make a call in a thread and return once that thread, and its I/O, has ended."""
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(60)

    def deliver(self) -> None:
        """Set the events that ``hold_events`` kept back, and keep back no more."""
        with self._changed:
            self.hold_events = False
            for event in self._held_events:
                event.set = True
            self._held_events.clear()
            for port, address in self._held_packets:
                port.packets.append(address)
            self._held_packets.clear()
            self._changed.notify_all()

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
        with self._changed:
            self._changed.notify_all()  # for ``until``
        if hook := self.hooks.pop(call, None):
            hook()
        failures = self._failures.get(call)
        return failures.pop(0) if failures else 0

    def _new(self, thing: Any) -> int:
        handle = next(self._numbers)
        self._handles[handle] = thing
        return handle

    def _get(self, handle: int, kind: type[Any], call: str) -> Any:
        thing = self._handles.get(handle & ~3)
        if not isinstance(thing, kind):
            self.faults.append(f"{call} on handle {handle}, which is no open {kind.__name__}")
            return None
        return thing

    def _start(self, end: End, reference: Any, memory: Any = None, size: int = 0) -> Op:
        op = Op(end, reference._obj, memory, size)
        op.overlapped.Internal = STATUS_PENDING
        if event := self._event_of(op, "start"):
            event.set = False
        if not hasattr(self._local, "end"):
            self._local.end = _ThreadEnd(functools.partial(self._thread_ended, op.thread))
        return op

    def _fail(self, reference: Any, code: int) -> int:
        """Fail at once. The status stays at pending for ever, as kernel32 leaves it."""
        reference._obj.Internal = STATUS_PENDING
        return code

    def _complete(self, op: Op, code: int, count: int = 0) -> None:
        self._write_status(op, code, count)
        self._signal(op)

    def _write_status(self, op: Op, code: int, count: int) -> None:
        op.overlapped.InternalHigh = count
        op.overlapped.Internal = code and 0xC0000000 | code

    def _signal(self, op: Op) -> None:
        event = self._event_of(op, "completion")
        if event and self.hold_events:
            self._held_events.append(event)
        elif event:
            event.set = True
        if op.returned:
            self._queue_packet(op)
        self._changed.notify_all()

    def _outcome(self, op: Op) -> int:
        """Return the code of the call that issued the operation, and queue a packet if due."""
        if op.pending:
            op.returned = True
            return ERROR_IO_PENDING
        code = int(op.overlapped.Internal & 0xFFFF)
        if code == ERROR_MORE_DATA and op.end.skips:
            self.faults.append("whether a warning queues a packet in this mode is not documented")
        if not op.end.skips:
            self._queue_packet(op)
        return code

    def _queue_packet(self, op: Op) -> None:
        port = op.end.port
        if port is None or (op.overlapped.hEvent or 0) & 1:
            return
        address = ctypes.addressof(op.overlapped)
        if self.hold_events:
            self._held_packets.append((port, address))
        else:
            port.packets.append(address)

    def _event_of(self, op: Op, call: str) -> Event | None:
        if not op.overlapped.hEvent:
            return None
        event: Event | None = self._get(op.overlapped.hEvent, Event, call)
        return event

    # -- the end of an operation, a call, a thread

    def _operations(self, end: End) -> list[tuple[list[Any], Any, Op]]:
        """Return (the list that holds it, its entry there, the operation) of all of an end."""
        found: list[tuple[list[Any], Any, Op]] = [(end.reads, op, op) for op in end.reads]
        if end.server:
            found += [(end.pipe.connects, op, op) for op in end.pipe.connects]
        if end.other:
            waiting = end.other.incoming
            found += [(waiting, entry, entry.op) for entry in waiting if entry.op]
        return found

    def _thread_ended(self, thread: int) -> None:
        with self._changed:
            mine = [
                each
                for end in self._all(End)
                for each in self._operations(end)
                if each[2].thread == thread and not (end.port and not each[2].overlapped.hEvent)
            ]
            for holder, item, op in mine:
                holder.remove(item)
                self._write_status(op, ERROR_OPERATION_ABORTED, 0)
            for _, _, op in mine:
                self._signal(op)

    def CancelIoEx(self, handle: int, overlapped: Any) -> int:
        with self._changed:
            if code := self._enter("CancelIoEx", handle):
                return code
            end = self._get(handle, End, "CancelIoEx")
            if not end:
                return ERROR_INVALID_HANDLE
            state = overlapped and overlapped._obj  # None: all of this handle
            mine = [
                each
                for each in self._operations(end)
                if state is None or each[2].overlapped is state
            ]
            for holder, item, op in mine:
                # What is left of a write that was read in part vanishes, and counts as nothing.
                holder.remove(item)
                self._complete(op, ERROR_OPERATION_ABORTED)
            return 0 if mine else ERROR_NOT_FOUND

    def GetOverlappedResult(self, handle: int, overlapped: Any, wait: bool) -> tuple[int, int]:
        """Return (code, count). With ``wait``: one wait for the event, then what there is."""
        state = overlapped._obj
        with self._changed:
            self._enter("GetOverlappedResult", handle, wait)
            event = self._handles.get((state.hEvent or 0) & ~3)
            if wait and state.Internal == STATUS_PENDING and event:
                self._changed.wait_for(lambda: event.set)
            if state.Internal == STATUS_PENDING:
                return ERROR_IO_INCOMPLETE, 0
            return state.Internal & 0xFFFF, state.InternalHigh

    def CancelSynchronousIo(self, thread_id: int) -> int:
        with self._changed:
            if code := self._enter("CancelSynchronousIo", thread_id):
                return code
            if thread_id not in self._in_call:
                return ERROR_NOT_FOUND  # a cancel that comes too early is lost
            self._cancelled.add(thread_id)
            self._changed.notify_all()
            return 0

    def _block(self, over: Callable[[], object]) -> bool:
        """Wait in a call that blocks; False: CancelSynchronousIo ended it."""
        me = threading.get_native_id()
        self._in_call.add(me)
        self._changed.notify_all()
        self._changed.wait_for(lambda: me in self._cancelled or over())
        self._in_call.discard(me)
        ended = me in self._cancelled
        self._cancelled.discard(me)
        self._changed.notify_all()  # for ``until``
        return not ended

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
            if isinstance(thing, Port) and thing.waiters:
                self.faults.append(f"port {handle} closed under a waiter")
            if isinstance(thing, End):
                if self._operations(thing):
                    self.faults.append("a pipe was closed with an operation pending on it")
                self._close_end(thing)
            self._changed.notify_all()
            return 0

    def _close_end(self, end: End) -> None:
        raise NotImplementedError

    def _drop(self, instance: Instance) -> None:
        """Forget an instance without handles, and the name with its last instance."""
        name = instance.name
        if instance.dead and instance in name.instances:
            name.instances.remove(instance)
        if not name.instances:
            self._names = {key: each for key, each in self._names.items() if each is not name}

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


class _ThreadEnd:
    """Calls back when the thread whose local storage holds it has ended."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def __del__(self) -> None:
        self._ended()
