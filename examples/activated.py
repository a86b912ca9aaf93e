"""Serve a socket that systemd has made (socket activation, sd_listen_fds(3)).

systemd makes the socket, starts this program when the first client connects, and passes the
socket as file descriptor 3. systemd also removes the socket file. The unit files are in
docs/how-to.md.
"""

import os
import sys

from npipe import Listener, address, rpc


def greet(name: str) -> str:
    return f"hello {name}"


if os.environ.get("LISTEN_PID") != str(os.getpid()):
    print("This program is to be started by systemd.")
    sys.exit()

api = rpc.API()
api.register("app", {"greet": greet})
with rpc.Server(api) as server, Listener.adopt(3, address.parse("/run/app.sock")) as listener:
    for connection in listener:
        server.serve_connection(connection)
