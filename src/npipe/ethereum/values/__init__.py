"""How Ethereum writes values: quantities, hashes, options and defaults. Imports no py-evm."""
