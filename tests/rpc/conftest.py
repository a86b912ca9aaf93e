"""What the tests of the rpc room share: a service to call, a session to talk to, an address."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npipe.rpc import API, Limits, RPCError
from npipe.rpc.dispatcher import Dispatcher
from npipe.rpc.session import Session
from npipe.rpc.subscriptions import Subscription
from rpc.service import make_api


class Wire:
    """A session alone, as its other end sees it: lines in, lines out."""

    def __init__(self, api: API, *, limits: Limits | None = None, **options: object) -> None:
        self.session = Session(
            Dispatcher(api, **options),  # type: ignore[arg-type]
            limits=limits,
            connection_id=17,
            on_subscription=self._run_subscription,
        )

    def __call__(self, *lines: str | bytes) -> list[str]:
        """Send lines; return the lines that come back."""
        self.session.receive([x.encode() if isinstance(x, str) else x for x in lines])
        while (call := self.session.next_call()) is not None:
            call.run()
        data = self.session.take(pushes=True)
        while self.session.has_pushes:
            data += self.session.take(pushes=True)
        return data.decode().splitlines()

    def _run_subscription(self, subscription: Subscription) -> None:
        error = None
        try:
            for item in subscription.items():
                if not subscription.push(item):
                    break
        except RPCError as caught:
            error = caught
        subscription.finish(error)


@pytest.fixture
def api() -> API:
    return make_api()


@pytest.fixture
def wire(api: API) -> Wire:
    return Wire(api)


@pytest.fixture
def make_wire() -> Callable[..., Wire]:
    return Wire


@pytest.fixture
def address() -> Iterator[str]:
    if sys.platform == "win32":
        yield rf"\\.\pipe\npipe-test-{uuid.uuid4().hex}"
        return
    directory = tempfile.mkdtemp(prefix="np")
    try:
        yield str(Path(directory, "s"))
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(directory)
