"""Addresses, credentials, and a broker that refuses or is narrow."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("nats", reason="nats-py is not installed")

import npipe.errors
from integrations.nats.conftest import StartBroker
from npipe import rpc
from npipe.integrations.nats import broker as broker_module
from npipe.integrations.nats.broker import Target
from npipe.rpc import aio
from peers.brokers import Broker
from peers.nats_jwt import operator_mode
from peers.smbd import free_port


def echo() -> rpc.API:
    api = rpc.API()
    api.register("t", {"echo": lambda text: text})
    return api


def exchange(url: str, text: str = "x") -> str:
    """Serve, and call, at ``url``."""

    async def main() -> str:
        async with aio.Server(echo()) as server:
            await server.serve(url)
            async with await aio.connect(url, timeout=60) as client:
                return str(await client.call("t_echo", text))

    return asyncio.run(main())


class Clock:
    """A clock that ``_look`` reads once each time it looks; it then moves on by ``PING``."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 0.01
        return self.now


class SilentPipe:
    """A pipe whose peer says nothing."""

    peer = "worker.1"

    def __init__(self) -> None:
        self.heard, self.pings, self.is_lost = 0.0, 0, False

    def ping(self) -> None:
        self.pings += 1

    def lost(self, why: str) -> None:
        self.is_lost = True


def test_a_peer_that_is_silent_while_the_loop_is_held_up_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, pipe = Clock(), SilentPipe()
    monkeypatch.setattr(broker_module, "PING", 0.01)
    monkeypatch.setattr(broker_module, "time", clock)

    async def main() -> None:
        watching = broker_module.Broker(Target.parse("nats://host/a"), silence=0.2)
        watching.pipes["own"] = pipe  # type: ignore[assignment]
        looking = asyncio.create_task(watching._look())
        while not pipe.pings:
            await asyncio.sleep(0)
        clock.now += 100
        while pipe.pings < 3 and not pipe.is_lost:
            await asyncio.sleep(0)
        assert not pipe.is_lost
        while not pipe.is_lost:  # by its own silence
            await asyncio.sleep(0)
        assert 15 <= pipe.pings <= 25
        looking.cancel()

    asyncio.run(main())


def test_addresses() -> None:
    target = Target.parse("nats://me:secret@host:4222/a.b-c")
    assert (target.broker, target.subject) == ("nats://me:secret@host:4222", "a.b-c")
    assert target.name == "a_b-c"
    assert "secret" not in f"{target} {target!r}"
    cluster = Target.parse("nats://me:secret@a:1,me:secret@b:2/x")
    assert cluster.servers == ["nats://me:secret@a:1", "nats://me:secret@b:2"]
    assert str(cluster) == "nats://a:1,b:2/x"
    for wrong in ("nats://host", "nats://host/", "nats:///a", "http://host/a", "nats://h/a..b"):
        with pytest.raises(ValueError, match="bad address"):
            Target.parse(wrong)
    for wrong in ("nats://me:secret@host/a*", "nats://me:secret@host/a/>"):
        with pytest.raises(ValueError, match="bad address") as caught:
            Target.parse(wrong)
        assert "secret" not in str(caught.value)


def test_a_password(start_broker: StartBroker) -> None:
    broker = start_broker('authorization { user: "me", password: "secret" }')
    assert exchange(broker.url(user="me:secret")) == "x"
    with pytest.raises(ConnectionRefusedError) as caught:
        rpc.connect(broker.url(user="me:hunter2"), connect_timeout=1)
    assert "uthorization" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_signed_credentials(
    start_broker: StartBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker in operator mode; the command that is given the file, and one that is not."""
    pytest.importorskip("nkeys", reason="nkeys is not installed")
    config, creds = operator_mode(tmp_path)
    broker = start_broker(config)
    with pytest.raises(ConnectionRefusedError, match="uthorization"):
        rpc.connect(broker.url(), connect_timeout=1)
    command = [sys.executable, "-m", "npipe.cli", "call", broker.url(), "t_echo", "tea"]
    environment = {key: text for key, text in os.environ.items() if key != "NATS_CREDS"}
    monkeypatch.setenv("NATS_CREDS", str(creds))
    with rpc.Server(echo()) as server:
        server.serve(broker.url())

        def run(*options: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*command, *options],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

        done = run("--timeout", "30", "--nats-creds", str(creds))
        assert (done.returncode, done.stdout.strip()) == (0, '"tea"'), done.stderr
        done = run("--timeout", "2")
        assert (done.returncode, "uthorization" in done.stderr) == (1, True)
        done = run("--nats-creds", str(tmp_path / "missing"))
        assert (done.returncode, "missing" in done.stderr) == (2, True)


def test_a_cluster_whose_broker_is_killed(start_broker: StartBroker) -> None:
    """Client and worker go on over the other broker, and no call is executed twice."""
    meeting = free_port()

    def member(listens: int, routes: int) -> Broker:
        return start_broker(
            f"cluster {{ name: c, listen: 127.0.0.1:{listens}, "
            f"routes: [nats://127.0.0.1:{routes}] }}"
        )

    first = member(meeting, meeting)
    second = member(free_port(), meeting)
    url = f"nats://127.0.0.1:{first.port},127.0.0.1:{second.port}/shop"
    executed: Counter[int] = Counter()
    api = rpc.API()
    api.register("t", {"once": lambda number: executed.update([number])})
    with rpc.Server(api) as server:
        server.serve(url)
        with rpc.connect(url, reconnect=30, timeout=30) as client:
            client.call("t_once", 0)
            first.kill()
            lost = set()
            for number in range(1, 20):
                try:
                    client.call("t_once", number)
                except npipe.errors.ConnectionLost:
                    lost.add(number)
            client.call("t_once", 20)
    assert lost <= {1, 2}
    assert max(executed.values()) == 1
    assert set(range(21)) - lost <= set(executed)


def test_tls(start_broker: StartBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = make_certificate(tmp_path)
    broker = start_broker(f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}')
    url = broker.url().replace("nats://", "tls://")
    with pytest.raises(ConnectionRefusedError, match=r"(?i)certificate"):
        rpc.connect(url, connect_timeout=3)
    monkeypatch.setenv("NATS_CA", str(certificate))
    assert exchange(url) == "x"


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that nobody has signed but itself."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate, private = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(made.public_bytes(pem))
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private


def test_a_broker_with_a_small_max_payload(start_broker: StartBroker) -> None:
    """Messages of any size pass, in more parts."""
    broker = start_broker("max_payload: 1024")
    text = "x" * 100_000
    assert exchange(broker.url(), text) == text


def test_no_broker(broker: Broker) -> None:
    broker.kill()
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError, match="cannot be reached"):
        rpc.connect(broker.url(), connect_timeout=0.5)
    with rpc.Server(echo()) as server, pytest.raises(ConnectionRefusedError):
        server.serve(broker.url(), timeout=0.5)
    assert time.monotonic() - began < 20
