"""A recorded server for tests; see ``npipe.testing.recorded``. Needs the extra "rpc"."""

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

PATIENCE = 0.5  # seconds at the end for what clients that have closed had written


@contextmanager
def record(target: str, tape: Path, connect_timeout: float | None) -> Iterator[str]:
    """Relay to ``target``, recording. The file gets its name only when the block has ended well."""
    tape.parent.mkdir(parents=True, exist_ok=True)
    part = tape.with_name(f"{tape.name}.part")
    part.unlink(missing_ok=True)  # of a run that was killed
    transport.connect(target, timeout=connect_timeout).close()  # an error here, not in the client
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
    """Serve a tape at an address of its own."""
    with _private_address() as address, rpc.Proxy(Playback(tape)) as server:
        server.serve(address)
        yield address


@contextmanager
def _private_address() -> Iterator[str]:
    """An address that nobody else has."""
    if sys.platform == "win32":
        yield rf"\\.\pipe\npipe-recorded-{uuid.uuid4().hex}"
        return
    with tempfile.TemporaryDirectory(prefix="npipe-") as directory:
        yield os.path.join(directory, "s")
