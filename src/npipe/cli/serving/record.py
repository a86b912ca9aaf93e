"""The outputs of ``npipe relay --record`` and ``npipe tap``: a tape, a transcript, or both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import click

from npipe.cli.common import Failure, one_line
from npipe.recording import Event, Recorder, TapeFile
from npipe.recording.recorder import Sink

__all__ = ["Transcript", "recording"]

WIDTH: Final = 160  # characters of a message that are shown


@contextmanager
def recording(
    path: str | None, target: str, *, show: Callable[[str], object] | None
) -> Iterator[Recorder | None]:
    """Record all messages until the block ends. The value is None if there is no output.

    Args:
        path: The tape; None: no tape.
        target: The address of the server, for the tape.
        show: Called with each line of the transcript; None: no transcript.

    Raises:
        Failure: The tape cannot be made, or could not be written completely.
    """
    errors: list[OSError] = []

    def failed(error: OSError) -> None:
        errors.append(error)
        click.echo(f"npipe: the recording has stopped: {error}", err=True)

    with ExitStack() as stack:
        sinks: list[Sink] = []
        if path is not None:
            try:
                tape = TapeFile(path, target=target)
            except FileExistsError:
                raise Failure(f"{path} exists: remove it, or record to another file") from None
            except OSError as error:
                raise Failure(f"cannot record to {path}: {error.strerror}") from error
            stack.callback(tape.close)
            sinks.append(tape)
        if show is not None:
            sinks.append(Transcript(show))
        if not sinks:
            yield None
            return
        recorder = Recorder(*sinks, on_error=failed)
        stack.callback(recorder.close)
        yield recorder
    if errors:
        raise Failure(f"the recording is incomplete: {errors[0]}")


class Transcript:
    """Prints messages as `` 1 --> {...}`` and `` 1 <-- {...} 0.3 ms``, one per line."""

    def __init__(self, show: Callable[[str], object]) -> None:
        self._show = show
        self._asked: dict[
            tuple[int, bool, str], float
        ] = {}  # time of each request, by connection, caller and id

    def __call__(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.side is not None:
                self._show_message(event)
            elif event.open is not None:
                self._show(f"{event.c:>3} opened by pid {event.open['pid']}")
            elif event.refused is not None:
                self._show(f"{event.c:>3} refused: {one_line(event.refused)}")

    def _show_message(self, event: Event) -> None:
        mark = "-->" if event.side == "client" else "<--"
        if event.end:
            self._show(f"{event.c:>3} {mark} end")
        elif event.lost is not None:
            self._show(f"{event.c:>3} {mark} not shown any further: {one_line(event.lost)}")
        elif event.message:
            data = bytes(event.message)
            text = data.decode()
            took = self._took(event, json.loads(data))
            self._show(f"{event.c:>3} {mark} {_cut(text)}{took}")
        else:
            self._show(f"{event.c:>3} {mark} {_cut(event.text or event.base64 or '')} (not JSON)")

    def _took(self, event: Event, message: Any) -> str:
        """Return the duration of a reply as text; "" for other messages."""
        if not isinstance(message, dict) or "id" not in message:
            return ""
        from_client = event.side == "client"
        if "method" in message:
            self._asked[event.c, from_client, json.dumps(message["id"])] = event.t
            return ""
        began = self._asked.pop((event.c, not from_client, json.dumps(message["id"])), None)
        return "" if began is None else f"  {(event.t - began) * 1000:.1f} ms"


def _cut(text: str) -> str:
    return one_line(text if len(text) <= WIDTH else f"{text[:WIDTH]}…")
