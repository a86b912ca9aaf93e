"""The programs in examples/: those that need no arguments, and sessions with the others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

import npipe
from npipe import rpc
from peers.require import require, run_node

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
WINDOWS = sys.platform == "win32"
PATIENCE = 60.0  # seconds; the start of a program takes long under Wine
WITH_ARGUMENTS = {"activated", "agent", "chat", "language_server", "logging_proxy", "watch"}

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, which on POSIX has the bare names."""
    with tempfile.TemporaryDirectory(prefix="np", ignore_cleanup_errors=WINDOWS) as name:
        yield Path(name)


@pytest.fixture
def environment(directory: Path) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT / "src"), "XDG_RUNTIME_DIR": str(directory)}
    return {**os.environ, **own, "PYTHONUTF8": "1", "PYTHONWARNINGS": "error"}


@pytest.fixture
def name() -> str:
    """A bare name that no other program uses."""
    return f"np-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def address(name: str, directory: Path) -> str:
    return name if WINDOWS else str(directory / "s")


@pytest.fixture
def start(environment: dict[str, str], directory: Path, name: str) -> Iterator[Start]:
    """Start an example, with ``name`` in place of its own address."""
    with ExitStack() as stack:

        def start(example: str, *arguments: str) -> subprocess.Popen[str]:
            text = (EXAMPLES / f"{example}.py").read_text(encoding="utf-8")
            copy = directory / f"{example}.py"
            if not copy.exists():  # or a process that starts just now would read half of it
                copy.write_text(text.replace(f'"example-{example}"', f'"{name}"'), encoding="utf-8")
            process = subprocess.Popen(
                [sys.executable, str(copy), *arguments],
                env=environment,
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.callback(_end, process)
            return process

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    output: IO[str] | None = process.stdout
    assert output is not None
    return output.readline().rstrip("\n")


def finished(process: subprocess.Popen[str], typed: str | None = None) -> tuple[int, str]:
    """Wait for the end of a program; return its status and the rest of its output."""
    printed, _ = process.communicate(typed, timeout=PATIENCE)
    return process.returncode, printed


def test_every_example_is_tested_and_listed() -> None:
    guide = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names >= WITH_ARGUMENTS
    assert all(f"examples/{name}.py" in guide for name in names)


@pytest.mark.parametrize(
    "example", sorted({path.stem for path in EXAMPLES.glob("*.py")} - WITH_ARGUMENTS)
)
def test_it_runs_and_prints_what_its_comments_say(start: Start, example: str) -> None:
    status, printed = finished(start(example))
    assert status == 0, printed
    for line in (EXAMPLES / f"{example}.py").read_text(encoding="utf-8").splitlines():
        if "print(" in line and "  # " in line:
            assert line.split("  # ")[1] in printed


def test_chat_of_two_terminals(start: Start, name: str) -> None:
    first = start("chat", name)
    assert line_of(first) == f"waiting for another terminal in {name}"
    second = start("chat", name)
    assert line_of(first) == f"connected to process {second.pid}"
    assert line_of(second) == f"connected to process {first.pid}"
    assert first.stdin and second.stdin
    for terminal, other, text in ((first, second, "hello"), (second, first, "good morning")):
        terminal.stdin.write(f"{text}\n")
        terminal.stdin.flush()
        assert line_of(other) == f"< {text}"
    assert finished(second) == (0, "")  # its input ends
    assert line_of(first) == "the other terminal has left: press Enter"
    assert finished(first, "\n") == (0, "")


def test_an_agent_and_its_command_line(start: Start) -> None:
    assert finished(start("agent", "status"))[0] == 1
    agent = start("agent", "run")
    assert line_of(agent) == "the agent is running"
    assert finished(start("agent", "run")) == (1, "an agent is running already\n")
    assert finished(start("agent", "pause")) == (0, "")
    status, printed = finished(start("agent", "status"))
    assert status == 0
    assert "'paused': True" in printed
    assert finished(start("agent", "resume")) == (0, "")
    assert finished(start("agent", "quit")) == (0, "")
    assert finished(agent) == (0, "")


def test_a_watcher_pushes_changes(start: Start, directory: Path) -> None:
    watched = directory / "watched"
    watched.mkdir()
    (watched / "old.txt").write_text("")
    server = start("watch", "serve", str(watched))
    assert line_of(server) == f"watching {watched}"
    followers = [start("watch", "follow"), start("watch", "follow")]
    for follower in followers:
        assert line_of(follower) == "subscribed"
    (watched / "new.txt").write_text("text")
    (watched / "old.txt").unlink()
    for follower in followers:
        assert {line_of(follower), line_of(follower)} == {"created new.txt", "removed old.txt"}
    server.kill()
    for follower in followers:
        assert finished(follower)[0] != 0  # the error says that the connection was lost


def test_a_language_server_with_npipe_as_the_editor(start: Start, address: str) -> None:
    pytest.importorskip("pygls")
    shown: list[dict[str, object]] = []
    ui = rpc.API()

    @ui.method("textDocument/publishDiagnostics", inline=True)
    def publish(uri: str, diagnostics: list[dict[str, object]]) -> None:
        shown.append({"uri": uri, "diagnostics": diagnostics})

    with npipe.listen(address) as listener:
        server = start("language_server", f"--pipe={address}")
        connection = listener.accept(PATIENCE)
        with rpc.connect(connection, api=ui, codec="content-length", timeout=PATIENCE) as editor:
            root = {"processId": None, "rootUri": None, "capabilities": {}}
            assert editor.call("initialize", named=root)["serverInfo"]["name"] == "todo"
            editor.notify("initialized", named={})
            text = {"uri": "file:///a", "languageId": "plaintext", "version": 1}
            text["text"] = "one two\nthree TODO four"
            editor.notify("textDocument/didOpen", named={"textDocument": text})
            place = {"textDocument": {"uri": "file:///a"}, "position": {"line": 1, "character": 0}}
            assert editor.call("textDocument/hover", named=place) == {"contents": "3 words"}
            (diagnostics,) = shown
            assert diagnostics["uri"] == "file:///a"
            editor.call("shutdown")
            editor.notify("exit")
            assert finished(server) == (0, "")


def test_a_language_server_with_vscode_jsonrpc_as_the_editor(address: str) -> None:
    pytest.importorskip("pygls")
    require("vscode-jsonrpc")
    program = str(EXAMPLES / "language_server.py")
    place = rf"\\.\pipe\{address}" if WINDOWS else address
    told = run_node("lsp_editor.cjs", place, sys.executable, program)
    todo = {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 8}}
    assert told == {
        "serverInfo": {"name": "todo", "version": "1"},
        "diagnostics": [
            {
                "uri": "file:///a",
                "diagnostics": [
                    {"range": todo, "severity": 3, "message": "to do", "source": "todo"}
                ],
            },
            {"uri": "file:///a", "diagnostics": []},
        ],
        "contents": "3 words",
        "shutdown": None,
        "status": 0,
    }


def test_a_proxy_logs_the_calls_of_a_node(start: Start, name: str, address: str) -> None:
    api = rpc.API()
    api.register("node", {"add": lambda a, b: a + b})
    with rpc.Server(api) as node:
        node.serve(address)
        front = name + "-front" if WINDOWS else str(Path(address).with_name("front"))
        proxy = start("logging_proxy", front, address)
        assert "listening at" in line_of(proxy)
        with rpc.connect(front, timeout=PATIENCE, wait=True, connect_timeout=PATIENCE) as client:
            assert client.call("node_add", 1, 2) == 3
            assert "client 1: node_add: ok, " in line_of(proxy)
            with pytest.raises(rpc.MethodNotFound):
                client.call("node_none")
            assert "client 1: node_none: error -32601, " in line_of(proxy)
            client.notify("node_add", 3, 4)
            assert line_of(proxy).endswith("client 1: node_add from the client")
        if not WINDOWS:
            proxy.send_signal(signal.SIGINT)
            assert finished(proxy) == (0, "")


@pytest.mark.skipif(WINDOWS, reason="socket activation is systemd's")
def test_the_activated_example_serves_the_socket_it_is_given(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        address = str(directory / "s")
        sock.bind(address)
        sock.listen()
        # As systemd does: the socket is descriptor 3, and the variable names the process.
        program = str(EXAMPLES / "activated.py")
        code = (
            f"import os, sys; os.dup2({sock.fileno()}, 3)\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            f"os.execv(sys.executable, [sys.executable, {program!r}])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            pass_fds=[sock.fileno()],
        )
        try:
            with rpc.connect(address, connect_timeout=20) as client:
                assert client.call("app_greet", "you", timeout=60) == "hello you"
        finally:
            process.kill()
            process.wait()
