"""The JSON-RPC methods, one file per namespace. They convert params and results only.

Users read their docstrings: the first line is the summary that the console's ``.help`` prints, and
``rpc.discover`` has all of it. Each says what the method returns, in which unit, and by which
specification: an EIP, the execution-apis (https://github.com/ethereum/execution-apis), or the
documentation of a node. "In hex" means the encoding of a number or of bytes in the execution-apis.
"""
