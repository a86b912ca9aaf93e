"""What ``register`` returns: ended once, what was begun last first."""

from __future__ import annotations

import pytest

import npipe.ethereum as ethereum
from ethereum.direct import Direct, Refused
from npipe.ethereum.service import Service
from npipe.rpc.service.api import API


def test_after_the_end_calls_are_refused_and_closing_again_is_nothing(api: API) -> None:
    pytest.importorskip("eth")
    service = ethereum.register(api)
    service.close()
    service.close()
    with pytest.raises(Refused, match="the chain has been stopped"):
        Direct(api).call("eth_gasPrice")


def test_everything_is_ended_once_in_reverse_order() -> None:
    ended: list[str] = []
    with Service(1, ()) as service:
        for name in ("state", "worker"):
            service._closing.callback(ended.append, name)
    service.close()
    assert ended == ["worker", "state"]
