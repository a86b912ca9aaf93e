"""Tracers: what the execution of a transaction did."""
