"""Reads transcripts and compares: ``-->`` what a client sends, ``<--`` the lines that must come.

``*`` stands for any text, ``<name>`` for a subscription's id, the same at each place. A first
line ``// batch_items: 4`` sets a limit, ``// shells only`` keeps it off the session alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from npipe.rpc import Limits

FILES = sorted(Path(__file__).with_name("transcripts").glob("*.txt"))


class Driver(Protocol):
    """A server, as a client sees it."""

    def send(self, line: str) -> None: ...
    def receive(self) -> str: ...


def limits_of(path: Path) -> Limits:
    found = re.match(r"// batch_items: (\d+)", path.read_text(encoding="utf-8"))
    return Limits(batch_items=int(found[1])) if found else Limits()


def for_shells_only(path: Path) -> bool:
    return path.read_text(encoding="utf-8").startswith("// shells only")


def play(path: Path, driver: Driver) -> None:
    """Send what is to be sent, and check each line that comes back. The last line of every
    transcript is followed by a call of our own, which shows that nothing else came."""
    ids: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("--> "):
            driver.send(line[4:])
        elif line.startswith("<-- "):
            match(line[4:], driver.receive(), ids)
    driver.send('{"jsonrpc":"2.0","id":"last","method":"modules"}')
    assert driver.receive().startswith('{"jsonrpc":"2.0","id":"last","result":{')


def match(expected: str, line: str, ids: dict[str, str]) -> None:
    """Check one line; learn the ids in it."""
    pattern = re.escape(expected).replace(r"\*", ".*")
    names = re.findall("<[a-z]+>", expected)
    for name in names:
        pattern = pattern.replace(
            name, re.escape(ids[name]) if name in ids else "(0x[1-9a-f][0-9a-f]*)"
        )
    found = re.fullmatch(pattern, line)
    assert found, f"expected {expected}\n     got {line}"
    new = [name for name in names if name not in ids]
    ids.update(zip(new, found.groups(), strict=True))
