"""MESSAGES: JSON-RPC 2.0 over connections."""
