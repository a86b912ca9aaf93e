"""``python -m npipe``: the same as the console script ``npipe``."""

from npipe.cli import main

main()
