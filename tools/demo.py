"""The demonstration of ``make run``: ``npipe serve`` in its own process, called by two clients.

One client is web3.py, unchanged; the other is npipe's. Each step is printed as it happens. No
process and no file is left behind. Needs the extra "ethereum" and web3.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import web3

from npipe import rpc

ETHER = 10**18
BURST_SECONDS = 1.0
BATCH = 100

# A counter. increment() adds one to slot 0 and logs Counted(uint256); number() returns slot 0.
COUNTER_ABI = [
    {"type": "function", "name": "increment", "inputs": [], "outputs": [],
     "stateMutability": "nonpayable"},
    {"type": "function", "name": "number", "inputs": [], "outputs": [{"type": "uint256"}],
     "stateMutability": "view"},
    {"type": "event", "name": "Counted", "anonymous": False,
     "inputs": [{"name": "number", "type": "uint256", "indexed": False}]},
]  # fmt: skip
COUNTER_CODE = (
    "605f80600b6000396000f3"  # copy what follows into memory and return it: that is deploying
    "60003560e01c"  # the selector: the first four bytes of the input
    "8063d09de08a14601e57"  # increment() jumps to 1e
    "638381f58a14605357"  # number() jumps to 53
    "60006000fd"  # anything else reverts
    "5b600054600101806000556000527f"  # 1e: slot 0 += 1, into memory too
    "15df0a6785153dfd625c8af51397704c7ddaff0690e5076243b5e52f4a0d5409"  # the event's hash
    "60206000a100"  # log it, stop
    "5b60005460005260206000f3"  # 53: return slot 0
)


def main() -> int:
    """Run every step; the exit status is 0 if all of them were right."""
    began = time.monotonic()
    with private_address() as address, served(address):
        drive_with_web3(address)
        drive_with_npipe(address)
    print(f"\nAll of it worked, in {time.monotonic() - began:.1f} s.")
    print_what_next()
    return 0


@contextmanager
def private_address() -> Iterator[str]:
    """Return an unused address, and check that nothing is left at it."""
    if sys.platform == "win32":
        yield rf"\\.\pipe\npipe-demo-{os.getpid()}"
        return
    with tempfile.TemporaryDirectory(prefix="npipe-demo-") as directory:
        yield str(Path(directory, "demo.ipc"))
        left = os.listdir(directory)
        check("files left behind", len(left), 0)


@contextmanager
def served(address: str) -> Iterator[None]:
    """Run ``npipe serve`` until the end of the block, then stop it as Ctrl-C or kill would."""
    title("npipe serve", "in a process of its own")
    command = [sys.executable, "-m", "npipe.cli", "serve", address, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            raise SystemExit(f"npipe serve did not start (exit status {process.wait()})")
        facts = json.loads(ready)
        step("listening on", facts["address"])
        step("process", facts["pid"])
        step("modules", " ".join(facts["modules"]))
        yield
        title("npipe serve", "stopped")
    finally:
        process.terminate()
        status = process.wait(timeout=20)
    if sys.platform != "win32":  # there, terminate() is a kill
        check("exit status of the server", status, 0)


def drive_with_web3(address: str) -> None:
    """Send ether with web3.py's own IPC provider."""
    title("web3.py", f"{web3.__version__}, unchanged, IPCProvider")
    w3 = web3.Web3(web3.IPCProvider(address))
    check("chain id", w3.eth.chain_id, 1337)
    alice, bob = list(w3.eth.accounts)[:2]
    before = w3.eth.get_balance(bob)
    step("balance of bob", f"{before / ETHER:,.2f} ETH")
    sent = w3.eth.send_transaction(
        {"from": alice, "to": bob, "value": web3.Web3.to_wei(3, "ether")}
    )
    check("transfer of 3 ETH, status", w3.eth.wait_for_transaction_receipt(sent)["status"], 1)
    check("bob gained, in ETH", (w3.eth.get_balance(bob) - before) // ETHER, 3)
    drive_contract(w3, alice)


def drive_contract(w3: web3.Web3, account: str) -> None:
    """Deploy the counter, count twice, read it, and read its logs."""
    factory = w3.eth.contract(abi=COUNTER_ABI, bytecode=COUNTER_CODE)
    receipt = w3.eth.wait_for_transaction_receipt(factory.constructor().transact({"from": account}))
    step("contract deployed at", receipt["contractAddress"])
    counter = w3.eth.contract(abi=COUNTER_ABI, address=receipt["contractAddress"])
    check("number()", counter.functions.number().call(), 0)
    for _ in range(2):
        sent = counter.functions.increment().transact({"from": account})
        receipt = w3.eth.wait_for_transaction_receipt(sent)
    step(
        "increment() twice, last receipt",
        f"block {receipt['blockNumber']}, gas {receipt['gasUsed']:,}",
    )
    check("event in it", counter.events.Counted().process_receipt(receipt)[0]["args"]["number"], 2)
    check("number()", counter.functions.number().call(), 2)


def drive_with_npipe(address: str) -> None:
    """The same server through npipe's client: a call, a batch, a burst."""
    title("npipe", "its own client")
    with rpc.connect(address) as client:
        block = int(client.call("eth_blockNumber"), 16)
        step("eth_blockNumber", block)
        numbers = client.batch(
            [("eth_getBlockByNumber", [hex(n), False]) for n in range(block + 1)]
        )
        hashes = [found["hash"] for found in numbers]
        check("blocks in one batch", len(set(hashes)), block + 1)
        step("one call after another", f"{burst(lambda: client.call('eth_chainId')):,.0f} calls/s")
        many: list[tuple[str, list[str]]] = [("eth_chainId", [])] * BATCH
        rate = BATCH * burst(lambda: client.batch(many))
        step(f"batches of {BATCH}", f"{rate:,.0f} calls/s")


def burst(action: Callable[[], object]) -> float:
    """Repeat ``action`` for a while; return how often it ran in a second."""
    count, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < BURST_SECONDS:
        action()
        count += 1
    return count / passed


def print_what_next() -> None:
    """Print what to type next."""
    bin_ = Path(sys.executable).parent
    npipe = os.path.relpath(bin_ / "npipe") if (bin_ / "npipe").exists() else "npipe"
    print("\nTo go on, in two terminals:")
    print(f"  {npipe} serve")
    print(f"  {npipe} call npipe eth_getBalance ADDRESS latest     (the banner has addresses)")
    print("Your own functions: README.md, examples/. The tests: make test")


def title(name: str, what: str) -> None:
    print(f"\n{name} ({what})", flush=True)


def step(what: str, value: object) -> None:
    print(f"  {what:<32} {value}", flush=True)


def check(what: str, value: object, wanted: object) -> None:
    """Print a step, and end the demonstration with status 1 if it went wrong."""
    step(what, value)
    if value != wanted:
        raise SystemExit(f"that is wrong: {what} should be {wanted}")


if __name__ == "__main__":
    sys.exit(main())
