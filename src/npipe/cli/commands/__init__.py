"""The commands of ``npipe``, one file each."""
