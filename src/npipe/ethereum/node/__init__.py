"""The worker thread that owns the chain, and threads for calls that do not change it."""
