"""Bytes to complete messages, and back. Sans-I/O."""
