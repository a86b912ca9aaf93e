"""Send lines through a pipe, with asyncio and the streams of ``asyncio.open_connection``."""

import asyncio
import os

from npipe import aio

ADDRESS = f"npipe-example-{os.getpid()}"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in reader:
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def main() -> None:
    async with aio.start_server(echo, ADDRESS):
        reader, writer = await aio.open_connection(ADDRESS)
        writer.write(b"hello\n")
        print((await reader.readline()).decode(), end="")  # HELLO
        writer.close()
        await writer.wait_closed()


asyncio.run(main())
