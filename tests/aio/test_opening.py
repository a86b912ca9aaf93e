"""What is awaited, or entered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from npipe.aio.opening import Opening


class Thing:
    def __init__(self) -> None:
        self.log: list[str] = ["open"]

    async def __aenter__(self) -> Thing:
        self.log.append("enter")
        return self

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.log.append(f"exit {kind and kind.__name__}")


async def open_thing() -> Thing:
    await asyncio.sleep(0)
    return Thing()


def test_awaited() -> None:
    async def main() -> None:
        assert (await Opening(open_thing())).log == ["open"]
        async with await Opening(open_thing()) as thing:
            assert thing.log == ["open", "enter"]

    asyncio.run(main())


def test_entered_and_left() -> None:
    async def main() -> None:
        async with Opening(open_thing()) as thing:
            assert thing.log == ["open", "enter"]
        assert thing.log == ["open", "enter", "exit None"]
        with pytest.raises(KeyError):
            async with Opening(open_thing()) as thing:
                raise KeyError
        assert thing.log[-1] == "exit KeyError"

    asyncio.run(main())


def test_wherever_a_coroutine_goes() -> None:
    assert asyncio.run(Opening(open_thing())).log == ["open"]

    async def main() -> None:
        task = asyncio.create_task(Opening(open_thing()))
        assert (await task).log == ["open"]
        one, other = await asyncio.gather(Opening(open_thing()), Opening(open_thing()))
        assert one is not other
        async with asyncio.timeout(60):
            await asyncio.wait_for(Opening(open_thing()), 60)

    asyncio.run(main())


def test_one_that_is_not_awaited_is_warned_of() -> None:
    with pytest.warns(RuntimeWarning, match="never awaited"):
        Opening(open_thing())
    Opening(open_thing()).close()
