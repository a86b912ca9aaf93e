"""The terminal: Tab completion, the history file, and what a result looks like."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("prompt_toolkit", reason='the terminal needs the extra "console"')

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from npipe.cli.console import terminal
from npipe.cli.console.catalog import Catalog, MethodHelp
from npipe.cli.console.terminal import RichScreen, history_path


def completions(catalog: Catalog, text: str) -> list[str]:
    completer = terminal._Completer(catalog)
    found = completer.get_completions(Document(text), CompleteEvent())
    return [each.text for each in found]


@pytest.fixture
def catalog() -> Catalog:
    methods = [
        MethodHelp("eth_call", ("transaction", "[block]"), "Return what it would return."),
        MethodHelp("eth_chainId"),
        MethodHelp("status"),
    ]
    return Catalog(methods, {"eth": "1.0"}, exact=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eth.c", ["eth.call", "eth.chainId"]),
        ("eth_ca", ["eth_call"]),
        ("1 + eth.ca", ["eth.call"]),
        ("e", ["eth."]),
        ("st", ["status"]),
        ("", []),
        ('eth.call("eth.c', []),  # inside a string
        ("eth.call('eth.c", []),
        ('eth.call("a", eth.c', ["eth.call", "eth.chainId"]),
        (".su", [".subscribe"]),
        (".batch e", ["eth."]),
    ],
)
def test_tab_completes_modules_methods_and_commands(
    catalog: Catalog, text: str, expected: list[str]
) -> None:
    assert completions(catalog, text) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_the_history_is_the_owners_and_keeps_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = history_path()
    assert path == tmp_path / "npipe" / "history"
    path.parent.mkdir()
    path.write_text("")
    path.chmod(0o644)
    history = terminal._History(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for line in ("eth.blockNumber", 'personal.unlockAccount("0x1", "hunter2")'):
        history.store_string(line)
    assert list(history.load_history_strings()) == ["eth.blockNumber"]


def test_without_a_home_the_console_works_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(terminal, "history_path", lambda: tmp_path / "file" / "history")
    assert terminal._history() is None


def test_a_quantity_has_its_decimal_beside_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    RichScreen().result("0x10", 0.0015)
    assert capsys.readouterr().out.splitlines() == ['"0x10"', "16  1.5 ms"]
    RichScreen().result({"a": "0x10"}, 0.001)
    assert "16" not in capsys.readouterr().out
