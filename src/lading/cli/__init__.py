"""The command line: each command reads its arguments and calls one stage."""

from lading.cli.main import app, main

__all__ = ["app", "main"]
