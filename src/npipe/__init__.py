"""npipe: named pipes for Python, and JSON-RPC on top of them."""
