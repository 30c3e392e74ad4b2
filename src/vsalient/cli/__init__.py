"""The command line: one file a verb, each loaded only when it is called."""

from vsalient.cli.app import main

__all__ = ["main"]
