"""BYTES: connections over local pipes. Knows nothing of JSON."""
