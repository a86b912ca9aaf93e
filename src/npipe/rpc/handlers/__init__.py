"""How a function, a coroutine or a generator of yours is run, for both flavours."""
