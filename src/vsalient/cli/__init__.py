"""The command line: one file a verb, each loaded only when it is called."""

from vsalient.cli.start import main

__all__ = ["main"]
