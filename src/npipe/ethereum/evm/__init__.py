"""py-evm adapted. The only package that touches private attributes of py-evm."""
