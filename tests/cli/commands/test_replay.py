"""``npipe replay`` as a process: its report and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from npipe.recording import TapeFile
from npipe.recording.tape import message_event

Serve = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture
def tape(directory: Path) -> str:
    """One question, and the answer of another server."""
    path = directory / "t.jsonl"
    file = TapeFile(path, target="another")
    ask = b'{"jsonrpc":"2.0","id":1,"method":"shop_order","params":["tea"]}'
    reply = b'{"jsonrpc":"2.0","id":1,"result":{"name":"tea","price":3,"at":"noon"}}'
    file([message_event(0, 1, "client", ask), message_event(0, 1, "server", reply)])
    file.close()
    return str(path)


@pytest.fixture
def shop(directory: Path, address: str, serve: Serve) -> str:
    (directory / "shop.py").write_text(
        "def order(name: str): return {'name': name, 'price': 4, 'at': 'now'}\n"
    )
    serve(address, "--api", "shop")
    return address


def test_differences_are_listed_and_the_exit_status_is_1(tape: str, shop: str, run: Run) -> None:
    done = run("replay", tape, shop)
    assert done.returncode == 1
    first, second, total = done.stdout.splitlines()
    assert first == 'shop_order $.result.at: "noon" -> "now"'
    assert second == "shop_order $.result.price: 3 -> 4"
    assert "1 replies compared, 2 differences" in total


def test_what_is_ignored_is_no_difference(tape: str, shop: str, run: Run) -> None:
    done = run("replay", tape, shop, "--ignore", "price", "--ignore", ".at", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert (report["sent"], report["compared"], report["differences"]) == (1, 1, [])


def test_what_goes_wrong_is_one_line(tape: str, address: str, directory: Path, run: Run) -> None:
    done = run("replay", tape, address)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no server at" in done.stderr
    done = run("replay", str(directory / "nothing"), address)
    assert (done.returncode, "tape does not exist" in done.stderr) == (1, True)
