"""Windows named pipes as connections and listeners, on overlapped I/O."""
