"""What ``npipe serve`` makes of its options: objects, a proxy, a spread, a recording."""

from __future__ import annotations

from typing import Any

import pytest

from npipe import rpc
from npipe.cli.common import Failure, LoadError
from npipe.cli.serving.offer import Front, make_offer

OPTIONS: dict[str, Any] = {"limits": rpc.Limits()}
NONE = Front((), False)


class Calculator:
    def double(self, number: int) -> int:
        return 2 * number


@pytest.fixture
def upstream(address: str) -> Any:
    api = rpc.API()
    api.register("calc", Calculator())
    with rpc.Server(api) as server:
        server.serve(address)
        yield address


def test_objects_of_ones_own() -> None:
    apis = (f"calc={__name__}:Calculator",)
    with make_offer(apis, None, {}, NONE, None, options=OPTIONS) as offer:
        assert "calc" in offer.modules
        assert isinstance(offer.server, rpc.Server)
        with offer.server, rpc.connect(offer.server) as client:
            assert client.call("calc_double", 4) == 8


def test_one_server_is_passed_on_to_by_a_proxy_and_several_by_a_spread(upstream: str) -> None:
    for count, kind in ((1, rpc.Proxy), (2, rpc.Spread)):
        front = Front((upstream,) * count, False)
        with make_offer((), None, {}, front, None, options=OPTIONS) as offer:
            assert isinstance(offer.server, kind)
            assert "calc" in offer.modules
            (note,) = offer.notes
            assert note.startswith("all calls are forwarded to ")
            offer.server.stop()


def test_a_server_that_is_not_there_is_a_failure_unless_another_is(
    upstream: str, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = f"{upstream}-gone"
    with (
        pytest.raises(Failure),
        make_offer((), None, {}, Front((gone,), False), None, options=OPTIONS),
    ):
        pass
    with make_offer((), None, {}, Front((gone, upstream), False), None, options=OPTIONS) as offer:
        assert "calc" in offer.modules
        offer.server.stop()
    assert gone in capfd.readouterr().err


def test_a_recording_that_is_not_there(directory: Any) -> None:
    tape = str(directory / "none.jsonl")
    with (
        pytest.raises(LoadError, match="the tape does not exist"),
        make_offer((), None, {}, NONE, tape, options=OPTIONS),
    ):
        pass
