"""Which endpoints are no pipes."""

from __future__ import annotations

import pytest

from npipe.rpc.remote import remote_module


@pytest.mark.parametrize("endpoint", ["name", "./nats", "ssh://host/a", "nats:/x", ["a"], None])
def test_what_is_none(endpoint: object) -> None:
    assert remote_module(endpoint) is None


def test_nats() -> None:
    pytest.importorskip("nats", reason="nats-py is not installed")
    for endpoint in ("nats://host/a", "tls://host/a", "NATS://host/a"):
        module = remote_module(endpoint)
        assert all(hasattr(module, name) for name in ("connect", "listen", "open_driver", "serve"))
