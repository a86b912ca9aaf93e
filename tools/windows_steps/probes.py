"""Steps of tools/windows_check.py that compare this kernel with the tables, and its descriptors."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from npipe.address import parse
from npipe.transport.windows import connect as windows
from npipe.transport.windows.kernel32.constants import HIGH_LEVEL, MEDIUM_LEVEL
from npipe.transport.windows.kernel32.memory import (
    OVERLAPPED,
    OVERLAPPED_ENTRY,
    SECURITY_ATTRIBUTES,
)
from windows_steps import tables
from windows_steps.raw import Pipe
from windows_steps.report import (
    ROOT,
    fact,
    is_fake,
    kernel,
    new_address,
    new_name,
    note,
    require_kernel,
)

__all__ = ["STEPS"]

#: Serves the pipe, and waits with its client connected until it is killed.
SERVER: Final = """
import sys, time
from npipe.address import parse
from npipe.transport.windows import connect
listener = connect.listen(parse(sys.argv[1]), access="everyone")
print("up", flush=True)
kept = listener.accept()
print("met", flush=True)
time.sleep(100)
"""


def system() -> None:
    """The system, the user and his groups, and this Python."""
    note(f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} processors")
    note(f"Python {sys.version}, {sysconfig.get_platform()}")
    require_kernel("it is no system")
    for command in ("ver", "whoami /all"):
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, errors="replace", check=False
        )
        print(done.stdout.strip() or f"{command}: {done.stderr.strip()}", flush=True)


def layouts() -> None:
    """Step 0: the structures in memory, by the size of a pointer (x86, x86-64 and ARM64)."""
    pointer = ctypes.sizeof(ctypes.c_void_p)
    note(f"{platform.machine()}, Python for {sysconfig.get_platform()}, {8 * pointer} bits")
    require_kernel("its structures are laid out for this system")
    structures = (OVERLAPPED, OVERLAPPED_ENTRY, SECURITY_ATTRIBUTES)
    sizes = [ctypes.sizeof(each) for each in structures]
    fact("sizes of the structures", [32, 32, 24] if pointer == 8 else [20, 16, 12], sizes)
    fact("place of hEvent", 3 * pointer if pointer == 8 else 16, OVERLAPPED.hEvent.offset)


def memory_order() -> None:
    """Step 0 on ARM64: status, event and bytes come in order, though reads are cut off."""
    note(f"proves something on ARM64; this is {platform.machine()}")
    count = 20_000
    with windows.listen(new_address(), api=kernel()) as listener:
        client = windows.connect(listener.address, api=kernel())
        server = listener.accept(10)
        received = bytearray()

        def read() -> None:
            while len(received) < count:
                server.set_read_deadline(time.monotonic() + 0.0005)
                with contextlib.suppress(TimeoutError):
                    received.extend(server.read(100))

        thread = threading.Thread(target=read)
        thread.start()
        sent = bytes(range(250)) * (count // 250)
        for at in range(0, count, 50):
            client.write(sent[at : at + 50])
        thread.join(60)
        fact(f"{count} bytes arrive in order", True, bytes(received) == sent)
        client.close()
        server.close()


def tracking() -> None:
    """W1, W5, probe A: when a client's SID is known, by its quality of service and the order."""
    for what, assumed, seen in tables.tracking(kernel()):
        fact(what, assumed, seen)


def held_name() -> None:
    """W3, probe B: what is left of a name whose server died while a client holds its pipe."""
    api = kernel()
    with Pipe(api) as pipe, contextlib.ExitStack() as stack:
        end = _server_here(pipe) if is_fake() else _server_process(stack, pipe)
        for each in tables.held_name(api, pipe, end, "held"):
            fact(*each)
    with Pipe(api) as pipe:
        server = pipe.server()
        pipe.client()

        def disconnect() -> None:
            api.DisconnectNamedPipe(server)
            pipe.close(server)

        for each in tables.held_name(api, pipe, disconnect, "disconnected, held"):
            fact(*each)


def _server_here(pipe: Pipe) -> Callable[[], None]:
    server = pipe.server()
    pipe.client()
    return lambda: pipe.close(server)


def _server_process(stack: contextlib.ExitStack, pipe: Pipe) -> Callable[[], None]:
    """Start a server of the pipe and connect to it; return what kills it."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", SERVER, pipe.path]
    child = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, env=env))
    stack.callback(child.kill)
    assert child.stdout
    child.stdout.readline()
    pipe.client()
    child.stdout.readline()

    def end() -> None:
        child.kill()
        child.wait()
        fact("npipe.exists", False, windows.exists(parse(pipe.path)))

    return end


def kernel_table() -> None:
    """Section 3: each fact that the fake kernel of the tests rests on."""
    for what, assumed, seen in tables.rows(kernel()):
        fact(what, assumed, seen)


def elevation() -> None:
    """W4: the label and the owner of what this process makes."""
    api = kernel()
    note(f"elevated {api.is_elevated()}, administrator {api.is_administrator()}")
    with windows.listen(new_address(), api=api) as listener:
        client = windows.connect(listener.address, verify_server="owner", api=api)
        with client, listener.accept(10) as server:
            level = HIGH_LEVEL if api.is_elevated() else MEDIUM_LEVEL
            fact("integrity level of the pipe", level, api.pipe_level(server.fileno())[1])
            note(f"owner {api.pipe_owner(server.fileno())}")
    with Pipe(api) as pipe:
        fact("level without a label", MEDIUM_LEVEL, api.pipe_level(pipe.server())[1])


def descriptors() -> None:
    """Step 8: what each ``access=`` became, read at both ends; handles are not inherited."""
    require_kernel("it stores the text that it was given")
    api = kernel()
    user = api.process_sids()[1]
    own = f"O:{user}D:P(A;;FA;;;{user})(A;;0x12019b;;;BU)"
    for access in ("owner", "group", "everyone", own):
        with windows.listen(new_address(), access=access) as listener:
            with windows.connect(listener.address) as client, listener.accept(10) as server:
                texts = [api.pipe_dacl(each.fileno()) for each in (server, client)]
            note(f"{access}: {texts}")
            entries = [text.count("(") for _, text in texts]
            count = 2 if access in ("owner", own) else 3
            fact(f"entries of {access[:9]}, at both ends", [count, count], entries)
    with windows.listen(new_address()) as listener:
        waits = [sys.executable, "-c", "print('up', flush=True); input()"]
        with windows.connect(listener.address), listener.accept(10):
            child = subprocess.Popen(
                waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
            )
            assert child.stdout
            child.stdout.readline()
        path = listener.address.path
    fact("the name, while a child with close_fds=False lives", 2, api.WaitNamedPipe(path, 1))
    child.communicate(b"\n", timeout=30)


def flush() -> None:
    """W11: a flush, its deadline and its end by close."""
    api = kernel()
    with windows.listen(new_address(), api=api) as listener:
        client = windows.connect(listener.address, api=api)
        server = listener.accept(10)
        client.write(b"unread")
        fact("has_unread", True, api.has_unread(client.fileno()))
        client.set_write_deadline(time.monotonic() + 0.2)
        ended = _seconds(client.flush)
        fact("a flush ends at its deadline", True, ended < 1)
        fact("what the other end reads", b"unread", server.read(100))
        fact("has_unread after the read", False, api.has_unread(client.fileno()))
        client.set_write_deadline(None)
        client.write(b"unread")
        thread = threading.Thread(target=_seconds, args=(client.flush,))
        thread.start()
        fact("close ends a flush", True, _seconds(client.close) < 1)
        thread.join(10)
        fact("the flush has ended", False, thread.is_alive())
        server.close()


def _seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes, however it ends."""
    start = time.monotonic()
    with contextlib.suppress(OSError):
        call()
    return time.monotonic() - start


def names() -> None:
    """W18: the lengths and characters of names (the table has what Windows changes)."""
    prefix = new_name()
    cases: tuple[tuple[str, str, int | None], ...] = (
        ("256 characters", prefix.ljust(256, "x"), 0),
        ("257 characters", prefix.ljust(257, "x"), None),
        ("an emoji", prefix + "\N{SNAKE}", 0),
        ("a lone surrogate", prefix + "\ud800", 0),
        ("a name and two dots", prefix + r"\..", None),
        ("a stream", prefix + ":x", None),
    )
    with Pipe(kernel()) as pipe:
        for what, path, assumed in cases:
            code, _ = pipe.create(path=path)
            fact(f"CreateNamedPipe with {what}", assumed, code)
            if not code:
                fact(f"CreateFile with {what}", 0, pipe.open(path=path)[0])


STEPS: Final[tuple[Callable[[], None], ...]] = (
    *(system, layouts, memory_order, tracking, held_name, kernel_table),
    *(elevation, descriptors, flush, names),
)
