"""The development chain served by default (extra "ethereum")."""
