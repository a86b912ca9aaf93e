"""The wire layer: framing, encodings and JSON-RPC envelopes. It does not depend on the methods."""
