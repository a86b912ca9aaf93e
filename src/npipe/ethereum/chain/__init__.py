"""The chain: blocks, state, clock, transaction pool, accounts and keys."""
