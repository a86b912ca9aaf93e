"""The sans-I/O half of a client, shared by both flavours: deadlines, retries, results, names."""
