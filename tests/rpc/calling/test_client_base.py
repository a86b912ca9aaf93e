"""The state of the clients of both flavours between calls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from npipe.rpc.calling.client_base import ClientBase
from npipe.security import PeerIdentity


class Client(ClientBase):
    """A client whose connection is there as long as the test says so."""

    def __init__(self, reconnect: float | None = None, on_disconnect: Any = None) -> None:
        self._begin(reconnect, on_disconnect)
        session: Any = SimpleNamespace(
            peer=PeerIdentity(pid=7), outgoing_calls=SimpleNamespace(members=None)
        )
        self._driver: Any = SimpleNamespace(session=session)
        self.is_connected = True

    @property
    def connected(self) -> bool:
        return self.is_connected

    def close(self) -> None:
        self._closed = True


@pytest.mark.parametrize(("reconnect", "closed"), [(None, True), (5.0, False)])
def test_a_client_that_reconnects_is_not_closed_by_a_loss(
    reconnect: float | None, closed: bool
) -> None:
    client = Client(reconnect)
    assert not client.closed
    client.is_connected = False
    assert client.closed is closed
    client.close()
    assert client.closed


def test_the_end_of_a_connection_is_reported_unless_the_program_made_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    client = Client(on_disconnect=told.append)
    client._ended(client._driver, "lost")
    client.close()
    client._ended(client._driver, "closed")
    assert told == ["lost"]

    def fail(reason: str) -> None:
        raise ZeroDivisionError

    other = Client(on_disconnect=fail)
    other._ended(other._driver, "lost")  # logged, and not raised in the reader
    assert "ZeroDivisionError" in caplog.text


def test_members_and_peer_are_those_of_the_connection() -> None:
    client = Client()
    client.set_members(dict)
    assert client._driver.session.outgoing_calls.members is client._members is dict
    assert client.peer == PeerIdentity(pid=7)
    with pytest.raises(ValueError, match="reconnect"):
        Client(float("nan"))
