"""``GET /metrics`` on a port and on a pipe."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

import npipe
from cli.conftest import WINDOWS
from npipe import rpc
from npipe.cli.serving import metrics
from npipe.cli.serving.metrics import serve_metrics, split_port


@pytest.fixture
def server() -> Iterator[rpc.Server]:
    with rpc.Server(rpc.API()) as server:
        yield server


def get(address: str, path: str = "/metrics") -> bytes:
    """Send a request over a pipe; return all that comes."""
    with npipe.connect(address, connect_timeout=20) as connection:
        connection.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.read(65536):
                data += chunk
    return data


def test_on_a_port(server: rpc.Server) -> None:
    with serve_metrics("127.0.0.1:0", server.stats) as url:
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert b"\nnpipe_open_connections 0\n" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url.replace("/metrics", "/"), timeout=20)
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=20)


def test_on_a_pipe(address: str, server: rpc.Server) -> None:
    with serve_metrics(address, server.stats) as at:
        assert at == address
        for _ in range(20):  # more than are answered at once
            assert b"npipe_open_connections 0\n" in get(address)
        assert b"404" in get(address, "/other").splitlines()[0]
    with pytest.raises(OSError):
        npipe.connect(address)


def test_a_client_that_says_nothing_holds_up_nobody(
    address: str, server: rpc.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_metrics("127.0.0.1:0", server.stats) as url:
        port = int(url.split(":")[2].split("/")[0])
        with contextlib.ExitStack() as stack:
            for _ in range(metrics.AT_ONCE // 2):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            urllib.request.urlopen(url, timeout=20).close()
    monkeypatch.setattr(metrics, "TIMEOUT", 0.01)
    with serve_metrics(address, server.stats), npipe.connect(address, connect_timeout=20) as silent:
        assert silent.read(1) == b""  # hung up on


def test_no_more_clients_than_the_limit_are_answered_at_once(server: rpc.Server) -> None:
    go, at_work = threading.Event(), threading.Semaphore(0)

    def slow() -> dict[str, object]:
        at_work.release()
        assert go.wait(30)
        return server.stats()

    with serve_metrics("127.0.0.1:0", slow) as url:
        threads = [
            threading.Thread(target=lambda: urllib.request.urlopen(url, timeout=30).close())
            for _ in range(metrics.AT_ONCE)
        ]
        for thread in threads:
            thread.start()
        for _ in range(metrics.AT_ONCE):
            assert at_work.acquire(timeout=30)
        with pytest.raises(OSError):
            urllib.request.urlopen(url, timeout=20)
        go.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:80", ("::1", 80)),
        ("./shop.metrics", None),
        ("shop", None),
        ("/run/a:80", None),
        (r"\\.\pipe\a:80", None),
    ],
)
def test_what_is_a_port(text: str, port: object) -> None:
    assert split_port(text) == port


def test_what_is_no_port() -> None:
    with pytest.raises(ValueError, match="invalid port 70000"):
        split_port(":70000")


@pytest.mark.skipif(WINDOWS, reason="Wine has no IPv6 on every machine")
def test_on_ipv6(server: rpc.Server) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with serve_metrics("[::1]:0", server.stats) as url:
        assert url.startswith("http://[::1]:")
        urllib.request.urlopen(url, timeout=20).close()
