"""docker-py, podman-py and aiodocker against a real engine: Podman's service, on a Unix socket.

No container is run, because that depends on the system's cgroups. Images travel both ways as
streams of several MB, containers are made and removed, and events are waited for.
"""

from __future__ import annotations

import asyncio
import io
import os
import queue
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import npipe
from peers.require import require

if sys.platform == "win32":
    pytest.skip("Podman's service is on Linux", allow_module_level=True)

PATIENCE = 30  # seconds
CONTENT = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that keeps all that it has in a directory of its own."""
    root: Path = tmp_path_factory.mktemp("podman")
    address = str(root / "p.sock")
    places = ["--root", root / "root", "--runroot", root / "run", "--tmpdir", root / "tmp"]
    service = ["system", "service", "--time", "0", f"unix://{address}"]
    process = subprocess.Popen(
        [require("podman"), *places, "--storage-driver", "vfs", *service],
        env={**os.environ, "HOME": str(root), "XDG_RUNTIME_DIR": str(root), "TMPDIR": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        npipe.connect(address, wait=True, connect_timeout=PATIENCE).close()
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def docker(engine: str) -> Iterator[Any]:
    """docker-py's client, as docs/integrations.md has it."""
    library = pytest.importorskip("docker")
    from npipe.integrations.requests import Adapter

    class APIClient(library.APIClient):  # type: ignore[misc, name-defined]
        def get_adapter(self, url: str) -> Adapter:
            return Adapter(engine)

    client = APIClient(base_url="http://docker:80", version="auto", timeout=PATIENCE)
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(docker: Any) -> str:
    """The name of an image that docker-py has sent to the engine."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("data")
        entry.size = len(CONTENT)
        tar.addfile(entry, io.BytesIO(CONTENT))
    docker.import_image_from_data(archive.getvalue(), repository="localhost/sent")
    return "localhost/sent:latest"


def test_docker_py_sends_an_image_and_gets_it_back(docker, image):
    assert docker.ping()
    assert docker.version()["Components"][0]["Name"] == "Podman Engine"
    assert docker.inspect_image(image)["RepoTags"] == [image]
    archive = io.BytesIO(b"".join(docker.get_image(image)))
    with tarfile.open(fileobj=archive) as tar:
        layers = [each for each in tar.getmembers() if each.size > len(CONTENT)]
        layer = tar.extractfile(layers[0])
        assert layer is not None
        with tarfile.open(fileobj=layer) as files:
            data = files.extractfile("data")
            assert data is not None
            assert data.read() == CONTENT


def test_docker_py_makes_a_container_and_follows_the_events(docker, image):
    library = pytest.importorskip("docker")
    seen: queue.Queue[dict[str, Any]] = queue.Queue()
    events = docker.events(decode=True, filters={"type": "container"})
    follower = threading.Thread(target=lambda: [seen.put(each) for each in events])
    follower.start()
    try:
        made = docker.create_container(image, "/nothing", name="made")
        assert seen.get(timeout=PATIENCE)["id"] == made["Id"]
        assert [each["Names"] for each in docker.containers(all=True)] == [["/made"]]
        with pytest.raises(library.errors.APIError, match="made"):
            docker.create_container(image, "/nothing", name="made")
        docker.remove_container(made["Id"])
        with pytest.raises(library.errors.NotFound):
            docker.inspect_container("made")
    finally:
        events.close()
        follower.join(PATIENCE)
    assert not follower.is_alive()


def test_podman_py(engine, image):
    client_module = pytest.importorskip("podman.api.client")
    from npipe.integrations.requests import Adapter

    with client_module.APIClient(base_url="http://podman", timeout=PATIENCE) as client:
        client.mount("http://podman", Adapter(engine))
        assert client.get("/_ping").text == "OK"
        names = [name for each in client.get("/images/json").json() for name in each["RepoTags"]]
        assert names == [image]
        assert client.get("/containers/nothing/json").status_code == 404


def test_aiodocker(engine, image):
    aiodocker = pytest.importorskip("aiodocker")
    from npipe.integrations.aiohttp import Connector

    async def main() -> None:
        async with (
            Connector(engine) as connector,
            aiodocker.Docker(url="unix://localhost", connector=connector) as docker,
        ):
            assert (await docker.version())["Components"][0]["Name"] == "Podman Engine"
            assert [each["RepoTags"] for each in await docker.images.list()] == [[image]]
            config = {"Image": image, "Cmd": ["/nothing"]}
            made = await docker.containers.create(config, name="again")
            assert [each.id for each in await docker.containers.list(all=True)] == [made.id]
            await made.delete()
            with pytest.raises(aiodocker.DockerError) as raised:
                await docker.containers.get("again")
            assert raised.value.status == 404

    asyncio.run(main())
