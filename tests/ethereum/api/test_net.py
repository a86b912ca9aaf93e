"""The namespace net: a network of one, with or without a chain."""

from __future__ import annotations

from npipe.ethereum.api.net import Net
from npipe.ethereum.service import Service


def test_the_version_is_the_chain_id_in_decimal() -> None:
    net = Net(Service(1337, ()))
    assert (net.version(), net.listening(), net.peer_count()) == ("1337", True, "0x0")
