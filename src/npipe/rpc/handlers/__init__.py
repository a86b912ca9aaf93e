"""Execution of the user's functions, coroutines and generators, for both flavours."""
