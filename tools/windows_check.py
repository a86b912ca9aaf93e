r"""Measure on a real Windows what only Windows decides, and run the tests there.

    python tools/windows_check.py              every step; the report goes to standard output
    python tools/windows_check.py tracking     one step, or several
    python tools/windows_check.py --list       their names

Each step runs in a process of its own under a hard limit of time, and a step that hangs is a
finding, not an end. The report has a line for each fact: what the fake kernel of the tests assumes,
what this Windows does. Where the two differ the fake kernel has to learn it
(``tests/transport/windows/fake_kernel32``), and docs/windows.md what follows.

Needs the checkout with its test dependencies. Steps that need another user, an elevated shell or
the Server service say so and are skipped without it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import windows_accounts  # noqa: E402
import windows_ports  # noqa: E402
import windows_programs  # noqa: E402
from npipe.address import Address, parse  # noqa: E402
from npipe.transport.windows import connect as windows  # noqa: E402
from npipe.transport.windows.kernel32 import load  # noqa: E402
from npipe.transport.windows.kernel32.constants import HIGH_LEVEL, MEDIUM_LEVEL  # noqa: E402
from npipe.transport.windows.kernel32.memory import address_of, overlapped  # noqa: E402
from windows_report import SKIPPED, Skipped, fact, new_name  # noqa: E402

LIMIT: Final = 180.0  # seconds for a step
LONGER: Final = {"tests": 1500.0, "page_heap": 1500.0, "rest": 5000.0, "container": 900.0}
SQOS, IDENTIFICATION, TRACKING = 0x100000, 0x10000, 0x40000
OVERLAPPED, FIRST = 0x40000000, 0x80000


class Pair:
    """A raw server and client handle of one pipe."""

    def __init__(self, flags: int, *, listen_first: bool) -> None:
        self.api = load()
        self._kept: list[Any] = []
        name = new_name()
        mode = 3 | OVERLAPPED | FIRST
        code, self.server = self.api.CreateNamedPipe(
            name, mode, 8, instances=255, buffer_size=65536, descriptor=None
        )
        assert not code, code
        self.came = self._listen() if listen_first else None
        code, self.client = self.api.CreateFile(name, 0x12019B, OVERLAPPED | flags)
        assert not code, code
        if not listen_first:
            self.came = self._listen()

    def _operation(self) -> Any:
        _, event = self.api.CreateEvent()
        structure, reference = overlapped(event)
        self._kept.append((structure, reference))
        return reference

    def _listen(self) -> int:
        return self.api.ConnectNamedPipe(self.server, self._operation())

    def transfer(self) -> None:
        """Write a byte at the client's end and read it at the server's."""
        buffer = bytearray(1)
        self._kept.append(buffer)
        self.api.WriteFile(self.client, b"x", 1, self._operation())
        self.api.ReadFile(self.server, address_of(buffer), 1, self._operation())
        time.sleep(0.05)


def tracking() -> None:
    """W1, W5: when a client's SID is known, by its quality of service and the order."""
    _, user, _ = load().process_sids()
    known, unknown, anonymous = (0, user), (1368, ""), (1347, "")
    for listen_first in (False, True):
        for label, flags, before, after in (
            ("none", 0, unknown, known),
            ("static", SQOS | IDENTIFICATION, known if listen_first else None, None),
            ("dynamic", SQOS | IDENTIFICATION | TRACKING, unknown, known),
            ("anonymous", SQOS, anonymous, anonymous),
        ):
            pair = Pair(flags, listen_first=listen_first)
            order = "listened to before" if listen_first else "came first"
            fact(f"SID of a {label} client that {order}", before, pair.api.client_sid(pair.server))
            pair.transfer()
            after_read = pair.api.client_sid(pair.server)
            fact(f"SID of a {label} client that {order}, after a read", after, after_read)


def held_name() -> None:
    """W3: what is left of a name whose server died while a client holds its pipe."""
    name = new_name()
    code = (
        "import sys, time; from npipe.address import parse\n"
        "from npipe.transport.windows import connect\n"
        "listener = connect.listen(parse(sys.argv[1])); print('up', flush=True)\n"
        "kept = listener.accept(); print('met', flush=True); time.sleep(100)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as child:
        assert child.stdout
        child.stdout.readline()
        client = windows.connect(parse(name))
        child.stdout.readline()
        child.kill()
    api = load()
    fact("WaitNamedPipe", 121, api.WaitNamedPipe(name, 1))
    fact("CreateFile", 2, api.CreateFile(name, 0x12019B, OVERLAPPED)[0])
    refused, made = api.CreateNamedPipe(
        name, 3 | OVERLAPPED | FIRST, 8, instances=255, buffer_size=4096, descriptor=None
    )
    fact("first instance", 5, refused)
    if not refused:
        api.CloseHandle(made)
    fact("npipe.exists", False, windows.exists(parse(name)))
    client.close()
    fact("WaitNamedPipe once the client has closed", 2, api.WaitNamedPipe(name, 1))


def elevation() -> None:
    """W4: the descriptor, the label and the owner of what this process makes."""
    api = load()
    print(f"         elevated {api.is_elevated()}, administrator {api.is_administrator()}")
    with windows.listen(parse(new_name())) as listener:
        client = windows.connect(listener.address, verify_server="owner")
        with client, listener.accept(10) as server:
            elevated = api.is_elevated()
            level = HIGH_LEVEL if elevated else MEDIUM_LEVEL
            fact("integrity level of the pipe", level, api.pipe_level(server.fileno())[1])
            print("         owner", api.pipe_owner(server.fileno()), api.pipe_dacl(server.fileno()))
    pair = Pair(0, listen_first=False)
    fact("level without a label", MEDIUM_LEVEL, api.pipe_level(pair.server)[1])


def remote() -> None:
    r"""W2, W12: \\localhost\pipe\x, which goes by way of the Server service."""
    for host in ("localhost", "127.0.0.1", platform.node()):
        name = f"npipe-check-{uuid.uuid4()}"
        far = Address("pipe", rf"\\{host}\pipe" + "\\" + name, host)
        with windows.listen(parse(r"\\.\pipe" + "\\" + name)):
            code, _ = load().CreateFile(far.path, 0x12019B, OVERLAPPED)
            fact(f"code of a client that is refused at {host}", 5, code)
        here = parse(r"\\.\pipe" + "\\" + name)
        with windows.listen(here, reject_remote=False) as listener:
            try:
                client = windows.connect(far, timeout=20)
            except OSError as error:
                print(f"         no remote pipes at {host}: {error}")
                continue
            with client, listener.accept(10) as server:
                _writes(client, server)


def _writes(client: Any, server: Any) -> None:
    drain = threading.Thread(target=lambda: [server.read(65536) for _ in range(40)], daemon=True)
    drain.start()
    for size in (65535, 65536, 1 << 20):
        code, count = client._writer.transfer(load().WriteFile, bytes(size), size)
        fact(f"one WriteFile of {size} bytes across the network", size <= 65535, code == 0)
        print(f"         code {code}, {count} bytes")
        if code:
            return


def unreachable() -> None:
    """W13: how long a computer that is not there is waited for."""
    for host in ("192.0.2.1", "no-such-host-npipe"):
        address = Address("pipe", rf"\\{host}\pipe\x", host)
        start = time.monotonic()
        try:
            windows.connect(address, timeout=2)
        except OSError as error:
            print(f"         {host}: {error}")
        fact(f"{host} is given up within 3 s", True, time.monotonic() - start < 3)


def flush() -> None:
    """W11: a flush, its deadline and its end by close."""
    with windows.listen(parse(new_name())) as listener:
        client = windows.connect(listener.address)
        server = listener.accept(10)
        client.write(b"unread")
        fact("has_unread", True, load().has_unread(client.fileno()))
        client.set_write_deadline(time.monotonic() + 0.2)
        start = time.monotonic()
        with contextlib.suppress(TimeoutError):
            client.flush()
        fact("a flush ends at its deadline", True, time.monotonic() - start < 1)
        server.read(100)
        time.sleep(0.05)
        fact("has_unread after the read", False, load().has_unread(client.fileno()))
        client.close()
        server.close()


def threads() -> None:
    """W8: accepts from ever new threads; neither a spin nor a leak."""
    with windows.listen(parse(new_name())) as listener:
        end, used = time.monotonic() + 20, time.process_time()
        rounds = 0
        while time.monotonic() < end:
            thread = threading.Thread(target=_accept_once, args=(listener,))
            thread.start()
            if rounds % 3 == 0:
                windows.connect(listener.address, timeout=5).close()
            thread.join()
            rounds += 1
        used = time.process_time() - used
        print(f"         {rounds} rounds, {used:.1f} s of processor time in 20 s")


def _accept_once(listener: Any) -> None:
    with contextlib.suppress(TimeoutError):
        listener.accept(0.01).close()


def large() -> None:
    """W10: the largest write that one call takes."""
    for megabytes in (1, 16, 64, 256, 512):
        pair = Pair(0, listen_first=False)
        size = megabytes << 20
        code = pair.api.WriteFile(pair.client, bytes(size), size, pair._operation())
        fact(f"one WriteFile of {megabytes} MiB is taken", megabytes <= 64, code in (0, 997))
        print(f"         code {code}")
        os._exit(0) if code == 997 and megabytes == 512 else None


def names() -> None:
    """W18: names that Windows changes, and those that npipe passes on."""
    api = load()
    with windows.listen(parse(new_name())) as listener:
        path = listener.address.path
        for text in (path + ".", path + " ", path.upper(), path.replace("\\\\.\\", "\\\\?\\")):
            fact(f"CreateFile opens {text[4:]!r}", 0, api.CreateFile(text, 0x12019B, OVERLAPPED)[0])
        fact("WaitNamedPipe normalises", False, api.WaitNamedPipe(path + ".", 1) == 0)
        fact("WaitNamedPipe finds a prefix", True, api.WaitNamedPipe(path + r"\b", 1) == 0)


def tests() -> None:
    """The test suite of the transport, asyncio and the conformance cases."""
    paths = ("tests/conformance", "tests/transport", "tests/aio")
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "120", *paths]
    sys.exit(subprocess.call(command, cwd=ROOT))


STEPS: Final[dict[str, Callable[[], None]]] = {
    step.__name__: step
    for step in (
        tracking,
        held_name,
        elevation,
        remote,
        unreachable,
        flush,
        threads,
        large,
        names,
        *windows_ports.STEPS,
        *windows_accounts.STEPS,
        *windows_programs.STEPS,
        tests,
    )
}


def run(names: list[str]) -> Iterator[str]:
    """Run the steps; yield those that failed or hung."""
    for name in names:
        summary = (STEPS[name].__doc__ or "").splitlines()[0]
        print(f"\n== {name}: {summary}", flush=True)
        command = [sys.executable, __file__, "--step", name]
        try:
            status = subprocess.call(command, timeout=LONGER.get(name, LIMIT))
        except subprocess.TimeoutExpired:
            print("HANGS", flush=True)
            yield name
        else:
            if status not in (0, SKIPPED):
                print(f"FAILED with status {status}", flush=True)
                yield name


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("steps", nargs="*", choices=[[], *STEPS], default=[], metavar="STEP")
    parser.add_argument("--list", action="store_true", help="print the names of the steps")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        try:
            STEPS[options.step]()
        except Skipped as reason:
            print(f"skipped: {reason}")
            return SKIPPED
        return 0
    if options.list:
        print(*STEPS, sep="\n")
        return 0
    if sys.platform != "win32":
        parser.error("this measures Windows: run it there, or by tools/wine.py run")
    print(f"{platform.platform()}, Python {sys.version}")
    failed = list(run(options.steps or list(STEPS)))
    print(f"\nfailed: {', '.join(failed) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
