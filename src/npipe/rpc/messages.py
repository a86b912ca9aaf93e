"""The envelopes of JSON-RPC 2.0: bytes to records, and back. Sans-I/O."""
