r"""Steps of tools/windows_check.py with other accounts: a second user, services, an AppContainer.

Each makes what it needs and removes it again. The other account's program is a Python of this
installation that writes its findings to a file in a directory that every user may read and write.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ctypes import wintypes
from pathlib import Path
from typing import Any, Final

import npipe
from npipe.transport.windows.kernel32 import load
from windows_report import ROOT, Skipped, fact, new_name, require_elevated, require_windows

LIMIT: Final = 60.0  # seconds that another account's program may take
USER: Final = "np2"

#: Tries each pipe, and says what became of it.
CONNECT: Final = """
for address in sys.argv[2:]:
    try:
        with npipe.connect(address, connect_timeout=10, verify_server=None) as connection:
            connection.write(b"x")
            say("connected")
    except OSError as error:
        say(f"{type(error).__name__} {getattr(error, 'winerror', None)}")
try:
    npipe.listen(sys.argv[2], access="everyone").close()
    say("listens")
except OSError as error:
    say(type(error).__name__)
"""
#: Serves one client at a pipe for everyone, and says who it was.
SERVE: Final = """
with npipe.listen(sys.argv[2], access="everyone") as listener:
    say("ready")
    for _ in range(int(sys.argv[3])):
        with listener.accept(60) as connection:
            try:
                say(f"read {connection.read(100)!r} from {connection.peer.sid}")
            except OSError as error:
                say(type(error).__name__)
"""
PROLOGUE: Final = """
import sys
sys.path.insert(0, {source!r})
import npipe
output = open(sys.argv[1], "a", encoding="utf-8", buffering=1)
def say(text):
    print(text, file=output, flush=True)
"""

Start = Callable[[list[str]], None]


class Program:
    """A program of another account, and the lines that it has written."""

    def __init__(self, directory: Path, start: Start, code: str, *arguments: str) -> None:
        script = directory / f"{uuid.uuid4()}.py"
        self._output = script.with_suffix(".txt")
        self._output.touch()
        script.write_text(PROLOGUE.format(source=str(ROOT / "src")) + code, encoding="utf-8")
        start([sys.executable, str(script), str(self._output), *arguments])

    def lines(self, count: int) -> list[str]:
        """Wait until the program has written so many lines, and return them."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            lines = self._output.read_text(encoding="utf-8").splitlines()
            if len(lines) >= count:
                return lines
            time.sleep(0.05)
        raise TimeoutError(f"{len(lines)} lines of {count} after {LIMIT:g} s: {lines}")


@contextmanager
def open_directory() -> Iterator[Path]:
    """Make a directory that every account may use, and let every account read the sources."""
    with tempfile.TemporaryDirectory(
        dir=os.environ.get("PUBLIC"), ignore_cleanup_errors=True
    ) as at:
        everyone = "*S-1-1-0"
        run("icacls", at, "/grant", f"{everyone}:(OI)(CI)F")
        run("icacls", str(ROOT / "src"), "/grant", f"{everyone}:(OI)(CI)RX", "/t", "/q")
        yield Path(at)


def run(*command: str) -> str:
    """Run a program of Windows; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command[:2])}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def second_user_account() -> Iterator[Start]:
    """Add the user ``np2``, and yield what starts a program as that user."""
    password = secrets.token_urlsafe(18) + "-Aa1"
    run("net", "user", USER, password, "/add", "/y")
    try:
        yield lambda command: start_as(USER, password, command)
    finally:
        run("net", "user", USER, "/delete")


def start_as(user: str, password: str, command: list[str]) -> None:
    """Start a program as a local user (Microsoft page "CreateProcessWithLogonW")."""

    class StartupInfo(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD),
            *((name, wintypes.LPWSTR) for name in ("reserved", "desktop", "title")),
            *((name, wintypes.DWORD) for name in ("x", "y", "xs", "ys", "xc", "yc", "f", "flags")),
            *((name, wintypes.WORD) for name in ("show", "reserved_size")),
            *((name, wintypes.HANDLE) for name in ("reserved2", "stdin", "stdout", "stderr")),
        )

    advapi = ctypes.WinDLL("advapi32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    start, made = StartupInfo(), (wintypes.HANDLE * 4)()  # two handles, and two DWORDs
    start.cb = ctypes.sizeof(start)
    line = ctypes.create_unicode_buffer(subprocess.list2cmdline(command))
    no_window, with_profile = 0x08000000, 1
    started = advapi.CreateProcessWithLogonW(
        wintypes.LPCWSTR(user),
        wintypes.LPCWSTR("."),
        wintypes.LPCWSTR(password),
        with_profile,
        None,
        line,
        no_window,
        None,
        wintypes.LPCWSTR(os.environ.get("PUBLIC", "C:\\")),
        ctypes.byref(start),
        ctypes.byref(made),
    )
    if not started:
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined,unused-ignore]


def second_user() -> None:
    """W7, W15, B31, B34: what another user may do, and which server is trusted."""
    require_windows("it has one user")
    require_elevated()
    _, own_sid, _ = load().process_sids()
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory())
        start = stack.enter_context(second_user_account())
        accesses = ("owner", "group", "everyone")
        listeners = [
            stack.enter_context(npipe.listen(new_name(), access=access)) for access in accesses
        ]
        addresses = [listener.address.path for listener in listeners]
        lines = Program(directory, start, CONNECT, *addresses).lines(4)
        expected = ("PermissionError 5", None, "connected", "PermissionError")
        for what, assumed, seen in zip((*accesses, "an instance"), expected, lines, strict=True):
            fact(f"another user at a pipe for {what}", assumed, seen)

        name = new_name()
        served = Program(directory, start, SERVE, name, "2")
        served.lines(1)
        try:
            npipe.listen(name).close()
            fact("listen at a name that another user has", errno.EADDRINUSE, "listens")
        except OSError as error:
            fact("listen at a name that another user has", errno.EADDRINUSE, error.errno)
        try:
            npipe.connect(name, connect_timeout=10, verify_server="owner").close()
            fact("connect to another user's server", "PermissionError", "connected")
        except OSError as error:
            fact("connect to another user's server", "PermissionError", type(error).__name__)
        with npipe.connect(name, connect_timeout=10, verify_server=None) as connection:
            connection.write(b"hello")
            first, second = served.lines(3)[1:]
        fact("what reached the refused server", True, "b''" in first or "Error" in first)
        fact("SID that another user's server sees", True, own_sid in second)


@contextmanager
def task(account: str) -> Iterator[Start]:
    """Yield what starts a program as a service account, by a scheduled task."""
    name = f"npipe-check-{uuid.uuid4()}"

    def start(command: list[str]) -> None:
        line = subprocess.list2cmdline(command)
        at = ("/sc", "once", "/st", "00:00", "/f")
        run("schtasks", "/create", "/tn", name, "/ru", account, "/tr", line, *at)
        run("schtasks", "/run", "/tn", name)

    try:
        yield start
    finally:
        subprocess.run(["schtasks", "/end", "/tn", name], capture_output=True, check=False)
        subprocess.run(["schtasks", "/delete", "/tn", name, "/f"], capture_output=True, check=False)


def services() -> None:
    """W9: servers of SYSTEM and LOCAL SERVICE in session 0, clients in the user's session."""
    require_windows("it has no service accounts")
    require_elevated()
    for account, assumed in (("SYSTEM", "connected"), ("LOCAL SERVICE", "PermissionError")):
        with open_directory() as directory, task(account) as start:
            name = new_name()
            served = Program(directory, start, SERVE, name, "1")
            served.lines(1)
            try:
                with npipe.connect(name, connect_timeout=10, verify_server="owner") as connection:
                    connection.write(b"hello")
                    fact(f"server of {account}, verified as the owner's", assumed, "connected")
                    fact(f"what {account} read", True, "b'hello'" in served.lines(2)[1])
            except PermissionError:
                fact(f"server of {account}, verified as the owner's", assumed, "PermissionError")


def app_container() -> None:
    r"""docs/windows.md: what a program in an AppContainer may open, outside and in LOCAL\."""
    require_windows("it has no AppContainers")
    raise Skipped(
        "needs a packaged program: from one, npipe.connect to a pipe of its user must give "
        r"PermissionError, and npipe.listen(r'\\.\pipe\LOCAL\x') must work"
    )


STEPS: Final[tuple[Callable[[], Any], ...]] = (second_user, services, app_container)
