"""One JSON-RPC connection as a state machine: no lock, thread, clock, event loop or I/O."""
