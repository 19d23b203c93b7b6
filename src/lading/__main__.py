"""``python -m lading``: the command line."""

from lading.cli import main

main()
