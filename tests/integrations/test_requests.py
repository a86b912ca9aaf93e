"""requests and urllib3 over a pipe, and the Docker and Podman SDKs that stand on them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE, App, node_http

requests = pytest.importorskip("requests")
urllib3 = pytest.importorskip("urllib3")
from npipe.integrations.requests import Adapter, Pool  # noqa: E402

LARGE = os.urandom(2_000_000)
Serve = Callable[..., Any]


@pytest.fixture
def session(address: str) -> Iterator[Any]:
    with requests.Session() as made:
        made.mount("http://docker/", Adapter(address, wait=True))
        yield made


def test_requests(session: Any, address: str, serve: Serve) -> None:
    with serve(address):
        assert session.get("http://docker/who", timeout=PATIENCE).json()["host"] == "docker"
        echoed = session.post("http://docker/echo", data=LARGE, timeout=PATIENCE)
        assert echoed.content == LARGE
        with session.get("http://docker/stream", stream=True, timeout=PATIENCE) as response:
            assert sum(map(len, response.iter_content(65536))) == 500_000


def test_a_read_times_out(session: Any, address: str, app: App, serve: Serve) -> None:
    with serve(address):
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get("http://docker/never", timeout=(PATIENCE, 0.1))
        assert app.given_up.wait(PATIENCE)
        assert session.get("http://docker/who", timeout=PATIENCE).status_code == 200


def test_a_server_restarts_under_an_idle_pool(session: Any, address: str, serve: Serve) -> None:
    for _ in range(2):
        with serve(address):
            assert session.get("http://docker/who", timeout=PATIENCE).status_code == 200


def test_errors_are_the_library_s_and_name_ours(address: str) -> None:
    with requests.Session() as session:
        session.mount("http://docker/", Adapter(address))
        with pytest.raises(requests.exceptions.ConnectionError, match="no server"):
            session.get("http://docker/")
        session.mount("http://docker/", Adapter(address, wait=True))
        with pytest.raises(requests.exceptions.ConnectTimeout):
            session.get("http://docker/", timeout=0.05)
        session.mount("https://docker/", Adapter(address))
        with pytest.raises(requests.exceptions.InvalidSchema, match="http://"):
            session.get("https://docker/")


def test_retries(address: str, serve: Serve) -> None:
    with requests.Session() as session:
        session.mount("http://docker/", Adapter(address, max_retries=3))
        with pytest.raises(requests.exceptions.ConnectionError, match="Max retries"):
            session.get("http://docker/")


def test_no_proxy_is_used(
    session: Any, address: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with serve(address):
        assert session.get("http://docker/who", timeout=PATIENCE).status_code == 200


def test_many_threads_share_a_session(session: Any, address: str, serve: Serve) -> None:
    answers: list[int] = []

    def get() -> None:
        answers.append(session.get("http://docker/who", timeout=PATIENCE).status_code)

    with serve(address):
        threads = [threading.Thread(target=get) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert answers == [200] * 20


def test_urllib3(address: str, serve: Serve) -> None:
    with serve(address), Pool(address, "shop", maxsize=2, wait=True) as pool:
        assert pool.request("GET", "/who", timeout=PATIENCE).json()["host"] == "shop"
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            pool.request("GET", "/never", timeout=0.1, retries=False)
    with Pool(address) as pool, pytest.raises(urllib3.exceptions.NewConnectionError) as caught:
        pool.request("GET", "/", retries=False)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_node_s_server(session: Any, address: str) -> None:
    with node_http(address):
        response = session.put("http://docker/path?q=1", data=LARGE, timeout=PATIENCE)
        assert response.text == f"PUT /path?q=1 {len(LARGE)}"
        assert response.headers["x-host"] == "docker"


def test_the_private_name_that_is_used_exists() -> None:
    assert callable(urllib3.connection.HTTPConnection._new_conn)
    assert isinstance(urllib3.connection.HTTPConnection.is_connected, property)
    assert callable(requests.adapters.HTTPAdapter.get_connection_with_tls_context)


# The Docker and Podman SDKs, against a fake engine: for Windows, too, where no engine starts. The
# real one, Podman's, is in peers/test_podman.py.


class Engine(App):
    """Answers what the SDKs ask, in Docker's own form."""

    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        import json

        from integrations.conftest import body, reply

        await body(receive)
        container = {"Id": "abc", "Names": ["/x"], "Config": {"Tty": False}, "State": {}}
        path = scope["path"].split("/", 2)[-1]
        match path:
            case "version":
                await reply(send, json.dumps({"ApiVersion": "1.44", "Version": "0"}).encode())
            case "containers/json":
                await reply(send, json.dumps([container]).encode())
            case "containers/abc/json":
                await reply(send, json.dumps(container).encode())
            case "containers/abc/logs":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                for number in range(3):
                    frame = b"\x01\0\0\0\0\0\0\x06line %d" % number
                    part = {"type": "http.response.body", "body": frame, "more_body": True}
                    await send(part)
                await send({"type": "http.response.body"})
            case "_ping" | "libpod/_ping":
                await reply(send, b"OK")
            case _:
                await reply(send, json.dumps({"message": f"no such thing: {path}"}).encode(), 404)


@pytest.fixture
def engine(address: str) -> Iterator[str]:
    from integrations.conftest import serving

    with serving(Engine(), address):
        with npipe.connect(address, wait=True, connect_timeout=PATIENCE):
            pass
        yield address


def test_docker_py(engine: str) -> None:
    docker = pytest.importorskip("docker")

    class APIClient(docker.APIClient):  # type: ignore[misc, name-defined]
        def get_adapter(self, url: str) -> Adapter:
            return Adapter(engine)

    client = APIClient(base_url="http://pipe:80", version="auto", timeout=PATIENCE)
    assert client.api_version == "1.44"
    assert client.containers()[0]["Id"] == "abc"
    assert client.logs("abc") == b"line 0line 1line 2"
    assert list(client.logs("abc", stream=True)) == [b"line 0", b"line 1", b"line 2"]
    with pytest.raises(docker.errors.NotFound, match="no such thing"):
        client.inspect_container("nothing")
    client.close()


@pytest.mark.skipif(sys.platform == "win32", reason="podman-py has no Windows of its own")
def test_podman_py(engine: str) -> None:
    client_module = pytest.importorskip("podman.api.client")

    class APIClient(client_module.APIClient):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(base_url="http://pipe", timeout=PATIENCE)
            self.mount("http://pipe", Adapter(engine))

    with APIClient() as client:
        assert client.get("/_ping").text == "OK"
