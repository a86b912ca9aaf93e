"""The console's line editor: Tab completion, history, coloured results. Extra "console".

prompt_toolkit reads a line, rich prints the result. The meaning of a line is in ``console.py``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.javascript import JavascriptLexer  # type: ignore[import-untyped]
from rich.console import Console as RichConsole
from rich.json import JSON
from rich.text import Text

from npipe.cli.common import dump
from npipe.cli.console.catalog import Catalog
from npipe.cli.console.console import COMMANDS
from npipe.cli.console.expression import is_complete, is_in_string

__all__ = ["RichScreen", "Terminal", "history_path"]

# Lines with a password or a key are not stored, as in geth.
SECRET: Final = re.compile(r"personal[._](unlock|new|sign|import|send|ecRecover)", re.IGNORECASE)
_WORD: Final = re.compile(r"[\w$.]*$")
_CALL: Final = re.compile(r"\s*(?:\.batch\s+)?([A-Za-z_$][\w$.]*)")


def history_path() -> Path:
    """Return the file of the history."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "npipe" / "history"


class _History(FileHistory):
    """A history that only its owner can read, and that leaves out secrets."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform != "win32":
                os.fchmod(handle, 0o600)  # it may be older than this version
        finally:
            os.close(handle)
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        if not SECRET.search(string):
            super().store_string(string)


class _Completer(Completer):
    """Completes commands, modules and methods."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        before = document.text_before_cursor
        match = _WORD.search(before)
        word = match[0] if match else ""
        if before.startswith(".") and " " not in before:
            for name in COMMANDS:
                if name.startswith(before[1:]):
                    yield Completion("." + name, -len(before))
            return
        if is_in_string(before) or not word:
            return
        for name in self._catalog.complete(word):
            method = self._catalog.describe(name)
            yield Completion(name, -len(word), display_meta=method.summary if method else "")


class Terminal:
    """Reads lines from a terminal."""

    def __init__(self, catalog: Catalog, prompt: str = "> ") -> None:
        self._catalog = catalog
        self._prompt = prompt
        self._session: PromptSession[str] = PromptSession(
            history=_history(),
            completer=_Completer(catalog),
            complete_while_typing=True,
            lexer=PygmentsLexer(JavascriptLexer),
            key_bindings=_keys(),
            multiline=True,
            prompt_continuation="... ",
            bottom_toolbar=self._toolbar,
        )

    def read(self) -> str:
        """Return the next line, which may span several. Raises EOFError, KeyboardInterrupt."""
        return self._session.prompt(self._prompt)

    def _toolbar(self) -> str:
        """Return the parameters of the method that is being typed."""
        match = _CALL.match(self._session.default_buffer.text)
        method = self._catalog.describe(match[1]) if match else None
        if method is None:
            return " .help  .modules  Tab completes  Ctrl-D exits"
        return f" {method.signature()}  {method.summary}"


def _history() -> FileHistory | None:
    try:
        return _History(history_path())
    except OSError:  # no home directory, or a full disk: continue without a history
        return None


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


class RichScreen:
    """Prints in colours, with timings."""

    def __init__(self) -> None:
        self._out = RichConsole(soft_wrap=True, highlight=False)

    def result(self, value: Any, seconds: float) -> None:
        """Print JSON with colours; after a quantity its decimal value, below it the duration."""
        self._out.print(JSON(dump(value, pretty=False), indent=2))
        note = f"{seconds * 1000:.1f} ms"
        if isinstance(value, str) and re.fullmatch(r"0x(0|[1-9a-f][0-9a-f]{0,23})", value):
            note = f"{int(value, 16)}  {note}"
        self._out.print(Text(note, style="dim"))

    def text(self, text: str) -> None:
        """Show text."""
        self._out.print(Text(text))

    def error(self, text: str) -> None:
        """Show an error in red."""
        self._out.print(Text(text, style="red"))
