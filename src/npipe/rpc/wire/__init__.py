"""The wire layer: framing, encodings and JSON-RPC envelopes. It knows no method."""
