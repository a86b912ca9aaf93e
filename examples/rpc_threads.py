"""Serve and call a JSON-RPC API, with threads."""

import os

from npipe import errors, rpc

ADDRESS = f"npipe-example-{os.getpid()}"


class Math:
    """An API with the methods math_add and math_divide, which check the types of parameters."""

    def add(self, a: int, b: int) -> int:
        return a + b

    def divide(self, dividend: float, divisor: float) -> float:
        if divisor == 0:
            raise errors.RPCError("division by zero", code=-32050)
        return dividend / divisor


api = rpc.API()
api.register("math", Math())

with rpc.Server(api) as server:
    server.serve(ADDRESS)  # returns at once; server.serve_forever() waits
    with rpc.connect(ADDRESS, timeout=5) as client:
        print(client.call("math_add", 1, 2))  # 3
        print(client.call("math_divide", named={"dividend": 7, "divisor": 2}))  # 3.5
        print(client.batch([("math_add", (n, n)) for n in range(3)]))  # [0, 2, 4]
        try:
            client.call("math_add", 1, "two")
        except errors.InvalidParams as error:
            print(error.code)  # -32602
