"""One event loop for all connections of a server with threads, led by one thread at a time."""
