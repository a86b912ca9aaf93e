"""``npipe attach`` as a process: with a pipe for a terminal, and with a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import stat
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import WINDOWS, Run, Start
from npipe import rpc


class Shop:
    @rpc.subscription()
    async def sales(self) -> AsyncIterator[str]:
        """Push two, and then nothing for ever."""
        for article in ("pear", "plum"):
            yield article
        await asyncio.Event().wait()

    def in_stock(self, article: str) -> int:
        """Tell how many there are."""
        return len(article)


@pytest.fixture
def shop(address: str) -> Iterator[str]:
    api = rpc.API()
    api.register("shop", Shop())
    with rpc.Server(api) as server:
        server.serve(address)
        yield address


def test_exec_prints_one_result(shop: str, run: Run) -> None:
    done = run("attach", shop, "--exec", 'shop.inStock("apple")')
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


def test_exec_fails_with_one_line(shop: str, run: Run) -> None:
    done = run("attach", shop, "--exec", "shop.nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"npipe: .*-32601.*\n", done.stderr)


def test_lines_of_a_pipe_are_read_and_json_is_printed(shop: str, run: Run) -> None:
    lines = 'shop.inStock("a")\nshop_inStock bb\nshop.inStock(\n  "ccc"\n)\nno_such\nmodules'
    done = run("attach", shop, typed=lines)
    assert [json.loads(line) for line in done.stdout.splitlines()[:3]] == [1, 2, 3]
    assert "\x1b" not in done.stdout
    assert done.returncode == 1  # one of them failed
    assert done.stderr.count("\n") == 1


def test_every_line_that_a_program_reads_is_json(shop: str, run: Run) -> None:
    lines = ".help\n.help shop.inStock\n.modules\n.batch shop.inStock('a'); no_such\n.exit\n"
    done = run("attach", shop, typed=lines)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 4
    assert ".subscribe eth newHeads" in told[0]
    assert told[1] == "shop_inStock(article)  Tell how many there are."
    assert told[3][0] == 1
    assert (done.returncode, done.stderr) == (0, "")


def test_no_server(address: str, run: Run) -> None:
    done = run("attach", address, "--exec", "eth.blockNumber")
    assert done.returncode == 1
    assert "npipe serve" in done.stderr


class Screen:
    """The far end of a pseudo-terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._seen = ""

    def expect(self, text: str) -> None:
        """Read until ``text`` is on the screen; forget what came before it."""
        while text not in self._seen:
            try:
                ready, _, _ = select.select([self._descriptor], [], [], 20)
                data = os.read(self._descriptor, 65536) if ready else b""
            except OSError:  # EIO: the console has gone
                data = b""
            if b"\x1b[6n" in data:  # "where is the cursor?", which a terminal answers
                os.write(self._descriptor, b"\x1b[1;1R")
            assert data, f"{text!r} never came; {self._seen!r} did"
            self._seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))
        self._seen = self._seen.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())


@pytest.fixture
def terminal(start: Start, env: dict[str, str]) -> Iterator[Callable[[str], tuple[Any, Screen]]]:
    pytest.importorskip("prompt_toolkit", reason="the extra console")
    pytest.importorskip("rich", reason="the extra console")
    if sys.platform == "win32":
        pytest.skip("no pseudo-terminals")
    import fcntl
    import pty
    import termios

    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    env["TERM"] = "xterm"

    def open_(address: str) -> tuple[Any, Screen]:
        return start("attach", address, stdin=far, stdout=far, stderr=far), Screen(near)

    # A program in the background is started with Ctrl-C ignored, and hands that on: not so in here.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield open_
    signal.signal(signal.SIGINT, before)
    os.close(near)
    os.close(far)


@pytest.mark.skipif(WINDOWS, reason="no pseudo-terminals")
def test_the_console_in_a_terminal(
    shop: str, terminal: Callable[[str], tuple[Any, Screen]], directory: Path
) -> None:
    process, screen = terminal(shop)
    screen.expect("modules: rpc shop")
    screen.expect(">")
    screen.type("shop.inS")
    screen.expect("shop.inStock")  # completion offers it
    screen.type('tock("apple"')
    screen.expect("(article)")  # its parameters are shown
    screen.type("\r")  # an open bracket: this begins another line
    screen.expect("...")
    screen.type(")\r")
    screen.expect("5")
    screen.expect(" ms")
    screen.type(".subscribe shop sales\r")
    screen.expect("plum")
    process.send_signal(signal.SIGINT)  # Ctrl-C ends the subscription, and not the console
    screen.expect(">")
    screen.type("personal.unlockAccount(1, 'secret')\r")
    screen.expect("-32601")
    screen.type("\x1b[A\x1b[A")  # twice up: the line before, out of the history
    screen.type("\x04")
    screen.type("\x03")  # Ctrl-C drops the line
    screen.type(".exit\r")
    assert process.wait(60) == 0
    history = directory / "state" / "npipe" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "inStock" in history.read_text()
    assert "secret" not in history.read_text()


def test_exec_on_the_development_chain(serve: Callable[..., Any], run: Run, address: str) -> None:
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    serve(address)
    sent = "eth.sendTransaction({from: eth.accounts[0], to: eth.accounts[1], value: 1e18})"
    for line, result in (
        (f"eth.getTransactionReceipt({sent}).status", "0x1"),
        ('eth.getBlock("latest").number', "0x1"),
        ("eth.getBalance(eth.accounts[1])", hex(10_001 * 10**18)),
    ):
        done = run("attach", address, "--exec", line)
        assert (json.loads(done.stdout), done.stderr) == (result, "")
