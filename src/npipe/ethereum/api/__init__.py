"""The JSON-RPC methods, one file per namespace. They convert params and results only.

Their docstrings are the summaries that ``rpc.discover`` and the console's ``.help`` print. Unless a
docstring names another source, ``eth``, ``net``, ``web3``, ``debug`` and ``txpool`` follow the
execution-apis (https://github.com/ethereum/execution-apis) and geth.
"""
