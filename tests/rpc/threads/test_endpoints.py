"""What a client with threads connects to: a program, a server in this process, no address."""

from __future__ import annotations

import subprocess
import sys

import pytest

import npipe
from npipe import rpc
from npipe.rpc.threads.endpoints import check_endpoint, open_endpoint
from npipe.testing import memory_pair
from rpc.service import make_api

SLOW = """
import threading
from rpc.service import Service
service = Service()
threading.Timer(0.3, service.release.set).start()
"""


CHILD = """
import sys
sys.path[:0] = [p for p in {path!r} if p not in sys.path]
from npipe import rpc
from rpc.service import make_api
server = rpc.Server(make_api())
server.serve_stdio()
"""


def test_the_end_of_standard_input_leaves_no_call_without_its_answer() -> None:
    child = CHILD.format(path=sys.path).replace("make_api()", "make_api(service)")
    child = child.replace("server =", SLOW + "server =")
    calls = b"".join(
        b'{"jsonrpc":"2.0","id":%d,"method":"test_%b"}\n' % (n, method)
        for n, method in enumerate((b"block", b"noArgsRets"))
    )
    command = [sys.executable, "-c", child]
    done = subprocess.run(command, input=calls, capture_output=True, timeout=60, check=True)
    assert sorted(done.stdout.splitlines()) == [
        b'{"jsonrpc":"2.0","id":0,"result":"released"}',
        b'{"jsonrpc":"2.0","id":1,"result":null}',
    ]


def test_a_program_over_its_standard_input_and_output() -> None:
    command = [sys.executable, "-c", CHILD.format(path=sys.path)]
    with rpc.connect(command, timeout=60) as client:
        assert client.call("subtract", 42, 23) == 19
        assert client.batch([("subtract", [1, 1])]) == [0]


def test_rpc_bug_12_no_server_is_an_error_at_once(address: str) -> None:
    with pytest.raises(FileNotFoundError):
        rpc.connect(address)


@pytest.mark.parametrize("endpoint", ["rpc:localhost:8545", "http://x", ""])
def test_rpc_bug_18_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(ValueError):
        rpc.connect(endpoint)


def test_a_server_in_this_process_and_a_connection_that_exists() -> None:
    with rpc.Server(make_api()) as server, rpc.connect(server, timeout=60) as client:
        assert client.call("subtract", 3, 1) == 2
    ours, theirs = memory_pair()
    with ours, theirs:
        assert open_endpoint(ours, timeout=None) is ours


@pytest.mark.parametrize("endpoint", [7, None, object(), [], ["a", 1], b"x"])
def test_what_is_no_endpoint_is_a_type_error(endpoint: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        check_endpoint(endpoint, None)
    check_endpoint(npipe.address.parse("x"), None)
    check_endpoint(["program", "argument"], 5.0)


def test_a_connection_that_exists_cannot_be_made_again() -> None:
    ours, theirs = memory_pair()
    with ours, theirs, pytest.raises(ValueError, match="reconnect"):
        check_endpoint(ours, 5.0)


ELSEWHERE = ["nats://127.0.0.1/shop", ["program"], "ssh://nowhere/s", "stdio:"]


@pytest.mark.parametrize("endpoint", ELSEWHERE)
def test_a_server_that_must_be_verified_is_reached_by_a_pipe_only(endpoint: rpc.Endpoint) -> None:
    if endpoint == "nats://127.0.0.1/shop":
        pytest.importorskip("nats", reason="nats-py is not installed")
    with pytest.raises(ValueError, match="verify_server is for the address of a pipe only"):
        rpc.connect(endpoint, verify_server="owner", connect_timeout=1)
