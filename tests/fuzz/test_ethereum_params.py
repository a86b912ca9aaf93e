"""Any parameters to any method of the chain: an answer or a clear error, never an internal one.

Values are drawn that mean something to the methods (addresses, hashes, blocks, requests, overrides)
and some that mean nothing, and put together in any way. A short run is part of the suite; a long
one is ``NPIPE_FUZZ_TRIES=100000 pytest tests/fuzz/test_ethereum_params.py``.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

import npipe.ethereum
from ethereum.contracts import COUNTER, LOGGER, REVERT, assemble, init
from ethereum.direct import Direct, Refused
from npipe.rpc.service.api import API

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

TRIES = int(os.environ.get("NPIPE_FUZZ_TRIES", "1500"))
#: Methods that would run for long, or end what is being tried.
LEFT_OUT = {"anvil_mine", "hardhat_mine", "evm_mine"}
#: The wording of py-evm, rlp and Python, which no client can make sense of.
FOREIGN = re.compile(
    r"eth\.|rlp\.|trie|Traceback|object has no|unexpected keyword|<class|0x0x|"
    r"Value must|must be of type|VMError|ValidationError|KeyError|TypeError|Invariant"
)
#: geth's code for this one is that of an internal error, and so is the specification's.
BY_SPECIFICATION = "err: nonce has max value"

WORDS = [0, 1, 2, 0x7F, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**128, 2**256 - 1]
JUNK: list[Any] = [None, True, False, -1, 0, 1, 1.5, 2**70, "", "0x", "0x0", "0X1", "latest", "x"]
JUNK += ["0x" + "f" * 65, "\x00", "é", [], {}, [[]], {"a": 1}, "0x" + "zz" * 20, "pending", "0xg"]
CODES = [COUNTER, LOGGER, REVERT, b"\xfe", b"\xef", b"\x60" * 300, b"\x5b" * 9, init(COUNTER)]
CODES += [assemble("0x00 0x00 0x00 0x00 0x00 ADDRESS GAS CALL"), b"\xef\x01\x00" + b"\x09" * 20]


class Values:
    """Draws values; the addresses and hashes among them exist on the chain that is tried."""

    def __init__(self, source: random.Random, call: Callable[..., Any]) -> None:
        self.source, self.call = source, call
        self.accounts = [*call("eth_accounts")[:3], f"0x{9:040x}", f"0x{1:040x}", "0x" + "77" * 20]
        self.hashes = ["0x" + "11" * 32]
        with contextlib.suppress(Refused):  # what was tried before may have taken the money away
            request = {"from": self.accounts[0], "data": "0x60ff600055", "gas": "0x186a0"}
            self.hashes.append(call("eth_sendTransaction", request))
        self.hashes.append(call("eth_getBlockByNumber", "latest", False)["hash"])

    def number(self) -> Any:
        number = self.source.choice([self.source.randrange(300), self.source.choice(WORDS)])
        return self.source.choice([hex(number), number if number < 2**60 else hex(number)])

    def octets(self) -> str:
        size = self.source.choice([0, 1, 4, 31, 32, 33, 64, 213, 500])
        code = self.source.choice([self.source.randbytes(size), *CODES])
        return "0x" + code.hex()

    def block(self) -> Any:
        tags = ["latest", "pending", "earliest", "safe", "finalized", "0x1", None]
        return self.source.choice([*tags, self.hashes[-1], {"blockHash": self.hashes[-1]}])

    def request(self) -> dict[str, Any]:
        fields: dict[str, Callable[[], Any]] = {
            "from": self.address,
            "to": self.address,
            "data": self.octets,
            "input": self.octets,
            "gas": lambda: self.source.choice(["0x5208", "0x186a0", self.number()]),
            "value": self.number,
            "gasPrice": self.number,
            "maxFeePerGas": self.number,
            "maxPriorityFeePerGas": self.number,
            "nonce": self.number,
            "type": self.number,
            "chainId": lambda: self.source.choice(["0x539", self.number()]),
            "accessList": lambda: [{"address": self.address(), "storageKeys": [self.hash()]}],
            "blobVersionedHashes": lambda: [self.hash()],
            "maxFeePerBlobGas": self.number,
            "authorizationList": lambda: [
                {
                    "chainId": self.number(),
                    "address": self.address(),
                    **{name: self.number() for name in ("nonce", "r", "s", "yParity")},
                }
            ],
        }
        return self.some(fields, 4)

    def address(self) -> Any:
        return self.source.choice(self.accounts)

    def hash(self) -> Any:
        return self.source.choice([*self.hashes, f"0x{self.source.choice(WORDS[:-1]):064x}"])

    def overrides(self) -> dict[str, Any]:
        fields: dict[str, Callable[[], Any]] = {
            "balance": self.number,
            "nonce": self.number,
            "code": self.octets,
            "state": lambda: {self.hash(): self.hash()},
            "stateDiff": lambda: {self.hash(): self.hash()},
            "movePrecompileToAddress": self.address,
        }
        return {self.address(): self.some(fields, 2)}

    def block_overrides(self) -> dict[str, Any]:
        names = ("number", "time", "gasLimit", "baseFeePerGas", "blobBaseFee", "difficulty")
        fields: dict[str, Callable[[], Any]] = dict.fromkeys(names, self.number)
        fields |= {"feeRecipient": self.address, "prevRandao": self.hash, "beaconRoot": self.hash}
        fields["withdrawals"] = lambda: [
            {
                "index": self.number(),
                "validatorIndex": self.number(),
                "address": self.address(),
                "amount": self.number(),
            }
        ]
        return self.some(fields, 2)

    def config(self) -> dict[str, Any]:
        tracers = ["callTracer", "prestateTracer", "4byteTracer", "noopTracer", "", "x"]
        fields: dict[str, Callable[[], Any]] = {
            "tracer": lambda: self.source.choice(tracers),
            "tracerConfig": lambda: {"diffMode": True, "withLog": True},
            "limit": lambda: 5,
            "enableMemory": lambda: True,
            "enableReturnData": lambda: True,
            "stateOverrides": self.overrides,
            "blockOverrides": self.block_overrides,
        }
        return self.some(fields, 3)

    def simulation(self) -> dict[str, Any]:
        fields: dict[str, Callable[[], Any]] = {
            "blockOverrides": self.block_overrides,
            "stateOverrides": self.overrides,
            "calls": lambda: [self.request() for _ in range(self.source.randrange(3))],
        }
        blocks = [self.some(fields, 3) for _ in range(self.source.randrange(3))]
        flags = ("traceTransfers", "validation", "returnFullTransactions")
        return {"blockStateCalls": blocks, **{flag: self.source.random() < 0.5 for flag in flags}}

    def criteria(self) -> dict[str, Any]:
        fields: dict[str, Callable[[], Any]] = {
            "fromBlock": self.block,
            "toBlock": self.block,
            "blockHash": self.hash,
            "address": lambda: [self.address()],
            "topics": lambda: [self.hash(), None],
        }
        return self.some(fields, 2)

    def some(self, fields: dict[str, Callable[[], Any]], most: int) -> dict[str, Any]:
        """Some of these fields, now and then with a value that it cannot have."""
        names = self.source.sample(list(fields), self.source.randrange(most + 1))
        return {name: self.junk_or(fields[name]) for name in names}

    def junk_or(self, draw: Callable[[], Any]) -> Any:
        return self.source.choice(JUNK) if self.source.random() < 0.04 else draw()

    def any(self) -> Any:
        kinds = [self.number, self.octets, self.block, self.request, self.address, self.hash]
        kinds += [self.overrides, self.block_overrides, self.config, self.simulation]
        return self.junk_or(self.source.choice([*kinds, self.criteria]))

    def for_parameter(self, name: str) -> Any:
        """A value for a parameter of that name, mostly of the kind that it wants."""
        known: dict[str, Callable[[], Any]] = {
            "address": self.address,
            "block": self.block,
            "newest_block": self.block,
            "transaction": lambda: self.source.choice([self.request(), self.hash()]),
            "config": self.config,
            "overrides": self.overrides,
            "block_overrides": self.block_overrides,
            "simulation": self.simulation,
            "criteria": self.criteria,
            "slots": lambda: self.source.choice([[self.hash()], {self.address(): [self.hash()]}]),
            "slot": self.number,
            "raw": self.octets,
            "octets": self.octets,
            "message": self.octets,
            "code": self.octets,
            "value": lambda: self.source.choice([self.hash(), self.number()]),
            "full": lambda: True,
            "on": lambda: True,
        }
        draw = known.get(name, self.number)
        return self.any() if self.source.random() < 0.15 else self.junk_or(draw)


@pytest.mark.timeout(0 if TRIES > 10_000 else 150)
def test_no_parameters_make_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("calls", "simulate"):
        monkeypatch.setattr(f"npipe.ethereum.node.{module}.TIMEOUT", 0.3)
    seed = int(os.environ.get("NPIPE_FUZZ_SEED", "0")) or random.randrange(2**32)
    source, wrong = random.Random(seed), dict[str, Any]()
    api = API()
    with npipe.ethereum.register(api, accounts=4) as service:
        session = Direct(api)
        methods = {
            each["name"]: [parameter["name"] for parameter in each["params"]]
            for each in session.call("rpc.discover")["methods"]
            if each["name"] not in LEFT_OUT
        }
        start = session.call("evm_snapshot")
        values = Values(source, session.call)
        for number in range(TRIES):
            if number % 100 == 99:  # begin again: what was set must not make all else impossible
                session.call("evm_revert", start)
                start = session.call("evm_snapshot")
                values = Values(source, session.call)
            method = source.choice(list(methods))
            names = methods[method]
            params = [values.for_parameter(name) for name in names[: source.randrange(8)]]
            try:
                session.call(method, *params)
            except Refused as error:
                told = str(error.message)
                internal = error.code == -32603 and not told.startswith(BY_SPECIFICATION)
                if internal or FOREIGN.search(told):
                    wrong.setdefault(f"{method}: {told[:80]}", params)
        assert service.node is not None
        assert service.node.worker.call(lambda: 5) == 5
    assert not wrong, f"seed {seed}: " + "\n".join(f"{key} {value}" for key, value in wrong.items())
