"""What geth's console understands, to what a node understands."""

from __future__ import annotations

import pytest

from npipe.cli.console.aliases import translate
from npipe.cli.console.expression import Invocation, parse

HASH = "0x" + "ab" * 32


@pytest.mark.parametrize(
    ("line", "method", "params"),
    [
        ("eth.getBlock('latest')", "eth_getBlockByNumber", ["latest", False]),
        ("eth.getBlock(5, true)", "eth_getBlockByNumber", ["0x5", True]),
        ("eth.getBlock()", "eth_getBlockByNumber", ["latest", False]),
        (f"eth.getBlock('{HASH}')", "eth_getBlockByHash", [HASH, False]),
        (f"eth.getTransaction('{HASH}')", "eth_getTransactionByHash", [HASH]),
        ("eth.getBalance('0x1')", "eth_getBalance", ["0x1", "latest"]),
        ("eth.getBalance('0x1', 0)", "eth_getBalance", ["0x1", "0x0"]),
        ("eth.getStorageAt('0x1', '0x0')", "eth_getStorageAt", ["0x1", "0x0", "latest"]),
        ("eth.blockNumber", "eth_blockNumber", []),
        ("math.add(1, 2)", "math_add", [1, 2]),
        ("math.add(1e18, 1.5)", "math_add", [10**18, 1.5]),
        ("eth.getStorageAt('0x1', 1)", "eth_getStorageAt", ["0x1", "0x1", "latest"]),
        (
            "eth.call({to: '0x1', value: 1e18})",
            "eth_call",
            [{"to": "0x1", "value": hex(10**18)}, "latest"],
        ),
        ("eth.getLogs({fromBlock: 0})", "eth_getLogs", [{"fromBlock": "0x0"}]),
    ],
)
def test_translate(line: str, method: str, params: list[object]) -> None:
    call = parse(line)
    assert isinstance(call, Invocation)
    translated = translate(call)
    assert (translated.method, translated.params) == (method, params)
