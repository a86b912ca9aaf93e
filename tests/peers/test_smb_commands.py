"""The commands over a remote pipe, with a real smbd in between; and strangers on the same pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import npipe
from peers.require import has_module, require
from peers.smb_fixtures import smbd
from peers.smbd import PASSWORD, USER, Smbd

if sys.platform == "win32":
    pytest.skip("there is no smbd for Windows", allow_module_level=True)
if not has_module("smbprotocol"):
    pytest.skip('needs the extra "smb"', allow_module_level=True)

__all__ = ["smbd"]

COMMAND = [sys.executable, "-m", "npipe.cli"]
ADDRESS = r"\\127.0.0.1\pipe\shop"
SHOP = "class Shop:\n    def price(self, name: str) -> int:\n        return len(name)\n"


@pytest.fixture
def options(smbd: Smbd) -> list[str]:
    return ["--user", USER, "--smb-port", str(smbd.port)]


@pytest.fixture
def environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "NPIPE_SMB_PASSWORD": PASSWORD, "PYTHONPATH": str(directory)}


@pytest.fixture
def shop(smbd: Smbd, directory: Path, environment: dict[str, str]) -> Iterator[str]:
    """``npipe serve --samba``, as a process; the address at which it serves besides."""
    (directory / "shop.py").write_text(SHOP)
    command = [*COMMAND, "serve", str(directory / "s"), "--api", "shop=shop:Shop", "--json"]
    process = subprocess.Popen(
        [*command, "--samba", "shop", "--samba-directory", smbd.sockets],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_call(shop, options, environment):
    done = run("call", *options, ADDRESS, "shop_price", "tea", env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, "3"), done.stderr
    assert run("call", shop, "shop_price", "tea", env=environment).stdout.strip() == "3"


def test_the_password_in_a_file(shop, options, environment, directory):
    (directory / "password").write_text(f"{PASSWORD}\n")
    del environment["NPIPE_SMB_PASSWORD"]
    file = ["--password-file", str(directory / "password")]
    done = run("call", *options, *file, ADDRESS, "shop_price", "tea", env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, "3"), done.stderr


def test_what_is_missing_or_wrong_is_said(shop, options, environment):
    environment["NPIPE_SMB_PASSWORD"] = "guessed"
    done = run("call", *options, ADDRESS, "shop_price", "tea", env=environment)
    assert done.returncode == 1
    assert "wrong user name or password" in done.stderr
    assert "guessed" not in done.stderr
    del environment["NPIPE_SMB_PASSWORD"]
    done = run("call", *options, ADDRESS, "x", env=environment, stdin=subprocess.DEVNULL)
    assert (done.returncode, "--password-file" in done.stderr) == (2, True)
    done = run("call", ADDRESS, "x", env=environment)
    assert (done.returncode, "--user" in done.stderr) == (2, True)


def test_cat_and_attach(shop, options, environment):
    request = '{"jsonrpc":"2.0","id":1,"method":"shop_price","params":["milk"]}\n'
    process = subprocess.Popen(
        [*COMMAND, "cat", *options, ADDRESS],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(request)
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["result"] == 4
    process.kill()
    process.communicate()
    done = run("attach", *options, ADDRESS, "--exec", 'shop.price("bread")', env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, "5"), done.stderr


def test_relay_gives_a_remote_pipe_a_local_address(shop, options, environment, directory):
    process = subprocess.Popen(
        [*COMMAND, "relay", *options, str(directory / "front"), ADDRESS],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert ADDRESS in process.stdout.readline()
        done = run("call", str(directory / "front"), "shop_price", "tea", env=environment)
        assert (done.returncode, done.stdout.strip()) == (0, "3"), done.stderr
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_bench_on_several_connections(shop, options, environment):
    loads = ["--seconds", "0.05", "--connections", "3", "--json"]
    done = run("bench", *options, *loads, ADDRESS, "shop_price", "tea", env=environment)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["connections"] for row in rows] == [1, 1, 1, 3]
    assert all(row["calls"] for row in rows)
    done = run("bench", ADDRESS, "shop_price", "tea", env=environment)
    assert (done.returncode, "--user" in done.stderr) == (2, True)


def test_replay_to_a_remote_pipe(shop, options, environment, directory):
    tape = str(directory / "tape.jsonl")
    relay = subprocess.Popen(
        [*COMMAND, "relay", str(directory / "front"), shop, "--record", tape],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert relay.stdout is not None
    try:
        relay.stdout.readline()
        done = run("call", str(directory / "front"), "shop_price", "tea", env=environment)
        assert done.returncode == 0, done.stderr
    finally:
        relay.terminate()
        relay.communicate(timeout=30)
    done = run("replay", *options, tape, ADDRESS, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["sent"], json.loads(done.stdout)["compared"]) == (1, 1)


def test_impacket_finds_a_pipe(smbd):
    from impacket.smbconnection import SMBConnection

    with npipe.SambaListener("strangers", directory=smbd.sockets) as listener:
        client = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=smbd.port)
        client.login(USER, PASSWORD)
        tree = client.connectTree("IPC$")
        handle = client.openFile(tree, "strangers")
        with listener.accept(timeout=30) as server:
            assert server.peer.account == USER
            client.writeFile(tree, handle, b"from impacket")
            assert server.read(100) == b"from impacket"
            server.write(b"to impacket")
            assert client.readFile(tree, handle, 0, 100) == b"to impacket"
        client.close()


@pytest.mark.parametrize("anonymous", [False, True])
def test_an_anonymous_client_is_refused_unless_wanted(smbd, anonymous):
    """smbd lets it in: to know that it has not logged on is the listener's task."""
    command = [str(require("smbclient")), "//127.0.0.1/IPC$", "-p", str(smbd.port), "-N"]
    with npipe.SambaListener(
        "nobody", directory=smbd.sockets, access="everyone", anonymous=anonymous
    ) as listener:
        process = subprocess.Popen([*command, "-c", "get nobody -"], stdout=subprocess.DEVNULL)
        if anonymous:
            with listener.accept(timeout=30) as server:
                assert server.peer.account == "ANONYMOUS LOGON"
        assert process.wait(60) == 1
        with pytest.raises(TimeoutError):
            listener.accept(timeout=0)
