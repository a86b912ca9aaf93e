"""Forwarding of calls from one session to others: proxies, and ``rpc.Spread``. Sans-I/O."""
