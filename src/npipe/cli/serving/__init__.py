"""What ``npipe serve`` needs to load, run and report a server."""
