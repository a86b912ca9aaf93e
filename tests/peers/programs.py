"""The programs that echo bytes at the other end, all started the same way.

Each is of software that others wrote: ``PROGRAM serve ADDRESS`` echoes every connection until its
end of input; ``PROGRAM dial ADDRESS`` sends its standard input and prints what comes back.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers.require import require

__all__ = ["PROGRAMS", "Program"]

_HERE = Path(__file__).parent
#: Seconds for a program to do its work; under Wine a first start alone may take several.
PATIENCE = 60


@dataclass(frozen=True)
class Program:
    """A way to reach one library's idea of a local stream."""

    name: str
    #: What is to be installed, as ``require`` names it; it is run, unless ``script`` says by what.
    needs: str
    script: tuple[str, ...] = ()
    serve: str = "serve"
    #: Whether it can end its own direction and go on reading.
    half_close: bool = True
    #: Whether it wants, and makes, Windows pipes of the message type.
    message_mode: bool = False

    def command(self, role: str, address: str) -> list[str]:
        """Return the command; skip or fail the test when what it needs is not installed."""
        program = sys.executable if self.needs == "python" else str(require(self.needs))
        return [program, *self.script, role, address]

    @contextmanager
    def serving(self, address: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run its server on ``address`` for as long as the block lasts."""
        with subprocess.Popen(
            self.command(self.serve, address),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                assert process.stderr is not None
                line = process.stderr.readline()
                assert line.strip() == b"ready", line + process.stderr.read()
                yield process
            finally:
                process.kill()

    def dial(self, address: str, data: bytes) -> bytes:
        """Have it send ``data`` to ``address``; return what it got back."""
        command = self.command("dial", address)
        done = subprocess.run(
            command, input=data, capture_output=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout


_NODE = (str(_HERE / "node" / "echo.cjs"),)
_PYTHON = str(_HERE / "python" / "echo.py")

if sys.platform == "win32":
    PROGRAMS = [
        Program("go-winio", "winio", half_close=False),
        Program("go-winio-messages", "winio", serve="serve-message", message_mode=True),
        Program("go-npipe", "natefinch", half_close=False),  # it makes byte pipes only
        Program("node", "node", _NODE, half_close=False),
        Program("asyncio", "python", (_PYTHON, "asyncio"), half_close=False),
        Program(
            "multiprocessing",
            "python",
            (_PYTHON, "multiprocessing"),
            half_close=False,
            message_mode=True,
        ),
    ]
else:
    PROGRAMS = [
        Program("go-net", "gonet"),
        Program("node", "node", _NODE),
        Program("asyncio", "python", (_PYTHON, "asyncio")),
    ]
