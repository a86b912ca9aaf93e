"""Event loop for all connections of a server with threads (leader/follower)."""
