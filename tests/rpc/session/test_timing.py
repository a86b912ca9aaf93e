"""What a session counts of each method: calls, their time, errors by code."""

from __future__ import annotations

from npipe.rpc import API, Limits, RPCError
from npipe.rpc.session.timing import BOUNDS, OTHER, Timing
from rpc.conftest import Wire


class Shop:
    def buy(self, count: int) -> str:
        if count > 9:
            raise RPCError("sold out", code=7)
        return "x" * count


def wire() -> Wire:
    api = API()
    api.register("shop", Shop())
    return Wire(api, limits=Limits(batch_items=2))


def call(method: str, *params: object) -> str:
    return f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{list(params)}}}'


def counts(wire: Wire) -> dict[str, tuple[int, dict[int, int]]]:
    return {
        name: (each.calls, each.errors) for name, each in wire.session.statistics.timings.items()
    }


def test_errors_are_counted_by_method_and_code_whoever_found_them() -> None:
    one = wire()
    one(call("shop_buy", 1), call("shop_buy", 10), call("shop_buy"), call("shop_buy", 10))
    assert counts(one) == {"shop_buy": (4, {7: 2, -32602: 1})}


def test_what_has_no_registered_method_is_other_whatever_it_is_called() -> None:
    one = wire()
    one(*(call(f"made_up{number}") for number in range(50)), "[", "[]", "{}")
    one("[" + ",".join([call("shop_buy", 1)] * 3) + "]")
    assert counts(one) == {OTHER: (54, {-32601: 50, -32700: 1, -32600: 3})}


def test_a_reply_that_is_too_large_is_an_error_of_its_method() -> None:
    api = API()
    api.register("shop", {"text": lambda: "x" * 300})
    one = Wire(api, limits=Limits(reply_bytes=250))
    one(call("shop_text"))
    assert counts(one) == {"shop_text": (1, {-32003: 1})}


def test_calls_are_put_into_buckets() -> None:
    timing = Timing()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, 10.0, 11.0):
        timing.count(seconds)
    assert timing.buckets == [2, 1, *[0] * 14, 1, 1]
    assert timing.calls == 5
    other = Timing()
    other.count_error(5)
    other.add(timing)
    other.add(timing)
    assert (other.calls, other.errors) == (10, {5: 1})
