"""Unix domain sockets as connections and listeners."""
