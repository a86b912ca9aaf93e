"""Objects in the form of npipe's first version (``execute``), which ``API.merge`` accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Raw

from npipe.rpc.service.binding import Signature
from npipe.rpc.service.decorators import Options
from npipe.rpc.service.method import Method

__all__ = ["Request", "SeedAPI", "seed_method"]


class SeedAPI(Protocol):
    """Interface of an API object in npipe's first version, which ``API.merge`` accepts."""

    name: str
    version: str

    def methods(self) -> list[str]: ...
    def execute(self, request: Request, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Request:
    """The argument of ``SeedAPI.execute``. ``params`` is the JSON as received, or empty."""

    method: str
    params: bytes
    id: bytes = b"null"
    jsonrpc: str = "2.0"


def seed_method(other: SeedAPI, name: str) -> Method:
    """Make a method that calls ``execute`` of the object with the params as received."""

    def execute(params: Raw, /) -> Any:
        return other.execute(Request(name, bytes(params)))

    signature = Signature((), Any, False, lambda params: (params,), execute)
    return Method(name, signature, Options(), False, execute)
