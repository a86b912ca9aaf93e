"""``npipe relay``, ``tap`` and ``replay``, and ``serve --replay``, as processes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import npipe
from cli.conftest import WINDOWS, Run, Start
from npipe import rpc
from npipe.cli import endpoints

Serve = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture
def shop(directory: Path, address: str, serve: Serve) -> str:
    """The address of a served shop."""
    (directory / "shop.py").write_text(
        "class Shop:\n"
        "    price = 3\n"
        "    def order(self, name: str): return {'name': name, 'price': self.price}\n"
        "class Dear(Shop):\n"
        "    price = 4\n"
    )
    serve(address, "--api", "shop=shop:Shop")
    return address


def relay(start: Start, *arguments: str) -> subprocess.Popen[str]:
    """Start ``npipe relay``, and wait until it listens."""
    process = start("relay", *arguments)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " -> " in line, process.communicate()
    return process


def stop(process: subprocess.Popen[str]) -> str:
    """End a command as Ctrl-C does; return what it had to say."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out + err


def order(address: str) -> Any:
    with rpc.connect(address, timeout=60) as client:
        return client.call("shop_order", "tea")


@pytest.mark.skipif(WINDOWS, reason="SIGINT goes to no other process under Windows")
def test_what_a_relay_records_is_replayed_and_served(
    shop: str, directory: Path, start: Start, run: Run, serve: Serve
) -> None:
    tape, front = str(directory / "t.jsonl"), f"{shop}2"
    process = relay(start, front, shop, "--record", tape)
    assert order(front) == {"name": "tea", "price": 3}
    stop(process)
    done = run("replay", tape, shop)
    assert done.returncode == 0, done.stdout
    assert "1 replies compared, 0 differences" in done.stdout
    _, ready = serve(front, "--replay", tape)
    assert ready["modules"] == ["shop"]
    assert order(front) == {"name": "tea", "price": 3}
    with rpc.connect(front, timeout=60) as client, pytest.raises(rpc.RPCError) as caught:
        client.call("shop_order", "jam")
    assert caught.value.code == -32001
    serve(f"{shop}3", "--api", "shop=shop:Dear")
    done = run("replay", tape, f"{shop}3")
    assert done.returncode == 1
    assert "shop_order $.result.price: 3 -> 4\n" in done.stdout
    done = run("replay", tape, f"{shop}3", "--ignore", "price", "--json")
    assert (done.returncode, json.loads(done.stdout)["compared"]) == (0, 1)


def test_bad_tapes(shop: str, directory: Path, run: Run) -> None:
    tape = directory / "t.jsonl"
    done = run("replay", str(tape), shop)
    assert (done.returncode, "tape does not exist" in done.stderr) == (1, True)
    tape.write_text("{}\n")
    done = run("replay", str(tape), shop)
    assert (done.returncode, "not a tape" in done.stderr) == (1, True)
    done = run("serve", f"{shop}2", "--replay", str(tape))
    assert (done.returncode, "not a tape" in done.stderr) == (1, True)
    done = run("relay", f"{shop}2", shop, "--record", str(tape))
    assert (done.returncode, "exists" in done.stderr) == (1, True)
    assert tape.read_text() == "{}\n"


# Endpoints that are no pipes.


def where(process: subprocess.Popen[str]) -> str:
    """Start nothing; return what the relay said it listens at."""
    line = process.stdout.readline()  # type: ignore[union-attr]
    assert " -> " in line, process.communicate()
    return line.partition(" -> ")[0]


ECHO = "import sys, os\nwhile data := os.read(0, 65536): os.write(1, data.upper())"
#: Reads nothing of its input's end, as a program that waits for something else.
DEAF = "import os, sys, time\nos.write(1, b'%d ' % os.getpid())\ntime.sleep(600)"


def program(directory: Path, text: str) -> str:
    path = directory / "program.py"
    path.write_text(text)
    return f'exec:"{sys.executable}" "{path}"' if WINDOWS else f"exec:{sys.executable} {path}"


def test_a_relay_to_a_program_started_for_each_client(
    address: str, directory: Path, start: Start
) -> None:
    relay(start, address, program(directory, ECHO))
    large = b"x" * 300_000
    with (
        npipe.connect(address, connect_timeout=60) as one,
        npipe.connect(address, connect_timeout=60) as other,
    ):
        for client in (one, other):
            client.write(b"hello")
            assert io.BufferedReader(client).read(5) == b"HELLO"
    with npipe.connect(address, connect_timeout=60) as client:  # both ways at once
        sender = threading.Thread(target=client.write, args=(large,))
        sender.start()
        assert io.BufferedReader(client).read(len(large)) == large.upper()
        sender.join()


@pytest.mark.skipif(WINDOWS, reason="os.kill(pid, 0) ends a process there")
def test_a_program_does_not_outlive_its_client(address: str, directory: Path, start: Start) -> None:
    """The trap of relays for WSL: a process left behind for each connection."""
    relay(start, address, program(directory, DEAF))
    with npipe.connect(address, connect_timeout=60) as client:
        pid = int(client.read(20))
    with pytest.raises(ProcessLookupError):
        for _ in range(600):
            os.kill(pid, 0)
            threading.Event().wait(0.1)


def test_a_relay_from_a_port(address: str, start: Start) -> None:
    process = start("relay", "tcp:0", address)
    front = where(process)
    assert front.startswith("tcp:127.0.0.1:")
    with npipe.listen(address) as listener, endpoints.dial(front, timeout=30) as client:
        with listener.accept(60) as server:
            client.write(b"question")
            assert server.read(20) == b"question"
            server.write(b"answer")
            assert client.read(20) == b"answer"
        assert client.read(20) == b""


def test_a_relay_to_a_port(address: str, start: Start) -> None:
    with endpoints.listen("tcp:0") as listener:
        relay(start, address, str(listener.address))
        with npipe.connect(address, connect_timeout=60) as client, listener.accept(60) as server:
            client.write(b"question")
            assert server.read(20) == b"question"
            server.write(b"answer")
            assert client.read(20) == b"answer"


def test_a_relay_between_standard_streams_and_a_pipe(address: str, start: Start) -> None:
    with npipe.listen(address) as listener:
        process = start("relay", "-", address)
        with listener.accept(60) as server:
            process.stdin.write("question")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            assert server.read(20) == b"question"
            server.write(b"answer")
        assert process.stdout.read() == "answer"  # type: ignore[union-attr]
        assert process.wait(60) == 0


def test_a_relay_of_one_client_to_standard_streams(address: str, start: Start) -> None:
    process = start("relay", address, "-")
    with npipe.connect(address, connect_timeout=60, wait=True) as client:
        client.write(b"letter")
    assert process.communicate(timeout=60)[0] == "letter"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-", "-"), "cannot both be"),
        (("-", "x", "--record", "f"), "--record needs"),
        (("exec:x", "y"), "TARGET"),
        (("x", "tcp:example.org:80"), "loopback"),
        (("x", "exec:"), "needs a command"),
        (("x", "y", "--access", "nobody"), "access"),
    ],
)
def test_wrong_usage_of_relay(arguments: tuple[str, ...], words: str, run: Run) -> None:
    done = run("relay", *arguments)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_a_relay_waits_for_its_target(address: str, start: Start) -> None:
    relay(start, address, f"{address}2", "--wait", "--timeout", "60")
    with npipe.connect(address, connect_timeout=60) as client:
        client.write(b"early")
        with npipe.listen(f"{address}2") as listener, listener.accept(60) as server:
            assert server.read(20) == b"early"
