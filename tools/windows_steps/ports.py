"""The step of tools/windows_check.py about completion ports and one-way pipes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Literal

from npipe.transport.windows import connect as windows
from npipe.transport.windows.kernel32.memory import address_of, location_of, overlapped
from windows_steps.report import fact, kernel, new_address

__all__ = ["STEPS"]


class Bound:
    """A pipe whose server end is bound to a port, with the operations that were begun on it."""

    def __init__(self, *, skips: bool, message_mode: bool = False) -> None:
        self.api = kernel()
        self.listener = windows.listen(new_address(), message_mode=message_mode, api=self.api)
        self.client = windows.connect(self.listener.address, api=self.api)
        self.server = self.listener.accept(10)
        code, self.port = self.api.CreateIoCompletionPort(None, 0)
        assert not code, code
        code, _ = self.api.CreateIoCompletionPort(self.server.fileno(), self.port)
        fact("code of CreateIoCompletionPort for a pipe", 0, code)
        if skips:
            code = self.api.SkipPacketOnSuccess(self.server.fileno())
            fact("code of SetFileCompletionNotificationModes", 0, code)
        self._kept: list[Any] = []

    def begin(
        self, call: Callable[..., int], data: Any, size: int, event: int = 0
    ) -> tuple[int, int]:
        """Begin an operation; return (code, address of its OVERLAPPED)."""
        structure, reference = overlapped(event)
        self._kept.append((structure, reference, data))
        code = call(self.server.fileno(), data, size, reference)
        return code, location_of(structure)

    def read(self, size: int) -> tuple[int, int]:
        buffer = bytearray(size)
        return self.begin(self.api.ReadFile, address_of(buffer), size)

    def packets(self) -> list[int | None]:
        return self.api.GetQueuedCompletionStatusEx(self.port, 200)[1]

    def close(self) -> None:
        self.api.CancelIoEx(self.server.fileno(), None)
        self.packets()
        for each in (self.client, self.server, self.listener):
            each.close()
        self.api.CloseHandle(self.port)


def ports() -> None:
    """Completion ports: which operations queue a packet, and which outlive their thread."""
    for skips in (False, True):
        _packets_of_bytes(skips=skips)
        bound = Bound(skips=skips, message_mode=True)
        bound.client.write(b"longer")
        code, address = bound.read(2)
        fact("code of a read of a part of a message", 234, code)
        fact(f"its packets, skipping={skips}", None if skips else [address], bound.packets())
        bound.close()


def _packets_of_bytes(*, skips: bool) -> None:
    bound = Bound(skips=skips)
    _, address = bound.begin(bound.api.WriteFile, b"x", 1)
    due = [] if skips else [address]
    fact(f"packets of a write that ends at once, skipping={skips}", due, bound.packets())
    code, address = bound.read(10)
    fact("code of a read that waits", 997, code)
    bound.client.write(b"hello")
    fact("its packets", [address], bound.packets())
    _, event = bound.api.CreateEvent()
    bound.begin(bound.api.WriteFile, b"x", 1, event | 1)
    fact("packets of a write whose event has its low bit set", [], bound.packets())
    bound.api.CloseHandle(event)
    begun: list[tuple[int, int]] = []
    thread = threading.Thread(target=lambda: begun.append(bound.read(10)))
    thread.start()
    thread.join()
    fact("packets of a read whose thread has ended", [], bound.packets())
    bound.client.write(b"hello")
    fact("its packets once bytes have come", [begun[0][1]], bound.packets())
    _, address = bound.read(10)
    bound.api.CancelIoEx(bound.server.fileno(), None)
    fact("packets of a cancelled read", [address], bound.packets())
    bound.close()


def one_way() -> None:
    """One-way pipes: what the end that only writes may ask."""
    ways: tuple[tuple[Literal["r", "w"], Literal["r", "w"]], ...] = (("w", "r"), ("r", "w"))
    for ours, theirs in ways:
        with (
            windows.listen(new_address(), mode=ours, api=kernel()) as listener,
            windows.connect(listener.address, mode=theirs, api=kernel()) as client,
            listener.accept(10) as server,
        ):
            writer, reader = (server, client) if ours == "w" else (client, server)
            fact(
                "code of PeekNamedPipe at the end that writes",
                5,
                kernel().PeekNamedPipe(writer.fileno())[0],
            )
            writer.write(b"x")
            fact("has_unread at the end that writes", True, kernel().has_unread(writer.fileno()))
            fact("one byte arrives", b"x", reader.read(1))
            fact(
                "code of FlushFileBuffers at the end that reads",
                5,
                kernel().FlushFileBuffers(reader.fileno()),
            )


STEPS: Final[tuple[Callable[[], None], ...]] = (ports, one_way)
