"""``npipe serve`` as a process: start, stop, refused clients, invalid input."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import WINDOWS, Run, Start
from npipe import rpc
from npipe.transport import connect

Serve = Callable[..., tuple["subprocess.Popen[str]", dict[str, Any]]]
SHOP = """
from npipe import rpc
class Shop:
    def in_stock(self, article: str) -> int: return {"apple": 3}.get(article, 0)
    def boom(self): raise RuntimeError("secret")
def slow():
    open("started", "w").close()
    return open("go").read()
api = rpc.API()
api.register("shop", Shop())
broken = 7
"""
posix = pytest.mark.skipif(WINDOWS, reason="Unix sockets and signals")


@pytest.fixture
def shop(directory: Path) -> None:
    (directory / "shop.py").write_text(SHOP)
    (directory / "failing.py").write_text("x = 1\nraise KeyError('at import')\n")


@pytest.mark.usefixtures("shop")
def test_an_object_of_ones_own(address: str, serve: Serve, run: Run) -> None:
    _, ready = serve(address, "--api", "shop:Shop", "--api", "tools=shop")
    assert ready["address"] == address
    assert ready["modules"] == ["Shop", "rpc", "tools"]
    with rpc.connect(address, timeout=60) as client:
        assert client.call("Shop_inStock", "apple") == 3
    done = run("call", address, "Shop_inStock", "apple")
    assert (done.returncode, done.stdout) == (0, "3\n")


@pytest.mark.usefixtures("shop")
def test_a_whole_api(address: str, serve: Serve) -> None:
    _, ready = serve(address, "--api", "shop:api")
    assert ready["modules"] == ["rpc", "shop"]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--api", "nothing_there"], "No module named"),
        (["--api", "shop:nothing"], "nothing"),
        (["--api", "shop:broken"], "cannot serve"),
        (["--api", "failing"], "line 2"),
        (["--api", ":x"], "not of the form"),
        (["--api", "shop:api", "--modules", "api"], "is an rpc.API"),
        (["--api", "shop:Shop", "--modules", "shop"], "no such module: shop"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    address: str, run: Run, arguments: list[str], told: str
) -> None:
    done = run("serve", address, *arguments)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_modules_choose(address: str, serve: Serve, run: Run) -> None:
    _, ready = serve(address, "--modules", "web3")
    assert ready["modules"] == ["rpc", "web3"]
    done = run("call", address, "net_version", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (1, -32601)


def test_the_banner_says_how_to_connect(address: str, start: Start) -> None:
    process = start("serve", address, "--modules", "web3,net")
    assert process.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith("Modules:"):
        lines.append(process.stdout.readline())
        assert lines[-1], process.communicate()[1]
    banner = "".join(lines)
    for words in (address, "npipe call", "IPCProvider", "IpcSocketProvider", str(process.pid)):
        assert words in banner


@pytest.mark.usefixtures("shop")
def test_a_second_server_is_told_who_serves(address: str, serve: Serve, run: Run) -> None:
    first, _ = serve(address, "--api", "shop")
    with rpc.connect(address, timeout=60) as client:
        second = run("serve", address, "--modules", "net")
        assert second.returncode == 1
        assert "served already" in second.stderr
        if not WINDOWS:
            assert str(first.pid) in second.stderr
        assert second.stderr.count("\n") == 1
        assert "rpc" in client.call("rpc_modules")  # the first keeps its clients


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(address: str, serve: Serve, directory: Path, number: int) -> None:
    process, _ = serve(address, "--modules", "net")
    process.send_signal(number)
    assert process.wait(60) == 0
    assert os.listdir(directory) == []


@posix
@pytest.mark.usefixtures("shop")
def test_a_signal_lets_a_running_call_end(address: str, serve: Serve, directory: Path) -> None:
    for name in ("started", "go"):
        os.mkfifo(directory / name)
    process, _ = serve(address, "--api", "shop")
    with rpc.connect(address, timeout=60) as client, ThreadPoolExecutor() as pool:
        answer = pool.submit(client.call, "shop_slow")
        (directory / "started").read_text()
        process.send_signal(signal.SIGTERM)
        (directory / "go").write_text("done")
        assert answer.result(60) == "done"
    assert process.wait(60) == 0


@posix
@pytest.mark.usefixtures("shop")
def test_a_second_signal_insists(address: str, serve: Serve, directory: Path) -> None:
    for name in ("started", "go"):
        os.mkfifo(directory / name)
    process, _ = serve(address, "--api", "shop", "--log-level", "info")
    with rpc.connect(address, timeout=60) as client, ThreadPoolExecutor() as pool:
        answer = pool.submit(client.call, "shop_slow")
        (directory / "started").read_text()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(OSError):  # it listens no more: the first signal has been taken
            while True:
                connect(address).close()
        process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionError):
            answer.result(60)
    assert process.wait(60) == 0


@posix
def test_a_stale_socket_is_taken_over(address: str, serve: Serve, run: Run) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(address)
    serve(address, "--modules", "net")
    assert run("call", address, "net_version").stdout == '"1337"\n'


@posix
def test_a_killed_server_is_followed_by_the_next(address: str, serve: Serve) -> None:
    process, _ = serve(address, "--modules", "net")
    process.kill()
    process.wait(60)
    serve(address, "--modules", "net")


@posix
def test_a_regular_file_is_refused_and_left_alone(directory: Path, run: Run) -> None:
    file = directory / "letter"
    file.write_text("dear")
    done = run("serve", str(file), "--modules", "net")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert file.read_text() == "dear"


@posix
def test_a_missing_directory_is_told(directory: Path, run: Run) -> None:
    done = run("serve", str(directory / "none" / "s"), "--modules", "net")
    assert done.returncode == 1
    assert "directory does not exist" in done.stderr


def test_a_bad_address_is_wrong_usage(run: Run) -> None:
    for bad in ("", "x" * 300):
        assert run("serve", bad).returncode == 2
        assert run("call", bad, "m").returncode == 2


def test_garbage_is_answered_and_the_server_lives_on(address: str, serve: Serve) -> None:
    serve(address, "--modules", "net")
    for line, code in ((b"{not json}\n", -32700), (b"7\n", -32600), (b"[]\n", -32600)):
        with connect(address, connect_timeout=60) as connection:
            connection.write(line)
            answer = json.loads(connection.read(1000))
            assert (answer["id"], answer["error"]["code"]) == (None, code), line
    for _ in range(100):  # clients that go in the middle of a message
        with connect(address, connect_timeout=60) as connection:
            connection.write(b'{"jsonrpc":"2.0","id":1,"method":"net_ver')
    with rpc.connect(address, timeout=60) as client:
        assert client.call("net_version") == "1337"


def test_without_the_extra_it_says_what_to_install(
    address: str, serve: Serve, directory: Path, start: Start
) -> None:
    # A package that hides the real one: as good as not installed.
    (directory / "sitecustomize.py").write_text("import sys; sys.modules['eth'] = None")
    process = start("serve", address)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    note = next(line for line in lines if line.startswith("Note:"))
    assert 'pip install "npipe[ethereum]"' in note
    assert "Modules: net rpc web3" in next(line for line in lines if "Modules:" in line)


@posix
def test_the_log_is_json_when_asked(address: str, serve: Serve, directory: Path) -> None:
    (directory / "shop.py").write_text(SHOP)
    process, _ = serve(address, "--api", "shop:Shop", "--json-log", "--log-level", "info")
    with rpc.connect(address, timeout=60) as client, pytest.raises(rpc.RPCError):
        client.call("Shop_boom")
    process.terminate()
    lines = [json.loads(line) for line in process.communicate(timeout=60)[1].splitlines()]
    assert any("RuntimeError" in line.get("traceback", "") for line in lines)
    assert {"time", "level", "logger", "message"} <= set(lines[0])


def test_a_state_is_saved_whole_or_not_at_all(
    address: str, serve: Serve, run: Run, directory: Path
) -> None:
    """By a clean stop; not by a kill, and not onto a disk that is full."""
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    if sys.platform == "win32":
        pytest.skip("SIGKILL and a limit on the size of files are POSIX's")
    import resource

    file = directory / "chain"
    arguments = (address, "--state", str(file))
    process, _ = serve(*arguments)
    run("call", address, "evm_mine")
    process.kill()
    process.communicate(timeout=60)
    assert not file.exists()

    process, _ = serve(*arguments)
    assert run("call", address, "eth_blockNumber").stdout == '"0x0"\n'
    run("call", address, "evm_mine", '{"blocks": 2}')
    process.terminate()
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    saved = file.read_bytes()

    process, _ = serve(*arguments)
    assert run("call", address, "eth_blockNumber").stdout == '"0x2"\n'
    run("call", address, "evm_mine")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    process.terminate()
    told = process.communicate(timeout=60)[1]
    assert told == f"npipe: the chain could not be saved, and {file} is unchanged: File too large\n"
    assert process.returncode == 1
    assert file.read_bytes() == saved
    assert [each.name for each in directory.iterdir() if "chain" in each.name] == ["chain"]


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", 0)])
def test_a_signal_interrupts_the_chain_and_saves_it(
    address: str, serve: Serve, run: Run, directory: Path, number: int
) -> None:
    """A transaction that would run for seconds ends with an error, and is in no saved block."""
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    from ethereum.contracts import LOOP, init

    arguments = (address, "--state", str(directory / "chain"))
    process, _ = serve(*arguments)
    with rpc.connect(address, timeout=60) as client, rpc.connect(address, timeout=60) as other:
        sender = client.call("eth_accounts")[0]
        made = client.call("eth_sendTransaction", {"from": sender, "data": "0x" + init(LOOP).hex()})
        loop = client.call("eth_getTransactionReceipt", made)["contractAddress"]
        begun = other.subscribe("eth", "newPendingTransactions")
        request = {"from": sender, "to": loop, "gas": hex(30_000_000)}
        told: list[str] = []

        def send() -> None:
            with pytest.raises(rpc.RPCError) as caught:
                client.call("eth_sendTransaction", request)
            told.append(caught.value.message)

        sending = threading.Thread(target=send)
        sending.start()
        next(begun)
        process.send_signal(number)
        sending.join(60)
        assert told == ["the chain has been stopped"]
        with pytest.raises((rpc.RPCError, ConnectionError)):
            other.call("eth_getBlockByNumber", "latest", False)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    serve(*arguments)
    assert run("call", address, "eth_blockNumber").stdout == '"0x1"\n'
    assert run("call", address, "txpool_status").stdout == '{"pending":"0x0","queued":"0x0"}\n'


def test_a_balance_is_exact_to_the_last_wei(address: str, serve: Serve, run: Run) -> None:
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    serve(address, "--accounts", "2", "--balance", "12345678901234567.123456789012345678")
    with rpc.connect(address, timeout=60) as client:
        for account in client.call("eth_accounts"):
            balance = int(client.call("eth_getBalance", account, "latest"), 16)
            assert balance == 12345678901234567_123456789012345678
    for amount, why in (
        ("-1", "a balance of -1000000000000000000 wei: it must be at least 0"),
        ("1e60", "it must be at least 0 and less than 2**255"),
        ("nan", "not an amount of ether: nan"),
        ("inf", "not an amount of ether: inf"),
        ("0.1234567890123456789", "has more than 18 decimal places"),
        ("1 ETH", "not an amount of ether: 1 ETH"),
    ):
        done = run("serve", address + "2", "--balance", amount)
        assert done.returncode in (1, 2)
        assert why in done.stderr


def test_a_second_server_on_a_state_and_a_damaged_one_are_refused(
    address: str, serve: Serve, run: Run, directory: Path
) -> None:
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    file = directory / "chain"
    serve(address, "--state", str(file))
    other = address + "2"
    done = run("serve", other, "--state", str(file))
    text = f"npipe: another server uses {file}: stop that server, or use another file\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, text, "")
    damaged = directory / "damaged"
    damaged.write_bytes(b"npipe chain 2\n" + bytes(100))
    done = run("serve", other, "--state", str(damaged))
    text = f"npipe: {damaged} is damaged: it was cut off or changed after it was saved\n"
    assert (done.returncode, done.stderr) == (1, text)
    assert damaged.read_bytes() == b"npipe chain 2\n" + bytes(100)


def test_metrics_and_the_log_of_calls(directory: Path, address: str, serve: Serve) -> None:
    (directory / "shop.py").write_text("def order(): return 1\n")
    options = ("--metrics", "127.0.0.1:0", "--log-calls", "--json-log")
    process, ready = serve(address, "--api", "shop", *options)
    with rpc.connect(address, timeout=60) as client:
        client.call("shop_order")
        with pytest.raises(rpc.RPCError):
            client.call("shop_none")
        with urllib.request.urlopen(ready["metrics"], timeout=60) as answer:
            text = answer.read().decode()
    assert 'rpc_server_call_duration_seconds_count{rpc_method="shop_order"} 1\n' in text
    assert 'rpc_server_call_errors_total{rpc_method="_OTHER"' in text
    process.terminate()
    lines = [json.loads(line) for line in process.communicate(timeout=60)[1].splitlines()]
    assert [(line["level"], line["method"], line.get("code")) for line in lines] == [
        ("info", "shop_order", None),
        ("warning", "shop_none", -32601),
    ]
    assert {line["pid"] for line in lines} == {ready["pid"]}


def test_wrong_metrics_options(address: str, run: Run) -> None:
    done = run("serve", address, "--metrics", ":99999")
    assert (done.returncode, "invalid port 99999" in done.stderr) == (2, True)
    done = run("serve", address, "--upstream", "x", "--log-calls")
    assert (done.returncode, "--log-calls" in done.stderr) == (2, True)


@pytest.mark.skipif(WINDOWS, reason="a bare name is a pipe there, and no file")
@pytest.mark.parametrize(("given", "is_explained"), [("p.ipc", True), ("./p.ipc", False)])
def test_a_bare_name_that_looks_like_a_file_is_explained(
    given: str, is_explained: bool, start: Start, directory: Path
) -> None:
    process = start("serve", given, "--modules", "rpc")
    assert process.stdout is not None
    banner = ""
    while not banner.endswith("Ctrl-C to stop.\n"):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        banner += line
    assert ("for a file here write ./p.ipc" in banner) is is_explained
