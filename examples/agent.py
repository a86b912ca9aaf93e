"""A background agent, such as a program with a tray icon, and its command line.

    python agent.py run        start the agent, if none is running
    python agent.py status     print the state of the running agent
    python agent.py pause      pause its work
    python agent.py resume     continue its work
    python agent.py quit       end the agent

Only programs of the same user can command the agent.
"""

import errno
import sys
import threading
import time

from npipe import rpc

ADDRESS = "example-agent"


class Agent:
    """The work of the agent, and the methods that the command line calls."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lock = threading.Lock()  # methods may run in several threads
        self._paused = False
        self._done = 0
        self._quit = threading.Event()

    def work(self) -> None:
        while not self._quit.wait(1.0):
            with self._lock:
                if not self._paused:
                    self._done += 1  # here the agent would synchronize a directory

    def status(self) -> dict[str, object]:
        with self._lock:
            seconds = round(time.monotonic() - self._started)
            return {"seconds": seconds, "paused": self._paused, "done": self._done}

    def pause(self) -> None:
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        with self._lock:
            self._paused = False

    def quit(self) -> None:
        self._quit.set()


def run() -> int:
    agent, api = Agent(), rpc.API()
    # Registering the object would publish `work` too, so the methods are named one by one.
    commands = (agent.status, agent.pause, agent.resume, agent.quit)
    api.register("agent", {command.__name__: command for command in commands})
    server = rpc.Server(api)
    try:
        server.serve(ADDRESS)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print("an agent is running already", file=sys.stderr)
        return 1
    print("the agent is running", flush=True)
    agent.work()
    server.stop(drain=1)  # the reply to `quit` is sent before the connection closes
    return 0


def command(name: str) -> int:
    try:
        with rpc.connect(ADDRESS, timeout=5, connect_timeout=5) as client:
            result = client.call(f"agent_{name}")
    except (FileNotFoundError, ConnectionRefusedError):
        print("no agent is running; start it with: python agent.py run", file=sys.stderr)
        return 1
    if result is not None:
        print(result)
    return 0


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else ""
    if chosen == "run":
        sys.exit(run())
    if chosen in ("status", "pause", "resume", "quit"):
        sys.exit(command(chosen))
    sys.exit(__doc__)
