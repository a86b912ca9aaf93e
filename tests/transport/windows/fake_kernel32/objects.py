"""The objects of the fake kernel: pipe names, instances, ends, data queues, events, operations."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from npipe.transport.windows.kernel32.constants import STATUS_PENDING
from npipe.transport.windows.kernel32.memory import OVERLAPPED
from transport.windows.fake_kernel32.tokens import Token

LISTENING, CONNECTED, CLOSING, DISCONNECTED = "listening", "connected", "closing", "disconnected"


class Op:
    """An overlapped operation: where its result goes, what it moves, which thread issued it."""

    def __init__(self, end: End, overlapped: OVERLAPPED, memory: Any = None, size: int = 0) -> None:
        self.end = end
        self.returned = False  # the call that issued it has returned, with ERROR_IO_PENDING
        self.overlapped = overlapped
        self.memory = memory
        self.size = size
        self.thread = threading.get_ident()

    @property
    def pending(self) -> bool:
        return bool(self.overlapped.Internal == STATUS_PENDING)


@dataclass(eq=False)
class Entry:
    """Data on its way: a write whose ``op`` is still pending, or bytes that the kernel holds."""

    data: bytes
    taken: int = 0
    op: Op | None = None
    token: Token | None = None  # the writer's, for a client with dynamic tracking

    @property
    def left(self) -> int:
        return len(self.data) - self.taken


@dataclass(eq=False)
class End:
    """One end of an instance; ``incoming`` is what it can read, ``access`` what it may do."""

    pipe: Instance
    server: bool
    access: int = 0x3
    message_reads: bool = False
    open: bool = True
    incoming: list[Entry] = field(default_factory=list)
    reads: list[Op] = field(default_factory=list)
    pid: int = 0
    session: int = 0
    port: Port | None = None
    skips: bool = False  # FILE_SKIP_COMPLETION_PORT_ON_SUCCESS

    @property
    def other(self) -> End | None:
        return self.pipe.client if self.server else self.pipe.server

    @property
    def gone(self) -> bool:
        """Whether the other end is closed."""
        return self.other is None or not self.other.open

    @property
    def severed(self) -> bool:
        """Whether the server disconnected the pipe that this end belongs to."""
        return self.pipe.state == DISCONNECTED or (not self.server and self.pipe.client is not self)


@dataclass(eq=False)
class Instance:
    """One instance of a pipe: one server end and at most one client end."""

    name: Name
    state: str = LISTENING
    server: End | None = None
    client: End | None = None
    connects: list[Op] = field(default_factory=list)  # every ConnectNamedPipe that is pending
    level: str = "dynamic"  # the client's: anonymous, static or dynamic
    token: Token | None = None  # the client's, as far as the server's end knows it

    @property
    def dead(self) -> bool:
        """Whether no handle is left. A client's handle keeps it alive until disconnected."""
        return not any(end and end.open for end in (self.server, self.client))


@dataclass(eq=False)
class Name:
    """What is common to the instances of one name; made by the first."""

    path: str
    sddl: str
    owner: str
    mode: int
    access: int
    quota: int
    instances: list[Instance] = field(default_factory=list)

    @property
    def served(self) -> bool:
        """Whether a server's handle is open. Clients alone keep the name, not the service."""
        return any(i.server and i.server.open for i in self.instances)


@dataclass(eq=False)
class Port:
    """A completion port: the addresses of the OVERLAPPEDs whose operations have ended."""

    packets: list[int | None] = field(default_factory=list)
    waiters: int = 0


@dataclass(eq=False)
class Event:
    set: bool = False
    waiters: int = 0
