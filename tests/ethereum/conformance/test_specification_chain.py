"""The specification's own chain, served, and its request/response files.

ethereum/execution-apis publishes a chain of 54 blocks that passes through every fork from
Homestead to BPO2, and what a node answers upon it. Where a copy of its ``tests`` folder is (at
$NPIPE_EXECUTION_APIS, or beside the checkout), the chain is imported and every file is played.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import npipe.ethereum
from ethereum.direct import Direct
from npipe.rpc.service.api import API

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(
    os.environ.get("NPIPE_EXECUTION_APIS") or ROOT.parent / "shared" / "data" / "execution-apis"
)
#: The files that are not matched, and why.
OTHERWISE = {
    "eth_config/get-config.io": "the precompile of Osaka is not here, nor another deposit contract",
    **dict.fromkeys(
        (
            f"testing_buildBlockV1/build-block-{name}.io"
            for name in (
                *("empty-transactions", "from-mempool", "invalid-transaction"),
                "with-transactions",
            )
        ),
        "the namespace testing is not served: it builds blocks as geth's miner would, whose gas "
        "limit moves towards geth's own target",
    ),
}


@pytest.fixture(scope="module")
def session() -> Iterator[Direct]:
    if not (FOLDER / "chain.rlp").is_file():
        pytest.skip("no copy of the tests of ethereum/execution-apis ($NPIPE_EXECUTION_APIS)")
    api = API()
    with (
        pytest.MonkeyPatch.context() as patch,
        npipe.ethereum.register(
            api, accounts=0, genesis_file=FOLDER / "genesis.json", import_file=FOLDER / "chain.rlp"
        ),
    ):
        # One file simulates 256 blocks, which a machine with much else to do needs long for.
        patch.setattr("npipe.ethereum.node.simulate.TIMEOUT", 100.0)
        session = Direct(api)
        session.call("evm_setAutomine", False)  # the files are about block 54
        yield session


def exchanges(path: Path) -> Iterator[tuple[bytes, Any]]:
    """The requests of a file, each with its reply."""
    request = b""
    for line in path.read_bytes().splitlines():
        if line.startswith(b">> "):
            request = line[3:]
        elif line.startswith(b"<< "):
            yield request, json.loads(line[3:])


def is_like(reply: Any, wanted: Any) -> bool:
    """Whether a reply has the form of another. Parts of it may be missing, none is new."""
    if isinstance(reply, dict) and isinstance(wanted, dict):
        return reply.keys() <= wanted.keys() and all(
            is_like(value, wanted[key]) for key, value in reply.items()
        )
    if isinstance(reply, list) and isinstance(wanted, list):
        return all(is_like(one, other) for one, other in zip(reply, wanted, strict=False))
    return type(reply) is type(wanted) and str(reply)[:2] == str(wanted)[:2]


@pytest.mark.timeout(400)
def test_its_chain_is_served_and_its_files_are_matched(session: Direct) -> None:
    assert session.call("eth_blockNumber") == "0x36"
    wrong = {}
    files = sorted(FOLDER.glob("*/*.io"))
    for path in files:
        only_form = b"\n// speconly:" in path.read_bytes()  # the file says so itself
        for request, wanted in exchanges(path):
            reply = msgspec.json.decode(session.exchange(request))
            if reply != wanted and not (only_form and is_like(reply, wanted)):
                wrong[f"{path.parent.name}/{path.name}"] = reply
    assert wrong.keys() == OTHERWISE.keys()
    assert len(files) == 232
