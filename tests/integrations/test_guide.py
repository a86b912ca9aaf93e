"""The guide "With other libraries": every example in it runs, against what its reader would have.

The comment above an example names what it is tested with. That is a function here: it starts the
server that the example talks to, or (with the example running) is the client of its server.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE, WINDOWS, App, body, reply, serving
from peers.require import require

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "integrations.md"
EXAMPLE = re.compile(r"^<!-- test with: (\w+) -->\n```python\n(.*?)^```$", re.M | re.S)
TEXT = GUIDE.read_text(encoding="utf-8")
Server = AbstractContextManager[None]
POSIX = pytest.mark.skipif(WINDOWS, reason="what it talks to is not installed for Windows")

SERVERS: dict[str, Callable[[Path], Server]] = {}
CLIENTS: dict[str, Callable[[], None]] = {}
POSIX_ONLY = {"ssh_agent", "gpg_agent", "mysql", "mpv", "qemu", "nvim"}
pytestmark = pytest.mark.skipif(
    WINDOWS,
    reason="minutes on Wine, and the file of each library tests the same; seen to pass by hand",
)


def examples(kinds: Any) -> Iterator[Any]:
    for found in EXAMPLE.finditer(TEXT):
        if found[1] in kinds:
            line = TEXT.count("\n", 0, found.start(2)) + 1
            marks = [POSIX] if found[1] in POSIX_ONLY or "podman" in found[2] else []
            yield pytest.param(found[1], found[2], id=f"{found[1]}:{line}", marks=marks)


@pytest.fixture
def home(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which an example runs, and where bare names are on POSIX."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    monkeypatch.chdir(directory)
    yield directory
    monkeypatch.undo()  # Windows removes no directory that is the current one


def server(function: Callable[[Path], Iterator[None]]) -> None:
    SERVERS[function.__name__] = contextmanager(function)


def client(function: Callable[[], None]) -> None:
    CLIENTS[function.__name__] = function


@server
def nothing(home: Path) -> Iterator[None]:
    yield


@contextmanager
def asgi(name: str, app: Any) -> Iterator[None]:
    with serving(app, name):
        npipe.connect(name, wait=True, connect_timeout=PATIENCE).close()
        yield


class Shop(App):
    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"hello" if scope["path"] == "/hello" else b"", 200)


@server
def http_service(home: Path) -> Iterator[None]:
    with asgi("shop", Shop()):
        yield


class Engine(App):
    """Docker's form of answers, for Windows, too; the real engine is in peers/test_podman.py."""

    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        await body(receive)
        container = {"Id": "abc", "Names": ["/web"]}
        match scope["path"].rsplit("/", 1)[-1]:
            case "version":
                await reply(send, json.dumps({"ApiVersion": "1.44", "Version": "0"}).encode())
            case "json":
                await reply(send, json.dumps([container]).encode())
            case "_ping":
                await reply(send, b"OK")
            case _:
                await reply(send, b"{}", 404)


@server
def docker_engine(home: Path) -> Iterator[None]:
    with asgi("docker_engine", Engine()):
        yield


class Tailscaled(App):
    """Checks the host as Tailscale does; nothing else of it is real."""

    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        right = (b"host", b"local-tailscaled.sock") in scope["headers"]
        await reply(send, json.dumps({"BackendState": "Running"} if right else {}).encode())


@server
def tailscaled(home: Path) -> Iterator[None]:
    with asgi("tailscaled", Tailscaled()):
        yield


@contextmanager
def running(name: str, *command: str) -> Iterator[None]:
    """Run a program that listens at ``name``."""
    program, *arguments = command
    quiet: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with subprocess.Popen([str(require(program)), *arguments], **quiet) as process:
        try:
            npipe.connect(name, wait=True, connect_timeout=PATIENCE).close()
            yield
        finally:
            process.kill()


def path_of(name: str) -> str:
    """Return the path of a bare name; its directory is made."""
    npipe.listen(name).close()
    return str(npipe.address.parse(name).path)


@server
def mpv(home: Path) -> Iterator[None]:
    options = ["--idle", "--no-config", "--vo=null", "--ao=null", "--no-terminal"]
    with running("mpv", "mpv", *options, f"--input-ipc-server={path_of('mpv')}"):
        yield


@server
def qemu(home: Path) -> Iterator[None]:
    options = ["-machine", "none", "-display", "none", "-nodefaults"]
    monitor = f"unix:{path_of('qmp')},server=on,wait=off"
    with running("qmp", "qemu-system-x86_64", *options, "-qmp", monitor):
        yield


@server
def nvim(home: Path) -> Iterator[None]:
    pytest.importorskip("msgpack")
    with running("nvim", "nvim", "--clean", "--headless", "--listen", path_of("nvim")):
        yield


@server
def mysql(home: Path) -> Iterator[None]:
    (home / "data").mkdir()
    options = ["--no-defaults", f"--datadir={home / 'data'}", "--skip-networking"]
    options += ["--skip-grant-tables", f"--socket={path_of('mysql')}"]
    if os.getuid() == 0:
        options.append("--user=root")
    with running("mysql", "mariadbd", *options):
        yield


@server
def ssh_agent(home: Path) -> Iterator[None]:
    pytest.importorskip("paramiko")
    key, address = str(home / "key"), str(home / "agent")
    keygen = [str(require("ssh-keygen")), "-q", "-t", "ed25519", "-N", "", "-C", "work", "-f", key]
    subprocess.run(keygen, check=True)
    with running(address, "ssh-agent", "-D", "-a", address), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSH_AUTH_SOCK", address)
        subprocess.run(["ssh-add", "-q", key], check=True)
        yield


@server
def gpg_agent(home: Path) -> Iterator[None]:
    require("gpg-agent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", str(home))
        subprocess.run(["gpgconf", "--launch", "gpg-agent"], check=True)
        try:
            yield
        finally:
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=True)


@server
def discord(home: Path) -> Iterator[None]:
    """Nobody may have Discord here: this answers in its form."""

    def answer(listener: npipe.Listener[npipe.Connection]) -> None:
        with listener.accept(PATIENCE) as connection:
            reader = io.BufferedReader(connection)
            operation, size = struct.unpack("<II", reader.read(8))
            assert json.loads(reader.read(size))["v"] == 1
            ready = json.dumps({"cmd": "DISPATCH", "evt": "READY"}).encode()
            connection.write(struct.pack("<II", operation + 1, len(ready)) + ready)

    with npipe.listen("discord-ipc-0") as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        yield
        thread.join(PATIENCE)


@server
def node(home: Path) -> Iterator[None]:
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    from npipe import ethereum, rpc

    api = rpc.API()
    with ethereum.register(api), rpc.Server(api) as serving:
        serving.serve("npipe")
        yield


@server
def language_server(home: Path) -> Iterator[None]:
    """The guide's own language server, in a file."""
    (home / "server.py").write_text(next(program for kind, program in found() if kind == "editor"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "src"), prepend=os.pathsep)
        yield


@server
def mcp_server(home: Path) -> Iterator[None]:
    with program_running(next(program for kind, program in found() if kind == "mcp_client")):
        npipe.connect("demo", wait=True, connect_timeout=PATIENCE).close()
        yield


def found() -> list[tuple[str, str]]:
    return [(example[1], example[2]) for example in EXAMPLE.finditer(TEXT)]


@contextmanager
def program_running(program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    places = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@client
def get_hello() -> None:
    with npipe.connect("shop", wait=True, connect_timeout=PATIENCE) as connection:
        connection.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        response = io.BufferedReader(connection).read()
    assert f"hello, process {os.getpid()}".encode() in response


@client
def mcp_client() -> None:
    import mcp

    from npipe.integrations.mcp import connect

    async def main() -> None:
        async with mcp.Client(connect("demo", wait=True, connect_timeout=PATIENCE)) as client:
            result = await client.call_tool("add", {"a": 1, "b": 2})
            assert result.structured_content == {"result": 3}

    asyncio.run(main())


@pytest.mark.parametrize(("kind", "program"), list(examples(SERVERS)))
def test_an_example_prints_what_it_says(kind: str, program: str, home: Path) -> None:
    """Where a line that prints ends in a comment, that is in what it prints."""
    needed(program)
    with SERVERS[kind](home), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(program, str(GUIDE), "exec"), {"__name__": "example"})
    for said in re.findall(r"print\(.*\)\s+# (.*)", program):
        for word in re.split(r", |\.\.\.", said):
            assert word.strip() in printed.getvalue()


@pytest.mark.parametrize(("kind", "program"), list(examples(CLIENTS)))
def test_an_example_serves(kind: str, program: str, home: Path) -> None:
    needed(program)
    with program_running(program):
        CLIENTS[kind]()


def needed(program: str) -> None:
    """Skip the test where a library of the example is not installed."""
    for name in re.findall(r"^(?:import|from) (\w+)", program, re.M):
        if name != "npipe":
            pytest.importorskip(name)


def test_every_example_is_tested() -> None:
    kinds = {kind for kind, _ in found()}
    assert kinds <= {*SERVERS, *CLIENTS, "editor"}
    assert TEXT.count("```python") == len(found())


def test_the_table_names_what_there_is() -> None:
    for row in re.findall(r"^\| [^|]+ \| (`\w+`[^|]*) \| (`\w+`[^|]*) \|", TEXT, re.M):
        modules, names = (re.findall(r"`(\w+)`", cell) for cell in row)
        for module in modules:
            pytest.importorskip(module)
            there = importlib.import_module(f"npipe.integrations.{module}")
            assert set(names) <= set(there.__all__)


def test_the_private_names_of_the_recipes_exist() -> None:
    agent = pytest.importorskip("paramiko.agent")
    assert callable(agent.AgentSSH._connect)
    assert callable(agent.AgentSSH._close)
