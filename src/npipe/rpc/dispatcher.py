"""A request to a call of your function, and its outcome to a reply. Sans-I/O."""
