"""``npipe tap`` as a process, in front of a live socket."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import WINDOWS, Run, Start
from npipe import rpc

Serve = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture
def shop(directory: Path, address: str, serve: Serve) -> str:
    """The address of a served shop."""
    (directory / "shop.py").write_text("def order(name: str): return {'name': name}\n")
    serve(address, "--api", "shop")
    return address


@pytest.mark.skipif(WINDOWS, reason="Unix sockets only")
def test_a_tap_prints_the_talk_and_leaves(shop: str, directory: Path, start: Start) -> None:
    tape = directory / "t.jsonl"
    process = start("tap", shop, "--record", str(tape))
    assert process.stderr is not None
    assert "tapping" in process.stderr.readline()
    with rpc.connect(shop, timeout=60) as client:
        client.call("shop_order", "tea")
        process.send_signal(signal.SIGINT)
        assert "still open" in process.stderr.readline()
        client.call("shop_order", "jam")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"  1 opened by pid {os.getpid()}"
    assert lines[1].startswith('  1 --> {"jsonrpc":"2.0","id":1,"method":"shop_order"')
    assert lines[2].startswith('  1 <-- {"jsonrpc":"2.0","id":1,"result":{"name":"tea"')
    assert lines[2].endswith(" ms")
    assert lines[-1].endswith("end")
    assert tape.read_text().count("jam") == 2
    with rpc.connect(shop, timeout=60) as client:
        assert client.call("shop_order", "tea") == {"name": "tea"}


@pytest.mark.skipif(WINDOWS, reason="Unix sockets only")
def test_a_second_signal_ends_the_connections_that_are_open(shop: str, start: Start) -> None:
    process = start("tap", shop)
    assert process.stderr is not None
    assert "tapping" in process.stderr.readline()
    with rpc.connect(shop, timeout=60) as client:
        client.call("shop_order", "tea")
        process.send_signal(signal.SIGINT)
        assert "still open" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        with pytest.raises(rpc.ConnectionLost):
            client.call("shop_order", "jam")


@pytest.mark.skipif(WINDOWS, reason="Unix sockets only")
def test_a_tap_without_a_server_is_one_clear_line(address: str, run: Run) -> None:
    done = run("tap", address)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no server" in done.stderr


@pytest.mark.skipif(not WINDOWS, reason="Windows only")
def test_a_tap_on_windows_says_what_to_do(address: str, run: Run) -> None:
    done = run("tap", address)
    assert done.returncode == 2
    assert "relay --record" in done.stderr
