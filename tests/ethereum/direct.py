"""A session called by hand: JSON-RPC with no connection, no thread and no framing in between."""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any

import msgspec

from npipe.errors import RPCError
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.security import PeerIdentity

if sys.platform == "win32":
    from npipe.transport.windows.kernel32 import load

__all__ = ["Direct", "Refused"]


class Refused(RPCError):
    """The error object of a reply."""


class Direct:
    """One connection's session, fed and emptied by hand. It is the owner's, so to say."""

    def __init__(self, api: API, *, connection_id: int = 0) -> None:
        if sys.platform == "win32":
            owner = PeerIdentity(sid=load().process_sids()[1])
        else:
            owner = PeerIdentity(uid=os.geteuid())
        self._session = Session(Dispatcher(api), peer=owner, connection_id=connection_id)
        self._ids = itertools.count()

    def call(self, method: str, *params: Any) -> Any:
        """The result of a call. Raises Refused with the error of the reply."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method}
        if params:  # as our client does it
            request["params"] = params
        reply = msgspec.json.decode(self.exchange(msgspec.json.encode(request)))
        if "error" in reply:
            error = reply["error"]
            raise Refused(error["message"], code=error["code"], data=error.get("data"))
        return reply["result"]

    def exchange(self, request: bytes) -> bytes:
        """The reply to a request, both as they are on a connection."""
        self._session.receive([request])
        while (call := self._session.next_call()) is not None:
            call.run()
        (reply,) = self._session.take().splitlines()
        return bytes(reply)
