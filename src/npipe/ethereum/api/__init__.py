"""The JSON-RPC methods, one file per namespace: translation only."""
