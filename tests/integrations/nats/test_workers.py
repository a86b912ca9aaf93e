"""Finding workers, and what is no worker of ours."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

pytest.importorskip("nats", reason="nats-py is not installed")

from npipe import rpc
from npipe.integrations.nats import Workers, list_workers
from npipe.integrations.nats.broker import Broker as Connection
from npipe.integrations.nats.broker import Target
from npipe.rpc import aio
from peers.brokers import Broker


def api(name: str) -> rpc.API:
    found = rpc.API()
    found.register("t", {"name": lambda: name})
    return found


def test_a_worker_of_another_version_is_left_alone(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    import nats
    from nats.micro import add_service

    async def main() -> None:
        client = await nats.connect(broker.url().rpartition("/")[0])
        strange = {"npipe": "99"}
        await add_service(client, name="shop", version="1.0.0", metadata=strange)
        await add_service(client, name="shop", version="1.0.0", metadata={"other": "program"})
        async with aio.Server(api("ours")) as server:
            await server.serve(broker.url())
            workers = Workers(broker.url())
            await workers.start()
            assert len(list(workers.names())) == 1
            async with await aio.connect(broker.url(), timeout=60) as one:
                assert await one.call("t_name") == "ours"
            await workers.close()
        await client.close()

    with caplog.at_level(logging.WARNING, "npipe.nats"):
        asyncio.run(main())
    assert "has another version" in caplog.text
    assert len(list_workers(broker.url(""))) == 0


def test_workers_come_and_go(broker: Broker) -> None:
    async def main() -> None:
        workers = Workers(broker.url())
        await workers.start()
        assert list(workers.names()) == [] and not workers.stateless
        with pytest.raises(ConnectionRefusedError, match="has left"):
            await workers.open("nobody", lambda: None)
        async with aio.Server(api("one")) as server:
            await server.serve(broker.url(), stateless=True)
            await until(lambda: len(list(workers.names())) == 1)
            assert workers.stateless
            async with aio.Server(api("two")) as other:
                await other.serve(broker.url())
                await until(lambda: len(list(workers.names())) == 2)
                assert not workers.stateless  # one that has a state is enough
        await until(lambda: not list(workers.names()))
        await workers.close()
        await workers.close()

    asyncio.run(main())


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def test_two_workers_of_one_id_are_noticed_and_harm_no_other(broker: Broker) -> None:
    """Both get each message and answer it: then numbers come twice."""

    async def main() -> None:
        async with aio.Server(api("one")) as server, aio.Server(api("other")) as honest:
            await server.serve(broker.url())
            await honest.serve(broker.url("other"))
            (service,) = server._services
            copy = await _copy(broker, service.id)
            async with await aio.connect(broker.url(), timeout=60) as client:
                with pytest.raises(rpc.ConnectionLost):
                    for _ in range(3):
                        await client.call("t_name")
            async with await aio.connect(broker.url("other"), timeout=60) as client:
                assert await client.call("t_name") == "other"
            await copy.close()

    asyncio.run(main())


async def _copy(broker: Broker, id: str) -> Connection:
    """Answer what is sent to a worker, as the same worker would."""
    connection = Connection(Target.parse(broker.url()))
    await connection.open(10)
    server = aio.Server(api("a copy"))
    base = f"shop.{id}"

    async def received(message: Any) -> None:
        peer, _, token = message.reply.rpartition(".")
        if connection.take(message, base) is None and token == "1":
            connection.add(message.subject, peer, server.protocol()).received("1", message.data)

    await connection.client.subscribe(f"{base}.>", cb=received)
    await connection.client.flush()
    return connection
