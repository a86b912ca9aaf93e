"""The blocking flavour: drivers, callers, client, server and proxy with threads."""
