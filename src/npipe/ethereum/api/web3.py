"""The namespace web3: version and Keccak-256. Needs no chain and imports no py-evm.

(Not ``web3.py``: a module of that name reads like the library.)
"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from npipe.errors import InternalError
from npipe.ethereum.values.types import Data, data, to_bytes
from npipe.rpc.service.decorators import method

__all__ = ["Web3", "client_version"]


def client_version() -> str:
    """Return name, version, system and Python, in the form of web3_clientVersion."""
    try:
        number = version("npipe")
    except PackageNotFoundError:  # run from a source tree that was not installed
        number = "0"
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return f"npipe/v{number}/{platform.system().lower()}-{platform.machine()}/{python}"


class Web3:
    """The version of the server, and a hash function."""

    def __init__(self) -> None:
        self._version = client_version()  # once: it reads the package's metadata from disk

    @method(inline=True)
    def client_version(self) -> str:
        """Return the name and version of this server, with system and Python.

        Source: ethereum.org, page JSON-RPC API.
        """
        return self._version

    def sha3(self, octets: Data) -> str:
        """Return the Keccak-256 of bytes, in hex; it differs from the later standard SHA-3.

        Source: ethereum.org, page JSON-RPC API.
        """
        try:
            from eth_hash.auto import keccak

            return data(keccak(to_bytes(octets)))
        except ImportError:
            raise InternalError(
                'web3_sha3 needs an extra package: pip install "npipe[ethereum]"'
            ) from None
