"""The console of ``npipe attach``: its language, its completion and its terminal."""
