"""``npipe serve --upstream``: a node's pipe, HTTP or WebSocket endpoint on a pipe of ours."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from npipe import rpc
from npipe.cli.serving import upstream
from npipe.cli.serving.upstream import describe, open_upstream

Serve = Callable[..., tuple[Any, dict[str, Any]]]


class Node(BaseHTTPRequestHandler):
    """A small node: test_echo answers its parameters, test_down fails as a gateway does."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = 502 if body["method"] == "test_down" else 200
        reply = {"jsonrpc": "2.0", "id": body.get("id"), "result": body.get("params", [])}
        data = b"<html>" if status == 502 else json.dumps(reply, indent=1).encode()
        if body["method"] == "test_who":
            reply["result"] = [self.path, self.headers["Authorization"]]
            data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def node() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Node) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"user:secret@127.0.0.1:{server.server_address[1]}/v3/key"
        server.shutdown()
        thread.join()


def test_http(address: str, node: str, serve: Serve) -> None:
    _, ready = serve(address, "--upstream", f"http://{node}")
    assert "secret" not in json.dumps(ready)
    with rpc.connect(address, timeout=60) as client:
        assert client.call("test_echo", 1, "two") == [1, "two"]
        calls = [("test_echo", [number]) for number in range(20)]
        assert client.batch(calls) == [[number] for number in range(20)]
        assert client.call("test_who") == ["/v3/key", "Basic dXNlcjpzZWNyZXQ="]
        with pytest.raises(rpc.RPCError, match="502"):
            client.call("test_down")
        client.notify("test_echo", 1)
        assert client.call("test_echo", 3) == [3]


class Replies(BaseHTTPRequestHandler):
    """Answers the n-th POST with the n-th of ``replies``; without one it closes the connection."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts += 1
        reply = next(self.server.replies, None)
        if reply is None:
            self.close_connection = True
            return
        length = self.server.length or len(reply)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, reply))
        self.close_connection = self.server.length is not None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def replying(*replies: bytes, length: int | None = None) -> Iterator[tuple[Any, rpc.Client]]:
    """Run such a node, and a client of an upstream in front of it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Replies) as server:
        node: Any = server
        node.posts, node.replies, node.length = 0, iter(replies), length
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            with rpc.connect(open_upstream(url), timeout=30) as client:
                yield node, client
        finally:
            server.shutdown()
            thread.join()


def test_a_post_whose_reply_is_lost_is_not_sent_again() -> None:
    # On a connection that is kept alive, which looks like one that the node has just closed.
    with replying(b'{"jsonrpc":"2.0","id":1,"result":"first"}') as (node, client):
        assert client.call("eth_sendTransaction") == "first"
        with pytest.raises(rpc.RPCError, match="may have executed"):
            client.call("eth_sendTransaction")
        assert node.posts == 2


def test_a_long_reply_comes_whole_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "MAX_BYTES", 300_000)
    head = b'{"jsonrpc":"2.0","id":%d,"result":"'
    fits = (head % 1).ljust(300_000 - 2, b"x") + b'"}'
    longer = (head % 2).ljust(300_001 - 2, b"x") + b'"}'
    last = b'{"jsonrpc":"2.0","id":3,"result":"last"}'
    with replying(fits, longer, last) as (_, client):
        assert len(client.call("test_long")) == 300_000 - len(head % 1) - 2
        with pytest.raises(rpc.RPCError, match="longer than 300000 bytes"):
            client.call("test_longer")
        assert client.call("test_last") == "last"


def test_a_reply_that_ends_early_is_an_error() -> None:
    with (
        replying(b'{"jsonrpc":"2.0","id":1,"result":"cut"}', length=1000) as (node, client),
        pytest.raises(rpc.RPCError, match="may have executed"),
    ):
        client.call("test_cut")
    assert node.posts == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"jsonrpc":"2.0","id":7,"result":1}', b""])
def test_what_is_no_reply_to_the_call_ends_it(body: bytes) -> None:
    with replying(body) as (_, client), pytest.raises(rpc.RPCError, match="not a JSON-RPC reply"):
        client.call("test_html")


def test_an_error_without_an_id_ends_the_call() -> None:
    body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no such key"}}'
    with replying(body) as (_, client), pytest.raises(rpc.InvalidRequest, match="no such key"):
        client.call("test_key")


def test_a_pipe(address: str, serve: Serve, directory: Any) -> None:
    (directory / "shop.py").write_text("def add(a: int, b: int): return a + b\n")
    serve(address, "--api", "shop")
    _, ready = serve(address + "2", "--upstream", address)
    assert ready["modules"] == ["rpc", "shop"]
    with rpc.connect(address + "2", timeout=60) as client:
        assert client.call("shop_add", 1, 2) == 3


def test_a_websocket(address: str, serve: Serve) -> None:
    websockets = pytest.importorskip("websockets.sync.server", reason="the extra upstream")

    def answer(socket: Any) -> None:
        for message in socket:
            request = json.loads(message)
            reply = {"jsonrpc": "2.0", "id": request["id"], "result": request.get("params")}
            if request["method"] == "test_hang_up":
                socket.socket.shutdown(2)  # as a server does that was killed
                return
            if request["method"] == "eth_subscribe":
                reply["result"] = "0x1"
            socket.send(json.dumps(reply))
            if request["method"] == "eth_subscribe":
                params = {"subscription": "0x1", "result": "head"}
                push = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
                socket.send(json.dumps(push))

    with websockets.serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        process, _ = serve(address, "--upstream", f"ws://127.0.0.1:{port}")
        with rpc.connect(address, timeout=60) as client:
            assert client.call("test_echo", 1) == [1]
            with client.subscribe("eth", "newHeads") as heads:
                assert next(iter(heads)) == "head"
        with rpc.connect(address, timeout=60) as client, pytest.raises(ConnectionError):
            client.call("test_hang_up")
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("upstream", ["http://127.0.0.1:1", "ws://127.0.0.1:1", "npnothing"])
def test_no_upstream_is_one_line(address: str, run: Run, upstream: str) -> None:
    if upstream.startswith("ws:"):
        pytest.importorskip("websockets", reason="the extra upstream")
    done = run("serve", address, "--upstream", upstream)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert upstream in done.stderr


def test_a_key_in_a_url_is_not_shown() -> None:
    assert describe("https://u:p@node.example:1/v3/abc?k=1") == "https://node.example:1/..."
    assert describe("ws://localhost") == "ws://localhost"
    assert describe("./x.ipc") == "./x.ipc"


def serve_two(directory: Path, address: str, serve: Serve) -> list[str]:
    (directory / "who.py").write_text("import os\ndef pid(): return os.getpid()\n")
    addresses = [f"{address}{at}" for at in range(2)]
    for each in addresses:
        serve(each, "--api", "who")
    return addresses


def test_several_upstreams(directory: Path, address: str, serve: Serve) -> None:
    one, other = serve_two(directory, address, serve)
    _, ready = serve(address, "--upstream", one, "--upstream", other, "--stateless")
    assert "who" in ready["modules"]
    with rpc.connect(address, timeout=60) as client:
        assert len(set(client.batch([("who_pid", [])] * 8))) == 2
    bound = f"{address}-bound"
    process, _ = serve(bound, "--upstream", one, "--upstream", f"{address}-nobody")
    with rpc.connect(bound, timeout=60) as client:
        assert len(set(client.batch([("who_pid", [])] * 8))) == 1
    process.terminate()
    assert "no server at" in process.communicate(timeout=60)[1]


def test_no_upstream_can_be_reached(address: str, run: Run) -> None:
    nobody = ("--upstream", f"{address}a", "--upstream", f"{address}b")
    done = run("serve", address, *nobody)
    assert (done.returncode, done.stderr.count("no server at")) == (1, 3)
    done = run("serve", address, "--stateless")
    assert (done.returncode, "--upstream" in done.stderr) == (2, True)


def test_an_ssh_url_is_a_command() -> None:
    assert open_upstream("ssh://me@host:2222/run/a%20b.ipc") == [
        *("ssh", "-p", "2222", "--", "me@host", "npipe cat '/run/a b.ipc'"),
    ]
    odd = open_upstream("ssh://-oProxyCommand=x/a")
    assert isinstance(odd, list) and odd[1:3] == ["--", "-oproxycommand=x"]


@pytest.mark.skipif(sys.platform == "win32", reason="runs a script in the place of ssh")
def test_a_socket_behind_ssh(
    directory: Path, address: str, serve: Serve, env: dict[str, str]
) -> None:
    """The ssh here starts the shell command as the far machine would; its network is not ours."""
    one, other = serve_two(directory, address, serve)
    (directory / "ssh").write_text(
        '#!/bin/sh\n[ "$1" = -- ] && [ "$2" = far ] && exec sh -c "$3"\n'
    )
    (directory / "npipe").write_text(f'#!/bin/sh\nexec {sys.executable} -m npipe.cli "$@"\n')
    for name in ("ssh", "npipe"):
        (directory / name).chmod(0o755)
    env["PATH"] = f"{directory}:{os.environ['PATH']}"
    serve(address, "--upstream", f"ssh://far{one}", "--upstream", other, "--stateless")
    with rpc.connect(address, timeout=60) as client:
        assert len(set(client.batch([("who_pid", [])] * 8))) == 2
