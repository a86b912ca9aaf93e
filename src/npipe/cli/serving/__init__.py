"""The parts of ``npipe serve``: loading, running and reporting a server."""
