"""A NATS broker for tests: nats-server, on this machine's loopback only."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from peers.require import require

__all__ = ["Broker"]


class Broker:
    """A running nats-server that can be killed and started again at its port."""

    def __init__(self, directory: Path, config: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.directory = directory
        self._config = directory / "nats.conf"
        self._config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, subject: str = "shop", user: str = "") -> str:
        return f"nats://{user and user + '@'}127.0.0.1:{self.port}/{subject}"

    def start(self) -> None:
        # A binary of the venv first: Debian's is of 2022.
        own = Path(sys.executable).with_name("nats-server")
        program = own if own.exists() else require("nats-server")
        log = (self.directory / "nats.log").open("ab")
        options = ["-a", "127.0.0.1", "-p", str(self.port), "-c", str(self._config)]
        with log:
            self._process = subprocess.Popen([program, *options], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.directory / "nats.log").read_text()
                time.sleep(0.02)

    def kill(self) -> None:
        """End it by force."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
