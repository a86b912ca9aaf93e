"""Socket activation: systemd makes the socket and starts this program at the first client.

The socket is the descriptor 3, and systemd removes its file. See docs/how-to.md for the units.
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
