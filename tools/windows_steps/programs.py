"""Steps of tools/windows_check.py that run other programs: consoles, verifiers, the test suite."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import npipe
from windows_steps.accounts import USER
from windows_steps.report import (
    ROOT,
    Skipped,
    fact,
    new_name,
    note,
    require_elevated,
    require_kernel,
    require_windows,
)
from windows_steps.tokens import CONTAINER

ROUNDS: Final = 20  # of each of five operations and each of two signals

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


#: The tests that steps 1 and 2 name, those on the real kernel first.
BACKEND: Final = ("tests/transport/windows", "tests/conformance")


def kernel_tests() -> None:
    """Step 1: the tests of the Windows backend on this kernel."""
    require_kernel("they run on it in any case")
    fact("exit status of the tests", 0, run_tests(*BACKEND))


def tests() -> None:
    """Step 2: the tests of the transports, of conformance and of asyncio, the debug mode too."""
    require_kernel("they run on it in any case")
    fact("exit status of the tests", 0, run_tests("tests/transport", *BACKEND[1:], "tests/aio"))


def gflags() -> str:
    """Return the path of the tool that switches the page heap on."""
    kits = Path(os.environ.get("PROGRAMFILES(X86)", ""), "Windows Kits/10/Debuggers")
    found = next(filter(None, [shutil.which("gflags"), *map(str, kits.glob("*/gflags.exe"))]), None)
    if found is None:
        raise Skipped("gflags is not installed (Windows SDK, Debugging Tools)")
    return found


def page_heap() -> None:
    """Step 15: tests, Ctrl-C and threads with a page for each allocation (gflags)."""
    require_windows("it has no page heap")
    require_elevated()
    tool, image = gflags(), Path(sys.executable).name
    subprocess.run([tool, "/p", "/enable", image, "/full"], check=True)
    try:
        _verified("the page heap")
    finally:
        subprocess.run([tool, "/p", "/disable", image], check=True)


def verifier() -> None:
    """Step 15: the same under Application Verifier: handles, heaps, locks."""
    require_windows("it has no Application Verifier")
    require_elevated()
    tool = shutil.which("appverif")
    if tool is None:
        raise Skipped("Application Verifier is not installed (Windows SDK)")
    image = Path(sys.executable).name
    checks = ("Handles", "Heaps", "Locks")
    subprocess.run([tool, "-enable", *checks, "-for", image], check=True)
    try:
        _verified("Application Verifier")
        log = Path(tempfile.gettempdir(), "npipe-verifier.xml")
        save = [tool, "-export", "log", "-for", image, "-with", f"To={log}"]
        subprocess.run(save, check=True)
        stops = log.read_text(encoding="utf-8", errors="replace").count("<avrf:logEntry")
        fact("stops that it logged", 0, stops)
    finally:
        subprocess.run([tool, "-disable", "*", "-for", image], check=True)


def _verified(what: str) -> None:
    """Run what frees memory and handles beside pending operations; a stop is a bad status."""
    fact(f"exit status of the tests with {what}", 0, run_tests(*BACKEND))
    check = str(ROOT / "tools" / "windows_check.py")
    for step in ("ctrl_c", "threads"):
        status = subprocess.call([sys.executable, check, "--step", step], cwd=ROOT)
        fact(f"exit status of {step} with {what}", 0, status)


def cleanup() -> None:
    """Step 20: remove what a step that was ended at its limit may have left behind."""
    require_windows("no step leaves an account or a setting behind")
    image = Path(sys.executable).name
    commands = [["net", "user", USER, "/delete"]]
    with contextlib.suppress(Skipped):
        commands.append([gflags(), "/p", "/disable", image])
    if tool := shutil.which("appverif"):
        commands.append([tool, "-disable", "*", "-for", image])
    listed = subprocess.run(
        ["schtasks", "/query", "/fo", "csv", "/nh"], capture_output=True, text=True, check=False
    )
    for line in listed.stdout.splitlines():
        if "npipe-check-" in line:
            name = line.split(",")[0].strip('"')
            commands.append(["schtasks", "/delete", "/tn", name, "/f"])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        note(f"{' '.join(command)}: status {done.returncode}")
    ctypes.WinDLL("userenv").DeleteAppContainerProfile(CONTAINER)  # type: ignore[attr-defined,unused-ignore]


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


STEPS: Final[tuple[Callable[[], Any], ...]] = (
    *(kernel_tests, tests, ctrl_c, serve_ends, page_heap, verifier, container, rest, cleanup),
)
