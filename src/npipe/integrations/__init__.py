"""Other libraries over a pipe or a Unix socket, one file per library, imported when it is used.

====================  ==========================================================================
``httpx``, ``httpx2`` ``Transport``, ``AsyncTransport``: an HTTP client
``uvicorn``           ``Server``: an ASGI application with the identity of its caller
``socket``            ``PipeSocket``, ``create_connection``: for code that needs a socket
``requests``          ``Adapter`` (requests), ``Pool`` (urllib3)
``pygls``             ``start_server``: a language server with ``--pipe``
``mcp``               ``connect``, ``serve``: the Model Context Protocol
``web3``              ``Provider``, ``AsyncProvider``: an Ethereum node
``grpclib``           ``Channel``, ``serve``: gRPC in pure Python
``aiohttp``           ``Connector``, ``Site``: an HTTP client and server
``nats``              JSON-RPC over a NATS broker: ``nats://host/subject``
``opentelemetry``     ``middleware``, ``trace``: spans for calls
``anyio``             ``connect``, ``listen``: streams for trio and for every asyncio loop
====================  ==========================================================================

The address comes first, the options of ``npipe.connect`` or ``npipe.listen`` are keywords, and
every other keyword is the library's own. Errors are the library's own, with npipe's as
``__cause__``. Each file has an extra of its name: ``pip install "npipe[httpx]"``.
"""

from __future__ import annotations

__all__ = ["missing"]


def missing(extra: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error for a library that is not installed; it names the extra to install."""
    text = f'npipe.integrations.{extra} needs {error.name}: pip install "npipe[{extra}]"'
    return ModuleNotFoundError(text, name=error.name)
