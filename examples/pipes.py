"""Send lines through a pipe, with threads: the server returns each line in upper case."""

import io
import os
import threading

import npipe

ADDRESS = f"npipe-example-{os.getpid()}"  # \\.\pipe\... on Windows, a socket file on POSIX


def echo(listener: npipe.Listener) -> None:
    for connection in listener:
        with connection, io.BufferedReader(connection) as lines:
            for line in lines:
                connection.write(line.upper())


with npipe.listen(ADDRESS) as listener:
    threading.Thread(target=echo, args=(listener,), daemon=True).start()
    with npipe.connect(ADDRESS, connect_timeout=5) as connection:
        connection.write(b"hello\n")
        print(connection.read(1024).decode(), end="")  # HELLO
        print("served by process", connection.peer.pid)
