"""Chat between two terminals. Run the same command in both:

    python chat.py lobby

The first program waits for the second. End the input to leave the chat: press Ctrl-D, or Ctrl-Z and
Enter on Windows.
"""

import io
import sys
import threading

import npipe


def open_chat(name: str) -> npipe.Connection:
    """Connect to the other terminal, or wait for it if this one is the first."""
    try:
        return npipe.connect(name)
    except (FileNotFoundError, ConnectionRefusedError):  # no other terminal is waiting
        with npipe.listen(name) as listener:
            print(f"waiting for another terminal in {name}", flush=True)
            return listener.accept()


def print_lines(lines: io.BufferedReader) -> None:
    """Print each line that arrives, until one of the terminals leaves."""
    try:
        for line in lines:
            print("<", line.decode(errors="replace"), end="", flush=True)
        print("the other terminal has left: press Enter", flush=True)
    except npipe.ClosedError:
        pass


def main(name: str) -> None:
    with open_chat(name) as connection:
        print(f"connected to process {connection.peer.pid}", flush=True)
        lines = io.BufferedReader(connection)  # it closes the connection when it is collected
        threading.Thread(target=print_lines, args=(lines,), daemon=True).start()
        try:
            for line in sys.stdin:
                connection.write(line.encode())
            connection.flush()  # on Windows: wait until the other terminal has read the last line
        except BrokenPipeError:
            pass  # the other terminal has left


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "lobby")
