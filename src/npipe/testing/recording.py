"""Recorded servers for tests; see ``npipe.testing.recorded``. This module needs the extra "rpc"."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npipe import rpc, transport
from npipe.recording import Playback, Recorder, Relay, TapeFile

__all__ = ["play", "record"]

PATIENCE = 0.5  # seconds to forward the last bytes of clients that have closed


@contextmanager
def record(target: str, tape: Path, connect_timeout: float | None) -> Iterator[str]:
    """Relay to ``target`` and record; the file gets its name only if the block ends normally.

    Args:
        target: Address of the server.
        tape: Path of the file with the recording.
        connect_timeout: Seconds to wait for the server; None for no limit.

    Yields:
        The address of the relay.
    """
    tape.parent.mkdir(parents=True, exist_ok=True)
    part = tape.with_name(f"{tape.name}.part")
    part.unlink(missing_ok=True)  # left by a run that was killed
    transport.connect(
        target, connect_timeout=connect_timeout
    ).close()  # fail here and not in the client
    file = TapeFile(part, target=target)
    errors: list[OSError] = []
    recorder = Recorder(file, on_error=errors.append)
    relay = Relay(target, recorder=recorder, timeout=connect_timeout)
    try:
        with _private_address() as address, transport.listen(address) as listener:
            relay.serve(listener)
            yield address
            relay.wait(PATIENCE)
        recorder.close()
        file.close()
        if errors:
            raise errors[0]
        os.replace(part, tape)
    finally:
        relay.close()
        recorder.close()
        file.close()
        part.unlink(missing_ok=True)


@contextmanager
def play(tape: Path) -> Iterator[str]:
    """Serve the recording in ``tape`` at a new address, which is yielded."""
    with _private_address() as address, rpc.Proxy(Playback(tape)) as server:
        server.serve(address)
        yield address


@contextmanager
def _private_address() -> Iterator[str]:
    """Yield an address that no other program uses."""
    if sys.platform == "win32":
        yield rf"\\.\pipe\npipe-recorded-{uuid.uuid4().hex}"
        return
    with tempfile.TemporaryDirectory(prefix="npipe-") as directory:
        yield os.path.join(directory, "s")
