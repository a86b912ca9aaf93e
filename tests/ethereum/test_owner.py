"""The owner check: only the owner may use the namespaces admin and personal."""

from __future__ import annotations

import os
import sys

import pytest

import npipe.ethereum as ethereum
from npipe.ethereum.owner import is_owner
from npipe.rpc.service.api import API
from npipe.security import PeerIdentity


@pytest.mark.skipif(sys.platform == "win32", reason="uids are of POSIX")
def test_admin_and_personal_exist_for_the_owner_only(api: API, service: ethereum.Service) -> None:
    everybody = API.table(api, PeerIdentity(uid=os.geteuid() + 1))
    owner = API.table(api, PeerIdentity(uid=os.geteuid()))
    private = {name for name in owner if name.startswith(("admin_", "personal_"))}
    assert len(private) > 5
    assert not private & set(everybody)
    assert not private & set(API.table(api, None))
    assert set(api.modules(PeerIdentity(uid=os.geteuid() + 1))) & {"admin", "personal"} == set()


def test_a_peer_that_is_not_known_is_not_the_owner() -> None:
    assert not is_owner(PeerIdentity())
