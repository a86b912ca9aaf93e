"""npipe.options: the keywords of ``npipe.connect``, ``npipe.listen`` and ``Server.serve``."""

from __future__ import annotations

import inspect

import npipe
from npipe import aio
from npipe.options import ConnectOptions, ListenOptions, ServeOptions


def test_every_option_of_npipe_is_known() -> None:
    """Those of both flavours but two: a function that passes them on has its own
    ``connect_timeout``, and it reads and writes, so there is no ``mode``."""
    connect = set(inspect.signature(npipe.connect).parameters) - {
        "address",
        "connect_timeout",
        "mode",
    }
    connect &= set(inspect.signature(aio.open_connection).parameters)
    assert set(ConnectOptions.__annotations__) == connect
    listen = set(inspect.signature(npipe.listen).parameters) - {"address", "mode"}
    listen &= set(inspect.signature(aio.create_server).parameters)
    assert set(ListenOptions.__annotations__) == listen


def test_serve_has_the_options_of_listen_and_those_of_a_broker() -> None:
    added = set(ServeOptions.__annotations__) - set(ListenOptions.__annotations__)
    assert added == {"stateless", "timeout", "silence"}
