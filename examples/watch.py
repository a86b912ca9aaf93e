"""Watch a directory, and push each change to every program that subscribes.

    python watch.py serve DIRECTORY
    python watch.py follow              in any number of other terminals

The directory is scanned twice a second, which needs no other package. To get changes without a
delay, replace the scan by watchfiles or watchdog.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

from npipe.rpc import API, aio, subscription

ADDRESS = "example-watch"
PERIOD = 0.5  # seconds

Change = dict[str, str]
Files = dict[str, tuple[int, int]]  # name: time of change in nanoseconds, size in bytes


def scan(directory: str) -> Files:
    files: Files = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # the file was removed meanwhile
                status = entry.stat()
                files[entry.name] = status.st_mtime_ns, status.st_size
    return files


def compare(old: Files, new: Files) -> list[Change]:
    changes = [{"file": name, "change": "removed"} for name in old.keys() - new.keys()]
    changes += [{"file": name, "change": "created"} for name in new.keys() - old.keys()]
    common = old.keys() & new.keys()
    changes += [{"file": name, "change": "written"} for name in common if old[name] != new[name]]
    return sorted(changes, key=lambda change: change["file"])


class Watch:
    """The API: the subscription watch_subscribe("changes")."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    @subscription()
    def changes(self) -> AsyncIterator[Change]:
        # A plain function that returns an iterator runs before the client gets the subscription
        # id. So the first scan is complete by then, and no later change is missed.
        return self._changes(scan(self._directory))

    async def _changes(self, seen: Files) -> AsyncIterator[Change]:
        while True:
            await asyncio.sleep(PERIOD)
            now = await asyncio.to_thread(scan, self._directory)
            for change in compare(seen, now):
                yield change
            seen = now


async def serve(directory: str) -> None:
    api = API()
    api.register("watch", Watch(directory))
    async with aio.Server(api) as server:
        await server.serve(ADDRESS)
        print(f"watching {directory}", flush=True)
        await asyncio.Event().wait()  # until Ctrl-C


async def follow() -> None:
    async with aio.connect(ADDRESS, wait=True, connect_timeout=10) as client:
        changes = await client.subscribe("watch", "changes", result_type=Change)
        print("subscribed", flush=True)
        async for change in changes:
            print(change["change"], change["file"], flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", directory]:
            program = serve(directory)
        case ["follow"]:
            program = follow()
        case _:
            sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(program)
