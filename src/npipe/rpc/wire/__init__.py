"""Bytes to JSON-RPC envelopes and back: framing, scanning and messages. Knows no method."""
