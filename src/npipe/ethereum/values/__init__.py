"""Ethereum's values in JSON: quantities, hashes, options and defaults. Imports no py-evm."""
