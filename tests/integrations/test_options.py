"""The keywords of ``npipe.connect`` and ``npipe.listen``."""

from __future__ import annotations

import inspect

import npipe
from npipe import aio
from npipe.integrations.options import ConnectOptions, ListenOptions, split


def test_npipe_s_options_are_split_from_the_library_s() -> None:
    assert split({"wait": True, "limit": 5}) == ({"wait": True}, {"limit": 5})
    assert split({}) == ({}, {})


def test_every_option_of_npipe_is_known() -> None:
    """Those of both flavours but two: a library has its own ``connect_timeout``, and it reads and
    writes, so there is no ``mode``."""
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
