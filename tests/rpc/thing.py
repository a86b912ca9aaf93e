"""An object with functions of every kind, public and not."""

from __future__ import annotations

from npipe import rpc


class Thing:
    def get_block_by_number(self, number: int, full: bool = False) -> dict[str, int]:
        """Return a block.

        More about it.
        """
        return {"number": number}

    def already_camel(self) -> None: ...

    @rpc.method(name="other")
    def named(self) -> str:
        return "named"

    @staticmethod
    def static(value: int) -> int:
        return value

    @classmethod
    def klass(cls) -> str:
        return cls.__name__

    def _private(self) -> None: ...

    @property
    def dangerous(self) -> None:
        raise AssertionError("a property was run")

    attribute = 3


def names(api: rpc.API) -> set[str]:
    return set(api.methods) - {"modules", "rpc_modules", "rpc.discover"}
