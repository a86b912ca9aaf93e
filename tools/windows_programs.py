"""Steps of tools/windows_check.py that run other programs: consoles, verifiers, the test suite."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import npipe
from windows_report import ROOT, Skipped, fact, new_name, require_elevated, require_windows

ROUNDS: Final = 10  # of each operation and each signal

#: Waits in one operation after the other, and tells how each was interrupted.
INTERRUPTED: Final = """
import signal, sys, time
import npipe
signal.signal(getattr(signal, "SIGBREAK", signal.SIGINT), signal.default_int_handler)
name, operation = sys.argv[1:]
kept = []
def begin():
    if operation == "accept":
        with npipe.listen(name + "-accept") as listener:
            return listener.accept()
    if operation == "connect":
        return npipe.connect(name + "-absent", wait=True, connect_timeout=60)
    connection = kept[0]
    if operation == "read":
        return connection.read(100)
    if operation == "write":
        while True:
            connection.write(bytes(1 << 20))
    connection.write(b"x")
    return connection.flush()
kept.append(npipe.connect(name, connect_timeout=20))
while True:
    try:
        print("ready", flush=True)
        begin()
        print("returned", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    if sys.stdin.readline() != "again\\n":
        break
"""

#: Sends a signal to the console of a process; a program of its own, since it must leave its own.
SIGNAL: Final = """
import ctypes, sys
kernel = ctypes.WinDLL("kernel32", use_last_error=True)
kernel.FreeConsole()
if not kernel.AttachConsole(int(sys.argv[1])):
    sys.exit(ctypes.get_last_error() or 1)
kernel.SetConsoleCtrlHandler(None, True)
sys.exit(0 if kernel.GenerateConsoleCtrlEvent(int(sys.argv[2]), 0) else ctypes.get_last_error())
"""


def ctrl_c() -> None:
    """W17: Ctrl-C and Ctrl-Break in a console of its own, in each call that waits."""
    require_windows("a program gets no console signals")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for operation in ("read", "write", "flush", "accept", "connect"):
        with npipe.listen(new_name()) as listener:
            name = listener.address.path
            command = [sys.executable, "-c", INTERRUPTED, name, operation]
            with subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                creationflags=subprocess.CREATE_NEW_CONSOLE,  # type: ignore[attr-defined,unused-ignore]
            ) as child:
                try:
                    with listener.accept(30):
                        counts = [_interrupt(child, at % 2) for at in range(2 * ROUNDS)]
                finally:
                    child.kill()
        fact(f"{operation}: interrupted of {2 * ROUNDS}", 2 * ROUNDS, sum(counts))


def _interrupt(child: subprocess.Popen[str], event: int) -> bool:
    """Send Ctrl-C (0) or Ctrl-Break (1) once the child waits; return whether it noticed."""
    assert child.stdout is not None
    assert child.stdin is not None
    if child.stdout.readline() != "ready\n":
        return False
    sent = subprocess.run([sys.executable, "-c", SIGNAL, str(child.pid), str(event)], check=False)
    if sent.returncode:
        raise ctypes.WinError(sent.returncode)  # type: ignore[attr-defined,unused-ignore]
    noticed = child.stdout.readline() == "interrupted\n"
    child.stdin.write("again\n")
    child.stdin.flush()
    return noticed


def serve_ends() -> None:
    """W17: npipe serve ends by Ctrl-Break, with status 0 and without a traceback."""
    require_windows("a program gets no console signals")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "npipe.cli", "serve", new_name(), "--modules", "rpc", "--json"]
    with subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,  # type: ignore[attr-defined,unused-ignore]
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        server.send_signal(signal.CTRL_BREAK_EVENT)  # type: ignore[attr-defined,unused-ignore]
        _, errors = server.communicate(timeout=30)
    fact("exit status of npipe serve", 0, server.returncode)
    fact("a traceback", False, "Traceback" in errors)


def page_heap() -> None:
    """The tests of the backend on the real kernel, with a page for each allocation (gflags)."""
    require_windows("it has no page heap")
    require_elevated()
    kits = Path(os.environ.get("PROGRAMFILES(X86)", ""), "Windows Kits/10/Debuggers")
    found = [shutil.which("gflags"), *map(str, kits.glob("*/gflags.exe"))]
    gflags = next(filter(None, found), None)
    if gflags is None:
        raise Skipped("gflags is not installed (Windows SDK, Debugging Tools)")
    image = Path(sys.executable).name
    subprocess.run([gflags, "/p", "/enable", image, "/full"], check=True)
    try:
        status = run_tests("tests/transport/windows")
    finally:
        subprocess.run([gflags, "/p", "/disable", image], check=True)
    fact("exit status of the tests with the page heap", 0, status)


def container() -> None:
    """W14: exists and a second listen in a Windows container."""
    require_windows("it runs no containers")
    if shutil.which("docker") is None:
        raise Skipped("docker is not installed")
    asked = ["docker", "version", "--format", "{{.Server.Os}}"]
    system = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if system != "windows":
        raise Skipped(f"docker runs containers of {system or 'no system'}, not of Windows")
    image = "mcr.microsoft.com/windows/servercore:ltsc2022"
    code = (
        "import npipe; a = npipe.listen('x'); print(npipe.exists('x'))\n"
        "try: npipe.listen('x')\nexcept OSError as e: print(e.errno)"
    )
    mounts = ["-v", f"{sys.base_prefix}:C:\\python:ro", "-v", f"{ROOT}:C:\\npipe:ro"]
    command = ["docker", "run", "--rm", *mounts, "-e", "PYTHONPATH=C:\\npipe\\src", image]
    done = subprocess.run(
        [*command, "C:\\python\\python.exe", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    fact("exists, and the error of a second listen", ["True", "10048"], done.stdout.split())
    print(done.stderr)


def rest() -> None:
    """The tests of JSON-RPC, the command line and the chain, and the benchmarks once."""
    require_windows("its part of CI runs these tests")
    status = run_tests("tests/rpc", "tests/cli", "tests/ethereum")
    fact("exit status of the tests", 0, status)
    bench = [sys.executable, "-m", "bench", "--output", "benchmarks-windows.md"]
    fact("exit status of the benchmarks", 0, subprocess.call(bench, cwd=ROOT))


def run_tests(*paths: str) -> int:
    """Run some of the tests; return the exit status."""
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "120", *paths]
    return subprocess.call(command, cwd=ROOT)


STEPS: Final[tuple[Callable[[], Any], ...]] = (ctrl_c, serve_ends, page_heap, container, rest)
