"""``npipe serve --upstream``: a node's pipe, HTTP or WebSocket endpoint on a pipe of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cli.conftest import Run
from npipe import rpc
from npipe.cli.serving.upstream import describe

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
