"""The one thread that owns the chain, and calls that are tried on it without changing it."""
