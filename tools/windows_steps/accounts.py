r"""Steps of tools/windows_check.py with other accounts: a second user, services.

Each makes what it needs and removes it again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ctypes import wintypes
from typing import Any, Final

import npipe
from npipe.transport.windows.kernel32 import load
from windows_steps import processes
from windows_steps.processes import NO_WINDOW, Program, Start, open_directory, run
from windows_steps.report import fact, new_name, note, require_elevated, require_windows

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
#: Looks at a path as programs do that search a folder.
LOOK: Final = """
import os
try:
    say(str(os.stat(sys.argv[2])))
except OSError as error:
    say(f"{type(error).__name__} {error.winerror}")
"""


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
    start, made = processes.StartupInfo(), processes.ProcessInformation()
    start.cb = processes.StartupInfo.attributes.offset
    line = ctypes.create_unicode_buffer(subprocess.list2cmdline(command))
    with_profile = 1
    processes.check(
        processes.library("advapi32").CreateProcessWithLogonW(
            *map(wintypes.LPCWSTR, (user, ".", password)),
            with_profile,
            None,
            line,
            NO_WINDOW,
            None,
            wintypes.LPCWSTR(os.environ.get("PUBLIC", "C:\\")),
            ctypes.byref(start),
            ctypes.byref(made),
        )
    )


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
        looked = Program(directory, start, LOOK, addresses[0]).lines(1)
        note(f"os.stat of an owner's pipe by another user: {looked}")
        with npipe.connect(addresses[0], connect_timeout=5), listeners[0].accept(5):
            fact("clients that os.stat of another user left", "TimeoutError", _next(listeners[0]))


def _next(listener: npipe.Listener[npipe.Connection]) -> str:
    try:
        listener.accept(0.2).close()
    except TimeoutError as error:
        return type(error).__name__
    return "a client"


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


STEPS: Final[tuple[Callable[[], Any], ...]] = (second_user, services)
