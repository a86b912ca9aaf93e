"""The fixtures of ``peers.smb_fixtures``: one real smbd for all of these tests.

Without the extra "smb" none of these modules can be imported: they are left out then, unless
``NPIPE_REQUIRE`` names samba. There is no smbd for Windows.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from peers.require import has_module
from peers.smb_fixtures import listener, pair, pipe_address, remote, smbd

if TYPE_CHECKING:
    from npipe.transport.smb.samba import SambaListener

__all__ = ["address", "listener", "pair", "remote", "smbd"]

if sys.platform == "win32" or not has_module("smbprotocol"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def address(listener: SambaListener) -> str:
    """Where a client finds ``listener``."""
    return pipe_address(listener)
